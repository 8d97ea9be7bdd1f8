/* verdict.c - when all have ended: is the lock file as it should be, and was everything tried? */
#define _GNU_SOURCE
#include "layout.h"
#include "torture.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TOOK_LAST 32 /* times at most: more than those who can have died in line at once */
#define ENOUGH 5000 /* grants: each thing has happened many times by then */

/* One who asks last, behind all that the dead have left. After the first ms of a turn, in which he would go before them
 * and leave them where they are. */
static void take_it_last(void) {
  colock *lock = NULL;
  colock_hold *hold = NULL;
  colock_request request;
  const struct timespec turn = {.tv_nsec = 2000000};
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = 10000;
  request.priority = -100;
  nanosleep(&turn, NULL);
  int code = colock_open(&lock, torture->path, NULL);
  if (code == COLOCK_OK) code = colock_acquire_with(lock, &request, &hold);
  if (code == COLOCK_OK) code = colock_release(hold);
  if (code != COLOCK_OK) failure("at the end the lock cannot be had: code %d, %s", code, colock_last_message());
  colock_close(lock);
}

void verdict_clean(void) {
  struct colockp_header header;
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int fd = open(torture->path, O_RDWR | O_CLOEXEC), left = TOOK_LAST;
  do { /* of the dead who were passed over each forgets one */
    take_it_last();
    if (fd < 0 || pread(fd, &header, sizeof header, 0) != sizeof header) {
      failure("%s: %s", torture->path, strerror(errno));
      if (fd >= 0) close(fd);
      return;
    }
  } while (header.flag & COLOCKP_FLAG_SET && --left > 0);
  if (header.flag & COLOCKP_FLAG_SET) failure("the queue's flag is set at the end");
  for (uint32_t slot = 0; slot < header.slots_in_use; slot++) {
    struct colockp_queue_entry entry;
    off_t at = COLOCKP_AT_QUEUE + (off_t)(slot * sizeof entry);
    if (pread(fd, &entry, sizeof entry, at) != sizeof entry || entry.rank != 0)
      failure("the rank of slot %" PRIu32 " is left at the end", slot);
  }
  if (fcntl(fd, F_OFD_GETLK, &whole) != 0 || whole.l_type != F_UNLCK)
    failure("a record lock at %#" PRIx64 " is left at the end", (uint64_t)whole.l_start);
  if (header.writer != 0) failure("the writer's mark is left at the end");
  close(fd);
}

static const char *const names[COUNTS] = {
    "shared", "exclusive", "waited", "busy", "timed out", "canceled", "interrupted", "upgraded",
    "upgrade refused", "downgraded", "yielded", "revoked", "told of the dead", "forced", "killed", "stopped",
    "rounds", "taken again", "suspended", "let go"};
static uint64_t totals[COUNTS];
static bool wanted[COUNTS];

static void add_up(void) {
  const struct plan *plan = torture->plan;
  for (int i = 0; i < COUNTS; i++) {
    totals[i] += torture->counts[i];
    wanted[i] |= i != COUNT_INTERRUPTED && i != COUNT_UPGRADE_REFUSED && i != COUNT_REVOKED && i != COUNT_ABANDONED &&
                 i != COUNT_FORCED && i != COUNT_KILLED && i != COUNT_STOPPED && (i <= COUNT_ROUNDS || plan->keeps);
  }
  wanted[COUNT_INTERRUPTED] |= plan->signals;
  wanted[COUNT_REVOKED] |= plan->forces;
  wanted[COUNT_FORCED] |= plan->forces;
  wanted[COUNT_ABANDONED] |= plan->kills || plan->forces;
  wanted[COUNT_KILLED] |= plan->kills;
  wanted[COUNT_STOPPED] |= plan->stops;
}

int verdict_all_tried(void) {
  if (totals[COUNT_SHARED] + totals[COUNT_EXCLUSIVE] < ENOUGH) return 0;
  for (int i = 0; i < COUNTS; i++) {
    if (!wanted[i] || totals[i] != 0) continue;
    printf("FAILED: %s: never, so it was not tried\n", names[i]);
    return 1;
  }
  return 0;
}

void verdict_report(int64_t run_ms) {
  add_up();
  printf("plan %s, %d processes of %d threads, %.1f s:", torture->plan->name, torture->processes, torture->threads,
         (double)run_ms / 1000);
  for (int i = 0; i < COUNTS; i++) printf(" %" PRIu64 " %s%s", torture->counts[i], names[i], i + 1 < COUNTS ? "," : "");
  printf("; longest wait %.1f ms, overtaken %u times at most\n", (double)torture->longest_ns / 1e6, torture->worst);
  fflush(stdout);
}

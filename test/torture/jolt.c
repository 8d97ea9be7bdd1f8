/* jolt.c - the table of system calls with something in the way: yields, a death or a stop at the Nth call, a lie.
 *
 * What is in the way belongs to a thread, and only actors have any; the library's own threads pass. Between two system
 * calls of the protocol is where another one may come.
 */
#define _GNU_SOURCE
#include "region.h"
#include "system.h"
#include "torture.h"
#include <sched.h>
#include <signal.h>
#include <unistd.h>

static _Thread_local struct {
  struct actor *actor;
  const struct colockp_region *region;
  enum jolt_kind kind;
  unsigned left;
  uint64_t shake;
  bool slept;
} here;

void jolt_set(struct actor *actor, const struct step *step, const struct colockp_region *region) {
  here.actor = actor;
  here.region = region;
  here.kind = step->jolt;
  here.left = step->jolt_after;
  here.shake = step->shake;
  here.slept = false;
}

void jolt_clear(void) { here.actor = NULL; }

bool jolt_slept(void) { return here.slept; }

static void jolt(void) {
  if (here.actor == NULL) return;
  if (random_next(&here.shake) % 16 == 0) sched_yield();
  if (here.kind == JOLT_NONE || --here.left > 0) return;
  enum jolt_kind kind = here.kind;
  here.kind = JOLT_NONE;
  history_note(here.actor, kind == JOLT_DIE ? "dies at a system call" : "stops at a system call", 0, 0);
  if (kind == JOLT_DIE) torture->doomed[here.actor->process] = torture->incarnation[here.actor->process];
  raise(kind == JOLT_DIE ? SIGKILL : SIGSTOP);
}

static int lock(int fd, int command, struct flock *range) {
  jolt();
  bool lane = range->l_len == 1 && range->l_start >= COLOCKP_BYTE_LANE &&
              range->l_start < COLOCKP_BYTE_LANE + (int64_t)COLOCKP_LANES;
  bool asks = command == F_OFD_SETLK && range->l_type != F_UNLCK;
  if (torture->plan->lies && here.actor != NULL && lane && asks && random_next(&here.shake) % 8 == 0) return 0;
  return colockp_system_default.fcntl_lock(fd, command, range);
}

static int look(int fd, struct stat *st) {
  jolt();
  return colockp_system_default.fstat(fd, st);
}

static int wake(uint32_t *word, int count) {
  jolt();
  return colockp_system_default.futex_wake(word, count);
}

/* Whoever sleeps on a bell has published the rank word that lies beside it. */
static int sleep_on(uint32_t *word, uint32_t expected, const struct timespec *relative) {
  const struct colockp_region *region = here.region;
  if (here.actor != NULL && region != NULL && region->bells != NULL && word >= (uint32_t *)region->bells &&
      word < (uint32_t *)region->bells + COLOCKP_SLOTS_MAX && !here.slept) {
    uint32_t slot = (uint32_t)(word - (uint32_t *)region->bells);
    uint64_t rank = atomic_load(&region->queue[slot].rank);
    here.slept = true;
    if (rank != 0 && !(rank & COLOCKP_RANK_PASSED)) ledger_queued(here.actor, rank, slot);
  }
  jolt();
  return colockp_system_default.futex_wait(word, expected, relative);
}

void jolt_install(void) {
  colockp_system.fcntl_lock = lock;
  colockp_system.fstat = look;
  colockp_system.futex_wake = wake;
  colockp_system.futex_wait = sleep_on;
}

/* totals.c - see totals.h.
 *
 * A reset writes the totals of that moment into the base that is not in use, then makes it the one in use by changing
 * the epoch. Readers look at the epoch before and after: a base is never seen half written, nor is one that belongs to
 * other totals; and who dies at it has changed nothing. */
#include "totals.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "look_slot.h"
#include "range.h"
#include "stats.h"
#include "system.h"

#include <errno.h>
#include <string.h>

#define READ_TRIES 10

#define SLOT_BYTES (offsetof(struct colockp_slot, statistics) + sizeof(struct colockp_statistics))

/* ---- slots ---- */

static void add(union colockp_counted *to, const struct colockp_counters *from) {
  const _Atomic uint64_t *words = (const _Atomic uint64_t *)(const void *)from;
  for (size_t i = 0; i < sizeof to->words / 8; i++)
    to->words[i] += atomic_load_explicit(&words[i], memory_order_relaxed);
}

static void subtract(union colockp_counted *from, const union colockp_counted *base) {
  for (size_t i = 0; i < sizeof from->words / 8; i++) /* only a damaged file has less than its base */
    from->words[i] -= base->words[i] < from->words[i] ? base->words[i] : from->words[i];
}

static void take_peak(struct colockp_peak *peak, const struct colockp_longest *longest) {
  uint64_t ids = atomic_load(&longest->pid_tid);
  peak->ns = atomic_load(&longest->ns);
  peak->wall_ns = atomic_load(&longest->wall_ns);
  peak->pid = (int32_t)(uint32_t)ids;
  peak->tid = (int32_t)(ids >> 32);
  memcpy(peak->program, (const void *)longest->program, sizeof peak->program);
  peak->program[sizeof peak->program - 1] = '\0'; /* the bytes come from outside */
}

/* If it is longer: read again until it is the same, so that it is not being written. */
static int add_longest(const struct colockp_look *look, int64_t at, struct colockp_longest *longest,
                       struct colockp_peak *peak) {
  uint64_t epoch = atomic_load(&look->header.statistics_epoch);
  for (int tries = 0; tries < READ_TRIES; tries++) {
    struct colockp_longest again;
    if (atomic_load(&longest->epoch) != epoch || atomic_load(&longest->ns) <= peak->ns)
      return 0;
    int code = colockp_look_read(look, &again, sizeof again, at);
    if (code)
      return code;
    if (memcmp(&again, longest, sizeof again) == 0 && atomic_load(&again.sequence) % 2 == 0) {
      take_peak(peak, &again);
      return 0;
    }
    memcpy(longest, &again, sizeof again);
  }
  return 0;
}

/* Words that mean that their owner died holding, if nobody has the SLOT byte and nobody has noticed yet; -1: they do
 * not; else the index of its mode. */
static int died_holding(const struct colockp_activity *activity, int64_t inherited_pid, uint64_t writer) {
  if (colockp_stats_reader_died(activity->state, activity->mode, inherited_pid))
    return 0;
  return activity->state == COLOCKP_HELD && activity->token != 0 && activity->token == writer ? 1 : -1;
}

/* After the counts: a death that is noticed meanwhile is not in them yet. */
static int add_unnoticed(const struct colockp_look *look, uint32_t slot, const struct colockp_slot *copy,
                         struct colockp_totals *totals) {
  struct colockp_activity activity;
  struct colockp_identity owner;
  uint64_t writer = atomic_load(&look->header.writer);
  memcpy(&activity, (const void *)copy->activity, sizeof activity);
  memcpy(&owner, (const void *)copy->identity, sizeof owner);
  int64_t inherited_pid = atomic_load(&copy->inherited_pid);
  if (look->other_device || died_holding(&activity, inherited_pid, writer) < 0)
    return 0;
  /* To ask for its byte the kernel goes through the locks of all. Whose number a new process has, or who has become
   * another program, is counted when its slot is taken. */
  if (activity.mode == COLOCK_SHARED && colockp_process_numbered(&owner))
    return 0;
  int taken = colockp_look_taken(look, COLOCKP_RANGE_SHARED, COLOCKP_BYTE_SLOT + slot);
  if (taken != 0)
    return taken < 0 ? -taken : 0;
  int code = colockp_look_read(look, &activity, sizeof activity,
                               colockp_at_slot(slot) + (int64_t)offsetof(struct colockp_slot, activity));
  if (code == 0)
    code = colockp_look_read(look, &writer, sizeof writer, offsetof(struct colockp_header, writer));
  int mode = code == 0 ? died_holding(&activity, inherited_pid, writer) : -1;
  if (mode == 0 || (mode == 1 && writer != atomic_load(&look->header.forced_token)))
    totals->counted.counts[COLOCKP_N_DEATHS + mode]++;
  return code;
}

static int add_slot(const struct colockp_look *look, uint32_t slot, struct colockp_totals *totals) {
  struct colockp_slot copy;
  int code = colockp_look_read(look, &copy, SLOT_BYTES, colockp_at_slot(slot));
  if (code)
    return code;
  add(&totals->counted, &copy.statistics.counters);
  int64_t at = colockp_at_slot(slot) + (int64_t)offsetof(struct colockp_slot, statistics.longest);
  for (size_t i = 0; code == 0 && i < COLOCKP_TIMES; i++)
    code = add_longest(look, at + (int64_t)(i * sizeof *copy.statistics.longest), &copy.statistics.longest[i],
                       &totals->peaks[i]);
  return code ? code : add_unnoticed(look, slot, &copy, totals);
}

/* ---- the whole ---- */

/* Since the file's beginning. */
static int gather(struct colockp_look *look, struct colockp_totals *totals) {
  const struct colockp_header *header = &look->header;
  memset(totals, 0, sizeof *totals);
  int code = colockp_look_header(look);
  if (code)
    return code;
  int64_t since_ns = atomic_load(&header->statistics_since_wall_ns);
  totals->since_wall_ns = since_ns ? since_ns : header->created_wall_ns;
  totals->slots = atomic_load(&header->slots_in_use);
  totals->counted.counts[COLOCKP_N_DEATHS + 1] = atomic_load(&header->deaths);
  totals->counted.counts[COLOCKP_N_FORCED] = atomic_load(&header->forced_unlocks);
  for (uint32_t slot = 0; code == 0 && slot < totals->slots; slot++)
    code = add_slot(look, slot, totals);
  return code;
}

int colockp_totals_read(struct colockp_totals *totals, int fd, const char *escaped_path) {
  struct colockp_look look = { .fd = fd, .path = escaped_path };
  for (int tries = 0; tries < READ_TRIES; tries++) {
    union colockp_counted base;
    uint64_t epoch, again;
    int code = gather(&look, totals);
    if (code)
      return code;
    epoch = atomic_load(&look.header.statistics_epoch);
    if (epoch == 0)
      memset(&base, 0, sizeof base);
    else if ((code = colockp_look_read(&look, &base, sizeof base, colockp_at_base(epoch))) != 0)
      return code;
    code = colockp_look_read(&look, &again, sizeof again, offsetof(struct colockp_header, statistics_epoch));
    if (code)
      return code;
    subtract(&totals->counted, &base);
    if (again == epoch)
      return 0;
  }
  return colockp_fail(COLOCK_EBUSY, 0, "%s: its statistics are being reset again and again", escaped_path);
}

static int write_base(struct colockp_region *region, const union colockp_counted *base, int64_t at) {
  for (size_t done = 0; done < sizeof *base;) {
    ssize_t put = colockp_system.pwrite(region->file.fd, (const char *)base + done, sizeof *base - done,
                                        at + (int64_t)done);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return colockp_region_fail(region, put < 0 ? errno : EIO, "write");
    done += (size_t)put;
  }
  return 0;
}

int colockp_totals_reset(struct colockp_region *region) {
  struct colockp_look look = { .fd = region->file.fd, .path = region->escaped };
  struct colockp_header *header = region->header;
  struct colockp_totals totals;
  uint64_t epoch = atomic_load(&header->statistics_epoch) + 1;
  int code = gather(&look, &totals);
  if (code == 0)
    code = write_base(region, &totals.counted, colockp_at_base(epoch));
  if (code)
    return code;
  atomic_store(&header->statistics_since_wall_ns, colockp_wall_ns());
  atomic_store(&header->statistics_epoch, epoch);
  return 0;
}

/* ---- what they say ---- */

uint64_t colockp_timed_count(const struct colockp_timed *timed) {
  uint64_t count = 0;
  for (unsigned i = 0; i < COLOCKP_BUCKETS; i++)
    count += timed->buckets[i];
  return count;
}

int64_t colockp_timed_percentile(const struct colockp_timed *timed, const struct colockp_peak *peak,
                                 unsigned per_cent) {
  uint64_t count = colockp_timed_count(timed), seen = 0;
  uint64_t wanted = count / 100 * per_cent + (count % 100 * per_cent + 99) / 100;
  if (count == 0)
    return -1;
  unsigned bucket = 0;
  while ((seen += timed->buckets[bucket]) < wanted || seen == 0)
    bucket++;
  unsigned last = COLOCKP_BUCKETS - 1;
  while (timed->buckets[last] == 0)
    last--;
  /* Who died between the two has counted a longer one than he noted. */
  int64_t most_ns = colockp_bucket((uint64_t)peak->ns) >= last ? peak->ns : last > 0 ? colockp_bucket_end(last - 1) : 0;
  int64_t end_ns = colockp_bucket_end(bucket);
  return per_cent == 100 || end_ns > most_ns ? most_ns : end_ns;
}

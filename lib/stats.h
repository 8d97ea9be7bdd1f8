/* stats.h - counting: what a seat writes into the statistics of its slot.
 *
 * Discipline: a slot's words belong to its owner, so adding is a load and a store, neither locked nor ordered, and no
 * two processes or threads write one cache line. They grow from owner to owner and are never set back; a reset
 * (totals.h) only moves what readers subtract. What concerns no owner (a writer's death, a forced unlock) is rare, and
 * counted in the header by an atomic addition. Seats without a slot (reader-only, `enabled: false`) count nothing.
 */
#ifndef COLOCKP_STATS_H
#define COLOCKP_STATS_H

#include "seat.h"

static inline void colockp_stats_add(_Atomic uint64_t *word, uint64_t more) {
  uint64_t before = atomic_load_explicit(word, memory_order_relaxed);
  atomic_store_explicit(word, before + more, memory_order_relaxed);
}

static inline void colockp_stats_count(const struct colock_hold *seat, unsigned what) {
  if (seat->slot)
    colockp_stats_add(&seat->slot->statistics.counters.counts[what], 1);
}
/* One of those that are counted by mode: the seat's. */
static inline void colockp_stats_count_mode(const struct colock_hold *seat, unsigned what) {
  colockp_stats_count(seat, what + seat->activity.mode - COLOCK_SHARED);
}

/* Note it as the longest. */
void colockp_stats_longest(const struct colock_hold *seat, unsigned which, int64_t ns);

static inline void colockp_stats_time(const struct colock_hold *seat, unsigned which, int64_t ns) {
  if (!seat->slot)
    return;
  struct colockp_statistics *statistics = &seat->slot->statistics;
  struct colockp_times *times = &statistics->counters.times[which];
  const struct colockp_longest *longest = &statistics->longest[which];
  uint64_t epoch = atomic_load_explicit(&seat->region->header->statistics_epoch, memory_order_relaxed);
  ns = ns > 0 ? ns : 0;
  colockp_stats_add(&times->sum_ns, (uint64_t)ns);
  colockp_stats_add(&times->buckets[colockp_bucket((uint64_t)ns)], 1);
  if (ns > atomic_load_explicit(&longest->ns, memory_order_relaxed) ||
      epoch != atomic_load_explicit(&longest->epoch, memory_order_relaxed))
    colockp_stats_longest(seat, which, ns);
}

/* It has held in its mode since then; until now. */
static inline void colockp_stats_begin(struct colock_hold *seat, int64_t now_ns) { seat->mode_since_ns = now_ns; }
static inline void colockp_stats_end(const struct colock_hold *seat, int64_t now_ns) {
  colockp_stats_time(seat, COLOCKP_T_HOLDS + seat->activity.mode - COLOCK_SHARED, now_ns - seat->mode_since_ns);
}

/* It stood in line for that mode since then. */
void colockp_stats_waited(const struct colock_hold *seat, int mode, int64_t since_ns);
/* An acquire, an upgrade or a yield ended without success. */
void colockp_stats_failed(const struct colock_hold *seat, int code);

/* The seat has got a slot: true, and counted, if its last owner died holding a shared lock. Before the slot's words are
 * overwritten. */
bool colockp_stats_moved_in(const struct colock_hold *seat);
/* The mark of a writer has been taken away: did it die, or was it forced out? */
void colockp_stats_buried(struct colockp_region *region, uint64_t token);
/* Before the generation is changed, and after. */
void colockp_stats_forcing(struct colockp_region *region);
void colockp_stats_forced(struct colockp_region *region);

/* Do these words of a slot without an owner say that it died holding a shared lock? For an exclusive one the writer's
 * mark tells. */
bool colockp_stats_reader_died(uint32_t state, uint32_t mode, int64_t inherited_pid);

#endif

/* trace.h - what is told of a request and of its hold: by a probe (probe.h) to whoever is attached, by a line (log.h)
 * to the hook.
 *
 * Every begin is followed by one granted or one failed. Nothing is told of a lock that is not enabled. Quiet and
 * unattached, what the fast path tells costs a nop and a comparison each.
 */
#ifndef COLOCKP_TRACE_H
#define COLOCKP_TRACE_H

#include "lock.h"
#include "log.h"
#include "probe.h"

static inline bool colockp_tells(const colock *lock, int level) {
  return __builtin_expect(lock->settings.verbosity >= level, 0);
}

static inline void colockp_trace_begin(const colock *lock, int mode, int64_t timeout_ns) {
  COLOCKP_PROBE3(acquire__begin, lock->path, mode, timeout_ns);
}

/* event: "granted", or "upgraded". cached: with a lock that was kept. */
void colockp_tell_granted(const colock_hold *hold, const char *event, int64_t waited_ns, bool cached);
static inline void colockp_trace_granted(const colock_hold *hold, const char *event, int64_t waited_ns, bool cached) {
  const struct colockp_activity *activity = &hold->activity;
  COLOCKP_PROBE5(acquire__granted, hold->lock->path, activity->mode, waited_ns, activity->token, cached);
  if (colockp_tells(hold->lock, COLOCKP_INFO))
    colockp_tell_granted(hold, event, waited_ns, cached);
}

/* It was not granted, and colock_last_message says why. Returns code. */
int colockp_trace_failed(const colock *lock, int mode, int64_t waited_ns, int code);

/* While it waits: who is in the way, in a few words. */
void colockp_trace_waiting(const colock *lock, int mode, int64_t waited_ns, const char *who);

/* kept: LANE stays with us. The hold itself may be another's by now. */
void colockp_tell_released(const colock *lock, int mode, int64_t held_ns, bool kept);
static inline void colockp_trace_released(const colock *lock, int mode, int64_t held_ns, bool kept) {
  COLOCKP_PROBE4(release, lock->path, mode, held_ns, kept);
  if (colockp_tells(lock, COLOCKP_DEBUG))
    colockp_tell_released(lock, mode, held_ns, kept);
}

/* LANE has left us, at the end of a hold or, kept, some time after. code: the hold was whole (0), EREVOKED, ELOST. */
void colockp_tell_broken(const colock_hold *hold, bool kept, int64_t held_ns, int code);
static inline void colockp_trace_left(const colock_hold *hold, bool kept, int64_t held_ns, int code) {
  if (!kept && !code)
    colockp_trace_released(hold->lock, (int)hold->activity.mode, held_ns, false);
  else if (code)
    colockp_tell_broken(hold, kept, held_ns, code);
}

void colockp_trace_downgraded(const colock_hold *hold);

/* Around a suspend; value: what it returned. */
void colockp_trace_suspend(const colock_hold *hold);
void colockp_trace_suspended(const colock_hold *hold, int value);

/* What was kept, unused for so long, was let go because somebody waits. */
void colockp_tell_recalled(const colock_hold *seat, int64_t unused_ns);

/* Somebody died in that slot: holding (shared; of writers the mark tells), or in line. */
void colockp_trace_reap(const struct colockp_region *region, uint32_t slot, bool held);

#endif

/* lane.h - what it takes to have LANE, and to let it go. */
#ifndef COLOCKP_LANE_H
#define COLOCKP_LANE_H

#include "identity.h"
#include "stats.h"

/* One try, as colockp_wait wants it. 0: LANE of the present generation is locked and the words are taken. EBUSY; ELOST:
 * the file was replaced; else what failed. Nothing is locked then; but a seat that had LANE in the other mode has it
 * still after EBUSY. */
int colockp_lane_try(colock_hold *seat, int mode);
/* The words of an exclusive grant or of a shared one, with LANE locked: phases 2 to 5. COLOCKP_AGAIN: the generation
 * has changed. Any other failure: LANE is to be unlocked. */
int colockp_lane_words(colock_hold *seat, int mode);
enum { COLOCKP_AGAIN = -1 };
/* The code for an errno of a lock call on LANE. A conflict is EBUSY, without a message: it happens too often for one.
 * Anything else marks the seat broken. */
int colockp_lane_failed(colock_hold *seat, int error);
/* Unlock the seat's LANE and ring who may go. Marks the seat broken where that fails. */
int colockp_lane_unlock(colock_hold *seat);

/* The seat has LANE no more, or is about to unlock it. True: with a suspend it was the last one of this process that
 * had LANE in the newest generation; a hold that runs on, forced out, keeps nothing. */
bool colockp_lane_uncount(colock_hold *seat);

/* The words of a hold of a lock that is not enabled. */
void colockp_words_freely(colock_hold *hold, int mode);

/* The seat has LANE, and becomes a hold, not shown yet. */
void colockp_grant(colock_hold *seat, int mode, int priority);
/* The same for one that has had LANE, in that mode, since before. */
static inline void colockp_grant_again(colock_hold *seat, int priority, int64_t now_ns) {
  struct colockp_activity *activity = &seat->activity;
  activity->state = COLOCKP_HELD;
  activity->priority = priority;
  activity->tid = colockp_tid();
  activity->hold_id++;
  activity->since_wall_ns = now_ns + seat->wall_ahead_ns;
  activity->since_ns = activity->renewed_ns = now_ns;
  colockp_stats_begin(seat, now_ns);
}

#endif

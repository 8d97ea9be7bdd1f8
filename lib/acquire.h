/* acquire.h - what it takes to have LANE, and to let it go. */
#ifndef COLOCKP_ACQUIRE_H
#define COLOCKP_ACQUIRE_H

#include "wait.h"

/* One try, as colockp_wait wants it. 0: LANE of the present generation is locked and the words are taken. EBUSY; ELOST:
 * the file was replaced; else what failed. Nothing is locked then. */
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

/* The words of a hold of a lock that is not enabled. */
void colockp_words_freely(colock_hold *hold, int mode);

/* What the seat does, to be shown: it waits; it holds. */
void colockp_show_waiting(struct colockp_wait *wait);
void colockp_grant(colock_hold *seat, int mode, int priority);

#endif

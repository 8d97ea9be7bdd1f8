/* stuck.h - the dead and the stopped among those who wait ahead.
 *
 * A dead waiter left its rank behind: its SLOT byte is free. A stopped one does not take what it could have: LANE is
 * free, and stays free. Nothing here decides that an owner is dead by a clock; a clock decides only who goes first.
 */
#ifndef COLOCKP_STUCK_H
#define COLOCKP_STUCK_H

#include "queue.h"

/* What a waiter remembers from one look to the next. Zero at first. */
struct colockp_stuck {
  int64_t free_since_ns; /* LANE was free then; 0: it was not */
  uint64_t word;         /* the nearest of those ahead, then */
  uint32_t conflicts;    /* how many they were, then */
};

/* For who found the lock free though somebody was in line: a dead reader, or a dead one that had been passed over, is
 * ahead of nobody, and its word would keep everybody in line for ever. */
void colockp_stuck_tidy(struct colock_hold *seat);

/* Look at the nearest of those ahead that conflict; `ahead` as colockp_queue_ahead filled it. Dead ones are cleared,
 * one after another, until one lives. If LANE is free, those who may go are rung; if it is free again when `grace_ns`
 * has gone by, and as many stand ahead, those of them who have not read their bell are passed over. True: the queue has
 * changed, look again. */
bool colockp_stuck_look(struct colockp_stuck *stuck, struct colock_hold *seat, int mode, uint64_t key,
                        struct colockp_ahead *ahead, int64_t now_ns, int64_t grace_ns);

#endif

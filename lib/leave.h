/* leave.h - a hold ends, and LANE leaves us. */
#ifndef COLOCKP_LEAVE_H
#define COLOCKP_LEAVE_H

#include "seat.h"
#include "token.h"

/* Is its generation the present one? EREVOKED ELOST. */
int colockp_hold_present(const colock_hold *hold);
/* Exclusive, and no longer in use: the mark of a live writer goes. */
static inline void colockp_hold_unmark(const colock_hold *hold) {
  if (hold->activity.token)
    colockp_writer_clear(hold->region, hold->activity.token);
}
/* End it, in use or kept: a suspend where there is one, the words in the order that token.h gives, LANE. 0: it was
 * whole. EREVOKED ELOST; ESYSTEM; EFORKED: the suspend has forked, and this is the child: nothing has ended. */
int colockp_hold_end(colock_hold *hold);
/* Is it to be looked at again? A shorter one was looked at when it was granted: another fstat would cost a third of the
 * whole pair. */
#define COLOCKP_LOOK_AGAIN_NS INT64_C(100000)
static inline bool colockp_hold_was_long(const colock_hold *hold, int64_t now_ns) {
  return hold->lost || now_ns - hold->activity.since_ns >= COLOCKP_LOOK_AGAIN_NS;
}
const char *colockp_hold_path(const colock_hold *hold);

#endif

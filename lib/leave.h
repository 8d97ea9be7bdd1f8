/* leave.h - a hold ends, and LANE leaves us. */
#ifndef COLOCKP_LEAVE_H
#define COLOCKP_LEAVE_H

#include "seat.h"

/* Is its generation the present one? EREVOKED ELOST. */
int colockp_hold_present(const colock_hold *hold);
/* Exclusive, and no longer in use: the mark of a live writer goes. */
void colockp_hold_unmark(colock_hold *hold);
/* End it, in use or kept: a suspend where there is one, the words in the order that token.h gives, LANE. 0: it was
 * whole. EREVOKED ELOST; ESYSTEM; EFORKED: the suspend has forked, and this is the child: nothing has ended. */
int colockp_hold_end(colock_hold *hold);
/* Is it long enough ago that it was looked at? */
bool colockp_hold_was_long(const colock_hold *hold, int64_t now_ns);
const char *colockp_hold_path(const colock_hold *hold);

#endif

/* hold.h - what the calls on a hold have in common. */
#ifndef COLOCKP_HOLD_H
#define COLOCKP_HOLD_H

#include "seat.h"

/* May it be used here and now? EINVAL: NULL; EFORKED; what a yield failed with. */
int colockp_hold_usable(const colock_hold *hold);
/* Is its generation the present one? EREVOKED ELOST. */
int colockp_hold_present(const colock_hold *hold);
/* End it: the words in the order that token.h gives, then LANE. 0: it was whole. EREVOKED ELOST; ESYSTEM. */
int colockp_hold_end(colock_hold *hold);
const char *colockp_hold_path(const colock_hold *hold);

#endif

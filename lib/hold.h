/* hold.h - what the calls on a hold have in common. */
#ifndef COLOCKP_HOLD_H
#define COLOCKP_HOLD_H

#include "leave.h"

/* May it be used here and now? EINVAL: NULL; EFORKED; what a yield failed with. */
int colockp_hold_usable(const colock_hold *hold);

#endif

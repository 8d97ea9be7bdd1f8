/* acquire.h - getting holds and giving them back. */
#ifndef COLOCKP_ACQUIRE_H
#define COLOCKP_ACQUIRE_H

#include "lock.h"

/* Unlock the seat's LANE. Marks the seat broken where that fails. */
int colockp_lane_unlock(colock_hold *seat);

#endif

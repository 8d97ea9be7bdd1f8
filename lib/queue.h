/* queue.h - ranks: who waits, in which order. The order is shown to others; waiting itself polls. */
#ifndef COLOCKP_QUEUE_H
#define COLOCKP_QUEUE_H

#include "seat.h"

/* Join the queue: rank word, then the queue flag. Needs a seat with a slot. */
void colockp_queue_join(struct colock_hold *seat, int mode, int priority);
/* Leave it, with or without a hold. */
void colockp_queue_leave(struct colock_hold *seat);
/* Under SLOT of that slot: forget a dead owner's rank. */
void colockp_queue_clear(struct colockp_region *region, uint32_t slot);

#endif

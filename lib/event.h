/* event.h - descriptors that tell when somebody waits for a hold, or it is whole no more (colock_hold_fd). */
#ifndef COLOCKP_EVENT_H
#define COLOCKP_EVENT_H

#include "lock.h"

/* For the helper: tell those whom it concerns. INT64_MAX: nobody wants to be told; else a tick is soon enough. */
int64_t colockp_event_look(colock *lock, const struct colockp_region *region, bool lost);
/* The hold is another one by now (downgraded, got back): tell it anew. */
void colockp_event_again(colock_hold *hold);
/* The hold ends: close its descriptor, if it has one. */
void colockp_event_close(colock_hold *hold);
static inline void colockp_event_end(colock_hold *hold) {
  if (hold->events.fd >= 0)
    colockp_event_close(hold);
}

#endif

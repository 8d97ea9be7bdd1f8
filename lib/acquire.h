/* acquire.h - acquiring, as every call that acquires does it. */
#ifndef COLOCKP_ACQUIRE_H
#define COLOCKP_ACQUIRE_H

#include "wait.h"

/* EINVAL, with message, or 0. */
int colockp_request_check(const colock_request *request);
/* As colock_acquire_with, with arguments that have been checked. once: one try; EBUSY where it would wait. cancel:
 * NULL, or what may end the wait; the hold then counts for no thread. */
int colockp_acquire(colock *lock, const colock_request *request, struct colockp_cancel *cancel, bool once,
                    colock_hold **hold);

/* What the seat does, to be shown: it waits. */
void colockp_show_waiting(struct colockp_wait *wait);

#endif

/* helper.h - one thread a lock, for what is kept (cache.h) and for who wants to be told (event.h).
 *
 * It sleeps on the recall word of the file while something is kept or somebody wants to be told, else on a word of its
 * own, for ever. All signals are blocked in it. It is started with the first need and ends with colock_close; a forked
 * child begins without.
 */
#ifndef COLOCKP_HELPER_H
#define COLOCKP_HELPER_H

#include "lock.h"

/* 0 when it runs. ENOMEM ESYSTEM, with message; that nothing can be kept is said once, as a warning. patient: not again
 * within a second after it failed. */
int colockp_helper_start(colock *lock, bool patient);
/* It looks at everything anew. */
void colockp_helper_kick(colock *lock);
/* Ends it, if it runs: not from a suspend. */
void colockp_helper_stop(colock *lock);
/* In a forked child. */
void colockp_helper_forget(colock *lock);

#endif

/* cache.h - locks that are kept after their release (auto_release), for the next acquire of this process.
 *
 * A kept seat has LANE and lies in a cell of its lock (lock.h). It changes hands by CAS of the cell alone: an acquire
 * takes it back without a system call; the helper thread (helper.h) takes it to let go, when it idles or somebody
 * waits. With a suspend only the helper lets go, so that threads that may not block never run one.
 *
 * No recall is lost. A waiter sets the queue's flag, then changes the recall word; the helper reads that word, says
 * that it was looking (WANTED), then looks into the cells. Who keeps a seat looks at the flag, fills the cell, then
 * looks at WANTED. Either he sees that somebody waits, or the helper sees the cell.
 */
#ifndef COLOCKP_CACHE_H
#define COLOCKP_CACHE_H

#include "lock.h"

#define COLOCKP_MINIMUM_NS INT64_C(1000000) /* for so long LANE may be used again though somebody waits */

/* Get the lock with what is kept. 0: *hold, shown. EBUSY: not that way; *rest, if it is set, is a seat without LANE to
 * go on with. EDEADLK: COLOCKP_BLOCKING, and this thread has it already. COLOCKP_COUNTS: the hold counts for that. */
int colockp_cache_take(colock *lock, int mode, int priority, const char *purpose, unsigned how, colock_hold **hold,
                       colock_hold **rest);
enum { COLOCKP_BLOCKING = 1, COLOCKP_COUNTS = 2 };
/* Keep the hold, which is whole, instead of ending it. False: it is to be ended. */
bool colockp_cache_keep(colock_hold *hold, int64_t now_ns);
/* Let go whatever is kept. 0, or the first failure. */
int colockp_cache_empty(colock *lock);

/* For the helper: let go what has to go. When the next has to; INT64_MAX: nothing is kept. lost: the file has lost its
 * name. */
int64_t colockp_cache_look(colock *lock, const struct colockp_region *region, int64_t now_ns, bool lost);
/* Is anything kept; or in use that was kept before? */
bool colockp_cache_any(const colock *lock, bool in_use);

#endif

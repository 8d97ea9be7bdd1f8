/* watch.h - who is killed rings nobody: one thread of the process learns of it and rings in his place.
 *
 * The thread polls one inotify descriptor. A process that dies closes its descriptors of the lock file: for each event
 * the thread rings those who may go (queue.h), now and seven times within 0.6 s, because the event comes before
 * the kernel drops the lock. One watch covers every holder, container and inherited copy, and a file that is renamed,
 * deleted or replaced. A file that nobody here has waited for in the last second or two is not watched: its events wake
 * nobody and fill no queue of the kernel. With the last region that it has ever watched the thread ends.
 *
 * Discipline: one mutex, taken under no other and with none taken under it (the watch is a member of process.h, so fork
 * finds it whole; the child begins without). All signals are blocked in the thread.
 */
#ifndef COLOCKP_WATCH_H
#define COLOCKP_WATCH_H

#include "region.h"

/* A waiter of this process wants the region watched. 0: whoever dies from now on is noticed, also one who is half dead
 * already. Else an errno: it has to poll (no inotify instance or watch to be had, no thread); said once a process, as a
 * warning. ENOTSUP: a reader-only lock has no bells. Every call, failed or not, needs one colockp_watch_end. No system
 * call while the file is watched already. */
int colockp_watch_begin(struct colockp_region *region);
void colockp_watch_end(struct colockp_region *region);

#endif

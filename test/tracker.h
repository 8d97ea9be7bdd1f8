/* tracker.h - sees every record lock that this process takes and gives back, through the table of system calls.
 *
 * A problem is: a lock still held at the end, a description closed with a lock on it, an unlock of bytes that were not
 * locked, a lock outside the ranges of layout.h, any command but F_OFD_SETLK and F_OFD_GETLK. Only the process that
 * started the tracker is watched; what a forked child does goes by.
 */
#ifndef COLOCK_TEST_TRACKER_H
#define COLOCK_TEST_TRACKER_H

#include <stdbool.h>
#include <stddef.h>

void tracker_start(void);             /* wraps the table as it is now */
void tracker_finish(
    void); /* puts it back; fails the test with the problems, if there were any; nothing if not started */
const char *tracker_stop(void);       /* puts it back and returns the problems, "" if none: for tests of the tracker */
void tracker_allow_close(bool allow); /* a description may be closed with locks on it (inherited holds) */
size_t tracker_held(void);            /* ranges locked now, over all descriptions */
size_t tracker_locks(void);           /* locks that were granted since the start */

#endif

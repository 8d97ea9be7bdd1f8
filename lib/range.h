/* range.h - byte ranges of a lock file: the only user of record locks (F_OFD_SETLK and _GETLK; never _SETLKW). */
#ifndef COLOCKP_RANGE_H
#define COLOCKP_RANGE_H

#include <stdint.h>

enum { COLOCKP_RANGE_SHARED = 1, COLOCKP_RANGE_EXCLUSIVE = 2 }; /* = COLOCK_SHARED, COLOCK_EXCLUSIVE */

/* Each returns 0, or an errno. Taken by somebody else: EAGAIN (never EACCES, whatever the file system says). EINTR is
 * retried. */
int colockp_range_lock(int fd, int mode, int64_t start, int64_t length);
int colockp_range_unlock(int fd, int64_t start, int64_t length);

/* Would a lock of that mode be refused because somebody *else's* description holds a part of the range? 1, 0, or
 * -errno. A hint: it may change at once. */
int colockp_range_taken(int fd, int mode, int64_t start, int64_t length);

#endif

/* usual.h - how long a lock is held as a rule, by its statistics: what who waits may expect. */
#ifndef COLOCKP_USUAL_H
#define COLOCKP_USUAL_H

#include <stdint.h>

/* Of shared and of exclusive holds, in ns: nine of ten were not longer; -1: too few to tell, or they cannot be read.
 * fd: of the lock file, open for reading, without a record lock. */
void colockp_usual_read(int64_t usual_ns[2], int fd, const char *escaped_path);

#endif

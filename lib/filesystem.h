/* filesystem.h - which file systems can carry a lock file, and what the others are called. */
#ifndef COLOCKP_FILESYSTEM_H
#define COLOCKP_FILESYSTEM_H

#include <sys/types.h>

/* Can the file system that `fd` (a lock file, or its directory) lies on carry a mapped lock file? path: for messages,
 * escaped; carrier: the setting; size: of the file, 0 if there is none yet. 0, ENOLOCKS, ESYSTEM. */
int colockp_filesystem_check(const char *path, int fd, int carrier, off_t size);

/* Before any data: make a new file one whose allocated pages a full disk cannot take away again. 0 or an errno. */
int colockp_filesystem_prepare(int fd);

/* Allocate [from, to) so that no later store can meet a full disk. 0 or an errno; EFBIG: beyond RLIMIT_FSIZE. */
int colockp_filesystem_allocate(int fd, off_t from, off_t to);

#endif

/* range.c - open file description locks on byte ranges. */
#define _GNU_SOURCE
#include "range.h"
#include "system.h"

#include <errno.h>

_Static_assert(sizeof(off_t) == 8, "lock bytes lie up to 2 GiB: build with large files");

static int set(int fd, short type, int64_t start, int64_t length) {
  struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length };
  while (colockp_system.fcntl_lock(fd, F_OFD_SETLK, &range) != 0) {
    if (errno == EINTR)
      continue;
    return errno == EACCES ? EAGAIN : errno; /* POSIX lets a conflict be either */
  }
  return 0;
}

int colockp_range_lock(int fd, int mode, int64_t start, int64_t length) {
  return set(fd, mode == COLOCKP_RANGE_EXCLUSIVE ? F_WRLCK : F_RDLCK, start, length);
}

int colockp_range_unlock(int fd, int64_t start, int64_t length) {
  return set(fd, F_UNLCK, start, length);
}

int colockp_range_taken(int fd, int mode, int64_t start, int64_t length) {
  struct flock range = { .l_type = mode == COLOCKP_RANGE_EXCLUSIVE ? F_WRLCK : F_RDLCK,
                         .l_whence = SEEK_SET, .l_start = start, .l_len = length };
  while (colockp_system.fcntl_lock(fd, F_OFD_GETLK, &range) != 0)
    if (errno != EINTR)
      return -errno;
  return range.l_type != F_UNLCK;
}

/* system.h - every system call that colock makes, in one table, so that tests can fail, count or kill at the Nth.
 *
 * Discipline: the library calls the kernel only through colockp_system. Tests replace entries before any other thread
 * runs; in a program the table never changes. Calls set errno as libc does.
 */
#ifndef COLOCKP_SYSTEM_H
#define COLOCKP_SYSTEM_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <time.h>

struct colockp_system {
  int (*openat)(int directory, const char *path, int flags, mode_t mode);
  int (*close)(int fd);
  int (*fstat)(int fd, struct stat *st);
  int (*fstatat)(int directory, const char *path, struct stat *st, int flags);
  int (*fstatfs)(int fd, struct statfs *st);
  ssize_t (*pread)(int fd, void *buffer, size_t size, off_t offset);
  ssize_t (*pwrite)(int fd, const void *buffer, size_t size, off_t offset);
  int (*fallocate)(int fd, int mode, off_t offset, off_t length);
  int (*fsync)(int fd);
  int (*fdatasync)(int fd);
  int (*linkat)(int from_directory, const char *from, int to_directory, const char *to, int flags);
  void *(*mmap)(void *address, size_t length, int protection, int flags, int fd, off_t offset);
  int (*munmap)(void *address, size_t length);
  int (*fcntl_lock)(int fd, int command, struct flock *range); /* F_OFD_SETLK, F_OFD_GETLK: range.c alone */
  int (*fcntl_int)(int fd, int command, int argument);         /* F_DUPFD_CLOEXEC, F_GETFD, F_SETFD */
  int (*ioctl_long)(int fd, unsigned long request, long *argument); /* FS_IOC_GETFLAGS, FS_IOC_SETFLAGS */
  int (*getrlimit)(int resource, struct rlimit *limit);
  int (*futex_wait)(uint32_t *word, uint32_t expected, const struct timespec *relative);
  int (*futex_wake)(uint32_t *word, int count);
  int (*inotify_init1)(int flags);
  int (*inotify_add_watch)(int fd, const char *path, uint32_t mask);
  int (*inotify_rm_watch)(int fd, int descriptor);
  int (*eventfd)(unsigned initial, int flags);
  ssize_t (*read)(int fd, void *buffer, size_t size);    /* of descriptors for events and of inotify only */
  ssize_t (*write)(int fd, const void *buffer, size_t size);
  int (*ppoll)(struct pollfd *fds, nfds_t count, const struct timespec *relative);
  int (*pthread_create)(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg);
  void *(*malloc)(size_t size); /* not system calls, but they fail as those do and are tested the same way */
  void (*free)(void *memory);
};

extern struct colockp_system colockp_system;
extern const struct colockp_system colockp_system_default; /* what a test puts back */

#endif

/* system.c - the table of system calls, filled with the real ones. */
#define _GNU_SOURCE
#include "system.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int real_openat(int directory, const char *path, int flags, mode_t mode) {
  return openat(directory, path, flags, mode);
}

/* On the path of every acquire: older C libraries make of fstat the slower newfstatat with an empty name. */
static int real_fstat(int fd, struct stat *st) {
#if defined(SYS_fstat) && defined(__LP64__)
  return (int)syscall(SYS_fstat, fd, st);
#else
  return fstat(fd, st);
#endif
}

static int real_lock(int fd, int command, struct flock *range) {
  return fcntl(fd, command, range);
}

static int real_fcntl(int fd, int command, int argument) {
  return fcntl(fd, command, argument);
}

static int real_ioctl(int fd, unsigned long request, long *argument) {
  return ioctl(fd, request, argument);
}

static int real_getrlimit(int resource, struct rlimit *limit) {
  return getrlimit((__rlimit_resource_t)resource, limit); /* an enum of its own in glibc */
}

static int real_futex_wait(uint32_t *word, uint32_t expected, const struct timespec *relative) {
  return (int)syscall(SYS_futex, word, FUTEX_WAIT, expected, relative, NULL, 0);
}

static int real_futex_wake(uint32_t *word, int count) {
  return (int)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static int real_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *relative) {
  return ppoll(fds, count, relative, NULL);
}

static int real_eventfd(unsigned initial, int flags) {
  return eventfd(initial, flags);
}

#define DEFAULTS                                                                                                       \
  {                                                                                                                    \
    .openat = real_openat, .close = close, .fstat = real_fstat, .fstatat = fstatat, .fstatfs = fstatfs,                \
    .pread = pread, .pwrite = pwrite, .fallocate = fallocate, .fsync = fsync, .fdatasync = fdatasync,                  \
    .linkat = linkat, .mmap = mmap, .munmap = munmap, .fcntl_lock = real_lock, .fcntl_int = real_fcntl,                \
    .ioctl_long = real_ioctl, .getrlimit = real_getrlimit, .futex_wait = real_futex_wait,                              \
    .futex_wake = real_futex_wake, .inotify_init1 = inotify_init1, .inotify_add_watch = inotify_add_watch,             \
    .inotify_rm_watch = inotify_rm_watch, .eventfd = real_eventfd, .read = read, .write = write, .ppoll = real_ppoll,  \
    .pthread_create = pthread_create, .malloc = malloc, .free = free                                                   \
  }

const struct colockp_system colockp_system_default = DEFAULTS;
struct colockp_system colockp_system = DEFAULTS;

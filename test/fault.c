/* fault.c - counting wrappers around every entry of the table of system calls. See fault.h. */
#define _GNU_SOURCE
#include "fault.h"

#include "system.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

const char *const fault_names[FAULT_COUNT] = {
#define FAULT_NAME(name) #name,
  FAULT_CALLS(FAULT_NAME)
#undef FAULT_NAME
};

enum { NOTHING, COUNT, DIE, FAIL };

static struct {
  _Atomic int action; /* the library's own threads look at these while a test arms */
  _Atomic int call;
  _Atomic long at;
  _Atomic int errno_value;
  _Atomic long seen;
  _Atomic bool hit;
  _Atomic bool no_tmpfile;
  _Atomic long allocations;
  struct colockp_system below;
} fault;

/* True if this call has to fail; errno is set. */
static bool strikes(enum fault_call call) {
  if (fault.action == NOTHING || (fault.action == FAIL && fault.call != (int)call)) return false;
  if (++fault.seen != fault.at) return false;
  fault.hit = true;
  if (fault.action == DIE) raise(SIGKILL);
  errno = fault.errno_value;
  return fault.action == FAIL;
}

static int faulty_openat(int directory, const char *path, int flags, mode_t mode) {
  if (strikes(FAULT_openat)) return -1;
  if (fault.no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
    errno = EOPNOTSUPP;
    return -1;
  }
  return fault.below.openat(directory, path, flags, mode);
}

/* As in Linux: the descriptor is gone, whatever close says. */
static int faulty_close(int fd) {
  bool failing = strikes(FAULT_close);
  int saved = errno;
  int result = fault.below.close(fd);
  if (!failing) return result;
  errno = saved;
  return -1;
}

static ssize_t faulty_pread(int fd, void *buffer, size_t size, off_t offset) {
  if (!strikes(FAULT_pread)) return fault.below.pread(fd, buffer, size, offset);
  return errno != 0 ? -1 : fault.below.pread(fd, buffer, size / 2, offset);
}

static ssize_t faulty_pwrite(int fd, const void *buffer, size_t size, off_t offset) {
  if (!strikes(FAULT_pwrite)) return fault.below.pwrite(fd, buffer, size, offset);
  return errno != 0 ? -1 : fault.below.pwrite(fd, buffer, size / 2, offset);
}

/* Giving a lock back does not fail on file systems that colock maps; only taking and asking do. */
static int faulty_fcntl_lock(int fd, int command, struct flock *range) {
  if (range->l_type == F_UNLCK) {
    if (fault.action == DIE || fault.action == COUNT) strikes(FAULT_fcntl_lock);
    return fault.below.fcntl_lock(fd, command, range);
  }
  return strikes(FAULT_fcntl_lock) ? -1 : fault.below.fcntl_lock(fd, command, range);
}

static void *faulty_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  return strikes(FAULT_mmap) ? (void *)-1 : fault.below.mmap(address, length, protection, flags, fd, offset);
}

static int faulty_munmap(void *address, size_t length) {
  strikes(FAULT_munmap);
  return fault.below.munmap(address, length);
}

static void *faulty_malloc(size_t size) {
  if (strikes(FAULT_malloc)) return NULL;
  void *memory = fault.below.malloc(size);
  if (memory != NULL) fault.allocations++;
  return memory;
}

static void faulty_free(void *memory) {
  strikes(FAULT_free);
  if (memory != NULL) fault.allocations--;
  fault.below.free(memory);
}

static int faulty_futex_wake(uint32_t *word, int count) {
  strikes(FAULT_futex_wake);
  return fault.below.futex_wake(word, count);
}

/* The rest fails with -1 and passes its arguments on. */
#define PLAIN(result, name, parameters, arguments) \
  static result faulty_##name parameters { return strikes(FAULT_##name) ? -1 : fault.below.name arguments; }
PLAIN(int, fstat, (int fd, struct stat *st), (fd, st))
PLAIN(int, fstatat, (int directory, const char *path, struct stat *st, int flags), (directory, path, st, flags))
PLAIN(int, fstatfs, (int fd, struct statfs *st), (fd, st))
PLAIN(int, fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length))
PLAIN(int, fsync, (int fd), (fd))
PLAIN(int, fdatasync, (int fd), (fd))
PLAIN(int, linkat, (int d1, const char *from, int d2, const char *to, int flags), (d1, from, d2, to, flags))
PLAIN(int, fcntl_int, (int fd, int command, int argument), (fd, command, argument))
PLAIN(int, ioctl_long, (int fd, unsigned long request, long *argument), (fd, request, argument))
PLAIN(int, getrlimit, (int resource, struct rlimit *limit), (resource, limit))
PLAIN(int, futex_wait, (uint32_t *word, uint32_t expected, const struct timespec *relative), (word, expected, relative))
PLAIN(int, inotify_init1, (int flags), (flags))
PLAIN(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask))
PLAIN(int, inotify_rm_watch, (int fd, int descriptor), (fd, descriptor))
PLAIN(int, eventfd, (unsigned initial, int flags), (initial, flags))
PLAIN(ssize_t, read, (int fd, void *buffer, size_t size), (fd, buffer, size))
PLAIN(ssize_t, write, (int fd, const void *buffer, size_t size), (fd, buffer, size))
PLAIN(int, ppoll, (struct pollfd *fds, nfds_t count, const struct timespec *relative), (fds, count, relative))
#undef PLAIN

/* The error is its result. */
static int faulty_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                                 void *arg) {
  if (strikes(FAULT_pthread_create)) return fault.errno_value;
  return fault.below.pthread_create(thread, attributes, body, arg);
}

void fault_install(void) {
  fault.below = colockp_system;
#define FAULT_WRAP(name) colockp_system.name = faulty_##name;
  FAULT_CALLS(FAULT_WRAP)
#undef FAULT_WRAP
}

void fault_remove(void) {
  fault_disarm();
  fault.no_tmpfile = false;
  colockp_system = fault.below;
}

static void arm(int action, int call, long n, int errno_value) {
  fault.seen = 0;
  fault.hit = false;
  fault.call = call;
  fault.at = n;
  fault.errno_value = errno_value;
  fault.action = action;
}

void fault_die_at(long n) { arm(n > 0 ? DIE : COUNT, 0, n, 0); }
void fault_fail_at(enum fault_call call, long n, int errno_value) { arm(FAIL, (int)call, n, errno_value); }
void fault_disarm(void) { fault.action = NOTHING; }
long fault_calls(void) { return fault.seen; }
bool fault_hit(void) { return fault.hit; }
void fault_no_tmpfile(bool on) { fault.no_tmpfile = on; }
long fault_allocations(void) { return fault.allocations; }

const int *fault_errnos(enum fault_call call) {
  static const int none[] = {-1};
  static const int open_file[] = {EMFILE, EACCES, EIO, ENOMEM, -1};
  static const int input[] = {EIO, ENOMEM, -1};
  static const int look[] = {EIO, EACCES, ENOENT, -1};
  static const int half_or_error[] = {EIO, 0, -1};
  static const int output[] = {ENOSPC, EIO, 0, -1};
  static const int space[] = {ENOSPC, EIO, EOPNOTSUPP, -1};
  static const int link_file[] = {ENOSPC, EIO, EACCES, EEXIST, -1};
  static const int map[] = {ENOMEM, EACCES, ENODEV, -1};
  static const int record_lock[] = {ENOLCK, EIO, EAGAIN, EINTR, -1};
  static const int copy[] = {EMFILE, -1};
  static const int attributes[] = {ENOTTY, EPERM, -1};
  static const int sleep_on[] = {EINTR, EAGAIN, ETIMEDOUT, -1};
  static const int instance[] = {EMFILE, ENOMEM, -1};
  static const int watch[] = {ENOSPC, EACCES, ENOENT, -1};
  static const int unwatch[] = {EINVAL, -1};
  static const int interrupted[] = {EINTR, -1}; /* a write to an eventfd cannot fail otherwise */
  static const int await[] = {EINTR, EINVAL, -1};
  static const int thread[] = {EAGAIN, EINVAL, -1};
  static const int memory[] = {ENOMEM, -1};
  switch (call) {
    case FAULT_openat: return open_file;
    case FAULT_close: case FAULT_fsync: case FAULT_fdatasync: case FAULT_fstat: case FAULT_fstatfs: return input;
    case FAULT_fstatat: return look;
    case FAULT_pread: return half_or_error;
    case FAULT_pwrite: return output;
    case FAULT_fallocate: return space;
    case FAULT_linkat: return link_file;
    case FAULT_mmap: return map;
    case FAULT_fcntl_lock: return record_lock;
    case FAULT_fcntl_int: return copy;
    case FAULT_ioctl_long: return attributes;
    case FAULT_futex_wait: return sleep_on;
    case FAULT_inotify_init1: case FAULT_eventfd: return instance;
    case FAULT_inotify_add_watch: return watch;
    case FAULT_inotify_rm_watch: return unwatch;
    case FAULT_read: case FAULT_write: return interrupted;
    case FAULT_ppoll: return await;
    case FAULT_pthread_create: return thread;
    case FAULT_malloc: return memory;
    default: return none;
  }
}

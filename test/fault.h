/* fault.h - the table of system calls with a fault in it: die at the Nth call, or let the Nth call of one kind fail.
 *
 * Wraps the table as it is when installed; one process at a time, armed before the calls under test and disarmed after.
 * A fault is taken before the call: what dies at call N has done everything before it and nothing of it.
 */
#ifndef COLOCK_TEST_FAULT_H
#define COLOCK_TEST_FAULT_H

#include <stdbool.h>

/* Every entry of struct colockp_system; test_system.c proves that none is missing. */
#define FAULT_CALLS(X) \
  X(openat) X(close) X(fstat) X(fstatat) X(fstatfs) X(pread) X(pwrite) X(fallocate) X(fsync) X(fdatasync) X(linkat) \
  X(mmap) X(munmap) X(fcntl_lock) X(fcntl_int) X(ioctl_long) X(getrlimit) X(futex_wait) X(futex_wake) \
  X(inotify_init1) X(inotify_add_watch) X(inotify_rm_watch) X(eventfd) X(read) X(write) X(ppoll) X(pthread_create) \
  X(malloc) X(free)

enum fault_call {
#define FAULT_ENUM(name) FAULT_##name,
  FAULT_CALLS(FAULT_ENUM)
#undef FAULT_ENUM
  FAULT_COUNT
};

extern const char *const fault_names[FAULT_COUNT];

void fault_install(void);
void fault_remove(void);
void fault_die_at(long n);  /* SIGKILL at the nth call from now, whichever it is; 0: only count */
void fault_fail_at(enum fault_call call, long n, int errno_value); /* 0, for pread and pwrite: moves half the bytes */
void fault_disarm(void);
long fault_calls(void);     /* since armed: of that call, or of all */
bool fault_hit(void);       /* the armed fault was met */
void fault_no_tmpfile(bool on); /* openat refuses O_TMPFILE, as some file systems do */
long fault_allocations(void);   /* made through the table and not freed */

/* The errno values that this call may well fail with, ending in -1; empty for calls that cannot fail. */
const int *fault_errnos(enum fault_call call);

#endif

/* identity.h - who this process and thread are, as the lock file shows it. Read once a process, again after a fork. */
#ifndef COLOCKP_IDENTITY_H
#define COLOCKP_IDENTITY_H

#include "layout.h"
#include <stdbool.h>

/* Fills everything but label (which is the lock's). What cannot be learned (no /proc) stays 0 or "". Never fails. */
void colockp_identity_get(struct colockp_identity *identity);

/* This boot's id as in /proc/sys/kernel/random/boot_id; "" if it cannot be read. Valid for the process's life. */
const char *colockp_boot_id(void);

/* Copy text into a fixed field: ends in NUL, cut at a whole UTF-8 character, the rest of the field zero. */
void colockp_text_copy(char *field, size_t size, const char *text);

/* Is that process stopped, and does nothing until it is continued? 1, 0; -1: it is gone, or cannot be looked at from
 * here: another host, another pid namespace, no /proc. */
int colockp_process_stopped(const struct colockp_identity *identity);

/* Has some process here its number? Not as sure as the above, but 20 times faster. */
bool colockp_process_numbered(const struct colockp_identity *identity);

/* For what the fast path reads: no call to find it, in a shared library either. Such a library can only be loaded late
 * if all that it has of thread-local storage is small (glibc: 512 bytes for all). */
#define COLOCKP_FAST_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))

extern _Atomic uint32_t colockp_tid_epoch; /* grows with every fork, so that cached ids are known to be old */
struct colockp_tid {
  int32_t tid;
  uint32_t epoch;
};
extern COLOCKP_FAST_LOCAL struct colockp_tid colockp_tid_cached;
int32_t colockp_tid_find(void);
static inline int32_t colockp_tid(void) {
  return colockp_tid_cached.epoch == atomic_load_explicit(&colockp_tid_epoch, memory_order_relaxed)
             ? colockp_tid_cached.tid : colockp_tid_find();
}
extern COLOCKP_FAST_LOCAL uint64_t colockp_thread_number; /* 0: none yet */
uint64_t colockp_thread_new(void);
/* A number no other thread of this process ever has. */
static inline uint64_t colockp_thread(void) {
  return colockp_thread_number ? colockp_thread_number : colockp_thread_new();
}
void colockp_identity_forget(void); /* in a forked child: pid, start time and tid are read anew */

#endif

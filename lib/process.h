/* process.h - what belongs to the whole process: descriptors that a forked child must close, and fork itself.
 *
 * The fork lock is taken by fork's prepare handler, and elsewhere only around open+register, close, open+read+close,
 * and walks of the lists below: never while waiting. Order: fork lock, then the members' mutexes. Who holds a member's
 * mutex takes no fork lock.
 */
#ifndef COLOCKP_PROCESS_H
#define COLOCKP_PROCESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A descriptor that colock opened. Those that are this process's alone are closed in a forked child at once, unless
 * inherited: the child's copy of a description that carries record locks would keep a dead parent's lock. */
struct colockp_fd {
  int fd;                             /* -1: closed */
  bool own;                           /* constant: this process's alone; what may carry record locks must be */
  bool inherited;                     /* under the fork lock: stays open in children */
  struct colockp_fd *next, *previous; /* under the fork lock */
};

/* openat and register in one step that no fork can split; above 2, close-on-exec. 0 or an errno. */
int colockp_fd_open(struct colockp_fd *fd, bool own, int directory, const char *name, int flags, mode_t mode);
/* The same with a call that makes a descriptor of this process's alone, close-on-exec. */
int colockp_fd_make(struct colockp_fd *fd, int (*make)(void));
void colockp_fd_close(struct colockp_fd *fd);
/* Whether children keep it, across exec too. 0 or an errno. */
int colockp_fd_inherit(struct colockp_fd *fd, bool on);

/* The start of a small file, ended with NUL; "" if it cannot be read. No forked child gets a copy of the descriptor. */
void colockp_read_unshared(const char *path, char *out, size_t size);

/* What has a mutex that a fork must not catch half way: an opened lock. */
struct colockp_member {
  pthread_mutex_t mutex;
  void (*in_child)(struct colockp_member *member); /* called in a forked child, every mutex held; may not allocate */
  struct colockp_member *next, *previous;          /* under the fork lock */
};
void colockp_member_add(struct colockp_member *member);
void colockp_member_remove(struct colockp_member *member);
/* Call visit on members until one answers true; its answer. The fork lock is held, no mutex. */
bool colockp_member_any(bool (*visit)(struct colockp_member *member, void *arg), void *arg);

extern _Atomic uint32_t colockp_forks;
extern _Atomic uint32_t *_Atomic colockp_alive; /* the kernel wipes the word in a child; NULL: not to be had, or yet */
uint32_t colockp_fork_find(void);

/* Grows with every fork that this process is the child of, raw clone included. Every public call begins with it. */
static inline uint32_t colockp_fork_count(void) {
  _Atomic uint32_t *alive = atomic_load_explicit(&colockp_alive, memory_order_acquire);
  return alive && atomic_load_explicit(alive, memory_order_relaxed)
             ? atomic_load_explicit(&colockp_forks, memory_order_relaxed)
             : colockp_fork_find();
}

#endif

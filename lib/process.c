/* process.c - descriptors, members and fork. See process.h for the discipline. */
#define _GNU_SOURCE
#include "process.h"
#include "identity.h"
#include "system.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#define LOCKS_FROM 32 /* lowest number of a descriptor that carries locks */

static pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER; /* its handlers are set by the first colockp_fork_count */
static struct colockp_fd *descriptors; /* under the fork lock */
static struct colockp_member *members; /* under the fork lock */
static pthread_once_t once = PTHREAD_ONCE_INIT;
_Atomic uint32_t colockp_forks;
_Atomic uint32_t *_Atomic colockp_alive;

static void prepare(void) {
  pthread_mutex_lock(&fork_lock);
  for (struct colockp_member *member = members; member; member = member->next)
    pthread_mutex_lock(&member->mutex);
}

static void unlock_all(void) {
  for (struct colockp_member *member = members; member; member = member->next)
    pthread_mutex_unlock(&member->mutex);
  pthread_mutex_unlock(&fork_lock);
}

/* The list begins anew: some of it lies on the stacks of threads that this child does not have. */
static void become_child(void) {
  for (struct colockp_fd *fd = descriptors, *next; fd; fd = next) {
    next = fd->next;
    fd->next = fd->previous = NULL;
    if (fd->own && !fd->inherited && fd->fd >= 0) {
      colockp_system.close(fd->fd);
      fd->fd = -1;
    }
  }
  descriptors = NULL;
  colockp_forks++;
  if (colockp_alive)
    *colockp_alive = 1;
  colockp_identity_forget();
  for (struct colockp_member *member = members; member; member = member->next)
    member->in_child(member);
}

static void child(void) {
  become_child();
  unlock_all();
}

static void start(void) {
  pthread_atfork(prepare, unlock_all, child);
  void *page = colockp_system.mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED)
    return;
  if (madvise(page, 4096, MADV_WIPEONFORK) != 0) {
    colockp_system.munmap(page, 4096);
    return;
  }
  _Atomic uint32_t *alive = page;
  *alive = 1;
  colockp_alive = alive;
}

/* A child made without the handlers: the other threads' mutexes may be locked for ever here, so they begin anew. */
static void raw_child(void) {
  pthread_mutex_init(&fork_lock, NULL);
  for (struct colockp_member *member = members; member; member = member->next)
    pthread_mutex_init(&member->mutex, NULL);
  become_child();
}

uint32_t colockp_fork_find(void) {
  pthread_once(&once, start);
  _Atomic uint32_t *alive = colockp_alive;
  if (alive && atomic_load_explicit(alive, memory_order_relaxed) == 0)
    raw_child();
  return atomic_load_explicit(&colockp_forks, memory_order_relaxed);
}

/* 0, 1 and 2 are others': a program that closed them would print into our lock file. */
static int above_two(int fd) {
  if (fd > 2 || fd < 0)
    return fd;
  int moved = colockp_system.fcntl_int(fd, F_DUPFD_CLOEXEC, 3);
  int error = errno;
  colockp_system.close(fd);
  errno = error;
  return moved;
}

/* When a process dies, Linux closes its descriptors from the highest number down, and the watch's (watch.h) takes up to
 * 20 ms: a lock on a lower one would stay that much longer. So those that carry locks leave the low numbers to it, if
 * there is room. 32 more need no larger table in the kernel. */
static int above_watch(int fd) {
  if (fd < 0 || fd >= LOCKS_FROM)
    return fd;
  int error = errno, moved = colockp_system.fcntl_int(fd, F_DUPFD_CLOEXEC, LOCKS_FROM);
  errno = error;
  if (moved < 0)
    return fd;
  colockp_system.close(fd);
  return moved;
}

/* Under the fork lock: `made` is a descriptor, or -1 with errno. */
static int enter(struct colockp_fd *fd, bool own, int made) {
  int error = made < 0 ? errno : 0;
  fd->fd = made;
  fd->own = own;
  fd->inherited = false;
  if (error)
    return error;
  fd->previous = NULL;
  fd->next = descriptors;
  if (descriptors)
    descriptors->previous = fd;
  descriptors = fd;
  return 0;
}

int colockp_fd_open(struct colockp_fd *fd, bool own, int directory, const char *name, int flags, mode_t mode) {
  pthread_mutex_lock(&fork_lock);
  int error = 0;
  do {
    int made = above_two(colockp_system.openat(directory, name, flags | O_CLOEXEC, mode));
    error = enter(fd, own, own ? above_watch(made) : made);
  } while (error == EINTR);
  pthread_mutex_unlock(&fork_lock);
  return error;
}

void colockp_read_unshared(const char *path, char *out, size_t size) {
  ssize_t length = -1;
  pthread_mutex_lock(&fork_lock);
  int fd = colockp_system.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
  if (fd >= 0) {
    do
      length = colockp_system.pread(fd, out, size - 1, 0);
    while (length < 0 && errno == EINTR);
    colockp_system.close(fd);
  }
  pthread_mutex_unlock(&fork_lock);
  out[length > 0 ? length : 0] = '\0';
}

int colockp_fd_make(struct colockp_fd *fd, int (*make)(void)) {
  pthread_mutex_lock(&fork_lock);
  int error = enter(fd, true, above_two(make()));
  pthread_mutex_unlock(&fork_lock);
  return error;
}

static void unlink_fd(struct colockp_fd *fd) {
  if (fd->previous)
    fd->previous->next = fd->next;
  else if (descriptors == fd)
    descriptors = fd->next;
  if (fd->next)
    fd->next->previous = fd->previous;
  fd->next = fd->previous = NULL;
}

void colockp_fd_close(struct colockp_fd *fd) {
  pthread_mutex_lock(&fork_lock);
  unlink_fd(fd);
  if (fd->fd >= 0)
    colockp_system.close(fd->fd);
  fd->fd = -1;
  pthread_mutex_unlock(&fork_lock);
}

int colockp_fd_inherit(struct colockp_fd *fd, bool on) {
  pthread_mutex_lock(&fork_lock);
  int error = colockp_system.fcntl_int(fd->fd, F_SETFD, on ? 0 : FD_CLOEXEC) != 0 ? errno : 0;
  if (error == 0)
    fd->inherited = on;
  pthread_mutex_unlock(&fork_lock);
  return error;
}

void colockp_member_add(struct colockp_member *member) {
  pthread_mutex_lock(&fork_lock);
  member->previous = NULL;
  member->next = members;
  if (members)
    members->previous = member;
  members = member;
  pthread_mutex_unlock(&fork_lock);
}

void colockp_member_remove(struct colockp_member *member) {
  pthread_mutex_lock(&fork_lock);
  if (member->previous)
    member->previous->next = member->next;
  else
    members = member->next;
  if (member->next)
    member->next->previous = member->previous;
  pthread_mutex_unlock(&fork_lock);
}

bool colockp_member_any(bool (*visit)(struct colockp_member *member, void *arg), void *arg) {
  bool found = false;
  pthread_mutex_lock(&fork_lock);
  for (struct colockp_member *member = members; member && !found; member = member->next)
    found = visit(member, arg);
  pthread_mutex_unlock(&fork_lock);
  return found;
}

/* memory.c - locks of the C library in shared memory: who uses them has the file mapped, and may write all of it. */
#define _GNU_SOURCE
#include "peer.h"
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

struct words {
  pthread_mutex_t mutex;
  pthread_rwlock_t rwlock;
};

static struct words *map(void) {
  int fd = open(THEIRS, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(struct words)) != 0)
    die(THEIRS);
  void *words = mmap(NULL, sizeof(struct words), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (words == MAP_FAILED)
    die("mmap");
  close(fd);
  return words;
}

static void prepare(const struct run *run) {
  struct words *words = map();
  pthread_mutexattr_t mutex;
  pthread_rwlockattr_t rwlock;
  (void)run;
  pthread_mutexattr_init(&mutex);
  pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
  pthread_rwlockattr_init(&rwlock);
  pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED);
  if (pthread_mutex_init(&words->mutex, &mutex) != 0 || pthread_rwlock_init(&words->rwlock, &rwlock) != 0)
    die("pthread");
  munmap(words, sizeof *words);
}

static void enter(struct party *party, const struct run *run, int index) {
  (void)run;
  (void)index;
  party->state = map();
}

static void leave(struct party *party) { munmap(party->state, sizeof(struct words)); }

static void must(int error) {
  errno = error;
  if (error)
    die("pthread");
}

static void mutex_take(struct party *party, int mode) {
  struct words *words = party->state;
  (void)mode;
  int error = pthread_mutex_lock(&words->mutex);
  must(error == EOWNERDEAD ? pthread_mutex_consistent(&words->mutex) : error);
}

static void mutex_give(struct party *party) {
  struct words *words = party->state;
  must(pthread_mutex_unlock(&words->mutex));
}

static void rwlock_take(struct party *party, int mode) {
  struct words *words = party->state;
  must(mode == COLOCK_EXCLUSIVE ? pthread_rwlock_wrlock(&words->rwlock) : pthread_rwlock_rdlock(&words->rwlock));
}

static void rwlock_give(struct party *party) {
  struct words *words = party->state;
  must(pthread_rwlock_unlock(&words->rwlock));
}

const struct contender mutex_peer = {
  .name = "pthread mutex, robust", .exclusive_only = true, .prepare = prepare,
  .open = enter, .lock = mutex_take, .unlock = mutex_give, .close = leave
};
const struct contender rwlock_peer = {
  .name = "pthread rwlock", .prepare = prepare,
  .open = enter, .lock = rwlock_take, .unlock = rwlock_give, .close = leave
};

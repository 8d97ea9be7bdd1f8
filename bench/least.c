/* least.c - the least that a queue in user space does to hand a record lock over: unlock, wake; then lock, and see that
 * the file has not been replaced. No line, no names, no tokens, nobody who dies: what is above it is colock's, what is
 * below it nobody's. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void enter(struct party *party, const struct run *run, int index) {
  (void)run;
  party->fd = open(OURS, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  int mapped = open(OURS, O_RDWR | O_CLOEXEC);
  if (party->fd < 0 || mapped < 0 || ftruncate(mapped, 4096) != 0)
    die(OURS);
  bare_lock(party->fd, F_WRLCK, SLOT + index);
  party->state = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
  if (party->state == MAP_FAILED)
    die("mmap");
  close(mapped);
}

static bool have(struct party *party, int mode) {
  struct flock lane = { .l_type = mode == COLOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK, .l_start = LANE, .l_len = 1 };
  return fcntl(party->fd, F_OFD_SETLK, &lane) == 0;
}

static void take(struct party *party, int mode) {
  _Atomic uint32_t *asleep = party->state;
  struct stat st;
  while (!have(party, mode)) {
    atomic_store(asleep, 1);
    if (have(party, mode))
      break;
    syscall(SYS_futex, asleep, FUTEX_WAIT, 1, NULL, NULL, 0);
  }
  if (fstat(party->fd, &st) != 0 || st.st_nlink == 0)
    die(OURS);
}

static void give(struct party *party) {
  _Atomic uint32_t *asleep = party->state;
  bare_lock(party->fd, F_UNLCK, LANE);
  if (atomic_exchange(asleep, 0))
    syscall(SYS_futex, asleep, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void leave(struct party *party) {
  munmap(party->state, 4096);
  close(party->fd);
}

const struct contender least_contender = {
  .name = "least", .open = enter, .lock = take, .unlock = give, .close = leave
};

/* contender.c - colock and the bare system calls behind one face. See contender.h. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void fresh_files(void) {
  unlink(OURS);
  unlink(THEIRS);
}

static int record_lock(int fd, int command, short type, off_t start) {
  struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1 };
  return fcntl(fd, command, &range);
}

void bare_lock(int fd, short type, off_t start) {
  if (record_lock(fd, F_OFD_SETLK, type, start) != 0)
    die("F_OFD_SETLK");
}

int bare_open(int index) {
  int fd = open(THEIRS, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    die(THEIRS);
  bare_lock(fd, F_WRLCK, SLOT + index);
  return fd;
}

/* ---- colock ---- */

static void colock_enter(struct party *party, const struct run *run, int index) {
  (void)index;
  check(colock_open(&party->lock, OURS, run->config));
}

static void colock_take(struct party *party, int mode) { check(colock_acquire(party->lock, mode, &party->hold)); }

static void colock_give(struct party *party) { check(colock_release(party->hold)); }

static void colock_leave(struct party *party) { colock_close(party->lock); }

const struct contender colock_contender = { "colock", colock_enter, colock_take, colock_give, colock_leave };

/* ---- bare ---- */

static void bare_enter(struct party *party, const struct run *run, int index) {
  (void)run;
  party->fd = bare_open(index);
}

static short type_of(int mode) { return mode == COLOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK; }

static void bare_wait(struct party *party, int mode) {
  if (record_lock(party->fd, F_OFD_SETLKW, type_of(mode), LANE) != 0)
    die("F_OFD_SETLKW");
}

static void bare_spin(struct party *party, int mode) {
  while (record_lock(party->fd, F_OFD_SETLK, type_of(mode), LANE) != 0)
    if (errno != EAGAIN && errno != EACCES)
      die("F_OFD_SETLK");
}

static void bare_give(struct party *party) { bare_lock(party->fd, F_UNLCK, LANE); }

static void bare_leave(struct party *party) { close(party->fd); }

const struct contender waiting_contender = { "F_OFD_SETLKW", bare_enter, bare_wait, bare_give, bare_leave };
const struct contender spinning_contender = { "F_OFD_SETLK", bare_enter, bare_spin, bare_give, bare_leave };

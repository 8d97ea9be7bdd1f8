/* kernel.c - what the kernel offers: locks of the process, of the open file, and a file that is there or is not. */
#define _GNU_SOURCE
#include "peer.h"
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

static void enter(struct party *party, const struct run *run, int index) {
  (void)run;
  (void)index;
  party->fd = open(THEIRS, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (party->fd < 0)
    die(THEIRS);
}

static void leave(struct party *party) { close(party->fd); }

static void classic(struct party *party, int command, short type) {
  struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = LANE, .l_len = 1 };
  if (fcntl(party->fd, command, &range) != 0)
    die("F_SETLKW");
}

static void classic_take(struct party *party, int mode) {
  classic(party, F_SETLKW, mode == COLOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK);
}

static void classic_give(struct party *party) { classic(party, F_SETLK, F_UNLCK); }

static void flock_take(struct party *party, int mode) {
  if (flock(party->fd, mode == COLOCK_EXCLUSIVE ? LOCK_EX : LOCK_SH) != 0)
    die("flock");
}

static void flock_give(struct party *party) {
  if (flock(party->fd, LOCK_UN) != 0)
    die("flock");
}

static void lockf_take(struct party *party, int mode) {
  (void)mode;
  if (lockf(party->fd, F_LOCK, 1) != 0)
    die("lockf");
}

static void lockf_give(struct party *party) {
  if (lockf(party->fd, F_ULOCK, 1) != 0)
    die("lockf");
}

/* ---- a file that is there or is not ---- */

static void file_enter(struct party *party, const struct run *run, int index) {
  (void)party;
  (void)run;
  (void)index;
}

static void file_take(struct party *party, int mode) {
  (void)mode;
  while ((party->fd = open(THEIRS ".lock", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0) {
    if (errno != EEXIST)
      die(THEIRS ".lock");
    pause_ns(MS);
  }
}

static void file_give(struct party *party) {
  close(party->fd);
  if (unlink(THEIRS ".lock") != 0)
    die(THEIRS ".lock");
}

static void file_leave(struct party *party) { (void)party; }

const struct contender classic_peer = {
  .name = "F_SETLKW", .open = enter, .lock = classic_take, .unlock = classic_give, .close = leave
};
const struct contender flock_peer = {
  .name = "flock(2)", .open = enter, .lock = flock_take, .unlock = flock_give, .close = leave
};
const struct contender lockf_peer = {
  .name = "lockf", .exclusive_only = true, .open = enter, .lock = lockf_take, .unlock = lockf_give, .close = leave
};
const struct contender file_peer = {
  .name = "O_EXCL lock file, tried each ms", .exclusive_only = true,
  .open = file_enter, .lock = file_take, .unlock = file_give, .close = file_leave
};

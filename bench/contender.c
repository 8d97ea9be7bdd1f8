/* contender.c - colock and the bare system calls behind one face. See contender.h. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void fresh_files(void) {
  static const char *const files[] = { OURS, KEPT, THEIRS, THEIRS "-lock", THEIRS "-journal", THEIRS ".lock" };
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    unlink(files[i]);
  rmdir(THEIRS ".lock"); /* some lock by a directory */
}

void fresh_files_for(const struct run *run, const struct contender *theirs) {
  fresh_files();
  if (theirs->prepare)
    theirs->prepare(run);
}

int64_t pairs_of(const struct contender *contender, struct party *party, int mode, int count) {
  if (contender->pairs)
    return contender->pairs(party, mode, count);
  int64_t start = now_ns();
  for (int i = 0; i < count; i++) {
    contender->lock(party, mode);
    contender->unlock(party);
  }
  return now_ns() - start;
}

void take_turns(struct run *run, struct figure figure, turn_work ours, turn_work theirs, void *arg, int rounds,
                int repeats) {
  struct series series = { .count = rounds };
  ours(arg, repeats);
  theirs(arg, repeats);
  for (int i = 0; i < rounds; i++) {
    int64_t t0 = now_ns();
    ours(arg, repeats);
    int64_t t1 = now_ns();
    theirs(arg, repeats);
    int64_t t2 = now_ns();
    series.ours[i] = (double)(t1 - t0) / repeats;
    series.theirs[i] = (double)(t2 - t1) / repeats;
  }
  print_series(run, &series, figure);
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

void keep_locks(const struct run *run, bool on, const char *idle_timeout) {
  check(colock_config_set(run->config, "auto_release", on ? "true" : "false"));
  check(colock_config_set(run->config, "idle_timeout", idle_timeout));
}

static void kept_enter(struct party *party, const struct run *run, int index) {
  (void)index;
  keep_locks(run, true, "1s");
  check(colock_open(&party->lock, KEPT, run->config));
  keep_locks(run, false, "1s");
}

const struct contender colock_contender = {
  .name = "colock", .open = colock_enter, .lock = colock_take, .unlock = colock_give, .close = colock_leave
};
const struct contender kept_contender = {
  .name = "colock, auto_release", .open = kept_enter, .lock = colock_take, .unlock = colock_give, .close = colock_leave
};

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

const struct contender waiting_contender = {
  .name = "F_OFD_SETLKW", .open = bare_enter, .lock = bare_wait, .unlock = bare_give, .close = bare_leave
};
const struct contender spinning_contender = {
  .name = "F_OFD_SETLK", .open = bare_enter, .lock = bare_spin, .unlock = bare_give, .close = bare_leave
};

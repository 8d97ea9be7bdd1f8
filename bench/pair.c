/* pair.c - what one process pays: acquire and release with nobody in the way, beside many who hold, and opening. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { MOST_SEATS = 1001 };

static int rounds_of(const struct run *run) { return run->quick ? 11 : MOST_ROUNDS; }

/* ---- acquire and release ---- */

struct pair {
  colock *lock;
  int mode;
  colock_hold *holds[MOST_SEATS];
  int bare[MOST_SEATS]; /* as many open file descriptions of the other file that have a byte locked */
  int fd;               /* one of those */
};

static void colock_pair(void *arg, int repeats) {
  struct pair *pair = arg;
  colock_hold *hold;
  for (int i = 0; i < repeats; i++) {
    check(colock_acquire(pair->lock, pair->mode, &hold));
    check(colock_release(hold));
  }
}

static void bare_pair(void *arg, int repeats) {
  struct pair *pair = arg;
  short type = pair->mode == COLOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK;
  for (int i = 0; i < repeats; i++) {
    bare_lock(pair->fd, type, LANE);
    bare_lock(pair->fd, F_UNLCK, LANE);
  }
}

/* The kernel walks its list of locks up to ours: on both sides ours is the middle one. The seat released last is used
 * next. */
static void open_seats(struct pair *pair, const struct run *run, int seats, bool keep) {
  fresh_files();
  check(colock_open(&pair->lock, OURS, run->config));
  for (int i = 0; i < seats; i++)
    check(colock_try_acquire(pair->lock, COLOCK_SHARED, &pair->holds[i]));
  for (int i = 0; i < seats; i++)
    if (i != seats / 2 && !keep)
      check(colock_release(pair->holds[i]));
  check(colock_release(pair->holds[seats / 2]));
  for (int i = 0; i < seats; i++) {
    pair->bare[i] = bare_open(i);
    if (i != seats / 2 && keep)
      bare_lock(pair->bare[i], F_RDLCK, LANE);
  }
  pair->fd = pair->bare[seats / 2];
}

static void close_seats(struct pair *pair, int seats, bool kept) {
  for (int i = 0; i < seats; i++) {
    close(pair->bare[i]);
    if (i != seats / 2 && kept)
      check(colock_release(pair->holds[i]));
  }
  colock_close(pair->lock);
}

void bench_pair(struct run *run) {
  static const int counts[] = { 1, 8, 64 };
  struct pair pair;
  char name[64];
  begin_section(run, "acquire and release, nobody in the way", "a pair of F_OFD_SETLK, as many locked bytes");
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    open_seats(&pair, run, counts[i], false);
    for (pair.mode = COLOCK_SHARED; pair.mode <= COLOCK_EXCLUSIVE; pair.mode++) {
      snprintf(name, sizeof name, "%s, %d open seat%s", pair.mode == COLOCK_SHARED ? "shared" : "exclusive", counts[i],
               counts[i] == 1 ? "" : "s");
      take_turns(run, (struct figure){ .name = name, .unit = "ns", .aim = 1.6 }, colock_pair, bare_pair, &pair,
                 rounds_of(run), run->quick ? 100 : 200);
    }
    close_seats(&pair, counts[i], false);
  }
}

void bench_holders(struct run *run) {
  static const int counts[] = { 1, 10, 100, 1000 };
  struct pair *pair = calloc(1, sizeof *pair);
  char name[64];
  if (!pair)
    die("calloc");
  begin_section(run, "acquire and release beside many who hold", "a pair of F_OFD_SETLK, as many locked bytes");
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    int seats = counts[i] + 1;
    open_seats(pair, run, seats, true);
    pair->mode = COLOCK_SHARED;
    snprintf(name, sizeof name, "shared, beside %d shared", counts[i]);
    take_turns(run, (struct figure){ .name = name, .unit = "ns" }, colock_pair, bare_pair, pair, rounds_of(run),
               counts[i] > 100 ? 20 : 100);
    close_seats(pair, seats, true);
  }
  free(pair);
}

/* ---- opening ---- */

static void colock_opening(void *arg, int repeats) {
  const struct run *run = arg;
  for (int i = 0; i < repeats; i++) {
    colock *lock;
    colock_hold *hold;
    check(colock_open(&lock, OURS, run->config));
    check(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
    check(colock_release(hold));
    colock_close(lock);
  }
}

/* The same calls in the same order, with nothing done between them. */
static void bare_opening(void *arg, int repeats) {
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
  (void)arg;
  for (int i = 0; i < repeats; i++) {
    struct stat st;
    struct statfs fs;
    char page[4096];
    int directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    fstatat(directory, OURS, &st, AT_SYMLINK_NOFOLLOW);
    int file = openat(directory, OURS, flags);
    fstat(file, &st);
    if (pread(file, page, sizeof page, 0) != sizeof page)
      die("pread");
    fstatfs(file, &fs);
    void *map = mmap(NULL, 0x141000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int seat = openat(directory, OURS, flags);
    fstat(seat, &st);
    bare_lock(seat, F_WRLCK, SLOT);
    void *slot = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0x141000);
    bare_lock(seat, F_WRLCK, LANE);
    fstat(seat, &st);
    fstatat(directory, OURS, &st, AT_SYMLINK_NOFOLLOW);
    bare_lock(seat, F_UNLCK, LANE);
    bare_lock(seat, F_UNLCK, SLOT);
    munmap(slot, 4096);
    close(seat);
    munmap(map, 0x141000);
    close(file);
    close(directory);
  }
}

void bench_open(struct run *run) {
  fresh_files();
  begin_section(run, "opening", "the same system calls with nothing between them");
  take_turns(run, (struct figure){ .name = "open, first acquire, release, close", .unit = "ns", .aim = 2.0 },
             colock_opening, bare_opening, run, rounds_of(run), run->quick ? 5 : 10);
}

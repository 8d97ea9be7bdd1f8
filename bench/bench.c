/* bench.c - what a lock costs, side by side with the bare system calls in the same run.
 *
 * Machines are noisy and differ, ratios less so: colock and its measure take turns in short rounds, and the figure is
 * the median of the rounds' ratios. `bench [--json] [--quick] [DIRECTORY]`: the lock files lie in DIRECTORY (default:
 * here). */
#define _GNU_SOURCE
#include <colock.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define LANE  0x50000000
#define SLOT  0x40010000
#define SEATS 64
enum { MOST_ROUNDS = 401 };

struct figure {
  char name[64];
  char beside[64];
  double colock_ns, bare_ns, ratio, low, high; /* medians; low and high: the quartiles of the ratio */
  double aim;                                  /* 0: none */
};

struct run {
  const char *directory;
  bool json;
  int rounds, repeats;
  struct figure figures[32];
  size_t count;
};

static void die(const char *what) {
  perror(what);
  exit(71);
}

static void check(int code) {
  if (code) {
    fprintf(stderr, "bench: %s\n", colock_last_message());
    exit(71);
  }
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double quantile(double *values, int count, double q) {
  qsort(values, (size_t)count, sizeof *values, by_value);
  return values[(int)(q * (count - 1) + 0.5)];
}

typedef void (*work)(void *arg, int repeats);

static void compare(struct run *run, const char *name, const char *beside, double aim, work ours, work bare, void *arg,
                    int repeats) {
  double a[MOST_ROUNDS], b[MOST_ROUNDS], ratio[MOST_ROUNDS];
  ours(arg, repeats);
  bare(arg, repeats);
  for (int i = 0; i < run->rounds; i++) {
    double t0 = now_ns();
    ours(arg, repeats);
    double t1 = now_ns();
    bare(arg, repeats);
    double t2 = now_ns();
    a[i] = (t1 - t0) / repeats;
    b[i] = (t2 - t1) / repeats;
    ratio[i] = a[i] / b[i];
  }
  struct figure *f = &run->figures[run->count++];
  snprintf(f->name, sizeof f->name, "%s", name);
  snprintf(f->beside, sizeof f->beside, "%s", beside);
  f->aim = aim;
  f->colock_ns = quantile(a, run->rounds, 0.5);
  f->bare_ns = quantile(b, run->rounds, 0.5);
  f->ratio = quantile(ratio, run->rounds, 0.5);
  f->low = quantile(ratio, run->rounds, 0.25);
  f->high = quantile(ratio, run->rounds, 0.75);
}

/* ---- acquire and release, uncontended ---- */

struct pair {
  colock *lock;
  int mode;
  int bare[SEATS]; /* of another file: as many open file descriptions that have a byte locked */
  int fd;          /* one of those */
};

static void record_lock(int fd, short type, off_t start) {
  struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 1 };
  if (fcntl(fd, F_OFD_SETLK, &range) != 0)
    die("F_OFD_SETLK");
}

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
    record_lock(pair->fd, type, LANE);
    record_lock(pair->fd, F_UNLCK, LANE);
  }
}

/* The kernel walks its list of locks up to ours: on both sides ours is the middle one. The seat released last is used
 * next. */
static void open_seats(colock *lock, int seats) {
  colock_hold *holds[SEATS];
  for (int i = 0; i < seats; i++)
    check(colock_try_acquire(lock, COLOCK_SHARED, &holds[i]));
  for (int i = 0; i < seats; i++)
    if (i != seats / 2)
      check(colock_release(holds[i]));
  check(colock_release(holds[seats / 2]));
}

static void open_bare(struct pair *pair, const char *path, int seats) {
  for (int i = 0; i < seats; i++) {
    pair->bare[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (pair->bare[i] < 0)
      die(path);
    record_lock(pair->bare[i], F_WRLCK, SLOT + i);
  }
  pair->fd = pair->bare[seats / 2];
}

static void bench_pairs(struct run *run, const char *path, const char *bare_path, const colock_config *config) {
  static const int counts[] = { 1, 8, 64 };
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    struct pair pair = { 0 };
    char name[64];
    check(colock_open(&pair.lock, path, config));
    open_seats(pair.lock, counts[i]);
    open_bare(&pair, bare_path, counts[i]);
    for (pair.mode = COLOCK_SHARED; pair.mode <= COLOCK_EXCLUSIVE; pair.mode++) {
      snprintf(name, sizeof name, "acquire+release %s, %d open seat%s",
               pair.mode == COLOCK_SHARED ? "shared" : "exclusive", counts[i], counts[i] == 1 ? "" : "s");
      compare(run, name, "F_OFD_SETLK pair, as many locked bytes", 1.6, colock_pair, bare_pair, &pair, run->repeats);
    }
    for (int n = 0; n < counts[i]; n++)
      close(pair.bare[n]);
    colock_close(pair.lock);
  }
}

/* ---- opening ---- */

struct opening {
  const char *path, *directory, *name;
  const colock_config *config;
};

static void colock_opening(void *arg, int repeats) {
  struct opening *o = arg;
  for (int i = 0; i < repeats; i++) {
    colock *lock;
    colock_hold *hold;
    check(colock_open(&lock, o->path, o->config));
    check(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
    check(colock_release(hold));
    colock_close(lock);
  }
}

/* The same calls in the same order, with nothing done between them. */
static void bare_opening(void *arg, int repeats) {
  struct opening *o = arg;
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
  for (int i = 0; i < repeats; i++) {
    struct stat st;
    struct statfs fs;
    char page[4096];
    int directory = open(o->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    fstatat(directory, o->name, &st, AT_SYMLINK_NOFOLLOW);
    int file = openat(directory, o->name, flags);
    fstat(file, &st);
    if (pread(file, page, sizeof page, 0) != sizeof page)
      die("pread");
    fstatfs(file, &fs);
    void *map = mmap(NULL, 0x141000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    int seat = openat(directory, o->name, flags);
    fstat(seat, &st);
    record_lock(seat, F_WRLCK, SLOT);
    void *slot = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0x141000);
    record_lock(seat, F_WRLCK, LANE);
    fstat(seat, &st);
    fstatat(directory, o->name, &st, AT_SYMLINK_NOFOLLOW);
    record_lock(seat, F_UNLCK, LANE);
    record_lock(seat, F_UNLCK, SLOT);
    munmap(slot, 4096);
    close(seat);
    munmap(map, 0x141000);
    close(file);
    close(directory);
  }
}

/* ---- output ---- */

static void print_table(const struct run *run) {
  printf("%-44s %11s %11s %7s %13s %6s\n", "", "colock ns", "bare ns", "ratio", "quartiles", "aim");
  for (size_t i = 0; i < run->count; i++) {
    const struct figure *f = &run->figures[i];
    printf("%-44s %11.0f %11.0f %7.2f %6.2f-%-6.2f %6.2f\n", f->name, f->colock_ns, f->bare_ns, f->ratio, f->low,
           f->high, f->aim);
  }
  printf("Beside: %s; for opening, the same system calls with nothing between them.\n", run->figures[0].beside);
}

static void print_json(const struct run *run) {
  printf("{\"version\":1,\"figures\":[");
  for (size_t i = 0; i < run->count; i++) {
    const struct figure *f = &run->figures[i];
    printf(
        "%s\n{\"name\":\"%s\",\"beside\":\"%s\",\"colock_ns\":%.1f,\"bare_ns\":%.1f,\"ratio\":%.3f,\"ratio_low\":%.3f,"
        "\"ratio_high\":%.3f,\"aim\":%.2f}",
        i ? "," : "", f->name, f->beside, f->colock_ns, f->bare_ns, f->ratio, f->low, f->high, f->aim);
  }
  printf("\n]}\n");
}

int main(int argc, char **argv) {
  struct run run = { .directory = ".", .rounds = 401, .repeats = 200 };
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--json") == 0)
      run.json = true;
    else if (strcmp(argv[i], "--quick") == 0)
      run.rounds = 11, run.repeats = 100;
    else if (argv[i][0] == '-') {
      fprintf(stderr, "usage: bench [--json] [--quick] [DIRECTORY]\n");
      return 64;
    } else
      run.directory = argv[i];
  }
  char directory[] = "colock-bench-XXXXXX", path[64], bare_path[64];
  if (chdir(run.directory) != 0 || !mkdtemp(directory))
    die(run.directory);
  snprintf(path, sizeof path, "%s/bench.lock", directory);
  snprintf(bare_path, sizeof bare_path, "%s/bare", directory);
  colock_config *config;
  check(colock_config_new(&config));
  bench_pairs(&run, path, bare_path, config);
  struct opening opening = { .path = path, .directory = directory, .name = "bench.lock", .config = config };
  compare(&run, "open, first acquire, release, close", "the same system calls, bare", 2.0, colock_opening, bare_opening,
          &opening, run.repeats / 20);
  colock_config_free(config);
  (run.json ? print_json : print_table)(&run);
  unlink(path);
  unlink(bare_path);
  rmdir(directory);
  return 0;
}

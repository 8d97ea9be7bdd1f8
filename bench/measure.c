/* measure.c - clock, quantiles, processes. See measure.h. */
#define _GNU_SOURCE
#include "measure.h"

#include <colock.h>
#include <errno.h>
#include <linux/futex.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct meeting {
  struct event ready, open;
  _Atomic uint32_t arrived;
};

void die(const char *what) {
  perror(what);
  exit(71);
}

void check(int code) {
  if (code) {
    fprintf(stderr, "bench: %s\n", colock_last_message());
    exit(71);
  }
}

int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * SEC + t.tv_nsec;
}

void pause_ns(int64_t ns) {
  struct timespec t = { .tv_sec = ns / SEC, .tv_nsec = ns % SEC };
  while (nanosleep(&t, &t) != 0 && errno == EINTR)
    ;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

double quantile(double *values, size_t count, double q) {
  if (count == 0)
    return NAN;
  qsort(values, count, sizeof *values, by_value);
  return values[(size_t)(q * (double)(count - 1) + 0.5)];
}

void *shared_new(size_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    die("mmap");
  return memory;
}

void shared_free(void *memory, size_t size) { munmap(memory, size); }

/* ---- events ---- */

void event_set(struct event *event, uint32_t value) {
  atomic_store(&event->value, value);
  syscall(SYS_futex, &event->value, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Who awaits somebody that has failed would wait for ever. */
static void notice_failure(void) {
  siginfo_t child = { 0 };
  if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0 && child.si_pid != 0 && child.si_status != 0) {
    fprintf(stderr, "bench: process %ld has failed\n", (long)child.si_pid);
    exit(71);
  }
}

void event_await(struct event *event, uint32_t value) {
  const struct timespec second = { .tv_sec = 1 };
  for (uint32_t seen; (seen = atomic_load(&event->value)) < value;)
    if (syscall(SYS_futex, &event->value, FUTEX_WAIT, seen, &second, NULL, 0) != 0 && errno == ETIMEDOUT)
      notice_failure();
}

/* ---- teams ---- */

static _Noreturn void be_member(struct team *team, int index, team_work work, void *arg, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  if (getppid() == parent)
    work(team, index, arg);
  _exit(0);
}

void team_start(struct team *team, int count, team_work work, void *arg) {
  pid_t parent = getpid();
  team->count = count;
  team->meeting = shared_new(sizeof *team->meeting);
  team->processes = calloc((size_t)count, sizeof *team->processes);
  if (!team->processes)
    die("calloc");
  for (int i = 0; i < count; i++) {
    team->processes[i] = fork();
    if (team->processes[i] < 0)
      die("fork");
    if (team->processes[i] == 0)
      be_member(team, i, work, arg, parent);
  }
}

void team_meet(struct team *team) {
  struct meeting *meeting = team->meeting;
  if (atomic_fetch_add(&meeting->arrived, 1) + 1 == (uint32_t)team->count)
    event_set(&meeting->ready, 1);
  event_await(&meeting->open, 1);
}

void team_ready(struct team *team) { event_await(&team->meeting->ready, 1); }

void team_go(struct team *team) {
  team_ready(team);
  event_set(&team->meeting->open, 1);
}

static void team_free(struct team *team) {
  free(team->processes);
  shared_free(team->meeting, sizeof *team->meeting);
}

void team_end(struct team *team) {
  for (int i = 0; i < team->count; i++) {
    int status;
    if (waitpid(team->processes[i], &status, 0) < 0)
      die("waitpid");
    if (status != 0) {
      fprintf(stderr, "bench: process %ld has failed\n", (long)team->processes[i]);
      exit(71);
    }
  }
  team_free(team);
}

void team_kill(struct team *team) {
  for (int i = 0; i < team->count; i++)
    kill(team->processes[i], SIGKILL);
  for (int i = 0; i < team->count; i++)
    waitpid(team->processes[i], NULL, 0);
  team_free(team);
}

int64_t team_cpu_ns(const struct team *team) {
  int64_t sum = 0;
  for (int i = 0; i < team->count; i++) {
    clockid_t id;
    struct timespec t;
    if (clock_getcpuclockid(team->processes[i], &id) != 0 || clock_gettime(id, &t) != 0)
      die("the processor time of another process");
    sum += t.tv_sec * SEC + t.tv_nsec;
  }
  return sum;
}

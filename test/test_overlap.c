/* test_overlap.c - processes and threads acquire at random, some are killed, some are forced out; nobody may ever be
 * inside together with a writer of the same generation, and tokens grow in the order of the grants.
 *
 * Every worker has a word in shared memory that says what it is while it is inside: stored after the grant, cleared
 * before the release. Whoever comes in looks at all the others' words. A word that a killed worker left behind does not
 * count: its process is marked as doomed before it is killed, and process numbers are not used again.
 */
#define _GNU_SOURCE
#include "seat.h"
#include "support.h"
#include "system.h"
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALIVE 4        /* processes at a time */
#define THREADS 3      /* in each */
#define PROCESSES 400  /* over the whole run */

struct shared {
  _Atomic bool stop;
  _Atomic uint64_t overlaps, disorders, abandoned, failures;
  _Atomic uint64_t entered[3]; /* by mode */
  _Atomic uint64_t top_token;
  _Atomic bool doomed[PROCESSES];
  _Atomic uint64_t inside[PROCESSES][THREADS]; /* generation << 2 | mode; 0 outside */
  _Atomic int processes;
  char said[512]; /* by the first failure */
};

struct plan {
  const char *name;
  bool kills, forces, lies;
};

/* Nobody says recovered here, so one abandoned writer is told of to the end. */
static const struct plan plans[] = {
    {"orderly holders", false, false, false},
    {"killed holders", true, false, false},
    {"killed and forced holders", true, true, false},
    {"record locks that lie", false, false, true},
};

static struct shared *shared;
static const struct plan *plan;
static char path[512];

/* ---- a worker ---- */

struct worker {
  colock *lock;
  int process, thread;
  uint64_t random;
};

static void complain(const char *what, int code) {
  if (shared->failures++ == 0)
    snprintf(shared->said, sizeof shared->said, "%s: %d, %s", what, code, colock_last_message());
}

static bool excludes(uint64_t mine, uint64_t other) {
  return other >> 2 == mine >> 2 && ((mine & 3) == COLOCK_EXCLUSIVE || (other & 3) == COLOCK_EXCLUSIVE);
}

static void look_around(const struct worker *w, uint64_t mine) {
  int processes = shared->processes;
  for (int p = 0; p < processes; p++) {
    for (int t = 0; t < THREADS; t++) {
      if (p == w->process && t == w->thread) continue;
      uint64_t other = shared->inside[p][t];
      if (other != 0 && excludes(mine, other) && !shared->doomed[p]) shared->overlaps++;
    }
  }
}

/* A forced-out writer's token may come late; a writer's that is still whole may not. */
static void look_at_token(colock_hold *hold) {
  uint64_t token = colock_token(hold), top = shared->top_token;
  if (token <= top && colock_check(hold) == COLOCK_OK) shared->disorders++;
  while (top < token && !atomic_compare_exchange_weak(&shared->top_token, &top, token)) continue;
}

static void be_inside(struct worker *w, colock_hold *hold, int mode) {
  uint64_t mine = (uint64_t)hold->activity.generation << 2 | (unsigned)mode;
  shared->inside[w->process][w->thread] = mine;
  look_around(w, mine);
  if (mode == COLOCK_EXCLUSIVE) look_at_token(hold);
  if (colock_abandoned(hold)) shared->abandoned++;
  shared->entered[mode]++;
  if (plan->kills && test_random(&w->random) % 800 == 0 && w->process < PROCESSES - ALIVE * 2) {
    shared->doomed[w->process] = true;
    raise(SIGKILL);
  }
  for (uint32_t spins = test_random(&w->random) % 4; spins > 0; spins--) sched_yield();
  look_around(w, mine);
  shared->inside[w->process][w->thread] = 0;
}

static void work_once(struct worker *w) {
  colock_hold *hold = NULL;
  int mode = test_random(&w->random) % 3 == 0 ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
  int code;
  if (test_random(&w->random) % 4 == 0) {
    code = colock_try_acquire(w->lock, mode, &hold);
  } else {
    colock_request request;
    colock_request_init(&request, sizeof request, mode);
    request.timeout_ms = test_random(&w->random) % 2 == 0 ? (int64_t)(test_random(&w->random) % 20) : 5000;
    request.priority = (int)(test_random(&w->random) % 201) - 100;
    code = colock_acquire_with(w->lock, &request, &hold);
  }
  if (code == COLOCK_OK) {
    be_inside(w, hold, mode);
    code = colock_release(hold);
    if (code != COLOCK_OK && !(plan->forces && code == COLOCK_EREVOKED)) complain("release", code);
  } else if (code != COLOCK_EBUSY && code != COLOCK_ETIMEDOUT) {
    complain("acquire", code);
  }
}

static void *work(void *arg) {
  struct worker *w = arg;
  while (!shared->stop && shared->failures == 0) work_once(w);
  return NULL;
}

static _Thread_local uint64_t lies;

/* The planted fault: every now and then a lock of the lane is said to be granted that was never asked for. */
static int lying_lock(int fd, int command, struct flock *range) {
  bool lane =
      range->l_start >= COLOCKP_BYTE_LANE && range->l_start < COLOCKP_BYTE_LANE + COLOCKP_LANES && range->l_len == 1;
  if (command == F_OFD_SETLK && range->l_type != F_UNLCK && lane && test_random(&lies) % 8 == 0) return 0;
  return colockp_system_default.fcntl_lock(fd, command, range);
}

static int process_main(int number) {
  struct worker workers[THREADS];
  pthread_t threads[THREADS];
  colock *lock = NULL;
  if (plan->lies) colockp_system.fcntl_lock = lying_lock;
  colock_config *config = test_config("timeout", "5s", "verbosity", "quiet", NULL);
  int code = colock_open(&lock, path, config);
  colock_config_free(config);
  if (code != COLOCK_OK) {
    complain("open", code);
    return 1;
  }
  for (int t = 0; t < THREADS; t++) {
    workers[t] = (struct worker){lock, number, t, test_seed() + (uint64_t)(number * THREADS + t)};
    if (pthread_create(&threads[t], NULL, work, &workers[t]) != 0) return 2;
  }
  for (int t = 0; t < THREADS; t++) pthread_join(threads[t], NULL);
  colock_close(lock);
  return 0;
}

/* ---- the test ---- */

static pid_t spawn(int *number) {
  *number = shared->processes++;
  fflush(NULL);
  pid_t pid = fork();
  ck_assert_int_ge(pid, 0);
  if (pid == 0) _exit(process_main(*number));
  return pid;
}

/* Reap what died, put new ones in their place, kill one at random, force now and then. */
static void tend(pid_t *pids, int *numbers, uint64_t *random) {
  for (int i = 0; i < ALIVE; i++) {
    bool room = shared->processes < PROCESSES;
    if (plan->kills && room && test_random(random) % 64 == 0) {
      shared->doomed[numbers[i]] = true;
      kill(pids[i], SIGKILL);
    }
    int status;
    if (waitpid(pids[i], &status, WNOHANG) == pids[i]) {
      ck_assert_msg(WIFSIGNALED(status) || shared->failures > 0, "a process ended by itself");
      pids[i] = spawn(&numbers[i]);
    }
  }
  if (plan->forces && test_random(random) % 32 == 0) {
    int code = colock_force_unlock(path, "at random", NULL);
    if (code != COLOCK_OK && code != COLOCK_EBUSY && code != COLOCK_ENOENT)
      complain("force", code); /* perhaps nobody made it yet */
  }
}

static void run(int64_t limit_ms) {
  pid_t pids[ALIVE];
  int numbers[ALIVE];
  uint64_t random = test_seed();
  const struct timespec tick = {.tv_nsec = 4000000};
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, NULL);
  for (int i = 0; i < ALIVE; i++) pids[i] = spawn(&numbers[i]);
  int64_t limit = test_now_ms() + limit_ms;
  while (test_now_ms() < limit && shared->failures == 0 && shared->processes < PROCESSES &&
         !(plan->lies && shared->overlaps > 0)) {
    tend(pids, numbers, &random);
    sigtimedwait(&children, NULL, &tick); /* somebody died, or it is time to look */
  }
  shared->stop = true;
  for (int i = 0; i < ALIVE; i++) {
    int status;
    ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
  }
}

START_TEST(nobody_is_inside_beside_a_writer) {
  plan = &plans[_i];
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(shared, MAP_FAILED);
  snprintf(path, sizeof path, "%s", test_path("a.lock"));
  run(plan->lies ? 20000 : test_seconds(2) * 1000);
  printf("%s: %d processes, %" PRIu64 " shared and %" PRIu64 " exclusive holds, %" PRIu64 " overlaps\n", plan->name,
         shared->processes, shared->entered[COLOCK_SHARED], shared->entered[COLOCK_EXCLUSIVE], shared->overlaps);
  fflush(stdout);
  ck_assert_msg(shared->failures == 0, "%s", shared->said);
  ck_assert_uint_gt(shared->entered[COLOCK_SHARED], 0);
  ck_assert_uint_gt(shared->entered[COLOCK_EXCLUSIVE], 0);
  if (plan->lies) {
    ck_assert_msg(shared->overlaps > 0, "the planted fault went unnoticed");
  } else {
    ck_assert_msg(shared->overlaps == 0, "%" PRIu64 " overlaps", shared->overlaps);
    ck_assert_msg(shared->disorders == 0, "%" PRIu64 " tokens out of order", shared->disorders);
  }
  if (plan->kills) ck_assert_int_gt(shared->processes, ALIVE);
  if (!plan->kills && !plan->lies)
    ck_assert_uint_eq(shared->abandoned, 0); /* who gives it back in order never leaves a mark, not for a moment */
  munmap(shared, sizeof *shared);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "overlap", test_seconds(2) + 60);
  tcase_add_loop_test(tcase, nobody_is_inside_beside_a_writer, 0, (int)(sizeof plans / sizeof plans[0]));
}

int main(int argc, char **argv) { return test_main(argc, argv, "overlap", fill); }

/* test_step.c - a process dies by SIGKILL after any number of machine instructions of acquire and release, not only at
 * its system calls: most of the protocol is stores into mapped memory.
 *
 * The victim is stepped with ptrace, then killed. After each death the next process gets the exclusive lock, and is
 * told of an abandoned writer exactly if the dead one had left its mark. COLOCK_TEST_SECONDS makes the steps finer.
 */
#define _GNU_SOURCE
#include "scenario.h"
#include "support.h"
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEATHS_LEAST 20
#define STEPS_A_SECOND 50000 /* of test_seconds */
#define STEPS_MAX 2000000     /* of one victim */

static const char *path;
static int mode;

static int victim(void *arg) {
  colock *lock = NULL;
  colock_hold *hold = NULL;
  colock_config *config = arg;
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) return 77;
  if (colock_open(&lock, path, config) != COLOCK_OK) return 1;
  raise(SIGSTOP);
  if (colock_acquire(lock, mode, &hold) != COLOCK_OK) return 2;
  if (colock_release(hold) != COLOCK_OK) return 3;
  return 0;
}

/* Step it so often, or until it ends. How many steps it made; *status is its end, -1 while it is stopped. */
static long step(pid_t child, long steps, int *status) {
  int state = 0;
  *status = -1;
  for (long done = 0; done < steps; done++) {
    if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0) ck_abort_msg("step %ld", done);
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    if (WIFSTOPPED(state)) continue;
    *status = WIFEXITED(state) ? WEXITSTATUS(state) : 256;
    return done + 1;
  }
  return steps;
}

/* A victim that has opened the lock and stopped; 0: it may not be traced here. */
static pid_t start(colock_config *config) {
  int state = 0;
  pid_t child = test_fork(victim, config);
  ck_assert_int_eq(waitpid(child, &state, 0), child);
  if (WIFEXITED(state) && WEXITSTATUS(state) == 77) return 0;
  ck_assert(WIFSTOPPED(state));
  return child;
}

/* Whether it had its mark in the file when it died. */
static bool die_after(long steps, colock_config *config, int tries) {
  int status;
  pid_t child = start(config);
  step(child, steps, &status);
  if (status < 0) {
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) == child && !WIFSIGNALED(status)) continue;
  }
  struct colockp_header header = test_header(path);
  bool marked = header.writer != 0 || header.abandoned != 0, abandoned = false;
  int64_t took = scenario_successor(path, &abandoned);
  if (took >= 200 && tries > 0) return die_after(steps, config, tries - 1); /* a stalled machine does not come back */
  ck_assert_msg(took < 200, "killed after %ld steps: the next took %d ms", steps, (int)took);
  ck_assert_msg(abandoned == marked, "killed after %ld steps: %s a mark, and the next was told %s", steps,
                marked ? "left" : "did not leave", abandoned ? "of it" : "nothing");
  ck_assert_msg(test_free(path), "killed after %ld steps: a lock is left", steps);
  return marked;
}

START_TEST(death_between_any_two_instructions_is_survived) {
  uint64_t random = test_seed() + (uint64_t)_i;
  int status, marked = 0;
  path = test_path("a.lock");
  mode = _i;
  colock_config *config = test_config("timeout", "5s", "verbosity", "quiet", NULL);
  test_make_lock(path);
  pid_t child = start(config);
  if (child == 0) {
    printf("skipped: no process may be traced here\n");
  } else {
    long total = step(child, STEPS_MAX, &status);
    ck_assert_int_eq(status, 0);
    ck_assert_int_gt(total, 100);
    long deaths = STEPS_A_SECOND * test_seconds(2) / total;
    if (deaths < DEATHS_LEAST) deaths = DEATHS_LEAST;
    for (long i = 0; i < deaths; i++) {
      long width = total / deaths + 1; /* one death somewhere in each stretch of so many */
      marked += die_after(i * width + (long)(test_random(&random) % (uint32_t)width), config, 2);
    }
    printf("%s: %ld instructions, %ld deaths, %d of them with a mark\n", mode == COLOCK_SHARED ? "shared" : "exclusive",
           total, deaths, marked);
    if (mode == COLOCK_SHARED) ck_assert_int_eq(marked, 0);
    else ck_assert(marked > 0 && marked < deaths);
  }
  fflush(stdout);
  colock_config_free(config);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "step", 30 + 20 * test_seconds(2));
  tcase_set_tags(tcase, "native"); /* memcheck cannot be traced through */
  tcase_add_loop_test(tcase, death_between_any_two_instructions_is_survived, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
}

int main(int argc, char **argv) { return test_main(argc, argv, "step", fill); }

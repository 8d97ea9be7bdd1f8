/* test_thread.c - the library's own threads: no signal reaches them, a stack that is too small is made larger. */
#define _GNU_SOURCE
#include "support.h"
#include "system.h"
#include "thread.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

struct seen {
  sigset_t blocked;
  size_t stack;
};

static void *look(void *arg) {
  struct seen *seen = arg;
  pthread_attr_t own;
  pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
  if (pthread_getattr_np(pthread_self(), &own) == 0) {
    pthread_attr_getstacksize(&own, &seen->stack);
    pthread_attr_destroy(&own);
  }
  return arg;
}

static struct seen run(size_t stack) {
  struct seen seen;
  pthread_t thread;
  void *result = NULL;
  ck_assert_int_eq(colockp_thread_start(&thread, stack, look, &seen), 0);
  ck_assert_int_eq(pthread_join(thread, &result), 0);
  ck_assert_ptr_eq(result, &seen);
  return seen;
}

static bool same_mask(const sigset_t *a, const sigset_t *b) {
  for (int s = 1; s <= SIGRTMAX; s++)
    if (sigismember(a, s) != sigismember(b, s)) return false;
  return true;
}

START_TEST(all_signals_are_blocked_in_it_and_the_starter_keeps_its_own) {
  sigset_t usr1, after;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_SETMASK, &usr1, NULL);
  struct seen seen = run(0);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  ck_assert(same_mask(&usr1, &after));
  for (int s = 1; s <= SIGRTMAX; s++) {
    if (s == SIGKILL || s == SIGSTOP || (s >= 32 && s < SIGRTMIN)) continue; /* those are libc's */
    ck_assert_msg(sigismember(&seen.blocked, s) == 1, "signal %d is not blocked", s);
  }
}
END_TEST

START_TEST(stack_is_as_asked_for_or_the_usual) {
  size_t usual = run(0).stack, small = run(256 * 1024).stack;
  ck_assert_uint_lt(small, 1024 * 1024);
  ck_assert_uint_lt(small, usual);
}
END_TEST

static int made;

static int too_small(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg) {
  made++;
  return attributes ? EINVAL : colockp_system_default.pthread_create(thread, attributes, body, arg);
}

static int none_left(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg) {
  (void)thread, (void)attributes, (void)body, (void)arg;
  made++;
  return EAGAIN;
}

START_TEST(stack_that_is_too_small_is_made_larger) {
  colockp_system.pthread_create = too_small;
  run(256 * 1024);
  ck_assert_int_eq(made, 2);
  colockp_system = colockp_system_default;
}
END_TEST

START_TEST(no_thread_to_be_had_is_said) {
  sigset_t before, after;
  pthread_t thread;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  colockp_system.pthread_create = none_left;
  ck_assert_int_eq(colockp_thread_start(&thread, 256 * 1024, look, NULL), EAGAIN);
  ck_assert_int_eq(colockp_thread_start(&thread, 0, look, NULL), EAGAIN);
  colockp_system = colockp_system_default;
  ck_assert_int_eq(made, 2);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  ck_assert(same_mask(&before, &after));
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "thread", 20);
  tcase_add_test(tcase, all_signals_are_blocked_in_it_and_the_starter_keeps_its_own);
  tcase_add_test(tcase, stack_is_as_asked_for_or_the_usual);
  tcase_add_test(tcase, stack_that_is_too_small_is_made_larger);
  tcase_add_test(tcase, no_thread_to_be_had_is_said);
}

int main(int argc, char **argv) { return test_main(argc, argv, "thread", fill); }

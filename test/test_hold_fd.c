/* test_hold_fd.c - a descriptor that tells a holder when somebody waits, or the hold is whole no more. */
#define _GNU_SOURCE
#include "fault.h"
#include "kept.h"
#include "naps.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOON_MS 30000

static const char *path;
static colock *lock;
static colock_hold *hold;

static void have_hold(const char *key, const char *value, int mode) {
  path = test_path("a.lock");
  lock = test_open_set(path, key, value);
  must(colock_try_acquire(lock, mode, &hold));
}

static bool readable(int fd, int ms) {
  struct pollfd event = {.fd = fd, .events = POLLIN};
  ck_assert_int_ge(poll(&event, 1, ms), 0);
  ck_assert_int_eq(event.revents & ~POLLIN, 0);
  return event.revents != 0;
}

static int descriptor(void) {
  int fd = colock_hold_fd(hold);
  ck_assert_msg(fd > 2, "%d: %s", fd, colock_last_message());
  return fd;
}

static struct agent *waiting(const char *mode) {
  struct agent *agent = agent_open(path);
  unsigned before = test_waiters(path);
  agent_send(agent, "acquire %s 20000", mode);
  test_await_waiters(path, before + 1);
  return agent;
}

static void granted(struct agent *agent) {
  ck_assert_msg(agent_answer(agent) == COLOCK_OK, "%s", agent->text);
  ck_assert_int_eq(agent_call(agent, "release %d", agent->hold), COLOCK_OK);
}

static void end(void) {
  must(colock_release(hold));
  colock_close(lock);
}

/* ---- what it tells ---- */

START_TEST(nobody_waits_and_it_is_silent) {
  have_hold("timeout", "10s", COLOCK_SHARED);
  struct agent *reader = agent_open(path);
  unsigned threads = test_threads(), descriptors = test_descriptors();
  int fd = descriptor();
  ck_assert_int_eq(descriptor(), fd);
  ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
  ck_assert_uint_eq(test_threads(), threads + 1);
  ck_assert_uint_eq(test_descriptors(), descriptors + 1);
  ck_assert_int_eq(agent_call(reader, "acquire s 5000"), COLOCK_OK); /* beside us */
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  ck_assert(!readable(fd, 50));
  must(colock_release(hold));
  ck_assert_int_eq(fcntl(fd, F_GETFD), -1); /* closed */
  ck_assert_uint_eq(test_descriptors(), descriptors);
  colock_close(lock);
}
END_TEST

START_TEST(it_tells_of_those_whom_the_hold_keeps_waiting) {
  static const char *const modes[] = {"x", "x", "s"};
  have_hold("timeout", "10s", _i == 0 ? COLOCK_SHARED : COLOCK_EXCLUSIVE);
  int fd = descriptor();
  ck_assert(!readable(fd, 0));
  struct agent *agent = waiting(modes[_i]);
  ck_assert(readable(fd, SOON_MS));
  ck_assert_int_eq(colock_contended(hold), 1);
  ck_assert_int_eq(descriptor(), fd);
  ck_assert(readable(fd, 0)); /* it stays so */
  must(colock_check(hold));
  end();
  granted(agent);
}
END_TEST

START_TEST(it_tells_of_who_was_there_before_it_was_asked_for) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  struct agent *agent = waiting("s");
  ck_assert(readable(descriptor(), SOON_MS));
  end();
  granted(agent);
}
END_TEST

START_TEST(who_gave_up_was_there_all_the_same) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  struct agent *agent = agent_open(path);
  int fd = descriptor();
  agent_send(agent, "acquire x 20000");
  ck_assert(readable(fd, SOON_MS));
  agent_kill(agent);
  ck_assert(readable(fd, 0));
  end();
}
END_TEST

START_TEST(it_tells_that_the_hold_was_forced_out) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  int fd = descriptor();
  struct agent *agent = agent_start();
  ck_assert_int_eq(agent_call(agent, "force %s test", agent_word(path)), COLOCK_OK);
  ck_assert(readable(fd, SOON_MS));
  must_be(COLOCK_EREVOKED, colock_check(hold));
  must_be(COLOCK_EREVOKED, colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(it_tells_that_the_file_was_replaced) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  int fd = descriptor();
  if (_i == 0) ck_assert_int_eq(unlink(path), 0);
  if (_i == 1) test_make_lock(test_path("b.lock"));
  if (_i == 1) ck_assert_int_eq(rename(test_path("b.lock"), path), 0);
  ck_assert(readable(fd, SOON_MS));
  must_be(COLOCK_ELOST, colock_check(hold));
  must_be(COLOCK_ELOST, colock_release(hold));
  colock_close(lock);
}
END_TEST

/* ---- the hold changes ---- */

/* What is told before the change is of the hold as it was. */
START_TEST(after_a_downgrade_it_tells_anew) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  int fd = descriptor();
  struct agent *reader = waiting("s");
  ck_assert(readable(fd, SOON_MS));
  must(colock_downgrade(hold));
  ck_assert_int_eq(agent_answer(reader), COLOCK_OK);
  ck_assert(!readable(fd, 0));
  struct agent *writer = waiting("x");
  ck_assert(readable(fd, SOON_MS));
  ck_assert_int_eq(descriptor(), fd);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  end();
  granted(writer);
}
END_TEST

/* Another thread of the test, for agents to go on while the main one blocks. */
static struct agent *first, *second;

static void *take_and_release(void *arg) {
  granted(first);
  return arg;
}

START_TEST(after_a_yield_it_tells_anew) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  int fd = descriptor();
  for (int i = 0; i < 3; i++) {
    pthread_t thread;
    uint64_t token = colock_token(hold);
    first = waiting("x");
    ck_assert(readable(fd, SOON_MS));
    ck_assert_int_eq(pthread_create(&thread, NULL, take_and_release, NULL), 0);
    must(colock_yield(hold, 20000));
    pthread_join(thread, NULL);
    ck_assert_uint_eq(colock_token(hold), token + 2);
    ck_assert_int_eq(descriptor(), fd);
    ck_assert(!readable(fd, 0));
  }
  end();
}
END_TEST

START_TEST(after_an_upgrade_it_tells_of_readers_too) {
  have_hold("timeout", "10s", COLOCK_SHARED);
  int fd = descriptor();
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  ck_assert(!readable(fd, 0));
  struct agent *reader = waiting("s");
  ck_assert(readable(fd, SOON_MS));
  end();
  granted(reader);
}
END_TEST

static void *queue_behind_and_let_go(void *arg) {
  test_await_waiters(path, 1);
  test_end_turn(path);
  agent_send(second, "acquire s 20000");
  test_await_waiters(path, 2);
  ck_assert_int_eq(agent_call(first, "release 0"), COLOCK_OK);
  return arg;
}

/* It waits behind the upgrade at first, then for the hold. */
START_TEST(reader_that_came_while_the_hold_was_upgraded_is_told_of) {
  pthread_t thread;
  have_hold("timeout", "10s", COLOCK_SHARED);
  first = agent_open(path);
  second = agent_open(path);
  ck_assert_int_eq(agent_call(first, "acquire s 5000"), COLOCK_OK);
  int fd = descriptor();
  ck_assert_int_eq(pthread_create(&thread, NULL, queue_behind_and_let_go, NULL), 0);
  must(colock_upgrade(hold, 20000));
  pthread_join(thread, NULL);
  ck_assert(readable(fd, SOON_MS));
  ck_assert_int_eq(colock_contended(hold), 1);
  end();
  granted(second);
}
END_TEST

/* ---- many ---- */

START_TEST(one_thread_serves_all_holds_of_a_lock) {
  enum { COUNT = 8 };
  colock_hold *holds[COUNT];
  int fds[COUNT];
  have_hold("timeout", "10s", COLOCK_SHARED);
  unsigned threads = test_threads();
  for (int i = 0; i < COUNT; i++) {
    must(colock_try_acquire(lock, COLOCK_SHARED, &holds[i]));
    fds[i] = colock_hold_fd(holds[i]);
    ck_assert_int_gt(fds[i], 2);
    for (int j = 0; j < i; j++) ck_assert_int_ne(fds[i], fds[j]);
  }
  ck_assert_uint_eq(test_threads(), threads + 1);
  struct agent *writer = waiting("x");
  for (int i = 0; i < COUNT; i++) {
    ck_assert(readable(fds[i], SOON_MS));
    must(colock_release(holds[i]));
  }
  end();
  granted(writer);
}
END_TEST

/* What its thread is not woken for it never finds out here. */
START_TEST(everyone_who_waits_is_told_of_at_once) {
  naps_install(true);
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  struct agent *agent = agent_open(path);
  for (int i = 0; i < 40; i++) {
    int fd = descriptor();
    agent_send(agent, "acquire %s 20000", i % 2 ? "x" : "s");
    ck_assert(readable(fd, SOON_MS));
    must(colock_release(hold));
    granted(agent);
    must(colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  }
  end();
  colockp_system = colockp_system_default;
}
END_TEST

/* When no hold wants to be told any more the thread rests, until one does. */
START_TEST(it_tells_after_its_thread_has_rested) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  descriptor();
  must(colock_release(hold));
  await_that(parked(lock));
  must(colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  int fd = descriptor();
  struct agent *agent = waiting("x");
  ck_assert(readable(fd, SOON_MS));
  end();
  granted(agent);
}
END_TEST

START_TEST(lock_that_is_kept_tells_for_its_next_hold_alone) {
  have_hold("auto_release", "true", COLOCK_EXCLUSIVE);
  struct agent *agent = waiting("x");
  unsigned descriptors = test_descriptors();
  ck_assert(readable(descriptor(), SOON_MS));
  must(colock_release(hold));
  ck_assert_uint_eq(test_descriptors(), descriptors);
  granted(agent);
  for (int i = 0; i < 2; i++) { /* got anew; got from what was kept */
    must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
    ck_assert(!readable(descriptor(), 0));
    if (i == 0) must(colock_release(hold));
  }
  agent_send(agent, "acquire s 20000");
  ck_assert(readable(descriptor(), SOON_MS));
  end();
  granted(agent);
}
END_TEST

START_TEST(closed_lock_tells_no_more_and_does_no_harm) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  int fd = descriptor();
  colock_close(lock);
  struct agent *agent = waiting("x");
  ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC); /* still the hold's */
  must(colock_check(hold));
  must(colock_release(hold));
  ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
  granted(agent);
}
END_TEST

/* ---- none to be had ---- */

START_TEST(lock_that_is_not_enabled_is_silent) {
  have_hold("enabled", "false", COLOCK_EXCLUSIVE);
  int fd = descriptor();
  ck_assert_int_eq(descriptor(), fd);
  ck_assert(!readable(fd, 20));
  must(colock_downgrade(hold));
  must(colock_yield(hold, 0));
  ck_assert(!readable(fd, 0));
  end();
}
END_TEST

static void refused(int code) {
  ck_assert_int_eq(colock_hold_fd(hold), -code);
  ck_assert_str_ne(colock_last_message(), "");
}

START_TEST(without_a_thread_or_a_descriptor_it_fails_and_the_hold_stays) {
  static const enum fault_call calls[] = {FAULT_pthread_create, FAULT_pthread_create, FAULT_eventfd, FAULT_eventfd};
  static const int errors[] = {EAGAIN, ENOMEM, EMFILE, ENOMEM};
  static const int codes[] = {COLOCK_ESYSTEM, COLOCK_ENOMEM, COLOCK_EMFILE, COLOCK_ENOMEM};
  fault_install();
  for (int i = 0; i < 4; i++) {
    have_hold("verbosity", "quiet", COLOCK_EXCLUSIVE);
    unsigned descriptors = test_descriptors(), threads = test_threads();
    fault_fail_at(calls[i], 1, errors[i]);
    refused(codes[i]);
    ck_assert_int_eq(colock_last_errno(), errors[i]);
    ck_assert(fault_hit());
    fault_disarm();
    ck_assert_uint_eq(test_descriptors(), descriptors);
    if (calls[i] == FAULT_pthread_create) ck_assert_uint_eq(test_threads(), threads);
    must(colock_check(hold));
    end();
  }
  fault_remove();
}
END_TEST

START_TEST(no_hold_no_descriptor) {
  hold = NULL;
  refused(COLOCK_EINVAL);
}
END_TEST

static int child_of_holder(void *arg) {
  int fd = *(int *)arg;
  if (colock_hold_fd(hold) != -COLOCK_EFORKED) return 1;
  if (fcntl(fd, F_GETFD) != -1) return 2;
  return colock_release(hold) == COLOCK_EFORKED ? 0 : 3;
}

START_TEST(child_has_none_and_the_parents_stays) {
  have_hold("timeout", "10s", COLOCK_EXCLUSIVE);
  int fd = descriptor();
  ck_assert_int_eq(test_in_child(child_of_holder, &fd), 0);
  struct agent *agent = waiting("x");
  ck_assert(readable(fd, SOON_MS));
  end();
  granted(agent);
}
END_TEST

/* 77: this process cannot give up its privileges. */
static int reader_only(void *arg) {
  if (access(arg, W_OK) == 0 && test_become_nobody() != 0) return 77;
  if (colock_open(&lock, arg, NULL) != 0) return 1;
  if (colock_try_acquire(lock, COLOCK_SHARED, &hold) != 0) return 2;
  if (colock_hold_fd(hold) != -COLOCK_EACCES) return 3;
  if (strstr(colock_last_message(), "a.lock") == NULL) return 4;
  if (colock_check(hold) != 0 || colock_release(hold) != 0) return 5;
  colock_close(lock);
  return 0;
}

START_TEST(reader_only_lock_has_none) {
  char *name = strdup(test_path("a.lock"));
  test_make_lock(name);
  ck_assert_int_eq(chmod(name, 0444), 0);
  int status = test_in_child(reader_only, name);
  if (status == 77) test_skip("no privileges to give up");
  else ck_assert_int_eq(status, 0);
  ck_assert_int_eq(chmod(name, 0600), 0);
  free(name);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "tells", 60);
  tcase_add_test(tcase, nobody_waits_and_it_is_silent);
  tcase_add_loop_test(tcase, it_tells_of_those_whom_the_hold_keeps_waiting, 0, 3);
  tcase_add_test(tcase, it_tells_of_who_was_there_before_it_was_asked_for);
  tcase_add_test(tcase, who_gave_up_was_there_all_the_same);
  tcase_add_test(tcase, it_tells_that_the_hold_was_forced_out);
  tcase_add_loop_test(tcase, it_tells_that_the_file_was_replaced, 0, 2);
  tcase = test_case(suite, "changes", 60);
  tcase_add_test(tcase, after_a_downgrade_it_tells_anew);
  tcase_add_test(tcase, after_a_yield_it_tells_anew);
  tcase_add_test(tcase, after_an_upgrade_it_tells_of_readers_too);
  tcase_add_test(tcase, reader_that_came_while_the_hold_was_upgraded_is_told_of);
  tcase = test_case(suite, "many", 60);
  tcase_add_test(tcase, one_thread_serves_all_holds_of_a_lock);
  tcase_add_test(tcase, everyone_who_waits_is_told_of_at_once);
  tcase_add_test(tcase, it_tells_after_its_thread_has_rested);
  tcase_add_test(tcase, lock_that_is_kept_tells_for_its_next_hold_alone);
  tcase_add_test(tcase, closed_lock_tells_no_more_and_does_no_harm);
  tcase = test_case(suite, "none", 60);
  tcase_add_test(tcase, lock_that_is_not_enabled_is_silent);
  tcase_add_test(tcase, without_a_thread_or_a_descriptor_it_fails_and_the_hold_stays);
  tcase_add_test(tcase, no_hold_no_descriptor);
  tcase_add_test(tcase, child_has_none_and_the_parents_stays);
  tcase_add_test(tcase, reader_only_lock_has_none);
}

int main(int argc, char **argv) { return test_main(argc, argv, "hold_fd", fill); }

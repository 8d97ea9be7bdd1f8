/* test_helper.c - the thread that lets go of kept locks: when it begins, what it notices, and that it sleeps. */
#define _GNU_SOURCE
#include "helper.h"
#include "fault.h"
#include "kept_lock.h"
#include "naps.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* For tests in which nothing is to happen for so long, or something after so long. */
static void sleep_ms(long ms) {
  struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  nanosleep(&t, NULL);
}

/* ---- its life ---- */

START_TEST(thread_begins_with_the_first_that_is_kept_and_ends_with_the_lock) {
  have("1min");
  unsigned before = test_threads();
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  ck_assert_uint_eq(test_threads(), before);
  must(colock_release(hold));
  ck_assert_uint_eq(test_threads(), before + 1);
  keep_many(lock, COLOCK_SHARED, 5);
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_uint_eq(test_threads(), before + 1);
  colock_close(lock);
  await_that(test_threads() == before);
}
END_TEST

static _Atomic int failing;
static int failing_thread(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg) {
  return failing ? EAGAIN : colockp_system_default.pthread_create(thread, attributes, body, arg);
}

static unsigned warnings(const char *text) {
  unsigned found = 0;
  for (const char *at = test_log(); (at = strstr(at, text)) != NULL; at++) found++;
  return found;
}

START_TEST(without_a_thread_nothing_is_kept_and_that_is_said_once) {
  colockp_system.pthread_create = failing_thread;
  have("1min");
  failing = 1;
  for (int i = 0; i < 5; i++) {
    keep(lock, _i);
    ck_assert(!test_lane_taken(path));
  }
  ck_assert_uint_eq(warnings("cannot start the thread"), 1);
  ck_assert_ptr_nonnull(strstr(test_log(), "a.lock"));
  failing = 0;
  await_that((keep(lock, _i), cached(path) == 1)); /* later it is tried again */
  ck_assert_uint_eq(warnings("cannot start the thread"), 1);
  colock_close(lock);
  colockp_system = colockp_system_default;
}
END_TEST

/* ---- time ---- */

START_TEST(what_is_not_used_is_let_go_after_its_time) {
  have("150ms");
  for (int i = 0; i < 3; i++) {
    keep(lock, _i);
    sleep_ms(50);
    int64_t begin = test_now_ms();
    keep(lock, _i); /* its time begins anew */
    await_that(!test_lane_taken(path));
    int64_t took = test_now_ms() - begin;
    ck_assert_int_ge(took, 149);
    ck_assert_int_lt(took, 10000);
    ck_assert_int_eq(cached(path), 0);
  }
  colock_close(lock);
}
END_TEST

START_TEST(each_of_several_has_its_own_time) {
  have("300ms");
  colock_hold *first = kept_try(lock, COLOCK_SHARED), *second = kept_try(lock, COLOCK_SHARED);
  int64_t begin = test_now_ms();
  must(colock_release(first));
  sleep_ms(150);
  int64_t late = test_now_ms();
  must(colock_release(second));
  await_that(cached(path) < 2);
  ck_assert_int_ge(test_now_ms() - begin, 299);
  await_that(cached(path) == 0);
  ck_assert_int_ge(test_now_ms() - late, 299);
  colock_close(lock);
}
END_TEST

START_TEST(nothing_wakes_once_all_is_let_go) {
  naps_install(false);
  fault_install();
  have("20ms");
  keep_many(lock, COLOCK_SHARED, 3);
  keep(lock, COLOCK_EXCLUSIVE);
  await_that(!test_lane_taken(path) && parked(lock) && naps.asleep);
  fault_die_at(0);
  sleep_ms(1500);
  ck_assert_int_eq(fault_calls(), 0);
  fault_disarm();
  keep(lock, COLOCK_SHARED);
  await_that(!test_lane_taken(path)); /* but for this */
  colock_close(lock);
  fault_remove();
  colockp_system = colockp_system_default;
}
END_TEST

static int64_t processor_ms(pthread_t thread) {
  clockid_t id;
  struct timespec t;
  ck_assert_int_eq(pthread_getcpuclockid(thread, &id), 0);
  ck_assert_int_eq(clock_gettime(id, &t), 0);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What never idles out was taken for nothing, which one does not sleep for as long as something is there. */
START_TEST(what_is_kept_for_ever_costs_no_time) {
  have("forever");
  keep(lock, COLOCK_EXCLUSIVE);
  int64_t begin = processor_ms(lock->cache.thread);
  sleep_ms(1200);
  ck_assert_int_lt(processor_ms(lock->cache.thread) - begin, 100);
  ck_assert_int_eq(cached(path), 1);
  other = other_of(path);
  ck_assert_int_eq(agent_call(other, "acquire x 7000"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

/* Each time that another process was woken it found its own in use, parked, and woke all others when it kept it
 * again. */
START_TEST(who_wakes_its_own_thread_wakes_no_others) {
  naps_install(true);
  have("1min");
  keep(lock, COLOCK_SHARED);
  for (int i = 0; i < 20; i++) {
    colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
    long before = naps.begun;
    colockp_helper_kick(lock); /* as a recall by others: it finds nothing that it could let go */
    naps_await(before);
    uint32_t recall = test_header(path).recall & ~COLOCKP_RECALL_ASLEEP;
    must(colock_release(hold));
    ck_assert_uint_eq(test_header(path).recall & ~COLOCKP_RECALL_ASLEEP, recall);
  }
  colock_close(lock);
  colockp_system = colockp_system_default;
}
END_TEST

/* A lock that is in use nearly always is not kept at most looks: no reason to have to wake the thread at each
 * release. */
START_TEST(thread_waits_a_while_for_what_is_in_use) {
  naps_install(true);
  fault_install();
  have("1min");
  keep(lock, COLOCK_SHARED);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  long before = naps.begun;
  for (; !parked(lock); before = naps.begun) { /* at one look after another there is nothing to do */
    colockp_helper_kick(lock);
    naps_await(before);
  }
  colockp_helper_kick(lock);
  naps_await(before);
  ck_assert(!parked(lock)); /* once is not enough */
  fault_fail_at(FAULT_futex_wake, LONG_MAX, 0); /* only counts them */
  must(colock_release(hold));
  ck_assert_int_eq(fault_calls(), 0);
  colock_close(lock);
  fault_remove();
  colockp_system = colockp_system_default;
}
END_TEST

/* ---- fork ---- */

static bool had; /* the parent has it in use */
static colock_hold *held;

static int child(void *arg) {
  colock_hold *hold = NULL;
  (void)arg;
  if (test_threads() != 1) return 1;
  if (colock_try_acquire(lock, COLOCK_SHARED, &hold) != COLOCK_EBUSY) return 2; /* it has not got the parent's */
  if (had && colock_check(held) != COLOCK_EFORKED) return 3;
  if (had && colock_release(held) != COLOCK_EFORKED) return 4;
  if (!had && colock_acquire(lock, COLOCK_EXCLUSIVE, &hold) != COLOCK_OK) return 5; /* the parent's thread lets go */
  if (!had && colock_release(hold) != COLOCK_OK) return 6;
  if (!had && !atomic_load(&lock->cache.running)) return 7; /* it keeps, with a thread of its own */
  if (!had && cached(path) != 1) return 8;
  if (!had && colock_acquire(lock, COLOCK_SHARED, &hold) != COLOCK_OK) return 9;
  if (!had && colock_release(hold) != COLOCK_OK) return 10;
  colock_close(lock);
  return 0;
}

START_TEST(child_has_nothing_of_what_its_parent_keeps) {
  have("1min");
  for (int i = 0; i < 3; i++) {
    keep(lock, COLOCK_EXCLUSIVE);
    ck_assert_int_eq(test_in_child(child, NULL), 0);
    ck_assert_int_eq(cached(path), 0);
  }
  keep_many(lock, COLOCK_EXCLUSIVE, 1);
  colock_close(lock);
}
END_TEST

START_TEST(child_does_no_harm_to_what_its_parent_has_in_use) {
  have("1min");
  keep(lock, COLOCK_EXCLUSIVE);
  held = kept_acquire(lock, COLOCK_EXCLUSIVE);
  had = true;
  ck_assert_int_eq(test_in_child(child, NULL), 0);
  must(colock_check(held));
  ck_assert(test_lane_taken(path));
  must(colock_release(held));
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

static int close_only(void *arg) {
  if (arg) colock_release_idle(lock);
  colock_close(lock);
  return 0;
}

START_TEST(child_that_closes_leaves_its_parent_what_it_keeps) {
  have("1min");
  keep_many(lock, COLOCK_SHARED, 3);
  ck_assert_int_eq(test_in_child(close_only, NULL), 0);
  ck_assert_int_eq(test_in_child(close_only, lock), 0);
  ck_assert_int_eq(cached(path), 3);
  uint64_t last = test_header(path).fence;
  colock_hold *hold = kept_try(lock, COLOCK_EXCLUSIVE);
  ck_assert_uint_eq(colock_token(hold), last + 1);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

static _Atomic int forking;
static void *use_on(void *arg) {
  (void)arg;
  long failed = 0;
  while (forking) {
    colock_hold *hold = NULL;
    if (colock_acquire(lock, COLOCK_SHARED, &hold) != COLOCK_OK || colock_release(hold) != COLOCK_OK) failed++;
  }
  return (void *)(intptr_t)failed;
}

static int use_in_child(void *arg) {
  (void)arg;
  colock_hold *hold = NULL;
  for (int i = 0; i < 5; i++) {
    if (colock_acquire(lock, COLOCK_SHARED, &hold) != COLOCK_OK) return 1;
    if (colock_release(hold) != COLOCK_OK) return 2;
  }
  return colock_release_idle(lock);
}

START_TEST(fork_may_come_at_any_time) {
  pthread_t threads[2];
  have("1ms");
  forking = 1;
  for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, use_on, NULL), 0);
  for (int i = 0; i < 30; i++) ck_assert_int_eq(test_in_child(use_in_child, NULL), 0);
  forking = 0;
  for (int i = 0; i < 2; i++) {
    void *failed = NULL;
    pthread_join(threads[i], &failed);
    ck_assert_int_eq((intptr_t)failed, 0);
  }
  colock_close(lock);
}
END_TEST

/* ---- the file ---- */

static bool lane_taken_in(int fd) {
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = COLOCKP_BYTE_LANE, .l_len = 1 << 20};
  ck_assert_int_eq(fcntl(fd, F_OFD_GETLK, &range), 0);
  return range.l_type != F_UNLCK;
}

START_TEST(file_that_vanished_beneath_a_kept_lock_is_let_go) {
  have("1min");
  keep(lock, _i);
  int old = open(path, O_RDWR | O_CLOEXEC);
  ck_assert(lane_taken_in(old));
  ck_assert_int_eq(unlink(path), 0);
  await_that(!lane_taken_in(old));
  close(old);
  keep(lock, _i);
  ck_assert_int_eq(cached(path), 1); /* of a new file */
  colock_hold *hold = kept_acquire(lock, _i);
  must(colock_check(hold));
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(owner_meets_others_on_the_file_that_replaced_its_own) {
  have("1min");
  keep(lock, COLOCK_EXCLUSIVE);
  test_make_lock(test_path("b.lock"));
  ck_assert_int_eq(rename(test_path("b.lock"), path), 0);
  other = other_of(path);
  ck_assert_int_eq(agent_call(other, "acquire x 5000"), COLOCK_OK);
  colock_hold *hold = NULL;
  await_that(colock_try_acquire(lock, COLOCK_SHARED, &hold) == COLOCK_EBUSY || colock_release(hold) != COLOCK_OK);
  must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_SHARED, &hold));
  colock_close(lock);
}
END_TEST

START_TEST(hold_of_a_file_that_vanished_is_lost_and_not_kept) {
  have("1min");
  keep(lock, _i);
  colock_hold *hold = kept_acquire(lock, _i);
  ck_assert_int_eq(unlink(path), 0);
  must_be(COLOCK_ELOST, colock_check(hold));
  must_be(COLOCK_ELOST, colock_release(hold));
  keep(lock, _i);
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

/* Others, in the meantime, saw no file: what was kept had to go. But it is the same file again. */
START_TEST(file_that_comes_back_is_kept_again) {
  have("1min");
  keep(lock, _i);
  const char *away = test_path("away.lock");
  ck_assert_int_eq(rename(path, away), 0);
  await_that(!test_lane_taken(away) && parked(lock)); /* it has looked into all cells */
  ck_assert_int_eq(rename(away, path), 0);
  keep(lock, _i);
  keep(lock, _i);
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

static int have_it_replaced(void *seats) {
  if (test_become_nobody() != 0) return 77;
  naps_install(false);
  have("1min");
  if (seats) keep_many(lock, COLOCK_SHARED, 3);
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE), *reader = NULL;
  keep_many(kept_open(test_path("b/b.lock"), "1min"), COLOCK_SHARED, 1);
  if (chmod(test_path("b/b.lock"), 0444) != 0 || rename(test_path("b/b.lock"), path) != 0) return 1;
  if (colock_hold_fd(hold) < 0) return 2;
  long before = naps.begun;
  if (colock_detach(hold) != COLOCK_OK || colock_acquire(lock, COLOCK_SHARED, &reader) != COLOCK_OK) return 3;
  naps_await(before);
  if (colock_release(reader) != COLOCK_OK) return 4;
  int64_t begin = processor_ms(lock->cache.thread);
  sleep_ms(1200);
  if (processor_ms(lock->cache.thread) - begin > 200) return 5;
  if (colock_release(hold) != COLOCK_ELOST) return 6;
  if (colock_acquire(lock, COLOCK_SHARED, &reader) != COLOCK_OK || colock_release(reader) != COLOCK_OK) return 7;
  colock_close(lock);
  return 0;
}

/* Its words cannot be seen: there is nothing to sleep on. */
START_TEST(file_that_was_replaced_by_one_that_may_only_be_read) {
  ck_assert_int_eq(mkdir(test_path("b"), 0777), 0);
  ck_assert_int_eq(chmod(test_path("b"), 0777) | chmod(test_dir(), 0777), 0);
  int code = test_in_child(have_it_replaced, _i ? &lock : NULL);
  if (code == 77) return test_skip("not root");
  ck_assert_int_eq(code, 0);
}
END_TEST

/* ---- closing ---- */

START_TEST(closing_hands_over_what_is_kept) {
  for (int i = 0; i < 3; i++) {
    have("1min");
    other = other_of(path);
    colock_hold *hold = kept_acquire(lock, _i);
    lasts_ms(hold, 60000); /* it is not recalled in time */
    must(colock_release(hold));
    agent_send(other, "acquire x 7000");
    test_await_waiters(path, 1);
    colock_close(lock);
    ck_assert_int_eq(agent_answer(other), COLOCK_OK);
    ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  }
}
END_TEST

START_TEST(hold_that_outlives_its_lock_is_not_kept) {
  have("1min");
  keep(lock, COLOCK_SHARED);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED), *more = kept_try(lock, COLOCK_SHARED);
  must(colock_release(more));
  colock_close(lock);
  ck_assert_int_eq(cached(path), 0);
  ck_assert_int_eq(stat_of(path, "holders"), 1);
  must(colock_check(hold));
  must(colock_release(hold));
  ck_assert(!test_lane_taken(path));
}
END_TEST

static void fill(Suite *suite) {
  const int first = COLOCK_SHARED, end = COLOCK_EXCLUSIVE + 1;
  TCase *tcase = test_case(suite, "life", 60);
  tcase_add_test(tcase, thread_begins_with_the_first_that_is_kept_and_ends_with_the_lock);
  tcase_add_loop_test(tcase, without_a_thread_nothing_is_kept_and_that_is_said_once, first, end);
  tcase = test_case(suite, "time", 60);
  tcase_add_loop_test(tcase, what_is_not_used_is_let_go_after_its_time, first, end);
  tcase_add_test(tcase, each_of_several_has_its_own_time);
  tcase_add_test(tcase, nothing_wakes_once_all_is_let_go);
  tcase_add_test(tcase, what_is_kept_for_ever_costs_no_time);
  tcase_add_test(tcase, who_wakes_its_own_thread_wakes_no_others);
  tcase_add_test(tcase, thread_waits_a_while_for_what_is_in_use);
  tcase = test_case(suite, "fork", 60);
  tcase_set_tags(tcase, "native child_threads");
  tcase_add_test(tcase, child_has_nothing_of_what_its_parent_keeps);
  tcase_add_test(tcase, child_does_no_harm_to_what_its_parent_has_in_use);
  tcase_add_test(tcase, child_that_closes_leaves_its_parent_what_it_keeps);
  tcase_add_test(tcase, fork_may_come_at_any_time);
  tcase = test_case(suite, "file", 60);
  tcase_add_loop_test(tcase, file_that_vanished_beneath_a_kept_lock_is_let_go, first, end);
  tcase_add_test(tcase, owner_meets_others_on_the_file_that_replaced_its_own);
  tcase_add_loop_test(tcase, hold_of_a_file_that_vanished_is_lost_and_not_kept, first, end);
  tcase_add_loop_test(tcase, file_that_comes_back_is_kept_again, first, end);
  tcase_add_loop_test(tcase, file_that_was_replaced_by_one_that_may_only_be_read, 0, 2);
  tcase = test_case(suite, "close", 60);
  tcase_add_loop_test(tcase, closing_hands_over_what_is_kept, first, end);
  tcase_add_test(tcase, hold_that_outlives_its_lock_is_not_kept);
}

int main(int argc, char **argv) { return test_main(argc, argv, "helper", fill); }

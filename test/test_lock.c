/* test_lock.c - an opened lock: order of closing, several on one file, threads, where its settings come from. */
#define _GNU_SOURCE
#include "agent.h"
#include "support.h"
#include "tracker.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

START_TEST(closed_lock_leaves_nothing_behind) {
  unsigned mappings = test_mappings("a.lock");
  tracker_start();
  colock *lock = test_open(test_path("a.lock"));
  ck_assert_uint_gt(test_mappings("a.lock"), mappings);
  colock_close(lock);
  ck_assert_uint_eq(tracker_held(), 0);
  ck_assert_uint_eq(test_mappings("a.lock"), mappings);
  colock_close(NULL);
}
END_TEST

START_TEST(holds_outlive_their_lock) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  tracker_start();
  colock *lock = test_open(path);
  colock_hold *first = NULL, *second = NULL;
  must(colock_try_acquire(lock, COLOCK_SHARED, &first));
  must(colock_try_acquire(lock, COLOCK_SHARED, &second));
  colock_close(lock);
  must(colock_check(first));
  ck_assert_int_eq(agent_call(a, "try x"), COLOCK_EBUSY);
  must(colock_release(second));
  ck_assert_int_eq(agent_call(a, "try x"), COLOCK_EBUSY);
  must(colock_renew(first));
  must(colock_release(first)); /* frees the rest: the fixture counts */
  ck_assert_uint_eq(test_mappings("a.lock"), 0);
  ck_assert_int_eq(agent_call(a, "try x"), COLOCK_OK);
}
END_TEST

START_TEST(two_locks_on_one_file_exclude_each_other) {
  colock *a = test_open(test_path("a.lock")), *b = test_open(test_path("a.lock"));
  colock_hold *hold = NULL, *other = NULL;
  must(colock_try_acquire(a, COLOCK_EXCLUSIVE, &hold));
  must_be(COLOCK_EBUSY, colock_try_acquire(b, COLOCK_SHARED, &other));
  must_be(COLOCK_EBUSY, colock_try_acquire(a, COLOCK_SHARED, &other));
  colock_close(b); /* closes descriptors of the same file: nothing is lost */
  must(colock_check(hold));
  ck_assert(test_lane_taken(test_path("a.lock")));
  must(colock_release(hold));
  colock_close(a);
}
END_TEST

/* ---- threads ---- */

#define THREADS 6
#define ROUNDS 300

struct work {
  colock *lock;
  int number;
  int code;
};

static long counter; /* under the exclusive lock, and under nothing else */
static _Atomic int inside;

static void *count_up(void *arg) {
  struct work *w = arg;
  for (int i = 0; i < ROUNDS && w->code == COLOCK_OK; i++) {
    colock_hold *hold = NULL;
    colock_request request;
    colock_request_init(&request, sizeof request, (i + w->number) % 3 ? COLOCK_SHARED : COLOCK_EXCLUSIVE);
    request.timeout_ms = 30000;
    w->code = colock_acquire_with(w->lock, &request, &hold);
    if (w->code != COLOCK_OK) break;
    if (request.mode == COLOCK_EXCLUSIVE) {
      if (inside++ != 0) w->code = -1;
      long seen = counter;
      sched_yield();
      counter = seen + 1;
      inside--;
    }
    int code = colock_release(hold);
    if (w->code == COLOCK_OK) w->code = code;
  }
  return NULL;
}

START_TEST(threads_exclude_each_other_as_processes_do) {
  struct work work[THREADS];
  pthread_t threads[THREADS];
  tracker_start();
  colock *shared = test_open(test_path("a.lock")), *second = test_open(test_path("a.lock"));
  counter = 0;
  for (int i = 0; i < THREADS; i++) {
    work[i] = (struct work){i % 2 ? shared : second, i, COLOCK_OK};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, &work[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    ck_assert_int_eq(work[i].code, COLOCK_OK);
  }
  ck_assert_int_eq(counter, THREADS * ROUNDS / 3);
  colock_close(shared);
  colock_close(second);
}
END_TEST

static pthread_barrier_t all_inside;

static void *read_together(void *arg) {
  struct work *w = arg;
  colock_hold *hold = NULL;
  w->code = colock_acquire(w->lock, COLOCK_SHARED, &hold);
  if (w->code != COLOCK_OK) return NULL;
  pthread_barrier_wait(&all_inside); /* passes only when every reader is inside at once */
  w->code = colock_release(hold);
  return NULL;
}

START_TEST(readers_of_one_lock_are_inside_together) {
  struct work work[THREADS];
  pthread_t threads[THREADS];
  colock *lock = test_open(test_path("a.lock"));
  pthread_barrier_init(&all_inside, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    work[i] = (struct work){lock, i, COLOCK_OK};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, read_together, &work[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    ck_assert_int_eq(work[i].code, COLOCK_OK);
  }
  pthread_barrier_destroy(&all_inside);
  colock_close(lock);
}
END_TEST

static void *give_back(void *arg) {
  return colock_release(arg) == COLOCK_OK ? NULL : "the release failed";
}

static void *take(void *arg) {
  colock_hold *hold = NULL;
  return colock_acquire(arg, COLOCK_EXCLUSIVE, &hold) == COLOCK_OK ? hold : NULL;
}

START_TEST(hold_belongs_to_the_process_not_to_its_thread) {
  colock *lock = test_open(test_path("a.lock"));
  for (int i = 0; i < 3; i++) {
    pthread_t thread;
    void *got = NULL, *said = NULL;
    ck_assert_int_eq(pthread_create(&thread, NULL, take, lock), 0);
    pthread_join(thread, &got); /* the thread ends, its hold does not */
    ck_assert_ptr_nonnull(got);
    must(colock_check(got));
    ck_assert(test_lane_taken(test_path("a.lock")));
    ck_assert_int_eq(pthread_create(&thread, NULL, give_back, got), 0);
    pthread_join(thread, &said);
    ck_assert_msg(said == NULL, "%s", (char *)said);
    colock_hold *mine = take(lock);
    ck_assert_ptr_nonnull(mine);
    ck_assert_int_eq(pthread_create(&thread, NULL, give_back, mine), 0);
    pthread_join(thread, &said);
    mine = take(lock); /* no deadlock: this thread has none any more */
    ck_assert_ptr_nonnull(mine);
    must(colock_release(mine));
  }
  colock_close(lock);
}
END_TEST

/* ---- settings ---- */

START_TEST(without_a_configuration_the_environment_counts) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  colock *lock = NULL;
  colock_hold *hold = NULL;
  setenv("COLOCK_TIMEOUT", "0", 1);
  must(colock_open(&lock, path, NULL));
  must_be(COLOCK_EBUSY, colock_acquire(lock, COLOCK_SHARED, &hold));
  colock_close(lock);
  lock = NULL;
  setenv("COLOCK_TIMEOUT", "nonsense", 1);
  must_be(COLOCK_ECONFIG, colock_open(&lock, path, NULL));
  ck_assert_ptr_null(lock);
  unsetenv("COLOCK_TIMEOUT");
}
END_TEST

START_TEST(configuration_is_read_at_open_and_not_kept) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  colock_config *config = test_config("timeout", "0", NULL);
  colock *lock = NULL;
  colock_hold *hold = NULL;
  must(colock_open(&lock, path, config));
  must(colock_config_set(config, "timeout", "forever"));
  colock_config_free(config);
  must_be(COLOCK_EBUSY, colock_acquire(lock, COLOCK_SHARED, &hold));
  colock_close(lock);
}
END_TEST

START_TEST(failed_open_leaves_nothing_behind) {
  colock *lock = NULL;
  colock_config *config = test_config(NULL);
  test_write(test_path("text.lock"), "text", 4);
  tracker_start();
  for (int i = 0; i < 3; i++) {
    must_be(COLOCK_EFOREIGN, colock_open(&lock, test_path("text.lock"), config));
    must_be(COLOCK_ENOENT, colock_open(&lock, test_path("none/a.lock"), config));
  }
  ck_assert_ptr_null(lock);
  colock_config_free(config);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "lock", 30);
  tcase_add_test(tcase, closed_lock_leaves_nothing_behind);
  tcase_add_test(tcase, holds_outlive_their_lock);
  tcase_add_test(tcase, two_locks_on_one_file_exclude_each_other);
  tcase_add_test(tcase, without_a_configuration_the_environment_counts);
  tcase_add_test(tcase, configuration_is_read_at_open_and_not_kept);
  tcase_add_test(tcase, failed_open_leaves_nothing_behind);
  tcase = test_case(suite, "threads", 60);
  tcase_add_test(tcase, threads_exclude_each_other_as_processes_do);
  tcase_add_test(tcase, readers_of_one_lock_are_inside_together);
  tcase_add_test(tcase, hold_belongs_to_the_process_not_to_its_thread);
}

int main(int argc, char **argv) { return test_main(argc, argv, "lock", fill); }

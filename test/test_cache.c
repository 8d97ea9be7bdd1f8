/* test_cache.c - locks that are kept after their release, seen from the process that keeps them. */
#define _GNU_SOURCE
#include "cache.h"
#include "clock.h"
#include "fault.h"
#include "kept_lock.h"
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAIRS 1000

/* ---- taken again ---- */

/* The thread that looks after it makes a few: at its start, and once a second. */
START_TEST(kept_lock_is_taken_again_without_a_system_call) {
  fault_install();
  have("1min");
  keep(lock, _i);
  fault_die_at(0);
  for (int i = 0; i < PAIRS; i++) keep(lock, _i);
  long calls = fault_calls();
  fault_disarm();
  ck_assert_int_lt(calls, PAIRS / 10);
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
  fault_remove();
}
END_TEST

START_TEST(others_see_who_keeps_it_and_get_what_does_not_conflict) {
  have_other();
  colock_hold *hold = kept_acquire(lock, _i);
  ck_assert_int_eq(entry_of(path, COLOCK_ROLE), COLOCK_HOLDER);
  must(colock_release(hold));
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(entry_of(path, COLOCK_ROLE), COLOCK_CACHED);
    ck_assert_int_eq(entry_of(path, COLOCK_MODE), _i);
    ck_assert_int_eq(entry_of(path, COLOCK_PID), getpid());
    ck_assert_int_eq(stat_of(path, "holders"), 0);
    ck_assert_int_eq(can("s"), _i == COLOCK_SHARED ? COLOCK_OK : COLOCK_EBUSY);
    ck_assert_int_eq(can("x"), COLOCK_EBUSY);
    hold = kept_acquire(lock, _i);
    ck_assert_int_eq(entry_of(path, COLOCK_ROLE), COLOCK_HOLDER);
    ck_assert_int_eq(entry_of(path, COLOCK_MODE), _i);
    ck_assert_int_eq(entry_of(path, COLOCK_TID), getpid());
    ck_assert_int_eq(stat_of(path, "cached"), 0);
    ck_assert_int_eq(can("x"), COLOCK_EBUSY);
    must(colock_release(hold));
  }
  must(colock_release_idle(lock));
  ck_assert_int_eq(can("x"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

START_TEST(each_writer_has_a_token_of_its_own) {
  have("1min");
  uint64_t before = 0;
  for (int i = 0; i < 5; i++) {
    colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
    uint64_t token = colock_token(hold);
    if (i > 0) ck_assert_uint_eq(token, before + 1);
    ck_assert_uint_eq(colock_last_token(hold), token - 1);
    ck_assert_uint_eq(writer_mark(), token);
    ck_assert_int_eq(colock_abandoned(hold), 0);
    must(colock_check(hold));
    must(colock_release(hold));
    ck_assert_uint_eq(writer_mark(), 0); /* who dies while it is only kept leaves nothing half written */
    before = token;
  }
  ck_assert_uint_eq(test_header(path).fence, before);
  colock_close(lock);
}
END_TEST

START_TEST(each_hold_has_an_id_of_its_own) {
  have("1min");
  uint64_t before = 0;
  for (int i = 0; i < 5; i++) {
    char text[64];
    uint32_t slot, generation;
    uint64_t id;
    colock_hold *hold = kept_acquire(lock, _i);
    must(colock_hold_id(hold, text, sizeof text));
    ck_assert_int_eq(sscanf(text, "%" SCNu32 ":%" SCNu64 ":%" SCNu32, &slot, &id, &generation), 3);
    ck_assert_int_eq(entry_of(path, COLOCK_HOLD_ID), (int64_t)id);
    ck_assert_int_eq(entry_of(path, COLOCK_SLOT), slot);
    if (i > 0) ck_assert_uint_eq(id, before + 1);
    before = id;
    must(colock_release(hold));
  }
  colock_close(lock);
}
END_TEST

START_TEST(readers_know_that_nobody_has_written_since) {
  have_other();
  ck_assert_int_eq(agent_call(other, "acquire x 5000"), COLOCK_OK);
  uint64_t token = other->token;
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  for (int i = 0; i < 3; i++) {
    colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
    ck_assert_uint_eq(colock_token(hold), 0);
    ck_assert_uint_eq(colock_last_token(hold), token);
    must(colock_release(hold));
  }
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  ck_assert_uint_eq(colock_last_token(hold), token);
  ck_assert_uint_eq(colock_token(hold), token + 1);
  must(colock_release(hold));
  hold = kept_acquire(lock, COLOCK_SHARED);
  ck_assert_uint_eq(colock_last_token(hold), token + 1);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(what_is_abandoned_is_told_until_it_is_recovered) {
  have_other();
  ck_assert_int_eq(agent_call(other, "acquire x 5000"), COLOCK_OK);
  agent_kill(other);
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++)
    for (int i = 0; i < 3; i++) {
      colock_hold *hold = kept_acquire(lock, mode);
      ck_assert_int_eq(colock_abandoned(hold), 1);
      must(colock_release(hold));
    }
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  must(colock_recovered(hold));
  must(colock_release(hold));
  for (int mode = COLOCK_EXCLUSIVE; mode >= COLOCK_SHARED; mode--) {
    hold = kept_acquire(lock, mode);
    ck_assert_int_eq(colock_abandoned(hold), 0);
    must(colock_release(hold));
  }
  colock_close(lock);
}
END_TEST

START_TEST(purpose_and_priority_are_those_of_the_present_hold) {
  static const char *const purposes[] = {"first", NULL, "third, longer", "4th"};
  have("1min");
  for (int i = 0; i < 4; i++) {
    colock_hold *hold = NULL;
    colock_report *report = NULL;
    colock_request request;
    colock_request_init(&request, sizeof request, COLOCK_SHARED);
    request.purpose = purposes[i];
    request.priority = i;
    must(colock_acquire_with(lock, &request, &hold));
    must(colock_report_read(path, &report));
    const colock_entry *entry = colock_report_entry(report, 0);
    const char *purpose = colock_entry_text(entry, COLOCK_PURPOSE);
    ck_assert_str_eq(purpose ? purpose : "", purposes[i] ? purposes[i] : "");
    ck_assert_int_eq(colock_entry_number(entry, COLOCK_PRIORITY), i);
    colock_report_free(report);
    must(colock_release(hold));
  }
  colock_close(lock);
}
END_TEST

/* What was long ago is no reason to call it stale. */
START_TEST(time_until_stale_begins_with_the_present_hold) {
  have("1min");
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  must(colock_release(hold));
  int64_t between = colockp_now_ns();
  hold = kept_acquire(lock, COLOCK_SHARED);
  ck_assert_int_ge(hold->activity.since_ns, between);
  ck_assert_int_ge(hold->activity.renewed_ns, between);
  must(colock_release(hold));
  ck_assert_int_ge(entry_of(path, COLOCK_AGE_MS), 0);
  ck_assert_int_le(entry_of(path, COLOCK_STALE), 0);
  colock_close(lock);
}
END_TEST

START_TEST(without_auto_release_nothing_is_kept) {
  path = test_path("a.lock");
  unsigned threads = test_threads();
  lock = test_open_set(path, "idle_timeout", "1min");
  keep(lock, _i);
  ck_assert(!test_lane_taken(path));
  ck_assert_uint_eq(test_threads(), threads);
  colock_close(lock);
}
END_TEST

START_TEST(disabled_lock_keeps_nothing) {
  colock_config *config = test_config("auto_release", "true", "enabled", "false", NULL);
  path = test_path("a.lock");
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  keep(lock, COLOCK_EXCLUSIVE);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  must(colock_release_idle(lock));
  must(colock_release(hold));
  ck_assert_int_ne(access(path, F_OK), 0);
  colock_close(lock);
}
END_TEST

/* ---- several ---- */

#define THREADS 6

static pthread_barrier_t together;

static void *read_together(void *arg) {
  colock_hold *hold = NULL;
  int code = colock_acquire(lock, COLOCK_SHARED, &hold);
  pthread_barrier_wait(&together);
  if (code == COLOCK_OK && arg == NULL) code = colock_acquire(lock, COLOCK_SHARED, &hold) == COLOCK_EDEADLK ? 0 : -1;
  return (void *)(intptr_t)(code != COLOCK_OK ? code : colock_release(hold));
}

/* All of them hold at once. Any arg: without an acquire too many in between. */
static void hold_in_threads(void *arg) {
  pthread_t threads[THREADS];
  pthread_barrier_init(&together, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, read_together, arg), 0);
  for (int i = 0; i < THREADS; i++) {
    void *code = NULL;
    pthread_join(threads[i], &code);
    ck_assert_int_eq((intptr_t)code, COLOCK_OK);
  }
  pthread_barrier_destroy(&together);
}

START_TEST(threads_keep_it_shared_each) {
  have("1min");
  unsigned descriptors = 0;
  for (int i = 0; i < 5; i++) {
    hold_in_threads(lock);
    ck_assert_int_eq(cached(path), THREADS);
    if (i == 0) descriptors = test_descriptors();
    ck_assert_uint_eq(test_descriptors(), descriptors);
  }
  hold_in_threads(NULL); /* each is told of its own */
  ck_assert_int_eq(cached(path), THREADS);
  colock_close(lock);
}
END_TEST

START_TEST(more_holds_than_can_be_kept_are_let_go) {
  have_other();
  for (int i = 0; i < 3; i++) {
    keep_many(lock, COLOCK_SHARED, COLOCKP_CELLS + 9);
    ck_assert_int_eq(cached(path), COLOCKP_CELLS);
  }
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(cached(path), 1);
  must(colock_release_idle(lock));
  ck_assert_int_eq(can("x"), COLOCK_OK);
  keep_many(lock, COLOCK_SHARED, COLOCKP_CELLS);
  ck_assert_int_eq(cached(path), COLOCKP_CELLS); /* no place was lost */
  colock_close(lock);
}
END_TEST

START_TEST(hold_that_finds_no_room_ends_as_one_that_is_never_kept) {
  colock_config *config = test_config("auto_release", "true", "verbosity", "debug", NULL);
  path = test_path("a.lock");
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  for (int i = 0; i < COLOCKP_CELLS; i++) lock->cache.cells[i].seat = COLOCKP_RESERVED;
  keep(lock, _i);
  for (int i = 0; i < COLOCKP_CELLS; i++) lock->cache.cells[i].seat = NULL;
  ck_assert(!test_lane_taken(path));
  const char *line = strstr(test_log(), "event=released");
  ck_assert_msg(line && strstr(line, "kept=no") && !strstr(line + 1, "event=released"), "%s", test_log());
  colock_close(lock);
}
END_TEST

START_TEST(two_locks_of_one_process_recall_each_other) {
  have("1min");
  colock *second = kept_open(path, "1min");
  for (int i = 0; i < 3; i++)
    for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
      keep(lock, mode);
      keep(second, COLOCK_EXCLUSIVE);
      ck_assert_int_eq(cached(path), 1);
    }
  keep(lock, COLOCK_SHARED);
  keep(second, COLOCK_SHARED);
  ck_assert_int_eq(cached(path), 2);
  colock_close(second);
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

/* ---- who would wait for itself ---- */

START_TEST(thread_that_holds_what_was_kept_would_wait_for_itself) {
  have("1min");
  keep_many(lock, COLOCK_SHARED, 2);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED), *more = NULL;
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    must_be(COLOCK_EDEADLK, colock_acquire(lock, mode, &more));
    ck_assert_int_eq(cached(path), 1); /* and the other one is kept on */
  }
  more = kept_try(lock, COLOCK_SHARED);
  must(colock_release(more));
  must(colock_detach(hold));
  more = kept_acquire(lock, COLOCK_SHARED);
  must(colock_release(more));
  must(colock_release(hold));
  for (int i = 0; i < 3; i++) keep(lock, _i); /* what is only kept counts for nobody */
  colock_close(lock);
}
END_TEST

START_TEST(hold_of_a_try_does_not_count_whatever_it_was_before) {
  have("1min");
  keep(lock, COLOCK_SHARED); /* by a blocking call */
  colock_hold *hold = kept_try(lock, COLOCK_SHARED);
  colock_hold *more = kept_acquire(lock, COLOCK_SHARED);
  must(colock_release(hold));
  must_be(COLOCK_EDEADLK, colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_release(more));
  keep(lock, COLOCK_SHARED);
  colock_close(lock);
}
END_TEST

static void *give_back(void *hold) { return (void *)(intptr_t)colock_release(hold); }
static void *take(void *arg) {
  (void)arg;
  colock_hold *hold = NULL;
  return colock_acquire(lock, COLOCK_EXCLUSIVE, &hold) == COLOCK_OK ? hold : NULL;
}

START_TEST(it_is_kept_by_whichever_thread_releases_it) {
  have("1min");
  for (int i = 0; i < 3; i++) {
    pthread_t thread;
    void *result = NULL;
    ck_assert_int_eq(pthread_create(&thread, NULL, give_back, kept_acquire(lock, COLOCK_EXCLUSIVE)), 0);
    pthread_join(thread, &result);
    ck_assert_int_eq((intptr_t)result, COLOCK_OK);
    ck_assert_int_eq(cached(path), 1);
    keep(lock, COLOCK_EXCLUSIVE); /* this thread has none any more */
    ck_assert_int_eq(pthread_create(&thread, NULL, take, NULL), 0);
    pthread_join(thread, &result);
    ck_assert_ptr_nonnull(result);
    ck_assert_int_eq(cached(path), 0);
    must(colock_release(result));
  }
  colock_close(lock);
}
END_TEST

/* ---- never kept ---- */

START_TEST(inherited_hold_is_not_kept) {
  have_other();
  keep(lock, _i);
  colock_hold *hold = kept_acquire(lock, _i);
  must(colock_inherit(hold, 1));
  must(colock_release(hold));
  ck_assert_int_eq(cached(path), 0);
  ck_assert_int_eq(can("x"), COLOCK_OK); /* no child has it */
  hold = kept_acquire(lock, _i);
  must(colock_inherit(hold, 1));
  must(colock_inherit(hold, 0));
  must(colock_release(hold));
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

static int suspend_nothing(void *arg) {
  (void)arg;
  return 0;
}

static int keep_what_may_only_be_read(void *arg) {
  (void)arg;
  if (test_become_nobody() != 0) return 77;
  colock *reader = kept_open(path, "1min");
  colock_hold *hold = NULL;
  if (colock_acquire(reader, COLOCK_SHARED, &hold) != COLOCK_OK || colock_release(hold) != COLOCK_OK) return 1;
  if (stat_of(path, "anonymous") != 0) return 2;
  if (colock_release_idle(reader) != COLOCK_OK) return 3;
  if (colock_set_suspend(reader, suspend_nothing, NULL) != COLOCK_OK) return 4; /* its thread had no file to look at */
  for (int i = 0; i < 50; i++) {
    if (colock_acquire(reader, COLOCK_SHARED, &hold) != COLOCK_OK || colock_release(hold) != COLOCK_OK) return 5;
    if (stat_of(path, "anonymous") != 0) return 6;
  }
  colock_close(reader);
  return 0;
}

START_TEST(lock_that_may_only_be_read_is_not_kept) {
  path = test_path("a.lock");
  test_make_lock(path);
  ck_assert_int_eq(chmod(path, 0444), 0);
  int code = test_in_child(keep_what_may_only_be_read, NULL);
  if (code == 77) return test_skip("not root");
  ck_assert_int_eq(code, 0);
}
END_TEST

/* ---- letting go by hand ---- */

START_TEST(what_is_idle_can_be_let_go_at_once) {
  have_other();
  must(colock_release_idle(lock));
  must_be(COLOCK_EINVAL, colock_release_idle(NULL));
  keep_many(lock, COLOCK_SHARED, 5);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  must(colock_release_idle(lock));
  ck_assert_int_eq(cached(path), 0);
  must(colock_check(hold)); /* what is in use stays */
  ck_assert_int_eq(can("x"), COLOCK_EBUSY);
  must(colock_release(hold));
  must(colock_release_idle(lock));
  ck_assert_int_eq(can("x"), COLOCK_OK);
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
  ck_assert_int_eq(can("x"), COLOCK_OK);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "again", 60);
  tcase_add_loop_test(tcase, kept_lock_is_taken_again_without_a_system_call, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_loop_test(tcase, others_see_who_keeps_it_and_get_what_does_not_conflict, COLOCK_SHARED,
                      COLOCK_EXCLUSIVE + 1);
  tcase_add_test(tcase, each_writer_has_a_token_of_its_own);
  tcase_add_loop_test(tcase, each_hold_has_an_id_of_its_own, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_test(tcase, readers_know_that_nobody_has_written_since);
  tcase_add_test(tcase, what_is_abandoned_is_told_until_it_is_recovered);
  tcase_add_test(tcase, purpose_and_priority_are_those_of_the_present_hold);
  tcase_add_test(tcase, time_until_stale_begins_with_the_present_hold);
  tcase = test_case(suite, "several", 60);
  tcase_add_test(tcase, threads_keep_it_shared_each);
  tcase_add_test(tcase, more_holds_than_can_be_kept_are_let_go);
  tcase_add_loop_test(tcase, hold_that_finds_no_room_ends_as_one_that_is_never_kept, COLOCK_SHARED,
                      COLOCK_EXCLUSIVE + 1);
  tcase_add_test(tcase, two_locks_of_one_process_recall_each_other);
  tcase_add_loop_test(tcase, thread_that_holds_what_was_kept_would_wait_for_itself, COLOCK_SHARED,
                      COLOCK_EXCLUSIVE + 1);
  tcase_add_test(tcase, hold_of_a_try_does_not_count_whatever_it_was_before);
  tcase_add_test(tcase, it_is_kept_by_whichever_thread_releases_it);
  tcase = test_case(suite, "never", 60);
  tcase_add_loop_test(tcase, without_auto_release_nothing_is_kept, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_test(tcase, disabled_lock_keeps_nothing);
  tcase_add_loop_test(tcase, inherited_hold_is_not_kept, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_test(tcase, lock_that_may_only_be_read_is_not_kept);
  tcase_add_test(tcase, what_is_idle_can_be_let_go_at_once);
}

int main(int argc, char **argv) { return test_main(argc, argv, "cache", fill); }

/* test_hold.c - what can be done with a hold: check, renew, pass on, give back; what it says when it was taken. */
#define _GNU_SOURCE
#include "agent.h"
#include "support.h"
#include "tracker.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

START_TEST(whole_hold_says_so) {
  tracker_start();
  colock *lock = test_open(test_path("a.lock"));
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    colock_hold *hold = NULL;
    must(colock_acquire(lock, mode, &hold));
    ck_assert_uint_eq(tracker_held(), 2); /* SLOT and LANE */
    must(colock_check(hold));
    must(colock_renew(hold));
    must(colock_check(hold));
    must(colock_release(hold));
    ck_assert_uint_eq(tracker_held(), 1);
  }
  colock_close(lock);
  ck_assert_uint_eq(tracker_held(), 0);
}
END_TEST

START_TEST(no_hold_is_refused) {
  must_be(COLOCK_EINVAL, colock_check(NULL));
  must_be(COLOCK_EINVAL, colock_renew(NULL));
  must_be(COLOCK_EINVAL, colock_release(NULL));
  must_be(COLOCK_EINVAL, colock_inherit(NULL, 1));
  must_be(COLOCK_EINVAL, colock_detach(NULL));
  must_be(COLOCK_EINVAL, colock_recovered(NULL));
}
END_TEST

START_TEST(forced_out_hold_says_so_to_the_end) {
  const char *path = test_path("a.lock");
  tracker_start();
  colock *lock = test_open(path);
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    colock_hold *hold = NULL, *successor = NULL;
    must(colock_acquire(lock, mode, &hold));
    must(colock_force_unlock(path, "test", NULL));
    must_be(COLOCK_EREVOKED, colock_check(hold));
    must_be(COLOCK_EREVOKED, colock_renew(hold));
    must(colock_try_acquire(lock, COLOCK_EXCLUSIVE, &successor)); /* while the old one still has its lane */
    must_be(COLOCK_EREVOKED, colock_check(hold));
    must(colock_check(successor));
    must_be(COLOCK_EREVOKED, colock_release(hold));
    must(colock_check(successor)); /* which is another's lane */
    must(colock_recovered(successor));
    must(colock_release(successor));
    must(colock_acquire(lock, mode, &hold)); /* its seat is good for the new lane */
    must(colock_check(hold));
    must(colock_release(hold));
  }
  colock_close(lock);
}
END_TEST

START_TEST(forced_out_reader_takes_its_whole_generation_along) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire s 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(b, "acquire s 5000"), COLOCK_OK);
  must(colock_force_unlock(path, NULL, NULL));
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_EREVOKED);
  ck_assert_int_eq(agent_call(b, "check 0"), COLOCK_EREVOKED);
  ck_assert_int_eq(agent_call(b, "release 0"), COLOCK_EREVOKED);
  ck_assert_int_eq(agent_call(b, "acquire s 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(b, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_EREVOKED);
}
END_TEST

START_TEST(lost_hold_says_so) {
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  unlink(path);
  must_be(COLOCK_ELOST, colock_check(hold));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "a.lock"));
  ck_assert_int_ne(access(path, F_OK), 0); /* looking makes nothing */
  must_be(COLOCK_ELOST, colock_release(hold)); /* which did not look again at so short a hold, and said 0 after ELOST */
  colock_close(lock);
}
END_TEST

/* ---- passed on ---- */

/* An agent holds and has passed the lock on to a program that runs; its pid. */
static pid_t pass_on(struct agent *a) {
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "inherit 0 1"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "exec"), COLOCK_OK);
  return (pid_t)a->number;
}

static void await_free(const char *path) {
  int64_t limit = test_now_ms() + 10000;
  while (!test_free(path)) ck_assert_int_lt(test_now_ms(), limit);
}

START_TEST(inherited_lock_lives_until_the_last_copy_closes) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  pid_t child = pass_on(a);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK); /* does not unlock */
  ck_assert_int_eq(agent_call(b, "try s"), COLOCK_EBUSY);
  ck_assert_int_eq(agent_call(a, "try s"), COLOCK_EBUSY);
  agent_send(a, "exit 0");
  ck_assert_int_eq(agent_wait(a), 0);
  ck_assert_int_eq(agent_call(b, "try s"), COLOCK_EBUSY);
  agent_send(b, "acquire x 20000");
  kill(child, SIGKILL);
  ck_assert_int_eq(agent_answer(b), COLOCK_OK);
  ck_assert_int_eq(b->abandoned, 0); /* its parent had given it back in order */
}
END_TEST

START_TEST(inherited_lock_outlives_a_killed_parent) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  pid_t child = pass_on(a);
  agent_kill(a);
  ck_assert_int_eq(agent_call(b, "try x"), COLOCK_EBUSY);
  agent_send(b, "acquire x 20000");
  kill(child, SIGKILL);
  ck_assert_int_eq(agent_answer(b), COLOCK_OK);
  ck_assert_int_eq(b->abandoned, 1); /* nobody gave it back */
}
END_TEST

START_TEST(report_names_the_child_that_has_it) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  pid_t child = pass_on(a);
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  ck_assert_uint_eq(colock_report_count(report), 1);
  const colock_entry *entry = colock_report_entry(report, 0);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_ROLE), COLOCK_HOLDER);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_INHERITED), child);
  colock_report_free(report);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  must(colock_report_read(path, &report));
  ck_assert_uint_eq(colock_report_count(report), 1);
  colock_report_free(report);
  kill(child, SIGKILL);
  await_free(path);
}
END_TEST

START_TEST(seat_that_was_passed_on_is_not_used_again) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  pid_t child = pass_on(a);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  kill(child, SIGKILL);
  ck_assert_int_eq(agent_call(a, "acquire x 20000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "exec"), COLOCK_OK); /* not inherited this time */
  child = (pid_t)a->number;
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "close"), COLOCK_OK);
  await_free(path); /* though the child runs on */
  ck_assert_int_eq(kill(child, 0), 0);
  kill(child, SIGKILL);
}
END_TEST

START_TEST(inherit_can_be_switched_off) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "inherit 0 1"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "inherit 0 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "exec"), COLOCK_OK);
  pid_t child = (pid_t)a->number;
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(b, "try x"), COLOCK_OK);
  kill(child, SIGKILL);
}
END_TEST

/* A child that forks but does not exec has the copy too, and its parent's hold is still not its own. */
START_TEST(inherited_hold_is_foreign_to_a_child_that_does_not_exec) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "inherit 0 1"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "fork check 0"), COLOCK_EFORKED);
  ck_assert_int_eq(agent_call(a, "fork release 0"), COLOCK_EFORKED);
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(b, "try s"), COLOCK_EBUSY);
}
END_TEST

/* ---- with ---- */

static int look_inside(void *arg) {
  const char *path = arg;
  ck_assert(test_lane_taken(path));
  return 42;
}

static int force_inside(void *arg) {
  must(colock_force_unlock(arg, "test", NULL));
  return 43;
}

START_TEST(with_runs_the_operation_under_the_lock) {
  char path[512];
  snprintf(path, sizeof path, "%s", test_path("a.lock"));
  colock *lock = test_open(path);
  int result = 0;
  must(colock_with(lock, COLOCK_EXCLUSIVE, look_inside, path, &result));
  ck_assert_int_eq(result, 42);
  ck_assert(!test_lane_taken(path));
  must(colock_with(lock, COLOCK_SHARED, look_inside, path, NULL));
  must_be(COLOCK_EREVOKED, colock_with(lock, COLOCK_EXCLUSIVE, force_inside, path, &result));
  ck_assert_int_eq(result, 43);
  must_be(COLOCK_EINVAL, colock_with(lock, COLOCK_EXCLUSIVE, NULL, path, &result));
  colock_close(lock);
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  lock = test_open_set(path, "timeout", "10ms");
  result = 7;
  must_be(COLOCK_ETIMEDOUT, colock_with(lock, COLOCK_SHARED, look_inside, path, &result));
  ck_assert_int_eq(result, 7);
  colock_close(lock);
}
END_TEST

START_TEST(hold_id_names_the_hold_and_needs_its_room) {
  colock *lock = test_open(test_path("a.lock"));
  colock_hold *hold = NULL;
  char id[64], again[64], little[3] = "ab";
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_hold_id(hold, id, sizeof id));
  must_be(COLOCK_EINVAL, colock_hold_id(hold, little, sizeof little));
  ck_assert_str_eq(little, "ab");
  must_be(COLOCK_EINVAL, colock_hold_id(hold, again, strlen(id)));
  must(colock_hold_id(hold, again, strlen(id) + 1));
  colock_report *report = NULL;
  must(colock_report_read(test_path("a.lock"), &report));
  const colock_entry *entry = colock_report_entry(report, 0);
  snprintf(again, sizeof again, "%lld:%lld:%lld", (long long)colock_entry_number(entry, COLOCK_SLOT),
           (long long)colock_entry_number(entry, COLOCK_HOLD_ID),
           (long long)colock_entry_number(entry, COLOCK_GENERATION));
  ck_assert_str_eq(id, again);
  colock_report_free(report);
  must(colock_release(hold));
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_hold_id(hold, again, sizeof again));
  ck_assert_str_ne(id, again);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "hold", 30);
  tcase_add_test(tcase, whole_hold_says_so);
  tcase_add_test(tcase, no_hold_is_refused);
  tcase_add_test(tcase, forced_out_hold_says_so_to_the_end);
  tcase_add_test(tcase, forced_out_reader_takes_its_whole_generation_along);
  tcase_add_test(tcase, lost_hold_says_so);
  tcase_add_test(tcase, with_runs_the_operation_under_the_lock);
  tcase_add_test(tcase, hold_id_names_the_hold_and_needs_its_room);
  tcase = test_case(suite, "inherit", 30);
  tcase_add_test(tcase, inherited_lock_lives_until_the_last_copy_closes);
  tcase_add_test(tcase, inherited_lock_outlives_a_killed_parent);
  tcase_add_test(tcase, report_names_the_child_that_has_it);
  tcase_add_test(tcase, seat_that_was_passed_on_is_not_used_again);
  tcase_add_test(tcase, inherit_can_be_switched_off);
  tcase_add_test(tcase, inherited_hold_is_foreign_to_a_child_that_does_not_exec);
}

int main(int argc, char **argv) { return test_main(argc, argv, "hold", fill); }

/* test_replaced.c - an outsider deletes, renames or replaces the lock file: holds are lost, acquires start over. */
#define _GNU_SOURCE
#include "agent.h"
#include "layout.h"
#include "support.h"
#include "system.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DELETED, RENAMED, REPLACED, WAYS };

static void take_away(const char *path, int way) {
  if (way == DELETED) ck_assert_int_eq(unlink(path), 0);
  if (way == RENAMED) ck_assert_int_eq(rename(path, test_path("away.lock")), 0);
  if (way == REPLACED) {
    test_make_lock(test_path("other.lock"));
    ck_assert_int_eq(rename(test_path("other.lock"), path), 0);
  }
}

START_TEST(hold_on_a_file_without_its_name_is_lost) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  uint64_t first = a->token;
  ino_t old = test_inode(path);
  take_away(path, _i);
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_ELOST);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_ELOST);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK); /* on the new one */
  ck_assert_uint_gt(a->token, first);
  ck_assert_uint_ne(test_inode(path), old);
  struct agent *b = agent_open(path);
  ck_assert_int_eq(agent_call(b, "try s"), COLOCK_EBUSY);
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_OK);
}
END_TEST

START_TEST(file_that_goes_while_it_idles_is_noticed_by_the_next_acquire) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  take_away(path, _i);
  struct agent *b = agent_open(path);
  ck_assert_int_eq(agent_call(b, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "try s"), COLOCK_EBUSY); /* not granted on the old one */
  ck_assert_int_eq(agent_call(b, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "acquire s 5000"), COLOCK_OK);
}
END_TEST

START_TEST(file_that_goes_while_it_is_waited_for_is_noticed) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  agent_send(b, "acquire x 20000");
  test_await_waiters(path, 1);
  ck_assert(!agent_answered(b));
  take_away(path, _i);
  ck_assert_int_eq(agent_answer(b), COLOCK_OK); /* while the old one is held all the time */
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_ELOST);
  ck_assert_int_eq(agent_call(b, "check 0"), COLOCK_OK);
}
END_TEST

START_TEST(renamed_back_the_hold_is_whole_again) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  take_away(path, RENAMED);
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_ELOST);
  ck_assert_int_eq(rename(test_path("away.lock"), path), 0);
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
}
END_TEST

START_TEST(foreign_file_in_its_place_is_a_code_for_who_waits) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  agent_send(b, "acquire x 20000");
  test_await_waiters(path, 1);
  test_write(test_path("text"), "hello", 5);
  ck_assert_int_eq(rename(test_path("text"), path), 0);
  ck_assert_int_eq(agent_answer(b), COLOCK_EFOREIGN);
}
END_TEST

static const char *restless;
static int turns;

/* Whenever somebody gets LANE, the file is gone. */
static int delete_at_lane(int fd, int command, struct flock *range) {
  int result = colockp_system_default.fcntl_lock(fd, command, range);
  bool lane = range->l_start >= COLOCKP_BYTE_LANE && range->l_start < COLOCKP_BYTE_LANE + COLOCKP_LANES;
  if (command == F_OFD_SETLK && range->l_type == F_WRLCK && lane && result == 0) turns += unlink(restless) == 0;
  return result;
}

START_TEST(file_that_is_replaced_for_ever_is_given_up) {
  colock_hold *hold = NULL;
  restless = test_path("a.lock");
  colock *lock = test_open(restless);
  colockp_system.fcntl_lock = delete_at_lane;
  must_be(COLOCK_ETIMEDOUT, colock_acquire(lock, COLOCK_EXCLUSIVE, &hold)); /* not ELOST: nothing was had */
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "again and again"));
  ck_assert_int_ge(turns, 10);
  ck_assert_ptr_null(hold);
  colockp_system = colockp_system_default;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "replaced", 30);
  tcase_add_loop_test(tcase, hold_on_a_file_without_its_name_is_lost, 0, WAYS);
  tcase_add_loop_test(tcase, file_that_goes_while_it_idles_is_noticed_by_the_next_acquire, 0, WAYS);
  tcase_add_loop_test(tcase, file_that_goes_while_it_is_waited_for_is_noticed, 0, WAYS);
  tcase_add_test(tcase, renamed_back_the_hold_is_whole_again);
  tcase_add_test(tcase, foreign_file_in_its_place_is_a_code_for_who_waits);
  tcase_add_test(tcase, file_that_is_replaced_for_ever_is_given_up);
}

int main(int argc, char **argv) { return test_main(argc, argv, "replaced", fill); }

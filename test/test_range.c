/* test_range.c - record locks on byte ranges: what excludes what, and which errno says so. */
#define _GNU_SOURCE
#include "range.h"
#include "fault.h"
#include "support.h"
#include "system.h"
#include "tracker.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { SHARED = COLOCKP_RANGE_SHARED, EXCLUSIVE = COLOCKP_RANGE_EXCLUSIVE };
static const int64_t lane = COLOCKP_BYTE_LANE + 1;

static int a, b; /* two descriptions of one file */

static void open_both(void) {
  const char *path = test_path("a.lock");
  a = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  b = open(path, O_RDWR | O_CLOEXEC);
  ck_assert(a >= 0 && b >= 0);
}

static void close_both(void) {
  close(a);
  close(b);
}

START_TEST(modes_exclude_each_other_as_they_should) {
  static const int expected[3][3] = {{0}, {0, 0, EAGAIN}, {0, EAGAIN, EAGAIN}};
  open_both();
  for (int first = SHARED; first <= EXCLUSIVE; first++) {
    for (int second = SHARED; second <= EXCLUSIVE; second++) {
      ck_assert_int_eq(colockp_range_lock(a, first, lane, 1), 0);
      ck_assert_int_eq(colockp_range_lock(b, second, lane, 1), expected[first][second]);
      ck_assert_int_eq(colockp_range_taken(b, second, lane, 1), expected[first][second] != 0);
      ck_assert_int_eq(colockp_range_unlock(b, lane, 1), 0);
      ck_assert_int_eq(colockp_range_unlock(a, lane, 1), 0);
      ck_assert_int_eq(colockp_range_taken(b, EXCLUSIVE, lane, 1), 0);
    }
  }
  close_both();
}
END_TEST

START_TEST(neighbouring_bytes_do_not_touch) {
  open_both();
  ck_assert_int_eq(colockp_range_lock(a, EXCLUSIVE, lane, 1), 0);
  ck_assert_int_eq(colockp_range_lock(b, EXCLUSIVE, lane - 1, 1), 0);
  ck_assert_int_eq(colockp_range_lock(b, EXCLUSIVE, lane + 1, 1), 0);
  ck_assert_int_eq(colockp_range_lock(b, EXCLUSIVE, COLOCKP_ALL_FROM, COLOCKP_ALL_LENGTH), EAGAIN);
  close_both();
}
END_TEST

START_TEST(own_lock_is_not_in_the_way_of_oneself) {
  open_both();
  ck_assert_int_eq(colockp_range_lock(a, EXCLUSIVE, lane, 1), 0);
  ck_assert_int_eq(colockp_range_taken(a, EXCLUSIVE, lane, 1), 0);
  ck_assert_int_eq(colockp_range_lock(a, SHARED, lane, 1), 0); /* converts */
  ck_assert_int_eq(colockp_range_lock(b, SHARED, lane, 1), 0);
  close_both();
}
END_TEST

/* The flaw of process-owned record locks: closing any descriptor of the file drops them. Ours stay. */
START_TEST(closing_another_descriptor_loses_nothing) {
  open_both();
  ck_assert_int_eq(colockp_range_lock(a, EXCLUSIVE, lane, 1), 0);
  close(b);
  b = open(test_path("a.lock"), O_RDWR | O_CLOEXEC);
  ck_assert_int_eq(colockp_range_lock(b, SHARED, lane, 1), EAGAIN);
  close_both();
}
END_TEST

static int lock_answer;
static int answer_lock(int fd, int command, struct flock *range) {
  (void)fd, (void)command, (void)range;
  errno = lock_answer;
  return -1;
}

START_TEST(conflict_is_eagain_whatever_the_file_system_says) {
  open_both();
  colockp_system.fcntl_lock = answer_lock;
  lock_answer = EACCES;
  ck_assert_int_eq(colockp_range_lock(a, SHARED, lane, 1), EAGAIN);
  lock_answer = ENOLCK;
  ck_assert_int_eq(colockp_range_lock(a, SHARED, lane, 1), ENOLCK);
  ck_assert_int_eq(colockp_range_taken(a, SHARED, lane, 1), -ENOLCK);
  colockp_system = colockp_system_default;
  ck_assert_int_eq(colockp_range_lock(-1, SHARED, lane, 1), EBADF);
  close_both();
}
END_TEST

START_TEST(interrupted_call_is_repeated) {
  open_both();
  fault_install();
  fault_fail_at(FAULT_fcntl_lock, 1, EINTR);
  ck_assert_int_eq(colockp_range_lock(a, EXCLUSIVE, lane, 1), 0);
  ck_assert_int_eq(fault_calls(), 2);
  fault_fail_at(FAULT_fcntl_lock, 1, EINTR);
  ck_assert_int_eq(colockp_range_taken(b, SHARED, lane, 1), 1);
  fault_remove();
  close_both();
}
END_TEST

START_TEST(commands_are_of_open_file_descriptions) {
  tracker_start();
  open_both();
  ck_assert_int_eq(colockp_range_lock(a, EXCLUSIVE, lane, 1), 0);
  ck_assert_int_eq(colockp_range_taken(b, EXCLUSIVE, lane, 1), 1);
  ck_assert_int_eq(colockp_range_unlock(a, lane, 1), 0);
  ck_assert_str_eq(tracker_stop(), "");
  close_both();
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "range", 20);
  tcase_add_test(tcase, modes_exclude_each_other_as_they_should);
  tcase_add_test(tcase, neighbouring_bytes_do_not_touch);
  tcase_add_test(tcase, own_lock_is_not_in_the_way_of_oneself);
  tcase_add_test(tcase, closing_another_descriptor_loses_nothing);
  tcase_add_test(tcase, conflict_is_eagain_whatever_the_file_system_says);
  tcase_add_test(tcase, interrupted_call_is_repeated);
  tcase_add_test(tcase, commands_are_of_open_file_descriptions);
}

int main(int argc, char **argv) { return test_main(argc, argv, "range", fill); }

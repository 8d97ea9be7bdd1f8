/* test_harness.c - the harness itself: what it is there to see, planted. */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "support.h"
#include "system.h"
#include "tracker.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_tracked(const char *name) {
  int fd = colockp_system.openat(AT_FDCWD, test_path(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ck_assert_int_ge(fd, 0);
  return fd;
}

static int set_range(int fd, int command, short type, int64_t start, int64_t length) {
  struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return colockp_system.fcntl_lock(fd, command, &range);
}

static void must_say(const char *problems, const char *what) {
  ck_assert_msg(strstr(problems, what) != NULL, "the tracker said \"%s\", not \"%s\"", problems, what);
}

START_TEST(tracker_is_content_with_balanced_locks) {
  tracker_start();
  int fd = open_tracked("a.lock");
  set_range(fd, F_OFD_SETLK, F_WRLCK, COLOCKP_BYTE_GUARD, 1);
  set_range(fd, F_OFD_SETLK, F_WRLCK, COLOCKP_ALL_FROM, COLOCKP_ALL_LENGTH);
  ck_assert_uint_eq(tracker_held(), 2);
  set_range(fd, F_OFD_SETLK, F_UNLCK, COLOCKP_BYTE_SLOT + 7, 1); /* out of the middle of the whole */
  set_range(fd, F_OFD_SETLK, F_WRLCK, COLOCKP_BYTE_SLOT + 7, 1);
  set_range(fd, F_OFD_SETLK, F_UNLCK, COLOCKP_ALL_FROM, COLOCKP_ALL_LENGTH);
  set_range(fd, F_OFD_SETLK, F_UNLCK, COLOCKP_BYTE_GUARD, 1);
  colockp_system.close(fd);
  ck_assert_uint_eq(tracker_locks(), 3);
  ck_assert_str_eq(tracker_stop(), "");
}
END_TEST

START_TEST(tracker_sees_a_planted_leak) {
  tracker_start();
  int fd = open_tracked("a.lock");
  set_range(fd, F_OFD_SETLK, F_WRLCK, colockp_lane(9), 1);
  must_say(tracker_stop(), "is still locked");
  close(fd);
}
END_TEST

START_TEST(tracker_sees_a_lock_lost_by_close) {
  tracker_start();
  int fd = open_tracked("a.lock");
  set_range(fd, F_OFD_SETLK, F_RDLCK, colockp_lane(9), 1);
  colockp_system.close(fd);
  must_say(tracker_stop(), "closed with");
}
END_TEST

START_TEST(tracker_follows_a_description_through_its_copies) {
  tracker_start();
  int fd = open_tracked("a.lock");
  int copy = colockp_system.fcntl_int(fd, F_DUPFD_CLOEXEC, 3);
  set_range(fd, F_OFD_SETLK, F_RDLCK, colockp_lane(9), 1);
  colockp_system.close(fd); /* the copy keeps it */
  set_range(copy, F_OFD_SETLK, F_UNLCK, colockp_lane(9), 1);
  colockp_system.close(copy);
  ck_assert_str_eq(tracker_stop(), "");
}
END_TEST

START_TEST(tracker_sees_a_planted_unknown_unlock) {
  tracker_start();
  int fd = open_tracked("a.lock"), other = open_tracked("a.lock");
  set_range(other, F_OFD_SETLK, F_RDLCK, colockp_lane(9), 1);
  set_range(fd, F_OFD_SETLK, F_UNLCK, colockp_lane(9), 1); /* another description's */
  set_range(other, F_OFD_SETLK, F_UNLCK, colockp_lane(9), 1);
  colockp_system.close(fd);
  colockp_system.close(other);
  must_say(tracker_stop(), "unlock of");
}
END_TEST

START_TEST(tracker_sees_wrong_commands_and_ranges) {
  static const struct {
    int command;
    int64_t start, length;
    const char *says;
  } wrong[] = {
      {F_SETLK, COLOCKP_BYTE_GUARD, 1, "fcntl command"},
      {F_OFD_SETLKW, COLOCKP_BYTE_GUARD, 1, "fcntl command"},
      {F_OFD_SETLK, 0, 1, "none of the layout's"},
      {F_OFD_SETLK, COLOCKP_BYTE_GUARD, 2, "none of the layout's"},
      {F_OFD_SETLK, COLOCKP_BYTE_LANE, 0, "none of the layout's"},
      {F_OFD_SETLK, COLOCKP_BYTE_UPGRADE + COLOCKP_LANES, 1, "none of the layout's"},
  };
  tracker_start();
  int fd = open_tracked("a.lock");
  set_range(fd, wrong[_i].command, F_WRLCK, wrong[_i].start, wrong[_i].length);
  must_say(tracker_stop(), wrong[_i].says);
  close(fd);
}
END_TEST

START_TEST(agents_are_processes_of_their_own) {
  struct agent *a = agent_start(), *b = agent_start();
  ck_assert_int_ne(a->pid, b->pid);
  ck_assert_int_ne(a->pid, getpid());
  agent_send(a, "exit 7");
  ck_assert_int_eq(agent_wait(a), 7);
  agent_send(b, "abort");
  ck_assert_int_eq(agent_wait(b), 256 + SIGKILL);
}
END_TEST

START_TEST(words_of_any_bytes_reach_an_agent) {
  char strange[256];
  for (int i = 0; i < 255; i++) strange[i] = (char)(i + 1);
  strange[255] = '\0';
  struct agent *a = agent_start();
  ck_assert_int_eq(agent_call(a, "environment STRANGE %s", agent_word(strange)), 0);
  ck_assert_int_ne(agent_call(a, "report %s", agent_word(test_path("none.lock"))), 0);
  ck_assert_ptr_nonnull(strstr(a->text, "none.lock"));
}
END_TEST

static int call_the_table(void *arg) {
  fault_install();
  fault_die_at(*(long *)arg);
  for (int i = 0; i < 3; i++) colockp_system.close(-1);
  return 5;
}

START_TEST(fault_kills_at_the_call_it_was_told) {
  for (long n = 1; n <= 3; n++) ck_assert_int_eq(test_in_child(call_the_table, &n), 256 + SIGKILL);
  long n = 4;
  ck_assert_int_eq(test_in_child(call_the_table, &n), 5);
}
END_TEST

START_TEST(fault_fails_the_call_it_was_told) {
  fault_install();
  fault_fail_at(FAULT_malloc, 2, ENOMEM);
  void *first = colockp_system.malloc(1);
  errno = 0;
  ck_assert_ptr_nonnull(first);
  ck_assert(!fault_hit());
  ck_assert_ptr_null(colockp_system.malloc(1));
  ck_assert_int_eq(errno, ENOMEM);
  ck_assert(fault_hit());
  void *third = colockp_system.malloc(1);
  ck_assert_ptr_nonnull(third);
  ck_assert_int_eq(fault_allocations(), 2);
  colockp_system.free(first);
  colockp_system.free(third);
  ck_assert_int_eq(fault_allocations(), 0);
  fault_remove();
}
END_TEST

/* What the fixture checks, asked here as it asks. */
START_TEST(baselines_notice_descriptors_and_record_locks) {
  unsigned before = test_descriptors();
  const char *path = test_path("a.lock");
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ck_assert_uint_eq(test_descriptors(), before + 1);
  ck_assert(test_free(path));
  set_range(fd, F_OFD_SETLK, F_RDLCK, COLOCKP_BYTE_UPGRADE, 1);
  ck_assert(!test_free(path));
  close(fd);
  ck_assert(test_free(path));
  ck_assert_uint_eq(test_descriptors(), before);
}
END_TEST

static void *wait_for_byte(void *arg) {
  char byte;
  return read(*(int *)arg, &byte, 1) == 1 ? NULL : arg;
}

START_TEST(baselines_notice_threads) {
  int ends[2];
  pthread_t thread;
  unsigned before = test_threads();
  ck_assert_int_eq(pipe(ends), 0);
  ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_byte, &ends[0]), 0);
  ck_assert_uint_eq(test_threads(), before + 1);
  ck_assert_int_eq(write(ends[1], "", 1), 1);
  pthread_join(thread, NULL);
  close(ends[0]);
  close(ends[1]);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "tracker", 20);
  tcase_add_test(tcase, tracker_is_content_with_balanced_locks);
  tcase_add_test(tcase, tracker_sees_a_planted_leak);
  tcase_add_test(tcase, tracker_sees_a_lock_lost_by_close);
  tcase_add_test(tcase, tracker_follows_a_description_through_its_copies);
  tcase_add_test(tcase, tracker_sees_a_planted_unknown_unlock);
  tcase_add_loop_test(tcase, tracker_sees_wrong_commands_and_ranges, 0, 6);
  tcase = test_case(suite, "agent", 20);
  tcase_add_test(tcase, agents_are_processes_of_their_own);
  tcase_add_test(tcase, words_of_any_bytes_reach_an_agent);
  tcase = test_case(suite, "fault", 20);
  tcase_add_test(tcase, fault_kills_at_the_call_it_was_told);
  tcase_add_test(tcase, fault_fails_the_call_it_was_told);
  tcase = test_case(suite, "baselines", 20);
  tcase_add_test(tcase, baselines_notice_descriptors_and_record_locks);
  tcase_add_test(tcase, baselines_notice_threads);
}

int main(int argc, char **argv) { return test_main(argc, argv, "harness", fill); }

/* test_command_queue.c - the line of waiters as the command shows it: places, priorities, who is passed over. */
#include "command.h"
#include "planted.h"

#include <pwd.h>
#include <signal.h>
#include <stdlib.h>

static const struct planted waiter = {
  .slot = 6, .state = COLOCKP_WAITING, .mode = COLOCK_EXCLUSIVE, .generation = 1, .pid = 88, .tid = 88,
  .age_ns = 41 * SECOND + SECOND / 2, .program = "backup"};

static const char *user(void) { /* uid 0, as status shows it */
  const struct passwd *root = getpwuid(0);
  return root ? root->pw_name : "0";
}

/* ---- words ---- */

START_TEST(status_marks_who_is_passed_over) {
  const char *path = planted_file("db.lock");
  char expected[400];
  struct planted stopped = waiter, next = waiter;
  stopped.rank = planted_rank(1, COLOCK_EXCLUSIVE) | COLOCKP_RANK_PASSED;
  next.slot = 7, next.pid = next.tid = 89, next.priority = 3, next.purpose = "copy";
  next.rank = planted_rank(2, COLOCK_SHARED);
  int owners[] = {planted(path, &stopped), planted(path, &next)};
  command_is(0, "status", "db.lock");
  snprintf(expected, sizeof expected,
           "db.lock: free\n  waiting 2:\n  1 shared    backup[89] %s 41s priority 3 \"copy\"\n"
           "  - exclusive backup[88] %s 41s (stopped, passed over)\n",
           user(), user());
  ck_assert_str_eq(command_out(), expected);
  for (int i = 0; i < 2; i++) close(owners[i]);
}
END_TEST

START_TEST(status_shows_an_upgrade_on_both_sides) {
  const char *path = planted_file("db.lock");
  char expected[400];
  struct planted upgrader = waiter;
  upgrader.state = COLOCKP_UPGRADING;
  upgrader.mode = COLOCK_SHARED;
  upgrader.host = "db1";
  upgrader.rank = COLOCKP_KEY_UPGRADE << COLOCKP_RANK_KEY_SHIFT | COLOCKP_RANK_EXCLUSIVE;
  upgrader.queued_ns = 5 * SECOND + SECOND / 2;
  int owner = planted(path, &upgrader);
  command_is(0, "status", "db.lock");
  snprintf(expected, sizeof expected,
           "db.lock: shared, backup[88] %s@db1, 41s, upgrading\n  waiting 1:\n"
           "  1 exclusive backup[88] %s@db1 5s (upgrading)\n",
           user(), user());
  ck_assert_str_eq(command_out(), expected);
  close(owner);
}
END_TEST

/* ---- real waiters ---- */

static struct command *wait_in_line(const char *priority, unsigned count) {
  struct command *run = command_start("run", "--priority", priority, "db.lock", "true", NULL);
  test_await_waiters(test_path("db.lock"), count);
  return run;
}

START_TEST(run_says_its_place_in_line) {
  colock *lock = test_open_set(test_path("db.lock"), "label", "migrate");
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  struct command *others[] = {wait_in_line("0", 1), wait_in_line("2", 2), wait_in_line("-1", 3)};
  struct command *run = command_start("run", "--set", "notify_after=1ms", "--priority", "1", "db.lock", "true", NULL);
  command_expect(run, 2, "; 2nd in line\n");
  struct command *late = command_start("run", "-s", "--set", "notify_after=1ms", "db.lock", "true", NULL);
  command_expect(late, 2, "; 4th in line\n"); /* its priority stands it before the one with less */
  must(colock_release(hold));
  colock_close(lock);
  for (size_t i = 0; i < 3; i++) {
    ck_assert_int_eq(command_end(others[i]), 0);
    command_free(others[i]);
  }
  ck_assert_int_eq(command_end(run), 0);
  ck_assert_int_eq(command_end(late), 0);
  command_free(run);
  command_free(late);
}
END_TEST

/* As after Ctrl-Z. */
START_TEST(waiting_run_that_is_stopped_is_passed_over) {
  char line[200];
  colock *lock = test_open(test_path("db.lock"));
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  struct command *stopped = command_start("run", "--set", "label=first", "db.lock", "true", NULL);
  test_await_waiters(test_path("db.lock"), 1);
  ck_assert_int_eq(kill(stopped->pid, SIGSTOP), 0);
  struct command *next = command_start("run", "--set", "retry_delay=1ms", "db.lock", "sh", "-c", "echo up; read line",
                                       NULL);
  test_await_waiters(test_path("db.lock"), 2);
  must(colock_release(hold));
  colock_close(lock);
  command_expect(next, 1, "up\n");
  command_is(0, "status", "db.lock");
  snprintf(line, sizeof line, "  - exclusive first[%d] ", (int)stopped->pid);
  command_has(command_out(), line);
  command_has(command_out(), " (stopped, passed over)\n");
  ck_assert_int_eq(kill(stopped->pid, SIGCONT), 0);
  int64_t limit = test_now_ms() + 20000;
  do
    command_is(0, "status", "db.lock");
  while (strstr(command_out(), "passed over") != NULL && test_now_ms() < limit);
  line[2] = '1';
  command_has(command_out(), line);
  ck_assert_int_eq(command_end(next), 1); /* read met the end of its input */
  ck_assert_int_eq(command_end(stopped), 0);
  command_free(next);
  command_free(stopped);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "the line", 60);
  tcase_add_test(tcase, status_marks_who_is_passed_over);
  tcase_add_test(tcase, status_shows_an_upgrade_on_both_sides);
  tcase_add_test(tcase, run_says_its_place_in_line);
  tcase_add_test(tcase, waiting_run_that_is_stopped_is_passed_over);
}

int main(int argc, char **argv) {
  command_find();
  return test_main(argc, argv, "command_queue", fill);
}

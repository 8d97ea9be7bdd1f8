/* test_command.c - colock run: what COMMAND gets, what comes back, what people are told. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static colock *lock;
static colock_hold *hold;

/* We are migrate and hold db.lock. */
static void hold_it(int mode) {
  colock_request request;
  lock = test_open_set(test_path("db.lock"), "label", "migrate");
  colock_request_init(&request, sizeof request, mode);
  request.purpose = "schema 42";
  must(colock_acquire_with(lock, &request, &hold));
}

static void let_go(void) {
  must(colock_release(hold));
  colock_close(lock);
}

static bool in_use(void) { return test_lane_taken(test_path("db.lock")); }

/* ---- exit statuses ---- */

START_TEST(run_gives_back_the_exit_status_of_command) {
  command_is(0, "run", "db.lock", "true");
  command_is(3, "run", "db.lock", "sh", "-c", "exit 3");
  command_is(128 + SIGKILL, "run", "db.lock", "sh", "-c", "kill -KILL $$");
  command_is(127, "run", "db.lock", "no-such-command");
  command_has(command_err(), "no-such-command: command not found");
  command_is(126, "run", "db.lock", "/dev/null");
  ck_assert(!in_use());
}
END_TEST

START_TEST(conflict_has_the_exit_status_that_was_asked_for) {
  hold_it(COLOCK_EXCLUSIVE);
  command_is(75, "run", "-n", "db.lock", "true");
  command_is(75, "run", "-w", "0.01", "db.lock", "true");
  command_is(75, "run", "-w", "10ms", "-s", "db.lock", "true");
  command_is(9, "run", "-E", "9", "-n", "db.lock", "true");
  command_is(1, "run", "--flock", "-n", "db.lock", "true");
  command_is(0, "run", "-E", "0", "-n", "db.lock", "touch", "ran");
  ck_assert_int_eq(access(test_path("ran"), F_OK), -1);
  let_go();
}
END_TEST

START_TEST(readers_run_beside_readers_and_writers_do_not) {
  hold_it(COLOCK_SHARED);
  command_is(0, "run", "-n", "-s", "db.lock", "true");
  command_is(75, "run", "-n", "db.lock", "true");
  command_is(75, "run", "-n", "-s", "-x", "db.lock", "true");
  let_go();
}
END_TEST

START_TEST(configured_timeout_ends_the_wait) {
  hold_it(COLOCK_EXCLUSIVE);
  command_is(75, "run", "--set", "timeout=10ms", "db.lock", "true");
  setenv("COLOCK_TIMEOUT", "10ms", 1);
  command_is(75, "run", "db.lock", "true");
  unsetenv("COLOCK_TIMEOUT");
  let_go();
}
END_TEST

START_TEST(run_under_itself_is_told_at_once) {
  command_is(75, "run", "db.lock", command_path(), "run", "db.lock", "true");
  command_has(command_err(), "db.lock");
}
END_TEST

START_TEST(success_under_a_forced_lock_is_76) {
  struct command *run = command_start("run", "db.lock", "sh", "-c", "echo up; read line", NULL);
  command_expect(run, 1, "up\n");
  must(colock_force_unlock(test_path("db.lock"), "test", NULL));
  ck_assert_int_eq(command_end(run), 1); /* read saw the end of input */
  run = (command_free(run), command_start("run", "db.lock", "cat", NULL));
  command_send(run, "up\n");
  command_expect(run, 1, "up\n");
  must(colock_force_unlock(test_path("db.lock"), "test", NULL));
  ck_assert_int_eq(command_end(run), 76);
  command_has(run->err, "db.lock");
  command_free(run);
}
END_TEST

static const struct { int status; const char *arguments[6], *says; } wrong[] = {
  {64, {NULL}, "which subcommand?"},
  {64, {"stauts", "db.lock"}, "did you mean 'status'?"},
  {64, {"--nonsense"}, "unknown option '--nonsense'"},
  {64, {"run"}, "which lock file?"},
  {64, {"run", "db.lock"}, "which COMMAND?"},
  {64, {"run", "--nonsense", "db.lock", "true"}, "'--nonsense'"},
  {64, {"run", "--priorty=1", "db.lock", "true"}, "unknown option '--priorty=1': did you mean '--priority'? See"},
  {64, {"unlock", "--fo", "--resaon", "why", "db.lock"}, "did you mean '--reason'?"},
  {64, {"run", "--p=1", "db.lock", "true"}, "ambiguous option '--p=1': '--purpose' or '--priority'? See"},
  {64, {"run", "-z", "db.lock", "true"}, "'-z'"},
  {64, {"run", "--flock=1", "db.lock", "true"}, "takes no argument"},
  {64, {"run", "-w"}, "needs an argument"},
  {64, {"run", "-w", "-1", "db.lock", "true"}, "'-1' is not a time"},
  {64, {"run", "-w", "5 s", "db.lock", "true"}, "is not a time"},
  {64, {"run", "-w", "99999999999999999999", "db.lock", "true"}, "is not a time"},
  {64, {"run", "-w", "9999999999999d", "db.lock", "true"}, "is not a time"},
  {64, {"run", "-w", "nan", "db.lock", "true"}, "is not a time"},
  {64, {"run", "-w", "", "db.lock", "true"}, "is not a time"},
  {64, {"run", "-E", "256", "db.lock", "true"}, "exit status from 0 to 255"},
  {64, {"run", "--priority", "101", "db.lock", "true"}, "priority from -100 to 100"},
  {64, {"run", "--set", "timeout", "db.lock", "true"}, "KEY=VALUE"},
  {64, {"run", "-c", "true", "db.lock", "true"}, "not both"},
  {64, {"run", "db.lock", "-c", "true", "more"}, "exactly one argument"},
  {64, {"run", "-s", "--recovered", "db.lock", "true"}, "exclusive"},
  {64, {"run", "", "true"}, "empty"},
  {64, {"status"}, "which lock file?"},
  {64, {"wait", "a", "b"}, "one lock file"},
  {64, {"unlock", "--force", "--kill", "db.lock"}, "not both"},
  {64, {"unlock", "--reason", "why", "db.lock"}, "--force"},
  {64, {"config", "more"}, "too many"},
  {64, {"help", "nonsense"}, "unknown subcommand"},
  {65, {"run", "data", "true"}, "data"},
  {65, {"run", "empty", "true"}, "empty"},
  {65, {"run", ".", "true"}, "directory"},
  {65, {"run", "fifo", "true"}, "FIFO"},
  {65, {"run", "dangling.lock", "true"}, "symbolic link"},
  {65, {"status", "data"}, "data"},
  {65, {"unlock", "--force", "data"}, "data"},
  {66, {"status", "absent.lock"}, "absent.lock"},
  {66, {"wait", "absent.lock"}, "absent.lock"},
  {66, {"unlock", "absent.lock"}, "absent.lock"},
  {66, {"unlock", "--force", "absent.lock"}, "absent.lock"},
  {73, {"run", "absent/db.lock", "true"}, "absent/db.lock"},
  {78, {"run", "--set", "timeuot=5s", "db.lock", "true"}, "did you mean 'timeout'?"},
  {78, {"run", "--set", "timeout=5", "db.lock", "true"}, "5"},
};

START_TEST(wrong_is_said_with_its_exit_status_and_changes_nothing) {
  struct command *command;
  char text[8] = "";
  test_write(test_path("data"), "precious", 8);
  test_write(test_path("empty"), "", 0);
  ck_assert_int_eq(mkfifo(test_path("fifo"), 0600), 0);
  ck_assert_int_eq(symlink("nowhere", test_path("dangling.lock")), 0);
  command = command_start_list(wrong[_i].arguments);
  int status = command_end(command);
  ck_assert_msg(status == wrong[_i].status, "status %d: %s", status, command->err);
  ck_assert_str_eq(command->out, "");
  command_has(command->err, wrong[_i].says);
  command_free(command);
  ck_assert_uint_eq(test_read(test_path("data"), text, sizeof text), sizeof text);
  ck_assert_int_eq(memcmp(text, "precious", sizeof text), 0);
  ck_assert_int_eq(access(test_path("absent.lock"), F_OK), -1);
  ck_assert_int_eq(access(test_path("nowhere"), F_OK), -1);
}
END_TEST

/* ---- what COMMAND gets ---- */

START_TEST(command_finds_the_lock_in_its_environment) {
  char expected[600], outer[256] = "COLOCK_ABANDONED=1";
  setenv("COLOCK_ABANDONED", outer, 1); /* of an outer run: must not be believed */
  command_is(0, "run", "db.lock", "sh", "-c", "echo \"$COLOCK_FILE|$COLOCK_TOKEN|$COLOCK_HOLD|$COLOCK_ABANDONED|\"");
  unsetenv("COLOCK_ABANDONED");
  struct colockp_header header = test_header(test_path("db.lock"));
  snprintf(expected, sizeof expected, "%s|%" PRIu64 "|", test_path("db.lock"), (uint64_t)header.fence);
  ck_assert_int_eq(strncmp(command_out(), expected, strlen(expected)), 0);
  unsigned slot, number, generation;
  ck_assert_int_eq(sscanf(command_out() + strlen(expected), "%u:%u:%u||", &slot, &number, &generation), 3);
  command_is(0, "run", "-s", "db.lock", "sh", "-c", "echo $COLOCK_TOKEN");
  ck_assert_str_eq(command_out(), "0\n");
}
END_TEST

START_TEST(options_of_command_are_left_alone) {
  command_is(0, "run", "-n", "db.lock", "echo", "-s", "--json", "-w");
  ck_assert_str_eq(command_out(), "-s --json -w\n");
  command_is(0, "run", "db.lock", "--", "echo", "--", "x");
  ck_assert_str_eq(command_out(), "-- x\n");
}
END_TEST

START_TEST(shell_text_runs_from_either_place) {
  setenv("SHELL", "/bin/sh", 1);
  command_is(4, "run", "-c", "echo before; exit 4", "db.lock");
  ck_assert_str_eq(command_out(), "before\n");
  command_is(5, "run", "db.lock", "-c", "echo behind; exit 5");
  ck_assert_str_eq(command_out(), "behind\n");
}
END_TEST

START_TEST(for_locks_the_file_beside_the_target) {
  command_is(0, "run", "--for", "data.db", "sh", "-c", "echo $COLOCK_FILE");
  command_has(command_out(), "/data.db.lock\n");
  ck_assert_int_eq(access(test_path("data.db"), F_OK), -1);
  ck_assert_int_eq(access(test_path("data.db.lock"), F_OK), 0);
}
END_TEST

START_TEST(any_bytes_make_a_name) {
  static const char name[] = "a b\nc\xff\x1b[2J.lock";
  command_is(0, "run", name, "sh", "-c", "printf %s \"$COLOCK_FILE\"");
  command_has(command_out(), name);
  command_is(0, "status", name);
  ck_assert_str_eq(command_out(), "a b\\nc\\xff\\x1b[2J.lock: free\n");
}
END_TEST

/* A mask of signals out of lines as those of /proc/self/status; those of threads (32, 33) are libc's own business. */
static unsigned long signals_of(const char *lines, const char *name) {
  const char *line = strstr(lines, name);
  return line != NULL ? strtoul(line + strlen(name), NULL, 16) & 0x7fffffff : 0;
}

/* Signals as they were: ignored stays ignored, blocked stays blocked, SIGPIPE is what it was. */
static int start_with_signals(void *arg) {
  struct sigaction now;
  unsigned long ignored = 0; /* but SIGPIPE, which commands get back as it is by default */
  sigset_t blocked;
  (void)arg;
  signal(SIGHUP, SIG_IGN);
  signal(SIGCHLD, SIG_IGN);
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  for (int i = 1; i < 32; i++)
    if (i != SIGPIPE && sigaction(i, NULL, &now) == 0 && now.sa_handler == SIG_IGN) ignored |= 1ul << (i - 1);
  struct command *command = command_start("run", "db.lock", "grep", "^Sig[BI]", "/proc/self/status", NULL);
  signal(SIGCHLD, SIG_DFL);
  int status = command_end(command);
  int result = status != 0                                               ? 1
               : signals_of(command->out, "SigBlk:") != 1ul << (SIGUSR2 - 1) ? 2
               : signals_of(command->out, "SigIgn:") != ignored              ? 3
               : (ignored & 1ul << (SIGHUP - 1)) == 0                       ? 4
                                                                            : 0;
  if (result != 0) fprintf(stderr, "ignored %lx, COMMAND had:\n%s%s", ignored, command->out, command->err);
  command_free(command);
  return result;
}

START_TEST(command_starts_with_the_signals_that_we_got) {
  ck_assert_int_eq(test_in_child(start_with_signals, NULL), 0);
}
END_TEST

START_TEST(signals_are_passed_on_to_command) {
  static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2};
  struct command *run = command_start("run", "db.lock", "sh", "-c",
    "trap 'echo got; exit 7' TERM HUP INT QUIT USR1 USR2; echo up; while :; do read line || :; done", NULL);
  command_expect(run, 1, "up\n");
  kill(run->pid, signals[_i]);
  command_expect(run, 1, "got\n");
  ck_assert_int_eq(command_end(run), 7);
  ck_assert(!in_use());
  command_free(run);
}
END_TEST

START_TEST(lock_stays_with_what_command_started_and_goes_with_it) {
  ck_assert_int_eq(mkfifo(test_path("gate"), 0600), 0);
  command_is(0, "run", "db.lock", "sh", "-c", "cat gate >cat.out 2>&1 </dev/null & :");
  ck_assert(in_use());
  command_is(1, "status", "-q", "db.lock");
  int gate = open(test_path("gate"), O_WRONLY | O_CLOEXEC);
  close(gate);
  command_is(0, "wait", "-w", "20", "db.lock");
  command_is(0, "run", "-o", "db.lock", "sh", "-c", "cat gate >cat.out 2>&1 </dev/null & :");
  ck_assert(!in_use());
  gate = open(test_path("gate"), O_WRONLY | O_CLOEXEC);
  close(gate);
}
END_TEST

/* ---- waiting ---- */

START_TEST(run_waits_as_long_as_it_takes_and_tells_for_whom) {
  char expected[200];
  hold_it(COLOCK_EXCLUSIVE);
  struct command *run = command_start("run", "--set", "notify_after=1ms", "db.lock", "echo", "got it", NULL);
  command_expect(run, 2, "; 1st in line\n");
  snprintf(expected, sizeof expected, "colock: db.lock: waiting for migrate[%d] (", (int)getpid());
  command_has(run->err, expected);
  command_has(run->err, ", \"schema 42\"); 1st in line\n");
  ck_assert_str_eq(run->out, "");
  let_go();
  ck_assert_int_eq(command_end(run), 0);
  ck_assert_str_eq(run->out, "got it\n");
  command_free(run);
}
END_TEST

START_TEST(giving_up_names_the_holder_and_what_to_do) {
  char who[100];
  hold_it(COLOCK_EXCLUSIVE);
  command_is(75, "run", "-w", "0.05", "db.lock", "true");
  snprintf(who, sizeof who, "colock: db.lock: gave up after 50ms; held by migrate[%d] (", (int)getpid());
  command_has(command_err(), who);
  command_has(command_err(), "). Retry, or: colock status db.lock\n");
  command_is(75, "run", "-n", "--set", "verbosity=quiet", "db.lock", "true");
  ck_assert_str_eq(command_err(), "");
  let_go();
}
END_TEST

START_TEST(expected_wait_is_told_where_it_is_known) {
  for (int i = 0; i < 20; i++) {
    hold_it(COLOCK_EXCLUSIVE);
    let_go();
  }
  hold_it(COLOCK_EXCLUSIVE);
  command_is(75, "run", "-n", "db.lock", "true");
  command_has(command_err(), "; usually under ");
  command_is(75, "wait", "-w", "0", "db.lock");
  command_has(command_err(), "; usually under ");
  let_go();
}
END_TEST

START_TEST(directory_with_a_slash_behind_it_has_its_lock_file_beside_it) {
  ck_assert_int_eq(mkdir(test_path("dd"), 0700), 0);
  command_is(0, "run", "--for", "dd/", "sh", "-c", "test -f \"$COLOCK_FILE\" && test -f dd.lock");
  command_is(64, "run", "--for", "", "true");
  command_has(command_err(), "run: the name of what --for locks is empty");
  command_is(64, "run", "", "true");
}
END_TEST

START_TEST(signal_ends_the_wait_and_nothing_stays_behind) {
  static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
  hold_it(COLOCK_EXCLUSIVE);
  struct command *run = command_start("run", "db.lock", "touch", "ran", NULL);
  test_await_waiters(test_path("db.lock"), 1);
  kill(run->pid, signals[_i]);
  ck_assert_int_eq(command_end(run), 128 + signals[_i]);
  ck_assert_uint_eq(test_waiters(test_path("db.lock")), 0);
  ck_assert_int_eq(access(test_path("ran"), F_OK), -1);
  command_free(run);
  let_go();
}
END_TEST

/* ---- those who died ---- */

START_TEST(command_that_is_killed_leaves_the_lock_abandoned_until_recovered) {
  static const char told[] = "colock: db.lock: an earlier exclusive holder died holding it; its data may be half "
                             "written (--recovered after repair)\n";
  command_is(128 + SIGKILL, "run", "db.lock", "sh", "-c", "kill -KILL $$");
  command_is(0, "run", "db.lock", "sh", "-c", "echo $COLOCK_ABANDONED");
  ck_assert_str_eq(command_out(), "1\n");
  command_has(command_err(), told);
  command_is(0, "status", "db.lock");
  command_has(command_out(), "ABANDONED");
  command_is(3, "run", "--recovered", "db.lock", "sh", "-c", "exit 3"); /* the repair failed */
  ck_assert_ptr_null(strstr(command_err(), told));
  command_is(0, "run", "-s", "db.lock", "true");
  command_has(command_err(), told);
  command_is(0, "run", "--recovered", "db.lock", "true");
  command_is(0, "run", "db.lock", "sh", "-c", "echo \"<$COLOCK_ABANDONED>\"");
  ck_assert_str_eq(command_out(), "<>\n");
  ck_assert_str_eq(command_err(), "");
}
END_TEST

START_TEST(reader_that_is_killed_abandons_nothing) {
  command_is(128 + SIGKILL, "run", "-s", "db.lock", "sh", "-c", "kill -KILL $$");
  command_is(0, "run", "db.lock", "true");
  ck_assert_str_eq(command_err(), "");
}
END_TEST

START_TEST(disabled_locking_still_runs_command) {
  setenv("COLOCK_ENABLED", "false", 1);
  command_is(6, "run", "db.lock", "sh", "-c", "exit 6");
  unsetenv("COLOCK_ENABLED");
  ck_assert_int_eq(access(test_path("db.lock"), F_OK), -1);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "exit status", 30);
  tcase_add_test(tcase, run_gives_back_the_exit_status_of_command);
  tcase_add_test(tcase, conflict_has_the_exit_status_that_was_asked_for);
  tcase_add_test(tcase, readers_run_beside_readers_and_writers_do_not);
  tcase_add_test(tcase, configured_timeout_ends_the_wait);
  tcase_add_test(tcase, run_under_itself_is_told_at_once);
  tcase_add_test(tcase, success_under_a_forced_lock_is_76);
  tcase_add_loop_test(tcase, wrong_is_said_with_its_exit_status_and_changes_nothing, 0, sizeof wrong / sizeof *wrong);
  tcase = test_case(suite, "command", 30);
  tcase_add_test(tcase, command_finds_the_lock_in_its_environment);
  tcase_add_test(tcase, options_of_command_are_left_alone);
  tcase_add_test(tcase, shell_text_runs_from_either_place);
  tcase_add_test(tcase, for_locks_the_file_beside_the_target);
  tcase_add_test(tcase, any_bytes_make_a_name);
  tcase_add_test(tcase, command_starts_with_the_signals_that_we_got);
  tcase_add_loop_test(tcase, signals_are_passed_on_to_command, 0, 6);
  tcase_add_test(tcase, lock_stays_with_what_command_started_and_goes_with_it);
  tcase_add_test(tcase, disabled_locking_still_runs_command);
  tcase = test_case(suite, "waiting", 30);
  tcase_add_test(tcase, run_waits_as_long_as_it_takes_and_tells_for_whom);
  tcase_add_test(tcase, giving_up_names_the_holder_and_what_to_do);
  tcase_add_test(tcase, expected_wait_is_told_where_it_is_known);
  tcase_add_test(tcase, directory_with_a_slash_behind_it_has_its_lock_file_beside_it);
  tcase_add_loop_test(tcase, signal_ends_the_wait_and_nothing_stays_behind, 0, 4);
  tcase = test_case(suite, "death", 30);
  tcase_add_test(tcase, command_that_is_killed_leaves_the_lock_abandoned_until_recovered);
  tcase_add_test(tcase, reader_that_is_killed_abandons_nothing);
}

int main(int argc, char **argv) {
  command_find();
  return test_main(argc, argv, "command", fill);
}

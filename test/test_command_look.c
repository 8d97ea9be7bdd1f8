/* test_command_look.c - colock status, wait, unlock and config: what they print, word for word. */
#include "command.h"
#include "layout.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static colock *lock;

static colock_hold *take(int mode, const char *purpose) {
  colock_request request;
  colock_hold *hold = NULL;
  colock_request_init(&request, sizeof request, mode);
  request.purpose = purpose;
  request.timeout_ms = COLOCK_NOWAIT;
  must(colock_acquire_with(lock, &request, &hold));
  return hold;
}

static colock_hold *open_and_take(int mode, const char *purpose) {
  lock = test_open_set(test_path("db.lock"), "label", "migrate");
  return take(mode, purpose);
}

static void let_go(colock_hold *hold) {
  must(colock_release(hold));
  colock_close(lock);
}

/* Our own user's name, as status shows it. */
static const char *user(void) {
  static char text[64];
  const struct passwd *me = getpwuid(geteuid());
  if (me != NULL)
    snprintf(text, sizeof text, "%s", me->pw_name);
  else
    snprintf(text, sizeof text, "%u", (unsigned)geteuid());
  return text;
}

static const char *host(void) {
  static struct utsname name;
  uname(&name);
  return name.nodename;
}

/* Ages in a text become AGE, so that the rest can be compared. An age begins behind a blank,
 * ends in ms, s, m, h or d. */
static const char *ageless(const char *text) {
  static char out[8192];
  size_t used = 0;
  for (const char *at = text; *at != '\0' && used < sizeof out - 8;) {
    size_t length = at > text && at[-1] == ' ' ? strspn(at, "0123456789mshd") : 0;
    if (length >= 2 && *at >= '0' && *at <= '9' && strchr("shdm", at[length - 1]) != NULL) {
      used += (size_t)sprintf(out + used, "AGE");
      at += length;
    } else {
      out[used++] = *at++;
    }
  }
  out[used] = '\0';
  return out;
}

/* ---- status ---- */

START_TEST(status_shows_the_holder) {
  char expected[400];
  colock_hold *hold = open_and_take(COLOCK_EXCLUSIVE, "schema 42");
  command_is(0, "status", "db.lock");
  snprintf(expected, sizeof expected, "db.lock: exclusive, migrate[%d] %s@%s, AGE, \"schema 42\"\n", (int)getpid(),
           user(), host());
  ck_assert_str_eq(ageless(command_out()), expected);
  let_go(hold);
  command_is(0, "status", "db.lock");
  ck_assert_str_eq(command_out(), "db.lock: free\n");
}
END_TEST

START_TEST(status_shows_every_reader) {
  char expected[800];
  colock_hold *first = open_and_take(COLOCK_SHARED, NULL), *second = take(COLOCK_SHARED, "report");
  command_is(0, "status", "db.lock");
  snprintf(expected, sizeof expected,
           "db.lock: shared, 2 holders:\n  migrate[%d] %s@%s, AGE\n  migrate[%d] %s@%s, AGE, \"report\"\n",
           (int)getpid(), user(), host(), (int)getpid(), user(), host());
  ck_assert_str_eq(ageless(command_out()), expected);
  must(colock_release(second));
  let_go(first);
}
END_TEST

START_TEST(status_shows_who_waits_in_columns) {
  char expected[800];
  setenv("LC_ALL", "C.UTF-8", 1); /* where such letters of two bytes are one column wide */
  colock_hold *hold = open_and_take(COLOCK_EXCLUSIVE, NULL);
  struct command *first = command_start("run", "db.lock", "true", NULL);
  test_await_waiters(test_path("db.lock"), 1);
  struct command *second =
      command_start("run", "-s", "--set", "label=\u00e4\u00e4pi", "--purpose", "p", "db.lock", "true", NULL);
  test_await_waiters(test_path("db.lock"), 2);
  command_is(0, "status", "db.lock");
  int width = snprintf(expected, sizeof expected, "true[%d]", (int)first->pid);
  int other = snprintf(expected, sizeof expected, "aapi[%d]", (int)second->pid);
  width = width > other ? width : other;
  char names[2][64];
  snprintf(names[0], sizeof names[0], "true[%d]", (int)first->pid);
  snprintf(names[1], sizeof names[1], "\u00e4\u00e4pi[%d]", (int)second->pid);
  snprintf(expected, sizeof expected, "  waiting 2:\n  1 exclusive %-*s %s AGE\n  2 shared    %-*s %s AGE \"p\"\n",
           width, names[0], user(), width + 2, names[1], user());
  command_has(ageless(command_out()), expected);
  let_go(hold);
  ck_assert_int_eq(command_end(first), 0);
  ck_assert_int_eq(command_end(second), 0);
  command_free(first);
  command_free(second);
}
END_TEST

START_TEST(status_shows_that_nobody_may_trust_the_text) {
  colock_hold *hold = open_and_take(COLOCK_EXCLUSIVE, "a\"b\x1b[31m\n\\");
  command_is(0, "status", "db.lock");
  command_has(command_out(), ", \"a\\\"b\\x1b[31m\\n\\\\\"\n");
  let_go(hold);
}
END_TEST

START_TEST(status_marks_the_stale) {
  colock_config *config = test_config("stale_timeout", "1ms", NULL);
  colock_hold *hold = NULL;
  must(colock_open(&lock, test_path("db.lock"), config));
  colock_config_free(config);
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  int64_t limit = test_now_ms() + 20000;
  do
    command_is(0, "status", "db.lock");
  while (strstr(command_out(), ", STALE\n") == NULL && test_now_ms() < limit);
  command_has(command_out(), ", STALE\n");
  let_go(hold);
}
END_TEST

START_TEST(status_of_several_files_goes_on_after_a_failure) {
  test_make_lock(test_path("db.lock"));
  test_make_lock(test_path("b.lock"));
  command_is(66, "status", "db.lock", "absent.lock", "b.lock");
  ck_assert_str_eq(command_out(), "db.lock: free\nb.lock: free\n");
  command_has(command_err(), "absent.lock");
  command_is(66, "status", "--json", "db.lock", "absent.lock");
  ck_assert_int_eq(command_out()[0], '[');
  command_has(command_out(), "\"state\":\"free\"");
  command_has(command_out(), "{\"path\": \"absent.lock\", \"code\": 11, \"error\": \"absent.lock");
  ck_assert_int_eq(access(test_path("absent.lock"), F_OK), -1);
}
END_TEST

START_TEST(quiet_status_answers_by_its_exit_status) {
  colock_hold *hold = open_and_take(COLOCK_SHARED, NULL);
  test_make_lock(test_path("b.lock"));
  command_is(1, "status", "-q", "db.lock");
  command_is(1, "status", "-q", "b.lock", "db.lock");
  command_is(0, "status", "-q", "b.lock");
  ck_assert_str_eq(command_out(), "");
  let_go(hold);
  command_is(0, "status", "-q", "db.lock");
}
END_TEST

START_TEST(reader_without_a_name_is_shown_as_such) {
  test_make_lock(test_path("db.lock"));
  struct flock range = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = colockp_lane(1), .l_len = 1};
  int fd = open(test_path("db.lock"), O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &range), 0);
  command_is(0, "status", "db.lock");
  ck_assert_str_eq(command_out(), "db.lock: shared, a reader without a name\n");
  command_is(1, "status", "-q", "db.lock");
  command_is(75, "unlock", "db.lock");
  ck_assert_str_eq(command_out(), "db.lock: held by a reader without a name, alive. Find it with: fuser db.lock\n");
  command_is(75, "unlock", "--kill", "db.lock");
  command_has(command_err(), "it left no pid");
  command_is(75, "run", "-n", "db.lock", "true");
  command_has(command_err(), "in use; held by a reader without a name. Retry");
  close(fd);
}
END_TEST

START_TEST(output_that_cannot_be_written_is_noticed) {
  static const char *const arguments[] = {"status db.lock", "config", "config --json", "--help", "help run",
                                          "--version"};
  static const char *const to[] = {">/dev/full", ">&-"};
  char line[700];
  test_make_lock(test_path("db.lock"));
  for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
    for (size_t j = 0; j < 2; j++) {
      snprintf(line, sizeof line, "'%s' %s %s", command_path(), arguments[i], to[j]);
      command_is(71, "run", "other.lock", "-c", line);
      command_has(command_err(), "cannot write to standard output: ");
    }
}
END_TEST

START_TEST(reader_that_has_left_is_noticed) {
  test_make_lock(test_path("db.lock"));
  struct command *status = command_start("run", "other.lock", "sh", "-c", "read go; exec \"$0\" status db.lock",
                                         command_path(), NULL);
  close(status->from[1]);
  status->from[1] = -1;
  command_send(status, "go\n");
  ck_assert_int_eq(command_end(status), 71);
  command_has(status->err, "cannot write to standard output: Broken pipe");
  command_free(status);
}
END_TEST

/* ---- wait ---- */

START_TEST(wait_ends_when_the_lock_is_free) {
  char expected[200];
  colock_hold *hold = open_and_take(COLOCK_EXCLUSIVE, NULL);
  command_is(75, "wait", "-w", "20ms", "db.lock");
  snprintf(expected, sizeof expected,
           "colock: db.lock: gave up after 20ms; held by migrate[%d] (%s, ", (int)getpid(), user());
  command_has(command_err(), expected);
  command_has(command_err(), "ms). Retry, or: colock status db.lock\n");
  command_is(75, "wait", "-q", "-w", "0", "db.lock");
  ck_assert_str_eq(command_err(), "");
  struct command *wait = command_start("wait", "db.lock", NULL);
  command_expect(wait, 2, "waiting for migrate["); /* after a second, by its contract */
  let_go(hold);
  ck_assert_int_eq(command_end(wait), 0);
  ck_assert_str_eq(wait->out, "");
  command_free(wait);
}
END_TEST

/* ---- unlock ---- */

START_TEST(unlock_leaves_the_living_alone) {
  char expected[300];
  colock_hold *hold = open_and_take(COLOCK_EXCLUSIVE, NULL);
  command_is(75, "unlock", "db.lock");
  snprintf(expected, sizeof expected,
           "db.lock: held by migrate[%d] %s, alive, AGE. Safest: colock unlock --kill db.lock\n",
           (int)getpid(), user());
  ck_assert_str_eq(ageless(command_out()), expected);
  command_is(75, "unlock", "--json", "db.lock");
  command_has(command_out(), "\"result\":\"busy\",\"before\":{");
  must(colock_check(hold));
  let_go(hold);
  command_is(0, "unlock", "db.lock");
  ck_assert_str_eq(command_out(), "db.lock: free; nothing to unlock\n");
  command_is(0, "unlock", "--force", "db.lock");
  ck_assert_str_eq(command_out(), "db.lock: free; nothing to unlock\n");
  struct colockp_header header = test_header(test_path("db.lock"));
  ck_assert_uint_eq((uint32_t)header.generation, 1);
}
END_TEST

START_TEST(forced_unlock_revokes_and_says_so) {
  char expected[300];
  colock_hold *hold = open_and_take(COLOCK_EXCLUSIVE, NULL);
  command_is(0, "unlock", "--force", "--reason", "it hangs", "db.lock");
  snprintf(expected, sizeof expected, "warning: migrate[%d] still runs and may still write\n", (int)getpid());
  ck_assert_str_eq(command_err(), expected);
  snprintf(expected, sizeof expected, "done: lock forced; migrate[%d] is revoked\n", (int)getpid());
  ck_assert_str_eq(command_out(), expected);
  command_is(0, "status", "db.lock");
  snprintf(expected, sizeof expected, "db.lock: free\n  REVOKED migrate[%d]: still running; forced by %s AGE ago\n",
           (int)getpid(), user());
  ck_assert_int_eq(strncmp(ageless(command_out()), expected, strlen(expected)), 0);
  /* a writer that was forced out left work half done */
  command_has(command_out(), "  ABANDONED: an exclusive holder (token ");
  command_is(0, "status", "--json", "db.lock");
  command_has(command_out(), "it hangs");
  must_be(COLOCK_EREVOKED, colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(forcing_one_reader_revokes_all_and_says_so) {
  colock_hold *first = open_and_take(COLOCK_SHARED, NULL), *second = take(COLOCK_SHARED, NULL);
  command_is(0, "unlock", "--force", "--json", "db.lock");
  command_has(command_err(), "all 2 holders are revoked together");
  command_has(command_out(), "\"result\":\"forced\"");
  must_be(COLOCK_EREVOKED, colock_release(first));
  must_be(COLOCK_EREVOKED, colock_release(second));
  colock_close(lock);
}
END_TEST

START_TEST(kill_ends_the_holder_and_nobody_else) {
  colock_hold *hold;
  struct command *run = command_start("run", "db.lock", "sh", "-c", "echo up; read line", NULL);
  command_expect(run, 1, "up\n");
  struct command *waits = command_start("run", "db.lock", "sh", "-c", "echo mine; read line; exit 3", NULL);
  test_await_waiters(test_path("db.lock"), 1);
  command_is(0, "unlock", "--kill", "db.lock");
  ck_assert_int_eq(strncmp(command_out(), "done: sh[", 9), 0);
  command_has(command_out(), " ended; db.lock is ");
  ck_assert_int_eq(command_end(run), 128 + SIGTERM);
  command_expect(waits, 1, "mine\n"); /* the next holder is unharmed */
  ck_assert_int_eq(command_end(waits), 3);
  command_free(run);
  command_free(waits);
  hold = open_and_take(COLOCK_EXCLUSIVE, NULL);
  ck_assert_int_eq(colock_abandoned(hold), 1); /* it was killed while it held */
  let_go(hold);
}
END_TEST

/* `sh -c 'a; b'` dies by SIGTERM, but what it runs at that moment does not, and has the lock. */
START_TEST(kill_reaches_what_command_has_started) {
  struct command *run = command_start("run", "db.lock", "sh", "-c", "echo up; tail -f /dev/null; echo not reached",
                                      NULL);
  command_expect(run, 1, "up\n");
  command_is(0, "unlock", "--kill", "db.lock");
  command_has(command_out(), " ended; db.lock is free\n");
  ck_assert_int_eq(command_end(run), 128 + SIGTERM);
  ck_assert(test_free(test_path("db.lock")));
  command_free(run);
}
END_TEST

/* Takes the five seconds that it promises. */
START_TEST(kill_ends_who_ignores_it_by_sigkill) {
  struct command *run = command_start("run", "db.lock", "sh", "-c", "trap '' TERM; echo up; read line", NULL);
  command_expect(run, 1, "up\n");
  int64_t began = test_now_ms();
  command_is(0, "unlock", "--kill", "db.lock");
  ck_assert_int_ge(test_now_ms() - began, 5000);
  command_has(command_out(), " ended, not by SIGTERM but by SIGKILL; db.lock is free\n");
  ck_assert_int_eq(command_end(run), 256 + SIGKILL);
  command_free(run);
}
END_TEST

/* ---- what the library says while it works ---- */

static void damage(const char *name) {
  test_make_lock(test_path(name));
  test_poke(test_path(name), offsetof(struct colockp_header, generation), "12345678", 8);
}

START_TEST(run_says_what_the_library_does_as_a_sentence) {
  damage("db.lock");
  command_is(0, "run", "db.lock", "true");
  ck_assert_str_eq(command_err(), "colock: db.lock: it was damaged, and nobody lived in it\n");
  damage("my \"db\"\x1b\\.lock");
  command_is(0, "run", "my \"db\"\x1b\\.lock", "true");
  ck_assert_str_eq(command_err(), "colock: my \"db\"\\x1b\\\\.lock: it was damaged, and nobody lived in it\n");
  damage("a\\");
  command_is(0, "run", "a\\", "true");
  ck_assert_str_eq(command_err(), "colock: a\\\\: it was damaged, and nobody lived in it\n");
  damage("db.lock");
  command_is(0, "run", "--set", "verbosity=error", "db.lock", "true");
  ck_assert_str_eq(command_err(), "");
  command_is(0, "run", "--set", "verbosity=debug", "db.lock", "true"); /* where there is no sentence */
  command_has(command_err(), "colock: event=granted file=db.lock mode=exclusive ");
}
END_TEST

START_TEST(run_names_the_file_once) {
  colock_hold *hold = open_and_take(COLOCK_EXCLUSIVE, NULL);
  struct command *run = command_start("run", "-w", "20", "db.lock", "true", NULL);
  test_await_waiters(test_path("db.lock"), 1);
  ck_assert_int_eq(unlink(test_path("db.lock")), 0);
  ck_assert_int_eq(command_end(run), 0);
  const char *said = strstr(run->err, "colock: db.lock: the lock file was deleted");
  ck_assert_msg(said != NULL && (said == run->err || said[-1] == '\n'), "%s", run->err);
  ck_assert_ptr_null(strstr(run->err, "event="));
  command_free(run);
  must_be(COLOCK_ELOST, colock_release(hold));
  colock_close(lock);
}
END_TEST

/* ---- config ---- */

static void write_text(const char *name, const char *text) { test_write(test_path(name), text, strlen(text)); }

START_TEST(config_says_where_each_value_comes_from) {
  write_text("c.yaml", "timeout: 7s\nlabel: 'a: b # \"c\"'\n");
  setenv("COLOCK_RETRY_DELAY", "20ms", 1);
  command_is(0, "config", "--file", "c.yaml", "--set", "notify_after=3s");
  unsetenv("COLOCK_RETRY_DELAY");
  const char *lines[] = {"timeout: 7s ", "# c.yaml:1:1; longest wait", "label: \"a: b # \\\"c\\\"\"", "# c.yaml:2:1; ",
                         "retry_delay: 20ms ", "# environment; ", "notify_after: 3s ", "# set; ",
                         "stale_timeout: 30s ", "# default; "};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) command_has(command_out(), lines[i]);
  command_is(0, "config", "--json", "--set", "timeout=forever");
  command_has(command_out(), "\"timeout\": {\"value\": \"forever\", \"source\": \"set\", \"type\": \"duration\"");
}
END_TEST

START_TEST(config_prints_a_configuration_file) {
  char first[16384], again[16384];
  command_is(0, "config", "--set", "timeout=1500ms", "--set", "label=a\"\\ b: #", "--set", "file_mode=0640", "--set",
             "enabled=false");
  snprintf(first, sizeof first, "%s", command_out());
  write_text("c.yaml", first);
  command_is(0, "config", "--json", "--file", "c.yaml");
  snprintf(again, sizeof again, "%s", command_out());
  command_has(again, "\"value\": \"1500ms\"");
  command_has(again, "\"value\": \"a\\\"\\\\ b: #\"");
  command_has(again, "\"value\": \"0640\"");
  command_has(again, "\"value\": \"false\"");
  ck_assert_ptr_null(strstr(again, "\"source\": \"default\""));
}
END_TEST

START_TEST(wrong_configuration_is_78_everywhere) {
  write_text("c.yaml", "timeout: 5s\ntimeuot: 6s\n");
  command_is(78, "config", "--file", "c.yaml");
  command_has(command_err(), "c.yaml:2:1");
  command_is(78, "config", "--file", "absent.yaml");
  command_is(78, "config", "--file", ".");
  setenv("COLOCK_CONFIG", test_path("c.yaml"), 1);
  command_is(78, "run", "db.lock", "true");
  unsetenv("COLOCK_CONFIG");
  setenv("COLOCK_TIMEOUT", "5", 1);
  command_is(78, "run", "db.lock", "true");
  command_has(command_err(), "COLOCK_TIMEOUT");
  unsetenv("COLOCK_TIMEOUT");
  ck_assert_int_eq(access(test_path("db.lock"), F_OK), -1);
}
END_TEST

static int deny(void *arg) {
  (void)arg;
  if (test_become_nobody() != 0) return 77;
  static const char *const arguments[][4] = {
    {"status", "db.lock"}, {"wait", "db.lock"}, {"unlock", "--force", "db.lock"}, {"run", "db.lock", "true"}};
  for (size_t i = 0; i < 4; i++) {
    struct command *command = command_start_list(arguments[i]);
    int status = command_end(command);
    command_free(command);
    if (status != 77) return (int)i + 1;
  }
  return 0;
}

START_TEST(no_permission_is_77) {
  test_make_lock(test_path("db.lock"));
  if (geteuid() == 0) ck_assert_int_eq(test_in_child(deny, NULL), 0);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "status", 60);
  tcase_add_test(tcase, status_shows_the_holder);
  tcase_add_test(tcase, status_shows_every_reader);
  tcase_add_test(tcase, status_shows_who_waits_in_columns);
  tcase_add_test(tcase, status_shows_that_nobody_may_trust_the_text);
  tcase_add_test(tcase, status_marks_the_stale);
  tcase_add_test(tcase, status_of_several_files_goes_on_after_a_failure);
  tcase_add_test(tcase, quiet_status_answers_by_its_exit_status);
  tcase_add_test(tcase, reader_without_a_name_is_shown_as_such);
  tcase_add_test(tcase, output_that_cannot_be_written_is_noticed);
  tcase_add_test(tcase, reader_that_has_left_is_noticed);
  tcase_add_test(tcase, no_permission_is_77);
  tcase = test_case(suite, "wait", 30);
  tcase_add_test(tcase, wait_ends_when_the_lock_is_free);
  tcase = test_case(suite, "unlock", 30);
  tcase_add_test(tcase, unlock_leaves_the_living_alone);
  tcase_add_test(tcase, forced_unlock_revokes_and_says_so);
  tcase_add_test(tcase, forcing_one_reader_revokes_all_and_says_so);
  tcase_add_test(tcase, kill_ends_the_holder_and_nobody_else);
  tcase_add_test(tcase, kill_reaches_what_command_has_started);
  tcase_add_test(tcase, kill_ends_who_ignores_it_by_sigkill);
  tcase = test_case(suite, "notices", 60);
  tcase_add_test(tcase, run_says_what_the_library_does_as_a_sentence);
  tcase_add_test(tcase, run_names_the_file_once);
  tcase = test_case(suite, "config", 30);
  tcase_add_test(tcase, config_says_where_each_value_comes_from);
  tcase_add_test(tcase, config_prints_a_configuration_file);
  tcase_add_test(tcase, wrong_configuration_is_78_everywhere);
}

int main(int argc, char **argv) {
  command_find();
  return test_main(argc, argv, "command_look", fill);
}

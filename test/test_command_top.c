/* test_command_top.c - colock top as people and scripts use it: once as text, and live on a terminal. */
#include "agent.h"
#include "planted.h"
#include "screen.h"

#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/utsname.h>

static const char *path;
static struct agent *holder;

/* A lock that an agent holds exclusively, and one that nobody has. */
static void hold_it(void) {
  setenv("TERM", "xterm", 1);
  path = test_path("db.lock");
  holder = agent_start();
  ck_assert_int_eq(agent_call(holder, "open %s label=migrate", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "acquire x 0 purpose=%s", agent_word("schema 42")), COLOCK_OK);
  test_make_lock(test_path("b.lock"));
}

static struct agent *wait_for_it(const char *label, const char *how, unsigned count) {
  struct agent *agent = agent_start();
  ck_assert_int_eq(agent_call(agent, "open %s label=%s", agent_word(path), label), COLOCK_OK);
  agent_send(agent, "acquire %s", how);
  test_await_waiters(path, count);
  return agent;
}

static void let_go(void) { ck_assert_int_eq(agent_call(holder, "release %d", holder->hold), COLOCK_OK); }

/* alice@db1 */
static const char *user(void) {
  static char text[256];
  struct utsname host;
  const struct passwd *me = getpwuid(geteuid());
  uname(&host);
  if (me != NULL) snprintf(text, sizeof text, "%s@%s", me->pw_name, host.nodename);
  else snprintf(text, sizeof text, "%u@%s", (unsigned)geteuid(), host.nodename);
  return text;
}

/* A line whose cells are these, with any number of blanks between them; ages and rates are *. */
static bool has_line(const char *text, const char *cells) {
  for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + (strchr(line, '\n') != NULL)) {
    const char *at = line, *wanted = cells;
    for (;;) {
      at += strspn(at, " ");
      wanted += strspn(wanted, " ");
      size_t length = strcspn(at, " \n"), other = strcspn(wanted, " ");
      if (length == 0 && other == 0) return true;
      if (length == 0 || other == 0) break;
      if (*wanted != '*' && (length != other || strncmp(at, wanted, length) != 0)) break;
      at += length;
      wanted += other;
    }
  }
  return false;
}

#define is_line(text, ...) \
  do { \
    char is_cells[512]; \
    snprintf(is_cells, sizeof is_cells, __VA_ARGS__); \
    ck_assert_msg(has_line(text, is_cells), "no line \"%s\" in:\n%s", is_cells, text); \
  } while (0)

/* The same of a screen, once its frame is whole. */
#define is_seen(screen, ...) \
  do { \
    char seen_cells[512]; \
    int64_t seen_limit = test_now_ms() + 20000; \
    snprintf(seen_cells, sizeof seen_cells, __VA_ARGS__); \
    while (!has_line(screen_text(screen), seen_cells) && test_now_ms() < seen_limit) screen_hear(screen, true); \
    is_line(screen_text(screen), "%s", seen_cells); \
  } while (0)

/* ---- once ---- */

START_TEST(once_shows_locks_and_people_as_text) {
  hold_it();
  struct agent *first = wait_for_it("backup", "x 20000 priority=2", 1), *second = wait_for_it("api", "s 20000", 2);
  command_is(0, "top", "--once", "db.lock", "b.lock");
  const char *text = command_out();
  is_line(text, "LOCK STATE HOLD KEEP WAIT ACQ/S WAITS/S WAITED");
  is_line(text, "db.lock exclusive 1 0 2 * 0.0 67%%"); /* two of three that asked had to wait */
  is_line(text, "b.lock free 0 0 0 * * 0%%");
  is_line(text, "db.lock: exclusive");
  is_line(text, "b.lock: free");
  is_line(text, "ROLE PLACE MODE NAME USER AGE NOTE");
  is_line(text, "holds exclusive migrate[%d] %s * \"schema 42\"", (int)holder->pid, user());
  is_line(text, "waits 1 exclusive backup[%d] %s * priority 2", (int)first->pid, user());
  is_line(text, "waits 2 shared api[%d] %s *", (int)second->pid, user());
  ck_assert_ptr_null(strchr(text, '\x1b'));
  let_go();
  ck_assert_int_eq(agent_answer(first), COLOCK_OK);
  ck_assert_int_eq(agent_call(first, "release %d", first->hold), COLOCK_OK);
  ck_assert_int_eq(agent_answer(second), COLOCK_OK);
}
END_TEST

START_TEST(once_goes_on_after_a_file_that_cannot_be_read) {
  hold_it();
  command_is(66, "top", "--once", "absent.lock", "db.lock");
  is_line(command_out(), "absent.lock error - - - - - -");
  is_line(command_out(), "db.lock: exclusive");
  command_has(command_err(), "absent.lock: no such file");
  test_write(test_path("data"), "data", 4);
  command_is(65, "top", "--once", "data");
  ck_assert_int_eq(access(test_path("absent.lock"), F_OK), -1);
}
END_TEST

static char absent[] = "absent.lock", data[] = "data", empty[] = "empty.lock", cut[] = "cut.lock", folder[] = "folder";

/* Reason and exit status are those of status. */
START_TEST(once_says_what_is_wrong_with_a_file_as_status_does) {
  static const struct { const char *name, *why; int status; } c[] = {
    {absent, "no such file", 66},       {data, "not a lock file: it has somebody else's content", 65},
    {empty, "not a lock file yet", 65}, {cut, "damaged", 65},
    {folder, "a directory", 65}};
  test_write(test_path(data), "data", 4);
  test_write(test_path(empty), "", 0);
  test_make_lock(test_path(cut));
  ck_assert_int_eq(truncate(test_path(cut), 5000), 0);
  ck_assert_int_eq(mkdir(test_path(folder), 0700), 0);
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    char said[1024];
    command_is(c[i].status, "status", c[i].name);
    snprintf(said, sizeof said, "%s", command_err());
    command_has(said, c[i].why);
    command_is(c[i].status, "top", "--once", c[i].name);
    ck_assert_str_eq(command_err(), said);
    is_line(command_out(), "%s error - - - - - -", c[i].name);
    command_is(c[i].status, "top", "--once", "--interval", "100ms", c[i].name);
    ck_assert_str_eq(command_err(), said);
  }
}
END_TEST

static int may_not_read(void *arg) {
  static const char *const status[] = {"status", "db.lock", NULL}, *const top[] = {"top", "--once", "db.lock", NULL};
  (void)arg;
  if (test_become_nobody() != 0) return 1;
  struct command *first = command_start_list(status), *second = command_start_list(top);
  bool same = command_end(first) == 77 && command_end(second) == 77 && strcmp(first->err, second->err) == 0 &&
              strstr(second->err, "db.lock: cannot open it: Permission denied") != NULL &&
              has_line(second->out, "db.lock error - - - - - -");
  command_free(first);
  command_free(second);
  return same ? 0 : 2;
}

START_TEST(once_says_that_it_may_not_read) {
  if (geteuid() != 0) {
    test_skip("only root can become somebody who may not read");
    return;
  }
  hold_it();
  ck_assert_int_eq(chmod(path, 0), 0);
  ck_assert_int_eq(test_in_child(may_not_read, NULL), 0);
}
END_TEST

/* What is counted between two looks an interval apart, in place of all that was ever counted. */
START_TEST(once_with_an_interval_shows_the_present_rates) {
  hold_it();
  let_go();
  command_is(0, "top", "--once", "db.lock");
  ck_assert(!has_line(command_out(), "db.lock free 0 0 0 0.0 0.0 0%"));
  command_is(0, "top", "--once", "--interval", "100ms", "db.lock");
  is_line(command_out(), "db.lock free 0 0 0 0.0 0.0 0%%");
}
END_TEST

START_TEST(wrong_usage_is_64) {
  command_is(64, "top");
  command_is(64, "top", "--interval", "10ms", "db.lock");
  command_is(64, "top", "--interval", "forever", "db.lock");
  command_is(64, "top", "--bogus", "db.lock");
  command_is(0, "top", "--help");
  command_has(command_out(), "usage: colock top");
}
END_TEST

/* ---- live ---- */

/* The view, with a first frame; NULL: this colock was built without it. */
static struct screen *start(void) {
  struct screen *screen = screen_start(80, "top", "--interval", "1h", "db.lock", "b.lock", NULL);
  screen_expect(screen, "colock");
  if (!screen_has(screen, "built without ncurses")) {
    screen_expect(screen, "q quit");
    return screen;
  }
  screen_end(screen);
  screen_free(screen);
  test_skip("this colock was built without ncurses (Debian: libncurses-dev, Fedora: ncurses-devel)");
  return NULL;
}

static void quit(struct screen *screen) {
  screen_send(screen, "q");
  ck_assert_int_eq(screen_end(screen), 0);
  ck_assert(screen_is_as_it_was(screen));
  ck_assert(!screen->wrapped);
  screen_free(screen);
}

START_TEST(live_view_fits_80_by_24_and_follows) {
  hold_it();
  struct screen *screen = start();
  if (screen == NULL) return;
  ck_assert_int_eq(strncmp(screen_row(screen, 0), "colock top  2 locks: 1 hold, 0 keep, 0 wait", 43), 0);
  is_seen(screen, "db.lock exclusive 1 0 0 * 0.0 0%%");
  is_seen(screen, "b.lock free 0 0 0 * * 0%%");
  is_seen(screen, "holds exclusive migrate[%d] %s * \"schema 42\"", (int)holder->pid, user());
  ck_assert_int_eq(strncmp(screen_row(screen, 2), "db.lock  ", 9), 0);
  ck_assert_int_eq(strncmp(screen_row(screen, 3), "b.lock  ", 8), 0);
  ck_assert_str_eq(screen_row(screen, 4), "db.lock: exclusive");
  ck_assert_int_eq(strncmp(screen_row(screen, 23), "q quit", 6), 0);
  struct agent *waiter = wait_for_it("backup", "x 20000", 1);
  screen_send(screen, " ");
  screen_expect(screen, "backup[");
  is_seen(screen, "waits 1 exclusive backup[%d] %s *", (int)waiter->pid, user());
  let_go();
  ck_assert_int_eq(agent_answer(waiter), COLOCK_OK);
  screen_send(screen, " ");
  screen_expect_not(screen, "migrate[");
  is_seen(screen, "holds exclusive backup[%d] %s *", (int)waiter->pid, user());
  screen_expect_not(screen, "waits   "); /* nothing stays of what was drawn before */
  quit(screen);
}
END_TEST

/* Nobody presses a key: the clock alone. */
START_TEST(live_view_looks_again_by_itself) {
  hold_it();
  struct screen *screen = screen_start(80, "top", "--interval", "100ms", "db.lock", NULL);
  screen_expect(screen, "colock");
  if (!screen_has(screen, "built without ncurses")) {
    screen_expect(screen, "db.lock: exclusive");
    let_go();
    screen_expect(screen, "db.lock: free");
    screen_send(screen, "q");
  } else {
    test_skip("built without ncurses");
  }
  screen_end(screen);
  screen_free(screen);
}
END_TEST

START_TEST(resized_view_is_drawn_anew) {
  static const int sizes[][2] = {{10, 60}, {40, 150}, {5, 20}, {2, 10}, {1, 1}, {24, 80}};
  hold_it();
  struct screen *screen = start();
  if (screen == NULL) return;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    screen_resize(screen, sizes[i][0], sizes[i][1]);
    int last = sizes[i][0] - 1;
    int64_t limit = test_now_ms() + 20000; /* until then the rest of an older frame may come */
    while (strncmp(screen_row(screen, last), last > 0 ? "q quit" : "", 6) != 0 && test_now_ms() < limit)
      screen_hear(screen, true);
    ck_assert_msg(last == 0 || strncmp(screen_row(screen, last), "q quit", 6) == 0, "%s", screen_text(screen));
    if (last > 0) screen_expect(screen, "colock to");
    if (last > 8) screen_expect(screen, "migrate[");
  }
  quit(screen);
}
END_TEST

START_TEST(keys_choose_sort_filter_and_explain) {
  hold_it();
  struct screen *screen = start();
  if (screen == NULL) return;
  screen_send(screen, "\x1b[B"); /* as some terminals say it, others: */
  screen_send(screen, "\x1bOB");
  screen_expect(screen, "b.lock: free");
  screen_send(screen, "k");
  screen_expect(screen, "db.lock: exclusive");
  screen_send(screen, "s");
  screen_expect(screen, "locks by waiting");
  screen_send(screen, "SSr");
  screen_expect(screen, "locks by path, reversed");
  screen_expect(screen, "q quit");
  ck_assert_int_eq(strncmp(screen_row(screen, 2), "db.lock  ", 9), 0);
  screen_send(screen, "/migr");
  screen_expect(screen, "/migr");
  screen_expect_not(screen, "b.lock free");
  screen_send(screen, "\r");
  screen_expect(screen, "filter \"migr\"");
  screen_send(screen, "\t\r");
  screen_expect(screen, "  purpose    schema 42");
  screen_send(screen, "\r");
  screen_expect(screen, "filter \"migr\"");
  screen_send(screen, "\x1b");
  screen_expect(screen, "b.lock");
  screen_send(screen, "\t\r");
  screen_expect(screen, "acquisitions            0          1");
  screen_send(screen, "qh");
  screen_expect(screen, "how often per second it was got");
  screen_send(screen, "q");
  screen_expect(screen, "q quit");
  quit(screen);
}
END_TEST

/* ---- unlocking ---- */

START_TEST(unlock_kills_after_a_question) {
  hold_it();
  let_go();
  struct command *run = command_start("run", "db.lock", "sh", "-c", "echo up; read line", NULL);
  command_expect(run, 1, "up\n");
  struct screen *screen = start();
  if (screen != NULL) {
    screen_send(screen, "uk");
    screen_expect(screen, "? y: yes, other keys: no");
    screen_send(screen, "n"); /* no */
    screen_expect(screen, "q quit");
    command_is(1, "status", "-q", "db.lock");
    screen_send(screen, "uky");
    screen_expect(screen, " ended; db.lock is free");
    ck_assert_int_eq(command_end(run), 128 + SIGTERM);
    screen_send(screen, "q");
    screen_expect(screen, "db.lock: free; ABANDONED");
    quit(screen);
  } else {
    command_end(run);
  }
  command_free(run);
}
END_TEST

START_TEST(unlock_forces_only_after_two_questions) {
  hold_it();
  struct screen *screen = start();
  if (screen == NULL) return;
  screen_send(screen, "ufy");
  screen_expect(screen, "type force, then Enter:");
  screen_send(screen, "\r");
  screen_expect(screen, "q quit");
  ck_assert_int_eq(agent_call(holder, "check %d", holder->hold), COLOCK_OK);
  screen_send(screen, "ufyforce\r");
  screen_expect(screen, "warning: migrate[");
  screen_expect(screen, "done: lock forced; migrate[");
  ck_assert_int_eq(agent_call(holder, "check %d", holder->hold), COLOCK_EREVOKED);
  screen_send(screen, "q");
  screen_expect(screen, "1 REVOKED still runs");
  screen_expect(screen, "REVOKED       exclusive");
  quit(screen);
  ck_assert_int_eq(agent_call(holder, "release %d", holder->hold), COLOCK_EREVOKED);
}
END_TEST

/* Who answers yes has spoken of those whom the question named. */
START_TEST(unlock_spares_who_came_after_the_question) {
  hold_it();
  struct screen *screen = start();
  if (screen == NULL) return;
  screen_send(screen, "uk");
  screen_expect(screen, "Kill migrate[");
  struct agent *next = wait_for_it("backup", "x 20000", 1);
  let_go();
  ck_assert_int_eq(agent_answer(next), COLOCK_OK);
  screen_send(screen, "y");
  screen_expect(screen, "others have it by now");
  ck_assert_int_eq(agent_call(next, "check %d", next->hold), COLOCK_OK);
  screen_send(screen, "q");
  quit(screen);
}
END_TEST

START_TEST(unlock_asks_who_only_keeps_it) {
  hold_it();
  let_go();
  struct agent *keeper = agent_start();
  ck_assert_int_eq(agent_call(keeper, "open %s auto_release=true idle_timeout=1min label=server", agent_word(path)),
                   COLOCK_OK);
  ck_assert_int_eq(agent_call(keeper, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(keeper, "release %d", keeper->hold), COLOCK_OK);
  struct screen *screen = start();
  if (screen == NULL) return;
  is_seen(screen, "keeps exclusive server[%d] %s *", (int)keeper->pid, user());
  screen_send(screen, "ua");
  screen_expect(screen, "has let go");
  screen_send(screen, "q");
  screen_expect(screen, "db.lock: free");
  quit(screen);
}
END_TEST

/* ---- leaving ---- */

static void ends_by(int number, const char *key) {
  hold_it();
  struct screen *screen = start();
  if (screen == NULL) return;
  ck_assert(!screen_is_as_it_was(screen));
  if (key != NULL) screen_send(screen, key);
  else ck_assert_int_eq(kill(screen->command->pid, number), 0);
  ck_assert_int_eq(screen_end(screen), 128 + number);
  ck_assert(screen_is_as_it_was(screen));
  screen_free(screen);
}

START_TEST(sigterm_leaves_the_terminal_as_it_was) { ends_by(SIGTERM, NULL); }
END_TEST

START_TEST(sighup_leaves_the_terminal_as_it_was) { ends_by(SIGHUP, NULL); }
END_TEST

START_TEST(ctrl_c_leaves_the_terminal_as_it_was) { ends_by(SIGINT, "\x03"); }
END_TEST

static void loses_its_terminal(void) {
  struct screen *screen = start();
  if (screen == NULL) return;
  close(screen->terminal);
  close(screen->command->in);
  ck_assert_int_eq(test_wait(screen->command->pid), 128 + SIGHUP);
  command_free(screen->command);
  free(screen);
}

START_TEST(terminal_that_goes_away_ends_it) {
  hold_it();
  loses_its_terminal();
  signal(SIGHUP, SIG_IGN); /* as under nohup */
  loses_its_terminal();
  signal(SIGHUP, SIG_DFL);
}
END_TEST

START_TEST(without_a_terminal_there_is_no_live_view) {
  hold_it();
  struct screen *screen = start();
  if (screen == NULL) return;
  quit(screen);
  command_is(64, "top", "db.lock");
  command_has(command_err(), "colock top --once");
  static const char *const types[] = {"no-such-terminal", "dumb"};
  for (size_t i = 0; i < 2; i++) {
    setenv("TERM", types[i], 1);
    screen = screen_start(80, "top", "db.lock", NULL);
    ck_assert_int_eq(screen_end(screen), 71);
    ck_assert(screen_has(screen, types[i]));
    ck_assert(screen_is_as_it_was(screen));
    screen_free(screen);
  }
}
END_TEST

START_TEST(nothing_to_see_leaves_the_terminal_alone) {
  hold_it();
  struct screen *screen = start();
  if (screen == NULL) return;
  quit(screen);
  screen = screen_start(80, "top", "absent.lock", NULL);
  ck_assert_int_eq(screen_end(screen), 66);
  ck_assert(screen_has(screen, "colock: absent.lock: no such file"));
  screen_free(screen);
}
END_TEST

START_TEST(colours_are_for_those_who_want_them) {
  hold_it();
  struct screen *screen = screen_start(80, "top", "absent.lock", "db.lock", NULL); /* an error is red */
  screen_expect(screen, "colock");
  if (screen_has(screen, "built without ncurses")) {
    test_skip("built without ncurses");
    screen_end(screen);
  } else {
    screen_expect(screen, "q quit");
    screen_send(screen, "j");
    screen_expect(screen, "db.lock: exclusive");
    ck_assert(screen->coloured);
    quit(screen);
    setenv("NO_COLOR", "1", 1);
    screen = screen_start(80, "top", "absent.lock", "db.lock", NULL);
    screen_expect(screen, "q quit");
    screen_send(screen, "j");
    screen_expect(screen, "db.lock: exclusive");
    ck_assert(!screen->coloured);
    screen_send(screen, "q");
    ck_assert_int_eq(screen_end(screen), 0);
    unsetenv("NO_COLOR");
  }
  screen_free(screen);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "once", 60);
  tcase_add_test(tcase, once_shows_locks_and_people_as_text);
  tcase_add_test(tcase, once_goes_on_after_a_file_that_cannot_be_read);
  tcase_add_test(tcase, once_says_what_is_wrong_with_a_file_as_status_does);
  tcase_add_test(tcase, once_says_that_it_may_not_read);
  tcase_add_test(tcase, once_with_an_interval_shows_the_present_rates);
  tcase_add_test(tcase, wrong_usage_is_64);
  tcase = test_case(suite, "live", 60);
  tcase_add_test(tcase, live_view_fits_80_by_24_and_follows);
  tcase_add_test(tcase, live_view_looks_again_by_itself);
  tcase_add_test(tcase, resized_view_is_drawn_anew);
  tcase_add_test(tcase, keys_choose_sort_filter_and_explain);
  tcase = test_case(suite, "unlock", 60);
  tcase_add_test(tcase, unlock_kills_after_a_question);
  tcase_add_test(tcase, unlock_forces_only_after_two_questions);
  tcase_add_test(tcase, unlock_spares_who_came_after_the_question);
  tcase_add_test(tcase, unlock_asks_who_only_keeps_it);
  tcase = test_case(suite, "leaving", 60);
  tcase_add_test(tcase, sigterm_leaves_the_terminal_as_it_was);
  tcase_add_test(tcase, sighup_leaves_the_terminal_as_it_was);
  tcase_add_test(tcase, ctrl_c_leaves_the_terminal_as_it_was);
  tcase_add_test(tcase, terminal_that_goes_away_ends_it);
  tcase_add_test(tcase, without_a_terminal_there_is_no_live_view);
  tcase_add_test(tcase, nothing_to_see_leaves_the_terminal_alone);
  tcase_add_test(tcase, colours_are_for_those_who_want_them);
}

int main(int argc, char **argv) {
  command_find();
  return test_main(argc, argv, "command_top", fill);
}

/* test_command_terminal.c - colock on a terminal: the line that is rewritten, colours, Ctrl-C and Ctrl-Z. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const char REWRITE[] = "\r\x1b[K";

static colock *lock;
static colock_hold *hold;

static void hold_it(void) {
  colock_request request;
  setenv("TERM", "xterm", 1);
  lock = test_open_set(test_path("db.lock"), "label", "migrate");
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.purpose = "a purpose that is longer than the terminal of this test is wide, with \xc3\xa4\xc3\xb6\xc3\xbc";
  must(colock_acquire_with(lock, &request, &hold));
}

static void let_go(void) {
  must(colock_release(hold));
  colock_close(lock);
}

/* Redrawn at least once more after a second, never wider than the terminal, gone when the wait is over. */
START_TEST(waiting_is_one_line_that_is_rewritten_and_goes) {
  enum { COLUMNS = 70 };
  hold_it();
  struct command *run = command_on_terminal(COLUMNS, "run", "--set", "notify_after=1ms", "db.lock", "echo", "got it",
                                            NULL);
  command_expect(run, 1, REWRITE);
  command_expect(run, 1, ", 1s"); /* the thread's own second look */
  let_go();
  ck_assert_int_eq(command_end(run), 0);
  int lines = 0;
  char *rest = run->out, *end = strstr(run->out, "got it\r\n");
  ck_assert_ptr_nonnull(end);
  ck_assert_msg(end - run->out >= 4 && memcmp(end - 4, REWRITE, 4) == 0, "the line is still there: %s", run->out);
  for (*end = '\0'; (rest = strstr(rest, REWRITE)) != NULL; lines++) {
    rest += strlen(REWRITE);
    size_t width = strcspn(rest, "\r\n"); /* all of it ASCII: what is not is cut off */
    ck_assert_uint_lt(width, COLUMNS);
    ck_assert_int_ne(rest[width], '\n');
  }
  ck_assert_int_ge(lines, 3);
  command_free(run);
}
END_TEST

START_TEST(colours_are_for_terminals_that_want_them) {
  test_make_lock(test_path("db.lock"));
  setenv("TERM", "xterm", 1);
  struct command *status = command_on_terminal(80, "status", "db.lock", NULL);
  ck_assert_int_eq(command_end(status), 0);
  ck_assert_str_eq(status->out, "\x1b[1mdb.lock\x1b[0m: \x1b[32mfree\x1b[0m\r\n");
  command_free(status);
  setenv("NO_COLOR", "1", 1);
  status = command_on_terminal(80, "status", "db.lock", NULL);
  ck_assert_int_eq(command_end(status), 0);
  ck_assert_str_eq(status->out, "db.lock: free\r\n");
  command_free(status);
  unsetenv("NO_COLOR");
  command_is(0, "status", "db.lock");
  ck_assert_str_eq(command_out(), "db.lock: free\n");
}
END_TEST

/* The terminal sends SIGINT to the whole job; passing it on as well would make two of one. */
START_TEST(ctrl_c_reaches_command_once) {
  struct command *run = command_on_terminal(80, "run", "db.lock", "sh", "-c",
    "n=0; trap 'n=$((n+1)); echo int $n' INT; echo up; while :; do read line && break; done; echo end $n; exit $n",
    NULL);
  command_expect(run, 1, "up\r\n");
  command_send(run, "\x03");
  command_expect(run, 1, "int 1\r\n");
  command_send(run, "line\n");
  command_expect(run, 1, "end 1\r\n");
  ck_assert_int_eq(command_end(run), 1);
  command_free(run);
}
END_TEST

/* COMMAND has left the job, so the terminal does not reach it: then Ctrl-C was not meant for it. SIGTERM, which is
 * taken after SIGINT, shows that the former was dealt with. */
START_TEST(ctrl_c_is_left_to_the_terminal) {
  ck_assert_int_eq(mkfifo(test_path("pipe"), 0600), 0);
  struct command *run = command_on_terminal(80, "run", "db.lock", "setsid", "sh", "-c",
    "trap 'echo int' INT; trap 'echo term; exit 4' TERM; echo up; while :; do read line <pipe || :; done", NULL);
  command_expect(run, 1, "up\r\n");
  command_send(run, "\x03");
  command_expect(run, 1, "^C");
  kill(run->pid, SIGTERM);
  command_expect(run, 1, "term\r\n");
  ck_assert_int_eq(command_end(run), 4);
  ck_assert_ptr_null(strstr(run->out, "int"));
  command_free(run);
}
END_TEST

START_TEST(ctrl_c_ends_the_wait_and_clears_the_line) {
  hold_it();
  struct command *run = command_on_terminal(80, "run", "--set", "notify_after=1ms", "db.lock", "true", NULL);
  command_expect(run, 1, "waiting for migrate[");
  command_send(run, "\x03");
  ck_assert_int_eq(command_end(run), 128 + SIGINT);
  const char *last = NULL;
  for (const char *at = run->out; (at = strstr(at, REWRITE)) != NULL; at++) last = at;
  ck_assert_ptr_nonnull(last);
  ck_assert_str_eq(last, REWRITE); /* the last thing written takes the line away */
  ck_assert_uint_eq(test_waiters(test_path("db.lock")), 0);
  command_free(run);
  let_go();
}
END_TEST

/* ---- a small shell with one job ---- */

struct shell {
  pid_t pid;
  int master; /* the terminal */
  int say;    /* to the shell: 'f' puts the job into the foreground and continues it */
  int hear;   /* from it: 'S' stopped by the terminal, 'E' and the exit status */
};

static void shell_main(const char *terminal_name, int hear, int say, char *const *argv) {
  setsid();
  int terminal = open(terminal_name, O_RDWR);
  signal(SIGTTOU, SIG_IGN);
  pid_t job = fork();
  if (job == 0) {
    setpgid(0, 0);
    tcsetpgrp(terminal, getpid());
    signal(SIGTTOU, SIG_DFL);
    for (int fd = 0; fd < 3; fd++) dup2(terminal, fd);
    if (chdir(test_dir()) == 0) execv(argv[0], argv);
    _exit(99);
  }
  for (;;) {
    int status;
    char word[2] = "S";
    if (waitpid(job, &status, WUNTRACED) != job) _exit(98);
    if (!WIFSTOPPED(status)) {
      char end[2] = {'E', (char)(WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status))};
      (void)!write(say, end, 2);
      _exit(0);
    }
    tcsetpgrp(terminal, getpid());
    if (WSTOPSIG(status) != SIGTSTP) word[0] = '?';
    if (write(say, word, 1) != 1 || read(hear, word, 1) != 1) _exit(97);
    tcsetpgrp(terminal, job);
    kill(-job, SIGCONT);
  }
}

static struct shell start_shell(const char *script) {
  struct shell shell;
  char name[64], text[512];
  int to[2], from[2];
  char *argv[] = {(char *)(uintptr_t)command_path(), "run", "db.lock", "sh", "-c", text, NULL};
  snprintf(text, sizeof text, "%s", script);
  shell.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ck_assert(shell.master >= 0 && grantpt(shell.master) == 0 && unlockpt(shell.master) == 0);
  ck_assert_int_eq(ptsname_r(shell.master, name, sizeof name), 0);
  ck_assert(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
  fflush(NULL);
  shell.pid = fork();
  ck_assert_int_ge(shell.pid, 0);
  if (shell.pid == 0) {
    close(shell.master); /* so that the terminal hangs up when the test ends, however it ends */
    close(to[1]);
    close(from[0]);
    shell_main(name, to[0], from[1], argv);
  }
  close(to[0]);
  close(from[1]);
  shell.say = to[1];
  shell.hear = from[0];
  return shell;
}

static void read_until(int fd, char *text, size_t size, const char *part) {
  size_t used = 0;
  for (text[0] = '\0'; strstr(text, part) == NULL;) {
    ssize_t got = read(fd, text + used, size - 1 - used);
    ck_assert_msg(got > 0, "ended without \"%s\": %s", part, text);
    used += (size_t)got;
    text[used] = '\0';
  }
}

START_TEST(ctrl_z_stops_the_job_and_fg_continues_it) {
  char text[4096], word[2] = "";
  struct shell shell = start_shell("echo up; read line; echo \"<$line>\"; exit 5");
  read_until(shell.master, text, sizeof text, "up\r\n");
  ck_assert_int_eq(write(shell.master, "\x1a", 1), 1);
  ck_assert_int_eq(read(shell.hear, word, 1), 1);
  ck_assert_int_eq(word[0], 'S');
  command_is(1, "status", "-q", "db.lock"); /* a stopped job holds on */
  ck_assert_int_eq(write(shell.say, "f", 1), 1);
  ck_assert_int_eq(write(shell.master, "line\n", 5), 5);
  read_until(shell.master, text, sizeof text, "<line>\r\n");
  ck_assert_int_eq(read(shell.hear, word, 2), 2);
  ck_assert_int_eq(word[0], 'E');
  ck_assert_int_eq(word[1], 5);
  ck_assert_int_eq(test_wait(shell.pid), 0);
  close(shell.master);
  close(shell.say);
  close(shell.hear);
}
END_TEST

/* Somebody else sends the stop to us alone: COMMAND gets it, and we stop with it. */
START_TEST(stop_that_is_sent_to_us_stops_command_too) {
  char text[4096], word[2] = "";
  struct shell shell = start_shell("echo up; kill -TSTP $PPID; read line; exit 6");
  read_until(shell.master, text, sizeof text, "up\r\n");
  ck_assert_int_eq(read(shell.hear, word, 1), 1);
  ck_assert_int_eq(word[0], 'S');
  ck_assert_int_eq(write(shell.say, "f", 1), 1);
  ck_assert_int_eq(write(shell.master, "line\n", 5), 5);
  ck_assert_int_eq(read(shell.hear, word, 2), 2);
  ck_assert_int_eq(word[1], 6);
  ck_assert_int_eq(test_wait(shell.pid), 0);
  close(shell.master);
  close(shell.say);
  close(shell.hear);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "terminal", 30);
  tcase_add_test(tcase, waiting_is_one_line_that_is_rewritten_and_goes);
  tcase_add_test(tcase, colours_are_for_terminals_that_want_them);
  tcase_add_test(tcase, ctrl_c_reaches_command_once);
  tcase_add_test(tcase, ctrl_c_is_left_to_the_terminal);
  tcase_add_test(tcase, ctrl_c_ends_the_wait_and_clears_the_line);
  tcase_add_test(tcase, ctrl_z_stops_the_job_and_fg_continues_it);
  tcase_add_test(tcase, stop_that_is_sent_to_us_stops_command_too);
}

int main(int argc, char **argv) {
  command_find();
  return test_main(argc, argv, "command_terminal", fill);
}

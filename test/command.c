/* command.c - driving the colock command itself. See command.h. */
#define _GNU_SOURCE
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 32 };

static char tool[512];
static char last_out[65536], last_err[65536];

void command_find(void) {
  static const int used[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGTSTP, SIGCHLD};
  for (size_t i = 0; i < sizeof used / sizeof *used; i++) signal(used[i], SIG_DFL); /* make may run in the background */
  const char *given = getenv("COLOCK_TOOL"), *build = getenv("abs_top_builddir");
  if (given != NULL)
    snprintf(tool, sizeof tool, "%s", given);
  else
    snprintf(tool, sizeof tool, "%s/colock", build != NULL ? build : ".");
  if (access(tool, X_OK) != 0) {
    fprintf(stderr, "%s: %s (say where the command is by COLOCK_TOOL)\n", tool, strerror(errno));
    exit(99);
  }
}

const char *command_path(void) { return tool; }

static struct command *new_command(void) {
  struct command *command = calloc(1, sizeof *command);
  ck_assert_ptr_nonnull(command);
  command->in = command->from[1] = command->from[2] = -1;
  return command;
}

static void become(const char *const *arguments) {
  char *argv[ARGUMENTS_MAX + 2] = {tool};
  for (int i = 0; i < ARGUMENTS_MAX && arguments[i] != NULL; i++) argv[i + 1] = (char *)(uintptr_t)arguments[i];
  signal(SIGPIPE, SIG_DFL); /* the suite ignores it */
  if (chdir(test_dir()) == 0) execv(tool, argv);
  perror(tool);
  _exit(99);
}

struct command *command_start_list(const char *const *arguments) {
  struct command *command = new_command();
  int in[2], out[2], err[2];
  ck_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
  fflush(NULL);
  command->pid = fork();
  ck_assert_int_ge(command->pid, 0);
  if (command->pid == 0) {
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    become(arguments);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  command->in = in[1];
  command->from[1] = out[0];
  command->from[2] = err[0];
  return command;
}

static void gather(const char **list, const char *first, va_list more) {
  int count = 0;
  for (const char *next = first; next != NULL; next = va_arg(more, const char *)) {
    ck_assert_int_lt(count, ARGUMENTS_MAX);
    list[count++] = next;
  }
  list[count] = NULL;
}

struct command *command_start(const char *argument, ...) {
  const char *list[ARGUMENTS_MAX + 1];
  va_list more;
  va_start(more, argument);
  gather(list, argument, more);
  va_end(more);
  return command_start_list(list);
}

struct command *command_on_terminal(int columns, const char *argument, ...) {
  const char *list[ARGUMENTS_MAX + 1];
  struct command *command = new_command();
  struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
  va_list more;
  va_start(more, argument);
  gather(list, argument, more);
  va_end(more);
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ck_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 && ioctl(master, TIOCSWINSZ, &size) == 0);
  char name[64];
  ck_assert_int_eq(ptsname_r(master, name, sizeof name), 0);
  fflush(NULL);
  command->pid = fork();
  ck_assert_int_ge(command->pid, 0);
  if (command->pid == 0) {
    setsid();
    int terminal = open(name, O_RDWR); /* becomes the controlling one */
    for (int fd = 0; fd < 3; fd++) dup2(terminal, fd);
    if (terminal > 2) close(terminal);
    become(list);
  }
  command->in = command->from[1] = master;
  return command;
}

/* Reads once from whatever is ready; false when both have ended. */
static bool hear(struct command *command) {
  struct pollfd ready[2] = {{.fd = command->from[1], .events = POLLIN}, {.fd = command->from[2], .events = POLLIN}};
  if (command->from[1] < 0 && command->from[2] < 0) return false;
  while (poll(ready, 2, -1) < 0) ck_assert_int_eq(errno, EINTR);
  for (int i = 0; i < 2; i++) {
    char *text = i == 0 ? command->out : command->err;
    size_t used = strlen(text);
    if (ready[i].revents == 0) continue;
    ck_assert_uint_lt(used, sizeof command->out - 1);
    ssize_t got = read(ready[i].fd, text + used, sizeof command->out - 1 - used);
    if (got > 0) continue;
    if (got < 0 && errno == EINTR) continue;
    if (command->from[i + 1] != command->in) close(command->from[i + 1]); /* EIO: the terminal has no user left */
    command->from[i + 1] = -1;
  }
  return true;
}

void command_expect(struct command *command, int which, const char *text) {
  const char *said = which == 1 ? command->out : command->err;
  while (strstr(said, text) == NULL)
    ck_assert_msg(hear(command), "ended without \"%s\"\nout: %s\nerr: %s", text, command->out, command->err);
}

void command_send(struct command *command, const char *text) {
  ck_assert_int_eq(write(command->in, text, strlen(text)), (ssize_t)strlen(text));
}

int command_end(struct command *command) {
  bool terminal = command->in >= 0 && command->in == command->from[1];
  if (command->in >= 0 && !terminal) close(command->in);
  while (hear(command)) continue;
  if (terminal) close(command->in);
  command->in = -1;
  return test_wait(command->pid);
}

void command_free(struct command *command) { free(command); }

int command_run(const char *argument, ...) {
  const char *list[ARGUMENTS_MAX + 1];
  va_list more;
  va_start(more, argument);
  gather(list, argument, more);
  va_end(more);
  struct command *command = command_start_list(list);
  int status = command_end(command);
  memcpy(last_out, command->out, sizeof last_out);
  memcpy(last_err, command->err, sizeof last_err);
  command_free(command);
  return status;
}

const char *command_out(void) { return last_out; }
const char *command_err(void) { return last_err; }

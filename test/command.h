/* command.h - driving the colock command itself, as people and scripts do: over pipes and over a terminal.
 *
 * Every command runs in test_dir(), with the environment of the test. Nobody sleeps: who must wait for the other side
 * waits for words of it (command_expect).
 */
#ifndef COLOCK_TEST_COMMAND_H
#define COLOCK_TEST_COMMAND_H

#include "support.h"

struct command {
  pid_t pid;
  int in;                                  /* its standard input, or the terminal; -1: closed */
  int from[3];                             /* [1] its standard output, [2] its standard error, or [1] the terminal */
  char out[65536], err[65536];             /* what it has said so far */
};

/* Before test_main, which clears the environment: where the command is (COLOCK_TOOL, or the build's own). */
void command_find(void);
const char *command_path(void);

/* The arguments end with NULL; the command's own name is not among them. */
struct command *command_start(const char *argument, ...) __attribute__((sentinel));
struct command *command_start_list(const char *const *arguments);

/* The same on a terminal of its own, as leader of its session, so wide. */
struct command *command_on_terminal(int columns, const char *argument, ...) __attribute__((sentinel));

/* Reads standard output (1) or error (2) until `text` has been said; the test fails if it ends before. */
void command_expect(struct command *command, int which, const char *text);
void command_send(struct command *command, const char *text);

/* Closes its input, reads to the end of what it says, reaps it: its exit status, 256 + signal if it was killed. */
int command_end(struct command *command);
void command_free(struct command *command);

/* Starts, ends: the exit status; what it said is in command_out() and command_err() until the next of these. */
int command_run(const char *argument, ...) __attribute__((sentinel));
const char *command_out(void);
const char *command_err(void);

/* The command gave that exit status, or the test fails and shows what it said. */
#define command_is(status, ...) \
  do { \
    int is_status = command_run(__VA_ARGS__, NULL); \
    ck_assert_msg(is_status == (status), "colock %s: status %d instead of %d\nout: %s\nerr: %s", #__VA_ARGS__, \
                  is_status, (status), command_out(), command_err()); \
  } while (0)

/* `text` has `part` in it, or the test fails and shows both. */
#define command_has(text, part) ck_assert_msg(strstr((text), (part)) != NULL, "\"%s\" is not in: %s", (part), (text))

#endif

/* spec.h - a schedule as data: who takes part, what each can do, in which orders, and what must come of it.
 *
 * A file is read line by line; # begins a comment. The first word says what a line is:
 *   session NAME [KEY=VALUE]...   a process of its own that has the lock open, with these settings
 *   thread NAME OF                another thread of that session's process
 *   step NAME SESSION COMMAND     what a session can be told to do (agent.h), or what is done to it (play.h)
 *   permutation NAME              from here on, one line a step, in this order:
 *   STEP OUTCOME[, STEP OUTCOME]...
 *                                 take this step; its own outcome, then those of earlier steps that it lets go on.
 *                                 What is not named here must not get on.
 * OUTCOME: ok, ok=N (the number that the command answers), waits, stops (at its pause), ends (the process), or the
 * name of a code without COLOCK_; ETIMEDOUT(SESSION): its message names that session's process. A step that waits first
 * and ends within the same line is named twice: "bx waits, bx ETIMEDOUT(a)".
 */
#ifndef COLOCK_TEST_SPEC_H
#define COLOCK_TEST_SPEC_H

#include <stdbool.h>
#include <stddef.h>

enum {
  SPEC_SESSIONS = 10, SPEC_STEPS = 48, SPEC_PERMUTATIONS = 12, SPEC_LINES = 32, SPEC_OUTCOMES = 6,
  SPEC_NAME = 48, SPEC_TEXT = 128
};

struct spec_session {
  char name[SPEC_NAME];
  char settings[SPEC_TEXT];
  int process; /* the session whose thread this is; its own number: a process */
};

struct spec_step {
  char name[SPEC_NAME];
  int session; /* SPEC_FILE: done to the lock file */
  char command[SPEC_TEXT];
};
enum { SPEC_FILE = -1 };

enum { SPEC_WAITS = -1, SPEC_STOPS = -2, SPEC_ENDS = -3 }; /* not a code */
struct spec_outcome {
  int step;
  int result;     /* a code, or one of the above */
  bool counted;   /* number is expected too */
  long long number;
  int names;      /* session that the message names; -1: none is expected */
};

struct spec_line {
  int line;
  int count;
  struct spec_outcome outcomes[SPEC_OUTCOMES]; /* the first is the step's own */
};

struct spec_permutation {
  char name[SPEC_NAME];
  int line_count;
  struct spec_line lines[SPEC_LINES];
};

struct spec {
  char file[SPEC_TEXT]; /* its name, for messages */
  int session_count, step_count, permutation_count;
  struct spec_session sessions[SPEC_SESSIONS];
  struct spec_step steps[SPEC_STEPS];
  struct spec_permutation permutations[SPEC_PERMUTATIONS];
};

/* Reads text (changed by it). False: error says where and why, as file:line: ... */
bool spec_parse(struct spec *spec, const char *file, char *text, char *error, size_t error_size);
const char *spec_result(int result); /* "ok", "waits", "EBUSY" */

#endif

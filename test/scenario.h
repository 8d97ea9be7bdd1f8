/* scenario.h - the operations that are killed (test_die.c) or failed (test_fail.c) at each of their system calls.
 *
 * A scenario has a file, perhaps an agent that uses it too, and a victim: the process in which `operate` runs. It is
 * played once for each call.
 */
#ifndef COLOCK_TEST_SCENARIO_H
#define COLOCK_TEST_SCENARIO_H

#include "colock.h"
#include <stdbool.h>
#include <stdint.h>

struct scenario {
  const char *name;
  void (*prepare)(const char *path);  /* brings the file, and agents, to where the operation begins */
  int (*begin)(const char *path);     /* in the victim, before the operation: 0 or a code */
  int (*operate)(const char *path);   /* in the victim: a code. What it got stays in the victim */
  bool no_tmpfile;                    /* as on a file system that lacks O_TMPFILE */
  bool ends_hold;                     /* the operation ends lock or hold, even when it fails */
  bool inherits;                      /* may leave the hold inheritable: its lock then goes with the descriptor */
};

extern const struct scenario scenarios[];
extern const int scenario_count;

int scenario_begin(const struct scenario *scenario, const char *path); /* its begin */
bool scenario_untouched(void);        /* lock and hold are those of scenario_begin: outputs were left alone */
void scenario_clean(void);            /* in the victim, if it lives: release and close what it has */
void scenario_end_others(void);       /* the agents' holds go */

/* A process that comes after the victim: open, take the exclusive lock, give it back. Fails the test if that does not
 * work. Returns how long it took, in ms; *abandoned is what the hold said. */
int64_t scenario_successor(const char *path, bool *abandoned);

#endif

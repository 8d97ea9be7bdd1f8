/* command.c - locks of other languages: a process of an interpreter for each party, told through a pipe what to do.
 *
 * A line for each order, a line back when it is done. "x", "s": lock, exclusive or shared. "u": unlock. "x 100": so
 * many pairs; back comes how many ns they took, which is without pipe and start. First comes "ready", or what is
 * missing. */
#define _GNU_SOURCE
#include "peer.h"
#include "measure.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct pipes {
  FILE *orders, *answers;
};

enum { LINE = 128 };

/* An interpreter that does not exist is one that answers nothing. */
static struct pipes *start(const char *interpreter, const char *script, const char *library, pid_t *child) {
  char path[4096];
  int orders[2], answers[2];
  struct pipes *pipes = malloc(sizeof *pipes);
  snprintf(path, sizeof path, "%s/%s", getenv("BENCH_PEERS"), script);
  fflush(stdout);
  if (!pipes || pipe2(orders, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0 || (*child = fork()) < 0)
    die("pipe, fork");
  if (*child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(orders[0], 0) == 0 && dup2(answers[1], 1) == 1)
      execlp(interpreter, interpreter, path, library, THEIRS, (char *)NULL);
    _exit(127);
  }
  close(orders[0]);
  close(answers[1]);
  pipes->orders = fdopen(orders[1], "w");
  pipes->answers = fdopen(answers[0], "r");
  if (!pipes->orders || !pipes->answers)
    die("fdopen");
  return pipes;
}

static void stop(struct pipes *pipes, pid_t child) {
  fclose(pipes->orders);
  fclose(pipes->answers);
  free(pipes);
  waitpid(child, NULL, 0);
}

static bool answer(struct pipes *pipes, char line[LINE]) {
  if (!fgets(line, LINE, pipes->answers))
    return false;
  line[strcspn(line, "\n")] = '\0';
  return true;
}

static void order(struct party *party, char line[LINE], const char *order) {
  struct pipes *pipes = party->state;
  if (fprintf(pipes->orders, "%s\n", order) < 0 || fflush(pipes->orders) != 0 || !answer(pipes, line))
    die("a peer's process");
}

static void take(struct party *party, int mode) {
  char line[LINE];
  order(party, line, mode == COLOCK_EXCLUSIVE ? "x" : "s");
}

static void give(struct party *party) {
  char line[LINE];
  order(party, line, "u");
}

static int64_t pairs(struct party *party, int mode, int count) {
  char line[LINE];
  snprintf(line, sizeof line, "%c %d", mode == COLOCK_EXCLUSIVE ? 'x' : 's', count);
  order(party, line, line);
  return strtoll(line, NULL, 10);
}

static void leave(struct party *party) { stop(party->state, party->child); }

/* ---- which interpreter has it ---- */

struct library {
  const char *name, *script, *hint;
  const char *interpreters[4]; /* the first that has it is taken */
  const char *found;
  bool tried;
};

static const char *search(struct library *library) {
  if (!getenv("BENCH_PEERS"))
    return "BENCH_PEERS does not name the folder of its script";
  for (int i = 0; !library->tried && !library->found && library->interpreters[i]; i++) {
    char line[LINE] = "";
    pid_t child;
    struct pipes *pipes = start(library->interpreters[i], library->script, library->name, &child);
    if (answer(pipes, line) && strcmp(line, "ready") == 0)
      library->found = library->interpreters[i];
    stop(pipes, child);
  }
  library->tried = true;
  return library->found ? NULL : library->hint;
}

static void enter(struct party *party, struct library *library) {
  char line[LINE];
  party->state = start(library->found, library->script, library->name, &party->child);
  if (!answer(party->state, line) || strcmp(line, "ready") != 0)
    die(library->name);
}

static struct library filelock = { "filelock", "peer.py", "no Python has it (Debian: python3-filelock)",
                                   { "python3", "/usr/bin/python3" }, NULL, false };
static struct library fasteners = { "fasteners", "peer.py", "no Python has it (Debian: python3-fasteners)",
                                    { "python3", "/usr/bin/python3" }, NULL, false };
static struct library proper = { "proper-lockfile", "peer.cjs",
                                 "Node does not find it (npm install proper-lockfile, and NODE_PATH)",
                                 { "node" }, NULL, false };

static const char *filelock_missing(void) { return search(&filelock); }
static const char *fasteners_missing(void) { return search(&fasteners); }
static const char *proper_missing(void) { return search(&proper); }

static void filelock_enter(struct party *party, const struct run *run, int index) {
  (void)run;
  (void)index;
  enter(party, &filelock);
}

static void fasteners_enter(struct party *party, const struct run *run, int index) {
  (void)run;
  (void)index;
  enter(party, &fasteners);
}

static void proper_enter(struct party *party, const struct run *run, int index) {
  (void)run;
  (void)index;
  enter(party, &proper);
}

const struct contender filelock_peer = {
  .name = "Python filelock", .exclusive_only = true, .slow = true, .missing = filelock_missing, .pairs = pairs,
  .open = filelock_enter, .lock = take, .unlock = give, .close = leave
};
const struct contender fasteners_peer = {
  .name = "Python fasteners", .slow = true, .missing = fasteners_missing, .pairs = pairs,
  .open = fasteners_enter, .lock = take, .unlock = give, .close = leave
};
const struct contender proper_peer = {
  .name = "Node proper-lockfile", .exclusive_only = true, .slow = true, .missing = proper_missing, .pairs = pairs,
  .open = proper_enter, .lock = take, .unlock = give, .close = leave
};

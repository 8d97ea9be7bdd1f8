/* child.c - COMMAND: the signals it is started with, those it is sent, and how it ends.
 *
 * From tool_signals_hold on, every signal that we pass on stays blocked here and is taken by sigwaitinfo, so that there
 * is no handler and no race. What the terminal's driver sends reaches COMMAND without us, because it is in our process
 * group: passing that on as well would deliver it twice. We stop when COMMAND stops, so that the shell sees a stopped
 * job.
 */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const int passed_on[] = {SIGHUP,  SIGINT,  SIGQUIT,   SIGTERM, SIGUSR1,  SIGUSR2, SIGALRM, SIGVTALRM,
                                SIGPROF, SIGPOLL, SIGWINCH, SIGCONT, SIGTSTP, SIGPWR};
static const int ends_wait[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
enum { PASSED_ON = sizeof passed_on / sizeof *passed_on, ENDS_WAIT = sizeof ends_wait / sizeof *ends_wait };

static sigset_t first_mask; /* constant after tool_signals_begin */
static struct sigaction first_pipe, first_child;
static colock *_Atomic waits; /* what a signal cancels */
static volatile sig_atomic_t caught;

void tool_signals_begin(void) {
  struct sigaction ignore = {.sa_handler = SIG_IGN}, plain = {.sa_handler = SIG_DFL};
  sigemptyset(&ignore.sa_mask);
  sigemptyset(&plain.sa_mask);
  sigprocmask(SIG_SETMASK, NULL, &first_mask);
  sigaction(SIGPIPE, &ignore, &first_pipe);
  sigaction(SIGCHLD, &plain, &first_child); /* inherited as ignored it would take COMMAND's exit status from us */
}

static void on_signal(int number) {
  int kept = errno;
  caught = number;
  if (waits != NULL)
    colock_cancel(waits, 1);
  errno = kept;
}

static bool ignored(int number) {
  struct sigaction now;
  return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

void tool_signals_wait(colock *lock) {
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  waits = lock;
  for (size_t i = 0; i < ENDS_WAIT; i++)
    if (!ignored(ends_wait[i])) /* as under nohup */
      sigaction(ends_wait[i], &action, NULL);
}

static void set_of_passed_on(sigset_t *set) {
  sigemptyset(set);
  sigaddset(set, SIGCHLD);
  for (size_t i = 0; i < PASSED_ON; i++)
    if (!ignored(passed_on[i]))
      sigaddset(set, passed_on[i]);
}

int tool_signals_hold(void) {
  sigset_t set;
  set_of_passed_on(&set);
  sigprocmask(SIG_BLOCK, &set, NULL);
  waits = NULL;
  return caught;
}

/* In the child: be as colock was started, then be COMMAND. Handlers become defaults by themselves at exec, but one that
 * ran before it would swallow a signal that was meant for COMMAND. */
static void become(char *const *argv) {
  struct sigaction plain = {.sa_handler = SIG_DFL};
  sigemptyset(&plain.sa_mask);
  for (size_t i = 0; i < ENDS_WAIT; i++)
    if (!ignored(ends_wait[i]))
      sigaction(ends_wait[i], &plain, NULL);
  sigaction(SIGPIPE, &first_pipe, NULL);
  sigaction(SIGCHLD, &first_child, NULL);
  sigprocmask(SIG_SETMASK, &first_mask, NULL);
  execvp(argv[0], argv);
  int error = errno;
  char *name = tool_escaped(argv[0]);
  tool_tell("%s: %s", name, error == ENOENT ? "command not found" : strerror(error));
  _exit(error == ENOENT ? TOOL_NOT_FOUND : TOOL_CANNOT_RUN);
}

/* Did COMMAND get this one from the terminal already? A hangup is sent to the session's leader alone. */
static bool from_terminal(const siginfo_t *info) {
  if (info->si_code != SI_KERNEL)
    return false;
  switch (info->si_signo) {
  case SIGINT:
  case SIGQUIT:
  case SIGTSTP:
  case SIGWINCH:
  case SIGCONT: return true;
  case SIGHUP: return getsid(0) != getpid();
  default: return false;
  }
}

/* COMMAND was stopped by the terminal: stop as well, until somebody continues us. Only if it is in our job: a shell
 * keeps jobs of its own. An orphaned process group is not stopped by the kernel, nor then are we. */
static void stop_too(pid_t child, int number) {
  sigset_t one, before;
  if ((number != SIGTSTP && number != SIGTTIN && number != SIGTTOU) || getpgid(child) != getpgrp())
    return;
  sigemptyset(&one);
  sigaddset(&one, number);
  raise(number); /* pending while blocked; acts on the next line */
  sigprocmask(SIG_UNBLOCK, &one, &before);
  sigprocmask(SIG_SETMASK, &before, NULL);
}

/* True once COMMAND has ended. */
static bool ended(pid_t child, int *status) {
  int now;
  pid_t got;
  while ((got = waitpid(child, &now, WNOHANG | WUNTRACED)) != 0) {
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) { /* cannot be: it is ours and SIGCHLD is not ignored */
      *status = TOOL_SYSTEM << 8;
      return true;
    }
    if (!WIFSTOPPED(now)) {
      *status = now;
      return true;
    }
    stop_too(child, WSTOPSIG(now));
  }
  return false;
}

int tool_command_run(char *const *argv, int *status) {
  sigset_t set;
  siginfo_t info;
  set_of_passed_on(&set);
  pid_t child = fork();
  if (child < 0) {
    tool_tell("cannot start %s: %s", argv[0], strerror(errno));
    return TOOL_SYSTEM;
  }
  if (child == 0)
    become(argv);
  while (!ended(child, status))
    if (sigwaitinfo(&set, &info) > 0 && info.si_signo != SIGCHLD && !from_terminal(&info))
      kill(child, info.si_signo);
  return TOOL_OK;
}

/* agent.h - a second process that a test drives by commands: it opens, acquires, dies, one line for one line.
 *
 * An agent is this same program, executed anew, so that it shares nothing with the test but two pipes. A command that
 * waits (acquire) is sent with agent_send; the test then looks at the lock file from outside to see that it waits, and
 * takes the answer when it expects it. Agents that a test leaves behind are killed by its fixture.
 *
 * Commands, with arguments in one word each (bytes that are no plain letters as %XX):
 *   open PATH [KEY=VALUE]...    open_for PATH     close     use N (the lock that commands mean; open uses its new one)
 *   acquire s|x MS [priority=N] [purpose=TEXT] [deadline=MS] [interruptible]      try s|x
 *   release H   check H   renew H   inherit H 0|1   detach H   token H   abandoned H   recovered H
 *   upgrade H MS   downgrade H   contended H   yield H MS
 *   idle (colock_release_idle)   kept PATH (how many locks are kept is the number)   where (of the struct colock)
 *   force PATH REASON    report PATH    cancel 0|1 (SIGUSR1 is cancel 1, also while it waits; SIGUSR2 only interrupts)
 *   fork COMMAND (answered by a child that ends then)   fork_live (a child that does nothing; its pid is the number)
 *   exec (a child that executes another program; its pid is the number)   environment NAME VALUE
 *   nobody (gives up its privileges)   exit CODE   abort
 *   thread (see agent_thread)   leave (the thread ends, what it holds stays held)
 */
#ifndef COLOCK_TEST_AGENT_H
#define COLOCK_TEST_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AGENT_ARGUMENT "--agent"
#define AGENT_PAUSE "AGENT_PAUSE" /* in its environment: the descriptor for pause_install */
#define AGENT_LINE 8192

struct agent {
  pid_t pid; /* 0 after its end */
  pid_t tid; /* the same, or that of agent_thread */
  int to, from;
  bool asked; /* an answer is due */
  struct pause_page *page; /* for pause_arm; threads have their process's */
  /* the last answer */
  int code;         /* COLOCK_ code, or AGENT_MISUSE */
  int hold;         /* its number, of acquire and try */
  uint64_t token, last_token;
  int abandoned;
  /* acquire, try, upgrade, downgrade, yield: generation; report: entries; fork_live, exec: pid; thread: tid; abandoned,
   * contended: the answer */
  long long number;
  char text[AGENT_LINE]; /* the message of a failure; report: ROLE:MODE:PID:PRIORITY:LABEL:PURPOSE; of each entry */
};

enum { AGENT_MISUSE = 1000 };

struct agent *agent_start(void);
struct agent *agent_open(const char *path); /* start, and open that lock */
/* Another thread of that process, an agent of its own, which begins with the lock that commands to the first mean. Has
 * its own holds. */
struct agent *agent_thread(struct agent *first);
void agent_send(struct agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool agent_answered(struct agent *agent);   /* an answer is there; does not wait */
int agent_answer(struct agent *agent);      /* waits 30 s at most, then fails the test; returns the code */
int agent_call(struct agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));
void agent_kill(struct agent *agent);       /* SIGKILL, and reap; its threads too */
int agent_wait(struct agent *agent);        /* until it ends by itself: exit status, 256 + signal */
void agent_end_all(void);
const char *agent_word(const char *text);   /* text as one word of a command; good for the next 7 calls */

int agent_main(int from, int to);

#endif

/* agent.h - a second process that a test drives by commands: it opens, acquires, dies, one line for one line.
 *
 * An agent is this same program, executed anew, so that it shares nothing with the test but two pipes. A command that
 * waits (acquire) is sent with agent_send; the test then looks at the lock file from outside to see that it waits, and
 * takes the answer when it expects it. Agents that a test leaves behind are killed by its fixture.
 *
 * Commands, with arguments in one word each (bytes that are no plain letters as %XX):
 *   open PATH [KEY=VALUE]...    open_for PATH     close     use N (the lock that commands mean; open uses its new one)
 *   acquire s|x MS [priority=N] [purpose=TEXT] [interruptible]      try s|x
 *   release H   check H   renew H   inherit H 0|1   detach H   token H   abandoned H   recovered H
 *   force PATH REASON    report PATH    cancel 0|1 (SIGUSR1 is cancel 1, also while it waits; SIGUSR2 only interrupts)
 *   fork COMMAND (answered by a child that ends then)   fork_live (a child that does nothing; its pid is the number)
 *   exec (a child that executes another program; its pid is the number)   environment NAME VALUE
 *   nobody (gives up its privileges)   exit CODE   abort
 */
#ifndef COLOCK_TEST_AGENT_H
#define COLOCK_TEST_AGENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define AGENT_ARGUMENT "--agent"
#define AGENT_LINE 8192

struct agent {
  pid_t pid; /* 0 after its end */
  int to, from;
  bool asked; /* an answer is due */
  /* the last answer */
  int code;         /* COLOCK_ code, or AGENT_MISUSE */
  int hold;         /* its number, of acquire and try */
  uint64_t token, last_token;
  int abandoned;
  long long number; /* report: entries; fork_live, exec: pid; abandoned: the answer */
  char text[AGENT_LINE]; /* the message of a failure; report: ROLE:MODE:PID:PRIORITY:LABEL:PURPOSE; of each entry */
};

enum { AGENT_MISUSE = 1000 };

struct agent *agent_start(void);
struct agent *agent_open(const char *path); /* start, and open that lock */
void agent_send(struct agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool agent_answered(struct agent *agent);   /* an answer is there; does not wait */
int agent_answer(struct agent *agent);      /* waits 30 s at most, then fails the test; returns the code */
int agent_call(struct agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));
void agent_kill(struct agent *agent);       /* SIGKILL, and reap */
int agent_wait(struct agent *agent);        /* until it ends by itself: exit status, 256 + signal */
void agent_end_all(void);
const char *agent_word(const char *text);   /* text as one word of a command; good for the next 7 calls */

int agent_main(int from, int to);

#endif

/* trace.h - stops a thread of an agent where no system call is: at a store into the lock file, or among what its opened
 * lock keeps (lib/lock.h).
 *
 * The thread is made to go one machine instruction at a time (ptrace), and after each the watched words are looked at.
 * To stop *before* a store, the instruction that made it is undone: registers and word are put back as they were. So
 * everybody else has to be asleep at that moment, as it is between the steps of a schedule. Clearing much memory
 * takes long that way: a thread that is stopped at a call near by (pause.h) can be traced from there.
 */
#ifndef COLOCK_TEST_TRACE_H
#define COLOCK_TEST_TRACE_H

#include "layout.h"
#include <stdbool.h>
#include <sys/types.h>

enum { TRACE_QUEUE = 16 }; /* ranks and bells of so many slots are watched */

struct trace {
  pid_t tid; /* 0: nothing is traced */
  bool before, there;
  int word;
  long left;
  unsigned char *map; /* the lock file */
  int memory;         /* of the agent; where its struct colock lies in it, 0: unknown */
  uint64_t lock;
  uint64_t seen[TRACE_QUEUE];
  size_t registers_size;
  unsigned char registers[1024];
};

/* rank bell flag turn phase recall fence writer generation; of its lock: cell attention look */
bool trace_knows(const char *word);
bool trace_allowed(void);           /* can a process be traced here? */
/* From now on; the thread, of that process, is asleep in a system call. map (header, queue and bells) and lock are set.
 */
void trace_begin(struct trace *trace, pid_t pid, pid_t tid, bool before, const char *word, long n);
/* Let it go on as far as it gets; true: it is at the point. */
bool trace_run(struct trace *trace);
void trace_end(struct trace *trace); /* runs on freely */

#endif

/* contender.h - who is compared: colock, and the bare system calls that a program would use without it.
 *
 * On the bare side each process has an open file description with a byte of its own locked, as each seat of colock has:
 * the kernel walks as many locks on both sides. */
#ifndef COLOCK_CONTENDER_H
#define COLOCK_CONTENDER_H

#include "bench.h"
#include <stdint.h>
#include <sys/types.h>

#define LANE 0x50000000
#define SLOT 0x40010000

struct party { /* one process's access to the lock */
  colock *lock;
  colock_hold *hold;
  int fd;
  void *state;
  pid_t child; /* that does it for us; 0: none */
};

struct contender {
  const char *name;
  bool exclusive_only;
  bool slow; /* each party is a process of its own, of an interpreter: not by the hundred */
  const char *remark; /* or NULL: how it is not the same thing */
  const char *(*missing)(void);            /* or NULL. Why it cannot be measured here; NULL: it can */
  void (*prepare)(const struct run *run);  /* or NULL. Before it is opened first, in a directory without its files */
  int64_t (*pairs)(struct party *party, int mode, int count); /* or NULL. ns of so many, where it is not we who lock */
  void (*open)(struct party *party, const struct run *run, int index); /* in the process that is to use it */
  void (*lock)(struct party *party, int mode);                         /* COLOCK_SHARED, COLOCK_EXCLUSIVE; waits */
  void (*unlock)(struct party *party);
  void (*close)(struct party *party);
};

extern const struct contender colock_contender;
extern const struct contender kept_contender;     /* with auto_release */
extern const struct contender least_contender;    /* a futex beside F_OFD_SETLK, and nothing else (least.c) */
extern const struct contender waiting_contender;  /* F_OFD_SETLKW */
extern const struct contender spinning_contender; /* F_OFD_SETLK until it succeeds */

#define BESIDE_WAITING  "bare F_OFD_SETLKW, as many locked bytes"
#define BESIDE_SPINNING "bare F_OFD_SETLK in a loop, as many locked bytes"

/* All files are new when they are opened next. Calls nothing that a signal handler may not. */
void fresh_files(void);
/* fresh_files, and those of theirs made if they have to be. */
void fresh_files_for(const struct run *run, const struct contender *theirs);
/* So many times lock and unlock: ns. */
int64_t pairs_of(const struct contender *contender, struct party *party, int mode, int count);
/* From now on what is opened with run->config keeps its locks after their release, for idle_timeout; or does not. */
void keep_locks(const struct run *run, bool on, const char *idle_timeout);
/* One bare record lock, non-blocking, which must succeed. */
void bare_lock(int fd, short type, off_t start);
/* Ours and theirs do the same so many times, in turns; one line is printed. */
typedef void (*turn_work)(void *arg, int repeats);
void take_turns(struct run *run, struct figure figure, turn_work ours, turn_work theirs, void *arg, int rounds,
                int repeats);
/* An open file description of THEIRS with the byte SLOT + index locked. */
int bare_open(int index);

#endif

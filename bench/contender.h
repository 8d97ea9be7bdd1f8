/* contender.h - who is compared: colock, and the bare system calls that a program would use without it.
 *
 * On the bare side each process has an open file description with a byte of its own locked, as each seat of colock has:
 * the kernel walks as many locks on both sides. */
#ifndef COLOCK_CONTENDER_H
#define COLOCK_CONTENDER_H

#include "bench.h"
#include <sys/types.h>

#define LANE 0x50000000
#define SLOT 0x40010000

struct party { /* one process's access to the lock */
  colock *lock;
  colock_hold *hold;
  int fd;
};

struct contender {
  const char *name;
  void (*open)(struct party *party, const struct run *run, int index); /* in the process that is to use it */
  void (*lock)(struct party *party, int mode);                         /* COLOCK_SHARED, COLOCK_EXCLUSIVE; waits */
  void (*unlock)(struct party *party);
  void (*close)(struct party *party);
};

extern const struct contender colock_contender;
extern const struct contender waiting_contender;  /* F_OFD_SETLKW */
extern const struct contender spinning_contender; /* F_OFD_SETLK until it succeeds */

#define BESIDE_WAITING  "bare F_OFD_SETLKW, as many locked bytes"
#define BESIDE_SPINNING "bare F_OFD_SETLK in a loop, as many locked bytes"

/* Both files are new when they are opened next. */
void fresh_files(void);
/* One bare record lock, non-blocking, which must succeed. */
void bare_lock(int fd, short type, off_t start);
/* An open file description of THEIRS with the byte SLOT + index locked. */
int bare_open(int index);

#endif

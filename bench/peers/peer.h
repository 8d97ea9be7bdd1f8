/* peer.h - what others offer, each behind the face of contender.h.
 *
 * What configure has not found, and what is not there at run time, is named as missing. */
#ifndef COLOCK_PEER_H
#define COLOCK_PEER_H

#include "contender.h"

extern const struct contender *const peers[]; /* colock with auto_release comes first */
extern const int peer_count;
enum { MOST_PEERS = 32 };

extern const struct contender classic_peer, flock_peer, lockf_peer, file_peer; /* kernel.c */
extern const struct contender mutex_peer, rwlock_peer;                         /* memory.c */
extern const struct contender boost_peer, lmdb_peer, sqlite_peer, tdb_peer;    /* a file each */
extern const struct contender filelock_peer, fasteners_peer, proper_peer;      /* command.c */

/* Is it there, and does it have that mode? */
bool can(const struct contender *peer, int mode);

/* The benches, in the order of the list. alone.c: */
void compare_alone(struct run *run);
void compare_cached(struct run *run);
void compare_readers(struct run *run);
void compare_command(struct run *run);
/* wait.c: */
void compare_handover(struct run *run);
void compare_crash(struct run *run);
/* crowd.c: */
void compare_starvation(struct run *run);
void compare_throughput(struct run *run);
/* cost.c: */
void compare_idle(struct run *run);
void compare_memory(struct run *run);

#endif

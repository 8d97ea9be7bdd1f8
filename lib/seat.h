/* seat.h - a seat: one open file description plus one slot. A public hold is a seat that is in use.
 *
 * Discipline: a seat belongs to one lock and, between take and put, to one caller. What it holds (activity) lives here,
 * in private memory; the slot only mirrors it. A seat of the parent is dead in a forked child: it is freed there,
 * nothing else.
 */
#ifndef COLOCKP_SEAT_H
#define COLOCKP_SEAT_H

#include "colock.h"
#include "region.h"
#include <time.h>

struct colockp_cell;

struct colock_hold {
  struct colockp_fd file;            /* carries SLOT and LANE; fd -1: a hold of a lock that is not enabled */
  struct colockp_region *region;     /* a reference of its own; NULL: not enabled */
  struct colockp_slot *slot;         /* NULL: reader-only, or not enabled */
  struct colockp_queue_entry *entry; /* NULL as slot */
  uint32_t number;                   /* of the slot */
  uint32_t forks;                    /* colockp_fork_count at the claim */
  bool broken;                       /* its descriptor failed: never pooled */
  bool lost;                         /* its file has lost its name: never pooled */
  struct timespec changed;           /* ctime at the last look at the name */
  struct colockp_activity activity;  /* the truth; the slot's is a copy */

  colock *lock;
  _Atomic uint64_t thread;           /* whose blocking acquire got it; 0: none, or detached */
  uint64_t last_token;
  uint64_t abandoned;                /* the abandoned word as seen at the grant */
  uint32_t counted;                  /* the generation for which it is among the region's lanes; 0: it is not */
  struct colockp_cell *cell;         /* reserved for it since it was kept first; NULL: none */
  int64_t lane_since_ns;             /* monotonic: when LANE was got */
  int64_t wall_ahead_ns;             /* CLOCK_REALTIME - CLOCK_MONOTONIC, then */
  int64_t mode_since_ns;             /* monotonic: since when it is in use in this mode, for statistics */
  struct colockp_fd events;          /* colock_hold_fd's; -1: none */
  int event_fd;                      /* the same for the helper; under the lock's mutex, as: */
  bool told;                         /* it is readable */
  int ended;                         /* why a yield did not get it back: nothing is held any more; 0: held */
  struct colock_hold *next, *previous; /* of the pool or the list of those in use. Under the lock's mutex */
};

/* A new seat: descriptor, SLOT byte, identity. ELOST: the name leads to another file by now. EMFILE ENOMEM ENOSPC
 * ENOLOCKS ETIMEDOUT ESYSTEM as the steps fail. */
int colockp_seat_claim(struct colockp_region *region, const char *label, int64_t deadline_ns,
                       struct colock_hold **seat);
/* Gives the slot back and frees the seat. Its LANE must be unlocked, or be left to inherited copies on purpose. */
void colockp_seat_free(struct colock_hold *seat);

/* Close and open the descriptor of a seat without a slot. As colockp_seat_claim. */
int colockp_seat_reopen(struct colock_hold *seat);

/* Mirror activity into the slot; purpose NULL: none. */
void colockp_seat_show(struct colock_hold *seat, const char *purpose);
/* Mirror activity, and leave the purpose as it is. */
void colockp_seat_show_activity(struct colock_hold *seat);
/* Mirror only the words that change when a hold ends or is renewed. */
void colockp_seat_show_state(struct colock_hold *seat);

/* 0: the seat's file still has its name. ELOST, ESYSTEM. One fstat, and a look at the name only if the ctime has
 * changed. */
int colockp_seat_look(struct colock_hold *seat);

#endif

/* wait.h - waiting in line: from the publication of a rank to a hold, or to a reason why not.
 *
 * Callers say what a try is (`attempt`: LANE, or its conversion) and show the wait in their slot; the queue, sleeping,
 * notices, cancelling, the dead and the stopped are here. A lock without a map (reader-only) is in no queue: it keeps a
 * key of its own, tries only while no writer stands before that, and polls.
 */
#ifndef COLOCKP_WAIT_H
#define COLOCKP_WAIT_H

#include "alarm.h"
#include "lock.h"
#include "stuck.h"

/* Ends one wait from another thread: set `on`, then ring. */
struct colockp_cancel {
  _Atomic uint32_t on;
  colockp_alarms alarms;
};

struct colockp_wait {
  colock *lock;
  colock_hold *seat;
  const colock_request *request; /* whose on_wait, flags, deadline */
  struct colockp_cancel *cancel; /* or NULL */
  int mode;
  int (*attempt)(colock_hold *seat, int mode); /* 0; EBUSY: not free; else what ends the wait */
  int64_t timeout_ns;
  int64_t start_ns, deadline_ns, now_ns; /* start 0: the clock has not been read yet */
  uint64_t key;                          /* COLOCKP_KEY_UPGRADE, or the wait's own */
  bool last;                             /* behind all who wait now, whatever the priorities */
  int64_t grace_ns;                      /* for those ahead who do not move */
  /* the wait's own */
  struct colockp_ahead ahead;
  struct colockp_stuck stuck;
  struct colockp_alarm *alarm, *cancel_alarm;
  bool watching, rung;
  int failed;             /* tries in this turn to which we were called, and somebody was faster */
  int64_t turn_ns;        /* that turn's end */
  int64_t spin_ns;        /* until then sleeping is not worth it */
  int64_t check_ns;       /* when to look after the others again; 0: not yet */
  int64_t notice_ns;      /* when on_wait is due; INT64_MAX: never */
  int64_t notice_step_ns; /* 0: not begun */
  int64_t judge_ns;       /* when to look for a stale holder; INT64_MAX: never */
};

/* timeout_ms of a request or an argument, in ns. EINVAL. */
int colockp_wait_timeout(const colock *lock, int64_t timeout_ms, int64_t *timeout_ns);
/* Read the clock and fix the deadline: once, so that an acquire that neither waits nor starts over reads none. */
void colockp_wait_clock(struct colockp_wait *wait);
/* How long is left. */
int64_t colockp_wait_left_ns(struct colockp_wait *wait);

/* Wait in line. 0: what attempt got. ETIMEDOUT, or EBUSY if the timeout is 0; ECANCELED EINTR; ELOST: the file was
 * replaced; ENOMEM; what attempt ended with. The seat has left the queue, and whom that lets go is rung. */
int colockp_wait_for(struct colockp_wait *wait);

/* For who does not wait: is the lock free, and only those in line are in the way? Then they get a moment to take it. As
 * colockp_wait_for. */
int colockp_wait_moment(struct colockp_wait *wait);

#endif

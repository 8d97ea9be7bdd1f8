/* alarm.h - ending waits from anywhere, a signal handler too: which bells the waiters of one lock sleep on.
 *
 * Discipline: the list only grows, by CAS at its head, and is freed with its lock, so that it can be walked with no
 * lock held. An alarm is free, armed by one waiter, or being rung; who arms it may unmap its bell only after it is
 * disarmed.
 */
#ifndef COLOCKP_ALARM_H
#define COLOCKP_ALARM_H

#include <stdatomic.h>
#include <stdint.h>

struct colockp_alarm {
  struct colockp_alarm *next; /* constant once in the list */
  _Atomic int state;
  _Atomic uint32_t *bell;     /* while armed */
};
typedef _Atomic(struct colockp_alarm *) colockp_alarms;

/* A free alarm, or a new one, for that bell. NULL: no memory. */
struct colockp_alarm *colockp_alarm_arm(colockp_alarms *alarms, _Atomic uint32_t *bell);
void colockp_alarm_disarm(struct colockp_alarm *alarm);
/* Ring every armed bell. Async-signal-safe. */
void colockp_alarm_ring(colockp_alarms *alarms);
void colockp_alarm_free_all(colockp_alarms *alarms);

#endif

/* alarm.c - see alarm.h. */
#include "alarm.h"
#include "layout.h"
#include "system.h"

#include <stddef.h>
#include <time.h>

enum { FREE, ARMED, RINGING };

struct colockp_alarm *colockp_alarm_arm(colockp_alarms *alarms, _Atomic uint32_t *bell) {
  for (struct colockp_alarm *alarm = atomic_load(alarms); alarm; alarm = alarm->next) {
    int free = FREE;
    /* By way of RINGING: nobody may ring before the bell is the new one. */
    if (!atomic_compare_exchange_strong(&alarm->state, &free, RINGING))
      continue;
    alarm->bell = bell;
    atomic_store(&alarm->state, ARMED);
    return alarm;
  }
  struct colockp_alarm *alarm = colockp_system.malloc(sizeof *alarm);
  if (!alarm)
    return NULL;
  alarm->bell = bell;
  atomic_init(&alarm->state, ARMED);
  alarm->next = atomic_load(alarms);
  while (!atomic_compare_exchange_weak(alarms, &alarm->next, alarm))
    ;
  return alarm;
}

void colockp_alarm_disarm(struct colockp_alarm *alarm) {
  const struct timespec moment = { .tv_nsec = 50000 };
  uint32_t nobody = 0;
  int armed = ARMED;
  while (!atomic_compare_exchange_strong(&alarm->state, &armed, FREE)) { /* somebody rings it at this moment */
    armed = ARMED;
    colockp_system.futex_wait(&nobody, 0, &moment);
  }
}

void colockp_alarm_ring(colockp_alarms *alarms) {
  for (struct colockp_alarm *alarm = atomic_load(alarms); alarm; alarm = alarm->next) {
    int armed = ARMED;
    if (!atomic_compare_exchange_strong(&alarm->state, &armed, RINGING))
      continue; /* free, or somebody else rings it now, for the same reason */
    atomic_fetch_or(alarm->bell, COLOCKP_BELL_RUNG);
    colockp_system.futex_wake((uint32_t *)alarm->bell, 1);
    atomic_store(&alarm->state, ARMED);
  }
}

void colockp_alarm_free_all(colockp_alarms *alarms) {
  struct colockp_alarm *alarm = atomic_load(alarms);
  while (alarm) {
    struct colockp_alarm *next = alarm->next;
    colockp_system.free(alarm);
    alarm = next;
  }
  atomic_store(alarms, NULL);
}

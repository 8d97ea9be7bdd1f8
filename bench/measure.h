/* measure.h - clock and quantiles; processes that start together and talk through shared memory. */
#ifndef COLOCK_MEASURE_H
#define COLOCK_MEASURE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define US  INT64_C(1000)
#define MS  INT64_C(1000000)
#define SEC INT64_C(1000000000)

_Noreturn void die(const char *what); /* with errno */
void check(int code);                 /* of a colock call */

int64_t now_ns(void); /* CLOCK_MONOTONIC: one for all processes */
void pause_ns(int64_t ns);
double quantile(double *values, size_t count, double q); /* sorts; count 0: NAN */

void *shared_new(size_t size); /* zeroed; what forked children have in common */
void shared_free(void *memory, size_t size);

/* A number that only grows, and that others sleep on. */
struct event {
  _Atomic uint32_t value;
};
void event_set(struct event *event, uint32_t value);
void event_await(struct event *event, uint32_t value); /* until it is there */

/* Forked processes. Each gets ready, waits in team_meet for all the others, works and ends. They end with us, too. */
struct team {
  int count;
  pid_t *processes;
  struct meeting *meeting; /* shared */
};
typedef void (*team_work)(struct team *team, int index, void *arg);
void team_start(struct team *team, int count, team_work work, void *arg);
void team_meet(struct team *team);        /* in a member */
void team_ready(struct team *team);       /* wait until all are */
void team_go(struct team *team);          /* let them go, when all are ready */
void team_end(struct team *team);         /* when all have ended */
void team_kill(struct team *team);
int64_t team_cpu_ns(const struct team *team); /* that it has used so far, all threads */

#endif

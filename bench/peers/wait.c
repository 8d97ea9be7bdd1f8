/* wait.c - how soon the waiter runs when the holder lets go, and when it is killed. */
#define _GNU_SOURCE
#include "peer.h"
#include "measure.h"
#include "scenario.h"

#include <stdio.h>
#include <unistd.h>

void compare_handover(struct run *run) {
  static struct series median, worst;
  begin_section(run, "hand-over, median", "each of these");
  for (int i = 0; i < peer_count; i++) {
    const struct contender *peer = peers[i];
    if (!can(peer, COLOCK_EXCLUSIVE))
      continue;
    median.count = worst.count = run->quick || peer->slow ? 1 : 3;
    measure_handover(run, &colock_contender, peer, 0, peer->slow ? 20 : 50, &median, &worst);
    print_series(run, &median, (struct figure){ .name = peer->name, .unit = "us" });
  }
}

/* ---- death ---- */

enum { MOST_DEATHS = 9 };
#define WAITED_NS (20 * MS)
#define LIMIT_NS  (2 * SEC)

struct place {
  const struct run *run;
  const struct contender *contender;
  struct event held, done; /* once each */
  _Atomic int64_t running;
};

static void hold(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  (void)team;
  place->contender->open(&party, place->run, index);
  place->contender->lock(&party, COLOCK_EXCLUSIVE);
  event_set(&place->held, 1);
  for (;;)
    pause();
}

static void await(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party party;
  place->contender->open(&party, place->run, index + 1);
  team_meet(team);
  place->contender->lock(&party, COLOCK_EXCLUSIVE);
  place->running = now_ns();
  event_set(&place->done, 1);
}

/* ms; LIMIT_NS, if it has not come by then. */
static double one_death(const struct run *run, const struct contender *contender) {
  struct place *place = shared_new(sizeof *place);
  struct team holder, waiter;
  fresh_files_for(run, contender);
  place->run = run;
  place->contender = contender;
  team_start(&waiter, 1, await, place); /* first: not all can be opened while somebody holds */
  team_ready(&waiter);
  team_start(&holder, 1, hold, place);
  event_await(&place->held, 1);
  team_go(&waiter);
  pause_ns(WAITED_NS);
  int64_t killed = now_ns();
  team_kill(&holder);
  while (place->done.value == 0 && now_ns() < killed + LIMIT_NS)
    pause_ns(MS);
  int64_t end = place->done.value ? place->running : killed + LIMIT_NS;
  team_kill(&waiter);
  shared_free(place, sizeof *place);
  return (double)(end - killed) / 1e6;
}

static double death(const struct run *run, const struct contender *contender) {
  double delays[MOST_DEATHS];
  size_t count = 0, most = run->quick ? 3 : MOST_DEATHS;
  while (count < most) {
    delays[count++] = one_death(run, contender);
    if (delays[count - 1] >= (double)LIMIT_NS / 1e6)
      break; /* it will not be better next time */
  }
  return quantile(delays, count, 0.5);
}

void compare_crash(struct run *run) {
  begin_section(run, "from the holder's death to the waiter's run, median", "each of these");
  double ours = death(run, &colock_contender);
  for (int i = 0; i < peer_count; i++)
    if (can(peers[i], COLOCK_EXCLUSIVE)) {
      double theirs = death(run, peers[i]);
      bool never = theirs >= (double)LIMIT_NS / 1e6;
      print_figure(run, (struct figure){ .name = peers[i]->name, .unit = "ms", .ours = ours, .theirs = theirs,
                                         .theirs_at_least = never,
                                         .remark = never ? "does not notice, or much later" : NULL });
    }
}

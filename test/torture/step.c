/* step.c - from a seed to decisions. Nothing here looks at anything but its arguments. */
#include "torture.h"

#define LONG_MS 30000 /* a timeout that never comes */

const struct plan plans[] = {
    {.name = "orderly"},
    {.name = "hasty", .hasty = true},
    {.name = "impatient", .cancels = true, .signals = true},
    {.name = "kept", .keeps = true},
    {.name = "killed", .kills = true},
    {.name = "mortal", .kills = true, .stops = true},
    {.name = "forced", .forces = true, .cancels = true, .signals = true},
    {.name = "all", .kills = true, .stops = true, .forces = true, .cancels = true, .signals = true},
    {.name = "lies", .lies = true},
};
const unsigned plan_count = sizeof plans / sizeof plans[0];

uint64_t random_next(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static unsigned below(uint64_t *state, unsigned limit) { return (unsigned)(random_next(state) % limit); }

/* Mostly nothing, seldom long: short ones are where the races are. */
static int64_t some_us(const struct plan *plan, uint64_t *state) {
  unsigned kind = below(state, 32), amount = below(state, 1000);
  if (plan->hasty) return kind < 30 ? 0 : amount / 20;
  return kind < 20 ? 0 : kind < 28 ? amount / 20 : kind < 31 ? amount : amount * 4;
}

static enum wait_kind some_wait(uint64_t *state) {
  static const enum wait_kind kinds[] = {WAIT_TRY,     WAIT_SHORT,   WAIT_SHORT,   WAIT_DEADLINE, WAIT_LONG,
                                         WAIT_FOREVER, WAIT_FOREVER, WAIT_FOREVER, WAIT_FOREVER,  WAIT_FOREVER};
  return kinds[below(state, sizeof kinds / sizeof kinds[0])];
}

static int64_t some_ms(enum wait_kind wait, uint64_t *state) {
  unsigned amount = below(state, 6);
  return wait == WAIT_LONG ? LONG_MS : 1 + amount;
}

/* Mostly the same, so that order can be seen to be kept; a few that want to be before or behind. */
static int some_priority(uint64_t *state) {
  unsigned kind = below(state, 16), amount = below(state, 201);
  return kind < 12 ? 0 : kind < 15 ? (int)(amount % 3) - 1 : (int)amount - 100;
}

static enum extra_kind some_extra(const struct plan *plan, uint64_t *state) {
  unsigned kind = below(state, 1024);
  if (kind < 3) return plan->kills ? EXTRA_DIE_INSIDE : EXTRA_NONE;
  if (kind < 13) return plan->forces ? EXTRA_FORCE : EXTRA_NONE;
  if (kind < 33) return plan->cancels ? EXTRA_CANCEL : EXTRA_NONE;
  return EXTRA_NONE;
}

static enum jolt_kind some_jolt(const struct plan *plan, uint64_t *state) {
  unsigned kind = below(state, 1024);
  if (kind < 4) return plan->kills ? JOLT_DIE : JOLT_NONE;
  if (kind < 12) return plan->stops ? JOLT_STOP : JOLT_NONE;
  return JOLT_NONE;
}

struct step step_decide(const struct plan *plan, uint64_t seed, uint64_t stream, uint64_t number) {
  uint64_t state = seed;
  state = random_next(&state) ^ stream;
  state = random_next(&state) ^ number;
  struct step step = {.mode = below(&state, 5) < 2 ? COLOCK_EXCLUSIVE : COLOCK_SHARED};
  step.priority = some_priority(&state);
  step.handle = (int)below(&state, HANDLES);
  step.wait = some_wait(&state);
  step.wait_ms = some_ms(step.wait, &state);
  step.interruptible = below(&state, 4) == 0;
  step.stop_by_on_wait = below(&state, 16) == 0;
  step.inside = (enum inside_kind)(below(&state, 3) ? INSIDE_NOTHING : below(&state, INSIDE_RENEW + 1));
  step.inside_wait = some_wait(&state);
  if (step.inside_wait == WAIT_DEADLINE) step.inside_wait = WAIT_SHORT; /* upgrade and yield have none */
  step.inside_wait_ms = some_ms(step.inside_wait, &state);
  step.jolt = some_jolt(plan, &state);
  step.jolt_after = 1 + below(&state, 12);
  step.extra = some_extra(plan, &state);
  step.hold_us = some_us(plan, &state);
  step.pause_us = some_us(plan, &state);
  step.shake = random_next(&state);
  step.idles = plan->keeps && below(&state, 32) == 0;
  return step;
}

void step_print(FILE *out, const struct step *s) {
  fprintf(out, "%d %d %d %d %lld %d%d ", s->mode, s->priority, s->handle, (int)s->wait, (long long)s->wait_ms,
          s->interruptible, s->stop_by_on_wait);
  fprintf(out, "%d %d %lld ", (int)s->inside, (int)s->inside_wait, (long long)s->inside_wait_ms);
  fprintf(out, "%d+%u %d %lld %lld %llx %d\n", (int)s->jolt, s->jolt_after, (int)s->extra, (long long)s->hold_us,
          (long long)s->pause_us, (unsigned long long)s->shake, s->idles);
}

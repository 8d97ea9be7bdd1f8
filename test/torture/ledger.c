/* ledger.c - what actors see of each other, compared while they run.
 *
 * Overlap. An actor stores what it is before it looks at the others, on its way in; on its way out it looks, and clears
 * its word before it gives the lock back. Two that are inside together therefore see each other. Holds of different
 * generations do not exclude each other; words of a process that is doomed do not count, it may be dead. An incarnation
 * is doomed for ever, and stands in the word.
 *
 * Tokens. Whoever is found whole *after* a number was noted or read is before every holder of a later generation, and
 * nobody of its own generation can have come between. So only then are numbers noted or judged.
 *
 * Order. Who was in the queue before somebody else so much as asked has to be served before him, unless that one stands
 * before him by priority, or by a reader's 64 places, or came while newcomers might (the head's first ms, or the first
 * one of what his process keeps), or he has been passed over. The mark of that goes when he runs again, so a few
 * undeserved ones in one wait are possible on a crowded machine: OVERTAKEN_MAX. Where order is not kept, there are
 * hundreds.
 */
#define _GNU_SOURCE
#include "cache.h"
#include "queue.h"
#include "torture.h"
#include <stdlib.h>
#include <string.h>

#define OVERTAKEN_MAX 8

static void raise_to(_Atomic uint64_t *word, uint64_t value) {
  uint64_t now = atomic_load(word);
  while (now < value && !atomic_compare_exchange_weak(word, &now, value)) continue;
}

bool ledger_doomed(int process, uint64_t incarnation) { return incarnation <= torture->doomed[process]; }

static bool excludes(uint64_t mine, uint64_t other) {
  const uint64_t generation = ((UINT64_C(1) << 32) - 1) << 2;
  return other != 0 && (other & generation) == (mine & generation) &&
         ((mine & 3) == COLOCK_EXCLUSIVE || (other & 3) == COLOCK_EXCLUSIVE);
}

void ledger_look(const struct actor *actor) {
  uint64_t mine = actor->inside;
  for (int p = 0; p < torture->processes; p++) {
    for (int t = 0; t < torture->threads; t++) {
      const struct actor *a = &torture->actors[p][t];
      uint64_t other = a->inside;
      if (a == actor || !excludes(mine, other) || ledger_doomed(p, other >> 40)) continue;
      failure("overlap: actor %d.%d is inside in mode %d beside actor %d.%d in mode %d, both of generation %u",
              actor->process, actor->thread, (int)(mine & 3), p, t, (int)(other & 3), (unsigned)(mine >> 2));
    }
  }
}

void ledger_before(struct before *before, const struct colockp_region *region) {
  before->at_ns = now_ns();
  before->dead_token = torture->dead_token;
  before->top_token = torture->top_token;
  before->ticket = atomic_load(&region->header->ticket);
}

/* ---- order ---- */

void ledger_queued(struct actor *actor, uint64_t rank, uint32_t slot) {
  actor->slot = slot;
  actor->queued_ns = now_ns();
  actor->overtaken = 0;
  actor->queued = rank;
}

void ledger_left(struct actor *actor) {
  if (actor->queued == 0) return;
  unsigned overtaken = actor->overtaken, worst = torture->worst;
  actor->queued = 0;
  while (worst < overtaken && !atomic_compare_exchange_weak(&torture->worst, &worst, overtaken)) continue;
  int64_t waited = now_ns() - actor->queued_ns, longest = torture->longest_ns;
  while (longest < waited && !atomic_compare_exchange_weak(&torture->longest_ns, &longest, waited)) continue;
  count(COUNT_WAITED);
}

/* Could somebody who asked at `before` stand ahead of that rank by right? */
static bool stands_before(const struct before *before, int mode, int priority, uint64_t rank) {
  int64_t places = (int64_t)priority * COLOCKP_PRIORITY_PLACES + (mode == COLOCK_SHARED ? COLOCKP_PRIORITY_PLACES : 0);
  int64_t mine = (int64_t)(COLOCKP_KEY_BASE + before->ticket) - places;
  return mine < (int64_t)(rank >> COLOCKP_RANK_KEY_SHIFT);
}

/* At the beginning of a turn, or with what its process has had for a short time only. */
static bool might_barge(const struct before *before, bool slept, const colock_hold *hold) {
  bool kept = hold->lane_since_ns < before->at_ns && before->at_ns < hold->lane_since_ns + COLOCKP_MINIMUM_NS;
  return !slept && (kept || before->at_ns < atomic_load(&hold->region->header->turn) + COLOCKP_TURN_NS);
}

void ledger_overtakes(const struct actor *actor, const struct before *before, int mode, int priority, bool slept,
                      const colock_hold *hold) {
  for (int p = 0; p < torture->processes; p++) {
    for (int t = 0; t < torture->threads; t++) {
      struct actor *a = &torture->actors[p][t];
      uint64_t rank = a->queued;
      if (a == actor || rank == 0 || a->queued_ns >= before->at_ns) continue;
      if (mode == COLOCK_SHARED && !(rank & COLOCKP_RANK_EXCLUSIVE)) continue;
      if (stands_before(before, mode, priority, rank) || might_barge(before, slept, hold)) continue;
      if (atomic_load(&hold->region->queue[a->slot].rank) != rank || a->queued != rank) continue;
      if (ledger_doomed(p, torture->incarnation[p]) || ++a->overtaken <= OVERTAKEN_MAX) continue;
      failure("overtaken: actor %d.%d has waited for %lld ms and been overtaken %u times without right, last by actor "
              "%d.%d, which asked %lld ms ago and %s", p, t, (long long)((now_ns() - a->queued_ns) / 1000000),
              (unsigned)a->overtaken, actor->process, actor->thread, (long long)((now_ns() - before->at_ns) / 1000000),
              slept ? "queued" : "did not queue");
    }
  }
}

/* ---- tokens and the dead ---- */

static void exclusive_tokens(colock_hold *hold, uint64_t top_token, uint64_t top_last) {
  uint64_t token = colock_token(hold), last = colock_last_token(hold);
  if (token <= top_token) failure("token %llu after %llu", (unsigned long long)token, (unsigned long long)top_token);
  if (token <= top_last)
    failure("token %llu, and somebody was told before that the last is %llu", (unsigned long long)token,
            (unsigned long long)top_last);
  if (last >= token) failure("token %llu, and last_token %llu", (unsigned long long)token, (unsigned long long)last);
}

/* Whoever holds in an earlier generation, revoked or not, has a lower token: else the successor is refused. */
static void tokens_of_generations(uint64_t token, uint64_t generation) {
  raise_to(&torture->tokens[generation % GENERATIONS].highest, token);
  uint64_t lowest = torture->tokens[generation % GENERATIONS].lowest;
  while ((lowest == 0 || lowest > token) &&
         !atomic_compare_exchange_weak(&torture->tokens[generation % GENERATIONS].lowest, &lowest, token)) continue;
  for (uint64_t distance = 1; distance <= 8 && distance < generation; distance++) {
    uint64_t before = torture->tokens[(generation - distance) % GENERATIONS].highest;
    uint64_t after = torture->tokens[(generation + distance) % GENERATIONS].lowest;
    if (before > token || (after != 0 && after < token))
      failure("token %llu of generation %llu, and another generation has %llu", (unsigned long long)token,
              (unsigned long long)generation, (unsigned long long)(before > token ? before : after));
  }
}

static void look_at_tokens(colock_hold *hold, int mode, const struct before *before) {
  uint64_t top_token = torture->top_token, top_last = torture->top_last, last = colock_last_token(hold);
  if (mode == COLOCK_SHARED && colock_token(hold) != 0) failure("a shared hold has a token");
  if (last < before->top_token)
    failure("last_token %llu, and %llu had been handed out before the request", (unsigned long long)last,
            (unsigned long long)before->top_token);
  if (colock_check(hold) != COLOCK_OK) return;
  if (last < top_token)
    failure("last_token %llu, and %llu has been handed out", (unsigned long long)last, (unsigned long long)top_token);
  if (mode == COLOCK_EXCLUSIVE) exclusive_tokens(hold, top_token, top_last);
  raise_to(&torture->top_last, last);
  if (mode == COLOCK_EXCLUSIVE) raise_to(&torture->top_token, colock_token(hold));
}

static void look_at_the_dead(colock_hold *hold, int mode, const struct before *before) {
  bool abandoned = colock_abandoned(hold) != 0;
  if (abandoned) {
    count(COUNT_ABANDONED);
    if (!torture->plan->kills && !torture->plan->forces) failure("abandoned, and nobody died or was forced out");
  } else if (before->dead_token > torture->recovered) {
    failure("the exclusive holder of token %llu died, nobody said recovered, and this hold is not told",
            (unsigned long long)before->dead_token);
  }
  if (!abandoned || mode != COLOCK_EXCLUSIVE) return;
  raise_to(&torture->recovered, colock_token(hold));
  int code = colock_recovered(hold);
  if (code != COLOCK_OK && !(code == COLOCK_EREVOKED && torture->plan->forces))
    failure("recovered: code %d, %s", code, colock_last_message());
}

static uint64_t generation_of(const colock_hold *hold) {
  char id[64] = "";
  colock_hold_id(hold, id, sizeof id);
  const char *last = strrchr(id, ':');
  return last != NULL ? strtoull(last + 1, NULL, 10) : 0;
}

void ledger_enter(struct actor *actor, colock_hold *hold, int mode, const struct before *before) {
  uint64_t incarnation = torture->incarnation[actor->process];
  uint64_t generation = generation_of(hold);
  actor->token = colock_token(hold);
  actor->inside = incarnation << 40 | generation << 2 | (unsigned)mode;
  ledger_look(actor);
  if (mode == COLOCK_EXCLUSIVE) tokens_of_generations(actor->token, generation);
  look_at_tokens(hold, mode, before);
  look_at_the_dead(hold, mode, before);
  count(mode == COLOCK_EXCLUSIVE ? COUNT_EXCLUSIVE : COUNT_SHARED);
}

/* Nobody can have written beside a shared hold, if it is whole to its end. */
void ledger_leave(struct actor *actor, colock_hold *hold) {
  uint64_t top_token = torture->top_token;
  ledger_look(actor);
  if (colock_token(hold) == 0 && top_token > colock_last_token(hold) && colock_check(hold) == COLOCK_OK)
    failure("token %llu was handed out beside a shared hold, whose last_token is %llu", (unsigned long long)top_token,
            (unsigned long long)colock_last_token(hold));
  actor->inside = 0;
}

void ledger_bury(int process) {
  for (int t = 0; t < torture->threads; t++) {
    struct actor *a = &torture->actors[process][t];
    if ((a->inside & 3) == COLOCK_EXCLUSIVE) raise_to(&torture->dead_token, a->token);
    a->inside = 0;
    a->queued = 0;
    a->must_end_ns = INT64_MAX;
    a->tid = 0;
  }
}

/* top_rates.c - what numbers that only grow say of the time between two looks. It knows neither files nor terminals. */
#include "top.h"

#include <string.h>

/* Since the last look; a number that has become smaller was reset in between. */
static double grown(int64_t before, int64_t now) { return (double)(now >= before ? now - before : now); }

static bool was_reset(const struct top_sample *before, const struct top_sample *now) {
  return now->acquisitions < before->acquisitions || now->waits < before->waits || now->failures < before->failures;
}

/* Of those who asked for the lock in that time, how many had to wait; who still waits has asked. */
static double share_of_waiting(const struct top_sample *before, const struct top_sample *now) {
  double waited = grown(before->waits, now->waits) + (double)now->waiting;
  double asked = grown(before->acquisitions, now->acquisitions) + grown(before->failures, now->failures) +
                 (double)now->waiting;
  if (waited <= 0)
    return 0;
  return waited < asked ? waited / asked : 1;
}

static void remember(struct top_rates *rates, double share) {
  if (rates->count == TOP_HISTORY)
    memmove(rates->history, rates->history + 1, sizeof rates->history - sizeof *rates->history);
  else
    rates->count++;
  rates->history[rates->count - 1] = share;
}

void top_rates_step(struct top_rates *rates, const struct top_sample *now) {
  static const struct top_sample nothing;
  const struct top_sample *before = rates->begun ? &rates->last : &nothing;
  int64_t ms = rates->begun ? now->at_ms - before->at_ms : now->age_ms;
  if (rates->begun && ms < TOP_LEAST_MS) /* too short to tell anything */
    return;
  if (was_reset(before, now) && now->age_ms < ms)
    ms = now->age_ms;
  double seconds = ms > 0 ? (double)ms / 1000 : 0.001;
  rates->acquisitions = grown(before->acquisitions, now->acquisitions) / seconds;
  rates->waits = grown(before->waits, now->waits) / seconds;
  rates->share = share_of_waiting(before, now);
  rates->average = !rates->begun;
  if (rates->begun)
    remember(rates, rates->share);
  rates->begun = true;
  rates->last = *now;
}

void top_rates_forget(struct top_rates *rates) { *rates = (struct top_rates){.average = true}; }

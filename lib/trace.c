/* trace.c - see trace.h. None of this runs unless somebody wants to know, or where time is no matter. */
#include "trace.h"
#include "clock.h"

#include <stdio.h>

#define MS(ns) ((long long)((ns) / 1000000))

static const char *mode_of(int mode) { return mode == COLOCK_EXCLUSIVE ? "exclusive" : "shared"; }
static const char *yes(bool is) { return is ? "yes" : "no"; }

/* Who waited for long is worth a line that is read; else one for who looks for something. */
static int level_of(const colock *lock, int64_t waited_ns) {
  return waited_ns >= lock->settings.notify_after_ns ? COLOCKP_INFO : COLOCKP_DEBUG;
}

static const char *token_of(const colock_hold *hold, char *text, size_t size) {
  text[0] = '\0';
  if (hold->activity.token)
    snprintf(text, size, " token=%llu", (unsigned long long)hold->activity.token);
  return text;
}

void colockp_tell_granted(const colock_hold *hold, const char *event, int64_t waited_ns, bool cached) {
  const colock *lock = hold->lock;
  char token[32];
  colockp_log(lock->settings.verbosity, level_of(lock, waited_ns), lock->path, event,
              "mode=%s waited_ms=%lld cached=%s%s", mode_of((int)hold->activity.mode), MS(waited_ns), yes(cached),
              token_of(hold, token, sizeof token));
}

static const char *name_of(int code) {
  switch (code) {
  case COLOCK_EBUSY: return "busy";
  case COLOCK_ETIMEDOUT: return "timeout";
  case COLOCK_ECANCELED: return "canceled";
  case COLOCK_EINTR: return "interrupted";
  case COLOCK_EDEADLK: return "deadlock";
  default: return "failed";
  }
}

int colockp_trace_failed(const colock *lock, int mode, int64_t waited_ns, int code) {
  char message[COLOCKP_QUOTED];
  COLOCKP_PROBE4(acquire__timeout, lock->path, mode, waited_ns, code);
  if (colockp_tells(lock, COLOCKP_INFO))
    colockp_log(lock->settings.verbosity, level_of(lock, waited_ns), lock->path, name_of(code),
                "mode=%s waited_ms=%lld code=%d message=%s", mode_of(mode), MS(waited_ns), code,
                colockp_quote(message, sizeof message, colock_last_message()));
  return code;
}

void colockp_trace_waiting(const colock *lock, int mode, int64_t waited_ns, const char *who) {
  char message[COLOCKP_QUOTED];
  if (colockp_tells(lock, COLOCKP_INFO))
    colockp_log(lock->settings.verbosity, COLOCKP_INFO, lock->path, "waiting", "mode=%s waited_ms=%lld message=%s",
                mode_of(mode), MS(waited_ns), colockp_quote(message, sizeof message, who));
}

void colockp_tell_released(const colock *lock, int mode, int64_t held_ns, bool kept) {
  colockp_log(lock->settings.verbosity, COLOCKP_DEBUG, lock->path, "released", "mode=%s held_ms=%lld kept=%s",
              mode_of(mode), MS(held_ns), yes(kept));
}

/* Of what was only kept nobody had anything in hand, unless a suspend would have put it in order. */
void colockp_tell_broken(const colock_hold *hold, bool kept, int64_t held_ns, int code) {
  const colock *lock = hold->lock;
  bool revoked = code == COLOCK_EREVOKED;
  char token[32];
  if (!kept)
    COLOCKP_PROBE4(release, lock->path, (int)hold->activity.mode, held_ns, kept);
  if (kept && !lock->suspend)
    return;
  colockp_log(lock->settings.verbosity, COLOCKP_WARNING, lock->path, revoked ? "revoked" : "lost",
              "mode=%s held_ms=%lld kept=%s%s message=\"%s\"", mode_of((int)hold->activity.mode), MS(held_ns),
              yes(kept), token_of(hold, token, sizeof token),
              revoked ? "it was forced from us, and others may have it"
                      : "its file was deleted, renamed or replaced, and others meet on another");
}

void colockp_trace_downgraded(const colock_hold *hold) {
  const colock *lock = hold->lock;
  colockp_log(lock->settings.verbosity, COLOCKP_DEBUG, lock->path, "downgraded", "mode=shared");
}

void colockp_trace_suspend(const colock_hold *hold) {
  COLOCKP_PROBE2(suspend__begin, hold->lock->path, (int)hold->activity.mode);
}

void colockp_trace_suspended(const colock_hold *hold, int value) {
  const colock *lock = hold->lock;
  const struct colockp_activity *activity = &hold->activity;
  int64_t took_ns = colockp_now_ns() - activity->renewed_ns;
  COLOCKP_PROBE2(suspend__end, lock->path, value);
  if (value == 0)
    colockp_log(lock->settings.verbosity, level_of(lock, took_ns), lock->path, "suspended", "mode=%s took_ms=%lld",
                mode_of((int)activity->mode), MS(took_ns));
  else
    colockp_log(lock->settings.verbosity, COLOCKP_ERROR, lock->path, "suspend_failed",
                "mode=%s took_ms=%lld value=%d message=\"suspend failed (%d)%s\"", mode_of((int)activity->mode),
                MS(took_ns), value, value, activity->token ? ": the lock leaves as if its holder had died" : "");
}

void colockp_tell_recalled(const colock_hold *seat, int64_t unused_ns) {
  const colock *lock = seat->lock;
  colockp_log(lock->settings.verbosity, COLOCKP_INFO, lock->path, "recalled", "mode=%s unused_ms=%lld",
              mode_of((int)seat->activity.mode), MS(unused_ns));
}

void colockp_trace_reap(const struct colockp_region *region, uint32_t slot, bool held) {
  COLOCKP_PROBE2(reap, region->path, slot);
  colockp_log(region->verbosity, COLOCKP_INFO, region->path, "reaped",
              "slot=%u message=\"%s\"", (unsigned)slot, held ? "a reader died holding" : "a waiter died in line");
}

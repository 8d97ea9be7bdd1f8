/* prometheus.c - statistics in the text format that Prometheus reads, one family of samples after another.
 *
 * A histogram has one bucket an octave, always the same ones, used or not: a series that comes and goes is of no use.
 * A bound belongs to the next bucket, by a nanosecond; nobody can tell.
 */
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NS = 1000000000 };

static const char *const modes[] = {"shared", "exclusive"};
enum { MODES = 2 };

/* The path as messages show it, escaped again as the format wants it: path="db.lock" */
static void put_path(FILE *to, const char *path) {
  char *escaped = tool_escaped(path);
  fputs("path=\"", to);
  for (const char *at = escaped; *at != '\0'; at++) {
    if (*at == '\\' || *at == '"')
      fputc('\\', to);
    fputc(*at, to);
  }
  fputc('"', to);
  free(escaped);
}

static void put_family(FILE *to, const char *name, const char *type, const char *help) {
  fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* name{path="db.lock",mode="shared"} ; the value follows. mode NULL: without */
static void put_labels(FILE *to, const char *name, const char *path, const char *mode) {
  fprintf(to, "%s{", name);
  put_path(to, path);
  if (mode != NULL)
    fprintf(to, ",mode=\"%s\"", mode);
  fputs("} ", to);
}

/* In seconds, exactly, as short as can be. */
static void put_seconds(FILE *to, int64_t ns) {
  char fraction[16];
  int length = snprintf(fraction, sizeof fraction, "%09" PRId64, ns % NS);
  while (length > 0 && fraction[length - 1] == '0')
    fraction[--length] = '\0';
  fprintf(to, "%" PRId64 "%s%s", ns / NS, length > 0 ? "." : "", fraction);
}

/* ---- counters ---- */

static const struct {
  const char *name, *help;
  const char *numbers[MODES]; /* by mode; one alone: of no mode */
} counters[] = {
  {"colock_acquisitions_total", "How often the lock was got.", {"acquisitions_shared", "acquisitions_exclusive"}},
  {"colock_cached_acquisitions_total", "How often of these by a process that had kept the lock.",
   {"cached_shared", "cached_exclusive"}},
  {"colock_deaths_total", "Owners that died holding.", {"deaths_shared", "deaths_exclusive"}},
  {"colock_busy_total", "Tries that did not get the lock.", {"busy"}},
  {"colock_timeouts_total", "Requests that ended because their time was over.", {"timeouts"}},
  {"colock_cancels_total", "Requests that were cancelled.", {"cancels"}},
  {"colock_deadlocks_total", "Requests that were refused because they would have waited for themselves.",
   {"deadlocks"}},
  {"colock_upgrades_total", "Shared holds that were made exclusive.", {"upgrades"}},
  {"colock_downgrades_total", "Exclusive holds that were made shared.", {"downgrades"}},
  {"colock_recalls_total", "Kept locks that were let go because somebody waited.", {"recalls"}},
  {"colock_forced_unlocks_total", "Times that the lock was taken away from its holders.", {"forced_unlocks"}},
};

static void put_counters(FILE *to, const struct tool_measured *locks, size_t count) {
  for (size_t f = 0; f < sizeof counters / sizeof *counters; f++) {
    put_family(to, counters[f].name, "counter", counters[f].help);
    bool by_mode = counters[f].numbers[1] != NULL;
    for (size_t i = 0; i < count; i++)
      for (int mode = 0; locks[i].stats != NULL && mode < (by_mode ? MODES : 1); mode++) {
        put_labels(to, counters[f].name, locks[i].path, by_mode ? modes[mode] : NULL);
        fprintf(to, "%" PRId64 "\n", colock_stats_number(locks[i].stats, counters[f].numbers[mode]));
      }
  }
}

/* ---- histograms ---- */

static void put_bucket(FILE *to, const char *name, const char *path, const char *mode, int64_t bound_ns,
                       uint64_t below) {
  fprintf(to, "%s_bucket{", name);
  put_path(to, path);
  fprintf(to, ",mode=\"%s\",le=\"", mode);
  if (bound_ns == INT64_MAX)
    fputs("+Inf", to);
  else
    put_seconds(to, bound_ns);
  fprintf(to, "\"} %" PRIu64 "\n", below);
}

static void put_histogram(FILE *to, const char *name, const char *kind, const struct tool_measured *lock,
                          const char *mode) {
  char text[64];
  int64_t bound, last_ns = 0;
  uint64_t count, below = 0;
  snprintf(text, sizeof text, "%s_%s", kind, mode);
  for (size_t i = 0; (bound = colock_stats_bucket(lock->stats, text, i, &count)) >= 0; i++) {
    below += count;
    if (bound < 2 * last_ns)
      continue;
    put_bucket(to, name, lock->path, mode, bound, below);
    last_ns = bound;
  }
  snprintf(text, sizeof text, "%s_%s_sum_ns", kind, mode);
  int64_t sum_ns = colock_stats_number(lock->stats, text);
  snprintf(text, sizeof text, "%s_sum", name);
  put_labels(to, text, lock->path, mode);
  put_seconds(to, sum_ns);
  snprintf(text, sizeof text, "%s_count", name);
  fputc('\n', to);
  put_labels(to, text, lock->path, mode);
  fprintf(to, "%" PRIu64 "\n", below);
}

static void put_histograms(FILE *to, const struct tool_measured *locks, size_t count) {
  static const struct { const char *name, *kind, *help; } families[] = {
    {"colock_wait_seconds", "wait", "Times in line, however they ended."},
    {"colock_hold_seconds", "hold", "Times from grant to release."},
  };
  for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
    put_family(to, families[f].name, "histogram", families[f].help);
    for (size_t i = 0; i < count; i++)
      for (int mode = 0; locks[i].stats != NULL && mode < MODES; mode++)
        put_histogram(to, families[f].name, families[f].kind, &locks[i], modes[mode]);
  }
}

/* ---- gauges: the lock as it is now ---- */

struct now { /* by mode, where there is a mode */
  int64_t holders[MODES], kept[MODES], waiters[MODES], revoked, stale, abandoned, oldest_hold_ms, oldest_wait_ms;
};

static void look(const colock_report *report, struct now *now) {
  const colock_entry *entry;
  *now = (struct now){.abandoned = colock_report_stat(report, "abandoned") > 0};
  for (size_t i = 0; (entry = colock_report_entry(report, i)) != NULL; i++) {
    int64_t role = colock_entry_number(entry, COLOCK_ROLE), age_ms = colock_entry_number(entry, COLOCK_AGE_MS);
    int mode = colock_entry_number(entry, COLOCK_MODE) == COLOCK_EXCLUSIVE;
    bool holds = role == COLOCK_HOLDER || role == COLOCK_ANONYMOUS;
    int64_t *oldest_ms = holds ? &now->oldest_hold_ms : role == COLOCK_WAITER ? &now->oldest_wait_ms : NULL;
    now->holders[mode] += holds;
    now->kept[mode] += role == COLOCK_CACHED;
    now->waiters[mode] += role == COLOCK_WAITER;
    now->revoked += role == COLOCK_REVOKED;
    now->stale += colock_entry_number(entry, COLOCK_STALE) > 0;
    if (oldest_ms != NULL && age_ms > *oldest_ms)
      *oldest_ms = age_ms;
  }
}

enum unit { COUNT, BY_MODE, AGE };

static void put_gauge(FILE *to, const char *name, enum unit unit, const char *path, const int64_t *value) {
  for (int mode = 0; mode < (unit == BY_MODE ? MODES : 1); mode++) {
    put_labels(to, name, path, unit == BY_MODE ? modes[mode] : NULL);
    if (unit == AGE)
      put_seconds(to, value[0] * (NS / 1000));
    else
      fprintf(to, "%" PRId64, value[mode]);
    fputc('\n', to);
  }
}

static void put_gauges(FILE *to, const struct tool_measured *locks, size_t count) {
  static const struct { const char *name; size_t at; enum unit unit; const char *help; } gauges[] = {
    {"colock_holders", offsetof(struct now, holders), BY_MODE, "Who holds the lock now."},
    {"colock_cached_holders", offsetof(struct now, kept), BY_MODE, "Who keeps the lock unused now."},
    {"colock_waiters", offsetof(struct now, waiters), BY_MODE, "Who waits for the lock now."},
    {"colock_revoked_holders", offsetof(struct now, revoked), COUNT, "Who was forced out and still runs."},
    {"colock_stale_holders", offsetof(struct now, stale), COUNT,
     "Who has held for longer than its own limit without a sign of life."},
    {"colock_abandoned", offsetof(struct now, abandoned), COUNT,
     "1: an exclusive holder died or was forced out, and nobody has repaired the data since."},
    {"colock_oldest_holder_age_seconds", offsetof(struct now, oldest_hold_ms), AGE,
     "How long the lock has been held by who holds it longest; 0: nobody does."},
    {"colock_oldest_waiter_age_seconds", offsetof(struct now, oldest_wait_ms), AGE,
     "How long who waits longest has waited; 0: nobody does."},
  };
  for (size_t f = 0; f < sizeof gauges / sizeof *gauges; f++) {
    put_family(to, gauges[f].name, "gauge", gauges[f].help);
    for (size_t i = 0; i < count; i++) {
      struct now now;
      if (locks[i].report == NULL)
        continue;
      look(locks[i].report, &now);
      put_gauge(to, gauges[f].name, gauges[f].unit, locks[i].path,
                (const int64_t *)(const void *)((const char *)&now + gauges[f].at));
    }
  }
}

static void put_up(FILE *to, const struct tool_measured *locks, size_t count) {
  put_family(to, "colock_up", "gauge", "1: the lock file could be read; 0: it could not, so it has no other sample.");
  for (size_t i = 0; i < count; i++) {
    put_labels(to, "colock_up", locks[i].path, NULL);
    fprintf(to, "%d\n", locks[i].stats != NULL && locks[i].report != NULL);
  }
}

void tool_put_prometheus(FILE *to, const struct tool_measured *locks, size_t count) {
  put_up(to, locks, count);
  put_gauges(to, locks, count);
  put_counters(to, locks, count);
  put_histograms(to, locks, count);
}

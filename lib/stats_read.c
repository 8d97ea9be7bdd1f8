/* stats_read.c - statistics for who asks from outside: numbers by name, buckets, JSON. */
#include "clock.h"
#include "error.h"
#include "json.h"
#include "report.h"
#include "system.h"
#include "totals.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS INT64_C(1000000)

struct colock_stats {
  struct colockp_totals totals;
  int64_t wall_ns; /* when it was read */
  char *json;      /* NULL until asked for */
  char path[];
};

static const char *const times_names[COLOCKP_TIMES] = {"hold_shared", "hold_exclusive", "wait_shared",
                                                       "wait_exclusive"};
/* Sums of what is counted. */
static const struct {
  const char *name;
  unsigned first, second; /* the same one twice: that alone */
} counts[] = {
  {"acquisitions_shared", COLOCKP_N_GRANTS, COLOCKP_N_HITS},
  {"acquisitions_exclusive", COLOCKP_N_GRANTS + 1, COLOCKP_N_HITS + 1},
  {"cached_shared", COLOCKP_N_HITS, COLOCKP_N_HITS},
  {"cached_exclusive", COLOCKP_N_HITS + 1, COLOCKP_N_HITS + 1},
  {"busy", COLOCKP_N_BUSY, COLOCKP_N_BUSY},
  {"timeouts", COLOCKP_N_TIMEOUTS, COLOCKP_N_TIMEOUTS},
  {"cancels", COLOCKP_N_CANCELS, COLOCKP_N_CANCELS},
  {"deadlocks", COLOCKP_N_DEADLOCKS, COLOCKP_N_DEADLOCKS},
  {"upgrades", COLOCKP_N_UPGRADES, COLOCKP_N_UPGRADES},
  {"downgrades", COLOCKP_N_DOWNGRADES, COLOCKP_N_DOWNGRADES},
  {"recalls", COLOCKP_N_RECALLS, COLOCKP_N_RECALLS},
  {"deaths_shared", COLOCKP_N_DEATHS, COLOCKP_N_DEATHS},
  {"deaths_exclusive", COLOCKP_N_DEATHS + 1, COLOCKP_N_DEATHS + 1},
  {"forced_unlocks", COLOCKP_N_FORCED, COLOCKP_N_FORCED},
};
#define COUNTS (sizeof counts / sizeof *counts)

/* ---- reading ---- */

static int read_file(colock_stats *stats) {
  char escaped[COLOCKP_ESCAPED_PATH];
  struct colockp_fd file = {.fd = -1};
  colockp_escape(escaped, sizeof escaped, stats->path);
  int code = colockp_report_open(&file, stats->path, escaped);
  if (code == COLOCK_OK)
    code = colockp_totals_read(&stats->totals, file.fd, escaped);
  if (file.fd >= 0)
    colockp_fd_close(&file);
  stats->wall_ns = colockp_wall_ns();
  return code;
}

int colock_stats_read(const char *path, colock_stats **stats) {
  colockp_fork_count();
  if (!path || !stats)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_stats_read: path and stats are needed");
  size_t size = strlen(path) + 1;
  colock_stats *made = colockp_system.malloc(sizeof *made + size);
  if (!made)
    return colockp_fail(COLOCK_ENOMEM, ENOMEM, "no memory for statistics");
  memset(made, 0, sizeof *made);
  memcpy(made->path, path, size);
  int code = read_file(made);
  if (code == COLOCK_OK)
    *stats = made;
  else
    colock_stats_free(made);
  return code;
}

void colock_stats_free(colock_stats *stats) {
  if (!stats)
    return;
  if (stats->json)
    colockp_system.free(stats->json);
  colockp_system.free(stats);
}

/* ---- numbers ---- */

static int64_t number_of(uint64_t value) { return value > INT64_MAX ? INT64_MAX : (int64_t)value; }

static int64_t age_ms(const colock_stats *stats, int64_t since_wall_ns) {
  return stats->wall_ns > since_wall_ns ? (stats->wall_ns - since_wall_ns) / NS_PER_MS : 0;
}

static uint64_t count_of(const colock_stats *stats, size_t i) {
  const uint64_t *words = stats->totals.counted.counts;
  return words[counts[i].first] + (counts[i].second != counts[i].first ? words[counts[i].second] : 0);
}

/* Which of the times the name begins with; *rest is what follows. COLOCKP_TIMES: none. */
static unsigned times_of(const char *name, const char **rest) {
  for (unsigned i = 0; i < COLOCKP_TIMES; i++) {
    size_t size = strlen(times_names[i]);
    if (strncmp(name, times_names[i], size) == 0 && (name[size] == '_' || name[size] == '\0')) {
      *rest = name + size;
      return i;
    }
  }
  return COLOCKP_TIMES;
}

/* Who it was that took longest; NULL: nobody, or not known. */
static const struct colockp_peak *peak_of(const colock_stats *stats, unsigned which) {
  const struct colockp_peak *peak = &stats->totals.peaks[which];
  int64_t max_ns = colockp_timed_percentile(&stats->totals.counted.times[which], peak, 100);
  return peak->ns > 0 && peak->ns == max_ns ? peak : NULL;
}

static int64_t time_number(const colock_stats *stats, unsigned which, const char *what) {
  const struct colockp_timed *timed = &stats->totals.counted.times[which];
  const struct colockp_peak *peak = peak_of(stats, which);
  static const struct { const char *name; unsigned per_cent; } points[] = {
    {"_p50_ns", 50}, {"_p90_ns", 90}, {"_p99_ns", 99}, {"_max_ns", 100}};
  if (strcmp(what, "_count") == 0)
    return number_of(colockp_timed_count(timed));
  if (strcmp(what, "_sum_ns") == 0)
    return number_of(timed->sum_ns);
  for (size_t i = 0; i < sizeof points / sizeof *points; i++)
    if (strcmp(what, points[i].name) == 0)
      return colockp_timed_percentile(timed, &stats->totals.peaks[which], points[i].per_cent);
  if (strcmp(what, "_max_age_ms") == 0)
    return peak ? age_ms(stats, peak->wall_ns) : -1;
  if (strcmp(what, "_max_pid") == 0)
    return peak ? peak->pid : -1;
  if (strcmp(what, "_max_tid") == 0)
    return peak ? peak->tid : -1;
  return -1;
}

int64_t colock_stats_number(const colock_stats *stats, const char *name) {
  const char *what;
  if (!stats || !name)
    return -1;
  for (size_t i = 0; i < COUNTS; i++)
    if (strcmp(name, counts[i].name) == 0)
      return number_of(count_of(stats, i));
  if (strcmp(name, "age_ms") == 0)
    return age_ms(stats, stats->totals.since_wall_ns);
  unsigned which = times_of(name, &what);
  return which < COLOCKP_TIMES ? time_number(stats, which, what) : -1;
}

const char *colock_stats_text(const colock_stats *stats, const char *name) {
  const char *what;
  if (!stats || !name)
    return NULL;
  unsigned which = times_of(name, &what);
  const struct colockp_peak *peak =
      which < COLOCKP_TIMES && strcmp(what, "_max_program") == 0 ? peak_of(stats, which) : NULL;
  return peak ? peak->program : NULL;
}

int64_t colock_stats_bucket(const colock_stats *stats, const char *times, size_t index, uint64_t *count) {
  const char *rest;
  unsigned which = stats && times && count ? times_of(times, &rest) : COLOCKP_TIMES;
  if (which == COLOCKP_TIMES || *rest != '\0' || index >= COLOCKP_BUCKETS)
    return -1;
  *count = stats->totals.counted.times[which].buckets[index];
  return colockp_bucket_end((unsigned)index);
}

/* ---- JSON ---- */

static void number_or_null(struct colockp_json *json, const char *key, int64_t value) {
  if (value < 0)
    colockp_json_null(json, key);
  else
    colockp_json_number(json, key, value);
}

static void write_longest(struct colockp_json *json, const colock_stats *stats, unsigned which) {
  const struct colockp_peak *peak = peak_of(stats, which);
  if (!peak) {
    colockp_json_null(json, "longest");
    return;
  }
  colockp_json_open(json, "longest", '{');
  colockp_json_number(json, "age_ms", age_ms(stats, peak->wall_ns));
  colockp_json_number(json, "pid", peak->pid);
  colockp_json_number(json, "tid", peak->tid);
  colockp_json_string(json, "program", peak->program);
  colockp_json_close(json, '}');
}

static void write_times(struct colockp_json *json, const colock_stats *stats, unsigned which) {
  static const char *const numbers[] = {"count", "sum_ns", "p50_ns", "p90_ns", "p99_ns", "max_ns"};
  const struct colockp_timed *timed = &stats->totals.counted.times[which];
  colockp_json_open(json, times_names[which], '{');
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    char name[16];
    snprintf(name, sizeof name, "_%s", numbers[i]);
    number_or_null(json, numbers[i], time_number(stats, which, name));
  }
  write_longest(json, stats, which);
  colockp_json_open(json, "buckets", '[');
  for (unsigned i = 0; i < COLOCKP_BUCKETS; i++) {
    if (timed->buckets[i] == 0)
      continue;
    colockp_json_open(json, NULL, '{');
    number_or_null(json, "below_ns", i < COLOCKP_BUCKETS - 1 ? colockp_bucket_end(i) : -1);
    colockp_json_number(json, "count", number_of(timed->buckets[i]));
    colockp_json_close(json, '}');
  }
  colockp_json_close(json, ']');
  colockp_json_close(json, '}');
}

const char *colock_stats_json(colock_stats *stats) {
  if (!stats) {
    colockp_fail(COLOCK_EINVAL, 0, "colock_stats_json: stats is needed");
    return NULL;
  }
  if (stats->json)
    return stats->json;
  struct colockp_json json;
  colockp_json_init(&json);
  colockp_json_open(&json, NULL, '{');
  colockp_json_number(&json, "version", 1);
  colockp_json_string(&json, "path", stats->path);
  colockp_json_number(&json, "age_ms", age_ms(stats, stats->totals.since_wall_ns));
  for (size_t i = 0; i < COUNTS; i++)
    colockp_json_number(&json, counts[i].name, number_of(count_of(stats, i)));
  for (unsigned i = 0; i < COLOCKP_TIMES; i++)
    write_times(&json, stats, i);
  colockp_json_close(&json, '}');
  stats->json = colockp_json_take(&json);
  if (!stats->json) {
    char escaped[COLOCKP_ESCAPED_PATH];
    colockp_fail(COLOCK_ENOMEM, ENOMEM, "%s: no memory for JSON", colockp_escape(escaped, sizeof escaped, stats->path));
  }
  return stats->json;
}

/* figures.c - statistics for people: a table, and histograms with one bar an octave. */
#include "tool.h"

#include <inttypes.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *const kinds[] = {"wait_shared", "wait_exclusive", "hold_shared", "hold_exclusive"};
static const char *const kind_words[] = {"wait shared", "wait exclusive", "hold shared", "hold exclusive"};
enum { KINDS = sizeof kinds / sizeof *kinds, LINES = 128 };

int tool_columns(void) {
  struct winsize window;
  const char *asked = getenv("COLUMNS");
  int columns;
  if (asked != NULL && tool_parse_integer(asked, 1, 10000, &columns))
    return columns;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
}

bool tool_utf8(void) { return strcmp(nl_langinfo(CODESET), "UTF-8") == 0; }

void tool_ns(FILE *to, int64_t ns) {
  static const struct { const char *name; double ns; } units[] = {{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
  if (ns < 0) {
    fputs("-", to);
    return;
  }
  if (ns < 1000) {
    fprintf(to, "%" PRId64 "ns", ns);
    return;
  }
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    double value = (double)ns / units[i].ns;
    if (value < (i < 2 ? 999.5 : 59.95)) {
      fprintf(to, "%.*f%s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[i].name);
      return;
    }
  }
  tool_age(to, ns / 1000000);
}

static int64_t number(const colock_stats *stats, unsigned kind, const char *what) {
  char name[64];
  snprintf(name, sizeof name, "%s%s", kinds[kind], what);
  return colock_stats_number(stats, name);
}

/* A duration, set to the right in so many columns. */
static void put_ns(FILE *to, int64_t ns, int columns) {
  char *text = NULL;
  size_t size = 0;
  FILE *one = tool_memory(&text, &size);
  tool_ns(one, ns);
  fclose(one);
  fprintf(to, "%*s", columns, text);
  free(text);
}

/* ---- the table ---- */

/* backup[5200], 3m4s ago: whose the longest was, if that is known */
static void put_longest(FILE *to, const colock_stats *stats, unsigned kind) {
  char name[64];
  int64_t pid = number(stats, kind, "_max_pid"), tid = number(stats, kind, "_max_tid");
  int64_t age_ms = number(stats, kind, "_max_age_ms");
  snprintf(name, sizeof name, "%s_max_program", kinds[kind]);
  const char *program = colock_stats_text(stats, name);
  if (pid < 0)
    return;
  fputs("  ", to);
  tool_escape(to, program != NULL && *program != '\0' ? program : "?");
  if (tid > 0 && tid != pid)
    fprintf(to, "[%" PRId64 "/%" PRId64 "], ", pid, tid);
  else
    fprintf(to, "[%" PRId64 "], ", pid);
  tool_age(to, age_ms);
  fputs(" ago", to);
}

static void put_times(FILE *to, const colock_stats *stats, unsigned kind) {
  static const char *const points[] = {"_p50_ns", "_p90_ns", "_p99_ns", "_max_ns"};
  fprintf(to, "  %-14s %9" PRId64, kind_words[kind], number(stats, kind, "_count"));
  for (size_t i = 0; i < sizeof points / sizeof *points; i++)
    put_ns(to, number(stats, kind, points[i]), 7);
  put_longest(to, stats, kind);
  fputc('\n', to);
}

static void put_by_mode(FILE *to, const colock_stats *stats, const char *words, const char *shared,
                        const char *exclusive) {
  fprintf(to, "  %-14s %10" PRId64 " %10" PRId64 "\n", words, colock_stats_number(stats, shared),
          colock_stats_number(stats, exclusive));
}

static void put_counts(FILE *to, const colock_stats *stats) {
  static const struct { const char *words, *name; } counts[] = {
    {"busy", "busy"},           {", timeouts", "timeouts"},     {", cancels", "cancels"},
    {", deadlocks", "deadlocks"}, {"\n  upgrades", "upgrades"}, {", downgrades", "downgrades"},
    {", recalls", "recalls"},   {", forced unlocks", "forced_unlocks"}};
  fputs("  ", to);
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
    fprintf(to, "%s %" PRId64, counts[i].words, colock_stats_number(stats, counts[i].name));
  fputc('\n', to);
}

void tool_put_stats(FILE *to, const colock_stats *stats) {
  fprintf(to, "  %-14s %10s %10s\n", "", "shared", "exclusive");
  put_by_mode(to, stats, "acquisitions", "acquisitions_shared", "acquisitions_exclusive");
  put_by_mode(to, stats, "  from cache", "cached_shared", "cached_exclusive");
  put_by_mode(to, stats, "died holding", "deaths_shared", "deaths_exclusive");
  put_counts(to, stats);
  fprintf(to, "  %-14s %9s%7s%7s%7s%7s  %s\n", "", "times", "p50", "p90", "p99", "max", "the longest was of");
  for (unsigned kind = 0; kind < KINDS; kind++)
    put_times(to, stats, kind);
}

/* ---- histograms ---- */

struct line { /* times from `from_ns` on, below `to_ns`; INT64_MAX: all others */
  int64_t from_ns, to_ns;
  uint64_t count;
};

/* The buckets of one kind, an octave a line, from the first that is used to the last. How many lines. */
static size_t gather(const colock_stats *stats, unsigned kind, struct line lines[LINES]) {
  size_t used = 0, first = LINES, end = 0;
  int64_t bound, from_ns = 0;
  uint64_t count, sum = 0;
  for (size_t i = 0; used < LINES && (bound = colock_stats_bucket(stats, kinds[kind], i, &count)) >= 0; i++) {
    sum += count;
    if (bound < 2 * from_ns)
      continue;
    lines[used] = (struct line){.from_ns = from_ns, .to_ns = bound, .count = sum};
    if (sum > 0) {
      first = first < used ? first : used;
      end = used + 1;
    }
    used++;
    from_ns = bound;
    sum = 0;
  }
  if (first >= end)
    return 0;
  memmove(lines, lines + first, (end - first) * sizeof *lines);
  return end - first;
}

/* log2(1 + n), exact enough for a bar and without libm: the fraction is taken as linear within its octave. */
static double magnitude(uint64_t n) {
  double value = (double)n + 1, result = 0;
  for (; value >= 2; value /= 2)
    result += 1;
  return result + value - 1;
}

/* In eighths of a column where there are such characters. */
static void put_bar(FILE *to, double part, int columns) {
  static const char *const eighths[] = {"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589"};
  int length = (int)(part * columns * 8 + 0.5);
  bool utf8 = tool_utf8();
  length = length < 8 && !utf8 && part > 0 ? 8 : length;
  for (int i = 0; i < length / 8; i++)
    fputs(utf8 ? "\u2588" : "#", to);
  if (utf8)
    fputs(eighths[length % 8], to);
}

static void put_line(FILE *to, const struct line *line, uint64_t most, uint64_t all, int columns) {
  enum { LABELS = 43 };
  fputs("    ", to);
  put_ns(to, line->from_ns, 7);
  if (line->to_ns == INT64_MAX) {
    fputs(" or more ", to);
  } else {
    fputs(" -", to);
    put_ns(to, line->to_ns, 7);
  }
  fprintf(to, " %12" PRIu64 " %5.1f%%", line->count, 100 * (double)line->count / (double)all);
  if (line->count > 0) {
    fputs("  ", to);
    put_bar(to, magnitude(line->count) / magnitude(most), columns > LABELS + 10 ? columns - LABELS : 10);
  }
  fputc('\n', to);
}

void tool_put_histograms(FILE *to, const colock_stats *stats, int columns) {
  for (unsigned kind = 0; kind < KINDS; kind++) {
    struct line lines[LINES];
    size_t count = gather(stats, kind, lines);
    uint64_t most = 0, all = 0;
    for (size_t i = 0; i < count; i++) {
      most = lines[i].count > most ? lines[i].count : most;
      all += lines[i].count;
    }
    if (all > 0)
      fprintf(to, "  %s, %" PRIu64 " time%s (bars: log scale)\n", kind_words[kind], all, all == 1 ? "" : "s");
    for (size_t i = 0; i < count; i++)
      put_line(to, &lines[i], most, all, columns);
  }
}

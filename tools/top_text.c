/* top_text.c - rows and tables as plain text. A row is first made of cells with tabs between them (escaped text has
 * none), then set into columns. */
#include "top.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct top_column lock_columns[] = {
  {"LOCK", 12, false, true}, {"STATE", 10, false, false}, {"HOLD", 4, true, false}, {"KEEP", 4, true, false},
  {"WAIT", 4, true, false},  {"ACQ/S", 6, true, false},   {"WAITS/S", 7, true, false}, {"WAITED", 6, true, false},
};
static const struct top_column people_columns[] = {
  {"ROLE", 7, false, false},  {"PLACE", 5, true, false}, {"MODE", 9, false, false}, {"NAME", 16, false, false},
  {"USER", 10, false, false}, {"AGE", 6, true, false},   {"NOTE", 4, false, false},
};
#define COUNT_OF(list) (sizeof(list) / sizeof *(list))
const struct top_table top_locks_table = {
  .columns = lock_columns, .count = COUNT_OF(lock_columns), .elastic = 0, .width = {12, 10, 4, 4, 4, 6, 7, 6}};
const struct top_table top_people_table = {
  .columns = people_columns, .count = COUNT_OF(people_columns), .elastic = 3, .width = {7, 5, 9, 16, 10, 6, 4}};

/* ---- a lock ---- */

bool top_alarming(const struct top_lock *lock) {
  const colock_report *report = lock->report;
  const colock_entry *entry;
  if (report == NULL || colock_report_stat(report, "abandoned") > 0 || colock_report_stat(report, "revoked") > 0)
    return true;
  for (size_t i = 0; (entry = colock_report_entry(report, i)) != NULL; i++)
    if (colock_entry_number(entry, COLOCK_STALE) > 0)
      return true;
  return false;
}

static const char *state(const struct top_lock *lock) {
  if (lock->report == NULL)
    return "error";
  const colock_entry *first = colock_report_entry(lock->report, 0);
  if (colock_report_stat(lock->report, "holders") == 0)
    return colock_report_stat(lock->report, "cached") > 0 ? "cached" : "free";
  if (colock_entry_number(first, COLOCK_ROLE) != COLOCK_HOLDER) /* cached ones stand before those without a name */
    first = tool_entry(lock->report, COLOCK_ANONYMOUS, 0);
  return tool_mode(first);
}

static void put_rate(FILE *to, double rate) {
  static const struct { double least, unit; const char *name; } units[] = {{999950, 1e6, "M"}, {999.5, 1e3, "k"}};
  for (size_t i = 0; i < COUNT_OF(units); i++)
    if (rate >= units[i].least) {
      rate /= units[i].unit;
      fprintf(to, "%.*f%s", rate < 99.95 ? 1 : 0, rate, units[i].name);
      return;
    }
  fprintf(to, "%.*f", rate < 99.95 ? 1 : 0, rate);
}

char *top_lock_cells(const struct top_lock *lock) {
  static const char *const numbers[] = {"holders", "cached", "waiters"};
  char *cells = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&cells, &size);
  tool_escape(to, lock->path);
  fprintf(to, "\t%s%s", state(lock), lock->report != NULL && top_alarming(lock) ? "!" : "");
  if (lock->report == NULL) {
    fputs("\t-\t-\t-\t-\t-\t-", to);
  } else {
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
      fprintf(to, "\t%" PRId64, colock_report_stat(lock->report, numbers[i]));
    fputc('\t', to);
    put_rate(to, lock->rates.acquisitions);
    fputc('\t', to);
    put_rate(to, lock->rates.waits);
    fprintf(to, "\t%.0f%%", 100 * lock->rates.share);
  }
  fclose(to);
  return cells;
}

void top_put_state(FILE *to, const struct top_lock *lock) {
  tool_escape(to, lock->path);
  if (lock->report == NULL) {
    fputs(": error", to);
    return;
  }
  int64_t revoked = colock_report_stat(lock->report, "revoked");
  fprintf(to, ": %s", state(lock));
  if (colock_report_stat(lock->report, "abandoned") > 0)
    fputs("; ABANDONED, its data may be half written", to);
  if (revoked > 0)
    fprintf(to, "; %" PRId64 " REVOKED still run%s", revoked, revoked == 1 ? "s" : "");
}

void top_put_history(FILE *to, const struct top_rates *rates, int columns) {
  static const char *const blocks[] = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
                                       "\u2585", "\u2586", "\u2587", "\u2588"};
  static const char *const signs[] = {" ", ".", ":", "-", "=", "+", "*", "%", "#"};
  const char *const *levels = tool_utf8() ? blocks : signs;
  size_t room = columns > 0 ? (size_t)columns : 0, shown = rates->count < room ? rates->count : room;
  fprintf(to, "%*s", (int)(room - shown), "");
  for (size_t i = rates->count - shown; i < rates->count; i++) {
    int level = (int)(rates->history[i] * 8 + 0.999); /* little is not nothing */
    fputs(levels[level < 0 ? 0 : level > 8 ? 8 : level], to);
  }
}

/* ---- a person ---- */

static const char *role_of(const colock_entry *entry) {
  switch (colock_entry_number(entry, COLOCK_ROLE)) {
  case COLOCK_HOLDER: return "holds";
  case COLOCK_CACHED: return "keeps";
  case COLOCK_WAITER: return "waits";
  case COLOCK_REVOKED: return "REVOKED";
  default: return "holds";
  }
}

static void put_note(FILE *to, const colock_entry *entry) {
  static const struct { int field; const char *text; } flags[] = {
    {COLOCK_STALE, "STALE"}, {COLOCK_UPGRADING, "upgrading"}, {COLOCK_SUSPENDING, "suspending"},
    {COLOCK_PASSED, "passed over"}, {COLOCK_STOPPED, "stopped"}};
  const char *purpose = colock_entry_text(entry, COLOCK_PURPOSE), *between = "";
  int64_t priority = colock_entry_number(entry, COLOCK_PRIORITY);
  for (size_t i = 0; i < COUNT_OF(flags); i++)
    if (colock_entry_number(entry, flags[i].field) > 0) {
      fprintf(to, "%s%s", between, flags[i].text);
      between = ", ";
    }
  if (priority != 0 && colock_entry_number(entry, COLOCK_ROLE) == COLOCK_WAITER) {
    fprintf(to, "%spriority %" PRId64, between, priority);
    between = ", ";
  }
  if (purpose != NULL && *purpose != '\0') {
    fprintf(to, "%s\"", between);
    tool_escape_text(to, purpose);
    fputc('"', to);
  }
}

char *top_person_cells(const colock_entry *entry, bool full) {
  bool nameless = colock_entry_number(entry, COLOCK_ROLE) == COLOCK_ANONYMOUS;
  int64_t place = colock_entry_number(entry, COLOCK_POSITION);
  const char *purpose = colock_entry_text(entry, COLOCK_PURPOSE);
  char *cells = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&cells, &size);
  fprintf(to, "%s\t", role_of(entry));
  if (place > 0)
    fprintf(to, "%" PRId64, place);
  else if (colock_entry_number(entry, COLOCK_PASSED) > 0)
    fputc('-', to);
  fprintf(to, "\t%s\t", tool_mode(entry));
  if (nameless) {
    fputs("(no name)\t\t\t", to);
  } else {
    tool_name(to, entry);
    fputc('\t', to);
    tool_user(to, entry, true);
    fputc('\t', to);
    tool_age(to, colock_entry_number(entry, COLOCK_AGE_MS));
    fputc('\t', to);
  }
  if (full)
    put_note(to, entry);
  else if (purpose != NULL)
    tool_escape(to, purpose);
  fclose(to);
  return cells;
}

/* ---- tables ---- */

/* The next cell as text of its own; NULL: there was none. free() it. */
static char *next_cell(const char **cells) {
  if (*cells == NULL)
    return NULL;
  size_t length = strcspn(*cells, "\t");
  char *cell = tool_got(strndup(*cells, length));
  *cells = (*cells)[length] == '\t' ? *cells + length + 1 : NULL;
  return cell;
}

void top_fit(struct top_table *table, const char *cells) {
  char *cell;
  for (size_t i = 0; i < table->count && (cell = next_cell(&cells)) != NULL; i++) {
    int width = tool_width(cell);
    table->width[i] = width > table->width[i] ? width : table->width[i];
    free(cell);
  }
}

/* A last column that is not set to the right is as long as its text. */
static bool is_open(const struct top_table *table, size_t column) {
  return column + 1 == table->count && !table->columns[column].right;
}

int top_table_width(const struct top_table *table) {
  int width = 0;
  for (size_t i = 0; i < table->count; i++)
    width += is_open(table, i) ? 0 : table->width[i] + 1;
  return width;
}

void top_squeeze(struct top_table *table, int columns, int rest) {
  int over = top_table_width(table) + rest - columns;
  int least = table->columns[table->elastic].least, *width = &table->width[table->elastic];
  if (over > 0)
    *width = *width - over > least ? *width - over : least;
}

/* The end of text that fits, with dots before it. */
static void put_ending(FILE *to, const char *text, int width) {
  const char *at = text;
  int left = tool_width(text);
  while (*at != '\0' && left > width - 3) {
    at++;
    while ((*at & 0xc0) == 0x80)
      at++;
    left = tool_width(at);
  }
  fprintf(to, "...%s%*s", at, width - 3 - left, "");
}

static void put_beginning(FILE *to, const char *text, int width) {
  char *part = tool_got(strndup(text, tool_fitting(text, width)));
  fprintf(to, "%s%*s", part, width - tool_width(part), ""); /* a wide character may not have fitted */
  free(part);
}

static void put_cell(FILE *to, const struct top_table *table, size_t i, const char *cell) {
  int width = tool_width(cell), room = table->width[i];
  if (is_open(table, i))
    fputs(cell, to);
  else if (width > room && table->columns[i].ending)
    put_ending(to, cell, room);
  else if (width > room)
    put_beginning(to, cell, room);
  else if (table->columns[i].right)
    fprintf(to, "%*s%s", room - width, "", cell);
  else
    fprintf(to, "%s%*s", cell, room - width, "");
}

void top_put_row(FILE *to, const struct top_table *table, const char *cells) {
  for (size_t i = 0; i < table->count; i++) {
    char *cell = cells != NULL ? next_cell(&cells) : tool_got(strdup(table->columns[i].title));
    fputs(i > 0 ? " " : "", to);
    put_cell(to, table, i, cell != NULL ? cell : "");
    free(cell);
  }
}

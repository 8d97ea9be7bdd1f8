/* top_detail.c - one lock, or one person, with all that is known of it: as lines of plain text. */
#include "top.h"

#include <inttypes.h>

static void put_rates(FILE *to, const struct top_rates *rates) {
  fprintf(to, "  %.1f acquisitions/s, %.1f waits/s, %.0f%% had to wait (%s)\n", rates->acquisitions, rates->waits,
          100 * rates->share, rates->average ? "all that was counted" : "between two looks");
}

static void put_forced(FILE *to, const colock_report *report) {
  int64_t age_ms = colock_report_stat(report, "forced_age_ms");
  if (age_ms < 0)
    return;
  fprintf(to, "  last forced unlock: by process %" PRId64 " of ", colock_report_stat(report, "forced_pid"));
  tool_user_name(to, colock_report_stat(report, "forced_uid"));
  fputs(", ", to);
  tool_age(to, age_ms);
  fputs(" ago\n", to);
}

void top_put_lock(FILE *to, const struct top_lock *lock, int columns) {
  const colock_report *report = lock->report;
  top_put_state(to, lock);
  fputc('\n', to);
  if (report == NULL) {
    fprintf(to, "  %s\n", lock->error);
    return;
  }
  fprintf(to, "  %" PRId64 " hold, %" PRId64 " keep, %" PRId64 " wait; %" PRId64 " of %" PRId64 " slots used\n",
          colock_report_stat(report, "holders"), colock_report_stat(report, "cached"),
          colock_report_stat(report, "waiters"), colock_report_stat(report, "slots_in_use"),
          colock_report_stat(report, "capacity"));
  fprintf(to, "  generation %" PRId64 ", last token %" PRId64 "\n", colock_report_stat(report, "generation"),
          colock_report_stat(report, "last_token"));
  put_forced(to, report);
  put_rates(to, &lock->rates);
  fputs("\n  counted for ", to);
  tool_age(to, colock_stats_number(lock->stats, "age_ms"));
  fputc('\n', to);
  tool_put_stats(to, lock->stats);
  fputc('\n', to);
  tool_put_histograms(to, lock->stats, columns);
}

/* ---- a person ---- */

static void put_number(FILE *to, const colock_entry *entry, const char *name, int field) {
  int64_t value = colock_entry_number(entry, field);
  if (value >= 0)
    fprintf(to, "  %-10s %" PRId64 "\n", name, value);
}

static void put_text(FILE *to, const colock_entry *entry, const char *name, int field) {
  const char *text = colock_entry_text(entry, field);
  if (text == NULL || *text == '\0')
    return;
  fprintf(to, "  %-10s ", name);
  tool_escape(to, text);
  fputc('\n', to);
}

static void put_flag(FILE *to, const colock_entry *entry, int field, const char *words) {
  if (colock_entry_number(entry, field) > 0)
    fprintf(to, "  %s\n", words);
}

static void put_since(FILE *to, const colock_entry *entry) {
  int64_t role = colock_entry_number(entry, COLOCK_ROLE);
  fprintf(to, "  %-10s ", role == COLOCK_WAITER ? "waiting" : role == COLOCK_CACHED ? "unused" : "held for");
  tool_age(to, colock_entry_number(entry, COLOCK_AGE_MS));
  fputc('\n', to);
}

static void put_flags(FILE *to, const colock_entry *entry) {
  put_flag(to, entry, COLOCK_STALE, "STALE: no sign of life for longer than its own limit");
  put_flag(to, entry, COLOCK_UPGRADING, "upgrading: holds shared, waits to hold exclusively");
  put_flag(to, entry, COLOCK_SUSPENDING, "suspending: lets go, and finishes what it has to finish before");
  put_flag(to, entry, COLOCK_PASSED, "passed over: others go before it until it runs again");
  put_flag(to, entry, COLOCK_STOPPED, "stopped: it does nothing until it is continued (kill -CONT)");
}

void top_put_person(FILE *to, const struct top_lock *lock, const colock_entry *entry) {
  tool_escape(to, lock->path);
  fputs(": ", to);
  if (colock_entry_number(entry, COLOCK_ROLE) == COLOCK_ANONYMOUS)
    tool_nameless(to, entry);
  else
    tool_name(to, entry);
  fputc('\n', to);
  put_text(to, entry, "role", COLOCK_ROLE);
  put_text(to, entry, "mode", COLOCK_MODE);
  put_number(to, entry, "place", COLOCK_POSITION);
  put_since(to, entry);
  put_text(to, entry, "program", COLOCK_PROGRAM);
  put_text(to, entry, "label", COLOCK_LABEL);
  put_text(to, entry, "purpose", COLOCK_PURPOSE);
  fprintf(to, "  %-10s ", "user");
  tool_user_name(to, colock_entry_number(entry, COLOCK_UID));
  fputc('\n', to);
  put_text(to, entry, "host", COLOCK_HOST);
  put_number(to, entry, "pid", COLOCK_PID);
  put_number(to, entry, "thread", COLOCK_TID);
  if (colock_entry_number(entry, COLOCK_INHERITED) > 0)
    put_number(to, entry, "left to", COLOCK_INHERITED);
  fprintf(to, "  %-10s %" PRId64 "\n", "priority", colock_entry_number(entry, COLOCK_PRIORITY));
  put_text(to, entry, "token", COLOCK_TOKEN);
  put_number(to, entry, "slot", COLOCK_SLOT);
  put_number(to, entry, "hold", COLOCK_HOLD_ID);
  put_number(to, entry, "generation", COLOCK_GENERATION);
  put_flags(to, entry);
}

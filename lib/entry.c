/* entry.c - what a report says: its entries field by field, a description for messages, the whole as JSON.
 *
 * Texts are handed out as the slots have them, any bytes; only the description is escaped, being made for a terminal.
 */
#include "error.h"
#include "identity.h"
#include "json.h"
#include "report.h"
#include "system.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS INT64_C(1000000)

size_t colock_report_count(const colock_report *report) { return report ? report->now.count : 0; }

const colock_entry *colock_report_entry(const colock_report *report, size_t index) {
  return report && index < report->now.count ? &report->now.entries[index] : NULL;
}

static int64_t number_of(uint64_t value) { return value > INT64_MAX ? -1 : (int64_t)value; }

static int64_t known_number(const colock_entry *entry, int field) {
  switch (field) {
  case COLOCK_PID: return entry->identity.pid > 0 ? entry->identity.pid : -1;
  case COLOCK_TID: return entry->activity.tid > 0 ? entry->activity.tid : -1;
  case COLOCK_UID: return entry->identity.uid;
  case COLOCK_PRIORITY: return entry->activity.priority;
  case COLOCK_INHERITED: return entry->inherited_pid > 0 ? entry->inherited_pid : -1;
  case COLOCK_STOPPED: return colockp_entry_stopped(entry);
  case COLOCK_SLOT: return entry->slot == COLOCKP_NO_SLOT ? -1 : (int64_t)entry->slot;
  case COLOCK_HOLD_ID: return entry->role == COLOCK_WAITER ? -1 : number_of(entry->activity.hold_id);
  case COLOCK_GENERATION: return entry->role == COLOCK_WAITER ? -1 : (int64_t)entry->activity.generation;
  case COLOCK_TOKEN:
    return entry->token_text[0] && entry->activity.token <= INT64_MAX ? (int64_t)entry->activity.token : -1;
  default: return -1;
  }
}

int64_t colock_entry_number(const colock_entry *entry, int field) {
  if (!entry)
    return -1;
  switch (field) {
  case COLOCK_ROLE: return entry->role;
  case COLOCK_MODE: return entry->mode ? entry->mode : -1;
  case COLOCK_AGE_MS: return entry->age_ns < 0 ? -1 : entry->age_ns / NS_PER_MS;
  case COLOCK_STALE: return entry->stale;
  case COLOCK_POSITION: return entry->position ? entry->position : -1;
  case COLOCK_PASSED: return entry->passed;
  case COLOCK_UPGRADING: return entry->upgrading;
  case COLOCK_SUSPENDING: return entry->suspending;
  default: return entry->known ? known_number(entry, field) : -1;
  }
}

static const char *role_name(int role) {
  static const char *const names[] = {NULL, "holder", "waiter", "revoked", "cached", "anonymous"};
  return names[role];
}

static const char *mode_name(int mode) {
  return mode == COLOCK_EXCLUSIVE ? "exclusive" : mode == COLOCK_SHARED ? "shared" : NULL;
}

const char *colock_entry_text(const colock_entry *entry, int field) {
  if (!entry)
    return NULL;
  if (field == COLOCK_ROLE)
    return role_name(entry->role);
  if (field == COLOCK_MODE)
    return mode_name(entry->mode);
  if (!entry->known)
    return NULL;
  switch (field) {
  case COLOCK_TOKEN: return entry->token_text[0] ? entry->token_text : NULL;
  case COLOCK_PROGRAM: return entry->identity.program;
  case COLOCK_HOST: return entry->identity.host;
  case COLOCK_LABEL: return entry->identity.label;
  case COLOCK_PURPOSE: return entry->purpose;
  default: return NULL;
  }
}

static int64_t rounded_up_ms(int64_t ns) { return ns < 0 ? -1 : (ns - 1) / NS_PER_MS + 1; }

int64_t colock_report_stat(const colock_report *report, const char *name) {
  if (!report || !name)
    return -1;
  const struct colockp_snapshot *now = &report->now;
  bool forced = now->forced_age_ns >= 0;
  const struct { const char *name; int64_t value; } stats[] = {
    {"holders", (int64_t)(now->of_role[COLOCK_HOLDER] + now->of_role[COLOCK_ANONYMOUS])},
    {"cached", (int64_t)now->of_role[COLOCK_CACHED]},
    {"waiters", (int64_t)now->of_role[COLOCK_WAITER]},
    {"revoked", (int64_t)now->of_role[COLOCK_REVOKED]},
    {"anonymous", (int64_t)now->of_role[COLOCK_ANONYMOUS]},
    {"generation", now->generation},
    {"last_token", number_of(now->last_token)},
    {"abandoned", number_of(now->abandoned)},
    {"capacity", now->capacity},
    {"slots_in_use", now->slots_in_use},
    {"forced_pid", forced ? now->forced.pid : -1},
    {"forced_uid", forced ? (int64_t)now->forced.uid : -1},
    {"forced_age_ms", forced ? now->forced_age_ns / NS_PER_MS : -1},
    {"forced_generation", forced ? (int64_t)now->forced.generation : -1},
    {"usual_hold_shared_ms", rounded_up_ms(now->usual_ns[0])},
    {"usual_hold_exclusive_ms", rounded_up_ms(now->usual_ns[1])},
  };
  for (size_t i = 0; i < sizeof stats / sizeof *stats; i++)
    if (strcmp(name, stats[i].name) == 0)
      return stats[i].value;
  return -1;
}

/* ---- a description for messages ---- */

char *colockp_age(char *out, size_t size, int64_t ns) {
  int64_t ms = ns / NS_PER_MS, s = ms / 1000, m = s / 60, h = m / 60;
  if (ns < 0)
    snprintf(out, size, "?");
  else if (s == 0)
    snprintf(out, size, "%" PRId64 "ms", ms);
  else if (m == 0)
    snprintf(out, size, "%" PRId64 "s", s);
  else if (h == 0)
    snprintf(out, size, "%" PRId64 "m%" PRId64 "s", m, s % 60);
  else if (h < 24)
    snprintf(out, size, "%" PRId64 "h%" PRId64 "m", h, m % 60);
  else
    snprintf(out, size, "%" PRId64 "d%" PRId64 "h", h / 24, h % 24);
  return out;
}

/* migrate[5120], api[4302/4310] for a thread but the first, run[5120->5121] once passed on; @host if not ours. */
static void describe_who(const colock_entry *entry, char *out, size_t size) {
  const struct colockp_identity *who = &entry->identity;
  struct colockp_identity here;
  char name[4 * sizeof who->label], host[4 * sizeof who->host], more[32] = "";
  colockp_escape(name, sizeof name, who->label[0] ? who->label : who->program[0] ? who->program : "process");
  colockp_escape(host, sizeof host, who->host);
  colockp_identity_get(&here);
  if (entry->inherited_pid > 0)
    snprintf(more, sizeof more, "->%" PRId64, entry->inherited_pid);
  else if (entry->activity.tid > 0 && entry->activity.tid != who->pid)
    snprintf(more, sizeof more, "/%" PRId32, entry->activity.tid);
  bool elsewhere = who->host[0] && strcmp(who->host, here.host) != 0;
  snprintf(out, size, "%s[%" PRId32 "%s]%s%s", name, who->pid, more, elsewhere ? "@" : "", elsewhere ? host : "");
}

/* A lock that is only kept has no purpose; what may be said instead is why it is not let go at once. */
static char *describe_cached(const colock_entry *entry, const char *who, const char *age, char *out, size_t size) {
  bool stopped = colock_entry_number(entry, COLOCK_STOPPED) == 1;
  snprintf(out, size, "%s (uid %" PRIu32 ", %s for %s%s%s)", who, entry->identity.uid,
           entry->suspending ? "suspending" : "kept unused", age, entry->suspending ? " before it lets go" : "",
           stopped ? "; stopped: it cannot let go until it is continued" : "");
  return out;
}

char *colockp_describe(const colock_entry *entry, char *out, size_t size) {
  char who[640], age[COLOCKP_AGE_SIZE], aged[COLOCKP_AGE_SIZE + 2] = "", purpose[COLOCKP_PURPOSE_SIZE];
  if (entry->role == COLOCK_ANONYMOUS) {
    snprintf(out, size, "an unnamed %s", entry->mode == COLOCK_SHARED ? "reader" : "writer");
    return out;
  }
  if (!entry->known) {
    snprintf(out, size, "a process that cannot be named (slot %" PRIu32 ")", entry->slot);
    return out;
  }
  describe_who(entry, who, sizeof who);
  colockp_age(age, sizeof age, entry->age_ns);
  if (entry->role == COLOCK_CACHED)
    return describe_cached(entry, who, age, out, size);
  colockp_escape(purpose, sizeof purpose, entry->purpose);
  if (entry->age_ns >= 0)
    snprintf(aged, sizeof aged, ", %s", age);
  snprintf(out, size, "%s (uid %" PRIu32 "%s%s%s%s%s)", who, entry->identity.uid, aged, purpose[0] ? ", \"" : "",
           purpose, purpose[0] ? "\"" : "", colock_entry_number(entry, COLOCK_STOPPED) == 1 ? "; stopped" : "");
  return out;
}

static bool ahead(const colock_entry *entry, int mode, uint32_t own) {
  return entry->role == COLOCK_WAITER && !entry->passed && entry->slot != own &&
         (mode == COLOCK_EXCLUSIVE || entry->mode == COLOCK_EXCLUSIVE);
}

/* Waiters come in the order of the line, so those behind `own` are not looked at. */
static size_t count_ahead(const colock_report *report, int mode, uint32_t own, const colock_entry **first) {
  size_t count = 0;
  for (size_t i = 0; i < report->now.count; i++) {
    const colock_entry *entry = &report->now.entries[i];
    if (entry->role == COLOCK_WAITER && entry->slot == own)
      break;
    if (ahead(entry, mode, own) && count++ == 0)
      *first = entry;
  }
  return count;
}

/* Of a hold that is in use, if others have ended before it. */
static const char *describe_usual(const struct colockp_holder *holder, const int64_t usual_ns[2], char *out,
                                  size_t size) {
  char most[COLOCKP_AGE_SIZE];
  int64_t ms = holder->mode ? rounded_up_ms(usual_ns[holder->mode - COLOCK_SHARED]) : -1;
  if (holder->entry->role == COLOCK_CACHED || ms < 0)
    return "";
  if (ms >= 1000)
    ms = (ms - 1) / 1000 * 1000 + 1000;
  snprintf(out, size, "; usually under %s", colockp_age(most, sizeof most, ms * NS_PER_MS));
  return out;
}

bool colockp_in_the_way(const colock_report *report, int mode, uint32_t own, char *out, size_t size) {
  char who[COLOCKP_DESCRIBED], others[40] = "", usual[COLOCKP_AGE_SIZE + 24];
  const colock_entry *first = NULL;
  struct colockp_holder holder;
  bool held = colockp_report_other_holder(report, mode, own, &holder);
  size_t count = held ? holder.conflicting : count_ahead(report, mode, own, &first);
  if (count == 0)
    return false;
  colockp_describe(held ? holder.entry : first, who, sizeof who);
  if (count > 1)
    snprintf(others, sizeof others, " and %zu other%s", count - 1, count == 2 ? "" : "s");
  if (held) {
    snprintf(out, size, "held by %s%s%s", who, others,
             describe_usual(&holder, report->now.usual_ns, usual, sizeof usual));
    return true;
  }
  const char *state = colockp_report_holder(report, COLOCK_EXCLUSIVE, &holder) ? "" : "free, but ";
  snprintf(out, size, "%s%s%s%s", state, who, others, count == 1 ? " waits ahead" : " wait ahead");
  return true;
}

/* ---- JSON; its schema is in the manual, colock(3) ---- */

static void number_or_null(struct colockp_json *json, const char *key, int64_t value) {
  if (value < 0)
    colockp_json_null(json, key);
  else
    colockp_json_number(json, key, value);
}

static void write_known(struct colockp_json *json, const colock_entry *entry) {
  const struct colockp_identity *who = &entry->identity;
  number_or_null(json, "pid", colock_entry_number(entry, COLOCK_PID));
  number_or_null(json, "tid", colock_entry_number(entry, COLOCK_TID));
  number_or_null(json, "inherited_pid", entry->inherited_pid > 0 ? entry->inherited_pid : -1);
  colockp_json_number(json, "uid", who->uid);
  colockp_json_string(json, "host", who->host);
  colockp_json_string(json, "program", who->program);
  colockp_json_string(json, "label", who->label);
  colockp_json_string(json, "purpose", entry->purpose);
  colockp_json_number(json, "priority", entry->activity.priority);
  int stopped = colockp_entry_stopped(entry);
  if (stopped < 0)
    colockp_json_null(json, "stopped");
  else
    colockp_json_bool(json, "stopped", stopped);
}

static void write_entry(struct colockp_json *json, const colock_entry *entry) {
  bool holds = entry->known && entry->role != COLOCK_WAITER;
  colockp_json_open(json, NULL, '{');
  colockp_json_string(json, "role", role_name(entry->role));
  colockp_json_string(json, "mode", entry->mode ? mode_name(entry->mode) : "unknown");
  colockp_json_bool(json, "known", entry->known);
  number_or_null(json, "slot", entry->slot == COLOCKP_NO_SLOT ? -1 : (int64_t)entry->slot);
  if (entry->known)
    write_known(json, entry);
  number_or_null(json, "age_ms", colock_entry_number(entry, COLOCK_AGE_MS));
  if (entry->role == COLOCK_WAITER) {
    number_or_null(json, "position", colock_entry_number(entry, COLOCK_POSITION));
    colockp_json_bool(json, "passed", entry->passed);
  }
  if (entry->token_text[0])
    colockp_json_string(json, "token", entry->token_text);
  if (holds)
    colockp_json_number(json, "generation", entry->activity.generation);
  if (entry->role == COLOCK_HOLDER)
    colockp_json_bool(json, "stale", entry->stale);
  if (entry->role == COLOCK_HOLDER || entry->role == COLOCK_WAITER)
    colockp_json_bool(json, "upgrading", entry->upgrading);
  if (entry->role == COLOCK_CACHED)
    colockp_json_bool(json, "suspending", entry->suspending);
  colockp_json_close(json, '}');
}

/* roles: bits 1 << COLOCK_ROLE */
static void write_entries(struct colockp_json *json, const char *key, const struct colockp_snapshot *now,
                          unsigned roles) {
  colockp_json_open(json, key, '[');
  for (size_t i = 0; i < now->count; i++)
    if (roles >> now->entries[i].role & 1)
      write_entry(json, &now->entries[i]);
  colockp_json_close(json, ']');
}

static void write_forced(struct colockp_json *json, const struct colockp_snapshot *now) {
  const struct colockp_forced *forced = &now->forced;
  if (now->forced_age_ns < 0) {
    colockp_json_null(json, "forced");
    return;
  }
  colockp_json_open(json, "forced", '{');
  colockp_json_number(json, "pid", forced->pid);
  colockp_json_number(json, "uid", forced->uid);
  colockp_json_string(json, "program", forced->program);
  colockp_json_string(json, "host", forced->host);
  colockp_json_string(json, "reason", forced->reason);
  colockp_json_number(json, "generation", forced->generation);
  number_or_null(json, "slot", forced->slot == COLOCKP_NO_SLOT ? -1 : (int64_t)forced->slot);
  colockp_json_number(json, "age_ms", now->forced_age_ns / NS_PER_MS);
  colockp_json_close(json, '}');
}

static const char *state_of(const struct colockp_snapshot *now) {
  for (size_t i = 0; i < now->count; i++) /* the exclusive come first */
    if (now->entries[i].role == COLOCK_HOLDER || now->entries[i].role == COLOCK_ANONYMOUS)
      return now->entries[i].mode == COLOCK_SHARED ? "shared" : "exclusive";
  return now->of_role[COLOCK_CACHED] > 0 ? "cached" : "free";
}

const char *colock_report_json(colock_report *report) {
  if (!report) {
    colockp_fail(COLOCK_EINVAL, 0, "colock_report_json: report is needed");
    return NULL;
  }
  if (report->json)
    return report->json;
  const struct colockp_snapshot *now = &report->now;
  struct colockp_json json;
  colockp_json_init(&json);
  colockp_json_open(&json, NULL, '{');
  colockp_json_number(&json, "version", 1);
  colockp_json_string(&json, "path", report->path);
  colockp_json_string(&json, "state", state_of(now));
  colockp_json_number(&json, "generation", now->generation);
  colockp_json_token(&json, "last_token", now->last_token);
  if (now->abandoned)
    colockp_json_token(&json, "abandoned", now->abandoned);
  else
    colockp_json_null(&json, "abandoned");
  write_entries(&json, "holders", now, 1u << COLOCK_HOLDER | 1u << COLOCK_ANONYMOUS | 1u << COLOCK_CACHED);
  write_entries(&json, "waiters", now, 1u << COLOCK_WAITER);
  write_entries(&json, "revoked", now, 1u << COLOCK_REVOKED);
  write_forced(&json, now);
  colockp_json_open(&json, "usual_hold_ms", '{');
  number_or_null(&json, "shared", rounded_up_ms(now->usual_ns[0]));
  number_or_null(&json, "exclusive", rounded_up_ms(now->usual_ns[1]));
  colockp_json_close(&json, '}');
  colockp_json_close(&json, '}');
  report->json = colockp_json_take(&json);
  if (!report->json) {
    char escaped[COLOCKP_ESCAPED_PATH];
    colockp_fail(COLOCK_ENOMEM, ENOMEM, "%s: no memory for JSON",
                 colockp_escape(escaped, sizeof escaped, report->path));
  }
  return report->json;
}

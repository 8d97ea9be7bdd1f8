/* report.c - reports as JavaScript objects: one shape for status, for the holder in an error, for who is in the way. */
#include "addon.h"

#include <stdlib.h>

enum kind { NUMBER, TEXT, TRUTH, TOKEN };
static const struct {
  const char *name;
  int field;
  enum kind kind;
} fields[] = {
  { "role", COLOCK_ROLE, TEXT },
  { "mode", COLOCK_MODE, TEXT },
  { "pid", COLOCK_PID, NUMBER },
  { "tid", COLOCK_TID, NUMBER },
  { "uid", COLOCK_UID, NUMBER },
  { "ageMs", COLOCK_AGE_MS, NUMBER },
  { "stale", COLOCK_STALE, TRUTH },
  { "priority", COLOCK_PRIORITY, NUMBER },
  { "token", COLOCK_TOKEN, TOKEN },
  { "program", COLOCK_PROGRAM, TEXT },
  { "host", COLOCK_HOST, TEXT },
  { "label", COLOCK_LABEL, TEXT },
  { "purpose", COLOCK_PURPOSE, TEXT },
  { "position", COLOCK_POSITION, NUMBER },
  { "inherited", COLOCK_INHERITED, NUMBER },
  { "slot", COLOCK_SLOT, NUMBER },
  { "holdId", COLOCK_HOLD_ID, NUMBER },
  { "generation", COLOCK_GENERATION, NUMBER },
  { "passed", COLOCK_PASSED, TRUTH },
  { "upgrading", COLOCK_UPGRADING, TRUTH },
  { "stopped", COLOCK_STOPPED, TRUTH },
  { "suspending", COLOCK_SUSPENDING, TRUTH },
};
static const struct {
  const char *name, *stat;
  enum kind kind;
} stats[] = {
  { "holders", "holders", NUMBER },       { "cached", "cached", NUMBER },
  { "waiters", "waiters", NUMBER },       { "revoked", "revoked", NUMBER },
  { "anonymous", "anonymous", NUMBER },   { "generation", "generation", NUMBER },
  { "lastToken", "last_token", TOKEN },   { "abandoned", "abandoned", TOKEN },
  { "capacity", "capacity", NUMBER },     { "slotsInUse", "slots_in_use", NUMBER },
  { "forcedPid", "forced_pid", NUMBER },  { "forcedUid", "forced_uid", NUMBER },
  { "forcedAgeMs", "forced_age_ms", NUMBER },
};
enum { FIELDS = sizeof fields / sizeof *fields, STATS = sizeof stats / sizeof *stats };

/* NULL: unknown, then the property is left out. */
static napi_value value_of(napi_env env, enum kind kind, int64_t is, bool known) {
  napi_value value = NULL;
  if (kind == TOKEN)
    return napi_create_bigint_uint64(env, (uint64_t)is, &value) == napi_ok && known ? value : NULL;
  if (is == -1)
    return NULL;
  if (kind == TRUTH)
    return napi_get_boolean(env, is != 0, &value) == napi_ok ? value : NULL;
  return number(env, (double)is);
}

static napi_value entry_object(napi_env env, const colock_entry *entry) {
  napi_value object;
  napi_create_object(env, &object);
  for (size_t i = 0; i < FIELDS; i++) {
    napi_value value;
    if (fields[i].kind == TEXT) {
      const char *bytes = colock_entry_text(entry, fields[i].field);
      value = bytes ? text(env, bytes) : NULL;
    } else if (fields[i].kind == TOKEN) { /* the text has it whole */
      const char *digits = colock_entry_text(entry, fields[i].field);
      value = value_of(env, TOKEN, digits ? (int64_t)strtoull(digits, NULL, 10) : 0, digits != NULL);
    } else if (fields[i].field == COLOCK_PRIORITY) { /* -1 is one */
      value = number(env, (double)colock_entry_number(entry, fields[i].field));
    } else if (fields[i].field == COLOCK_POSITION) {
      bool waiter = colock_entry_number(entry, COLOCK_ROLE) == COLOCK_WAITER;
      value = waiter ? number(env, (double)colock_entry_number(entry, COLOCK_POSITION)) : NULL;
    } else {
      value = value_of(env, fields[i].kind, colock_entry_number(entry, fields[i].field), true);
    }
    if (value)
      set(env, object, fields[i].name, value);
  }
  return object;
}

napi_value report_entries(struct addon *addon, const colock_report *report) {
  napi_env env = addon->env;
  napi_value list;
  size_t count = report ? colock_report_count(report) : 0; /* in a callback it may be that nobody could be read */
  napi_create_array_with_length(env, count, &list);
  for (size_t i = 0; i < count; i++)
    napi_set_element(env, list, (uint32_t)i, entry_object(env, colock_report_entry(report, i)));
  return list;
}

static napi_value report_object(struct addon *addon, const colock_report *report) {
  napi_env env = addon->env;
  napi_value object;
  napi_create_object(env, &object);
  set(env, object, "entries", report_entries(addon, report));
  for (size_t i = 0; i < STATS; i++) {
    int64_t is = colock_report_stat(report, stats[i].stat);
    napi_value value = value_of(env, stats[i].kind, is, is != -1);
    if (value)
      set(env, object, stats[i].name, value);
  }
  return object;
}

/* look(path) -> a report, or undefined if there is none. For errors: at once, so that it is of that moment. */
CALL(report_look) {
  napi_value argument, object = NULL;
  size_t count = 1;
  struct addon *addon = addon_of(env, info, &count, &argument);
  char *path = text_of(env, argument);
  colock_report *report;
  if (path && colock_report_read(path, &report) == 0) {
    object = report_object(addon, report);
    colock_report_free(report);
  }
  free(path);
  return object;
}

/* ---- status, force ---- */

struct reading {
  struct job job;
  char *path, *reason;
  colock_report *report;
};

static int read_it(struct job *job) {
  struct reading *reading = (struct reading *)job;
  return colock_report_read(reading->path, &reading->report);
}

static int force_it(struct job *job) {
  struct reading *reading = (struct reading *)job;
  return colock_force_unlock(reading->path, reading->reason, &reading->report);
}

static napi_value have_read(struct addon *addon, struct job *job) {
  const colock_report *report = ((struct reading *)job)->report;
  return report ? report_object(addon, report) : NULL;
}

static void read_end(struct job *job) {
  struct reading *reading = (struct reading *)job;
  colock_report_free(reading->report);
  free(reading->path);
  free(reading->reason);
}

static napi_value start(napi_env env, napi_callback_info info, int (*work)(struct job *job)) {
  napi_value arguments[2];
  size_t count = 2;
  struct addon *addon = addon_of(env, info, &count, arguments);
  struct reading *reading = calloc(1, sizeof *reading);
  if (reading) {
    reading->path = text_of(env, arguments[0]);
    reading->reason = is_absent(env, arguments[1]) ? NULL : text_of(env, arguments[1]);
  }
  if (!reading || !reading->path) {
    free(reading);
    napi_throw_error(env, "ENOMEM", "no memory");
    return NULL;
  }
  reading->job = (struct job){ .work = work, .value = have_read, .end = read_end };
  return job_start(addon, &reading->job, 0);
}

/* status(path) -> promise of a report */
CALL(report_read) { return start(env, info, read_it); }

/* force(path, reason) -> promise of the report before */
CALL(report_force) { return start(env, info, force_it); }

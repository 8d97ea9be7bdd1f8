/* people.c - who holds and who waits, in words. Everything is written to a stream, with text from outside escaped. */
#include "tool.h"

#include <inttypes.h>
#include <pwd.h>
#include <string.h>
#include <sys/utsname.h>

void tool_name(FILE *to, const colock_entry *entry) {
  const char *name = colock_entry_text(entry, COLOCK_LABEL);
  int64_t pid = colock_entry_number(entry, COLOCK_PID), tid = colock_entry_number(entry, COLOCK_TID);
  int64_t inherited = colock_entry_number(entry, COLOCK_INHERITED);
  if (name == NULL || *name == '\0')
    name = colock_entry_text(entry, COLOCK_PROGRAM);
  tool_escape(to, name != NULL && *name != '\0' ? name : "?");
  if (pid > 0 && inherited > 0)
    fprintf(to, "[%" PRId64 "->%" PRId64 "]", pid, inherited);
  else if (pid > 0 && tid > 0 && tid != pid)
    fprintf(to, "[%" PRId64 "/%" PRId64 "]", pid, tid);
  else if (pid > 0)
    fprintf(to, "[%" PRId64 "]", pid);
}

/* Looked up once each: of a thousand holders most have one user, and asking for a name opens files. */
static const char *user_name(int64_t uid) {
  enum { KEPT = 64 };
  static _Thread_local struct { bool known; int64_t uid; char name[64]; } cache[KEPT];
  __typeof__(*cache) *kept = &cache[uid % KEPT];
  struct passwd space, *user = NULL;
  char text[4096];
  if (!kept->known || kept->uid != uid) {
    kept->known = true;
    kept->uid = uid;
    if (getpwuid_r((uid_t)uid, &space, text, sizeof text, &user) != 0 || user == NULL || *user->pw_name == '\0')
      snprintf(kept->name, sizeof kept->name, "%" PRId64, uid);
    else
      snprintf(kept->name, sizeof kept->name, "%s", user->pw_name);
  }
  return kept->name;
}

void tool_user_name(FILE *to, int64_t uid) { tool_escape(to, uid >= 0 ? user_name(uid) : "?"); }

bool tool_here(const colock_entry *entry) {
  struct utsname here;
  const char *host = colock_entry_text(entry, COLOCK_HOST);
  return host != NULL && uname(&here) == 0 && strcmp(host, here.nodename) == 0;
}

void tool_user(FILE *to, const colock_entry *entry, bool always_host) {
  const char *host = colock_entry_text(entry, COLOCK_HOST);
  tool_user_name(to, colock_entry_number(entry, COLOCK_UID));
  if (host != NULL && *host != '\0' && (always_host || !tool_here(entry))) {
    fputc('@', to);
    tool_escape(to, host);
  }
}

void tool_age(FILE *to, int64_t ms) {
  int64_t s = ms / 1000;
  if (ms < 0)
    fputs("?", to);
  else if (ms < 1000)
    fprintf(to, "%" PRId64 "ms", ms);
  else if (s < 60)
    fprintf(to, "%" PRId64 "s", s);
  else if (s < 3600)
    fprintf(to, "%" PRId64 "m%" PRId64 "s", s / 60, s % 60);
  else if (s < 86400)
    fprintf(to, "%" PRId64 "h%" PRId64 "m", s / 3600, s / 60 % 60);
  else
    fprintf(to, "%" PRId64 "d%" PRId64 "h", s / 86400, s / 3600 % 24);
}

void tool_span(FILE *to, int64_t ms) {
  if (ms >= 1000 && ms < 10000 && ms / 100 % 10 != 0)
    fprintf(to, "%" PRId64 ".%" PRId64 "s", ms / 1000, ms / 100 % 10);
  else
    tool_age(to, ms);
}

const char *tool_mode(const colock_entry *entry) {
  switch (colock_entry_number(entry, COLOCK_MODE)) {
  case COLOCK_SHARED: return "shared";
  case COLOCK_EXCLUSIVE: return "exclusive";
  default: return "unknown";
  }
}

const colock_entry *tool_next(const colock_report *report, int role, size_t *at) {
  const colock_entry *entry;
  while ((entry = colock_report_entry(report, (*at)++)) != NULL)
    if (colock_entry_number(entry, COLOCK_ROLE) == role)
      return entry;
  return NULL;
}

const colock_entry *tool_entry(const colock_report *report, int role, size_t index) {
  const colock_entry *entry = NULL;
  for (size_t at = 0; (entry = tool_next(report, role, &at)) != NULL && index > 0; index--)
    continue;
  return entry;
}

size_t tool_count(const colock_report *report, int role) {
  size_t count = 0;
  for (size_t i = 0; i < colock_report_count(report); i++)
    count += colock_entry_number(colock_report_entry(report, i), COLOCK_ROLE) == role;
  return count;
}

bool tool_held(const colock_report *report) {
  return tool_entry(report, COLOCK_HOLDER, 0) != NULL || tool_entry(report, COLOCK_ANONYMOUS, 0) != NULL;
}

bool tool_in_use(const colock_report *report) {
  return tool_held(report) || tool_entry(report, COLOCK_CACHED, 0) != NULL;
}

/* The index-th of those who have the lock and a name: who uses it comes before who only keeps it. */
static const colock_entry *owner(const colock_report *report, size_t index) {
  size_t holders = tool_count(report, COLOCK_HOLDER);
  return index < holders ? tool_entry(report, COLOCK_HOLDER, index)
                         : tool_entry(report, COLOCK_CACHED, index - holders);
}

static size_t owners(const colock_report *report) {
  return tool_count(report, COLOCK_HOLDER) + tool_count(report, COLOCK_CACHED);
}

/* Who holds without a slot of its own: one that may only read the file. */
void tool_nameless(FILE *to, const colock_entry *entry) {
  bool writes = colock_entry_number(entry, COLOCK_MODE) == COLOCK_EXCLUSIVE;
  fputs(writes ? "a writer without a name" : "a reader without a name", to);
}

void tool_names(FILE *to, const colock_report *report) {
  enum { SHOWN = 3 };
  size_t holders = owners(report);
  const colock_entry *nameless = tool_entry(report, COLOCK_ANONYMOUS, 0);
  for (size_t i = 0; i < holders && i < SHOWN; i++) {
    fputs(i == 0 ? "" : i + 1 == holders && nameless == NULL ? " and " : ", ", to);
    tool_name(to, owner(report, i));
  }
  if (holders > SHOWN)
    fprintf(to, " and %zu other%s", holders - SHOWN, holders - SHOWN == 1 ? "" : "s");
  if (nameless != NULL) {
    fputs(holders > 0 ? " and " : "", to);
    tool_nameless(to, nameless);
  }
}

/* unused for 5s; suspending for 2s: of one that only keeps the lock */
void tool_kept(FILE *to, const colock_entry *entry) {
  fputs(colock_entry_number(entry, COLOCK_SUSPENDING) > 0 ? "suspending for " : "unused for ", to);
  tool_age(to, colock_entry_number(entry, COLOCK_AGE_MS));
}

static void put_hold(FILE *to, const colock_entry *entry) {
  const char *purpose = colock_entry_text(entry, COLOCK_PURPOSE);
  fputs(", ", to);
  tool_age(to, colock_entry_number(entry, COLOCK_AGE_MS));
  if (purpose != NULL && *purpose != '\0') {
    fputs(", \"", to);
    tool_escape_text(to, purpose);
    fputc('"', to);
  }
}

/* How long such holds last as a rule, if the one that is in the way is in use. */
static void put_usual(FILE *to, const colock_report *report, const colock_entry *first) {
  bool shared = colock_entry_number(first, COLOCK_MODE) == COLOCK_SHARED;
  int64_t ms = colock_report_stat(report, shared ? "usual_hold_shared_ms" : "usual_hold_exclusive_ms");
  if (colock_entry_number(first, COLOCK_ROLE) == COLOCK_CACHED || ms < 0)
    return;
  fputs("; usually under ", to);
  tool_age(to, ms < 1000 ? ms : (ms + 999) / 1000 * 1000);
}

void tool_holders(FILE *to, const colock_report *report) {
  const colock_entry *first = owner(report, 0), *nameless = tool_entry(report, COLOCK_ANONYMOUS, 0);
  size_t others = owners(report);
  if (first == NULL && nameless != NULL)
    tool_nameless(to, nameless);
  if (first == NULL)
    return;
  bool cached = colock_entry_number(first, COLOCK_ROLE) == COLOCK_CACHED;
  tool_name(to, first);
  fputs(" (", to);
  tool_user(to, first, false);
  if (cached) {
    fputs(colock_entry_number(first, COLOCK_SUSPENDING) > 0 ? ", " : ", kept ", to);
    tool_kept(to, first);
  } else {
    put_hold(to, first);
  }
  if (colock_entry_number(first, COLOCK_STALE) > 0)
    fputs(", stale", to);
  if (colock_entry_number(first, COLOCK_STOPPED) > 0)
    fputs(cached ? "; stopped: it cannot let go until it is continued" : ", stopped", to);
  fputc(')', to);
  others += nameless != NULL ? 0 : (size_t)-1;
  if (others > 0)
    fprintf(to, " and %zu other%s", others, others == 1 ? "" : "s");
  put_usual(to, report, first);
}

/* status.c - colock status: who holds, who waits, who was forced out and still runs. It creates nothing. */
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
  "usage: colock status [--json] [-q] FILE...\n"
  "Show who holds the lock FILE and who waits for it. Nothing is created, nobody is held up.\n"
  "\n"
  "      --json   as JSON: one object for one FILE, an array for several\n"
  "  -q, --quiet  print nothing; exit with 1 if a FILE is in use, or kept for its next use\n"
  "  -h, --help   this text\n"
  "\n"
  "Exit status: 0 done; 1 -q: in use; 64 usage; 65 not a lock file; 66 no such file; 71 system; 77 permission.\n";

static void put_purpose(FILE *to, const colock_entry *entry, const char *before) {
  const char *purpose = colock_entry_text(entry, COLOCK_PURPOSE);
  if (purpose == NULL || *purpose == '\0')
    return;
  fprintf(to, "%s\"", before);
  tool_escape_text(to, purpose);
  fputc('"', to);
}

static void put_alarm(FILE *to, const char *word) {
  tool_colour(to, TOOL_BAD);
  fputs(word, to);
  tool_colour(to, TOOL_PLAIN);
}

/* migrate[5120] alice@db1, 2m5s, "schema 42", STALE. ask: whether its process is stopped */
static void put_holder(FILE *to, const colock_entry *entry, bool ask) {
  if (colock_entry_number(entry, COLOCK_ROLE) == COLOCK_ANONYMOUS) {
    tool_nameless(to, entry);
    return;
  }
  tool_name(to, entry);
  fputc(' ', to);
  tool_user(to, entry, true);
  fputs(", ", to);
  tool_age(to, colock_entry_number(entry, COLOCK_AGE_MS));
  put_purpose(to, entry, ", ");
  if (colock_entry_number(entry, COLOCK_UPGRADING) > 0)
    fputs(", upgrading", to);
  if (ask && colock_entry_number(entry, COLOCK_STOPPED) > 0) {
    fputs(", ", to);
    put_alarm(to, "stopped");
  }
  if (colock_entry_number(entry, COLOCK_STALE) > 0) {
    fputs(", ", to);
    put_alarm(to, "STALE");
  }
}

/* The first in line of those who are not passed over: of all, and of those who want it exclusively. */
struct first {
  const colock_entry *any, *writer;
};

static struct first first_in_line(const colock_report *report) {
  struct first first = {NULL, NULL};
  const colock_entry *waiter;
  for (size_t at = 0; first.writer == NULL && (waiter = tool_next(report, COLOCK_WAITER, &at)) != NULL;) {
    if (colock_entry_number(waiter, COLOCK_PASSED) != 0)
      continue;
    if (first.any == NULL)
      first.any = waiter;
    if (colock_entry_number(waiter, COLOCK_MODE) == COLOCK_EXCLUSIVE)
      first.writer = waiter;
  }
  return first;
}

/* server[123] alice@db1, unused for 3s, recalled for backup[5200] */
static void put_kept(FILE *to, const colock_entry *entry, const struct first *first) {
  bool alone = colock_entry_number(entry, COLOCK_MODE) == COLOCK_EXCLUSIVE; /* it keeps readers waiting, too */
  const colock_entry *waiter = alone ? first->any : first->writer;
  tool_name(to, entry);
  fputc(' ', to);
  tool_user(to, entry, true);
  fputs(", ", to);
  tool_kept(to, entry);
  if (colock_entry_number(entry, COLOCK_STOPPED) > 0) {
    fputs(", ", to);
    put_alarm(to, "stopped");
  }
  if (waiter != NULL) {
    fputs(", recalled for ", to);
    tool_name(to, waiter);
  }
  fputc('\n', to);
}

static void put_each_kept(FILE *to, const colock_report *report, const char *before) {
  const struct first first = first_in_line(report);
  const colock_entry *entry;
  for (size_t at = 0; (entry = tool_next(report, COLOCK_CACHED, &at)) != NULL;) {
    fputs(before, to);
    put_kept(to, entry, &first);
  }
}

/* Nobody uses it, but it is not free. */
static void put_all_kept(FILE *to, const colock_report *report, size_t count) {
  fprintf(to, "cached, %s, ", tool_mode(tool_entry(report, COLOCK_CACHED, 0)));
  if (count > 1)
    fprintf(to, "%zu owners:\n", count);
  put_each_kept(to, report, count > 1 ? "  " : "");
}

/* One line for each of so many holders. Of a crowd that is in nobody's way it is not asked who is stopped: that takes
 * longer than all the rest. */
static void put_all(FILE *to, const colock_report *report, size_t count) {
  enum { CROWD = 100 };
  bool ask = count <= CROWD || tool_count(report, COLOCK_WAITER) > 0;
  const colock_entry *entry;
  for (size_t i = 0; (entry = colock_report_entry(report, i)) != NULL; i++) {
    int64_t role = colock_entry_number(entry, COLOCK_ROLE);
    if (role != COLOCK_HOLDER && role != COLOCK_ANONYMOUS)
      continue;
    fputs("  ", to);
    put_holder(to, entry, ask);
    fputc('\n', to);
  }
}

static void put_holders(FILE *to, const colock_report *report) {
  const colock_entry *first = tool_entry(report, COLOCK_HOLDER, 0);
  size_t count = tool_count(report, COLOCK_HOLDER) + tool_count(report, COLOCK_ANONYMOUS);
  size_t kept = tool_count(report, COLOCK_CACHED);
  if (first == NULL)
    first = tool_entry(report, COLOCK_ANONYMOUS, 0);
  if (count == 0 && kept > 0) {
    put_all_kept(to, report, kept);
    return;
  }
  if (count == 0) {
    tool_colour(to, TOOL_GOOD);
    fputs("free", to);
    tool_colour(to, TOOL_PLAIN);
    fputc('\n', to);
  } else if (count == 1) {
    fprintf(to, "%s, ", tool_mode(first));
    put_holder(to, first, true);
    fputc('\n', to);
  } else {
    fprintf(to, "%s, %zu holders:\n", tool_mode(first), count);
    put_all(to, report, count);
  }
  put_each_kept(to, report, "  cached ");
}

/* What a waiter's column holds, as text of its own, to measure it; free() it. */
static char *column(const colock_entry *entry, bool user) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  if (user)
    tool_user(to, entry, false);
  else
    tool_name(to, entry);
  fclose(to);
  return text;
}

struct row { /* a waiter, and its columns that are as wide as the widest */
  const colock_entry *entry;
  char *name, *user;
};

static void put_padded(FILE *to, const char *text, int columns) {
  fprintf(to, "%s%*s ", text, columns - tool_width(text), "");
}

/* 1 exclusive backup[5200] bob 41s; its place is - if it has none */
static void put_waiter(FILE *to, const struct row *row, int digits, int widest_name, int widest_user) {
  const colock_entry *entry = row->entry;
  char place[24] = "-";
  int64_t position = colock_entry_number(entry, COLOCK_POSITION);
  int64_t priority = colock_entry_number(entry, COLOCK_PRIORITY);
  if (position > 0)
    snprintf(place, sizeof place, "%" PRId64, position);
  fprintf(to, "  %*s %-9s ", digits, place, tool_mode(entry));
  put_padded(to, row->name, widest_name);
  put_padded(to, row->user, widest_user);
  tool_age(to, colock_entry_number(entry, COLOCK_AGE_MS));
  if (priority != 0)
    fprintf(to, " priority %" PRId64, priority);
  put_purpose(to, entry, " ");
  if (colock_entry_number(entry, COLOCK_UPGRADING) > 0)
    fputs(" (upgrading)", to);
  if (colock_entry_number(entry, COLOCK_PASSED) > 0)
    fputs(" (stopped, passed over)", to);
  else if (colock_entry_number(entry, COLOCK_STOPPED) > 0)
    fputs(" (stopped)", to);
  fputc('\n', to);
}

static int wider(int widest, const char *text) { return tool_width(text) > widest ? tool_width(text) : widest; }

static void put_waiters(FILE *to, const colock_report *report) {
  size_t count = tool_count(report, COLOCK_WAITER), used = 0;
  int widest_name = 0, widest_user = 0, digits = snprintf(NULL, 0, "%zu", count);
  const colock_entry *entry;
  if (count == 0)
    return;
  struct row *rows = tool_got(calloc(count, sizeof *rows));
  for (size_t at = 0; (entry = tool_next(report, COLOCK_WAITER, &at)) != NULL; used++) {
    rows[used] = (struct row){.entry = entry, .name = column(entry, false), .user = column(entry, true)};
    widest_name = wider(widest_name, rows[used].name);
    widest_user = wider(widest_user, rows[used].user);
  }
  fprintf(to, "  waiting %zu:\n", count);
  for (size_t i = 0; i < used; i++) {
    put_waiter(to, &rows[i], digits, widest_name, widest_user);
    free(rows[i].name);
    free(rows[i].user);
  }
  free(rows);
}

static void put_revoked(FILE *to, const colock_report *report) {
  const colock_entry *entry;
  int64_t uid = colock_report_stat(report, "forced_uid"), age_ms = colock_report_stat(report, "forced_age_ms");
  for (size_t at = 0; (entry = tool_next(report, COLOCK_REVOKED, &at)) != NULL;) {
    fputs("  ", to);
    put_alarm(to, "REVOKED");
    fputc(' ', to);
    tool_name(to, entry);
    fputs(": still running", to);
    if (uid >= 0) {
      fputs("; forced by ", to);
      tool_user_name(to, uid);
      fputc(' ', to);
      tool_age(to, age_ms);
      fputs(" ago", to);
    }
    fputc('\n', to);
  }
}

static void put_report(FILE *to, const char *path, const colock_report *report) {
  tool_colour(to, TOOL_BOLD);
  tool_escape(to, path);
  tool_colour(to, TOOL_PLAIN);
  fputs(": ", to);
  put_holders(to, report);
  put_waiters(to, report);
  put_revoked(to, report);
  if (colock_report_stat(report, "abandoned") > 0) {
    fputs("  ", to);
    put_alarm(to, "ABANDONED");
    fprintf(to, ": an exclusive holder (token %" PRId64 ") died or was forced out while holding; its data may be half "
            "written\n",
            colock_report_stat(report, "abandoned"));
  }
}

static void put_failure_json(FILE *to, const char *path, int code) {
  const char *message = colock_last_message();
  fputs("{\"path\": ", to);
  tool_json(to, path);
  fprintf(to, ", \"code\": %d, \"error\": ", code);
  tool_json(to, message != NULL ? message : colock_strerror(code));
  fputc('}', to);
}

/* One file; its exit status. */
static int show(const char *path, bool json, bool quiet) {
  colock_report *report = NULL;
  int status = TOOL_OK;
  int code = colock_report_read(path, &report);
  if (code != COLOCK_OK) {
    if (json && !quiet)
      put_failure_json(tool_out(), path, code);
    return tool_fail(code, false);
  }
  if (quiet) {
    status = tool_in_use(report) ? TOOL_IN_USE : TOOL_OK;
  } else if (!json) {
    put_report(tool_out(), path, report);
  } else {
    const char *text = colock_report_json(report);
    fputs(text != NULL ? text : "null", tool_out());
    if (text == NULL)
      status = tool_fail(COLOCK_ENOMEM, false);
  }
  colock_report_free(report);
  return status;
}

/* Several failures: the first one's status; in use comes last. */
static int show_all(char **paths, int count, bool json, bool quiet) {
  int status = TOOL_OK;
  if (json && !quiet && count > 1)
    fputs("[\n", tool_out());
  for (int i = 0; i < count; i++) {
    int one = show(paths[i], json, quiet);
    if (status == TOOL_OK || (status == TOOL_IN_USE && one != TOOL_OK))
      status = one;
    if (json && !quiet)
      fputs(i + 1 < count ? ",\n" : "\n", tool_out());
  }
  if (json && !quiet && count > 1)
    fputs("]\n", tool_out());
  return tool_flush(status);
}

static int status_main(int argc, char **argv) {
  static const struct option long_options[] = {
    {"json", no_argument, NULL, 'j'}, {"quiet", no_argument, NULL, 'q'}, {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
  };
  bool json = false, quiet = false;
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":qh", long_options, NULL)) != -1) {
    if (option == '?' || option == ':')
      return tool_bad_option(&tool_status, option, argv, long_options);
    if (option == 'h')
      return tool_print_help(&tool_status);
    json = json || option == 'j';
    quiet = quiet || option == 'q';
  }
  if (optind >= argc)
    return tool_usage(&tool_status, "which lock file?");
  return show_all(argv + optind, argc - optind, json, quiet);
}

const struct tool_command tool_status = {"status", "who holds a lock, who waits for it", help, status_main};

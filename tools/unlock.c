/* unlock.c - colock unlock: end a hold that should be over. By itself it ends nothing that lives. */
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
  "usage: colock unlock [--force | --kill] [-w TIME] [--reason TEXT] [--json] FILE\n"
  "Free the lock FILE of those who only keep it for their next use (auto_release), by asking for it; with --kill or\n"
  "--force also of those who hold it. The dead need no unlock.\n"
  "\n"
  "  -w, --wait TIME    how long those who only keep it have to let go (5s); who is stopped is not waited for\n"
  "      --kill         end the holders by SIGTERM, after 5s by SIGKILL, and wait until they are gone: safe.\n"
  "                     Only processes of this host and pid namespace that have FILE open\n"
  "      --force        take the lock away; its holders run on and may still write: a last resort\n"
  "      --reason TEXT  why, noted in FILE (--force)\n"
  "      --json         print the outcome, and what the lock looked like before, as JSON\n"
  "  -h, --help         this text\n"
  "\n"
  "Exit status: 0 free, let go or forced; 64 usage; 65 not a lock file; 66 no such file; 71 system; 75 somebody live\n"
  "has it; 77 permission; 78 configuration.\n";

enum { LET_GO_MS = 5000 };

struct unlock {
  bool force, kill, json;
  int64_t wait_ms;
  const char *reason, *path;
};

/* The outcome as JSON, or, for people, whatever the caller has put already. */
static void put_json(const struct unlock *unlock, const char *result, colock_report *before) {
  FILE *to = tool_out();
  const char *text = before != NULL ? colock_report_json(before) : NULL;
  if (!unlock->json)
    return;
  fputs("{\"version\":1,\"path\":", to);
  tool_json(to, unlock->path);
  fprintf(to, ",\"result\":\"%s\",\"before\":%s}\n", result, text != NULL ? text : "null");
}

static int nothing_to_do(const struct unlock *unlock, colock_report *before) {
  if (!unlock->json) {
    tool_escape(tool_out(), unlock->path);
    fputs(": free; nothing to unlock\n", tool_out());
  }
  put_json(unlock, "free", before);
  return TOOL_OK;
}

/* db.lock: held by migrate[5120] alice, alive, 2m5s. Safest: colock unlock --kill db.lock */
static int somebody_lives(const struct unlock *unlock, colock_report *before) {
  const colock_entry *first = tool_entry(before, COLOCK_HOLDER, 0);
  size_t others = tool_count(before, COLOCK_HOLDER) + tool_count(before, COLOCK_ANONYMOUS) - 1;
  FILE *to = tool_out();
  put_json(unlock, "busy", before);
  if (unlock->json)
    return TOOL_BUSY;
  tool_escape(to, unlock->path);
  fputs(": held by ", to);
  if (first == NULL) {
    tool_nameless(to, tool_entry(before, COLOCK_ANONYMOUS, 0));
    fputs(", alive. Find it with: fuser ", to);
  } else {
    tool_name(to, first);
    fputc(' ', to);
    tool_user(to, first, false);
    if (others > 0)
      fprintf(to, " and %zu other%s", others, others == 1 ? "" : "s");
    fputs(", alive, ", to);
    tool_age(to, colock_entry_number(first, COLOCK_AGE_MS));
    fputs(tool_here(first) ? ". Safest: colock unlock --kill "
                           : ". Safest: end it there. Last resort: colock unlock --force ", to);
  }
  tool_escape(to, unlock->path);
  fputc('\n', to);
  return TOOL_BUSY;
}

/* db.lock: kept by server[123] alice, unused for 3s, stopped. Continue it: kill -CONT 123. Else: ... */
static int somebody_keeps(const struct unlock *unlock, colock_report *before) {
  const colock_entry *first = tool_entry(before, COLOCK_CACHED, 0), *entry;
  char *path = tool_escaped(unlock->path);
  FILE *to = tool_out();
  for (size_t at = 0; (entry = tool_next(before, COLOCK_CACHED, &at)) != NULL;)
    if (colock_entry_number(entry, COLOCK_STOPPED) > 0)
      first = entry;
  put_json(unlock, "busy", before);
  if (!unlock->json) {
    fprintf(to, "%s: kept by ", path);
    tool_name(to, first);
    fputc(' ', to);
    tool_user(to, first, false);
    fputs(", ", to);
    tool_kept(to, first);
    if (colock_entry_number(first, COLOCK_STOPPED) > 0)
      fprintf(to, ", stopped, so it cannot let go. Continue it: kill -CONT %" PRId64 ". Else",
              colock_entry_number(first, COLOCK_PID));
    else
      fputs(", and it does not let go. Give it time (-w TIME). Else", to);
    if (tool_here(first))
      fprintf(to, ": colock unlock --kill %s. Last resort: colock unlock --force %s\n", path, path);
    else
      fprintf(to, " end it there. Last resort: colock unlock --force %s\n", path);
  }
  free(path);
  return TOOL_BUSY;
}

static char *names_of(const colock_report *report) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  tool_names(to, report);
  fclose(to);
  return text;
}

static int force(const struct unlock *unlock) {
  colock_report *before = NULL;
  int code = colock_force_unlock(unlock->path, unlock->reason, &before);
  if (code != COLOCK_OK)
    return tool_fail(code, false);
  size_t holders = tool_count(before, COLOCK_HOLDER) + tool_count(before, COLOCK_ANONYMOUS);
  size_t all = holders + tool_count(before, COLOCK_CACHED);
  if (all == 0) {
    int status = nothing_to_do(unlock, before);
    colock_report_free(before);
    return status;
  }
  char *names = names_of(before);
  tool_warn("%s still run%s and may still write", names, all == 1 ? "s" : "");
  if (all > 1)
    tool_warn("all %zu holders are revoked together", all);
  if (!unlock->json)
    fprintf(tool_out(), "done: lock forced; %s %s revoked\n", names, all == 1 ? "is" : "are");
  put_json(unlock, "forced", before);
  free(names);
  colock_report_free(before);
  return TOOL_OK;
}

/* The holders are gone: what is the lock now? */
static void say_ended(const struct unlock *unlock, const colock_report *before, bool killed) {
  colock_report *now = NULL;
  FILE *to = tool_out();
  fputs("done: ", to);
  tool_names(to, before);
  fputs(killed ? " ended, not by SIGTERM but by SIGKILL; " : " ended; ", to);
  tool_escape(to, unlock->path);
  if (colock_report_read(unlock->path, &now) == COLOCK_OK && tool_in_use(now)) {
    fputs(tool_held(now) ? " is now held by " : " is now kept by ", to);
    tool_names(to, now);
    fputc('\n', to);
  } else {
    fputs(" is free\n", to);
  }
  colock_report_free(now);
}

static int end_holders(const struct unlock *unlock, colock_report *before) {
  bool killed = false;
  int status = tool_kill_holders(unlock->path, before, &killed);
  if (status != TOOL_OK) {
    put_json(unlock, "refused", before);
    return status;
  }
  if (!unlock->json)
    say_ended(unlock, before, killed);
  put_json(unlock, killed ? "killed" : "terminated", before);
  return TOOL_OK;
}

static bool any_stopped(const colock_report *report) {
  const colock_entry *entry;
  for (size_t at = 0; (entry = tool_next(report, COLOCK_CACHED, &at)) != NULL;)
    if (colock_entry_number(entry, COLOCK_STOPPED) > 0)
      return true;
  return false;
}

static void say_let_go(const struct unlock *unlock, colock_report *before) {
  char *names = names_of(before);
  if (!unlock->json)
    fprintf(tool_out(), "done: %s %s let go\n", names, tool_count(before, COLOCK_CACHED) == 1 ? "has" : "have");
  put_json(unlock, "released", before);
  free(names);
}

static int may_not_ask(const struct unlock *unlock) {
  char *path = tool_escaped(unlock->path);
  tool_tell("%s: may only be read; to have it let go needs write permission", path);
  free(path);
  return TOOL_PERMISSION;
}

/* Nobody holds it, but somebody keeps it. */
static int ask_for_it(const struct unlock *unlock, colock_report *before) {
  colock_report *now = NULL;
  int code = COLOCK_ETIMEDOUT, status;
  if (!any_stopped(before)) {
    tool_notice_begin(unlock->path, false);
    code = tool_recall(unlock->path, "colock unlock", unlock->wait_ms);
    tool_notice_end();
  }
  if (code == COLOCK_EACCES && !unlock->kill)
    return may_not_ask(unlock);
  if (code != COLOCK_OK && code != COLOCK_ETIMEDOUT && code != COLOCK_EBUSY && code != COLOCK_EACCES)
    return tool_fail(code, false);
  if (code != COLOCK_OK && (code = colock_report_read(unlock->path, &now)) != COLOCK_OK)
    return tool_fail(code, false);
  if (now == NULL || !tool_in_use(now)) {
    say_let_go(unlock, before);
    status = TOOL_OK;
  } else if (tool_held(now)) { /* not to be killed: nobody has spoken of this one */
    status = somebody_lives(unlock, now);
  } else {
    status = unlock->kill ? end_holders(unlock, now) : somebody_keeps(unlock, now);
  }
  colock_report_free(now);
  return status;
}

static int unlock_file(const struct unlock *unlock) {
  colock_report *before = NULL;
  int status;
  if (unlock->force)
    return force(unlock);
  int code = colock_report_read(unlock->path, &before);
  if (code != COLOCK_OK)
    return tool_fail(code, false);
  if (!tool_in_use(before))
    status = nothing_to_do(unlock, before);
  else if (!tool_held(before))
    status = ask_for_it(unlock, before);
  else
    status = unlock->kill ? end_holders(unlock, before) : somebody_lives(unlock, before);
  colock_report_free(before);
  return status;
}

static int unlock_main(int argc, char **argv) {
  static const struct option long_options[] = {
    {"force", no_argument, NULL, 256}, {"kill", no_argument, NULL, 257}, {"reason", required_argument, NULL, 258},
    {"json", no_argument, NULL, 259}, {"wait", required_argument, NULL, 'w'},
    {"timeout", required_argument, NULL, 'w'},
    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
  };
  struct unlock unlock = {.wait_ms = LET_GO_MS};
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":w:h", long_options, NULL)) != -1) {
    switch (option) {
    case 256: unlock.force = true; break;
    case 257: unlock.kill = true; break;
    case 258: unlock.reason = optarg; break;
    case 259: unlock.json = true; break;
    case 'w':
      if (!tool_parse_time(optarg, &unlock.wait_ms))
        return tool_usage(&tool_unlock, "'%s' is not a time: give seconds (5, 0.5), or 250ms, 5s, 2min, forever",
                          optarg);
      break;
    case 'h': return tool_print_help(&tool_unlock);
    default: return tool_bad_option(&tool_unlock, option, argv, long_options);
    }
  }
  if (unlock.force && unlock.kill)
    return tool_usage(&tool_unlock, "--force or --kill, not both");
  if (unlock.reason != NULL && !unlock.force)
    return tool_usage(&tool_unlock, "--reason goes with --force");
  if (argc - optind != 1)
    return tool_usage(&tool_unlock, optind < argc ? "one lock file at a time" : "which lock file?");
  unlock.path = argv[optind];
  return tool_flush(unlock_file(&unlock));
}

const struct tool_command tool_unlock = {"unlock", "end a hold that should be over", help, unlock_main};

/* wait.c - colock wait: until nobody has the lock. It looks again and again, less and less often, and takes nothing;
 * but who only keeps the lock lets go for somebody who waits in line, not for one who looks. */
#include "tool.h"

#include <stdlib.h>

static const char help[] =
  "usage: colock wait [-w TIME] [-q] FILE\n"
  "Wait until nobody holds the lock FILE. Nothing is taken: somebody else may have it a moment later. If it is only\n"
  "kept for its next use (auto_release), it is asked for, exclusively, and given back at once.\n"
  "\n"
  "  -w, --wait TIME  wait so long at most: seconds (5, 0.5), or 250ms, 5s, 2min (default: forever)\n"
  "  -q, --quiet      do not tell who is in the way\n"
  "      --json       accepted, changes nothing: nothing is printed on standard output\n"
  "  -h, --help       this text\n"
  "\n"
  "Exit status: 0 free; 64 usage; 65 not a lock file; 66 no such file; 71 system; 75 not in time; 77 permission.\n";

enum { FIRST_PAUSE_MS = 1, LONGEST_PAUSE_MS = 100, NOTIFY_AFTER_MS = 1000 };

static void say_gave_up(const char *path, const colock_report *report, int64_t timeout_ms) {
  char *text = NULL, *escaped = tool_escaped(path);
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  fprintf(to, "%s: gave up after ", escaped);
  tool_span(to, timeout_ms);
  fputs("; held by ", to);
  tool_holders(to, report);
  fprintf(to, ". Retry, or: colock status %s", escaped);
  fclose(to);
  tool_tell("%s", text);
  free(text);
  free(escaped);
}

/* True: everybody had let go. Else we may not ask (*may), or the time is over. */
static bool recalled(const char *path, int64_t timeout_ms, bool *may) {
  int code = tool_recall(path, "colock wait", timeout_ms);
  *may = code == COLOCK_ETIMEDOUT;
  return code == COLOCK_OK;
}

static int wait_for(const char *path, int64_t timeout_ms, bool quiet) {
  int64_t began = tool_now_ms(), pause_ms = FIRST_PAUSE_MS, notify_ms = NOTIFY_AFTER_MS;
  bool may_recall = true;
  for (;;) {
    colock_report *report = NULL;
    int code = colock_report_read(path, &report);
    int64_t waited_ms = tool_now_ms() - began;
    if (code != COLOCK_OK)
      return tool_fail(code, false);
    bool busy = tool_in_use(report), late = timeout_ms >= 0 && waited_ms >= timeout_ms;
    bool kept = busy && !tool_held(report);
    if (busy && !late && waited_ms >= notify_ms) {
      tool_notice_report(report, waited_ms, NULL);
      notify_ms *= 2;
    }
    if (busy && late && !quiet)
      say_gave_up(path, report, timeout_ms);
    colock_report_free(report);
    if (!busy || late)
      return busy ? TOOL_BUSY : TOOL_OK;
    int64_t left_ms = timeout_ms >= 0 ? timeout_ms - waited_ms : COLOCK_FOREVER;
    if (kept && may_recall && recalled(path, left_ms, &may_recall))
      return TOOL_OK;
    if (kept && may_recall) /* the time is over: look once more */
      continue;
    tool_pause(left_ms >= 0 && left_ms < pause_ms ? left_ms : pause_ms);
    pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
  }
}

static int wait_main(int argc, char **argv) {
  static const struct option long_options[] = {
    {"wait", required_argument, NULL, 'w'}, {"timeout", required_argument, NULL, 'w'},
    {"quiet", no_argument, NULL, 'q'}, {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
  };
  int64_t timeout_ms = COLOCK_FOREVER;
  bool quiet = false;
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":w:qh", long_options, NULL)) != -1) {
    if (option == '?' || option == ':')
      return tool_bad_option(&tool_wait, option, argv, long_options);
    if (option == 'h')
      return tool_print_help(&tool_wait);
    if (option == 'w' && !tool_parse_time(optarg, &timeout_ms))
      return tool_usage(&tool_wait, "'%s' is not a time: give seconds (5, 0.5), or 250ms, 5s, 2min, forever", optarg);
    quiet = quiet || option == 'q';
  }
  if (argc - optind != 1)
    return tool_usage(&tool_wait, optind < argc ? "one lock file at a time" : "which lock file?");
  tool_notice_begin(argv[optind], quiet);
  int status = wait_for(argv[optind], timeout_ms, quiet);
  tool_notice_end();
  return status;
}

const struct tool_command tool_wait = {"wait", "wait until a lock is free, taking nothing", help, wait_main};

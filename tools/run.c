/* run.c - colock run: take the lock, run COMMAND under it, let go.
 *
 * What flock(1) users expect holds. An exclusive hold whose COMMAND was killed by a signal is not released but left to
 * the kernel, as if the holder itself had died: the next holder is told that the data may be half written.
 */
#include "tool.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] =
  "usage: colock run [OPTION]... FILE [--] COMMAND [ARG]...\n"
  "       colock run [OPTION]... FILE -c 'SHELL'\n"
  "       colock run [OPTION]... --for TARGET [--] COMMAND [ARG]...\n"
  "Take the lock FILE, run COMMAND, release it. FILE is created if it is missing.\n"
  "\n"
  "  -x, --exclusive        one holder alone (the default)\n"
  "  -s, --shared           any number of shared holders, no exclusive one\n"
  "  -n, --nonblock         do not wait\n"
  "  -w, --wait TIME        wait so long: seconds (5, 0.5), or 250ms, 5s, 2min, forever\n"
  "                         (without -n and -w: forever, or the configured timeout)\n"
  "  -E, --conflict-exit-code CODE\n"
  "                         exit status when the lock was not to be had, 0 to 255 (75)\n"
  "      --flock            that status is 1, as with flock(1)\n"
  "  -o, --close            COMMAND does not inherit the lock\n"
  "  -c, --command SHELL    run SHELL by $SHELL -c\n"
  "      --for TARGET       the lock file beside TARGET: TARGET.lock\n"
  "      --purpose TEXT     what for; shown by status\n"
  "      --priority N       -100 to 100; higher goes first, within bounds\n"
  "      --set KEY=VALUE    a setting for this run (see: colock config); may be repeated\n"
  "      --recovered        COMMAND repairs what a holder left that died; if it exits with 0, say so\n"
  "  -h, --help             this text\n"
  "\n"
  "COMMAND finds COLOCK_FILE (absolute path), COLOCK_TOKEN (fencing token, 0 if shared) and COLOCK_HOLD in its\n"
  "environment, and COLOCK_ABANDONED=1 if an earlier exclusive holder died holding the lock.\n"
  "Exit status: COMMAND's; 128+N if signal N ended it; 75 no lock in time; 76 COMMAND succeeded but its lock was\n"
  "revoked or lost; 126 COMMAND cannot be run; 127 not found; 64 usage; 65 not a lock file; 71 system; 73 FILE cannot\n"
  "be created; 77 permission; 78 configuration.\n";

struct run {
  int mode;
  bool configured; /* neither -n nor -w was given */
  int64_t timeout_ms;
  int conflict; /* the exit status when the lock was not to be had */
  bool close, recovered;
  int priority, verbosity;
  const char *shell, *target, *purpose, *file;
  char **command;
  char *shell_command[4];
  char *path; /* of the lock file; allocated */
  struct tool_settings settings;
};

enum { FLOCK = 256, FOR, PURPOSE, PRIORITY, SET, RECOVERED };

static const struct option long_options[] = {
  {"exclusive", no_argument, NULL, 'x'}, {"shared", no_argument, NULL, 's'}, {"nonblock", no_argument, NULL, 'n'},
  {"nb", no_argument, NULL, 'n'}, {"wait", required_argument, NULL, 'w'}, {"timeout", required_argument, NULL, 'w'},
  {"conflict-exit-code", required_argument, NULL, 'E'}, {"close", no_argument, NULL, 'o'},
  {"command", required_argument, NULL, 'c'}, {"flock", no_argument, NULL, FLOCK}, {"for", required_argument, NULL, FOR},
  {"purpose", required_argument, NULL, PURPOSE}, {"priority", required_argument, NULL, PRIORITY},
  {"set", required_argument, NULL, SET}, {"recovered", no_argument, NULL, RECOVERED}, {"help", no_argument, NULL, 'h'},
  {NULL, 0, NULL, 0},
};

/* Takes one option; TOOL_OK or an exit status. */
static int take_option(struct run *run, int option) {
  switch (option) {
  case 'x':
  case 'e': run->mode = COLOCK_EXCLUSIVE; break;
  case 's': run->mode = COLOCK_SHARED; break;
  case 'n':
    run->configured = false;
    run->timeout_ms = COLOCK_NOWAIT;
    break;
  case 'w':
    if (!tool_parse_time(optarg, &run->timeout_ms))
      return tool_usage(&tool_run, "'%s' is not a time: give seconds (5, 0.5), or 250ms, 5s, 2min, forever", optarg);
    run->configured = false;
    break;
  case 'E':
    if (!tool_parse_integer(optarg, 0, 255, &run->conflict))
      return tool_usage(&tool_run, "'%s' is not an exit status from 0 to 255", optarg);
    break;
  case FLOCK: run->conflict = run->conflict < 0 ? TOOL_IN_USE : run->conflict; break;
  case 'o': run->close = true; break;
  case 'c': run->shell = optarg; break;
  case FOR: run->target = optarg; break;
  case PURPOSE: run->purpose = optarg; break;
  case PRIORITY:
    if (!tool_parse_integer(optarg, -100, 100, &run->priority))
      return tool_usage(&tool_run, "'%s' is not a priority from -100 to 100", optarg);
    break;
  case SET:
    if (!tool_add_setting(&run->settings, optarg))
      return tool_usage(&tool_run, "'%s' is not KEY=VALUE", optarg);
    break;
  default: run->recovered = true; break;
  }
  return TOOL_OK;
}

/* What stands behind the options: FILE unless --for was given, then COMMAND or -c SHELL. */
static int take_arguments(struct run *run, int argc, char **argv) {
  int at = optind;
  bool dashes = at > 1 && strcmp(argv[at - 1], "--") == 0;
  if (run->target == NULL) {
    if (at >= argc)
      return tool_usage(&tool_run, "which lock file?");
    run->file = argv[at++];
    dashes = at < argc && strcmp(argv[at], "--") == 0;
    at += dashes;
  }
  if (!dashes && run->shell == NULL && at < argc &&
      (strcmp(argv[at], "-c") == 0 || strcmp(argv[at], "--command") == 0)) {
    if (at + 2 != argc)
      return tool_usage(&tool_run, "%s takes exactly one argument", argv[at]);
    run->shell = argv[at + 1];
    at = argc;
  }
  if (run->shell != NULL && at < argc)
    return tool_usage(&tool_run, "give a COMMAND or -c, not both");
  if (run->shell == NULL && at >= argc)
    return tool_usage(&tool_run, "which COMMAND?");
  if (run->recovered && run->mode == COLOCK_SHARED)
    return tool_usage(&tool_run, "--recovered needs an exclusive lock");
  run->command = argv + at;
  return TOOL_OK;
}

static void choose_shell(struct run *run) {
  static char dash_c[] = "-c", standard[] = "/bin/sh";
  char *shell = getenv("SHELL");
  run->shell_command[0] = shell != NULL && *shell != '\0' ? shell : standard;
  run->shell_command[1] = dash_c;
  run->shell_command[2] = (char *)(uintptr_t)run->shell; /* execvp changes nothing */
  run->shell_command[3] = NULL;
  run->command = run->shell_command;
}

/* TOOL_OK with *done true: help was printed. */
static int parse(struct run *run, int argc, char **argv, bool *done) {
  int option, status;
  opterr = 0;
  while ((option = getopt_long(argc, argv, "+:xesnw:E:oc:h", long_options, NULL)) != -1) {
    if (option == '?' || option == ':')
      return tool_bad_option(&tool_run, option, argv, long_options);
    if (option == 'h') {
      *done = true;
      return tool_print_help(&tool_run);
    }
    if ((status = take_option(run, option)) != TOOL_OK)
      return status;
  }
  if ((status = take_arguments(run, argc, argv)) != TOOL_OK)
    return status;
  if (run->shell != NULL)
    choose_shell(run);
  if (run->conflict < 0)
    run->conflict = TOOL_BUSY;
  const char *name = run->target != NULL ? run->target : run->file;
  int length = (int)strlen(name);
  if (length == 0)
    return tool_usage(&tool_run, "the name of %s is empty", run->target != NULL ? "what --for locks" : "the lock file");
  while (run->target != NULL && length > 1 && name[length - 1] == '/') /* as colock_open_for takes it */
    length--;
  size_t size = (size_t)length + sizeof ".lock";
  if ((run->path = malloc(size)) == NULL) {
    tool_tell("out of memory");
    return TOOL_SYSTEM;
  }
  snprintf(run->path, size, "%.*s%s", length, name, run->target != NULL ? ".lock" : "");
  return TOOL_OK;
}

/* What status is to call us: COMMAND's name, or the first word of SHELL. */
static int set_label(colock_config *config, const struct run *run) {
  char label[32];
  const char *from = run->shell != NULL ? run->shell + strspn(run->shell, " \t\n") : run->command[0];
  size_t length = run->shell != NULL ? strcspn(from, " \t\n;&|()<>$'\"`=") : strlen(from);
  for (size_t i = 0; i < length; i++)
    if (from[i] == '/') {
      from += i + 1;
      length -= i + 1;
      i = (size_t)-1;
    }
  if (length == 0) {
    from = "sh";
    length = 2;
  }
  snprintf(label, sizeof label, "%.*s", (int)(length < sizeof label ? length : sizeof label - 1), from);
  return colock_config_set(config, "label", label);
}

static bool is_default(const colock_config *config, const char *key) {
  const char *source = colock_config_source(config, key);
  return source == NULL || strcmp(source, "default") == 0;
}

static int verbosity_of(const colock_config *config) {
  static const char *const words[] = {"quiet", "error", "warning", "info", "debug"};
  const char *value = colock_config_get(config, "verbosity");
  for (int i = 0; value != NULL && i < 5; i++)
    if (strcmp(value, words[i]) == 0)
      return i;
  return 2;
}

/* Settings and the lock. What run cannot know is left out: whether COMMAND makes progress, so nothing turns stale
 * by itself. */
static int open_lock(struct run *run, colock **lock) {
  colock_config *config = NULL;
  int status = tool_load_config(&run->settings, &config);
  if (status != TOOL_OK)
    return status;
  if (is_default(config, "label"))
    set_label(config, run); /* a name that cannot be shown is no reason not to run: it stays "colock" */
  if (is_default(config, "stale_timeout"))
    colock_config_set(config, "stale_timeout", "forever");
  if (run->configured)
    run->timeout_ms = is_default(config, "timeout") ? COLOCK_FOREVER : COLOCK_CONFIGURED;
  run->verbosity = verbosity_of(config);
  colock_set_log(tool_log, NULL);
  int code = run->target != NULL ? colock_open_for(lock, run->target, config) : colock_open(lock, run->file, config);
  colock_config_free(config);
  return code == COLOCK_OK ? TOOL_OK : tool_fail(code, true);
}

/* Who is in the way now: who holds, or, while nobody does, who waits in line for it. */
static void put_in_the_way(FILE *to, const char *path) {
  colock_report *report = NULL;
  const colock_entry *first = NULL;
  bool held = false;
  if (colock_report_read(path, &report) == COLOCK_OK) {
    held = tool_in_use(report);
    first = tool_entry(report, COLOCK_WAITER, 0);
  }
  if (held) {
    fputs("held by ", to);
    tool_holders(to, report);
  } else if (first != NULL && colock_entry_number(first, COLOCK_PASSED) == 0) {
    fputs("free, but first in line is ", to);
    tool_name(to, first);
  } else {
    fputs("held by somebody who has let go since", to);
  }
  colock_report_free(report);
}

static void say_gave_up(const struct run *run, int code, int64_t waited_ms) {
  char *text = NULL, *path = tool_escaped(run->path);
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  fprintf(to, "%s: ", path);
  if (code == COLOCK_EBUSY) {
    fputs("in use", to);
  } else {
    fputs("gave up after ", to);
    tool_span(to, run->timeout_ms > 0 ? run->timeout_ms : waited_ms);
  }
  fputs("; ", to);
  put_in_the_way(to, run->path);
  fprintf(to, ". Retry, or: colock status %s", path);
  fclose(to);
  tool_tell("%s", text);
  free(path);
  free(text);
}

/* Waits for the lock; an exit status. A signal that came meanwhile wins over a lock that came with it. */
static int take_lock(const struct run *run, colock *lock, colock_hold **hold) {
  colock_request request;
  int64_t began = tool_now_ms();
  colock_request_init(&request, sizeof request, run->mode);
  request.timeout_ms = run->timeout_ms;
  request.priority = run->priority;
  request.purpose = run->purpose;
  request.on_wait = tool_notice_report;
  tool_notice_begin(run->path, run->verbosity < 2);
  tool_signals_wait(lock);
  int code = colock_acquire_with(lock, &request, hold);
  int64_t waited_ms = tool_now_ms() - began;
  int number = tool_signals_hold();
  tool_notice_end();
  if (number != 0 && code == COLOCK_OK) {
    colock_release(*hold);
    *hold = NULL;
  }
  if (number != 0)
    return TOOL_SIGNAL + number;
  if (code == COLOCK_OK)
    return TOOL_OK;
  if (code != COLOCK_EBUSY && code != COLOCK_ETIMEDOUT) {
    int status = tool_fail(code, false);
    return status == TOOL_BUSY ? run->conflict : status;
  }
  if (run->verbosity > 0)
    say_gave_up(run, code, waited_ms);
  return run->conflict;
}

/* The path as COMMAND finds it wherever it goes. */
static char *absolute(const char *path) {
  char *made = NULL, *here = NULL;
  if (*path == '/')
    return strdup(path);
  if ((here = getcwd(NULL, 0)) != NULL && asprintf(&made, "%s/%s", strcmp(here, "/") == 0 ? "" : here, path) < 0)
    made = NULL;
  free(here);
  return made;
}

static int set_environment(const struct run *run, const colock_hold *hold) {
  char token[24], id[64];
  char *path = absolute(run->path);
  snprintf(token, sizeof token, "%" PRIu64, colock_token(hold));
  bool failed = path == NULL || setenv("COLOCK_FILE", path, 1) != 0 || setenv("COLOCK_TOKEN", token, 1) != 0;
  free(path);
  if (colock_hold_id(hold, id, sizeof id) == COLOCK_OK)
    failed = failed || setenv("COLOCK_HOLD", id, 1) != 0;
  else
    unsetenv("COLOCK_HOLD");
  if (colock_abandoned(hold) > 0)
    failed = failed || setenv("COLOCK_ABANDONED", "1", 1) != 0;
  else
    unsetenv("COLOCK_ABANDONED");
  if (failed)
    tool_tell("cannot prepare COMMAND's environment: out of memory, or the working directory is gone");
  return failed ? TOOL_SYSTEM : TOOL_OK;
}

static void warn_abandoned(const struct run *run, const colock_hold *hold) {
  if (run->recovered || run->verbosity < 2 || colock_abandoned(hold) <= 0)
    return;
  char *path = tool_escaped(run->path);
  tool_tell("%s: an earlier exclusive holder died holding it; its data may be half written (--recovered after repair)",
            path);
  free(path);
}

/* COMMAND has ended: settle the hold; the exit status. */
static int let_go(const struct run *run, colock_hold *hold, int ended) {
  int status = WIFSIGNALED(ended) ? TOOL_SIGNAL + WTERMSIG(ended) : WEXITSTATUS(ended);
  if (WIFSIGNALED(ended) && run->mode == COLOCK_EXCLUSIVE)
    return status; /* it died holding; so do we, and the next holder is told */
  if (run->recovered && status == TOOL_OK && colock_abandoned(hold) > 0) {
    int code = colock_recovered(hold);
    if (code != COLOCK_OK)
      status = tool_fail(code, false);
  }
  int code = colock_release(hold);
  if (code == COLOCK_OK)
    return status;
  int failure = tool_fail(code, false);
  return status == TOOL_OK ? failure : status;
}

static int locked(const struct run *run, colock_hold *hold) {
  int ended = 0, code = run->close ? COLOCK_OK : colock_inherit(hold, 1);
  int status = code == COLOCK_OK ? set_environment(run, hold) : tool_fail(code, false);
  if (status == TOOL_OK) {
    warn_abandoned(run, hold);
    status = tool_command_run(run->command, &ended);
  }
  if (status == TOOL_OK)
    return let_go(run, hold, ended);
  colock_release(hold);
  return status;
}

static int run_main(int argc, char **argv) {
  static colock *lock; /* static, as is hold: reachable to the end when the hold is left to the kernel */
  static colock_hold *hold;
  struct run run = {.mode = COLOCK_EXCLUSIVE, .configured = true, .conflict = -1};
  bool done = false;
  int status = parse(&run, argc, argv, &done);
  if (status == TOOL_OK && !done)
    status = open_lock(&run, &lock);
  if (status == TOOL_OK && !done)
    status = take_lock(&run, lock, &hold);
  if (hold != NULL) /* with -E 0 success may mean that there is none */
    status = locked(&run, hold);
  if (lock != NULL)
    colock_close(lock);
  free(run.path);
  free(run.settings.assignments);
  return status;
}

const struct tool_command tool_run = {"run", "run a command under the lock", help, run_main};

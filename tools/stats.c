/* stats.c - colock stats: what was counted at a lock, for people, for scripts, for Prometheus. */
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
  "usage: colock stats [--histogram | --json | --prometheus [--output FILE] | --reset] FILE...\n"
  "Show what was counted at the lock FILE by all who ever used it: how often it was got, how long they waited and\n"
  "held. Nothing is created, nobody is held up.\n"
  "\n"
  "      --histogram    with histograms, also where the output is no terminal\n"
  "      --json         as JSON: one object for one FILE, an array for several\n"
  "      --prometheus   in the text format of Prometheus, with the numbers of those who hold and wait now\n"
  "  -o, --output FILE  with --prometheus or --json: into that file, which readers see whole, the old or the new\n"
  "      --reset        begin to count anew; needs permission to write FILE\n"
  "  -h, --help         this text\n"
  "\n"
  "Exit status: 0 done; 64 usage; 65 not a lock file; 66 no such file; 71 system; 75 busy; 77 permission;\n"
  "78 configuration.\n";

enum form { TABLE, JSON, PROMETHEUS, RESET };
struct asked {
  enum form form;
  bool histogram;
  const char *output; /* NULL: standard output */
};

static int first_of(int status, int one) { return status != TOOL_OK ? status : one; }

/* ---- for people ---- */

static int show(const char *path, bool histogram) {
  colock_stats *stats = NULL;
  FILE *to = tool_out();
  int code = colock_stats_read(path, &stats);
  if (code != COLOCK_OK)
    return tool_fail(code, false);
  tool_colour(to, TOOL_BOLD);
  tool_escape(to, path);
  tool_colour(to, TOOL_PLAIN);
  fputs(": counted for ", to);
  tool_age(to, colock_stats_number(stats, "age_ms"));
  fputc('\n', to);
  tool_put_stats(to, stats);
  if (histogram)
    tool_put_histograms(to, stats, tool_columns());
  colock_stats_free(stats);
  return TOOL_OK;
}

/* ---- for scripts ---- */

static int put_json(FILE *to, const char *path) {
  colock_stats *stats = NULL;
  int status = TOOL_OK;
  int code = colock_stats_read(path, &stats);
  const char *text = code == COLOCK_OK ? colock_stats_json(stats) : NULL;
  if (code == COLOCK_OK && text == NULL)
    code = COLOCK_ENOMEM;
  if (code == COLOCK_OK) {
    fputs(text, to);
  } else {
    const char *message = colock_last_message();
    fputs("{\"path\": ", to);
    tool_json(to, path);
    fprintf(to, ", \"code\": %d, \"error\": ", code);
    tool_json(to, *message != '\0' ? message : colock_strerror(code));
    fputc('}', to);
    status = tool_fail(code, false);
  }
  colock_stats_free(stats);
  return status;
}

static int put_all_json(FILE *to, char **paths, size_t count) {
  int status = TOOL_OK;
  if (count > 1)
    fputs("[\n", to);
  for (size_t i = 0; i < count; i++) {
    status = first_of(status, put_json(to, paths[i]));
    fputs(i + 1 < count ? ",\n" : "\n", to);
  }
  if (count > 1)
    fputs("]\n", to);
  return status;
}

/* ---- for Prometheus ---- */

static int measure(struct tool_measured *lock, const char *path) {
  lock->path = path;
  int code = colock_stats_read(path, &lock->stats);
  if (code == COLOCK_OK)
    code = colock_report_read(path, &lock->report);
  if (code == COLOCK_OK)
    return TOOL_OK;
  colock_stats_free(lock->stats);
  lock->stats = NULL;
  return tool_fail(code, false);
}

static bool is_new(char **paths, size_t index) {
  for (size_t i = 0; i < index; i++)
    if (strcmp(paths[i], paths[index]) == 0)
      return false;
  return true;
}

static int put_prometheus(FILE *to, char **paths, size_t count) {
  struct tool_measured *locks = tool_got(calloc(count, sizeof *locks));
  size_t used = 0;
  int status = TOOL_OK;
  for (size_t i = 0; i < count; i++)
    if (is_new(paths, i))
      status = first_of(status, measure(&locks[used++], paths[i]));
  tool_put_prometheus(to, locks, used);
  for (size_t i = 0; i < used; i++) {
    colock_stats_free(locks[i].stats);
    colock_report_free(locks[i].report);
  }
  free(locks);
  return status;
}

/* What machines read goes to standard output or, whole, into a file: also when a lock could not be read, since the rest
 * is true, and what an old file says is not. */
static int put_for_machines(const struct asked *asked, char **paths, size_t count) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = asked->output != NULL ? tool_memory(&text, &size) : tool_out();
  int status = asked->form == JSON ? put_all_json(to, paths, count) : put_prometheus(to, paths, count);
  if (asked->output == NULL)
    return status;
  fclose(to);
  status = first_of(status, tool_replace_file(asked->output, text, size));
  free(text);
  return status;
}

/* ---- the command ---- */

static int reset(const char *path) {
  int code = colock_stats_reset(path);
  if (code != COLOCK_OK)
    return tool_fail(code, false);
  tool_escape(tool_out(), path);
  fputs(": counts anew\n", tool_out());
  return TOOL_OK;
}

static int do_all(const struct asked *asked, char **paths, size_t count) {
  int status = TOOL_OK;
  bool histogram = asked->histogram || isatty(STDOUT_FILENO);
  if (asked->form == JSON || asked->form == PROMETHEUS)
    return tool_flush(put_for_machines(asked, paths, count));
  for (size_t i = 0; i < count; i++)
    status = first_of(status, asked->form == RESET ? reset(paths[i]) : show(paths[i], histogram));
  return tool_flush(status);
}

/* False: two forms at once. */
static bool set_form(struct asked *asked, enum form form) {
  bool fine = asked->form == TABLE || asked->form == form;
  asked->form = form;
  return fine;
}

static int stats_main(int argc, char **argv) {
  static const struct option long_options[] = {
    {"json", no_argument, NULL, 256}, {"prometheus", no_argument, NULL, 257}, {"reset", no_argument, NULL, 258},
    {"histogram", no_argument, NULL, 259}, {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
  };
  struct asked asked = {.form = TABLE};
  bool fine = true;
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":o:h", long_options, NULL)) != -1) {
    switch (option) {
    case 256: fine = set_form(&asked, JSON) && fine; break;
    case 257: fine = set_form(&asked, PROMETHEUS) && fine; break;
    case 258: fine = set_form(&asked, RESET) && fine; break;
    case 259: asked.histogram = true; break;
    case 'o': asked.output = optarg; break;
    case 'h': return tool_print_help(&tool_stats);
    default: return tool_bad_option(&tool_stats, option, argv, long_options);
    }
  }
  if (!fine || (asked.histogram && asked.form != TABLE))
    return tool_usage(&tool_stats, "only one of --histogram, --json, --prometheus and --reset");
  if (asked.output != NULL && asked.form != JSON && asked.form != PROMETHEUS)
    return tool_usage(&tool_stats, "--output goes with --prometheus or --json");
  if (optind >= argc)
    return tool_usage(&tool_stats, "which lock file?");
  return do_all(&asked, argv + optind, (size_t)(argc - optind));
}

const struct tool_command tool_stats = {"stats", "how often it was got, how long they waited and held", help,
                                        stats_main};

/* top.c - colock top: several locks at a glance, live on a terminal, or once as plain text. */
#include "top.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
  "usage: colock top [--interval TIME] [--once] FILE...\n"
  "Watch the locks FILE: who holds, keeps and waits, for how long, how often. Press h for the keys.\n"
  "Nothing is created, nobody is held up.\n"
  "\n"
  "  -i, --interval TIME  look so often: seconds (2, 0.5), or 250ms, 2s, 1min (default: 1s; 100ms at least)\n"
  "      --once           one look, as plain text. The numbers per second are those since the counting began; with\n"
  "                       --interval those between two looks, so far apart\n"
  "  -h, --help           this text\n"
  "\n"
  "Exit status: 0 done; 64 usage; 65 not a lock file; 66 no such file; 71 system; 77 permission; 128+N signal N.\n";

static const struct tool_command top_command = {.name = "top", .help = help};

enum { INTERVAL_MS = 1000 };

/* ---- once ---- */

static void put_rows(FILE *to, const struct top_table *least, char **cells, size_t count) {
  struct top_table table = *least;
  for (size_t i = 0; i < count; i++)
    top_fit(&table, cells[i]);
  for (size_t i = 0; i < count + 1; i++) {
    char *line = NULL;
    size_t size = 0;
    FILE *row = tool_memory(&line, &size);
    top_put_row(row, &table, i == 0 ? NULL : cells[i - 1]);
    fclose(row);
    while (size > 0 && line[size - 1] == ' ')
      line[--size] = '\0';
    fprintf(to, "%s\n", line);
    free(line);
  }
  for (size_t i = 0; i < count; i++)
    free(cells[i]);
}

static void put_people(FILE *to, const struct top *top) {
  char **cells = tool_got(calloc(top->people_count + 1, sizeof *cells));
  fputc('\n', to);
  top_put_state(to, top->subject);
  fputc('\n', to);
  for (size_t i = 0; i < top->people_count; i++)
    cells[i] = top_person_cells(top->people[i], true);
  if (top->people_count > 0)
    put_rows(to, &top_people_table, cells, top->people_count);
  free(cells);
}

static int once(struct top *top) {
  FILE *to = tool_out();
  char **cells = tool_got(calloc(top->lock_count, sizeof *cells));
  int status = TOOL_OK;
  for (size_t i = 0; i < top->lock_count; i++)
    cells[i] = top_lock_cells(&top->locks[i]);
  put_rows(to, &top_locks_table, cells, top->lock_count);
  free(cells);
  for (size_t i = 0; i < top->lock_count; i++) {
    const struct top_lock *lock = &top->locks[i];
    if (lock->report == NULL) {
      tool_tell("%s", lock->error);
      status = status != TOOL_OK ? status : tool_exit_code(lock->code, false);
      continue;
    }
    top->subject = lock;
    top_arrange(top);
    put_people(to, top);
  }
  return tool_flush(status);
}

/* ---- live ---- */

/* With nothing to be seen at all there is no point in taking the terminal. */
static int nothing_to_see(const struct top *top) {
  for (size_t i = 0; i < top->lock_count; i++)
    if (top->locks[i].report != NULL)
      return TOOL_OK;
  for (size_t i = 0; i < top->lock_count; i++)
    tool_tell("%s", top->locks[i].error);
  return tool_exit_code(top->locks[0].code, false);
}

static int live(struct top *top, int64_t interval_ms) {
  if (!top_screen_present())
    return top_screen_begin();
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
    return tool_usage(&top_command, "standard input and output have to be a terminal; else: colock top --once");
  int status = nothing_to_see(top);
  return status == TOOL_OK ? top_live(top, interval_ms) : status;
}

int top_run(int argc, char **argv) {
  static const struct option long_options[] = {
    {"interval", required_argument, NULL, 'i'}, {"once", no_argument, NULL, 256}, {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
  };
  int64_t interval_ms = 0;
  bool only_once = false;
  int option;
  opterr = 0;
  while ((option = getopt_long(argc, argv, ":i:h", long_options, NULL)) != -1) {
    if (option == '?' || option == ':')
      return tool_bad_option(&top_command, option, argv, long_options);
    if (option == 'h')
      return tool_print_help(&top_command);
    if (option == 'i' && !tool_parse_time(optarg, &interval_ms))
      return tool_usage(&top_command, "'%s' is not a time: give seconds (2, 0.5), or 250ms, 2s, 1min", optarg);
    if (option == 'i' && interval_ms < TOP_LEAST_MS)
      return tool_usage(&top_command, "'%s' is too often: %dms at least", optarg, TOP_LEAST_MS);
    only_once = only_once || option == 256;
  }
  if (optind >= argc)
    return tool_usage(&top_command, "which lock file?");
  struct top top;
  top_begin(&top, argv + optind, (size_t)(argc - optind));
  top_look(&top);
  if (only_once && interval_ms > 0) {
    tool_pause(interval_ms);
    top_look(&top);
  }
  int status = only_once ? once(&top) : live(&top, interval_ms > 0 ? interval_ms : INTERVAL_MS);
  top_end(&top);
  return status;
}

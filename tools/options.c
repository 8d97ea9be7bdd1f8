/* options.c - what was asked for: times, numbers, settings; and how a mistake is answered. */
#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Says what is wrong with the command line and where help is. Returns TOOL_USAGE. */
int tool_usage(const struct tool_command *command, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  char *safe = tool_escaped(text);
  bool asks = *safe != '\0' && safe[strlen(safe) - 1] == '?';
  tool_tell("%s: %s%s: colock help %s", command->name, safe, asks ? " See" : "; see", command->name);
  free(safe);
  return TOOL_USAGE;
}

/* getopt_long takes the beginning of a name for it where only one begins so. */
static int bad_long_option(const struct tool_command *command, const char *text, const struct option *options) {
  const char *names[64], *first = NULL;
  size_t count = 0, length = strcspn(text + 2, "=");
  for (; options[count].name && count < sizeof names / sizeof *names; count++) {
    names[count] = options[count].name;
    if (strncmp(names[count], text + 2, length) != 0)
      continue;
    if (first)
      return tool_usage(command, "ambiguous option '%s': '--%s' or '--%s'?", text, first, names[count]);
    first = names[count];
  }
  char *name = strndup(text + 2, length);
  const char *near = name ? tool_closest(name, names, count) : NULL;
  free(name);
  return near ? tool_usage(command, "unknown option '%s': did you mean '--%s'?", text, near)
              : tool_usage(command, "unknown option '%s'", text);
}

int tool_bad_option(const struct tool_command *command, int got, char **argv, const struct option *options) {
  const char *last = argv[optind - 1];
  bool is_long = strncmp(last, "--", 2) == 0;
  if (got == ':')
    return is_long ? tool_usage(command, "option '%s' needs an argument", last)
                   : tool_usage(command, "option '-%c' needs an argument", optopt);
  if (optopt == 0)
    return bad_long_option(command, last, options);
  if (is_long) /* --flag=value */
    return tool_usage(command, "option '%s' takes no argument", last);
  return tool_usage(command, "unknown option '-%c'", optopt);
}

int tool_print_help(const struct tool_command *command) {
  fputs(command->help, tool_out());
  return tool_flush(TOOL_OK);
}

/* Reads digits with an optional fraction as thousandths of a unit; what lies below a thousandth is dropped. */
static bool parse_thousandths(const char **text, int64_t *value) {
  const char *at = *text;
  int64_t whole = 0, part = 0, scale = 100;
  bool any = false;
  for (; *at >= '0' && *at <= '9'; at++, any = true)
    if (__builtin_mul_overflow(whole, (int64_t)10, &whole) ||
        __builtin_add_overflow(whole, (int64_t)(*at - '0'), &whole))
      return false;
  if (*at == '.')
    for (at++; *at >= '0' && *at <= '9'; at++, any = true, scale /= 10)
      part += (*at - '0') * scale;
  if (!any || __builtin_mul_overflow(whole, (int64_t)1000, &whole) || __builtin_add_overflow(whole, part, &whole))
    return false;
  *text = at;
  *value = whole;
  return true;
}

bool tool_parse_time(const char *text, int64_t *ms) {
  static const struct { const char *name; int64_t ms; } units[] = {
    {"ms", 1}, {"s", 1000}, {"sec", 1000}, {"m", 60000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000},
  };
  const int64_t longest = INT64_MAX / 1000000; /* in ns it must fit as well */
  int64_t sum = 0;
  if (strcmp(text, "forever") == 0) {
    *ms = COLOCK_FOREVER;
    return true;
  }
  for (bool first = true; first || *text != '\0'; first = false) {
    int64_t number, unit = 0;
    if (!parse_thousandths(&text, &number))
      return false;
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
      if (strlen(units[i].name) == length && strncmp(units[i].name, text, length) == 0)
        unit = units[i].ms;
    if (length == 0 && first && *text == '\0')
      unit = 1000; /* a bare number is in seconds, as flock(1) has it */
    if (unit == 0 || __builtin_mul_overflow(number, unit, &number) || __builtin_add_overflow(sum, number, &sum))
      return false;
    text += length;
  }
  if (sum / 1000 > longest)
    return false;
  *ms = sum > 0 && sum < 1000 ? 1 : sum / 1000; /* a tiny wait is not "try once" */
  return true;
}

bool tool_parse_integer(const char *text, int least, int most, int *value) {
  char *end;
  errno = 0;
  long number = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || number < least || number > most || *text == ' ')
    return false;
  *value = (int)number;
  return true;
}

int tool_exit_code(int code, bool creating) {
  switch (code) {
  case COLOCK_OK: return TOOL_OK;
  case COLOCK_EBUSY:
  case COLOCK_ETIMEDOUT:
  case COLOCK_EDEADLK: return TOOL_BUSY;
  case COLOCK_EREVOKED:
  case COLOCK_ELOST: return TOOL_REVOKED;
  case COLOCK_EFOREIGN:
  case COLOCK_EVERSION:
  case COLOCK_ECORRUPT: return TOOL_DATA;
  case COLOCK_ENOENT: return creating ? TOOL_CANNOT_CREATE : TOOL_NO_FILE;
  case COLOCK_ENOSPC: return creating ? TOOL_CANNOT_CREATE : TOOL_SYSTEM;
  case COLOCK_EACCES: return TOOL_PERMISSION;
  case COLOCK_ECONFIG: return TOOL_CONFIG;
  case COLOCK_EINVAL: return TOOL_USAGE;
  default: return TOOL_SYSTEM;
  }
}

int tool_fail(int code, bool creating) {
  const char *message = colock_last_message();
  tool_tell("%s", message != NULL && *message != '\0' ? message : colock_strerror(code));
  return tool_exit_code(code, creating);
}

/* Letters to add, drop, change or swap between two short words; 99 when either is long. */
static int distance(const char *a, const char *b) {
  enum { LONGEST = 24 };
  int table[LONGEST + 1][LONGEST + 1];
  size_t rows = strlen(a), columns = strlen(b);
  if (rows > LONGEST || columns > LONGEST)
    return 99;
  for (size_t i = 0; i <= rows; i++)
    for (size_t j = 0; j <= columns; j++) {
      if (i == 0 || j == 0) {
        table[i][j] = (int)(i + j);
        continue;
      }
      int best = table[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (table[i - 1][j] + 1 < best) best = table[i - 1][j] + 1;
      if (table[i][j - 1] + 1 < best) best = table[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && table[i - 2][j - 2] + 1 < best)
        best = table[i - 2][j - 2] + 1;
      table[i][j] = best;
    }
  return table[rows][columns];
}

const char *tool_closest(const char *text, const char *const *words, size_t count) {
  const char *found = NULL;
  int nearest = strlen(text) <= 4 ? 2 : 3; /* one slip in a short word, two in a longer one */
  for (size_t i = 0; i < count; i++) {
    int d = distance(text, words[i]);
    if (d < nearest && d < (int)strlen(words[i])) {
      nearest = d;
      found = words[i];
    }
  }
  return found;
}

bool tool_add_setting(struct tool_settings *settings, const char *assignment) {
  const char *equals = strchr(assignment, '=');
  if (equals == NULL || equals == assignment)
    return false;
  const char **more = realloc(settings->assignments, (settings->count + 1) * sizeof *more);
  if (more == NULL)
    return false;
  more[settings->count++] = assignment;
  settings->assignments = more;
  return true;
}

static int apply_setting(colock_config *config, const char *assignment) {
  const char *equals = strchr(assignment, '=');
  char *key = strndup(assignment, (size_t)(equals - assignment));
  if (key == NULL) {
    tool_tell("out of memory");
    return TOOL_SYSTEM;
  }
  int code = colock_config_set(config, key, equals + 1);
  free(key);
  return code == COLOCK_OK ? TOOL_OK : tool_fail(code, false);
}

/* The YAML file, then the environment, then --set: the later one wins. */
int tool_load_config(const struct tool_settings *settings, colock_config **config) {
  colock_config *made = NULL;
  int status = TOOL_OK;
  int code = colock_config_new(&made);
  if (code == COLOCK_OK)
    code = colock_config_load(made, settings->file);
  if (code == COLOCK_OK)
    code = colock_config_env(made);
  if (code != COLOCK_OK) /* whatever is wrong with a file of settings is a matter of configuration */
    status = tool_fail(code, false) == TOOL_SYSTEM ? TOOL_SYSTEM : TOOL_CONFIG;
  for (size_t i = 0; status == TOOL_OK && i < settings->count; i++)
    status = apply_setting(made, settings->assignments[i]);
  if (status != TOOL_OK) {
    colock_config_free(made);
    return status;
  }
  *config = made;
  return TOOL_OK;
}

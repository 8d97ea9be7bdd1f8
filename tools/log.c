/* log.c - what the library says while it works, for people: of the pairs of a line only its message, as a sentence. */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

/* Behind the value that begins there. Quotes within one have a backslash before them. */
static const char *end_of(const char *value) {
  if (*value != '"')
    return value + strcspn(value, " ");
  for (value++; *value != '\0' && *value != '"'; value++)
    value += *value == '\\' && value[1] != '\0';
  return value + (*value == '"');
}

/* Without the quotes around it and the backslashes that are there for them. `sentence`: it was escaped before it became
 * a value, so one escaping is taken back; else it stays escaped, for a terminal. */
static void put_value(FILE *to, const char *value, bool sentence) {
  const char *end = end_of(value);
  bool quoted = *value == '"';
  for (const char *at = value + quoted; at < end && (!quoted || *at != '"'); at++) {
    bool pair = *at == '\\' && (at[1] == '\\' || at[1] == '"');
    if (pair && (sentence || at[1] == '"'))
      at++;
    else if (pair)
      fputc(*at++, to);
    fputc(*at, to);
  }
}

/* The value of that pair; NULL: there is no such pair. free() it. */
static char *value_of(const char *line, const char *key, bool sentence) {
  size_t length = strlen(key), size = 0;
  char *text = NULL;
  while (*line != '\0') {
    const char *value = line + strcspn(line, "= ");
    if (*value != '=')
      return NULL;
    value++;
    if (strncmp(line, key, length) == 0 && line[length] == '=') {
      FILE *to = tool_memory(&text, &size);
      put_value(to, value, sentence);
      fclose(to);
      return text;
    }
    line = end_of(value);
    line += *line == ' ';
  }
  return NULL;
}

static bool begins_with(const char *text, const char *path) {
  size_t size = strlen(path);
  return strncmp(text, path, size) == 0 && text[size] == ':';
}

void tool_log(int level, const char *line, void *arg) {
  (void)level;
  (void)arg;
  char *message = value_of(line, "message", true);
  char *path = value_of(line, "file", false), *error = value_of(line, "error", false);
  if (message == NULL || path == NULL)
    tool_tell("%s", line);
  else
    tool_tell("%s%s%s%s%s%s", begins_with(message, path) ? "" : path, begins_with(message, path) ? "" : ": ", message,
              error != NULL ? " (" : "", error != NULL ? error : "", error != NULL ? ")" : "");
  free(message);
  free(path);
  free(error);
}

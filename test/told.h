/* told.h - for tests of the log: a hook that remembers, and reading its lines as who consumes a log would. */
#ifndef COLOCK_TEST_TOLD_H
#define COLOCK_TEST_TOLD_H

#include "log.h"
#include "support.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLD_LINES 1024
static struct {
  pthread_mutex_t mutex;
  int count;
  struct {
    int level;
    char line[4096];
  } lines[TOLD_LINES];
} told = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static inline void tell(int level, const char *line, void *arg) {
  (void)arg;
  pthread_mutex_lock(&told.mutex);
  if (told.count == TOLD_LINES) abort();
  told.lines[told.count].level = level;
  strncpy(told.lines[told.count].line, line, sizeof told.lines[0].line - 1);
  told.count++;
  pthread_mutex_unlock(&told.mutex);
}

static inline void listen_to_all(void) { colock_set_log(tell, NULL); }

/* The value of a pair that begins at `at`, unescaped; where the next pair begins, or NULL: this is no pair. */
static inline const char *read_value(const char *at, char *value, size_t size) {
  size_t used = 0;
  bool quoted = *at == '"';
  for (at += quoted; *at != '\0' && *at != (quoted ? '"' : ' '); at++) {
    char c = *at;
    if (!quoted && (c == '"' || c == '=' || c == '\\')) return NULL;
    if (c == '\\') {
      c = *++at;
      if (c == 'n') c = '\n';
      else if (c == 't') c = '\t';
      else if (c == 'x') {
        char hex[3] = {at[1], at[1] ? at[2] : '\0', '\0'}, *end;
        c = (char)strtol(hex, &end, 16);
        if (end != hex + 2) return NULL;
        at += 2;
      } else if (c != '"' && c != '\\') return NULL;
    }
    if (used + 1 < size) value[used++] = c;
  }
  value[used] = '\0';
  if (quoted && *at != '"') return NULL;
  if (!quoted && used == 0) return NULL;
  at += quoted;
  return *at == '\0' ? at : *at == ' ' && at[1] != '\0' && at[1] != ' ' ? at + 1 : NULL;
}

/* The whole line must be pairs. True: one of them has that key; its value. */
static inline bool pair(const char *line, const char *key, char *value, size_t size) {
  bool found = false;
  for (const char *at = line; *at != '\0';) {
    char other[4096];
    size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
    ck_assert_msg(length > 0 && at[length] == '=', "no key at \"%s\" of: %s", at, line);
    bool wanted = strlen(key) == length && memcmp(at, key, length) == 0;
    const char *next = read_value(at + length + 1, wanted ? value : other, wanted ? size : sizeof other);
    ck_assert_msg(next != NULL, "no value at \"%s\" of: %s", at, line);
    ck_assert_msg(!wanted || !found, "twice %s: %s", key, line);
    found |= wanted;
    at = next;
  }
  return found;
}

static inline const char *text_of(const char *line, const char *key) {
  static char values[8][4096];
  static unsigned next;
  char *value = values[next++ % 8];
  ck_assert_msg(pair(line, key, value, sizeof values[0]), "no %s in: %s", key, line);
  return value;
}

static inline bool has(const char *line, const char *key) {
  char value[4096];
  return pair(line, key, value, sizeof value);
}

static inline long long number_of(const char *line, const char *key) {
  char *end;
  const char *value = text_of(line, key);
  long long number = strtoll(value, &end, 10);
  ck_assert_msg(*value != '\0' && *end == '\0', "%s is no number: %s", key, line);
  return number;
}

/* How many lines in all; those that are there are not written any more. */
static inline int told_lines(void) {
  pthread_mutex_lock(&told.mutex);
  int count = told.count;
  pthread_mutex_unlock(&told.mutex);
  return count;
}

static inline void all_told(void) {
  for (int i = 0, count = told_lines(); i < count; i++) printf("  %d %s\n", told.lines[i].level, told.lines[i].line);
  fflush(stdout);
}

static inline int times_told(const char *event) {
  int times = 0;
  for (int i = 0, count = told_lines(); i < count; i++)
    times += strcmp(text_of(told.lines[i].line, "event"), event) == 0;
  return times;
}

/* The one line of that event, which is of that level and about that file. It lives until the next call of told_none. */
static inline const char *told_once(int level, const char *event, const char *path) {
  if (times_told(event) != 1) all_told();
  ck_assert_msg(times_told(event) == 1, "%s was told %d times", event, times_told(event));
  for (int i = 0, count = told_lines(); i < count; i++) {
    const char *line = told.lines[i].line;
    if (strcmp(text_of(line, "event"), event) != 0) continue;
    ck_assert_msg(told.lines[i].level == level, "level %d: %s", told.lines[i].level, line);
    ck_assert_str_eq(text_of(line, "file"), path);
    ck_assert_msg(strncmp(line, "event=", 6) == 0 && strncmp(strchr(line, ' '), " file=", 6) == 0, "order: %s", line);
    return line;
  }
  return NULL;
}

/* Everything so far is forgotten. */
static inline void told_none(void) {
  pthread_mutex_lock(&told.mutex);
  memset(told.lines, 0, sizeof told.lines[0] * (size_t)told.count);
  told.count = 0;
  pthread_mutex_unlock(&told.mutex);
}

#endif

/* spec.c - the one room that knows the syntax of a schedule. See spec.h. */
#define _GNU_SOURCE
#include "spec.h"

#include "colock.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
  struct spec *spec;
  int line;
  char *error; /* empty: all well so far */
  size_t error_size;
};

static const struct {
  const char *name;
  int result;
} results[] = {
    {"ok", COLOCK_OK}, {"waits", SPEC_WAITS}, {"stops", SPEC_STOPS}, {"ends", SPEC_ENDS}, {"EBUSY", COLOCK_EBUSY},
    {"ETIMEDOUT", COLOCK_ETIMEDOUT}, {"EDEADLK", COLOCK_EDEADLK}, {"ECANCELED", COLOCK_ECANCELED},
    {"EINTR", COLOCK_EINTR}, {"EREVOKED", COLOCK_EREVOKED}, {"ELOST", COLOCK_ELOST}, {"EINVAL", COLOCK_EINVAL},
    {"EACCES", COLOCK_EACCES}, {"ENOENT", COLOCK_ENOENT}, {"ECORRUPT", COLOCK_ECORRUPT},
    {"ESYSTEM", COLOCK_ESYSTEM},
};
#define RESULTS (sizeof results / sizeof results[0])

const char *spec_result(int result) {
  static char other[24];
  for (size_t i = 0; i < RESULTS; i++)
    if (results[i].result == result) return results[i].name;
  snprintf(other, sizeof other, "code %d", result);
  return other;
}

static bool wrong(struct reader *r, const char *format, ...) {
  va_list list;
  va_start(list, format);
  int n = snprintf(r->error, r->error_size, "%s:%d: ", r->spec->file, r->line);
  vsnprintf(r->error + n, r->error_size - (size_t)n, format, list);
  va_end(list);
  return false;
}

/* The next word of *rest, NULL: there is none. */
static char *next_word(char **rest) {
  char *word;
  while ((word = strsep(rest, " \t")) != NULL && *word == '\0') continue;
  return word;
}

static int find_session(const struct spec *spec, const char *name) {
  for (int i = 0; i < spec->session_count; i++)
    if (strcmp(spec->sessions[i].name, name) == 0) return i;
  return -1;
}

static int find_step(const struct spec *spec, const char *name) {
  for (int i = 0; i < spec->step_count; i++)
    if (strcmp(spec->steps[i].name, name) == 0) return i;
  return -1;
}

static bool set_name(struct reader *r, char *to, const char *name, const char *what) {
  if (name == NULL) return wrong(r, "a %s needs a name", what);
  if (strlen(name) >= SPEC_NAME || strcspn(name, ",()=") != strlen(name)) return wrong(r, "no good name: %s", name);
  strcpy(to, name);
  return true;
}

static bool set_text(struct reader *r, char *to, const char *text) {
  if (text == NULL) return true;
  text += strspn(text, " \t");
  if (strlen(text) >= SPEC_TEXT) return wrong(r, "the line is too long");
  strcpy(to, text);
  return true;
}

static bool read_session(struct reader *r, char *rest, bool thread) {
  struct spec *spec = r->spec;
  if (spec->session_count == SPEC_SESSIONS) return wrong(r, "more than %d sessions", SPEC_SESSIONS);
  struct spec_session *session = &spec->sessions[spec->session_count];
  const char *name = next_word(&rest);
  if (!set_name(r, session->name, name, "session")) return false;
  if (strcmp(name, "file") == 0 || find_session(spec, name) >= 0) return wrong(r, "session %s is there already", name);
  session->process = spec->session_count;
  if (thread) {
    const char *of = next_word(&rest);
    int process = of != NULL ? find_session(spec, of) : -1;
    if (process < 0 || spec->sessions[process].process != process) return wrong(r, "a thread of which session?");
    session->process = process;
  }
  if (!set_text(r, session->settings, rest)) return false;
  spec->session_count++;
  return true;
}

static bool read_step(struct reader *r, char *rest) {
  struct spec *spec = r->spec;
  if (spec->step_count == SPEC_STEPS) return wrong(r, "more than %d steps", SPEC_STEPS);
  struct spec_step *step = &spec->steps[spec->step_count];
  const char *name = next_word(&rest);
  if (!set_name(r, step->name, name, "step")) return false;
  if (find_step(spec, name) >= 0) return wrong(r, "step %s is there already", name);
  const char *session = next_word(&rest);
  if (session == NULL) return wrong(r, "step %s: whose?", name);
  step->session = strcmp(session, "file") == 0 ? SPEC_FILE : find_session(spec, session);
  if (step->session < 0 && strcmp(session, "file") != 0) return wrong(r, "no session %s", session);
  if (!set_text(r, step->command, rest)) return false;
  if (step->command[0] == '\0') return wrong(r, "step %s: does what?", name);
  spec->step_count++;
  return true;
}

static bool read_permutation(struct reader *r, char *rest) {
  struct spec *spec = r->spec;
  if (spec->permutation_count == SPEC_PERMUTATIONS) return wrong(r, "more than %d permutations", SPEC_PERMUTATIONS);
  struct spec_permutation *permutation = &spec->permutations[spec->permutation_count];
  const char *name = next_word(&rest);
  if (!set_name(r, permutation->name, name, "permutation")) return false;
  for (int i = 0; i < spec->permutation_count; i++)
    if (strcmp(spec->permutations[i].name, name) == 0) return wrong(r, "permutation %s is there already", name);
  spec->permutation_count++;
  return true;
}

/* "ok=1", "ETIMEDOUT(a)" */
static bool read_result(struct reader *r, char *word, struct spec_outcome *outcome) {
  outcome->names = -1;
  char *names = strchr(word, '('), *number = strchr(word, '=');
  if (names != NULL) {
    *names++ = '\0';
    names[strcspn(names, ")")] = '\0';
    if ((outcome->names = find_session(r->spec, names)) < 0) return wrong(r, "no session %s", names);
  } else if (number != NULL) {
    *number++ = '\0';
    outcome->counted = true;
    outcome->number = atoll(number);
  }
  for (size_t i = 0; i < RESULTS; i++) {
    if (strcmp(results[i].name, word) != 0) continue;
    outcome->result = results[i].result;
    return true;
  }
  return wrong(r, "no outcome %s", word);
}

static bool read_outcome(struct reader *r, char *text, struct spec_line *line) {
  const char *name = next_word(&text);
  if (name == NULL) return wrong(r, "a step and its outcome are missing");
  if (line->count == SPEC_OUTCOMES) return wrong(r, "more than %d outcomes of one step", SPEC_OUTCOMES);
  struct spec_outcome *outcome = &line->outcomes[line->count];
  char *word = next_word(&text);
  outcome->step = find_step(r->spec, name);
  if (outcome->step < 0) return wrong(r, "no step %s", name);
  if (word == NULL) return wrong(r, "step %s: with what outcome?", name);
  if (!read_result(r, word, outcome)) return false;
  if (next_word(&text) != NULL) return wrong(r, "step %s: more than one outcome", name);
  line->count++;
  return true;
}

static bool read_taken_step(struct reader *r, char *text) {
  struct spec *spec = r->spec;
  if (spec->permutation_count == 0)
    return wrong(r, "neither session, thread, step nor permutation, and within no permutation: %s", text);
  struct spec_permutation *permutation = &spec->permutations[spec->permutation_count - 1];
  if (permutation->line_count == SPEC_LINES) return wrong(r, "more than %d steps in a permutation", SPEC_LINES);
  struct spec_line *line = &permutation->lines[permutation->line_count];
  line->line = r->line;
  for (char *part; (part = strsep(&text, ",")) != NULL;)
    if (!read_outcome(r, part, line)) return false;
  permutation->line_count++;
  return true;
}

static bool read_line(struct reader *r, char *text) {
  text[strcspn(text, "#")] = '\0';
  text += strspn(text, " \t");
  size_t length = strlen(text);
  while (length > 0 && strchr(" \t", text[length - 1]) != NULL) text[--length] = '\0';
  if (*text == '\0') return true;
  size_t word = strcspn(text, " \t");
  char *rest = text[word] != '\0' ? text + word + 1 : NULL;
#define IS(keyword) (word == strlen(keyword) && strncmp(text, keyword, word) == 0)
  if (IS("session")) return read_session(r, rest, false);
  if (IS("thread")) return read_session(r, rest, true);
  if (IS("step")) return read_step(r, rest);
  if (IS("permutation")) return read_permutation(r, rest);
#undef IS
  return read_taken_step(r, text);
}

bool spec_parse(struct spec *spec, const char *file, char *text, char *error, size_t error_size) {
  struct reader r = {.spec = spec, .error = error, .error_size = error_size};
  memset(spec, 0, sizeof *spec);
  snprintf(spec->file, sizeof spec->file, "%s", file);
  for (char *line; (line = strsep(&text, "\n")) != NULL;) {
    r.line++;
    if (!read_line(&r, line)) return false;
  }
  if (spec->permutation_count == 0) return wrong(&r, "no permutation");
  for (int i = 0; i < spec->permutation_count; i++) {
    const struct spec_permutation *permutation = &spec->permutations[i];
    if (permutation->line_count == 0) return wrong(&r, "permutation %s has no step", permutation->name);
  }
  return true;
}

/* config_value.c - one value, from its text: checked, put into its field, written back in one agreed form. */
#include "config_keys.h"
#include "duration.h"
#include "error.h"
#include "nearest.h"
#include "utf8.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SHOWN 64 /* how much of a wrong value its message repeats */

/* Every `parse_` below: as colockp_key_parse, with `shown` the text made safe to print. */

static void *field(const struct colockp_key *key, struct colockp_settings *settings) {
  return (char *)settings + key->offset;
}

static int out_of_range(const struct colockp_key *key, const char *shown, char *reason) {
  snprintf(reason, COLOCKP_REASON_SIZE, "%s is out of range; %s is %s", shown, key->shown.name, key->shown.range);
  return -1;
}

static int parse_boolean(const struct colockp_key *key, const char *text, const char *shown,
                         struct colockp_settings *settings, char *value, char *reason) {
  static const char *const yes[] = {"yes", "on", "1", "y", "t", NULL};
  static const char *const no[] = {"no", "off", "0", "n", "f", NULL};
  static const char *const words[] = {"false", "true", NULL};
  const char *near = colockp_nearest(text, words);
  bool on = strcmp(text, "true") == 0;
  for (size_t i = 0; yes[i]; i++)
    near = strcmp(text, yes[i]) == 0 ? "true" : strcmp(text, no[i]) == 0 ? "false" : near;
  if (!on && strcmp(text, "false") != 0) {
    if (near)
      snprintf(reason, COLOCKP_REASON_SIZE, "'%s' is not true or false; did you mean %s?", shown, near);
    else
      snprintf(reason, COLOCKP_REASON_SIZE, "'%s' is not true or false; write one of them", shown);
    return -1;
  }
  *(bool *)field(key, settings) = on;
  snprintf(value, COLOCKP_VALUE_SIZE, "%s", words[on]);
  return 0;
}

static int parse_duration(const struct colockp_key *key, const char *text, const char *shown,
                          struct colockp_settings *settings, char *value, char *reason) {
  int64_t ns = 0;
  if (colockp_duration_parse(&ns, text, key->most == INT64_MAX, reason, COLOCKP_REASON_SIZE) != 0)
    return -1;
  if (ns < key->least || ns > key->most)
    return out_of_range(key, shown, reason);
  *(int64_t *)field(key, settings) = ns;
  colockp_duration_format(value, ns);
  return 0;
}

static int parse_integer(const struct colockp_key *key, const char *text, const char *shown,
                         struct colockp_settings *settings, char *value, char *reason) {
  const char *at = text + (*text == '-');
  size_t digits = strspn(at, "0123456789");
  if (digits == 0 || at[digits] != '\0') {
    snprintf(reason, COLOCKP_REASON_SIZE, "'%s' is not a whole number; %s is %s", shown, key->shown.name,
             key->shown.range);
    return -1;
  }
  int64_t number = 0;
  for (; *at; at++)
    if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *at - '0', &number))
      return out_of_range(key, shown, reason);
  if (*text == '-' || number < key->least || number > key->most)
    return out_of_range(key, shown, reason);
  *(int *)field(key, settings) = (int)number;
  snprintf(value, COLOCKP_VALUE_SIZE, "%d", (int)number);
  return 0;
}

static int parse_choice(const struct colockp_key *key, const char *text, const char *shown,
                        struct colockp_settings *settings, char *value, char *reason) {
  for (int i = 0; key->choices[i]; i++)
    if (strcmp(text, key->choices[i]) == 0) {
      *(int *)field(key, settings) = i;
      snprintf(value, COLOCKP_VALUE_SIZE, "%s", text);
      return 0;
    }
  const char *near = colockp_nearest(text, key->choices);
  if (near)
    snprintf(reason, COLOCKP_REASON_SIZE, "'%s' is no choice here; did you mean '%s'?", shown, near);
  else
    snprintf(reason, COLOCKP_REASON_SIZE, "'%s' is no choice here; %s is one of %s", shown, key->shown.name,
             key->shown.range);
  return -1;
}

static int parse_text(const struct colockp_key *key, const char *text, const char *shown,
                      struct colockp_settings *settings, char *value, char *reason) {
  size_t length = strlen(text), whole = 0;
  for (size_t taken, i = 0; i < length; i += taken) {
    uint32_t point;
    taken = colockp_utf8_read(text + i, length - i, &point);
    if (taken == 0) {
      snprintf(reason, COLOCKP_REASON_SIZE, "'%s' is not UTF-8; write it in UTF-8", shown);
      return -1;
    }
    if (i + taken < COLOCKP_LABEL_SIZE)
      whole = i + taken;
  }
  char *label = field(key, settings);
  memset(label, 0, COLOCKP_LABEL_SIZE);
  memcpy(label, text, whole);
  memcpy(value, label, COLOCKP_LABEL_SIZE);
  return 0;
}

static int parse_mode(const struct colockp_key *key, const char *text, const char *shown,
                      struct colockp_settings *settings, char *value, char *reason) {
  const char *at = text[0] == '0' && text[1] == 'o' ? text + 2 : text;
  size_t digits = strspn(at, "01234567");
  if (digits == 0 || at[digits] != '\0') {
    snprintf(reason, COLOCKP_REASON_SIZE, "'%s' is not an octal mode; write one such as 0660", shown);
    return -1;
  }
  unsigned mode = 0;
  for (; *at && mode <= (unsigned)key->most; at++)
    mode = mode * 8 + (unsigned)(*at - '0');
  if (mode > (unsigned)key->most)
    return out_of_range(key, shown, reason);
  if ((mode & 0600) != 0600) { /* a lock file its own owner cannot open again */
    snprintf(reason, COLOCKP_REASON_SIZE, "%s keeps the owner from reading or writing; %s is %s", shown,
             key->shown.name, key->shown.range);
    return -1;
  }
  *(unsigned *)field(key, settings) = mode;
  snprintf(value, COLOCKP_VALUE_SIZE, "%04o", mode);
  return 0;
}

int colockp_key_parse(const struct colockp_key *key, const char *text, struct colockp_settings *settings,
                      char value[COLOCKP_VALUE_SIZE], char *reason) {
  typedef int parse_function(const struct colockp_key *, const char *, const char *, struct colockp_settings *, char *,
                             char *);
  static parse_function *const parse[] = {
    [COLOCKP_BOOLEAN] = parse_boolean, [COLOCKP_DURATION] = parse_duration, [COLOCKP_INTEGER] = parse_integer,
    [COLOCKP_CHOICE] = parse_choice,   [COLOCKP_TEXT] = parse_text,         [COLOCKP_MODE] = parse_mode,
  };
  char shown[SHOWN];
  colockp_escape(shown, sizeof shown, text);
  return parse[key->type](key, text, shown, settings, value, reason);
}

int colockp_draft_set(struct colockp_draft *draft, int key, const char *text, const char *source, char *memory,
                      char *reason) {
  if (colockp_key_parse(&colockp_keys[key], text, &draft->settings, draft->value[key], reason) != 0)
    return -1;
  assert(!draft->touched[key]); /* nobody sets a key twice in one draft */
  draft->origin[key] = (struct colockp_origin){source, memory};
  draft->touched[key] = true;
  return 0;
}

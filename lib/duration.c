/* duration.c - see duration.h. Whole numbers only: no locale, no rounding, every overflow noticed. */
#include "duration.h"
#include "error.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BILLION INT64_C(1000000000)
#define LONGEST "2562047h"
#define UNITS "ns, us, ms, s, min or h"
#define SHOWN 64 /* how much of a wrong text its message repeats */

static const struct unit {
  const char *name;
  int64_t ns;
} units[] = {{"h", 3600 * BILLION}, {"min", 60 * BILLION}, {"s", BILLION}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}};

/* What people write for a unit, and what they may have meant. */
static const char *const meant[][2] = {
  {"m", "min or ms"}, {"mins", "min"},    {"minute", "min"}, {"minutes", "min"},  {"sec", "s"},  {"secs", "s"},
  {"second", "s"},    {"seconds", "s"},   {"msec", "ms"},    {"msecs", "ms"},     {"hr", "h"},   {"hrs", "h"},
  {"hour", "h"},      {"hours", "h"},     {"usec", "us"},    {"usecs", "us"},     {"nsec", "ns"}, {"nsecs", "ns"},
  {"\u00b5s", "us"},  {"\u03bcs", "us"},  {"millis", "ms"},  {"milliseconds", "ms"}, {"d", "h (24 to the day)"},
  {"day", "h (24 to the day)"}, {"days", "h (24 to the day)"},
};

static bool digit(char c) { return c >= '0' && c <= '9'; }

static const struct unit *find_unit(const char *name) {
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
    if (strcmp(units[i].name, name) == 0)
      return &units[i];
  return NULL;
}

static bool one_of(const char *text, const char *const *words) {
  for (; *words; words++)
    if (strcasecmp(text, *words) == 0)
      return true;
  return false;
}

/* What is wrong with a text that does not begin with a digit. */
static void explain_start(const char *text, bool forever, char *reason, size_t size) {
  static const char *const endless[] = {"forever", "inf", "infinity", "infinite", "never", "unlimited", NULL};
  static const char *const nan[] = {"nan", "+nan", "-nan", ".nan", NULL};
  char shown[SHOWN];
  colockp_escape(shown, sizeof shown, text);
  if (*text == '\0')
    snprintf(reason, size, "no duration given; write one such as 5s");
  else if (one_of(text, nan))
    snprintf(reason, size, "%s is not a number; write a duration such as 5s", shown);
  else if (forever && one_of(text, endless))
    snprintf(reason, size, "'%s' is not known; did you mean 'forever'?", shown);
  else if (*text == '-')
    snprintf(reason, size, "%s is negative; write a duration such as 5s", shown);
  else if (*text == '+' && digit(text[1]))
    snprintf(reason, size, "%s has a sign; write %s", shown, shown + 1);
  else if (*text == '.' && digit(text[1]))
    snprintf(reason, size, "%s has no digit before the point; write 0%s", shown, shown);
  else
    snprintf(reason, size, "'%s' is not a duration; write a number and a unit, such as 5s or 250ms", shown);
}

/* What is wrong with `rest`, which follows the number of `text` and is no unit. */
static void explain_unit(const char *text, const char *rest, char *reason, size_t size) {
  char shown[SHOWN], unit[SHOWN];
  colockp_escape(shown, sizeof shown, text);
  size_t letters = 0;
  while (isalpha((unsigned char)rest[letters]) || (unsigned char)rest[letters] >= 0x80)
    letters++;
  const char *after = rest + letters;
  for (size_t i = 0; i < sizeof meant / sizeof meant[0]; i++)
    if (strcasecmp(rest, meant[i][0]) == 0) {
      snprintf(reason, size, "%s: '%s' is no unit here; did you mean %s?", shown, meant[i][0], meant[i][1]);
      return;
    }
  if (*rest == '\0')
    snprintf(reason, size, "%s has no unit; did you mean %ss?", shown, shown);
  else if (letters == 0 && *rest == ' ')
    snprintf(reason, size, "'%s' has a blank before or after its unit; leave it out", shown);
  else if (letters == 0)
    snprintf(reason, size, "%s is not a number and a unit; write one such as 5s", shown);
  else if (digit(*after))
    snprintf(reason, size, "%s has more than one number; write it in one unit, such as 90min", shown);
  else if (*after != '\0')
    snprintf(reason, size, "'%s' goes on after its unit; leave out '%s'", shown,
             colockp_escape(unit, sizeof unit, after));
  else
    snprintf(reason, size, "%s: '%s' is no unit here; use " UNITS, shown, colockp_escape(unit, sizeof unit, rest));
}

/* The number's two halves, the whole one no higher than INT64_MAX; `fraction` in units of 1e-9. Returns what follows
 * it, or NULL with the reason. */
static const char *read_number(const char *text, int64_t *whole, int64_t *fraction, char *reason, size_t size) {
  const char *at = text;
  char shown[SHOWN];
  colockp_escape(shown, sizeof shown, text);
  *whole = *fraction = 0;
  for (; digit(*at); at++)
    if (__builtin_mul_overflow(*whole, 10, whole) || __builtin_add_overflow(*whole, *at - '0', whole))
      *whole = INT64_MAX; /* more than any unit takes, and it stays so */
  if (*at != '.')
    return at;
  if (!digit(*++at)) {
    snprintf(reason, size, "%s has no digit after the point; add one or leave the point out", shown);
    return NULL;
  }
  for (int64_t worth = BILLION / 10; digit(*at); at++, worth /= 10) {
    if (worth == 0) {
      snprintf(reason, size, "%s has more than 9 digits after the point; round it", shown);
      return NULL;
    }
    *fraction += worth * (*at - '0');
  }
  return at;
}

int colockp_duration_parse(int64_t *ns, const char *text, bool forever, char *reason, size_t reason_size) {
  int64_t whole, fraction, value, part = 0;
  char shown[SHOWN];
  if (forever && strcmp(text, "forever") == 0) {
    *ns = INT64_MAX;
    return 0;
  }
  if (!forever && strcmp(text, "forever") == 0) {
    snprintf(reason, reason_size, "'forever' is not possible here; write a duration such as 5s");
    return -1;
  }
  if (!digit(*text)) {
    explain_start(text, forever, reason, reason_size);
    return -1;
  }
  const char *rest = read_number(text, &whole, &fraction, reason, reason_size);
  if (!rest)
    return -1;
  const struct unit *unit = find_unit(rest);
  if (!unit && (*rest != '\0' || whole != 0 || fraction != 0)) {
    explain_unit(text, rest, reason, reason_size);
    return -1;
  }
  if (!unit)
    unit = find_unit("ns"); /* 0 needs none */
  colockp_escape(shown, sizeof shown, text);
  /* Both branches are exact: a unit is a multiple of 1e9 ns, or so small that the product fits. */
  if (unit->ns >= BILLION) {
    part = fraction * (unit->ns / BILLION);
  } else if (fraction * unit->ns % BILLION != 0) {
    snprintf(reason, reason_size, "%s is finer than a nanosecond; round it", shown);
    return -1;
  } else {
    part = fraction * unit->ns / BILLION;
  }
  if (__builtin_mul_overflow(whole, unit->ns, &value) || __builtin_add_overflow(value, part, &value) ||
      value == INT64_MAX) { /* which means for ever */
    snprintf(reason, reason_size, "%s is too long; the longest is " LONGEST "%s", shown, forever ? ", or forever" : "");
    return -1;
  }
  *ns = value;
  return 0;
}

char *colockp_duration_format(char out[COLOCKP_DURATION_SIZE], int64_t ns) {
  if (ns == INT64_MAX || ns <= 0) {
    snprintf(out, COLOCKP_DURATION_SIZE, "%s", ns > 0 ? "forever" : "0");
    return out;
  }
  const struct unit *unit = units;
  while (ns % unit->ns != 0)
    unit++; /* ends at ns */
  snprintf(out, COLOCKP_DURATION_SIZE, "%" PRId64 "%s", ns / unit->ns, unit->name);
  return out;
}

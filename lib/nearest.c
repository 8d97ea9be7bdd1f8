/* nearest.c - see nearest.h. Distance: letters left out, put in, exchanged, or swapped with their neighbour. */
#include "nearest.h"
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LONGEST 24 /* no key and no choice is longer */

static char fold(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c == '-' ? '_' : c; }

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Both no longer than LONGEST. */
static size_t distance(const char *a, const char *b) {
  size_t rows[3][LONGEST + 1], a_length = strlen(a), b_length = strlen(b);
  size_t *before = rows[0], *above = rows[1], *row = rows[2];
  for (size_t j = 0; j <= b_length; j++)
    above[j] = j;
  memset(rows[0], 0, sizeof rows[0]);
  for (size_t i = 1; i <= a_length; i++) {
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      char x = fold(a[i - 1]), y = fold(b[j - 1]);
      row[j] = least(above[j - 1] + (x != y), least(above[j], row[j - 1]) + 1);
      if (i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y)
        row[j] = least(row[j], before[j - 2] + 1);
    }
    size_t *oldest = before;
    before = above, above = row, row = oldest;
  }
  return above[b_length];
}

/* Is one the beginning of the other, three letters at least? */
static bool begins(const char *a, const char *b) {
  size_t same = 0;
  while (a[same] && b[same] && fold(a[same]) == fold(b[same]))
    same++;
  return same >= 3 && (!a[same] || !b[same]);
}

const char *colockp_nearest(const char *text, const char *const *words) {
  const char *best = NULL;
  size_t length = strnlen(text, LONGEST + 1);
  size_t best_distance = length < 4 ? 2 : 3; /* one slip in a short word, two in a longer one, are slips */
  if (length == 0 || length > LONGEST)
    return NULL;
  for (size_t i = 0; words[i]; i++) {
    size_t d = distance(text, words[i]);
    if (d < best_distance && d < length) {
      best = words[i];
      best_distance = d;
    }
  }
  for (size_t i = 0; !best && words[i]; i++)
    if (begins(text, words[i]))
      best = words[i];
  return best;
}

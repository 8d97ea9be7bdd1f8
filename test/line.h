/* line.h - a queue written down as text, for tests of what is made of its words.
 *
 * "w10 r3 pw7 u - !r5" are the words of six slots, one after another: a writer with the 10th ticket, a reader with the
 * 3rd, a writer that is passed over, an upgrader, an empty word, and a reader whose owner is dead. Who lives is a
 * descriptor of the test with the SLOT byte; the words go straight into the region.
 */
#ifndef COLOCK_TEST_LINE_H
#define COLOCK_TEST_LINE_H

#include "clock.h"
#include "lock.h"
#include "planted.h"
#include "queue.h"
#include <stdlib.h>

#define LINE_MOST 320

struct line {
  struct colockp_region *region;
  uint32_t first, end; /* slots */
  int fds[LINE_MOST];  /* -1: dead, or nobody */
};

static inline uint64_t line_key(long ticket) { return COLOCKP_KEY_BASE + (uint64_t)ticket; }

static inline uint64_t line_word(const char *text) {
  uint64_t passed = *text == 'p' ? COLOCKP_RANK_PASSED : 0;
  text += *text == 'p';
  if (*text == '-') return 0;
  if (*text == 'u') return planted_rank(COLOCKP_KEY_UPGRADE, COLOCK_EXCLUSIVE) | passed;
  ck_assert(*text == 'w' || *text == 'r');
  return planted_rank(line_key(atol(text + 1)), *text == 'w' ? COLOCK_EXCLUSIVE : COLOCK_SHARED) | passed;
}

/* The owner of a slot that is nothing but that; -1: the slot is taken. */
static inline int line_owner(const char *path, uint32_t slot) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  planted_take(fd, F_WRLCK, COLOCKP_BYTE_SLOT + slot);
  return fd;
}

/* Those in the text stand in line for ten seconds now, in slots from `first` on, asleep and watching; the flag says
 * so. */
static inline struct line line_of(struct colockp_region *region, uint32_t first, const char *text) {
  struct line line = {.region = region, .first = first, .end = first};
  struct colockp_header *header = region->header;
  char copy[4096], *rest = copy;
  ck_assert_uint_lt(strlen(text), sizeof copy);
  strcpy(copy, text);
  for (char *word; (word = strsep(&rest, " ")) != NULL;) {
    if (*word == '\0') continue;
    uint32_t slot = line.end++;
    ck_assert_uint_lt(slot - first, LINE_MOST);
    bool dead = *word == '!' || *word == '-';
    line.fds[slot - first] = dead ? -1 : line_owner(region->path, slot);
    atomic_store(&region->queue[slot].rank, line_word(word + (*word == '!')));
    atomic_store(&region->queue[slot].published, colockp_wall_ns() - 10 * SECOND);
    atomic_store(&region->bells[slot], COLOCKP_BELL_ASLEEP | COLOCKP_BELL_WATCH);
  }
  if (header->slots_in_use < line.end) header->slots_in_use = line.end;
  header->flag |= COLOCKP_FLAG_SET;
  header->turn = colockp_now_ns() - SECOND; /* nobody may go before them any more */
  return line;
}

/* They leave without a word, as if they had never been there. */
static inline void line_end(struct line *line) {
  for (uint32_t slot = line->first; slot < line->end; slot++) {
    if (line->fds[slot - line->first] >= 0) close(line->fds[slot - line->first]);
    atomic_store(&line->region->queue[slot].rank, 0);
    atomic_store(&line->region->queue[slot].published, COLOCKP_SEAT_FREE);
    atomic_store(&line->region->bells[slot], 0);
  }
  line->region->header->flag &= ~COLOCKP_FLAG_SET;
  line->end = line->first;
}

/* "1 3": the slots of the region whose bells have that bit. */
static inline const char *line_bells(const struct colockp_region *region, uint32_t bit) {
  static char text[2048];
  size_t used = 0;
  text[0] = '\0';
  for (uint32_t slot = 0; slot < region->header->slots_in_use && used < sizeof text - 16; slot++)
    if (atomic_load(&region->bells[slot]) & bit)
      used += (size_t)snprintf(text + used, sizeof text - used, used ? " %u" : "%u", slot);
  return text;
}

#endif

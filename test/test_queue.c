/* test_queue.c - ranks: published while somebody waits, in the right order, and gone when nobody does; who may go, and
 * whom to ring for that.
 *
 * Most tests write the words of a queue themselves (line.h) and look at what is made of them; the last ones let agents
 * wait.
 */
#define _GNU_SOURCE
#include "agent.h"
#include "line.h"
#include "support.h"
#include "system.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static colock *lock;
static struct colockp_region *region;
static struct colock_hold *seat; /* in slot 0 */
static char woken[2048];         /* the slots that were woken, in that order */

static int record_wake(uint32_t *word, int count) {
  size_t used = strlen(woken);
  (void)count;
  snprintf(woken + used, sizeof woken - used, used ? " %ld" : "%ld", (long)((_Atomic uint32_t *)word - region->bells));
  return 0;
}

static void have_seat(void) {
  lock = test_open(test_path("a.lock"));
  region = lock->region;
  seat = lock->pool;
  ck_assert_uint_eq(seat->number, 0);
  woken[0] = '\0';
  colockp_system.futex_wake = record_wake;
}

static void leave_seat(struct line *line) {
  if (line) line_end(line);
  colockp_system = colockp_system_default;
  colock_close(lock);
}

static uint64_t flag(void) { return atomic_load(&region->header->flag); }
static uint64_t word(uint32_t slot) { return atomic_load(&region->queue[slot].rank); }

/* ---- keys ---- */

START_TEST(key_is_ticket_less_64_places_a_unit_of_priority) {
  const uint64_t b = COLOCKP_KEY_BASE, most = (UINT64_C(1) << 62) - 1;
  const struct {
    uint64_t ticket;
    int priority;
    uint64_t key;
  } keys[] = {{0, 0, b}, {7, 0, b + 7}, {7, 1, b + 7 - 64}, {7, -1, b + 7 + 64}, {0, 100, b - 6400},
              {0, -100, b + 6400}, {b - 1, 0, most}, {b, 0, most}, {UINT64_MAX, 0, most}, {b - 1, -100, most},
              {UINT64_MAX, 100, most - 6400}};
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    uint64_t key = colockp_queue_key(keys[i].ticket, keys[i].priority);
    ck_assert_msg(key == keys[i].key, "%zu: %llx", i, (unsigned long long)key);
    ck_assert_uint_eq(key << COLOCKP_RANK_KEY_SHIFT >> COLOCKP_RANK_KEY_SHIFT, key); /* it fits in a word */
    ck_assert_uint_gt(key, COLOCKP_PRIORITY_PLACES);
  }
}
END_TEST

START_TEST(every_ticket_is_taken_once) {
  have_seat();
  atomic_store(&region->header->ticket, 41);
  ck_assert_uint_eq(colockp_queue_ticket(region, 0), line_key(41));
  ck_assert_uint_eq(colockp_queue_ticket(region, 2), line_key(42 - 128));
  ck_assert_uint_eq(atomic_load(&region->header->ticket), 43);
  leave_seat(NULL);
}
END_TEST

/* ---- who is rung ---- */

static const struct {
  const char *line; /* from slot 1 on */
  long phase;       /* tickets below it have waited for a writer; 0: none */
  const char *next; /* slots rung when LANE is let go */
  const char *front; /* the first four, in slot order */
} rings[] = {
    {"w1", 0, "1", "1"},
    {"r1", 0, "1", "1"},
    {"w1 w2 w3", 0, "1", "1 2 3"},
    {"w5 w4 w3 w2 w1", 0, "5", "2 3 4 5"},
    {"w2 w1 w3", 0, "2", "1 2 3"},
    {"w1 w5 w3 w2 w4 w6", 0, "1", "1 3 4 5"},
    {"r1 r2 r3", 0, "1 2 3", "1 2 3"},
    {"r1 r2 w3 r4", 0, "1 2", "1 2 3 4"},
    {"r4 w3 r2 w1", 0, "4", "1 2 3 4"},
    {"w1 r2 r3", 0, "1", "1 2 3"},
    {"r9 r1 w5 r3", 0, "2 4", "1 2 3 4"},
    {"r1 r2 r3 r4 r5 r6", 0, "1 2 3 4 5 6", "1 2 3 4"},
    {"- w2 - r1 -", 0, "4", "2 4"},
    /* ties: the lower slot is before */
    {"w5 w5", 0, "1", "1 2"},
    {"w5 w5 w5 w5 w5", 0, "1", "1 2 3 4"},
    {"r5 w5 r5", 0, "1", "1 2 3"},
    {"w5 r5", 0, "1", "1 2"},
    {"r6 r5 w5 r5", 0, "2", "1 2 3 4"},
    {"w7 w5 w5", 0, "2", "1 2 3"},
    {"w5 w7 w5", 0, "1", "1 2 3"},
    /* passed over: as if they were not there */
    {"pw1 w2 w3", 0, "2", "2 3"},
    {"pr1 w2", 0, "2", "2"},
    {"pw1 r2 r3 pw4", 0, "2 3", "2 3"},
    {"r1 pr2 r3", 0, "1 3", "1 3"},
    {"pw1", 0, "", ""},
    /* an upgrader is before all */
    {"r-6000 u w-6400", 0, "2", "1 2 3"},
    {"pr-6000 pw1 u", 0, "3", "3"},
    /* phase: readers that waited for a writer are 64 places further ahead, writers are not */
    {"w10 r50 r73 r75 r99", 100, "2 3", "1 2 3 4"},
    {"w10 r74", 100, "1", "1 2"},
    {"r74 w10", 100, "1", "1 2"},
    {"w10 r100", 100, "1", "1 2"},
    {"w10 w50 r60", 100, "3", "1 2 3"},
    {"u r1", 100, "1", "1 2"},
    {"w1 w2 w3 w4 w5 w6 w7 w8 w9 w10", 0, "1", "1 2 3 4"},
    {"", 0, "", ""},
};

static struct line ring_line(int i) {
  have_seat();
  struct line line = line_of(region, 1, rings[i].line);
  if (rings[i].phase) atomic_store(&region->header->phase, line_key(rings[i].phase));
  return line;
}

/* Both lists of slots, as line_bells writes them. */
static const char *both(const char *a, const char *b) {
  static char text[256];
  bool in[LINE_MOST] = {false};
  const char *lists[2] = {a, b};
  for (int i = 0; i < 2; i++)
    for (char *at = (char *)lists[i]; *at != '\0';) in[strtol(at, &at, 10)] = true;
  text[0] = '\0';
  for (int slot = 0; slot < LINE_MOST; slot++)
    if (in[slot]) sprintf(text + strlen(text), *text ? " %d" : "%d", slot);
  return text;
}

/* The first writer in line, as a list of slots. */
static const char *first_writer(const struct line *line) {
  static char text[16];
  uint64_t least = UINT64_MAX;
  text[0] = '\0';
  for (uint32_t slot = line->first; slot < line->end; slot++) {
    uint64_t rank = word(slot), place = colockp_rank_place(rank, region->header->phase);
    if (!colockp_rank_waits(rank) || !(rank & COLOCKP_RANK_EXCLUSIVE) || place >= least) continue;
    least = place;
    snprintf(text, sizeof text, "%u", slot);
  }
  return text;
}

/* With readers the writer behind them, which looks whether they live. */
START_TEST(who_may_go_is_rung_at_a_release) {
  struct line line = ring_line(_i);
  const char *expected = both(rings[_i].next, first_writer(&line));
  colockp_queue_released(region);
  ck_assert_msg(strcmp(line_bells(region, COLOCKP_BELL_RUNG), expected) == 0, "\"%s\" rings \"%s\"",
                rings[_i].line, line_bells(region, COLOCKP_BELL_RUNG));
  leave_seat(&line);
}
END_TEST

static void nobody_watches(const struct line *line) {
  for (uint32_t slot = line->first; slot < line->end; slot++) atomic_store(&region->bells[slot], COLOCKP_BELL_ASLEEP);
}

/* The last two of the first COLOCKP_WATCHERS in line, or the last one, as a list of slots. */
static const char *last_in_front(const struct line *line, int most) {
  static char text[2][64];
  uint32_t order[LINE_MOST], count = 0;
  for (uint32_t slot = line->first; slot < line->end; slot++) {
    if (!colockp_rank_waits(word(slot))) continue;
    uint64_t place = colockp_rank_place(word(slot), region->header->phase);
    uint32_t at = count++;
    for (; at > 0 && colockp_rank_place(word(order[at - 1]), region->header->phase) > place; at--)
      order[at] = order[at - 1];
    order[at] = slot;
  }
  count = count < COLOCKP_WATCHERS ? count : COLOCKP_WATCHERS;
  text[0][0] = text[1][0] = '\0';
  for (int i = 0; i < most && count > 0; i++) snprintf(text[i], sizeof text[i], "%u", order[--count]);
  return both(text[0], text[1]);
}

static void leave_from_the_front(bool granted) {
  atomic_store(&seat->entry->rank, planted_rank(line_key(-6400), COLOCK_EXCLUSIVE));
  colockp_queue_leave(seat, granted);
}

/* Whoever is among the first by now sleeps long, if it came as the tenth: two have to watch. */
START_TEST(two_of_the_first_are_made_to_watch) {
  struct line line = ring_line(_i);
  leave_from_the_front(true);
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), ""); /* all do */
  nobody_watches(&line);
  leave_from_the_front(true);
  const char *expected = last_in_front(&line, 2);
  ck_assert_msg(strcmp(line_bells(region, COLOCKP_BELL_RUNG), expected) == 0, "\"%s\" rings \"%s\", not \"%s\"",
                rings[_i].line, line_bells(region, COLOCKP_BELL_RUNG), expected);
  nobody_watches(&line);
  leave_from_the_front(false);
  char copy[64];
  strcpy(copy, last_in_front(&line, 2));
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), both(copy, rings[_i].next));
  if (*rings[_i].next == '\0') return leave_seat(&line);
  nobody_watches(&line);
  uint32_t head = (uint32_t)atoi(rings[_i].next); /* it watches: one more is enough */
  atomic_fetch_or(&region->bells[head], COLOCKP_BELL_WATCH);
  strcpy(copy, last_in_front(&line, 1));
  leave_from_the_front(true);
  if ((uint32_t)atoi(copy) != head) ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), copy);
  leave_seat(&line);
}
END_TEST

/* Each wakes up for that when it has waited 1 ms. */
START_TEST(who_came_a_moment_ago_is_not_made_to_watch) {
  struct line line = ring_line(_i);
  nobody_watches(&line);
  for (uint32_t slot = line.first; slot < line.end; slot++)
    atomic_store(&region->queue[slot].published, colockp_wall_ns() + 60 * SECOND); /* in a slow test, too */
  leave_from_the_front(true);
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), "");
  leave_seat(&line);
}
END_TEST

START_TEST(first_four_and_who_may_go_are_rung_when_somebody_may_have_died) {
  struct line line = ring_line(_i);
  colockp_queue_ring_front(region);
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), both(rings[_i].front, rings[_i].next));
  for (uint32_t slot = line.first; slot < line.end; slot++) /* who rang them may have died over it */
    atomic_store(&region->bells[slot], COLOCKP_BELL_ASLEEP | COLOCKP_BELL_RUNG);
  woken[0] = '\0';
  colockp_queue_ring_front(region);
  for (uint32_t slot = line.first; slot < line.end; slot++) {
    char number[16];
    snprintf(number, sizeof number, "%u", slot); /* slots have one digit here */
    ck_assert_int_eq(strstr(woken, number) != NULL, word(slot) != 0);
  }
  leave_seat(&line);
}
END_TEST

START_TEST(who_gives_up_rings_whom_that_lets_go) {
  struct line line = ring_line(_i);
  atomic_store(&seat->entry->rank, planted_rank(line_key(-6400), COLOCK_EXCLUSIVE));
  colockp_queue_leave(seat, false);
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), rings[_i].next);
  leave_seat(&line);
}
END_TEST

START_TEST(who_is_cleared_away_lets_others_go) {
  struct line line = ring_line(_i);
  atomic_store(&region->queue[0].rank, planted_rank(line_key(-6400), COLOCK_EXCLUSIVE));
  colockp_queue_clear(region, 0);
  ck_assert_uint_eq(word(0), 0);
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), rings[_i].next);
  woken[0] = '\0';
  colockp_queue_clear(region, 0); /* there is nothing to clear any more */
  ck_assert_str_eq(woken, "");
  leave_seat(&line);
}
END_TEST

START_TEST(nobody_is_looked_for_while_the_flag_is_clear) {
  have_seat();
  struct line line = line_of(region, 1, "w1 r2");
  region->header->flag = 8;
  colockp_queue_released(region);
  colockp_queue_end_phase(region);
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), "");
  ck_assert_uint_eq(region->header->phase, 0);
  ck_assert(!colockp_queue_contended(region, COLOCK_EXCLUSIVE, 0));
  leave_seat(&line);
}
END_TEST

/* A bell that is rung already has an owner who has not looked yet; one without ASLEEP has one who runs. */
START_TEST(only_sleepers_are_woken) {
  static const struct {
    uint32_t before;
    bool wakes;
  } bells[] = {{0, false},
               {COLOCKP_BELL_RUNG, false},
               {COLOCKP_BELL_ASLEEP, true},
               {COLOCKP_BELL_RUNG | COLOCKP_BELL_ASLEEP, false},
               {COLOCKP_BELL_WATCH, false},
               {COLOCKP_BELL_WATCH | COLOCKP_BELL_ASLEEP, true},
               {COLOCKP_BELL_WATCH | COLOCKP_BELL_RUNG | COLOCKP_BELL_ASLEEP, false}};
  have_seat();
  struct line line = line_of(region, 1, "w1");
  for (size_t i = 0; i < sizeof bells / sizeof bells[0]; i++) {
    woken[0] = '\0';
    atomic_store(&region->bells[1], bells[i].before);
    colockp_queue_released(region);
    ck_assert_str_eq(woken, bells[i].wakes ? "1" : "");
    ck_assert_uint_eq(atomic_load(&region->bells[1]), bells[i].before | COLOCKP_BELL_RUNG);
    woken[0] = '\0'; /* whoever rang it before may have died over it */
    atomic_store(&region->bells[1], bells[i].before);
    colockp_queue_ring(region);
    ck_assert_str_eq(woken, "1");
  }
  leave_seat(&line);
}
END_TEST

START_TEST(everybody_is_rung_when_the_lock_was_forced) {
  have_seat();
  struct line line = line_of(region, 1, "w3 - r9 pw1 u");
  atomic_store(&region->bells[1], COLOCKP_BELL_RUNG | COLOCKP_BELL_ASLEEP);
  colockp_queue_ring_all(region);
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), "1 3 4 5");
  ck_assert_str_eq(woken, "1 3 4 5");
  leave_seat(&line);
}
END_TEST

START_TEST(listening_clears_the_bell_and_says_whether_it_was_rung) {
  have_seat();
  for (uint32_t bell = 0; bell < 16; bell++) {
    atomic_store(&region->bells[0], bell % 8);
    ck_assert_int_eq(colockp_queue_listen(seat, bell >= 8), (bell & COLOCKP_BELL_RUNG) != 0);
    ck_assert_uint_eq(atomic_load(&region->bells[0]), bell >= 8 ? COLOCKP_BELL_WATCH : 0);
  }
  leave_seat(NULL);
}
END_TEST

/* ---- who stands before whom ---- */

static const struct {
  const char *own, *line; /* own in slot 0 */
  long phase;
  uint32_t place, conflicts, nearest; /* 0: none */
} aheads[] = {
    {"w5", "", 0, 0, 0, 0},
    {"w5", "w6 r7", 0, 0, 0, 0},
    {"w5", "w1 r2 w3 r9", 0, 3, 3, 3},
    {"w5", "w3 r2 w1", 0, 3, 3, 1},
    {"r5", "r1 r2 r3", 0, 3, 0, 0},
    {"r5", "r4 w1 r2 w3 w6", 0, 4, 2, 4},
    {"r5", "w3 w1", 0, 2, 2, 1},
    {"w5", "w5", 0, 0, 0, 0}, /* a tie: slot 0 is before */
    {"r5", "w5", 0, 0, 0, 0},
    {"w9", "pw1 r2 pw3", 0, 1, 1, 2},
    {"r9", "pw1 r2 pw3", 0, 1, 0, 0},
    {"w-6400", "u", 0, 1, 1, 1},
    {"u", "w-6400 r-6400", 0, 0, 0, 0},
    {"r50", "w10 w-15 r60", 100, 1, 1, 2}, /* 64 places further ahead */
    {"r50", "w10 w-15 r60", 50, 2, 2, 1},
    {"w10", "r50 r73 r75", 100, 2, 2, 2},
    {"w10", "r50 r73 r75", 60, 1, 1, 1},
    {"w50", "w10 r60", 100, 2, 2, 1},
};

START_TEST(conflicts_ahead_are_counted_and_the_nearest_named) {
  have_seat();
  struct line line = line_of(region, 1, aheads[_i].line);
  if (aheads[_i].phase) atomic_store(&region->header->phase, line_key(aheads[_i].phase));
  uint64_t own = line_word(aheads[_i].own);
  int mode = own & COLOCKP_RANK_EXCLUSIVE ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
  colockp_queue_join(seat, mode, own >> COLOCKP_RANK_KEY_SHIFT);
  ck_assert_uint_eq(word(0), own);
  struct colockp_ahead ahead = {.place = 77};
  colockp_queue_ahead(seat, mode, own >> COLOCKP_RANK_KEY_SHIFT, &ahead);
  ck_assert_msg(ahead.place == aheads[_i].place && ahead.conflicts == aheads[_i].conflicts,
                "%s before \"%s\": %u, %u in the way", aheads[_i].own, aheads[_i].line, ahead.place, ahead.conflicts);
  ck_assert_uint_eq(ahead.nearest, aheads[_i].nearest);
  ck_assert_uint_eq(ahead.word, aheads[_i].nearest ? word(ahead.nearest) : 0);
  colockp_queue_leave(seat, false);
  leave_seat(&line);
}
END_TEST

START_TEST(newcomer_stands_behind_all) {
  static const struct {
    const char *line;
    int mode;
    uint32_t place, conflicts;
  } lines[] = {{"", COLOCK_EXCLUSIVE, 0, 0},           {"r1 r2", COLOCK_SHARED, 2, 0},
               {"r1 r2", COLOCK_EXCLUSIVE, 2, 2},       {"r1 w9000 r2", COLOCK_SHARED, 3, 1},
               {"pw1 pr2 r3", COLOCK_EXCLUSIVE, 1, 1}, {"pw1 pr2", COLOCK_EXCLUSIVE, 0, 0}};
  have_seat();
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    struct colockp_ahead ahead;
    struct line line = line_of(region, 1, lines[i].line);
    colockp_queue_behind(region, lines[i].mode, &ahead);
    ck_assert_msg(ahead.place == lines[i].place && ahead.conflicts == lines[i].conflicts, "\"%s\": %u, %u",
                  lines[i].line, ahead.place, ahead.conflicts);
    line_end(&line);
  }
  leave_seat(NULL);
}
END_TEST

/* What the header says is bounded by the file: behind its end a look would be a SIGBUS. */
START_TEST(any_word_is_found_whatever_it_says) {
  static const struct {
    const char *line;
    uint32_t slot;
  } lines[] = {{"", COLOCKP_SLOTS_MAX}, {"- -", COLOCKP_SLOTS_MAX}, {"- pw1 r1", 2}, {"r1", 1}, {"- - !w1", 3}};
  have_seat();
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    struct line line = line_of(region, 1, lines[i].line);
    ck_assert_uint_eq(colockp_queue_any(region), lines[i].slot);
    line_end(&line);
  }
  leave_seat(NULL);
}
END_TEST

START_TEST(slots_that_cannot_be_are_not_looked_at) {
  have_seat();
  struct line line = line_of(region, 1, "w1");
  struct colockp_ahead ahead;
  atomic_store(&region->queue[COLOCKP_SLOTS_MIN].rank, line_word("w2"));
  region->header->slots_in_use = UINT32_MAX;
  colockp_queue_behind(region, COLOCK_EXCLUSIVE, &ahead);
  ck_assert_uint_eq(ahead.place, 1);
  atomic_store(&region->queue[COLOCKP_SLOTS_MIN].rank, 0);
  region->header->capacity = UINT32_MAX;
  colockp_queue_behind(region, COLOCK_EXCLUSIVE, &ahead);
  ck_assert_uint_eq(ahead.place, 1);
  region->header->slots_in_use = 2;
  region->header->capacity = COLOCKP_SLOTS_MIN;
  leave_seat(&line);
}
END_TEST

START_TEST(contended_counts_whom_the_mode_keeps_waiting) {
  static const struct {
    const char *line;
    bool shared, exclusive; /* a hold of that mode keeps somebody waiting */
  } lines[] = {{"", false, false},   {"r1", false, true},    {"w1", true, true}, {"r1 r2 w3", true, true},
               {"pw1", false, false}, {"pw1 r2", false, true}, {"u", true, true}};
  have_seat();
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    struct line line = line_of(region, 1, lines[i].line);
    atomic_store(&region->queue[0].rank, line_word("w5")); /* our own does not count */
    ck_assert_int_eq(colockp_queue_contended(region, COLOCK_SHARED, 0), lines[i].shared);
    ck_assert_int_eq(colockp_queue_contended(region, COLOCK_EXCLUSIVE, 0), lines[i].exclusive);
    atomic_store(&region->queue[0].rank, 0);
    line_end(&line);
  }
  leave_seat(NULL);
}
END_TEST

/* ---- join, leave, flag and turn ---- */

START_TEST(joining_shows_the_word_and_bumps_the_flag) {
  have_seat();
  ck_assert_uint_eq(flag() & COLOCKP_FLAG_SET, 0);
  uint64_t version = flag();
  int64_t before = colockp_wall_ns(), now = colockp_now_ns();
  colockp_queue_join(seat, COLOCK_EXCLUSIVE, line_key(5));
  ck_assert_uint_eq(word(0), line_word("w5"));
  ck_assert_int_ge(seat->entry->published, before);
  ck_assert_int_le(seat->entry->published, colockp_wall_ns());
  ck_assert_uint_eq(flag(), (version + 2) | COLOCKP_FLAG_SET);
  ck_assert_int_ge(region->header->turn, now); /* the queue was empty: its head's turn begins */
  region->header->turn = 17;
  atomic_store(&seat->entry->rank, 0);
  colockp_queue_join(seat, COLOCK_SHARED, line_key(6));
  ck_assert_uint_eq(word(0), line_word("r6"));
  ck_assert_uint_eq(flag(), (version + 4) | COLOCKP_FLAG_SET);
  ck_assert_int_eq(region->header->turn, 17); /* somebody is the head already */
  colockp_queue_leave(seat, false);
  leave_seat(NULL);
}
END_TEST

START_TEST(last_one_to_leave_clears_the_flag) {
  for (int granted = 0; granted < 2; granted++) {
    have_seat();
    colockp_queue_join(seat, COLOCK_EXCLUSIVE, line_key(5));
    region->header->turn = 17;
    atomic_store(&region->bells[0], COLOCKP_BELL_ASLEEP | COLOCKP_BELL_RUNG | COLOCKP_BELL_WATCH);
    int64_t now = colockp_now_ns();
    uint64_t before = flag();
    colockp_queue_leave(seat, granted);
    ck_assert_uint_eq(word(0), 0);
    ck_assert_int_eq(seat->entry->published, COLOCKP_SEAT_TAKEN);
    ck_assert_uint_eq(atomic_load(&region->bells[0]), 0); /* nobody pays a wake-up for who has gone */
    ck_assert_uint_eq(flag(), before & ~COLOCKP_FLAG_SET); /* the version stays */
    if (granted) ck_assert_int_ge(region->header->turn, now); /* the next one is the head from now on */
    else ck_assert_int_eq(region->header->turn, 17);
    leave_seat(NULL);
    unlink(test_path("a.lock"));
  }
}
END_TEST

START_TEST(flag_stays_for_whoever_else_is_in_line) {
  static const char *const lines[] = {"w9", "r1", "pw1", "- - r9", "!w1"};
  have_seat();
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    for (int granted = 0; granted < 2; granted++) {
      struct line line = line_of(region, 1, lines[i]);
      colockp_queue_join(seat, COLOCK_EXCLUSIVE, line_key(5));
      uint64_t before = flag();
      colockp_queue_leave(seat, granted);
      ck_assert_uint_eq(flag(), before);
      line_end(&line);
    }
  leave_seat(NULL);
}
END_TEST

struct comer {
  struct colock_hold *seat;
  int64_t end_ms;
  long rounds, unseen;
  int stays, rests; /* looks at the flag, while in line and out of it */
};

static void *come_and_go(void *arg) {
  struct comer *c = arg;
  while (test_now_ms() < c->end_ms || c->rounds <= 100) {
    colockp_queue_join(c->seat, COLOCK_EXCLUSIVE, line_key(c->rounds));
    for (int i = 0; i < c->stays && c->unseen == 0; i++) c->unseen += !(flag() & COLOCKP_FLAG_SET);
    colockp_queue_leave(c->seat, c->rounds++ % 2 == 0);
    for (int i = 0; i < c->rests; i++) flag();
  }
  return NULL;
}

START_TEST(flag_is_not_cleared_when_somebody_has_joined_in_between) {
  colock_hold *holds[2];
  pthread_t threads[2];
  struct comer comers[2];
  int64_t end_ms = test_now_ms() + 1000 * test_seconds(1) / 2;
  have_seat();
  colockp_system.futex_wake = colockp_system_default.futex_wake;
  for (int i = 0; i < 2; i++) {
    must(colock_try_acquire(lock, COLOCK_SHARED, &holds[i]));
    comers[i] = (struct comer){.seat = holds[i], .end_ms = end_ms, .stays = i ? 0 : 300, .rests = i ? 300 : 0};
  }
  ck_assert_uint_lt(holds[0]->number, holds[1]->number); /* who leaves looks there first, and then for long elsewhere */
  region->header->slots_in_use = COLOCKP_SLOTS_MIN;
  for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, &comers[i]), 0);
  for (int i = 0; i < 2; i++) {
    pthread_join(threads[i], NULL);
    ck_assert_msg(comers[i].unseen == 0, "the flag was clear while somebody waited, after %ld rounds",
                  comers[i].rounds);
    must(colock_release(holds[i]));
  }
  ck_assert(!(flag() & COLOCKP_FLAG_SET));
  leave_seat(NULL);
}
END_TEST

START_TEST(newcomers_go_first_for_one_ms_of_a_turn) {
  const int64_t ms = 1000000;
  have_seat();
  struct colockp_header *header = region->header;
  header->turn = 100 * ms;
  ck_assert_int_eq(colockp_queue_turn_ends(region, 100 * ms), 101 * ms);
  ck_assert_int_eq(colockp_queue_turn_ends(region, 101 * ms - 1), 101 * ms);
  ck_assert_int_eq(colockp_queue_turn_ends(region, 101 * ms), 0);
  ck_assert_int_eq(colockp_queue_turn_ends(region, 100 * ms - 1), 0); /* another clock's */
  ck_assert(colockp_queue_may_barge(region)); /* nobody waits, whatever the turn says */
  header->flag |= COLOCKP_FLAG_SET;
  ck_assert(!colockp_queue_may_barge(region));
  header->turn = colockp_now_ns() - ms;
  ck_assert(!colockp_queue_may_barge(region));
  bool may = false;
  for (int i = 0; i < 100 && !may; i++) { /* unless we are kept from the processor for a ms each time */
    header->turn = colockp_now_ns();
    may = colockp_queue_may_barge(region);
  }
  ck_assert(may);
  header->flag = 0;
  leave_seat(NULL);
}
END_TEST

START_TEST(phase_ends_at_the_present_ticket_and_never_goes_back) {
  have_seat();
  struct line line = line_of(region, 1, "w1");
  atomic_store(&region->header->ticket, 500);
  colockp_queue_end_phase(region);
  ck_assert_uint_eq(region->header->phase, line_key(500));
  atomic_store(&region->header->ticket, 400);
  colockp_queue_end_phase(region);
  ck_assert_uint_eq(region->header->phase, line_key(500));
  atomic_store(&region->header->ticket, 501);
  colockp_queue_end_phase(region);
  ck_assert_uint_eq(region->header->phase, line_key(501));
  leave_seat(&line);
}
END_TEST

/* ---- words that others have changed ---- */

START_TEST(word_that_is_gone_is_published_again_with_its_key) {
  have_seat();
  struct colockp_ahead ahead;
  colockp_queue_join(seat, COLOCK_SHARED, line_key(5));
  uint64_t before = flag();
  colockp_queue_clear(region, 0);
  ck_assert_uint_eq(flag() & COLOCKP_FLAG_SET, 0);
  colockp_queue_ahead(seat, COLOCK_SHARED, line_key(5), &ahead);
  ck_assert_uint_eq(word(0), line_word("r5"));
  ck_assert_uint_eq(flag(), before + 2);
  colockp_queue_ahead(seat, COLOCK_SHARED, line_key(5), &ahead);
  ck_assert_uint_eq(flag(), before + 2); /* it was there */
  colockp_queue_leave(seat, false);
  leave_seat(NULL);
}
END_TEST

START_TEST(who_was_passed_over_stands_in_its_old_place_once_it_looks) {
  have_seat();
  struct line line = line_of(region, 1, "w1 w9");
  struct colockp_ahead ahead;
  colockp_queue_join(seat, COLOCK_EXCLUSIVE, line_key(5));
  atomic_store(&seat->entry->rank, line_word("pw5"));
  colockp_queue_ahead(seat, COLOCK_EXCLUSIVE, line_key(5), &ahead);
  ck_assert_uint_eq(word(0), line_word("w5"));
  ck_assert_uint_eq(ahead.place, 1);
  ck_assert_uint_eq(ahead.nearest, 1);
  colockp_queue_leave(seat, false);
  leave_seat(&line);
}
END_TEST

/* Those before a waiter with the tenth ticket, in slot 0, that have been rung and have not looked since. */
static const struct {
  const char *line, *rung, *passed;
  int mode;
} passes[] = {
    {"w1 w2 r3 w4", "1 3", "1 3", COLOCK_EXCLUSIVE},
    {"w1 w2", "", "", COLOCK_EXCLUSIVE},
    {"w1 w20 w10", "1 2 3", "1", COLOCK_EXCLUSIVE}, /* behind it: a tie goes to the lower slot */
    {"r1 w2 r3", "1 2 3", "2", COLOCK_SHARED},      /* readers are in no reader's way */
    {"r1 w2 r3", "1 2 3", "1 2 3", COLOCK_EXCLUSIVE},
    {"pw1 - u", "1 2 3", "3", COLOCK_SHARED},
};

START_TEST(who_was_rung_and_has_not_looked_is_passed_over) {
  have_seat();
  struct line line = line_of(region, 1, passes[_i].line);
  char before[16];
  colockp_queue_join(seat, passes[_i].mode, line_key(10));
  atomic_store(&region->bells[0], COLOCKP_BELL_RUNG);
  for (const char *at = passes[_i].rung; *at != '\0'; at++)
    if (*at != ' ') atomic_fetch_or(&region->bells[*at - '0'], COLOCKP_BELL_RUNG);
  uint64_t words[8];
  for (uint32_t slot = 0; slot < line.end; slot++) words[slot] = word(slot);
  ck_assert_int_eq(colockp_queue_pass(seat, passes[_i].mode, line_key(10)), *passes[_i].passed != '\0');
  for (uint32_t slot = 0; slot < line.end; slot++) {
    snprintf(before, sizeof before, "%u", slot);
    uint64_t mark = strstr(passes[_i].passed, before) ? COLOCKP_RANK_PASSED : 0;
    ck_assert_msg(word(slot) == (words[slot] | mark), "\"%s\", slot %u", passes[_i].line, slot);
  }
  ck_assert(!colockp_queue_pass(seat, passes[_i].mode, line_key(10))); /* once is enough */
  colockp_queue_leave(seat, false);
  leave_seat(&line);
}
END_TEST

START_TEST(end_of_the_line_is_behind_all) {
  static const struct {
    const char *line;
    uint64_t key;
  } lines[] = {{"", 1}, {"w5", COLOCKP_KEY_BASE + 6}, {"w5 r9 w7", COLOCKP_KEY_BASE + 10},
               {"pw900 r-6400", COLOCKP_KEY_BASE + 901}, {"u", COLOCKP_KEY_UPGRADE + 1}};
  have_seat();
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    struct line line = line_of(region, 1, lines[i].line);
    ck_assert_msg(colockp_queue_end(region) == lines[i].key, "\"%s\"", lines[i].line);
    line_end(&line);
  }
  atomic_store(&region->queue[0].rank, UINT64_MAX & ~COLOCKP_RANK_PASSED);
  ck_assert_uint_eq(colockp_queue_end(region), (UINT64_C(1) << 62) - 1); /* still a word's */
  atomic_store(&region->queue[0].rank, 0);
  leave_seat(NULL);
}
END_TEST

/* ---- agents that wait ---- */

static uint64_t rank_of(const char *path, uint32_t slot) {
  static unsigned char bytes[COLOCKP_AT_QUEUE + 4096];
  uint64_t rank;
  test_read(path, bytes, sizeof bytes);
  memcpy(&rank, bytes + COLOCKP_AT_QUEUE + slot * sizeof(struct colockp_queue_entry), sizeof rank);
  return rank;
}

static uint64_t key_of(uint64_t rank) { return rank >> COLOCKP_RANK_KEY_SHIFT; }

static bool flag_set(const char *path) {
  struct colockp_header header = test_header(path);
  return (header.flag & COLOCKP_FLAG_SET) != 0;
}

START_TEST(report_shows_waiters_in_order) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path), *b = agent_open(path), *c = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000 purpose=holds"), COLOCK_OK);
  agent_send(a, "acquire x 20000 purpose=first");
  test_await_waiters(path, 1);
  agent_send(b, "acquire s 20000 priority=-10 purpose=humble");
  test_await_waiters(path, 2);
  agent_send(c, "acquire x 20000 priority=50 purpose=urgent");
  test_await_waiters(path, 3);
  char expected[512];
  ck_assert_int_eq(agent_call(holder, "report %s", agent_word(path)), COLOCK_OK);
  char *parts[5] = {NULL};
  int n = 0;
  for (char *p = strtok(holder->text, ";"); p != NULL && n < 5; p = strtok(NULL, ";")) parts[n++] = p;
  ck_assert_int_eq(n, 4);
  const struct {
    const struct agent *agent;
    int role, mode, priority;
    const char *purpose;
  } order[] = {{holder, COLOCK_HOLDER, COLOCK_EXCLUSIVE, 0, "holds"},
               {c, COLOCK_WAITER, COLOCK_EXCLUSIVE, 50, "urgent"},
               {a, COLOCK_WAITER, COLOCK_EXCLUSIVE, 0, "first"},
               {b, COLOCK_WAITER, COLOCK_SHARED, -10, "humble"}};
  for (int i = 0; i < 4; i++) {
    snprintf(expected, sizeof expected, "%d:%d:%d:%d:", order[i].role, order[i].mode, (int)order[i].agent->pid,
             order[i].priority);
    ck_assert_msg(strncmp(parts[i], expected, strlen(expected)) == 0, "%d is \"%s\", not \"%s\"", i, parts[i],
                  expected);
    ck_assert_ptr_nonnull(strstr(parts[i], order[i].purpose));
  }
}
END_TEST

START_TEST(rank_is_ticket_and_priority) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path), *b = agent_open(path);
  uint64_t ticket = 1000;
  test_poke(path, offsetof(struct colockp_header, ticket), &ticket, sizeof ticket);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire x 20000 priority=3");
  test_await_waiters(path, 1);
  agent_send(b, "acquire s 20000 priority=-2");
  test_await_waiters(path, 2);
  uint64_t first = rank_of(path, 1), second = rank_of(path, 2);
  ck_assert_uint_eq(key_of(first), COLOCKP_KEY_BASE + 1000 - 3 * 64);
  ck_assert_uint_eq(first & 3, COLOCKP_RANK_EXCLUSIVE);
  ck_assert_uint_eq(key_of(second), COLOCKP_KEY_BASE + 1001 + 2 * 64);
  ck_assert_uint_eq(second & 3, 0);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.ticket, 1002);
}
END_TEST

START_TEST(rank_saturates_at_the_last_ticket) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path);
  uint64_t ticket = COLOCKP_KEY_BASE - 1;
  test_poke(path, offsetof(struct colockp_header, ticket), &ticket, sizeof ticket);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire x 20000 priority=-100");
  test_await_waiters(path, 1);
  uint64_t rank = rank_of(path, 1);
  ck_assert_uint_gt(key_of(rank), COLOCKP_KEY_BASE);
  ck_assert_uint_eq(rank & 3, COLOCKP_RANK_EXCLUSIVE);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
}
END_TEST

enum { GRANTED, TIMED_OUT, CANCELED, INTERRUPTED, WAYS };

START_TEST(rank_and_flag_go_when_the_wait_ends) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path);
  ck_assert(!flag_set(path));
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire s %d %s", _i == TIMED_OUT ? 400 : 20000, _i == INTERRUPTED ? "interruptible" : "");
  test_await_waiters(path, 1);
  ck_assert(flag_set(path));
  if (_i == GRANTED) ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  if (_i == CANCELED) kill(a->pid, SIGUSR1);
  while (_i == INTERRUPTED && !agent_answered(a)) kill(a->pid, SIGUSR2); /* one may come between two sleeps */
  static const int codes[] = {COLOCK_OK, COLOCK_ETIMEDOUT, COLOCK_ECANCELED, COLOCK_EINTR};
  ck_assert_int_eq(agent_answer(a), codes[_i]);
  ck_assert_uint_eq(test_waiters(path), 0);
  ck_assert(!flag_set(path));
  ck_assert_int_eq(agent_call(holder, "report %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq((int)holder->number, 1);
}
END_TEST

START_TEST(flag_stays_while_another_waits) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire x 20000");
  agent_send(b, "acquire x 20000");
  test_await_waiters(path, 2);
  kill(a->pid, SIGUSR1);
  ck_assert_int_eq(agent_answer(a), COLOCK_ECANCELED);
  ck_assert_uint_eq(test_waiters(path), 1);
  ck_assert(flag_set(path));
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(b), COLOCK_OK);
  ck_assert(!flag_set(path));
}
END_TEST

START_TEST(dead_waiter_is_not_shown) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire x 20000");
  test_await_waiters(path, 1);
  agent_kill(a);
  ck_assert_int_eq(agent_call(holder, "report %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq((int)holder->number, 1);
}
END_TEST

START_TEST(readers_enter_together_and_a_writer_waits_for_the_last) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *readers[3], *writer = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  for (int i = 0; i < 3; i++) {
    readers[i] = agent_open(path);
    agent_send(readers[i], "acquire s 20000");
  }
  test_await_waiters(path, 3);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  for (int i = 0; i < 3; i++) ck_assert_int_eq(agent_answer(readers[i]), COLOCK_OK); /* all are inside now */
  agent_send(writer, "acquire x 20000");
  test_await_waiters(path, 1);
  for (int i = 0; i < 3; i++) {
    ck_assert(!agent_answered(writer));
    ck_assert_int_eq(agent_call(readers[i], "release 0"), COLOCK_OK);
  }
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
}
END_TEST

START_TEST(waiters_are_served_by_priority_and_then_in_the_order_in_which_they_came) {
  static const int priorities[] = {0, -3, 5, 0, 1, -3, 5};
  static const int order[] = {2, 6, 4, 0, 3, 1, 5};
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *waiters[7];
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  for (unsigned i = 0; i < 7; i++) {
    waiters[i] = agent_open(path);
    agent_send(waiters[i], "acquire x 20000 priority=%d", priorities[i]);
    test_await_waiters(path, i + 1);
  }
  for (unsigned i = 0; i < 7; i++) {
    ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
    holder = waiters[order[i]];
    ck_assert_int_eq(agent_answer(holder), COLOCK_OK);
    for (unsigned j = i + 1; j < 7; j++) ck_assert(!agent_answered(waiters[order[j]]));
  }
}
END_TEST

/* A reader waits for one writer, not for all that came before it. */
START_TEST(reader_that_waits_when_a_writer_ends_goes_before_the_next_writer) {
  const char *path = test_path("a.lock");
  struct agent *writers[3], *reader = agent_open(path);
  for (unsigned i = 0; i < 3; i++) {
    writers[i] = agent_open(path);
    agent_send(writers[i], "acquire x 20000");
    if (i == 0) ck_assert_int_eq(agent_answer(writers[0]), COLOCK_OK);
    test_await_waiters(path, i);
  }
  agent_send(reader, "acquire s 20000");
  test_await_waiters(path, 3);
  ck_assert_int_eq(agent_call(writers[0], "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(reader), COLOCK_OK);
  ck_assert(!agent_answered(writers[1]));
  test_end_turn(path);
  agent_send(writers[0], "acquire s 20000"); /* it came after them, and no exclusive hold has ended since */
  test_await_waiters(path, 3);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(writers[1]), COLOCK_OK);
  ck_assert_int_eq(agent_call(writers[1], "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(writers[0]), COLOCK_OK);
  ck_assert(!agent_answered(writers[2]));
}
END_TEST

static void fill(Suite *suite) {
  const int ring_count = (int)(sizeof rings / sizeof rings[0]), ahead_count = (int)(sizeof aheads / sizeof aheads[0]);
  TCase *tcase = test_case(suite, "words", 30);
  tcase_add_test(tcase, key_is_ticket_less_64_places_a_unit_of_priority);
  tcase_add_test(tcase, every_ticket_is_taken_once);
  tcase_add_loop_test(tcase, who_may_go_is_rung_at_a_release, 0, ring_count);
  tcase_add_loop_test(tcase, two_of_the_first_are_made_to_watch, 0, ring_count);
  tcase_add_loop_test(tcase, who_came_a_moment_ago_is_not_made_to_watch, 0, ring_count);
  tcase_add_loop_test(tcase, first_four_and_who_may_go_are_rung_when_somebody_may_have_died, 0, ring_count);
  tcase_add_loop_test(tcase, who_gives_up_rings_whom_that_lets_go, 0, ring_count);
  tcase_add_loop_test(tcase, who_is_cleared_away_lets_others_go, 0, ring_count);
  tcase_add_test(tcase, nobody_is_looked_for_while_the_flag_is_clear);
  tcase_add_test(tcase, only_sleepers_are_woken);
  tcase_add_test(tcase, everybody_is_rung_when_the_lock_was_forced);
  tcase_add_test(tcase, listening_clears_the_bell_and_says_whether_it_was_rung);
  tcase_add_loop_test(tcase, conflicts_ahead_are_counted_and_the_nearest_named, 0, ahead_count);
  tcase_add_test(tcase, newcomer_stands_behind_all);
  tcase_add_test(tcase, any_word_is_found_whatever_it_says);
  tcase_add_test(tcase, slots_that_cannot_be_are_not_looked_at);
  tcase_add_test(tcase, contended_counts_whom_the_mode_keeps_waiting);
  tcase_add_test(tcase, joining_shows_the_word_and_bumps_the_flag);
  tcase_add_test(tcase, last_one_to_leave_clears_the_flag);
  tcase_add_test(tcase, flag_stays_for_whoever_else_is_in_line);
  tcase_add_test(tcase, flag_is_not_cleared_when_somebody_has_joined_in_between);
  tcase_add_test(tcase, newcomers_go_first_for_one_ms_of_a_turn);
  tcase_add_test(tcase, phase_ends_at_the_present_ticket_and_never_goes_back);
  tcase_add_test(tcase, word_that_is_gone_is_published_again_with_its_key);
  tcase_add_test(tcase, who_was_passed_over_stands_in_its_old_place_once_it_looks);
  tcase_add_loop_test(tcase, who_was_rung_and_has_not_looked_is_passed_over, 0,
                      (int)(sizeof passes / sizeof passes[0]));
  tcase_add_test(tcase, end_of_the_line_is_behind_all);
  tcase = test_case(suite, "queue", 60);
  tcase_add_test(tcase, report_shows_waiters_in_order);
  tcase_add_test(tcase, rank_is_ticket_and_priority);
  tcase_add_test(tcase, rank_saturates_at_the_last_ticket);
  tcase_add_loop_test(tcase, rank_and_flag_go_when_the_wait_ends, 0, WAYS);
  tcase_add_test(tcase, flag_stays_while_another_waits);
  tcase_add_test(tcase, dead_waiter_is_not_shown);
  tcase_add_test(tcase, readers_enter_together_and_a_writer_waits_for_the_last);
  tcase_add_test(tcase, waiters_are_served_by_priority_and_then_in_the_order_in_which_they_came);
  tcase_add_test(tcase, reader_that_waits_when_a_writer_ends_goes_before_the_next_writer);
}

int main(int argc, char **argv) { return test_main(argc, argv, "queue", fill); }

/* queue.c - ranks, flag and bells. See queue.h for what each call is for.
 *
 *   publish   rank store release -> flag RMW -> fence -> recall -> own bell read -> scan -> try LANE
 *   release   unlock -> fence -> flag load -> scan -> ring
 *   leave     rank 0 release -> fence -> scan -> ring -> flag load acquire -> scan -> CAS of that very flag word
 *   ring      bell RMW release -> FUTEX_WAKE
 *
 * The flag's version makes the last CAS fail when somebody joined after the scan began. A waiter clears its bell before
 * it scans, so that a ring that comes after the scan ends its sleep; who finds a bell that is rung already need not
 * wake: its owner has not looked yet, and will see what we did. */
#include "queue.h"
#include "broken.h"
#include "clock.h"
#include "recall.h"
#include "system.h"

#define KEY_MOST ((UINT64_C(1) << 62) - 1)

static void fence(void) {
  /* The kernel's own unlock is no barrier between our earlier stores and later loads. */
  atomic_thread_fence(memory_order_seq_cst);
}

/* Slots that may have a word: no slot at or above was ever claimed. */
static uint32_t words(const struct colockp_region *region) {
  uint32_t in_use = atomic_load_explicit(&region->header->slots_in_use, memory_order_acquire);
  uint32_t capacity = atomic_load_explicit(&region->header->capacity, memory_order_acquire);
  in_use = in_use < capacity ? in_use : capacity;
  return in_use < COLOCKP_SLOTS_MAX ? in_use : COLOCKP_SLOTS_MAX;
}

static uint64_t word_of(const struct colockp_region *region, uint32_t slot) {
  return atomic_load_explicit(&region->queue[slot].rank, memory_order_acquire);
}


static uint64_t phase_of(const struct colockp_region *region) {
  return atomic_load_explicit(&region->header->phase, memory_order_acquire);
}

/* key = base + ticket - places, saturated to what a rank word can carry, and never 0 or an upgrader's. */
uint64_t colockp_queue_key(uint64_t ticket, int priority) {
  uint64_t key = COLOCKP_KEY_BASE + (ticket < COLOCKP_KEY_BASE ? ticket : COLOCKP_KEY_BASE - 1);
  int64_t places = (int64_t)priority * COLOCKP_PRIORITY_PLACES;
  key = places >= 0 ? key - (uint64_t)places : key + (uint64_t)-places;
  return key < KEY_MOST ? key : KEY_MOST;
}

uint64_t colockp_queue_ticket(struct colockp_region *region, int priority) {
  return colockp_queue_key(atomic_fetch_add_explicit(&region->header->ticket, 1, memory_order_relaxed), priority);
}

/* ---- bells ---- */

static void ring(struct colockp_region *region, uint32_t slot, bool force) {
  uint32_t before = atomic_fetch_or_explicit(&region->bells[slot], COLOCKP_BELL_RUNG, memory_order_acq_rel);
  if ((before & (COLOCKP_BELL_ASLEEP | COLOCKP_BELL_RUNG)) == COLOCKP_BELL_ASLEEP || force)
    colockp_system.futex_wake((uint32_t *)&region->bells[slot], 1);
}

/* The first writer in line if no reader stands before it; else all readers that do, and `both`: that writer too. */
static void ring_next(struct colockp_region *region, bool force, bool both) {
  uint32_t count = words(region), writer = count;
  uint64_t phase = phase_of(region), writer_place = UINT64_MAX, reader_place = UINT64_MAX;
  uint32_t reader = count;
  for (uint32_t slot = 0; slot < count; slot++) {
    uint64_t rank = word_of(region, slot);
    if (!colockp_rank_waits(rank))
      continue;
    uint64_t place = colockp_rank_place(rank, phase);
    bool exclusive = rank & COLOCKP_RANK_EXCLUSIVE;
    uint64_t *first = exclusive ? &writer_place : &reader_place;
    if (place < *first) {
      *first = place;
      *(exclusive ? &writer : &reader) = slot;
    }
  }
  bool first = reader == count || writer_place < reader_place || (writer_place == reader_place && writer < reader);
  if (first) {
    if (writer < count)
      ring(region, writer, force);
    return;
  }
  for (uint32_t slot = 0; slot < count; slot++) {
    uint64_t rank = word_of(region, slot);
    if (!colockp_rank_waits(rank) || rank & COLOCKP_RANK_EXCLUSIVE)
      continue;
    uint64_t place = colockp_rank_place(rank, phase);
    if (place > writer_place || (place == writer_place && slot > writer))
      continue;
    ring(region, slot, force);
    if (COLOCKP_BROKEN(RING_ONE))
      return;
  }
  if (both && writer < count)
    ring(region, writer, force);
}

void colockp_queue_ring(struct colockp_region *region) {
  ring_next(region, true, false);
}

void colockp_queue_ring_all(struct colockp_region *region) {
  uint32_t count = words(region);
  for (uint32_t slot = 0; slot < count; slot++)
    if (word_of(region, slot) != 0)
      ring(region, slot, true);
}

bool colockp_queue_listen(struct colock_hold *seat, bool watches) {
  return atomic_exchange_explicit(&seat->region->bells[seat->number], watches ? COLOCKP_BELL_WATCH : 0,
                                  memory_order_acq_rel) & COLOCKP_BELL_RUNG;
}

/* The first of them, in order. How many there are, `most` at most. */
static uint32_t first_in_line(const struct colockp_region *region, uint32_t most, uint32_t slots[]) {
  uint32_t count = words(region), found = 0;
  uint64_t phase = phase_of(region), places[COLOCKP_WATCHERS];
  for (uint32_t slot = 0; slot < count; slot++) {
    uint64_t rank = word_of(region, slot);
    if (!colockp_rank_waits(rank))
      continue;
    uint64_t place = colockp_rank_place(rank, phase);
    uint32_t at = found;
    while (at > 0 && place < places[at - 1])
      at--;
    if (at == most)
      continue;
    found += found < most;
    for (uint32_t i = found - 1; i > at; i--) {
      places[i] = places[i - 1];
      slots[i] = slots[i - 1];
    }
    places[at] = place;
    slots[at] = slot;
  }
  return found;
}

void colockp_queue_ring_front(struct colockp_region *region) {
  uint32_t slots[COLOCKP_FRONT], found = first_in_line(region, COLOCKP_FRONT, slots), count = words(region);
  for (uint32_t i = 0; i < found; i++)
    ring(region, slots[i], true);
  ring_next(region, true, false);
  /* Who has been rung and still sleeps: whoever rang may have died before the wake-up. */
  const uint32_t rung_asleep = COLOCKP_BELL_RUNG | COLOCKP_BELL_ASLEEP;
  for (uint32_t slot = 0; slot < count; slot++)
    if (word_of(region, slot) != 0 &&
        (atomic_load_explicit(&region->bells[slot], memory_order_relaxed) & rung_asleep) == rung_asleep)
      ring(region, slot, true);
}

/* ---- who stands where ---- */

static void look_ahead(const struct colockp_region *region, uint32_t own_slot, uint64_t own_rank,
                       struct colockp_ahead *ahead) {
  uint32_t count = words(region);
  uint64_t phase = phase_of(region), nearest = 0;
  uint64_t own = own_slot == COLOCKP_SLOTS_MAX ? UINT64_MAX : colockp_rank_place(own_rank, phase);
  *ahead = (struct colockp_ahead){ .place = 0 };
  for (uint32_t slot = 0; slot < count; slot++) {
    uint64_t rank = word_of(region, slot);
    if (!colockp_rank_waits(rank) || slot == own_slot)
      continue;
    uint64_t place = colockp_rank_place(rank, phase);
    if (place > own || (place == own && slot > own_slot))
      continue;
    ahead->place++;
    if (!((own_rank | rank) & COLOCKP_RANK_EXCLUSIVE))
      continue;
    if (ahead->conflicts++ == 0 || place >= nearest) {
      nearest = place;
      ahead->nearest = slot;
      ahead->word = rank;
    }
  }
}

uint64_t colockp_queue_end(const struct colockp_region *region) {
  uint32_t count = words(region);
  uint64_t end = 0;
  for (uint32_t slot = 0; slot < count; slot++) {
    uint64_t key = word_of(region, slot) >> COLOCKP_RANK_KEY_SHIFT;
    end = key >= end ? key + 1 : end;
  }
  return end < KEY_MOST ? end : KEY_MOST;
}

static uint64_t rank_of(int mode, uint64_t key) {
  return key << COLOCKP_RANK_KEY_SHIFT | (mode == COLOCK_EXCLUSIVE ? COLOCKP_RANK_EXCLUSIVE : 0);
}

void colockp_queue_behind(struct colockp_region *region, int mode, struct colockp_ahead *ahead) {
  look_ahead(region, COLOCKP_SLOTS_MAX, rank_of(mode, 0), ahead);
}

static void publish(struct colock_hold *seat, uint64_t rank) {
  struct colockp_header *header = seat->region->header;
  atomic_store_explicit(&seat->entry->rank, rank, memory_order_release);
  uint64_t flag = atomic_load_explicit(&header->flag, memory_order_relaxed);
  while (!atomic_compare_exchange_weak(&header->flag, &flag, (flag + 2) | COLOCKP_FLAG_SET))
    ;
  if (!(flag & COLOCKP_FLAG_SET)) /* the queue was empty: the head's turn begins */
    atomic_store_explicit(&header->turn, colockp_now_ns(), memory_order_relaxed);
  if (!COLOCKP_BROKEN(PUBLISH_FENCE))
    fence();
  if (!COLOCKP_BROKEN(RECALL_NOT))
    colockp_recall(seat->region);
}

void colockp_queue_join(struct colock_hold *seat, int mode, uint64_t key) {
  atomic_store_explicit(&seat->entry->published, colockp_wall_ns(), memory_order_relaxed);
  publish(seat, rank_of(mode, key));
}

void colockp_queue_ahead(struct colock_hold *seat, int mode, uint64_t key, struct colockp_ahead *ahead) {
  uint64_t own = atomic_load_explicit(&seat->entry->rank, memory_order_relaxed);
  if (own == 0) /* somebody took us for dead */
    publish(seat, rank_of(mode, key));
  else if (own & COLOCKP_RANK_PASSED) { /* we run again; whom that puts behind us has gone first or looks again */
    atomic_fetch_and(&seat->entry->rank, ~COLOCKP_RANK_PASSED);
    colockp_recall(seat->region); /* whoever keeps the lock unused has not counted us */
  }
  look_ahead(seat->region, seat->number, rank_of(mode, key), ahead);
}

/* ---- leaving ---- */

uint32_t colockp_queue_any(const struct colockp_region *region) {
  uint32_t count = words(region);
  for (uint32_t slot = 0; slot < count; slot++)
    if (word_of(region, slot) != 0)
      return slot;
  return COLOCKP_SLOTS_MAX;
}

static void clear_flag_if_empty(struct colockp_region *region) {
  struct colockp_header *header = region->header;
  uint64_t flag = atomic_load_explicit(&header->flag, memory_order_acquire);
  if (!(flag & COLOCKP_FLAG_SET) || colockp_queue_any(region) != COLOCKP_SLOTS_MAX)
    return;
  if (COLOCKP_BROKEN(BLIND_CLEAR))
    atomic_fetch_and(&header->flag, ~COLOCKP_FLAG_SET);
  else
    atomic_compare_exchange_strong_explicit(&header->flag, &flag, flag & ~COLOCKP_FLAG_SET, memory_order_acq_rel,
                                            memory_order_relaxed);
}

/* Who came as the tenth sleeps long. When it is among the first, and fewer than two of them watch, it has to (watch.h).
 * The last of the first are rung: they do it for those before them, so that few grants cost a wake-up more. */
static void ring_who_should_watch(struct colockp_region *region) {
  uint32_t slots[COLOCKP_WATCHERS], found = first_in_line(region, COLOCKP_WATCHERS, slots), watching = 0;
  bool watches[COLOCKP_WATCHERS];
  int64_t young_ns = colockp_wall_ns() - COLOCKP_TURN_NS; /* who came later wakes up for it by himself */
  for (uint32_t i = 0; i < found; i++) {
    watches[i] = atomic_load_explicit(&region->bells[slots[i]], memory_order_relaxed) & COLOCKP_BELL_WATCH ||
                 atomic_load_explicit(&region->queue[slots[i]].published, memory_order_relaxed) > young_ns;
    watching += watches[i];
  }
  for (uint32_t i = found; i-- > 0 && watching < 2;)
    if (!watches[i]) {
      ring(region, slots[i], false);
      watching++;
    }
}

void colockp_queue_leave(struct colock_hold *seat, bool granted) {
  struct colockp_region *region = seat->region;
  if (COLOCKP_BROKEN(RING_EARLY) && !granted)
    ring_next(region, false, false);
  atomic_store_explicit(&seat->entry->rank, 0, memory_order_release);
  atomic_store_explicit(&seat->entry->published, COLOCKP_SEAT_TAKEN, memory_order_relaxed);
  if (granted) /* the next one is the head from now on */
    atomic_store_explicit(&region->header->turn, colockp_now_ns(), memory_order_relaxed);
  fence();
  if (!granted && !COLOCKP_BROKEN(LEAVE_SILENT) && !COLOCKP_BROKEN(RING_EARLY))
    ring_next(region, false, false);
  ring_who_should_watch(region);
  clear_flag_if_empty(region);
  colockp_queue_listen(seat, false);
}

void colockp_queue_clear(struct colockp_region *region, uint32_t slot) {
  if (atomic_load_explicit(&region->queue[slot].rank, memory_order_relaxed) == 0)
    return;
  atomic_store_explicit(&region->queue[slot].rank, 0, memory_order_release);
  fence();
  ring_next(region, false, false);
  ring_who_should_watch(region);
  clear_flag_if_empty(region);
}

bool colockp_queue_pass(struct colock_hold *seat, int mode, uint64_t key) {
  struct colockp_region *region = seat->region;
  uint64_t own_rank = rank_of(mode, key), phase = phase_of(region), own = colockp_rank_place(own_rank, phase);
  uint32_t count = words(region);
  bool passed = false;
  for (uint32_t slot = 0; slot < count; slot++) {
    uint64_t rank = word_of(region, slot), place = colockp_rank_place(rank, phase);
    if (slot == seat->number || !colockp_rank_waits(rank) || !((own_rank | rank) & COLOCKP_RANK_EXCLUSIVE) ||
        place > own || (place == own && slot > seat->number) ||
        !(atomic_load_explicit(&region->bells[slot], memory_order_acquire) & COLOCKP_BELL_RUNG))
      continue;
    passed |= atomic_compare_exchange_strong(&region->queue[slot].rank, &rank, rank | COLOCKP_RANK_PASSED);
  }
  return passed;
}

/* ---- holders and newcomers ---- */

void colockp_queue_released(struct colockp_region *region) {
  if (!COLOCKP_BROKEN(RELEASE_FENCE))
    fence();
  if (colockp_queue_flag(region))
    ring_next(region, false, true);
}

void colockp_queue_end_phase(struct colockp_region *region) {
  struct colockp_header *header = region->header;
  if (!colockp_queue_flag(region))
    return;
  uint64_t now = colockp_queue_key(atomic_load_explicit(&header->ticket, memory_order_relaxed), 0);
  uint64_t phase = atomic_load_explicit(&header->phase, memory_order_relaxed);
  /* Only upwards, else readers that have been let go before a writer would stand behind it again, and it sleeps. */
  while (phase < now && !atomic_compare_exchange_weak(&header->phase, &phase, now))
    ;
}

int64_t colockp_queue_turn_ends(const struct colockp_region *region, int64_t now_ns) {
  int64_t turn = atomic_load_explicit(&region->header->turn, memory_order_relaxed);
  return now_ns >= turn && now_ns < colockp_time_add(turn, COLOCKP_TURN_NS) ? turn + COLOCKP_TURN_NS : 0;
}

bool colockp_queue_may_barge(const struct colockp_region *region) {
  return !colockp_queue_flag(region) || COLOCKP_BROKEN(BARGE) || colockp_queue_turn_ends(region, colockp_now_ns()) != 0;
}

bool colockp_queue_keeps_waiting(const struct colockp_region *region, int mode, uint32_t own_slot) {
  uint32_t count = words(region);
  for (uint32_t slot = 0; slot < count; slot++) {
    uint64_t rank = word_of(region, slot);
    if (slot != own_slot && colockp_rank_waits(rank) && (mode == COLOCK_EXCLUSIVE || rank & COLOCKP_RANK_EXCLUSIVE))
      return true;
  }
  return false;
}

/* cache.c - see cache.h. */
#include "cache.h"
#include "broken.h"
#include "clock.h"
#include "helper.h"
#include "identity.h"
#include "lane.h"
#include "leave.h"
#include "queue.h"
#include "range.h"
#include "stats.h"
#include "trace.h"

#include <errno.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- cells ---- */

static bool is_seat(const colock_hold *seat) { return seat != NULL && seat != COLOCKP_RESERVED; }

/* The cell stays the seat's, so that it goes back without a search. */
static colock_hold *take_out(struct colockp_cell *cell) {
  colock_hold *seat = atomic_load_explicit(&cell->seat, memory_order_relaxed);
  return is_seat(seat) &&
                 atomic_compare_exchange_strong_explicit(&cell->seat, &seat, COLOCKP_RESERVED, memory_order_acquire,
                                                         memory_order_relaxed)
             ? seat : NULL;
}

static void describe(struct colockp_cell *cell, const colock_hold *seat) {
  atomic_store_explicit(&cell->region, seat->region, memory_order_relaxed);
  atomic_store_explicit(&cell->lane_since_ns, seat->lane_since_ns, memory_order_relaxed);
  atomic_store_explicit(&cell->mode, seat->activity.mode, memory_order_relaxed);
  atomic_store_explicit(&cell->generation, seat->activity.generation, memory_order_relaxed);
  atomic_store_explicit(&cell->number, seat->number, memory_order_relaxed);
}

/* Reserved first: of two threads only one may write the words. False: all cells are full. */
static bool reserve(colock *lock, colock_hold *seat) {
  uint64_t first = colockp_thread();
  for (uint64_t i = 0; i < COLOCKP_CELLS; i++) {
    struct colockp_cell *cell = &lock->cache.cells[(first + i) % COLOCKP_CELLS];
    colock_hold *empty = NULL;
    if (atomic_load_explicit(&cell->seat, memory_order_relaxed) == NULL &&
        atomic_compare_exchange_strong_explicit(&cell->seat, &empty, COLOCKP_RESERVED, memory_order_acquire,
                                                memory_order_relaxed)) {
      describe(cell, seat);
      seat->cell = cell;
      return true;
    }
  }
  return false;
}

/* Into the cell that is reserved for it. */
static void put_in(colock_hold *seat) {
  struct colockp_cell *cell = seat->cell;
  if (atomic_load_explicit(&cell->lane_since_ns, memory_order_relaxed) != seat->lane_since_ns ||
      atomic_load_explicit(&cell->mode, memory_order_relaxed) != seat->activity.mode)
    describe(cell, seat);
  atomic_store_explicit(&cell->unused_since_ns, seat->activity.renewed_ns, memory_order_relaxed);
  atomic_exchange(&cell->seat, seat); /* and a full fence before the look at WANTED */
}

/* One of that mode, or an exclusive one, which is alone; else any: from the own cell on. */
static colock_hold *pick(colock *lock, int mode) {
  uint64_t first = colockp_thread();
  struct colockp_cell *other = NULL;
  for (uint64_t i = 0; i < COLOCKP_CELLS; i++) {
    struct colockp_cell *cell = &lock->cache.cells[(first + i) % COLOCKP_CELLS];
    if (!is_seat(atomic_load_explicit(&cell->seat, memory_order_relaxed)))
      continue;
    colock_hold *seat = NULL;
    uint32_t kept = atomic_load_explicit(&cell->mode, memory_order_relaxed);
    if ((kept == (uint32_t)mode || kept == COLOCK_EXCLUSIVE) && (seat = take_out(cell)) != NULL)
      return seat;
    other = cell;
  }
  return other ? take_out(other) : NULL;
}

bool colockp_cache_any(const colock *lock, bool in_use) {
  for (int i = 0; i < COLOCKP_CELLS; i++) {
    const colock_hold *seat = atomic_load(&lock->cache.cells[i].seat);
    if (is_seat(seat) || (in_use && seat))
      return true;
  }
  return false;
}

/* ---- letting go ---- */

static bool contended(const colock_hold *seat) {
  return colockp_queue_contended(seat->region, (int)seat->activity.mode, seat->number);
}

static bool had_its_time(const colock_hold *seat, int64_t now_ns) {
  return now_ns - seat->lane_since_ns >= COLOCKP_MINIMUM_NS;
}

/* Its end, perhaps because somebody waits: then the hook hears of it when they need not wait any more. */
static int end_noted(colock_hold *seat, int64_t now_ns) {
  int64_t unused_ns = now_ns - seat->activity.renewed_ns;
  bool recalled = contended(seat);
  if (recalled) {
    colockp_stats_count(seat, COLOCKP_N_RECALLS);
    COLOCKP_PROBE2(recall, seat->lock->path, (int)seat->activity.mode);
  }
  int code = colockp_hold_end(seat);
  if (recalled && code != COLOCK_EFORKED && colockp_tells(seat->lock, COLOCKP_INFO))
    colockp_tell_recalled(seat, unused_ns);
  return code;
}

static int let_go(colock_hold *seat) {
  int code = seat->forks == colockp_fork_count() ? colockp_hold_end(seat) : 0; /* else our parent's */
  colockp_lock_put(seat);
  return code == COLOCK_ESYSTEM ? code : 0;
}

int colockp_cache_empty(colock *lock) {
  int code = 0;
  for (int i = 0; i < COLOCKP_CELLS; i++) {
    colock_hold *seat = take_out(&lock->cache.cells[i]);
    int failed = seat ? let_go(seat) : 0;
    code = code ? code : failed;
  }
  return code;
}

/* By what the cell says: the seat itself may be in use again. */
static int64_t goes_at(const colock *lock, const struct colockp_region *region, const struct colockp_cell *cell) {
  int mode = (int)atomic_load_explicit(&cell->mode, memory_order_relaxed);
  uint32_t number = atomic_load_explicit(&cell->number, memory_order_relaxed);
  if (atomic_load_explicit(&cell->region, memory_order_relaxed) != region ||
      atomic_load_explicit(&cell->generation, memory_order_relaxed) != colockp_region_generation(region))
    return 0;
  int64_t idle_ns = colockp_time_add(atomic_load_explicit(&cell->unused_since_ns, memory_order_relaxed),
                                     lock->settings.idle_timeout_ns);
  if (!colockp_queue_contended(region, mode, number))
    return idle_ns;
  return least(idle_ns, atomic_load_explicit(&cell->lane_since_ns, memory_order_relaxed) + COLOCKP_MINIMUM_NS);
}

int64_t colockp_cache_look(colock *lock, const struct colockp_region *region, int64_t now_ns, bool lost) {
  int64_t next_ns = INT64_MAX;
  for (int i = 0; i < COLOCKP_CELLS; i++) {
    struct colockp_cell *cell = &lock->cache.cells[i];
    if (!is_seat(atomic_load(&cell->seat)))
      continue;
    int64_t at_ns = lost ? 0 : goes_at(lock, region, cell);
    if (at_ns > now_ns) {
      next_ns = least(next_ns, least(at_ns, INT64_MAX - 1)); /* for ever is a time, too: something is kept */
      continue;
    }
    colock_hold *seat = take_out(cell);
    if (!seat)
      continue;
    seat->lost |= lost && seat->region == region;
    if (seat->forks == colockp_fork_count())
      end_noted(seat, now_ns);
    colockp_lock_put(seat);
  }
  return next_ns;
}

/* ---- taking ---- */

enum { REFUSED = -2, GONE = -3 };

/* The words of the mode that LANE has by now are not to be had. What is not lost with them has to be suspended first:
 * back, so that it is kept as it was. */
static int convert_back(colock_hold *seat, int code) {
  int mode = (int)seat->activity.mode;
  bool whole = code != COLOCKP_AGAIN && code != COLOCK_ELOST;
  if (whole && seat->lock->suspend &&
      colockp_range_lock(seat->file.fd, mode, colockp_lane(seat->activity.generation), 1) == 0) {
    colockp_queue_released(seat->region);
    return REFUSED;
  }
  colockp_lane_unlock(seat);
  seat->activity.state = COLOCKP_IDLE;
  colockp_seat_show_state(seat);
  return GONE;
}

/* It has LANE in the other mode: make that the one that is wanted, in place. EBUSY: somebody else has it too, REFUSED:
 * it failed; it has LANE as before. GONE: it has none any more, and nothing was left to suspend. */
static int convert(colock_hold *seat, int mode, int priority) {
  struct colockp_region *region = seat->region;
  int64_t since_ns = seat->lane_since_ns;
  if (mode == COLOCK_SHARED)
    colockp_queue_end_phase(region);
  int error = colockp_range_lock(seat->file.fd, mode, colockp_lane(seat->activity.generation), 1);
  if (error)
    return error == EAGAIN ? COLOCK_EBUSY : REFUSED;
  int code = colockp_lane_words(seat, mode);
  if (code)
    return convert_back(seat, code);
  if (mode == COLOCK_SHARED)
    colockp_queue_released(region);
  colockp_grant(seat, mode, priority);
  seat->lane_since_ns = since_ns; /* converting it gives no new minimum */
  return 0;
}

/* It cannot be used as it is. With a suspend it is kept on, and NULL here: only the helper may let it go; failed: it
 * does at once, for whoever tries next is to meet what failed, not us. */
static void give_up(colock *lock, colock_hold **seat, bool failed, int64_t now_ns) {
  colock_hold *mine = *seat;
  if (!lock->suspend || colockp_region_generation(mine->region) != mine->activity.generation) {
    end_noted(mine, now_ns);
    return;
  }
  if (failed)
    atomic_store_explicit(&mine->cell->generation, 0, memory_order_relaxed);
  put_in(mine);
  *seat = NULL;
  colockp_helper_kick(lock);
}

/* As colockp_lane_words, where LANE was kept since the last hold of the same mode: no system call, unless tokens have
 * to be synced. */
static int words_again(colock_hold *seat) {
  struct colockp_region *region = seat->region;
  uint64_t token = seat->activity.mode == COLOCK_EXCLUSIVE ? colockp_token_next(region) : 0;
  if (colockp_region_generation(region) != seat->activity.generation)
    return COLOCKP_AGAIN;
  if (token) {
    int code = colockp_token_sync(region, token);
    if (code)
      return code;
    if (!colockp_writer_mark(region, seat->activity.generation, token))
      return COLOCKP_AGAIN;
    seat->last_token = token - 1;
  }
  seat->activity.token = token;
  seat->abandoned = atomic_load_explicit(&region->header->abandoned, memory_order_relaxed);
  return 0;
}

/* 0: *seat is granted. EBUSY: it cannot be used as it is; *seat has no LANE any more, or is kept on and NULL here. */
static int use(colock *lock, int mode, int priority, colock_hold **seat) {
  colock_hold *mine = *seat;
  int code = COLOCK_EBUSY;
  int64_t now_ns = colockp_now_ns();
  bool may = !contended(mine) || !had_its_time(mine, now_ns);
  if (lock->suspend && mine->activity.mode == COLOCK_EXCLUSIVE)
    mode = COLOCK_EXCLUSIVE; /* readers elsewhere must not come in before what was written here is suspended */
  if (may && mine->activity.mode == (uint32_t)mode) {
    code = words_again(mine);
    if (code == 0) {
      colockp_grant_again(mine, priority, now_ns);
      colockp_stats_count_mode(mine, COLOCKP_N_HITS);
      return 0;
    }
  } else if (may && colockp_hold_present(mine) == 0) {
    if (mode == COLOCK_EXCLUSIVE)
      colockp_cache_empty(lock); /* what else is kept would be in its way; no suspend: this one has LANE still */
    code = convert(mine, mode, priority);
    if (code == 0)
      return 0;
  }
  if (code != GONE)
    give_up(lock, seat, code != COLOCK_EBUSY, now_ns);
  return COLOCK_EBUSY;
}

int colockp_cache_take(colock *lock, int mode, int priority, const char *purpose, unsigned how, colock_hold **hold,
                       colock_hold **rest) {
  colock_hold *seat;
  uint32_t forks = colockp_fork_count();
  while ((seat = pick(lock, mode)) != NULL) {
    if (seat->forks == forks && seat->region == atomic_load_explicit(&lock->region, memory_order_relaxed))
      break;
    let_go(seat);
  }
  if (!seat)
    return COLOCK_EBUSY;
  int code = how & COLOCKP_BLOCKING ? colockp_lock_deadlock(lock, seat) : 0;
  if (code) {
    colockp_stats_failed(seat, code);
    put_in(seat);
    colockp_helper_kick(lock);
    return colockp_trace_failed(lock, mode, 0, code);
  }
  code = use(lock, mode, priority, &seat);
  if (code) {
    *rest = seat;
    return code;
  }
  colockp_seat_show(seat, purpose);
  if (how & COLOCKP_COUNTS)
    colockp_lock_count(seat);
  colockp_trace_granted(seat, "granted", 0, true);
  *hold = seat;
  return 0;
}

/* ---- keeping ---- */

/* The helper may have looked into the cells before this one was filled, and not mean to look again in time. If it looks
 * at this moment, and nobody waits, it would only be kept from sleeping: what idles may go a tick later. */
static void tell_helper(colock *lock, int mode, bool waited, int64_t minimum_ns, int64_t now_ns) {
  uint32_t attention = atomic_load(&lock->cache.attention);
  int64_t look_ns = atomic_load(&lock->cache.look_ns);
  int64_t idle_ns = colockp_time_add(now_ns, lock->settings.idle_timeout_ns);
  waited |= !COLOCKP_BROKEN(KEEP_BLIND) && attention & COLOCKP_WANTED(mode);
  bool late = waited ? look_ns > minimum_ns : look_ns > idle_ns && look_ns != INT64_MAX;
  if (late || attention & COLOCKP_PARKED)
    colockp_helper_kick(lock);
}

/* The helper found that it has not; it may have got it back since. */
static bool has_name(colock_hold *hold) {
  colock *lock = hold->lock;
  if (hold->region != atomic_load_explicit(&lock->cache.nameless, memory_order_relaxed))
    return true;
  if (colockp_region_named(hold->region) != 0) {
    hold->lost = true;
    return false;
  }
  atomic_store(&lock->cache.nameless, NULL);
  return true;
}

bool colockp_cache_keep(colock_hold *hold, int64_t now_ns) {
  colock *lock = hold->lock;
  int64_t minimum_ns = hold->lane_since_ns + COLOCKP_MINIMUM_NS, held_ns = now_ns - hold->activity.since_ns;
  int mode = (int)hold->activity.mode;
  if (!hold->slot || !has_name(hold) || !colockp_lock_reusable(lock, hold))
    return false;
  bool waited = contended(hold);
  if (waited && !lock->suspend && had_its_time(hold, now_ns))
    return false;
  if (!atomic_load_explicit(&lock->cache.running, memory_order_relaxed) && colockp_helper_start(lock, true) != 0)
    return false;
  if (!hold->cell && !reserve(lock, hold))
    return false;
  colockp_hold_unmark(hold);
  colockp_lock_uncount(hold);
  colockp_stats_end(hold, now_ns);
  hold->activity.state = COLOCKP_CACHED;
  hold->activity.renewed_ns = now_ns;
  colockp_seat_show_state(hold);
  put_in(hold);
  tell_helper(lock, mode, waited, minimum_ns, now_ns); /* the hold may be somebody else's by now */
  colockp_trace_released(lock, mode, held_ns, true);
  return true;
}

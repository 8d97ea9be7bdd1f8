/* lane.c - LANE and the words that go with it.
 *
 * Phases, and the race that each one closes:
 *  1. lock LANE(generation), non-blocking. From here on the kernel excludes others of that generation.
 *  2. *before* 3: read the writer's mark: one that is there while we have LANE of our generation is a dead writer's;
 *     exclusive: take the next fencing token: none is newer than the generation that it belongs to.
 *  3. read the generation again: a forced unlock between 1 and 3 has moved everyone to the next lane; undo, start over.
 *  4. fstat: a file that lost its name between open and 1 excludes nobody any more; undo, start over on the new file.
 *  5. bury the dead writer; exclusive: sync the token if it needs to be, mark the writer word.
 * A failed attempt leaves no lock behind. */
#define _GNU_SOURCE
#include "lane.h"
#include "broken.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "lock.h"
#include "queue.h"
#include "range.h"
#include "stats.h"
#include "token.h"

#include <errno.h>
#include <string.h>

int colockp_lane_failed(colock_hold *seat, int error) {
  if (error == EAGAIN)
    return COLOCK_EBUSY;
  seat->broken = true;
  int code = error == ENOLCK ? COLOCK_ENOLOCKS : COLOCK_ESYSTEM;
  return colockp_fail(code, error, "%s: cannot lock: %s", seat->region->escaped, strerror(error));
}

/* Without the ring: of a try that is undone. */
static int unlock(colock_hold *seat) {
  int error = colockp_range_unlock(seat->file.fd, colockp_lane(seat->activity.generation), 1);
  if (error == 0)
    return 0;
  seat->broken = true; /* freeing the seat closes the descriptor, and the lock with it */
  return colockp_fail(COLOCK_ESYSTEM, error, "%s: cannot unlock: %s", seat->region->escaped, strerror(error));
}

/* Not one that was forced out since it got LANE: those of the next generation may be counted already. */
static void count(colock_hold *seat) {
  uint32_t generation = seat->activity.generation, newest;
  uint64_t lanes = atomic_load(&seat->region->lanes), more;
  if (seat->counted == generation)
    return;
  do {
    newest = (uint32_t)(lanes >> 32);
    if (newest && (int32_t)(generation - newest) < 0)
      return;
    more = newest == generation ? lanes + 1 : (uint64_t)generation << 32 | 1;
  } while (!atomic_compare_exchange_weak(&seat->region->lanes, &lanes, more));
  seat->counted = generation;
}

bool colockp_lane_uncount(colock_hold *seat) {
  uint64_t generation = seat->counted, lanes;
  seat->counted = 0;
  if (!generation)
    return false;
  lanes = atomic_load(&seat->region->lanes);
  do
    if (lanes >> 32 != generation)
      return false;
  while (!atomic_compare_exchange_weak(&seat->region->lanes, &lanes, lanes - 1));
  return (uint32_t)lanes == 1;
}

int colockp_lane_unlock(colock_hold *seat) {
  struct colockp_region *region = seat->region;
  colockp_lane_uncount(seat);
  bool early = COLOCKP_BROKEN(FLAG_EARLY) && region->header && !(region->header->flag & COLOCKP_FLAG_SET);
  int code = unlock(seat);
  if (region->header && !early)
    colockp_queue_released(region);
  return code;
}

int colockp_lane_words(colock_hold *seat, int mode) {
  struct colockp_region *region = seat->region;
  uint64_t token = 0;
  uint64_t dead = colockp_writer_found(region);
  if (mode == COLOCK_EXCLUSIVE && !COLOCKP_BROKEN(TOKEN_LATE))
    token = colockp_token_next(region);
  if (colockp_region_generation(region) != seat->activity.generation && !COLOCKP_BROKEN(GENERATION))
    return COLOCKP_AGAIN;
  if (mode == COLOCK_EXCLUSIVE && COLOCKP_BROKEN(TOKEN_LATE))
    token = colockp_token_next(region);
  int code = colockp_seat_look(seat);
  if (code)
    return code;
  if (dead && region->header)
    colockp_writer_bury(region, dead);
  if (mode == COLOCK_EXCLUSIVE) {
    code = colockp_token_sync(region, token);
    if (code)
      return code;
    if (!colockp_writer_mark(region, seat->activity.generation, token))
      return COLOCKP_AGAIN;
  }
  seat->activity.token = token;
  seat->last_token = token ? token - 1 : colockp_token_last(region);
  seat->abandoned = colockp_abandoned_word(region, dead);
  return 0;
}

int colockp_lane_try(colock_hold *seat, int mode) {
  for (;;) {
    uint32_t generation = colockp_region_generation(seat->region);
    if (generation == 0)
      return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged while it was open", seat->region->escaped);
    int error = colockp_range_lock(seat->file.fd, mode, colockp_lane(generation), 1);
    if (error)
      return colockp_lane_failed(seat, error);
    seat->activity.generation = generation;
    int code = colockp_lane_words(seat, mode);
    if (code == 0)
      return 0;
    /* Rung too: somebody may have found LANE taken by this very try. */
    int unlocked = colockp_lane_unlock(seat);
    if (code != COLOCKP_AGAIN || unlocked)
      return code != COLOCKP_AGAIN ? code : unlocked;
  }
}

void colockp_grant(colock_hold *seat, int mode, int priority) {
  colock *lock = seat->lock;
  int64_t now_ns = colockp_now_ns();
  seat->wall_ahead_ns = colockp_wall_about_ns() - now_ns;
  seat->activity.mode = (uint32_t)mode;
  seat->activity.stale_timeout_ns = lock->settings.stale_timeout_ns;
  colockp_grant_again(seat, priority, now_ns);
  colockp_stats_count_mode(seat, COLOCKP_N_GRANTS);
  seat->lane_since_ns = now_ns;
  atomic_store_explicit(&lock->cache.lane_since_ns, now_ns, memory_order_relaxed);
  seat->ended = 0;
  if (lock->suspend)
    count(seat);
}

void colockp_words_freely(colock_hold *hold, int mode) {
  static _Atomic uint64_t tokens;
  if (mode == COLOCK_EXCLUSIVE) {
    uint64_t none = 0;
    atomic_compare_exchange_strong(&tokens, &none, (uint64_t)colockp_wall_ns());
    hold->activity.token = atomic_fetch_add(&tokens, 1) + 1;
  }
  hold->last_token = hold->activity.token ? hold->activity.token - 1 : atomic_load(&tokens);
  hold->activity.mode = (uint32_t)mode;
}

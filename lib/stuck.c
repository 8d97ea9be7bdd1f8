/* stuck.c - clearing the dead, passing over the stopped. See stuck.h. */
#include "stuck.h"
#include "broken.h"
#include "clock.h"
#include "range.h"
#include "trace.h"

/* True: nobody lived in that slot, and now nobody waits in it. Who has the SLOT byte owns the slot: a new owner that
 * came in between would have it, and its word would be its own. */
static bool reap(struct colock_hold *seat, uint32_t slot) {
  int fd = seat->file.fd;
  if (colockp_range_taken(fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_BYTE_SLOT + slot, 1) != 0)
    return false;
  if (!COLOCKP_BROKEN(REAP_UNLOCKED) &&
      colockp_range_lock(fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_BYTE_SLOT + slot, 1) != 0)
    return false;
  bool waited = atomic_load_explicit(&seat->region->queue[slot].rank, memory_order_relaxed) != 0;
  colockp_queue_clear(seat->region, slot);
  atomic_store_explicit(&seat->region->queue[slot].published, COLOCKP_SEAT_FREE, memory_order_relaxed);
  colockp_range_unlock(fd, COLOCKP_BYTE_SLOT + slot, 1);
  if (waited) /* else another was faster */
    colockp_trace_reap(seat->region, slot, false);
  return true;
}

void colockp_stuck_tidy(struct colock_hold *seat) {
  uint32_t slot = colockp_queue_any(seat->region);
  if (slot != COLOCKP_SLOTS_MAX)
    reap(seat, slot);
}

bool colockp_stuck_look(struct colockp_stuck *stuck, struct colock_hold *seat, int mode, uint64_t key,
                        struct colockp_ahead *ahead, int64_t now_ns, int64_t grace_ns) {
  bool changed = false;
  while (ahead->conflicts && reap(seat, ahead->nearest)) {
    changed = true;
    colockp_queue_ahead(seat, mode, key, ahead);
  }
  int64_t lane = colockp_lane(colockp_region_generation(seat->region));
  if (changed || !ahead->conflicts || COLOCKP_BROKEN(NO_PASS) ||
      colockp_range_taken(seat->file.fd, COLOCKP_RANGE_EXCLUSIVE, lane, 1) != 0) { /* never pass while somebody holds */
    stuck->free_since_ns = 0;
    return changed;
  }
  if (!stuck->free_since_ns || stuck->word != ahead->word || stuck->conflicts != ahead->conflicts) {
    *stuck = (struct colockp_stuck){ .free_since_ns = now_ns, .word = ahead->word, .conflicts = ahead->conflicts };
    colockp_queue_ring(seat->region); /* now it is theirs to take: who runs reads its bell */
    return false;
  }
  if (now_ns - stuck->free_since_ns < grace_ns)
    return false;
  stuck->free_since_ns = 0;
  if (!colockp_queue_pass(seat, mode, key))
    return false;
  colockp_queue_ring(seat->region); /* others than us may go by that */
  return true;
}

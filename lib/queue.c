/* queue.c - ranks.
 *
 * Publish: rank store release -> flag RMW seq_cst -> fence. Leave: rank 0 release -> fence -> flag load acquire -> scan
 * -> CAS. The flag's version makes that CAS fail when somebody joined after the scan began. */
#include "queue.h"
#include "clock.h"

/* key = base + ticket - places, saturated to what a rank word can carry and never 0: 0 is not waiting, 1 an upgrader's.
 */
static uint64_t key_of(uint64_t ticket, int priority) {
  const uint64_t most = (UINT64_C(1) << 62) - 1;
  uint64_t key = COLOCKP_KEY_BASE + (ticket < COLOCKP_KEY_BASE ? ticket : COLOCKP_KEY_BASE - 1);
  int64_t places = (int64_t)priority * COLOCKP_PRIORITY_PLACES;
  key = places >= 0 ? key - (uint64_t)places : key + (uint64_t)-places;
  return key < most ? key : most;
}

void colockp_queue_join(struct colock_hold *seat, int mode, int priority) {
  struct colockp_header *header = seat->region->header;
  uint64_t ticket = atomic_fetch_add_explicit(&header->ticket, 1, memory_order_relaxed);
  uint64_t rank = key_of(ticket, priority) << COLOCKP_RANK_KEY_SHIFT;
  if (mode == COLOCK_EXCLUSIVE)
    rank |= COLOCKP_RANK_EXCLUSIVE;
  atomic_store_explicit(&seat->entry->published, colockp_wall_ns(), memory_order_relaxed);
  atomic_store_explicit(&seat->entry->rank, rank, memory_order_release);
  uint64_t flag = atomic_load_explicit(&header->flag, memory_order_relaxed);
  while (!atomic_compare_exchange_weak(&header->flag, &flag, (flag + 2) | COLOCKP_FLAG_SET))
    ;
  atomic_thread_fence(memory_order_seq_cst);
}

static void clear_flag_if_empty(struct colockp_region *region) {
  struct colockp_header *header = region->header;
  uint64_t flag = atomic_load_explicit(&header->flag, memory_order_acquire);
  if (!(flag & COLOCKP_FLAG_SET))
    return;
  uint32_t in_use = atomic_load_explicit(&header->slots_in_use, memory_order_acquire);
  uint32_t capacity = atomic_load_explicit(&header->capacity, memory_order_acquire);
  in_use = in_use < capacity ? in_use : capacity;
  for (uint32_t slot = 0; slot < in_use; slot++)
    if (atomic_load_explicit(&region->queue[slot].rank, memory_order_acquire) != 0)
      return;
  atomic_compare_exchange_strong_explicit(&header->flag, &flag, flag & ~COLOCKP_FLAG_SET, memory_order_acq_rel,
                                          memory_order_relaxed);
}

void colockp_queue_leave(struct colock_hold *seat) {
  atomic_store_explicit(&seat->entry->rank, 0, memory_order_release);
  atomic_store_explicit(&seat->entry->published, COLOCKP_SEAT_TAKEN, memory_order_relaxed);
  atomic_thread_fence(memory_order_seq_cst);
  clear_flag_if_empty(seat->region);
}

void colockp_queue_clear(struct colockp_region *region, uint32_t slot) {
  if (atomic_load_explicit(&region->queue[slot].rank, memory_order_relaxed) == 0)
    return;
  atomic_store_explicit(&region->queue[slot].rank, 0, memory_order_release);
  atomic_thread_fence(memory_order_seq_cst);
  clear_flag_if_empty(region);
}

/* queue_read.c - see queue_read.h. */
#include "queue_read.h"
#include "queue.h"
#include "range.h"
#include "system.h"

#define AT_ONCE 256 /* entries a pread */

static uint64_t read_word(const struct colockp_region *region, size_t at) {
  uint64_t word = 0;
  return colockp_system.pread(region->file.fd, &word, sizeof word, (off_t)at) == sizeof word ? word : 0;
}

uint64_t colockp_queue_read_key(const struct colockp_region *region, int priority) {
  return colockp_queue_key(read_word(region, offsetof(struct colockp_header, ticket)), priority);
}

bool colockp_queue_read_flag(const struct colockp_region *region) {
  return read_word(region, offsetof(struct colockp_header, flag)) & COLOCKP_FLAG_SET;
}

static bool before(uint64_t rank, uint64_t key, uint64_t phase) {
  if (!colockp_rank_waits(rank) || !(rank & COLOCKP_RANK_EXCLUSIVE))
    return false;
  return key == UINT64_MAX ||
         colockp_rank_place(rank, phase) < colockp_rank_place(key << COLOCKP_RANK_KEY_SHIFT, phase);
}

bool colockp_queue_read_writer(const struct colockp_region *region, int fd, uint64_t key) {
  struct colockp_queue_entry entries[AT_ONCE];
  if (!colockp_queue_read_flag(region))
    return false;
  uint64_t phase = read_word(region, offsetof(struct colockp_header, phase));
  uint32_t in_use = (uint32_t)read_word(region, offsetof(struct colockp_header, slots_in_use));
  in_use = in_use < COLOCKP_SLOTS_MAX ? in_use : COLOCKP_SLOTS_MAX;
  for (uint32_t first = 0; first < in_use; first += AT_ONCE) {
    ssize_t got = colockp_system.pread(region->file.fd, entries, sizeof entries,
                                       COLOCKP_AT_QUEUE + (off_t)first * (off_t)sizeof *entries);
    uint32_t count = got > 0 ? (uint32_t)((size_t)got / sizeof *entries) : 0;
    for (uint32_t i = 0; i < count && first + i < in_use; i++)
      if (before(atomic_load_explicit(&entries[i].rank, memory_order_relaxed), key, phase) &&
          colockp_range_taken(fd, COLOCKP_RANGE_SHARED, COLOCKP_BYTE_SLOT + first + i, 1) == 1)
        return true;
    if (count < AT_ONCE)
      break;
  }
  return false;
}

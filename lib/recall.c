/* recall.c - see recall.h. */
#include "recall.h"
#include "system.h"

#include <limits.h>

static uint32_t change(_Atomic uint32_t *word) {
  uint32_t before = atomic_load_explicit(word, memory_order_relaxed);
  while (!atomic_compare_exchange_weak(word, &before, (before + COLOCKP_RECALL_STEP) & ~COLOCKP_RECALL_ASLEEP))
    ;
  return before;
}

void colockp_recall(struct colockp_region *region) {
  _Atomic uint32_t *word = &region->header->recall;
  if (change(word) & COLOCKP_RECALL_ASLEEP)
    colockp_system.futex_wake((uint32_t *)word, INT_MAX);
}

void colockp_recall_again(struct colockp_region *region) {
  _Atomic uint32_t *word = &region->header->recall;
  change(word);
  colockp_system.futex_wake((uint32_t *)word, INT_MAX);
}

uint32_t colockp_recall_read(const struct colockp_region *region) {
  return atomic_load(&region->header->recall);
}

void colockp_recall_sleep(struct colockp_region *region, uint32_t seen, int64_t ns) {
  _Atomic uint32_t *word = &region->header->recall;
  struct timespec relative = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
  uint32_t asleep = seen | COLOCKP_RECALL_ASLEEP;
  if (ns > 0 && (seen == asleep || atomic_compare_exchange_strong(word, &seen, asleep)))
    colockp_system.futex_wait((uint32_t *)word, asleep, &relative);
}

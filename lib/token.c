/* token.c - fencing tokens and abandoned writers. See token.h for the order of steps. */
#include "token.h"
#include "error.h"
#include "log.h"
#include "stats.h"
#include "system.h"

#include <errno.h>
#include <string.h>

/* Only an exclusive holder comes here, so nobody takes tokens meanwhile; only half of the way is used up, so that the
 * old ceiling serves on when the disk does not. */
int colockp_token_raise(struct colockp_region *region, uint64_t token) {
  _Atomic uint64_t *word = &region->header->ceiling;
  uint64_t ceiling = atomic_load_explicit(word, memory_order_relaxed);
  uint64_t higher = token + COLOCKP_TOKENS_AHEAD;
  atomic_store(word, higher);
  if (colockp_system.fdatasync(region->file.fd) == 0)
    return 0;
  int error = errno;
  atomic_compare_exchange_strong(word, &higher, ceiling);
  if (token <= ceiling) {
    char why[COLOCKP_QUOTED];
    colockp_log(region->verbosity, COLOCKP_WARNING, region->path, "cannot_sync",
                "error=%s message=\"tokens go on to the last ceiling that was synced, and there they end\"",
                colockp_quote(why, sizeof why, strerror(error)));
    return 0;
  }
  return colockp_fail(COLOCK_ESYSTEM, error, "%s: cannot sync the fencing tokens, so none is handed out: %s",
                      region->escaped, strerror(error));
}

static void bury(struct colockp_region *region, uint64_t token) {
  struct colockp_header *header = region->header;
  uint64_t abandoned = atomic_load(&header->abandoned);
  while (abandoned < token && !atomic_compare_exchange_weak(&header->abandoned, &abandoned, token))
    ;
  /* In this order: if we die between the two, the next one buries it again. */
  uint64_t mark = token;
  if (atomic_compare_exchange_strong(&header->writer, &mark, 0))
    colockp_stats_buried(region, token);
}

void colockp_writer_bury(struct colockp_region *region, uint64_t token) {
  bury(region, token);
  colockp_log(region->verbosity, COLOCKP_INFO, region->path, "abandoned",
              "token=%llu message=\"the exclusive holder died or was forced out while holding\"",
              (unsigned long long)token);
}

bool colockp_writer_mark_over(struct colockp_region *region, uint32_t generation, uint64_t token) {
  for (;;) {
    uint64_t present = 0;
    if (atomic_compare_exchange_strong(&region->header->writer, &present, token))
      return true;
    if (present < token)
      bury(region, present);
    else if (colockp_region_generation(region) != generation)
      return false; /* a forced unlock after our look at the generation, and already a successor */
    else
      atomic_compare_exchange_strong(&region->header->writer, &present,
                                     0); /* no token of this generation is above ours: damage */
  }
}

static uint64_t read_word(const struct colockp_region *region, size_t at) {
  uint64_t word = 0;
  return colockp_system.pread(region->file.fd, &word, sizeof word, (off_t)at) == sizeof word ? word : 0;
}

uint64_t colockp_token_last(const struct colockp_region *region) {
  if (region->header)
    return atomic_load_explicit(&region->header->fence, memory_order_relaxed);
  return read_word(region, offsetof(struct colockp_header, fence));
}

uint64_t colockp_writer_found(const struct colockp_region *region) {
  if (region->header)
    return atomic_load_explicit(&region->header->writer, memory_order_acquire);
  return read_word(region, offsetof(struct colockp_header, writer));
}

uint64_t colockp_abandoned_word(const struct colockp_region *region, uint64_t found) {
  if (region->header)
    return atomic_load_explicit(&region->header->abandoned, memory_order_relaxed);
  uint64_t abandoned = read_word(region, offsetof(struct colockp_header, abandoned));
  return found > abandoned ? found : abandoned;
}

/* stats.c - what is counted seldom. See stats.h. */
#include "stats.h"
#include "clock.h"
#include "identity.h"

#include <string.h>

_Static_assert(COLOCK_EXCLUSIVE == COLOCK_SHARED + 1, "a mode is an index");

#define NAME_SIZE  sizeof(((struct colockp_longest *)0)->program)
#define AT_LABEL   offsetof(struct colockp_identity, label)
#define AT_PROGRAM offsetof(struct colockp_identity, program)
_Static_assert(NAME_SIZE <= sizeof(((struct colockp_identity *)0)->program) &&
                   NAME_SIZE <= sizeof(((struct colockp_identity *)0)->label) && NAME_SIZE % 8 == 0 &&
                   AT_LABEL % 8 == 0 && AT_PROGRAM % 8 == 0,
               "names");

static uint64_t identity_word(const struct colockp_slot *slot, size_t offset) {
  return atomic_load_explicit(&slot->identity[offset / 8], memory_order_relaxed);
}

/* As reports call it: by its label, if it has one. */
static void get_name(const struct colockp_slot *slot, char name[NAME_SIZE]) {
  char text[NAME_SIZE];
  size_t at = identity_word(slot, AT_LABEL) & 0xff ? AT_LABEL : AT_PROGRAM;
  for (size_t i = 0; i < NAME_SIZE; i += 8) {
    uint64_t word = identity_word(slot, at + i);
    memcpy(text + i, &word, 8);
  }
  colockp_text_copy(name, NAME_SIZE, text);
}

void colockp_stats_longest(const struct colock_hold *seat, unsigned which, int64_t ns) {
  struct colockp_slot *slot = seat->slot;
  struct colockp_longest *longest = &slot->statistics.longest[which];
  uint64_t epoch = atomic_load_explicit(&seat->region->header->statistics_epoch, memory_order_relaxed);
  uint64_t sequence = atomic_load_explicit(&longest->sequence, memory_order_relaxed) | 1; /* odd: who died writing */
  uint32_t pid = (uint32_t)identity_word(slot, offsetof(struct colockp_identity, pid));
  char name[NAME_SIZE];
  get_name(slot, name);
  atomic_store_explicit(&longest->sequence, sequence, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  atomic_store_explicit(&longest->epoch, epoch, memory_order_relaxed);
  atomic_store_explicit(&longest->ns, ns, memory_order_relaxed);
  atomic_store_explicit(&longest->wall_ns, colockp_wall_about_ns(), memory_order_relaxed);
  atomic_store_explicit(&longest->pid_tid, pid | (uint64_t)(uint32_t)seat->activity.tid << 32, memory_order_relaxed);
  for (size_t i = 0; i < NAME_SIZE / 8; i++) {
    uint64_t word;
    memcpy(&word, name + i * 8, 8);
    atomic_store_explicit(&longest->program[i], word, memory_order_relaxed);
  }
  atomic_store_explicit(&longest->sequence, sequence + 1, memory_order_release);
}

void colockp_stats_waited(const struct colock_hold *seat, int mode, int64_t since_ns) {
  if (seat->slot)
    colockp_stats_time(seat, COLOCKP_T_WAITS + (unsigned)mode - COLOCK_SHARED, colockp_now_ns() - since_ns);
}

void colockp_stats_failed(const struct colock_hold *seat, int code) {
  switch (code) {
  case COLOCK_EBUSY: colockp_stats_count(seat, COLOCKP_N_BUSY); break;
  case COLOCK_ETIMEDOUT: colockp_stats_count(seat, COLOCKP_N_TIMEOUTS); break;
  case COLOCK_ECANCELED:
  case COLOCK_EINTR: colockp_stats_count(seat, COLOCKP_N_CANCELS); break;
  case COLOCK_EDEADLK: colockp_stats_count(seat, COLOCKP_N_DEADLOCKS); break;
  default: break; /* nobody was in the way */
  }
}

bool colockp_stats_reader_died(uint32_t state, uint32_t mode, int64_t inherited_pid) {
  return (state == COLOCKP_HELD || state == COLOCKP_UPGRADING) && mode == COLOCK_SHARED && inherited_pid == 0;
}

bool colockp_stats_moved_in(const struct colock_hold *seat) {
  const struct colockp_slot *slot = seat->slot;
  struct colockp_activity before;
  uint64_t word = atomic_load_explicit(&slot->activity[0], memory_order_relaxed);
  _Static_assert(offsetof(struct colockp_activity, state) == 0 && offsetof(struct colockp_activity, mode) == 4,
                 "the first word");
  memcpy(&before, &word, sizeof word);
  bool died = colockp_stats_reader_died(before.state, before.mode,
                                        atomic_load_explicit(&slot->inherited_pid, memory_order_relaxed));
  if (died)
    colockp_stats_count(seat, COLOCKP_N_DEATHS);
  return died;
}

void colockp_stats_buried(struct colockp_region *region, uint64_t token) {
  if (atomic_load(&region->header->forced_token) != token)
    atomic_fetch_add(&region->header->deaths, 1);
}

/* Before, because afterwards the mark may be buried at once. If the generation is then not ours to change, somebody
 * else has forced out the same writer. */
void colockp_stats_forcing(struct colockp_region *region) {
  atomic_store(&region->header->forced_token, atomic_load(&region->header->writer));
}

void colockp_stats_forced(struct colockp_region *region) { atomic_fetch_add(&region->header->forced_unlocks, 1); }

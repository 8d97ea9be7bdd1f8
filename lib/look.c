/* look.c - one look at a lock file from outside: its bytes by pread, and what the kernel says of SLOT and LANE.
 *
 * Nothing is written and nothing is locked. What a slot says (look_slot.h) counts only while its SLOT byte is taken
 * and the LANE byte agrees. Between the system calls the lock moves on: a look that contradicts itself is repeated, a
 * bounded number of times.
 */
#include "look.h"
#include "clock.h"
#include "create.h"
#include "error.h"
#include "look_slot.h"
#include "range.h"
#include "system.h"
#include <errno.h>
#include <string.h>

#define LOOK_TRIES 6 /* while the lock changes under the look */
#define QUEUE_CHUNK 256u

/* ---- the header ---- */

int colockp_look_header(struct colockp_look *look) {
  struct stat st;
  enum colockp_condition condition = COLOCKP_SOUND;
  if (colockp_system.fstat(look->fd, &st) != 0)
    return colockp_look_fail(look, errno, "look at it");
  int error = colockp_inspect(look->fd, st.st_size, &look->header, &condition);
  if (error)
    return colockp_look_fail(look, error, "read");
  look->device = (uint64_t)st.st_dev;
  look->other_device = condition == COLOCKP_SOUND && look->header.device != look->device;
  switch (condition) {
  case COLOCKP_BLANK:
    return colockp_fail(COLOCK_EFOREIGN, 0, "%s: empty, not a lock file yet; left untouched", look->path);
  case COLOCKP_FOREIGN:
    return colockp_fail(COLOCK_EFOREIGN, 0,
                        "%s: not a lock file: it has somebody else's content, so it is left untouched", look->path);
  case COLOCKP_NEWER:
    return colockp_fail(COLOCK_EVERSION, 0,
                        "%s: format %u, layout %08x; this colock knows format %u, layout %08x. Use the newer colock",
                        look->path, (unsigned)look->header.version, (unsigned)look->header.fingerprint, COLOCKP_VERSION,
                        COLOCKP_FINGERPRINT);
  case COLOCKP_DAMAGED:
    return colockp_fail(COLOCK_ECORRUPT, 0,
                        "%s: damaged; the next process that opens it for writing rebuilds it when nobody lives in it",
                        look->path);
  default:
    return COLOCK_OK;
  }
}

/* One file through two doors (an overlay and its upper directory) has two tables of record locks. */
static int locks_elsewhere(const struct colockp_look *look) {
  return colockp_fail(COLOCK_ECORRUPT, 0,
                      "%s: in use through another device (%llx, here %llx): its locks cannot be seen from here",
                      look->path, (unsigned long long)look->header.device, (unsigned long long)look->device);
}

static bool is_taken(const struct colockp_queue_entry *entry) {
  return atomic_load(&entry->published) != COLOCKP_SEAT_FREE;
}

/* As many as there are, if the slots behind these are taken as these are. */
static void expect(struct colockp_look *look, const struct colockp_queue_entry *chunk, uint32_t count, uint32_t left) {
  size_t taken = 0;
  for (uint32_t i = 0; i < count; i++)
    taken += is_taken(&chunk[i]);
  look->expected = look->into->count + taken + taken * left / count;
}

static int look_at_slots(struct colockp_look *look) {
  struct colockp_queue_entry chunk[QUEUE_CHUNK];
  for (uint32_t first = 0; first < look->into->slots_in_use; first += QUEUE_CHUNK) {
    uint32_t left = look->into->slots_in_use - first, count = left < QUEUE_CHUNK ? left : QUEUE_CHUNK;
    int64_t at = COLOCKP_AT_QUEUE + (int64_t)first * (int64_t)sizeof *chunk;
    int code = colockp_look_read(look, chunk, count * sizeof *chunk, at);
    if (code == COLOCK_OK)
      expect(look, chunk, count, left - count);
    for (uint32_t i = 0; code == COLOCK_OK && i < count; i++)
      if (is_taken(&chunk[i]))
        code = look->other_device ? locks_elsewhere(look) : colockp_look_slot(look, first + i, &chunk[i]);
    if (code != COLOCK_OK)
      return code;
  }
  return COLOCK_OK;
}

/* ---- the whole look ---- */

static void take_header(struct colockp_look *look) {
  struct colockp_snapshot *into = look->into;
  look->pulse = 0;
  look->converting = COLOCKP_NO_SLOT;
  into->count = 0;
  memset(into->of_role, 0, sizeof into->of_role);
  into->generation = (uint32_t)atomic_load(&look->header.generation);
  into->capacity = atomic_load(&look->header.capacity);
  into->slots_in_use = atomic_load(&look->header.slots_in_use);
  into->last_token = atomic_load(&look->header.fence);
  into->abandoned = atomic_load(&look->header.abandoned);
  look->phase = atomic_load(&look->header.phase);
  into->forced = look->header.forced;
  into->forced.program[sizeof into->forced.program - 1] = '\0';
  into->forced.host[sizeof into->forced.host - 1] = '\0';
  into->forced.reason[sizeof into->forced.reason - 1] = '\0';
  into->forced_age_ns = -1;
  if (into->forced.when_wall_ns != 0 &&
      (__builtin_sub_overflow(look->wall_ns, into->forced.when_wall_ns, &into->forced_age_ns) ||
       into->forced_age_ns < 0))
    into->forced_age_ns = 0;
}

static int look_at_lane(struct colockp_look *look) {
  int64_t lane = colockp_lane(look->into->generation);
  int any = colockp_look_taken(look, COLOCKP_RANGE_EXCLUSIVE, lane);
  int exclusive = any > 0 ? colockp_look_taken(look, COLOCKP_RANGE_SHARED, lane) : any;
  if (any < 0 || exclusive < 0)
    return any < 0 ? -any : -exclusive;
  look->lane_taken = any > 0;
  look->lane_exclusive = exclusive > 0;
  return COLOCK_OK;
}

static bool has_lane(int role) { return role == COLOCK_HOLDER || role == COLOCK_CACHED; }

static size_t named(const struct colockp_look *look) {
  return look->into->of_role[COLOCK_HOLDER] + look->into->of_role[COLOCK_CACHED];
}

/* Somebody has the lane but no slot says so. Only if no slot is written either is it one without a slot; else owners
 * come and go. */
static bool nameless(const struct colockp_look *look) { return look->lane_taken && named(look) == 0; }

/* Two writers at once: one was gone when the other was looked at. */
static bool contradictory(const struct colockp_look *look) { return look->lane_exclusive && named(look) > 1; }

/* *settled: neither the generation nor the lane was seen to move meanwhile. */
static int look_once(struct colockp_look *look, bool *settled) {
  look->wall_ns = colockp_wall_ns();
  look->now_ns = colockp_now_ns();
  int code = colockp_look_header(look);
  if (code != COLOCK_OK)
    return code;
  take_header(look);
  if ((code = look_at_lane(look)) != COLOCK_OK || (code = look_at_slots(look)) != COLOCK_OK)
    return code;
  const struct colockp_look before = *look;
  uint64_t word;
  if ((code = colockp_look_read(look, &word, sizeof word, offsetof(struct colockp_header, generation))) != COLOCK_OK ||
      (code = look_at_lane(look)) != COLOCK_OK)
    return code;
  *settled = word == atomic_load(&before.header.generation) && look->lane_taken == before.lane_taken &&
             look->lane_exclusive == before.lane_exclusive && !contradictory(look);
  return COLOCK_OK;
}

/* The one with the highest token came last. */
static void keep_last_writer(struct colockp_snapshot *into) {
  uint64_t last = 0;
  size_t kept = 0;
  for (size_t i = 0; i < into->count; i++)
    if (has_lane(into->entries[i].role) && into->entries[i].activity.token > last)
      last = into->entries[i].activity.token;
  for (size_t i = 0; i < into->count; i++) {
    const colock_entry *entry = &into->entries[i];
    if (!has_lane(entry->role) || entry->activity.token == last)
      into->entries[kept++] = *entry;
    else
      into->of_role[entry->role]--;
  }
  into->count = kept;
}

/* A writer clears its mark before it unlocks: the same mark before and after a look at a LANE without a writer is that
 * of one who died, and whom nobody has found yet. */
static int look_for_dead_writer(const struct colockp_look *look) {
  uint64_t before = atomic_load(&look->header.writer), after;
  if (before <= look->into->abandoned || look->lane_exclusive)
    return COLOCK_OK;
  int code = colockp_look_read(look, &after, sizeof after, offsetof(struct colockp_header, writer));
  if (code == COLOCK_OK && after == before)
    look->into->abandoned = before;
  return code;
}

int colockp_look(struct colockp_snapshot *into, int fd, const char *escaped_path) {
  struct colockp_look look = {.fd = fd, .path = escaped_path, .into = into};
  bool settled = false, quiet = false; /* quiet: since the look before, nobody has written his slot */
  int code;
  for (int i = 0; i < LOOK_TRIES && (!settled || (nameless(&look) && !quiet)); i++) {
    uint64_t pulse = look.pulse;
    if ((code = look_once(&look, &settled)) != COLOCK_OK)
      return code;
    quiet = i > 0 && look.pulse == pulse;
  }
  if (nameless(&look) && look.converting != COLOCKP_NO_SLOT &&
      (code = colockp_look_converting(&look)) != COLOCK_OK)
    return code;
  if (nameless(&look) && settled && quiet && (code = colockp_look_anonymous(&look)) != COLOCK_OK)
    return code;
  if ((code = look_for_dead_writer(&look)) != COLOCK_OK)
    return code;
  if (contradictory(&look))
    keep_last_writer(into);
  return COLOCK_OK;
}

/* look.c - one look at a lock file from outside: its bytes by pread, and what the kernel says of SLOT and LANE.
 *
 * Nothing is written and nothing is locked. Slots are copied under their sequence word with a bounded retry. What a
 * slot says of a hold counts only while its SLOT byte is taken and the LANE byte agrees. Between the system calls the
 * lock moves on: a look that contradicts itself is repeated, a bounded number of times.
 */
#include "look.h"
#include "clock.h"
#include "create.h"
#include "error.h"
#include "identity.h"
#include "range.h"
#include "system.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COPY_TRIES 10
#define LOOK_TRIES 6 /* while the lock changes under the look */
#define QUEUE_CHUNK 256u
#define SLOT_BYTES offsetof(struct colockp_slot, reserved0) /* what a report reads of a slot */

struct look { /* one look at the file */
  int fd;
  const char *path; /* safe to print */
  int64_t wall_ns;
  int64_t now_ns;
  struct colockp_header header;
  uint64_t device;
  bool other_device;   /* than that of the processes that use the file */
  bool lane_taken;     /* somebody holds */
  bool lane_exclusive; /* and exclusively */
  uint64_t phase;      /* decides where waiters stand, see colockp_rank_place */
  uint64_t pulse;      /* of all sequence words: another one says that some owner has written */
  struct colockp_snapshot *into;
};

struct slot_copy { /* the first SLOT_BYTES of a slot, as plain memory */
  uint64_t sequence;
  struct colockp_activity activity;
  char purpose[COLOCKP_PURPOSE_SIZE];
  struct colockp_identity identity;
  int64_t inherited_pid;
};
_Static_assert(sizeof(struct slot_copy) == SLOT_BYTES, "slot_copy mirrors struct colockp_slot");
_Static_assert(offsetof(struct slot_copy, inherited_pid) == offsetof(struct colockp_slot, inherited_pid), "slot_copy");

static int fail_errno(const struct look *look, int error, const char *what) {
  return colockp_fail(colockp_code_of_errno(error), error, "%s: cannot %s: %s", look->path, what, strerror(error));
}

/* 0, or the code of a failure. A file that ends early is damaged: the header promised more. */
static int read_at(const struct look *look, void *buffer, size_t size, int64_t offset) {
  for (size_t done = 0; done < size;) {
    ssize_t got = colockp_system.pread(look->fd, (char *)buffer + done, size - done, offset + (int64_t)done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno(look, errno, "read");
    if (got == 0)
      return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged: cut off at byte %lld", look->path,
                          (long long)(offset + (int64_t)done));
    done += (size_t)got;
  }
  return COLOCK_OK;
}

/* 1 taken, 0 free, or -code. */
static int taken(const struct look *look, int mode, int64_t byte) {
  int answer = colockp_range_taken(look->fd, mode, byte, 1);
  if (answer >= 0)
    return answer;
  return -fail_errno(look, -answer, "look at its record locks");
}

/* ---- the header ---- */

static int read_header(struct look *look) {
  struct stat st;
  enum colockp_condition condition = COLOCKP_SOUND;
  if (colockp_system.fstat(look->fd, &st) != 0)
    return fail_errno(look, errno, "look at it");
  int error = colockp_inspect(look->fd, st.st_size, &look->header, &condition);
  if (error)
    return fail_errno(look, error, "read");
  look->device = (uint64_t)st.st_dev;
  look->other_device = condition == COLOCKP_SOUND && look->header.device != look->device;
  switch (condition) {
  case COLOCKP_BLANK:
    return colockp_fail(COLOCK_EFOREIGN, 0, "%s: empty, not a lock file yet; left untouched", look->path);
  case COLOCKP_FOREIGN:
    return colockp_fail(COLOCK_EFOREIGN, 0, "%s: not a lock file: it has somebody else's content; left untouched",
                        look->path);
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
static int locks_elsewhere(const struct look *look) {
  return colockp_fail(COLOCK_ECORRUPT, 0,
                      "%s: in use through another device (%llx, here %llx): its locks cannot be seen from here",
                      look->path, (unsigned long long)look->header.device, (unsigned long long)look->device);
}

/* ---- slots ---- */

/* Copy a slot. *known: the copy is of one moment; or it is not, but the identity, written once by each owner, read the
 * same twice. */
static int copy_slot(const struct look *look, uint32_t slot, struct slot_copy *copy, bool *known) {
  struct colockp_identity before;
  memset(&before, 0, sizeof before);
  for (int i = 0; i < COPY_TRIES; i++) {
    uint64_t sequence;
    int code = read_at(look, copy, sizeof *copy, colockp_at_slot(slot));
    if (code == COLOCK_OK)
      code = read_at(look, &sequence, sizeof sequence, colockp_at_slot(slot));
    if (code != COLOCK_OK)
      return code;
    if (sequence == copy->sequence && sequence % 2 == 0) {
      *known = true;
      return COLOCK_OK;
    }
    *known = i > 0 && copy->identity.pid != 0 && memcmp(&before, &copy->identity, sizeof before) == 0;
    before = copy->identity;
  }
  return COLOCK_OK;
}

static bool holding(uint32_t state) {
  return state == COLOCKP_HELD || state == COLOCKP_CACHED || state == COLOCKP_RECALLED || state == COLOCKP_UPGRADING;
}

static int64_t elapsed(int64_t from, int64_t to) {
  int64_t difference;
  return __builtin_sub_overflow(to, from, &difference) ? -1 : difference;
}

/* Of this boot by the clock that nobody sets, else (another host; a slot of before a reboot) by the wall clock; -1:
 * never said. */
static int64_t age_since(const struct look *look, const colock_entry *entry, int64_t mono_ns, int64_t wall_ns) {
  bool ours = entry->identity.boot_id[0] && strcmp(entry->identity.boot_id, colockp_boot_id()) == 0;
  if (mono_ns == 0 && wall_ns == 0)
    return -1;
  int64_t age = ours && mono_ns != 0 ? elapsed(mono_ns, look->now_ns) : -1;
  if (age < 0) /* also a clock that a time namespace has moved */
    age = wall_ns != 0 ? elapsed(wall_ns, look->wall_ns) : 0;
  return age < 0 ? 0 : age;
}

static colock_entry *add_entry(struct colockp_snapshot *into) {
  if (into->count == into->room) {
    size_t room = into->room ? into->room * 2 : 8;
    colock_entry *entries = colockp_system.malloc(room * sizeof *entries);
    if (!entries)
      return NULL;
    if (into->entries) {
      memcpy(entries, into->entries, into->count * sizeof *entries);
      colockp_system.free(into->entries);
    }
    into->entries = entries;
    into->room = room;
  }
  colock_entry *entry = &into->entries[into->count];
  memset(entry, 0, sizeof *entry);
  entry->age_ns = -1;
  return entry; /* counted by the caller once it is whole */
}

static int no_memory(const struct look *look) {
  return colockp_fail(COLOCK_ENOMEM, ENOMEM, "%s: no memory for a report", look->path);
}

static void count_entry(struct colockp_snapshot *into, const colock_entry *entry) {
  into->count++;
  into->of_role[entry->role]++;
}

/* published: when its owner joined the queue. An upgrading owner's other words are those of its hold. */
static void fill_known(const struct look *look, colock_entry *entry, const struct slot_copy *copy, int64_t published) {
  entry->known = true;
  entry->identity = copy->identity;
  entry->identity.host[sizeof entry->identity.host - 1] = '\0'; /* the bytes come from outside */
  entry->identity.boot_id[sizeof entry->identity.boot_id - 1] = '\0';
  entry->identity.program[sizeof entry->identity.program - 1] = '\0';
  entry->identity.label[sizeof entry->identity.label - 1] = '\0';
  memcpy(entry->purpose, copy->purpose, sizeof entry->purpose - 1);
  if (copy->activity.purpose_length < sizeof entry->purpose)
    memset(entry->purpose + copy->activity.purpose_length, 0, sizeof entry->purpose - copy->activity.purpose_length);
  entry->inherited_pid = copy->inherited_pid;
  if (entry->role != COLOCK_WAITER && copy->activity.token != 0)
    snprintf(entry->token_text, sizeof entry->token_text, "%" PRIu64, copy->activity.token);
  if (entry->role == COLOCK_WAITER && entry->upgrading)
    entry->age_ns = age_since(look, entry, 0, published > COLOCKP_SEAT_TAKEN ? published : 0);
  else
    entry->age_ns = age_since(look, entry, copy->activity.since_ns, copy->activity.since_wall_ns);
  if (entry->role == COLOCK_HOLDER) {
    bool ours = strcmp(entry->identity.boot_id, colockp_boot_id()) == 0;
    int64_t quiet_ns = ours ? elapsed(copy->activity.renewed_ns, look->now_ns) : entry->age_ns;
    entry->stale = copy->activity.stale_timeout_ns > 0 && quiet_ns > copy->activity.stale_timeout_ns;
  }
}

/* What the slot is to the lock by its own words and the lane's; 0: nothing that a report shows. */
static int role_of(const struct look *look, const struct colockp_activity *activity, uint64_t rank) {
  if (activity->state == COLOCKP_WAITING)
    return rank != 0 ? COLOCK_WAITER : 0;
  if (!holding(activity->state))
    return 0;
  if (activity->generation != look->into->generation)
    return COLOCK_REVOKED;
  int mode = !look->lane_taken ? 0 : look->lane_exclusive ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
  if (activity->state == COLOCKP_HELD && activity->mode != (uint32_t)mode)
    return 0; /* its words lag behind: it has just let go, or its LANE went with it */
  if (mode == 0)
    return 0;
  return activity->state == COLOCKP_HELD || activity->state == COLOCKP_UPGRADING ? COLOCK_HOLDER : COLOCK_CACHED;
}

static int mode_of(const struct look *look, const struct colockp_activity *activity) {
  if (activity->state == COLOCKP_UPGRADING && activity->generation == look->into->generation)
    return look->lane_exclusive ? COLOCK_EXCLUSIVE : COLOCK_SHARED; /* it has LANE: only itself can have converted it */
  return activity->mode == COLOCK_SHARED || activity->mode == COLOCK_EXCLUSIVE ? (int)activity->mode : 0;
}

static int add_slot(struct look *look, int role, uint32_t slot, const struct colockp_queue_entry *queue,
                    const struct slot_copy *copy, bool known) {
  uint64_t rank = atomic_load(&queue->rank);
  colock_entry *entry = add_entry(look->into);
  if (!entry)
    return no_memory(look);
  entry->role = role;
  entry->slot = slot;
  entry->activity = copy->activity;
  entry->upgrading = copy->activity.state == COLOCKP_UPGRADING && role != COLOCK_REVOKED && !look->lane_exclusive;
  if (role == COLOCK_WAITER) {
    entry->mode = rank & COLOCKP_RANK_EXCLUSIVE ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
    entry->passed = !colockp_rank_waits(rank);
    entry->place = colockp_rank_place(rank, look->phase);
  } else {
    entry->mode = mode_of(look, &copy->activity);
  }
  if (known)
    fill_known(look, entry, copy, atomic_load(&queue->published));
  count_entry(look->into, entry);
  return COLOCK_OK;
}

static int look_at_slot(struct look *look, uint32_t slot, const struct colockp_queue_entry *queue) {
  struct slot_copy copy;
  bool known = false;
  uint64_t rank = atomic_load(&queue->rank);
  int code = copy_slot(look, slot, &copy, &known);
  if (code != COLOCK_OK)
    return code;
  look->pulse = look->pulse * 31 + copy.sequence;
  int alive = taken(look, COLOCKP_RANGE_SHARED, COLOCKP_BYTE_SLOT + slot);
  if (alive < 0)
    return -alive;
  int role = alive ? role_of(look, &copy.activity, rank) : 0;
  if (role == 0)
    return COLOCK_OK;
  code = add_slot(look, role, slot, queue, &copy, known);
  bool waits_too = role == COLOCK_HOLDER && copy.activity.state == COLOCKP_UPGRADING && rank != 0;
  if (code == COLOCK_OK && waits_too && !look->lane_exclusive)
    code = add_slot(look, COLOCK_WAITER, slot, queue, &copy, known);
  return code;
}

static int look_at_slots(struct look *look) {
  struct colockp_queue_entry chunk[QUEUE_CHUNK];
  for (uint32_t first = 0; first < look->into->slots_in_use; first += QUEUE_CHUNK) {
    uint32_t count = look->into->slots_in_use - first;
    count = count < QUEUE_CHUNK ? count : QUEUE_CHUNK;
    int code = read_at(look, chunk, count * sizeof *chunk, COLOCKP_AT_QUEUE + (int64_t)first * (int64_t)sizeof *chunk);
    for (uint32_t i = 0; code == COLOCK_OK && i < count; i++)
      if (atomic_load(&chunk[i].published) != COLOCKP_SEAT_FREE)
        code = look->other_device ? locks_elsewhere(look) : look_at_slot(look, first + i, &chunk[i]);
    if (code != COLOCK_OK)
      return code;
  }
  return COLOCK_OK;
}

/* ---- the whole look ---- */

static void take_header(struct look *look) {
  struct colockp_snapshot *into = look->into;
  look->pulse = 0;
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
  into->forced_age_ns = into->forced.when_wall_ns == 0 ? -1 : elapsed(into->forced.when_wall_ns, look->wall_ns);
  if (into->forced.when_wall_ns != 0 && into->forced_age_ns < 0)
    into->forced_age_ns = 0;
}

static int look_at_lane(struct look *look) {
  int64_t lane = colockp_lane(look->into->generation);
  int any = taken(look, COLOCKP_RANGE_EXCLUSIVE, lane);
  int exclusive = any > 0 ? taken(look, COLOCKP_RANGE_SHARED, lane) : any;
  if (any < 0 || exclusive < 0)
    return any < 0 ? -any : -exclusive;
  look->lane_taken = any > 0;
  look->lane_exclusive = exclusive > 0;
  return COLOCK_OK;
}

/* Somebody has the lane but no slot says so. Only if no slot is written either is it one without a slot; else owners
 * come and go. */
static bool nameless(const struct look *look) {
  return look->lane_taken && look->into->of_role[COLOCK_HOLDER] + look->into->of_role[COLOCK_CACHED] == 0;
}

/* Two writers at once: one was gone when the other was looked at. */
static bool contradictory(const struct look *look) {
  return look->lane_exclusive && look->into->of_role[COLOCK_HOLDER] > 1;
}

/* *settled: neither the generation nor the lane was seen to move meanwhile. */
static int look_once(struct look *look, bool *settled) {
  look->wall_ns = colockp_wall_ns();
  look->now_ns = colockp_now_ns();
  int code = read_header(look);
  if (code != COLOCK_OK)
    return code;
  take_header(look);
  if ((code = look_at_lane(look)) != COLOCK_OK || (code = look_at_slots(look)) != COLOCK_OK)
    return code;
  const struct look before = *look;
  uint64_t word;
  if ((code = read_at(look, &word, sizeof word, offsetof(struct colockp_header, generation))) != COLOCK_OK ||
      (code = look_at_lane(look)) != COLOCK_OK)
    return code;
  *settled = word == atomic_load(&before.header.generation) && look->lane_taken == before.lane_taken &&
             look->lane_exclusive == before.lane_exclusive && !contradictory(look);
  return COLOCK_OK;
}

static int add_anonymous(const struct look *look) {
  colock_entry *entry = add_entry(look->into);
  if (!entry)
    return no_memory(look);
  entry->role = COLOCK_ANONYMOUS;
  entry->mode = look->lane_exclusive ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
  entry->slot = COLOCKP_NO_SLOT;
  count_entry(look->into, entry);
  return COLOCK_OK;
}

/* The one with the highest token came last. */
static void keep_last_writer(struct colockp_snapshot *into) {
  uint64_t last = 0;
  size_t kept = 0;
  for (size_t i = 0; i < into->count; i++)
    if (into->entries[i].role == COLOCK_HOLDER && into->entries[i].activity.token > last)
      last = into->entries[i].activity.token;
  for (size_t i = 0; i < into->count; i++)
    if (into->entries[i].role != COLOCK_HOLDER || into->entries[i].activity.token == last)
      into->entries[kept++] = into->entries[i];
  into->of_role[COLOCK_HOLDER] -= into->count - kept;
  into->count = kept;
}

/* A writer clears its mark before it unlocks: the same mark before and after a look at a LANE without a writer is that
 * of one who died, and whom nobody has found yet. */
static int look_for_dead_writer(const struct look *look) {
  uint64_t before = atomic_load(&look->header.writer), after;
  if (before <= look->into->abandoned || look->lane_exclusive)
    return COLOCK_OK;
  int code = read_at(look, &after, sizeof after, offsetof(struct colockp_header, writer));
  if (code == COLOCK_OK && after == before)
    look->into->abandoned = before;
  return code;
}

int colockp_look(struct colockp_snapshot *into, int fd, const char *escaped_path) {
  struct look look = {.fd = fd, .path = escaped_path, .into = into};
  bool settled = false, quiet = false; /* quiet: since the look before, nobody has written his slot */
  int code;
  for (int i = 0; i < LOOK_TRIES && (!settled || (nameless(&look) && !quiet)); i++) {
    uint64_t pulse = look.pulse;
    if ((code = look_once(&look, &settled)) != COLOCK_OK)
      return code;
    quiet = i > 0 && look.pulse == pulse;
  }
  if (settled && quiet && nameless(&look) && (code = add_anonymous(&look)) != COLOCK_OK)
    return code;
  if ((code = look_for_dead_writer(&look)) != COLOCK_OK)
    return code;
  if (contradictory(&look))
    keep_last_writer(into);
  return COLOCK_OK;
}

int colockp_report_holds(int fd, uint32_t slot, uint32_t generation, uint64_t hold_id, const char *escaped_path) {
  struct look look = {.fd = fd, .path = escaped_path};
  struct slot_copy copy;
  bool known;
  int code = copy_slot(&look, slot, &copy, &known);
  if (code != COLOCK_OK)
    return -code;
  if (!holding(copy.activity.state) || copy.activity.generation != generation || copy.activity.hold_id != hold_id)
    return 0;
  return taken(&look, COLOCKP_RANGE_SHARED, COLOCKP_BYTE_SLOT + slot);
}


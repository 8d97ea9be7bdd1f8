/* look_slot.c - see look_slot.h. */
#include "look_slot.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "range.h"
#include "system.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COPY_TRIES 10
#define EXPECTED_MOST 4096u /* entries to make room for on a mere hint */
#define SLOT_BYTES offsetof(struct colockp_slot, reserved0) /* what a report reads of a slot */

struct colockp_slot_copy { /* the first SLOT_BYTES of a slot, as plain memory */
  uint64_t sequence;
  struct colockp_activity activity;
  char purpose[COLOCKP_PURPOSE_SIZE];
  struct colockp_identity identity;
  int64_t inherited_pid;
};
_Static_assert(sizeof(struct colockp_slot_copy) == SLOT_BYTES, "slot_copy mirrors struct colockp_slot");
_Static_assert(offsetof(struct colockp_slot_copy, inherited_pid) == offsetof(struct colockp_slot, inherited_pid),
               "slot_copy mirrors struct colockp_slot");

int colockp_look_fail(const struct colockp_look *look, int error, const char *what) {
  return colockp_fail(colockp_code_of_errno(error), error, "%s: cannot %s: %s", look->path, what, strerror(error));
}

int colockp_look_read(const struct colockp_look *look, void *buffer, size_t size, int64_t offset) {
  for (size_t done = 0; done < size;) {
    ssize_t got = colockp_system.pread(look->fd, (char *)buffer + done, size - done, offset + (int64_t)done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return colockp_look_fail(look, errno, "read");
    if (got == 0)
      return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged: cut off at byte %lld", look->path,
                          (long long)(offset + (int64_t)done));
    done += (size_t)got;
  }
  return COLOCK_OK;
}

int colockp_look_taken(const struct colockp_look *look, int mode, int64_t byte) {
  int answer = colockp_range_taken(look->fd, mode, byte, 1);
  if (answer >= 0)
    return answer;
  return -colockp_look_fail(look, -answer, "look at its record locks");
}

/* Copy a slot. *known: the copy is of one moment; or it is not, but the identity, written once by each owner, read the
 * same twice. */
static int copy_slot(const struct colockp_look *look, uint32_t slot, struct colockp_slot_copy *copy, bool *known) {
  struct colockp_identity before;
  memset(&before, 0, sizeof before);
  for (int i = 0; i < COPY_TRIES; i++) {
    uint64_t sequence;
    int code = colockp_look_read(look, copy, sizeof *copy, colockp_at_slot(slot));
    if (code == COLOCK_OK)
      code = colockp_look_read(look, &sequence, sizeof sequence, colockp_at_slot(slot));
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
static int64_t age_since(const struct colockp_look *look, const colock_entry *entry, int64_t mono_ns, int64_t wall_ns) {
  bool ours = entry->identity.boot_id[0] && strcmp(entry->identity.boot_id, colockp_boot_id()) == 0;
  if (mono_ns == 0 && wall_ns == 0)
    return -1;
  int64_t age = ours && mono_ns != 0 ? elapsed(mono_ns, look->now_ns) : -1;
  if (age < 0) /* also a clock that a time namespace has moved */
    age = wall_ns != 0 ? elapsed(wall_ns, look->wall_ns) : 0;
  return age < 0 ? 0 : age;
}

static colock_entry *add_entry(const struct colockp_look *look) {
  struct colockp_snapshot *into = look->into;
  if (into->count == into->room) {
    size_t room = into->room ? into->room * 2 : 8;
    size_t expected = look->expected < EXPECTED_MOST ? look->expected : EXPECTED_MOST;
    room = room < expected ? expected : room;
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

static int no_memory(const struct colockp_look *look) {
  return colockp_fail(COLOCK_ENOMEM, ENOMEM, "%s: no memory for a report", look->path);
}

static void count_entry(struct colockp_snapshot *into, const colock_entry *entry) {
  into->count++;
  into->of_role[entry->role]++;
}

/* published: when its owner joined the queue. An upgrading owner's other words are those of its hold. */
static void fill_known(const struct colockp_look *look, colock_entry *entry, const struct colockp_slot_copy *copy,
                       int64_t published) {
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
  else if (entry->role == COLOCK_CACHED) /* renewed last when it fell out of use, or when its suspend began */
    entry->age_ns = age_since(look, entry, copy->activity.renewed_ns, copy->activity.since_wall_ns);
  else
    entry->age_ns = age_since(look, entry, copy->activity.since_ns, copy->activity.since_wall_ns);
  if (entry->role == COLOCK_HOLDER) {
    bool ours = strcmp(entry->identity.boot_id, colockp_boot_id()) == 0;
    int64_t quiet_ns = ours ? elapsed(copy->activity.renewed_ns, look->now_ns) : entry->age_ns;
    entry->stale = copy->activity.stale_timeout_ns > 0 && quiet_ns > copy->activity.stale_timeout_ns;
  }
}

static int lane_mode(const struct colockp_look *look) {
  return !look->lane_taken ? 0 : look->lane_exclusive ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
}

static int role_of_state(uint32_t state) {
  return state == COLOCKP_HELD || state == COLOCKP_UPGRADING ? COLOCK_HOLDER : COLOCK_CACHED;
}

/* What the slot is to the lock by its own words and the lane's; 0: nothing that a report shows. */
static int role_of(const struct colockp_look *look, const struct colockp_activity *activity, uint64_t rank) {
  if (activity->state == COLOCKP_WAITING)
    return rank != 0 ? COLOCK_WAITER : 0;
  if (!holding(activity->state))
    return 0;
  if (activity->generation != look->into->generation)
    return COLOCK_REVOKED;
  bool converts = activity->state == COLOCKP_UPGRADING;
  if (!look->lane_taken || (!converts && activity->mode != (uint32_t)lane_mode(look)))
    return 0; /* its words lag behind: it has just let go, or its LANE went with it, or is converted */
  return role_of_state(activity->state);
}

static int mode_of(const struct colockp_look *look, const struct colockp_activity *activity) {
  if (activity->state == COLOCKP_UPGRADING && activity->generation == look->into->generation)
    return look->lane_exclusive ? COLOCK_EXCLUSIVE : COLOCK_SHARED; /* it has LANE: only itself can have converted it */
  return activity->mode == COLOCK_SHARED || activity->mode == COLOCK_EXCLUSIVE ? (int)activity->mode : 0;
}

static int add_slot(struct colockp_look *look, int role, uint32_t slot, const struct colockp_queue_entry *queue,
                    const struct colockp_slot_copy *copy, bool known) {
  uint64_t rank = atomic_load(&queue->rank);
  colock_entry *entry = add_entry(look);
  if (!entry)
    return no_memory(look);
  entry->role = role;
  entry->slot = slot;
  entry->activity = copy->activity;
  entry->upgrading = copy->activity.state == COLOCKP_UPGRADING && role != COLOCK_REVOKED && !look->lane_exclusive;
  entry->suspending = copy->activity.state == COLOCKP_RECALLED && role == COLOCK_CACHED;
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

int colockp_look_slot(struct colockp_look *look, uint32_t slot, const struct colockp_queue_entry *queue) {
  struct colockp_slot_copy copy;
  bool known = false;
  uint64_t rank = atomic_load(&queue->rank);
  int code = copy_slot(look, slot, &copy, &known);
  if (code != COLOCK_OK)
    return code;
  look->pulse = look->pulse * 31 + copy.sequence;
  /* One moment for all, or their order would be wrong; but not before what the slot says: a kept lock is used on. */
  if (copy.activity.renewed_ns > look->now_ns)
    look->now_ns = colockp_now_ns();
  int alive = colockp_look_taken(look, COLOCKP_RANGE_SHARED, COLOCKP_BYTE_SLOT + slot);
  if (alive < 0)
    return -alive;
  int role = alive ? role_of(look, &copy.activity, rank) : 0;
  if (role == 0) {
    if (alive && look->lane_taken && holding(copy.activity.state))
      look->converting = slot;
    return COLOCK_OK;
  }
  code = add_slot(look, role, slot, queue, &copy, known);
  bool waits_too = role == COLOCK_HOLDER && copy.activity.state == COLOCKP_UPGRADING && rank != 0;
  if (code == COLOCK_OK && waits_too && !look->lane_exclusive)
    code = add_slot(look, COLOCK_WAITER, slot, queue, &copy, known);
  return code;
}

int colockp_look_anonymous(const struct colockp_look *look) {
  colock_entry *entry = add_entry(look);
  if (!entry)
    return no_memory(look);
  entry->role = COLOCK_ANONYMOUS;
  entry->mode = lane_mode(look);
  entry->slot = COLOCKP_NO_SLOT;
  count_entry(look->into, entry);
  return COLOCK_OK;
}

/* If it still says so, though LANE did move while we looked, it is not one that has let go meanwhile. */
int colockp_look_converting(struct colockp_look *look) {
  const struct colockp_queue_entry none = {.rank = 0};
  struct colockp_slot_copy copy;
  bool known;
  int code = copy_slot(look, look->converting, &copy, &known);
  if (code != COLOCK_OK)
    return code;
  if (!known || !holding(copy.activity.state) || copy.activity.generation != look->into->generation)
    return COLOCK_OK;
  code = add_slot(look, role_of_state(copy.activity.state), look->converting, &none, &copy, true);
  if (code != COLOCK_OK)
    return code;
  colock_entry *entry = &look->into->entries[look->into->count - 1];
  entry->mode = lane_mode(look);
  if (entry->mode == COLOCK_SHARED)
    entry->token_text[0] = '\0';
  return COLOCK_OK;
}

int colockp_report_holds(int fd, uint32_t slot, uint32_t generation, uint64_t hold_id, const char *escaped_path) {
  struct colockp_look look = {.fd = fd, .path = escaped_path};
  struct colockp_slot_copy copy;
  bool known;
  int code = copy_slot(&look, slot, &copy, &known);
  if (code != COLOCK_OK)
    return -code;
  if (!holding(copy.activity.state) || copy.activity.generation != generation || copy.activity.hold_id != hold_id)
    return 0;
  return colockp_look_taken(&look, COLOCKP_RANGE_SHARED, COLOCKP_BYTE_SLOT + slot);
}

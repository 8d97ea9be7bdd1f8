/* seat.c - claiming, showing and giving back seats. See seat.h for the discipline. */
#define _GNU_SOURCE
#include "seat.h"
#include "error.h"
#include "identity.h"
#include "log.h"
#include "queue.h"
#include "range.h"
#include "stats.h"
#include "system.h"
#include "trace.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define SEAT_FLAGS (O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)
#define TAKEN_TRIES 4 /* slots that look taken, tried before the file is made larger: their owners may be dead */

/* Words are stored one by one, relaxed: a reader that catches us half way sees an odd or changed sequence and looks
 * again. */
static void store_words(_Atomic uint64_t *to, const void *from, size_t size) {
  for (size_t i = 0; i < size / 8; i++) {
    uint64_t word;
    memcpy(&word, (const char *)from + i * 8, 8);
    atomic_store_explicit(&to[i], word, memory_order_relaxed);
  }
}

static void store_word(struct colockp_slot *slot, size_t offset, uint64_t word) {
  atomic_store_explicit(&slot->activity[offset / 8], word, memory_order_relaxed);
}

/* Two fields as one word, put together from registers: a load of both right after the store of one waits for it. */
static void store_pair(struct colockp_slot *slot, size_t offset, uint32_t low, uint32_t high) {
  store_word(slot, offset, (uint64_t)high << 32 | low);
}

#define AT(field) offsetof(struct colockp_activity, field)

static void store_state(struct colockp_slot *slot, const struct colockp_activity *a) {
  store_pair(slot, AT(state), a->state, a->mode);
  store_word(slot, AT(renewed_ns), (uint64_t)a->renewed_ns);
}

static void store_activity(struct colockp_slot *slot, const struct colockp_activity *a) {
  store_state(slot, a);
  store_pair(slot, AT(priority), (uint32_t)a->priority, (uint32_t)a->tid);
  store_pair(slot, AT(generation), a->generation, a->purpose_length);
  store_word(slot, AT(hold_id), a->hold_id);
  store_word(slot, AT(token), a->token);
  store_word(slot, AT(since_wall_ns), (uint64_t)a->since_wall_ns);
  store_word(slot, AT(since_ns), (uint64_t)a->since_ns);
  store_word(slot, AT(stale_timeout_ns), (uint64_t)a->stale_timeout_ns);
}

static void begin_write(struct colockp_slot *slot) {
  uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
  atomic_store_explicit(&slot->sequence, sequence | 1,
                        memory_order_relaxed); /* an owner that died while writing left it odd */
  atomic_thread_fence(memory_order_release);
}

static void end_write(struct colockp_slot *slot) {
  uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
  atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_release);
}

void colockp_seat_show(struct colock_hold *seat, const char *purpose) {
  struct colockp_slot *slot = seat->slot;
  bool had = seat->activity.purpose_length != 0;
  if (!slot)
    return;
  if (!purpose && !had) {
    colockp_seat_show_activity(seat);
    return;
  }
  char text[COLOCKP_PURPOSE_SIZE];
  seat->activity.purpose_length = 0;
  if (purpose) {
    colockp_text_copy(text, sizeof text, purpose);
    seat->activity.purpose_length = (uint32_t)strlen(text);
  } else {
    memset(text, 0, sizeof text);
  }
  begin_write(slot);
  store_activity(slot, &seat->activity);
  store_words(slot->purpose, text, sizeof text);
  end_write(slot);
}

void colockp_seat_show_activity(struct colock_hold *seat) {
  struct colockp_slot *slot = seat->slot;
  if (!slot)
    return;
  begin_write(slot);
  store_activity(slot, &seat->activity);
  end_write(slot);
}

void colockp_seat_show_state(struct colock_hold *seat) {
  struct colockp_slot *slot = seat->slot;
  if (!slot)
    return;
  begin_write(slot);
  store_state(slot, &seat->activity);
  end_write(slot);
}

/* Who has the SLOT byte owns the slot. A dead owner's rank goes, its hold id and sequence go on growing. */
static void move_in(struct colock_hold *seat, const char *label) {
  struct colockp_slot *slot = seat->slot;
  struct colockp_identity identity;
  _Static_assert(offsetof(struct colockp_activity, hold_id) % 8 == 0, "hold_id is a word");
  uint64_t hold_id =
      atomic_load_explicit(&slot->activity[offsetof(struct colockp_activity, hold_id) / 8], memory_order_relaxed);
  bool waited = atomic_load_explicit(&seat->region->queue[seat->number].rank, memory_order_relaxed) != 0;
  colockp_queue_clear(seat->region, seat->number);
  bool held = colockp_stats_moved_in(seat);
  memset(&seat->activity, 0, sizeof seat->activity);
  seat->activity.hold_id = hold_id;
  colockp_identity_get(&identity);
  memset(identity.label, 0, sizeof identity.label);
  colockp_text_copy(identity.label, sizeof identity.label, label);
  atomic_store_explicit(&slot->inherited_pid, 0, memory_order_relaxed);
  begin_write(slot);
  store_activity(slot, &seat->activity);
  store_words(slot->identity, &identity, sizeof identity);
  end_write(slot);
  if (waited || held)
    colockp_trace_reap(seat->region, seat->number, held);
}

/* The map is made through the region's descriptor: the seat's own, which carries locks, must be free to die. */
static int map_slot(struct colock_hold *seat) {
  void *at = colockp_system.mmap(NULL, COLOCKP_SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, seat->region->file.fd,
                                 colockp_at_slot(seat->number));
  if (at == MAP_FAILED) {
    int error = errno;
    atomic_store_explicit(&seat->region->queue[seat->number].published, COLOCKP_SEAT_FREE, memory_order_relaxed);
    colockp_range_unlock(seat->file.fd, COLOCKP_BYTE_SLOT + seat->number, 1);
    return colockp_region_fail(seat->region, error, "map a slot");
  }
  seat->slot = at;
  atomic_fetch_or_explicit(&seat->slot->sequence, 0, memory_order_relaxed); /* one fault, not two: see region.c */
  seat->entry = &seat->region->queue[seat->number];
  return 0;
}

/* 0: ours, and shown to be. EAGAIN: somebody lives there. */
static int try_slot(struct colock_hold *seat, uint32_t number) {
  struct colockp_header *header = seat->region->header;
  int error = colockp_range_lock(seat->file.fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_BYTE_SLOT + number, 1);
  if (error)
    return error;
  seat->number = number;
  atomic_store_explicit(&seat->region->queue[number].published, COLOCKP_SEAT_TAKEN, memory_order_relaxed);
  uint32_t in_use = atomic_load_explicit(&header->slots_in_use, memory_order_relaxed);
  while (in_use <= number && !atomic_compare_exchange_weak_explicit(&header->slots_in_use, &in_use, number + 1,
                                                                    memory_order_release, memory_order_relaxed))
    ;
  return 0;
}

/* Whose SLOT byte lies in another lock table may be seated on this very slot: nothing is written to it before, and it
 * goes on to look taken after. The next owner puts that right. */
static int check_device(const struct colock_hold *seat) {
  int code = colockp_region_device(seat->region);
  if (code)
    colockp_range_unlock(seat->file.fd, COLOCKP_BYTE_SLOT + seat->number, 1);
  return code;
}

/* Slots that look free, then a few that look taken, then those never used. EAGAIN: none below capacity. */
static int try_slots(struct colock_hold *seat, uint32_t capacity) {
  struct colockp_region *region = seat->region;
  uint32_t in_use = atomic_load_explicit(&region->header->slots_in_use, memory_order_acquire);
  in_use = in_use < capacity ? in_use : capacity;
  int error = EAGAIN;
  for (uint32_t i = 0; i < in_use && error == EAGAIN; i++)
    if (atomic_load_explicit(&region->queue[i].published, memory_order_relaxed) == COLOCKP_SEAT_FREE)
      error = try_slot(seat, i);
  uint32_t first = in_use ? (uint32_t)(colockp_thread() * 2654435761u + (uint32_t)colockp_tid()) % in_use : 0;
  for (uint32_t i = 0; i < in_use && i < TAKEN_TRIES && error == EAGAIN; i++)
    error = try_slot(seat, (first + i) % in_use);
  for (uint32_t i = in_use; i < capacity && error == EAGAIN; i++)
    error = try_slot(seat, i);
  return error;
}

/* The byte between the SLOT and LANE ranges is nobody's: it is taken only while the file is laid out anew. */
static bool being_settled(const struct colock_hold *seat) {
  return colockp_range_taken(seat->file.fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_BYTE_SLOT + COLOCKP_SLOTS_MAX, 1) == 1;
}

/* Beyond the end of the file a store is a SIGBUS, so what the header says is held against the file. */
static int read_capacity(const struct colock_hold *seat, off_t *size, uint32_t *capacity) {
  const struct colockp_region *region = seat->region;
  struct stat st;
  *capacity = atomic_load_explicit(&region->header->capacity, memory_order_acquire);
  bool possible = *capacity >= COLOCKP_SLOTS_MIN && *capacity <= COLOCKP_SLOTS_MAX;
  if (possible && colockp_file_size(*capacity) > *size) { /* grown since, or damaged */
    if (colockp_system.fstat(seat->file.fd, &st) != 0)
      return colockp_region_fail(region, errno, "look at it");
    *size = st.st_size;
  }
  if (possible && colockp_file_size(*capacity) <= *size)
    return 0;
  return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged while it was open", region->escaped);
}

static int take_slot(struct colock_hold *seat, off_t size, int64_t deadline_ns) {
  struct colockp_region *region = seat->region;
  int64_t delay_ns = 1000000;
  for (;;) {
    uint32_t capacity;
    int damaged = read_capacity(seat, &size, &capacity);
    if (damaged)
      return damaged;
    int error = try_slots(seat, capacity);
    if (error == 0)
      return 0;
    if (error != EAGAIN)
      return colockp_region_fail(region, error, "lock a slot");
    if (being_settled(seat)) {
      if (!colockp_region_pause(&delay_ns, deadline_ns))
        return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: another process is rebuilding it", region->escaped);
      continue;
    }
    int code = colockp_region_grow(region, seat->file.fd, capacity, deadline_ns);
    if (code)
      return code;
  }
}

static int open_seat(struct colock_hold *seat, off_t *size) {
  struct colockp_region *region = seat->region;
  struct stat st;
  int flags = SEAT_FLAGS | (region->read_only ? O_RDONLY : O_RDWR);
  int error = colockp_fd_open(&seat->file, true, region->directory.fd, region->name, flags, 0);
  if (error == ENOENT || error == ELOOP) /* even if the name is back by now: start over */
    return colockp_fail(COLOCK_ELOST, error, "%s: the lock file was deleted or replaced", region->escaped);
  if (error && colockp_region_named(region) == COLOCK_ELOST) /* a file that we may not write is there now */
    return COLOCK_ELOST;
  if (error)
    return colockp_region_fail(region, error, "open a seat");
  if (colockp_system.fstat(seat->file.fd, &st) != 0)
    return colockp_region_fail(region, errno, "look at it");
  if (st.st_dev != region->device || st.st_ino != region->inode)
    return colockp_fail(COLOCK_ELOST, 0, "%s: the lock file was replaced by another", region->escaped);
  seat->changed = st.st_ctim;
  *size = st.st_size;
  return 0;
}

int colockp_seat_claim(struct colockp_region *region, const char *label, int64_t deadline_ns,
                       struct colock_hold **out) {
  struct colock_hold *seat = colockp_system.malloc(sizeof *seat);
  if (!seat)
    return colockp_fail(COLOCK_ENOMEM, 0, "%s: out of memory", region->escaped);
  memset(seat, 0, sizeof *seat);
  seat->file.fd = seat->events.fd = seat->event_fd = -1;
  seat->region = colockp_region_ref(region);
  seat->forks = colockp_fork_count();
  off_t size = 0;
  int code = open_seat(seat, &size);
  if (code == 0 && !region->read_only) {
    code = take_slot(seat, size, deadline_ns);
    if (code == 0)
      code = check_device(seat);
    if (code == 0)
      code = map_slot(seat);
    if (code == 0)
      move_in(seat, label);
  }
  if (code) {
    colockp_seat_free(seat);
    return code;
  }
  *out = seat;
  return 0;
}

int colockp_seat_reopen(struct colock_hold *seat) {
  off_t size;
  colockp_fd_close(&seat->file);
  int code = open_seat(seat, &size);
  seat->broken = code != 0;
  return code;
}

/* Owner of the slot, for the last time. */
static void move_out(struct colock_hold *seat) {
  seat->activity.state = COLOCKP_IDLE;
  colockp_seat_show_state(seat);
  atomic_store_explicit(&seat->entry->published, COLOCKP_SEAT_FREE, memory_order_relaxed);
}

/* Our own descriptor of an inherited seat is closed. If that was the last copy, the slot is nobody's and would look
 * taken until somebody tries it; only who has its SLOT byte may say otherwise. */
static void tidy_inherited(struct colock_hold *seat) {
  struct colockp_fd file;
  struct stat st;
  const struct colockp_region *region = seat->region;
  if (colockp_fd_open(&file, true, region->directory.fd, region->name, SEAT_FLAGS | O_RDWR, 0) != 0)
    return;
  if (colockp_system.fstat(file.fd, &st) == 0 && st.st_dev == region->device && st.st_ino == region->inode &&
      colockp_range_lock(file.fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_BYTE_SLOT + seat->number, 1) == 0) {
    move_out(seat);
    colockp_range_unlock(file.fd, COLOCKP_BYTE_SLOT + seat->number, 1);
  }
  colockp_fd_close(&file);
}

void colockp_seat_free(struct colock_hold *seat) {
  bool ours = seat->slot && seat->forks == colockp_fork_count();
  bool inherited = seat->file.inherited;
  if (ours && !inherited) {
    move_out(seat);
    colockp_range_unlock(seat->file.fd, COLOCKP_BYTE_SLOT + seat->number,
                         1); /* a copy in a child of a raw clone may live on */
  }
  colockp_fd_close(&seat->file);
  if (ours && inherited)
    tidy_inherited(seat);
  if (seat->slot)
    colockp_system.munmap(seat->slot, COLOCKP_SLOT_SIZE);
  if (seat->region)
    colockp_region_unref(seat->region);
  colockp_system.free(seat);
}

int colockp_seat_look(struct colock_hold *seat) {
  struct stat st;
  if (colockp_system.fstat(seat->file.fd, &st) != 0) {
    seat->broken = true;
    return colockp_region_fail(seat->region, errno, "look at it");
  }
  if (st.st_nlink == 0) {
    seat->lost = true;
    return colockp_fail(COLOCK_ELOST, 0, "%s: the lock file was deleted or replaced", seat->region->escaped);
  }
  if (st.st_ctim.tv_nsec == seat->changed.tv_nsec && st.st_ctim.tv_sec == seat->changed.tv_sec)
    return 0;
  /* A rename changes the ctime, but so do our own stores through the map: only the name tells. */
  int code = colockp_region_named(seat->region);
  if (code == 0)
    seat->changed = st.st_ctim;
  seat->lost = code == COLOCK_ELOST;
  return code;
}

/* planted.h - lock files written by hand through layout.h, with owners that are only descriptors of the test.
 *
 * So what a report says is tested against the bytes, not against the code that writes them. A planted owner lives as
 * long as the descriptor that planted() returns stays open.
 */
#ifndef COLOCK_TEST_PLANTED_H
#define COLOCK_TEST_PLANTED_H

#include "clock.h"
#include "identity.h"
#include "support.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)
#define PLANTED_SLOTS 512u

struct planted {
  uint32_t slot, state, generation;
  int mode;
  int32_t pid, tid, priority;
  uint32_t uid;
  uint64_t rank, hold_id, token;
  int64_t age_ns, quiet_ns, stale_timeout_ns; /* quiet: since the last renew; cached: since it is unused */
  int64_t queued_ns;                          /* since it joined the queue; 0: the entry does not say */
  int64_t inherited_pid;
  const char *program, *label, *host, *purpose, *boot_id; /* boot_id NULL: this boot */
  uint64_t start_ticks; /* 0: this process's, so that any other pid names nobody who lives */
  bool odd;     /* as an owner leaves it that stopped in the middle of writing */
  bool unheard; /* its seat is not marked as taken */
};

static inline void planted_bytes(const char *path, int64_t at, const void *bytes, size_t size) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(pwrite(fd, bytes, size, at), (ssize_t)size);
  close(fd);
}

#define planted_field(path, field, value) \
  do { \
    __typeof__(((struct colockp_header *)0)->field) planted_value = (value); \
    planted_bytes(path, offsetof(struct colockp_header, field), &planted_value, sizeof planted_value); \
  } while (0)

static inline void planted_generation(const char *path, uint32_t generation) {
  planted_field(path, generation, colockp_generation_word(generation));
}

/* A lock file of generation 1 that nobody has ever used. */
static inline const char *planted_file(const char *name) {
  const char *path = test_path(name);
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  struct colockp_header h;
  struct stat st;
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(fstat(fd, &st), 0);
  memset(&h, 0, sizeof h);
  memcpy(h.magic, COLOCKP_MAGIC, COLOCKP_MAGIC_SIZE);
  h.version = COLOCKP_VERSION;
  h.fingerprint = COLOCKP_FINGERPRINT;
  h.carrier = COLOCKP_CARRIER_MAPPED;
  h.created_wall_ns = colockp_wall_ns();
  h.device = (uint64_t)st.st_dev;
  colockp_text_copy(h.boot_id, sizeof h.boot_id, colockp_boot_id());
  h.generation = colockp_generation_word(1);
  h.fence = 1000;
  h.ceiling = 5000;
  h.capacity = PLANTED_SLOTS;
  ck_assert_int_eq(ftruncate(fd, colockp_file_size(PLANTED_SLOTS)), 0);
  ck_assert_int_eq(pwrite(fd, &h, sizeof h, 0), (ssize_t)sizeof h);
  close(fd);
  return path;
}

static inline void planted_slot(const struct planted *p, struct colockp_slot *slot) {
  struct colockp_activity a;
  struct colockp_identity who;
  int64_t now = colockp_now_ns();
  memset(slot, 0, sizeof *slot);
  memset(&a, 0, sizeof a);
  colockp_identity_get(&who);
  a.state = p->state;
  a.mode = (uint32_t)p->mode;
  a.priority = p->priority;
  a.tid = p->tid;
  a.generation = p->generation;
  a.hold_id = p->hold_id;
  a.token = p->token;
  a.since_wall_ns = colockp_wall_ns() - p->age_ns;
  a.since_ns = now - p->age_ns;
  a.renewed_ns = now - p->quiet_ns;
  a.stale_timeout_ns = p->stale_timeout_ns;
  a.purpose_length = p->purpose ? (uint32_t)strlen(p->purpose) : 0;
  who.pid = p->pid;
  who.uid = p->uid;
  if (p->program) colockp_text_copy(who.program, sizeof who.program, p->program);
  if (p->label) colockp_text_copy(who.label, sizeof who.label, p->label);
  if (p->host) colockp_text_copy(who.host, sizeof who.host, p->host);
  if (p->start_ticks) who.start_ticks = p->start_ticks;
  if (p->boot_id) colockp_text_copy(who.boot_id, sizeof who.boot_id, p->boot_id);
  slot->sequence = p->odd ? 7 : 8;
  memcpy((void *)slot->activity, &a, sizeof a);
  if (p->purpose) memcpy((void *)slot->purpose, p->purpose, strlen(p->purpose));
  memcpy((void *)slot->identity, &who, sizeof who);
  slot->inherited_pid = p->inherited_pid;
}

static inline void planted_take(int fd, short type, int64_t byte) {
  struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &range), 0);
}

/* Write the slot and its queue entry, take its SLOT byte, and LANE as well if it holds. The owner is the descriptor. */
static inline int planted(const char *path, const struct planted *p) {
  struct colockp_slot slot;
  struct colockp_queue_entry entry = {.rank = p->rank,
                                      .published = p->unheard ? COLOCKP_SEAT_FREE : COLOCKP_SEAT_TAKEN};
  if (p->queued_ns) entry.published = colockp_wall_ns() - p->queued_ns;
  struct colockp_header header = test_header(path);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  planted_slot(p, &slot);
  planted_bytes(path, colockp_at_slot(p->slot), &slot, sizeof slot);
  planted_bytes(path, COLOCKP_AT_QUEUE + (int64_t)(p->slot * sizeof entry), &entry, sizeof entry);
  if (p->slot >= header.slots_in_use) planted_field(path, slots_in_use, p->slot + 1);
  planted_take(fd, F_WRLCK, COLOCKP_BYTE_SLOT + p->slot);
  if (p->state >= COLOCKP_HELD && p->state <= COLOCKP_UPGRADING) /* these have LANE */
    planted_take(fd, p->mode == COLOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK, colockp_lane(p->generation));
  return fd;
}

static inline uint64_t planted_rank(uint64_t key, int mode) {
  return key << COLOCKP_RANK_KEY_SHIFT | (mode == COLOCK_EXCLUSIVE ? COLOCKP_RANK_EXCLUSIVE : 0);
}

#endif

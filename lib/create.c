/* create.c - laying out. See create.h for the discipline. */
#define _GNU_SOURCE
#include "create.h"
#include "clock.h"
#include "filesystem.h"
#include "identity.h"
#include "range.h"
#include "system.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PLAUSIBLE_TOKEN (UINT64_C(1) << 62) /* tokens begin at CLOCK_REALTIME ns: this is the year 2116 */
#define TOKENS_AHEAD    (UINT64_C(1) << 32)

static ssize_t read_at(int fd, void *buffer, size_t size, off_t at) {
  size_t done = 0;
  while (done < size) {
    ssize_t n = colockp_system.pread(fd, (char *)buffer + done, size - done, at + (off_t)done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -1;
    if (n == 0)
      break;
    done += (size_t)n;
  }
  return (ssize_t)done;
}

static int write_at(int fd, const void *buffer, size_t size, off_t at) {
  size_t done = 0;
  while (done < size) {
    ssize_t n = colockp_system.pwrite(fd, (const char *)buffer + done, size - done, at + (off_t)done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? errno : EIO;
    done += (size_t)n;
  }
  return 0;
}

static bool all_zero(const void *bytes, size_t size) {
  const unsigned char *at = bytes;
  return size == 0 || (at[0] == 0 && memcmp(at, at + 1, size - 1) == 0);
}

static bool known_capacity(uint32_t capacity) {
  return capacity >= COLOCKP_SLOTS_MIN && capacity <= COLOCKP_SLOTS_MAX && (capacity & (capacity - 1)) == 0;
}

static bool whole(const struct colockp_header *h, off_t size) {
  return colockp_generation_valid(h->generation) && known_capacity(h->capacity) && h->slots_in_use <= h->capacity &&
         size >= colockp_file_size(h->capacity) && h->fence < PLAUSIBLE_TOKEN && h->ceiling < PLAUSIBLE_TOKEN &&
         h->ticket < COLOCKP_KEY_BASE && (h->carrier == COLOCKP_CARRIER_MAPPED || h->carrier == COLOCKP_CARRIER_FILE);
}

int colockp_inspect(int fd, off_t size, struct colockp_header *header, enum colockp_condition *condition) {
  memset(header, 0, sizeof *header);
  ssize_t n = read_at(fd, header, sizeof *header, 0);
  if (n < 0)
    return errno;
  bool numbered = header->version == COLOCKP_VERSION && header->fingerprint == COLOCKP_FINGERPRINT;
  if (all_zero(header, sizeof *header))
    *condition = COLOCKP_BLANK;
  else if (memcmp(header->magic, COLOCKP_MAGIC, COLOCKP_MAGIC_SIZE) != 0)
    /* Magic is stored last: numbers without it are a layout that was cut off. */
    *condition = all_zero(header->magic, COLOCKP_MAGIC_SIZE) && numbered ? COLOCKP_DAMAGED : COLOCKP_FOREIGN;
  else if (n < (ssize_t)offsetof(struct colockp_header, carrier))
    *condition = COLOCKP_DAMAGED;
  else if (!numbered)
    *condition = COLOCKP_NEWER;
  else if (!whole(header, size))
    *condition = COLOCKP_DAMAGED;
  else
    *condition = memcmp(header->boot_id, colockp_boot_id(), strlen(colockp_boot_id()) + 1) == 0 ? COLOCKP_SOUND
                                                                                              : COLOCKP_REBOOTED;
  return 0;
}

static int allocate_parts(int fd, uint32_t capacity) {
  int error = colockp_filesystem_allocate(fd, 0, COLOCKP_AT_QUEUE + (int64_t)capacity * 16);
  if (error == 0)
    error = colockp_filesystem_allocate(fd, COLOCKP_AT_BELLS, COLOCKP_AT_BELLS + (int64_t)capacity * 4);
  if (error == 0)
    error = colockp_filesystem_allocate(fd, COLOCKP_AT_SLOTS, colockp_file_size(capacity));
  return error;
}

/* A generation above all that this file has ever seen, as far as it still tells. */
static uint32_t fresh_generation(int fd, const struct colockp_header *old, uint32_t capacity) {
  if (colockp_generation_valid(old->generation))
    return colockp_generation_next((uint32_t)old->generation);
  uint32_t highest = old->forced.generation;
  for (uint32_t slot = 0; slot < capacity; slot++) {
    struct colockp_activity activity;
    off_t at = colockp_at_slot(slot) + (off_t)offsetof(struct colockp_slot, activity);
    if (read_at(fd, &activity, sizeof activity, at) == (ssize_t)sizeof activity && activity.generation > highest)
      highest = activity.generation;
  }
  return colockp_generation_next(highest);
}

static uint64_t highest_token(uint64_t a, uint64_t b) {
  a = a < PLAUSIBLE_TOKEN ? a : 0;
  b = b < PLAUSIBLE_TOKEN ? b : 0;
  return a > b ? a : b;
}

/* The header of a file in which nobody lives; `old` is what stood there, zero for a new one. */
static void new_header(int fd, const struct stat *st, const struct colockp_header *old, uint32_t capacity,
                       struct colockp_header *h) {
  uint64_t now = (uint64_t)colockp_wall_ns();
  memset(h, 0, sizeof *h);
  memcpy(h->magic, COLOCKP_MAGIC, COLOCKP_MAGIC_SIZE);
  h->version = COLOCKP_VERSION;
  h->fingerprint = COLOCKP_FINGERPRINT;
  h->carrier = COLOCKP_CARRIER_MAPPED;
  h->created_wall_ns = old->created_wall_ns ? old->created_wall_ns : (int64_t)now;
  h->device = (uint64_t)st->st_dev;
  colockp_text_copy(h->boot_id, sizeof h->boot_id, colockp_boot_id());
  h->generation = colockp_generation_word(fresh_generation(fd, old, capacity));
  h->fence = highest_token(highest_token(old->fence, old->ceiling), now);
  h->ceiling = h->fence + TOKENS_AHEAD;
  h->ticket = old->ticket < COLOCKP_KEY_BASE ? old->ticket : 0;
  h->flag = (old->flag & ~COLOCKP_FLAG_SET) + 2;
  h->recall = old->recall + COLOCKP_RECALL_STEP;
  h->capacity = capacity;
  /* Nobody lives: whoever was writing died at it. */
  h->abandoned = highest_token(old->abandoned, old->writer);
  h->forced = old->forced;
  h->slots_in_use = old->slots_in_use < capacity ? old->slots_in_use : capacity; /* what they counted stays */
  h->statistics_epoch = old->statistics_epoch;
  h->deaths = old->deaths + (old->writer != 0);
  h->forced_unlocks = old->forced_unlocks;
  h->statistics_since_wall_ns = old->statistics_since_wall_ns;
}

/* Allocation, queue, header, sync, and the magic last of all, so that a layout that is cut off is seen to be. */
static int lay_out(int fd, const struct colockp_header *old) {
  static const char zeros[COLOCKP_PAGE];
  struct stat st;
  if (colockp_system.fstat(fd, &st) != 0)
    return errno;
  uint32_t capacity = COLOCKP_SLOTS_MIN;
  while (capacity < COLOCKP_SLOTS_MAX && st.st_size >= colockp_file_size(capacity * 2))
    capacity *= 2;
  int error = allocate_parts(fd, capacity);
  for (int64_t at = COLOCKP_AT_QUEUE; at < COLOCKP_AT_QUEUE + (int64_t)capacity * 16 && error == 0; at += COLOCKP_PAGE)
    error = write_at(fd, zeros, COLOCKP_PAGE, at);
  if (error)
    return error;
  struct colockp_header header;
  new_header(fd, &st, old, capacity, &header);
  if (memcmp(old->magic, COLOCKP_MAGIC, COLOCKP_MAGIC_SIZE) != 0) {
    error = write_at(fd, (char *)&header + COLOCKP_MAGIC_SIZE, sizeof header - COLOCKP_MAGIC_SIZE, COLOCKP_MAGIC_SIZE);
    if (error == 0 && colockp_system.fsync(fd) != 0)
      error = errno;
    if (error == 0)
      error = write_at(fd, header.magic, COLOCKP_MAGIC_SIZE, 0);
  } else {
    error = write_at(fd, &header, sizeof header, 0);
  }
  if (error == 0 && colockp_system.fsync(fd) != 0)
    error = errno;
  return error;
}

/* So that the name survives a power loss. A directory that we may not read cannot be synced; the name is then as
 * durable as any. */
static int sync_directory(const struct colockp_region *region) {
  struct colockp_fd directory;
  int error = colockp_fd_open(&directory, false, region->directory.fd, ".", O_RDONLY | O_DIRECTORY, 0);
  if (error == EACCES)
    return 0;
  if (error)
    return error;
  if (colockp_system.fsync(directory.fd) != 0 && errno != EINVAL)
    error = errno;
  colockp_fd_close(&directory);
  return error;
}

int colockp_create_whole(struct colockp_region *region, unsigned mode) {
  struct colockp_header nothing;
  struct colockp_fd file;
  char link[64];
  int error = colockp_fd_open(&file, false, region->directory.fd, ".", O_TMPFILE | O_RDWR, mode);
  if (error == EISDIR || error == EINVAL)
    return EOPNOTSUPP;
  if (error)
    return error;
  memset(&nothing, 0, sizeof nothing);
  error = colockp_filesystem_prepare(file.fd);
  if (error == 0)
    error = lay_out(file.fd, &nothing);
  if (error == 0) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", file.fd);
    if (colockp_system.linkat(AT_FDCWD, link, region->directory.fd, region->name, AT_SYMLINK_FOLLOW) != 0)
      error = errno == ENOENT ? EOPNOTSUPP : errno; /* no /proc */
  }
  if (error == 0)
    error = sync_directory(region);
  colockp_fd_close(&file);
  return error;
}

static int lay_out_locked(const struct colockp_region *region, int fd, dev_t device, ino_t inode);

int colockp_create_bare(struct colockp_region *region, unsigned mode) {
  struct colockp_fd file;
  struct stat st;
  int error = colockp_fd_open(&file, true, region->directory.fd, region->name,
                              O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, mode);
  if (error)
    return error;
  error = colockp_system.fstat(file.fd, &st) == 0 ? lay_out_locked(region, file.fd, st.st_dev, st.st_ino) : errno;
  colockp_fd_close(&file);
  return error;
}

static int lay_out_locked(const struct colockp_region *region, int fd, dev_t device, ino_t inode) {
  struct stat st;
  struct colockp_header header;
  enum colockp_condition condition;
  int error = colockp_range_lock(fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_ALL_FROM, COLOCKP_ALL_LENGTH);
  if (error)
    return error;
  /* Somebody may have done the work between our look and the lock. */
  if (colockp_system.fstat(fd, &st) != 0)
    error = errno;
  else if (st.st_dev != device || st.st_ino != inode)
    error = ESTALE;
  else
    error = colockp_inspect(fd, st.st_size, &header, &condition);
  if (error == 0 && st.st_size == 0)
    error = colockp_filesystem_prepare(fd);
  if (error == 0 && (condition == COLOCKP_BLANK || condition == COLOCKP_DAMAGED || condition == COLOCKP_REBOOTED))
    error = lay_out(fd, &header);
  if (error == 0)
    error = sync_directory(region);
  int unlocked = colockp_range_unlock(fd, COLOCKP_ALL_FROM, COLOCKP_ALL_LENGTH);
  return error ? error : unlocked;
}

int colockp_settle(struct colockp_region *region) {
  struct colockp_fd file;
  int error = colockp_fd_open(&file, true, region->directory.fd, region->name,
                              O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0);
  if (error)
    return error == ENOENT || error == ELOOP ? ESTALE : error;
  error = lay_out_locked(region, file.fd, region->device, region->inode);
  colockp_fd_close(&file);
  return error;
}

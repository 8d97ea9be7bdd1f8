/* region.c - what an opened lock file is, from its map to its name. See region.h for the discipline. */
#define _GNU_SOURCE
#include "region.h"
#include "clock.h"
#include "error.h"
#include "filesystem.h"
#include "log.h"
#include "range.h"
#include "system.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int colockp_region_fail(const struct colockp_region *region, int error, const char *what) {
  return colockp_fail(colockp_code_of_errno(error), error, "%s: cannot %s: %s", region->escaped, what, strerror(error));
}

static char *copy_text(const char *text, size_t size) {
  char *copy = colockp_system.malloc(size + 1);
  if (copy) {
    memcpy(copy, text, size);
    copy[size] = 0;
  }
  return copy;
}

/* A relative path stays where it led to when the lock was opened, wherever the process has changed to since. */
static int open_directory(struct colockp_region *region, const struct colockp_region *before) {
  if (before && *region->path != '/') {
    int error = colockp_fd_open(&region->directory, false, before->directory.fd, ".", O_PATH | O_DIRECTORY, 0);
    return error ? colockp_region_fail(region, error, "open its directory") : 0;
  }
  if (*region->name == 0 || strcmp(region->name, ".") == 0 || strcmp(region->name, "..") == 0)
    return *region->path ? colockp_fail(COLOCK_EFOREIGN, 0, "%s: not a lock file but a directory; left untouched",
                                        region->escaped)
                         : colockp_fail(COLOCK_EINVAL, 0, "the path of the lock file is empty");
  size_t size = (size_t)(region->name - region->path);
  char *directory = size ? copy_text(region->path, size) : copy_text(".", 1);
  if (!directory)
    return colockp_fail(COLOCK_ENOMEM, 0, "%s: out of memory", region->escaped);
  int error = colockp_fd_open(&region->directory, false, AT_FDCWD, directory, O_PATH | O_DIRECTORY, 0);
  colockp_system.free(directory);
  if (error == ENOENT)
    return colockp_fail(COLOCK_ENOENT, error, "%s: its directory does not exist; create it first", region->escaped);
  return error ? colockp_region_fail(region, error, "open its directory") : 0;
}

int colockp_region_new(struct colockp_region **out, const char *path, const struct colockp_region *before,
                       int verbosity) {
  char escaped[COLOCKP_ESCAPED_PATH];
  struct colockp_region *region = colockp_system.malloc(sizeof *region);
  if (!region)
    return colockp_fail(COLOCK_ENOMEM, 0, "out of memory");
  memset(region, 0, sizeof *region);
  region->references = 1;
  region->file.fd = region->directory.fd = -1;
  region->verbosity = verbosity;
  colockp_escape(escaped, sizeof escaped, path);
  region->path = copy_text(path, strlen(path));
  region->escaped = copy_text(escaped, strlen(escaped));
  if (!region->path || !region->escaped) {
    colockp_region_unref(region);
    return colockp_fail(COLOCK_ENOMEM, 0, "%s: out of memory", escaped);
  }
  const char *slash = strrchr(region->path, '/');
  region->name = slash ? slash + 1 : region->path;
  int code = open_directory(region, before);
  if (code) {
    colockp_region_unref(region);
    return code;
  }
  *out = region;
  return 0;
}

struct colockp_region *colockp_region_ref(struct colockp_region *region) {
  atomic_fetch_add(&region->references, 1);
  return region;
}

void colockp_region_unref(struct colockp_region *region) {
  if (atomic_fetch_sub(&region->references, 1) != 1)
    return;
  void (*gone)(struct colockp_region *) = atomic_load(&region->gone);
  if (gone)
    gone(region);
  if (region->header)
    colockp_system.munmap(region->header, COLOCKP_MAPPED);
  if (region->file.fd >= 0)
    colockp_fd_close(&region->file);
  if (region->directory.fd >= 0)
    colockp_fd_close(&region->directory);
  colockp_system.free(region->path);
  colockp_system.free(region->escaped);
  colockp_system.free(region);
}

int colockp_region_map(struct colockp_region *region) {
  void *at = colockp_system.mmap(NULL, COLOCKP_MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, region->file.fd, 0);
  if (at == MAP_FAILED)
    return colockp_region_fail(region, errno, "map");
  region->header = at;
  region->queue = (void *)((char *)at + COLOCKP_AT_QUEUE);
  region->bells = (void *)((char *)at + COLOCKP_AT_BELLS);
  /* A load first would cost each page two faults: one to read, one to write. */
  atomic_fetch_or_explicit(&region->header->slots_in_use, 0, memory_order_relaxed);
  atomic_fetch_or_explicit(&region->queue->rank, 0, memory_order_relaxed);
  return 0;
}

static int refuse_device(const struct colockp_region *region) {
  return colockp_fail(COLOCK_ECORRUPT, 0,
                      "%s: in use through another device (an overlay and its upper directory, or a copy made while in "
                      "use): both have lock tables of their own. If nobody uses it there, delete it",
                      region->escaped);
}

static bool any_seat(const struct colockp_region *region, uint32_t slots_in_use) {
  for (uint32_t slot = 0; slot < slots_in_use; slot++)
    if (atomic_load_explicit(&region->queue[slot].published, memory_order_relaxed) != COLOCKP_SEAT_FREE)
      return true;
  return false;
}

int colockp_region_device(const struct colockp_region *region) {
  /* Behind the store that shows our seat; pairs with the one below. */
  atomic_thread_fence(memory_order_seq_cst);
  return atomic_load(&region->header->device) == (uint64_t)region->device ? 0 : refuse_device(region);
}

/* One file through two doors (an overlay and its upper directory) has two lock tables: two writers at once. The device
 * is stored, then the seats are looked at; who takes a seat shows it, then looks at the device: one of two sees the
 * other. */
int colockp_region_claim_device(struct colockp_region *region, unsigned flags, const struct colockp_header *header) {
  uint64_t before = atomic_load(&header->device), ours = (uint64_t)region->device;
  if (before == ours)
    return 0;
  if (region->read_only || !(flags & COLOCKP_CREATE) || any_seat(region, header->slots_in_use))
    return refuse_device(region);
  atomic_store(&region->header->device, ours);
  atomic_thread_fence(memory_order_seq_cst);
  if (!any_seat(region, atomic_load(&region->header->slots_in_use)))
    return 0;
  atomic_compare_exchange_strong(&region->header->device, &ours, before);
  return refuse_device(region);
}

int colockp_region_named(const struct colockp_region *region) {
  struct stat st;
  if (colockp_system.fstatat(region->directory.fd, region->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == EACCES) /* privileges were dropped since: we cannot tell; a deleted file still shows by its links */
      return 0;
    return errno == ENOENT ? colockp_fail(COLOCK_ELOST, 0, "%s: the lock file was deleted or renamed", region->escaped)
                           : colockp_region_fail(region, errno, "look for it");
  }
  if (st.st_dev != region->device || st.st_ino != region->inode)
    return colockp_fail(COLOCK_ELOST, 0, "%s: the lock file was replaced by another", region->escaped);
  return 0;
}

uint32_t colockp_region_generation_read(const struct colockp_region *region) {
  uint64_t word = 0;
  if (colockp_system.pread(region->file.fd, &word, sizeof word, offsetof(struct colockp_header, generation)) !=
      sizeof word)
    return 0;
  return colockp_generation_valid(word) ? (uint32_t)word : 0;
}

static int allocate_more(struct colockp_region *region, uint32_t from) {
  uint32_t to = from * 2;
  int fd = region->file.fd;
  int error = colockp_filesystem_allocate(fd, COLOCKP_AT_QUEUE + (off_t)from * 16, COLOCKP_AT_QUEUE + (off_t)to * 16);
  if (error == 0)
    error = colockp_filesystem_allocate(fd, COLOCKP_AT_BELLS + (off_t)from * 4, COLOCKP_AT_BELLS + (off_t)to * 4);
  if (error == 0)
    error = colockp_filesystem_allocate(fd, colockp_file_size(from), colockp_file_size(to));
  if (error)
    return colockp_region_fail(region, error, "allocate room for more seats");
  atomic_store_explicit(&region->header->capacity, to, memory_order_release);
  return 0;
}

bool colockp_region_pause(int64_t *delay_ns, int64_t deadline_ns) {
  int64_t now = colockp_now_ns(), left = deadline_ns - now;
  if (left <= 0)
    return false;
  int64_t ns = *delay_ns < left ? *delay_ns : left;
  struct timespec relative = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
  uint32_t nobody = 0;
  colockp_system.futex_wait(&nobody, 0, &relative);
  *delay_ns = *delay_ns * 2 < INT64_C(50000000) ? *delay_ns * 2 : INT64_C(50000000);
  return true;
}

int colockp_region_guard(struct colockp_region *region, int fd, uint32_t capacity, int64_t deadline_ns) {
  struct colockp_header *header = region->header;
  int64_t delay_ns = 1000000;
  int error;
  while ((error = colockp_range_lock(fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_BYTE_GUARD, 1)) == EAGAIN) {
    if (atomic_load_explicit(&header->capacity, memory_order_acquire) > capacity)
      return COLOCKP_GROWN;
    if (!colockp_region_pause(&delay_ns, deadline_ns))
      return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: process %lld keeps its guard (is it stopped?)", region->escaped,
                          (long long)header->guard_pid);
  }
  if (error)
    return colockp_region_fail(region, error, "lock its guard");
  header->guard_slot = COLOCKP_GUARD_NO_SLOT;
  header->guard_pid = getpid();
  return 0;
}

void colockp_region_unguard(struct colockp_region *region, int fd) {
  region->header->guard_slot = 0;
  region->header->guard_pid = 0;
  colockp_range_unlock(fd, COLOCKP_BYTE_GUARD, 1);
}

int colockp_region_grow(struct colockp_region *region, int fd, uint32_t capacity, int64_t deadline_ns) {
  if (capacity >= COLOCKP_SLOTS_MAX)
    return colockp_fail(COLOCK_EMFILE, 0, "%s: all %u seats are taken", region->escaped, COLOCKP_SLOTS_MAX);
  int code = colockp_region_guard(region, fd, capacity, deadline_ns);
  if (code)
    return code == COLOCKP_GROWN ? 0 : code;
  bool grows = atomic_load_explicit(&region->header->capacity, memory_order_acquire) <= capacity;
  if (grows)
    code = allocate_more(region, capacity);
  colockp_region_unguard(region, fd);
  if (grows && code == 0)
    colockp_log(region->verbosity, COLOCKP_INFO, region->path, "grown", "slots=%u", (unsigned)capacity * 2);
  return code;
}

/* region.c - opening a lock file. See region.h for the discipline, create.h for what is written.
 *
 * Opening is a loop: look, act on what is there, look again. Every act is safe to race with another opener, and a name
 * that was deleted or replaced in between only costs another turn. */
#define _GNU_SOURCE
#include "region.h"
#include "clock.h"
#include "create.h"
#include "error.h"
#include "identity.h"
#include "log.h"
#include "range.h"
#include "system.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define PLAIN (O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)
enum { AGAIN = -1 }; /* look again at once; never leaves this file */

struct opening {
  struct colockp_region *region;
  const struct colockp_settings *settings;
  int64_t deadline_ns, delay_ns;
  unsigned flags;
};

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

static int fail_errno(const struct colockp_region *region, int error, const char *what) {
  return colockp_fail(colockp_code_of_errno(error), error, "%s: cannot %s: %s", region->escaped, what, strerror(error));
}

static const char *kind_of(mode_t mode) {
  return S_ISDIR(mode) ? "a directory" : S_ISLNK(mode) ? "a symbolic link: name its target instead"
       : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static int refuse_kind(const struct colockp_region *region, mode_t mode) {
  return colockp_fail(COLOCK_EFOREIGN, 0, "%s: not a lock file but %s; left untouched", region->escaped, kind_of(mode));
}

static char *copy_text(const char *text, size_t size) {
  char *copy = colockp_system.malloc(size + 1);
  if (copy) {
    memcpy(copy, text, size);
    copy[size] = 0;
  }
  return copy;
}

static int new_region(struct colockp_region **out, const char *path, const struct colockp_settings *settings) {
  char escaped[COLOCKP_ESCAPED_PATH];
  struct colockp_region *region = colockp_system.malloc(sizeof *region);
  if (!region)
    return colockp_fail(COLOCK_ENOMEM, 0, "out of memory");
  memset(region, 0, sizeof *region);
  region->references = 1;
  region->file.fd = region->directory.fd = -1;
  region->verbosity = settings->verbosity;
  colockp_escape(escaped, sizeof escaped, path);
  region->path = copy_text(path, strlen(path));
  region->escaped = copy_text(escaped, strlen(escaped));
  if (!region->path || !region->escaped) {
    colockp_region_unref(region);
    return colockp_fail(COLOCK_ENOMEM, 0, "%s: out of memory", escaped);
  }
  const char *slash = strrchr(region->path, '/');
  region->name = slash ? slash + 1 : region->path;
  *out = region;
  return 0;
}

/* A relative path stays where it led to when the lock was opened, wherever the process has changed to since. */
static int open_directory(struct colockp_region *region, const struct colockp_region *before) {
  if (before && *region->path != '/') {
    int error = colockp_fd_open(&region->directory, false, before->directory.fd, ".", O_PATH | O_DIRECTORY, 0);
    return error ? fail_errno(region, error, "open its directory") : 0;
  }
  if (*region->name == 0 || strcmp(region->name, ".") == 0 || strcmp(region->name, "..") == 0)
    return *region->path ? colockp_fail(COLOCK_EFOREIGN, 0, "%s: not a lock file but a directory; left untouched", region->escaped)
                         : colockp_fail(COLOCK_EINVAL, 0, "the path of the lock file is empty");
  size_t size = (size_t)(region->name - region->path);
  char *directory = size ? copy_text(region->path, size) : copy_text(".", 1);
  if (!directory)
    return colockp_fail(COLOCK_ENOMEM, 0, "%s: out of memory", region->escaped);
  int error = colockp_fd_open(&region->directory, false, AT_FDCWD, directory, O_PATH | O_DIRECTORY, 0);
  colockp_system.free(directory);
  return error ? fail_errno(region, error, "open its directory") : 0;
}

/* Only what is known to keep a shared mapping coherent and a full disk away from stores. `carrier: mapped` vouches for others. */
static int check_file_system(const struct colockp_region *region, int carrier) {
  struct statfs fs;
  if (colockp_system.fstatfs(region->file.fd, &fs) != 0)
    return fail_errno(region, errno, "ask for its file system");
  switch ((unsigned long)fs.f_type) {
  case EXT4_SUPER_MAGIC: case XFS_SUPER_MAGIC: case BTRFS_SUPER_MAGIC: case TMPFS_MAGIC: case F2FS_SUPER_MAGIC:
  case OVERLAYFS_SUPER_MAGIC:
    return 0;
  case NFS_SUPER_MAGIC: case SMB_SUPER_MAGIC: case 0xff534d42 /* cifs */: case 0xfe534d42 /* smb2 */: case 0x00c36400 /* ceph */:
  case 0x65735546 /* fuse */: case V9FS_MAGIC: case AFS_SUPER_MAGIC: case 0x0bd00bd0 /* lustre */: case 0x01161970 /* gfs2 */:
  case OCFS2_SUPER_MAGIC:
    return colockp_fail(COLOCK_ENOLOCKS, 0, "%s: is on a network or user-space file system (type 0x%lx), which cannot carry a "
                        "mapped lock file; keep the lock file on a local one", region->escaped, (unsigned long)fs.f_type);
  default:
    if (carrier == COLOCKP_CHOOSE_MAPPED)
      return 0;
    return colockp_fail(COLOCK_ENOLOCKS, 0, "%s: its file system (type 0x%lx) is not known to carry a mapped lock file; keep it "
                        "elsewhere, or set carrier: mapped if the file system is local", region->escaped, (unsigned long)fs.f_type);
  }
}

static bool lockish(const char *name) {
  size_t size = strlen(name);
  return (size >= 4 && strcmp(name + size - 4, "lock") == 0) || (size >= 4 && strcmp(name + size - 4, ".lck") == 0);
}

static int create(const struct opening *o) {
  struct colockp_region *region = o->region;
  int error = colockp_create_whole(region, o->settings->file_mode);
  if (error == EOPNOTSUPP)
    error = colockp_create_bare(region, o->settings->file_mode);
  if (error == 0)
    colockp_log(region->verbosity, COLOCKP_INFO, "%s: created", region->escaped);
  if (error == 0 || error == EEXIST || error == EAGAIN || error == ESTALE)
    return AGAIN;
  return fail_errno(region, error, "create");
}

/* Blank, damaged or rebooted: bring it in order, wait for whoever is at it, or say why not. */
static int settle(struct opening *o, enum colockp_condition condition) {
  struct colockp_region *region = o->region;
  int error = colockp_settle(region);
  if (error == 0) {
    if (condition == COLOCKP_DAMAGED)
      colockp_log(region->verbosity, COLOCKP_WARNING, "%s: was damaged; nobody lived in it; rebuilt", region->escaped);
    return AGAIN;
  }
  if (error == ESTALE)
    return AGAIN;
  if (error != EAGAIN)
    return fail_errno(region, error, condition == COLOCKP_BLANK ? "lay out" : "rebuild");
  if (condition == COLOCKP_REBOOTED)
    return 0; /* a boot id is a hint; somebody lives here, so the words are good */
  if (colockp_region_pause(&o->delay_ns, o->deadline_ns))
    return AGAIN;
  return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged, and a process that has it open still holds locks in it; end that "
                      "process, then open it again (see fuser %s)", region->escaped, region->escaped);
}

static int blank(struct opening *o) {
  struct colockp_region *region = o->region;
  if (!(o->flags & COLOCKP_CREATE))
    return colockp_fail(COLOCK_EFOREIGN, 0, "%s: empty, not a lock file yet; left untouched", region->escaped);
  if (region->read_only)
    return colockp_fail(COLOCK_EACCES, 0, "%s: empty, and not ours to write", region->escaped);
  if (lockish(region->name))
    return settle(o, COLOCKP_BLANK);
  /* Perhaps another process is creating it in the open (no O_TMPFILE here): its range lock shows, or its file is very young. */
  struct stat st;
  if (colockp_system.fstat(region->file.fd, &st) != 0)
    return fail_errno(region, errno, "look at it");
  int64_t age_ns = colockp_wall_ns() - ((int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec);
  if ((age_ns < 200000000 || colockp_range_taken(region->file.fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_ALL_FROM, COLOCKP_ALL_LENGTH) == 1) &&
      colockp_region_pause(&o->delay_ns, o->deadline_ns))
    return AGAIN;
  return colockp_fail(COLOCK_EFOREIGN, 0, "%s: an empty file, perhaps somebody's data, so left untouched; a lock file's name ends in "
                      "lock or .lck. Delete it, or choose another name", region->escaped);
}

static int refuse_device(const struct colockp_region *region) {
  return colockp_fail(COLOCK_ECORRUPT, 0, "%s: in use through another device (an overlay and its upper directory, or a copy made while in "
                      "use): both have lock tables of their own. If nobody uses it there, delete it", region->escaped);
}

static bool any_seat(const struct colockp_region *region, uint32_t slots_in_use) {
  for (uint32_t slot = 0; slot < slots_in_use; slot++)
    if (atomic_load_explicit(&region->queue[slot].published, memory_order_relaxed) != COLOCKP_SEAT_FREE)
      return true;
  return false;
}

int colockp_region_device(const struct colockp_region *region) {
  atomic_thread_fence(memory_order_seq_cst); /* behind the store that shows our seat; pairs with check_device */
  return atomic_load(&region->header->device) == (uint64_t)region->device ? 0 : refuse_device(region);
}

/* One file through two doors (an overlay and its upper directory) has two lock tables: two writers at once. The device is
 * stored, then the seats are looked at; who takes a seat shows it, then looks at the device: one of two sees the other. */
static int check_device(const struct opening *o, const struct colockp_header *header) {
  struct colockp_region *region = o->region;
  uint64_t before = atomic_load(&header->device), ours = (uint64_t)region->device;
  if (before == ours)
    return 0;
  if (region->read_only || !(o->flags & COLOCKP_CREATE) || any_seat(region, header->slots_in_use))
    return refuse_device(region);
  atomic_store(&region->header->device, ours);
  atomic_thread_fence(memory_order_seq_cst);
  if (!any_seat(region, atomic_load(&region->header->slots_in_use)))
    return 0;
  atomic_compare_exchange_strong(&region->header->device, &ours, before);
  return refuse_device(region);
}

static int map(struct colockp_region *region) {
  void *at = colockp_system.mmap(NULL, COLOCKP_MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, region->file.fd, 0);
  if (at == MAP_FAILED)
    return fail_errno(region, errno, "map");
  region->header = at;
  region->queue = (void *)((char *)at + COLOCKP_AT_QUEUE);
  region->bells = (void *)((char *)at + COLOCKP_AT_BELLS);
  /* A load first would cost each page two faults: one to read, one to write. */
  atomic_fetch_or_explicit(&region->header->slots_in_use, 0, memory_order_relaxed);
  atomic_fetch_or_explicit(&region->queue->rank, 0, memory_order_relaxed);
  return 0;
}

static int accept(struct opening *o) {
  struct colockp_region *region = o->region;
  struct colockp_header header;
  enum colockp_condition condition;
  struct stat st;
  if (colockp_system.fstat(region->file.fd, &st) != 0)
    return fail_errno(region, errno, "look at it");
  if (!S_ISREG(st.st_mode))
    return refuse_kind(region, st.st_mode);
  if (st.st_nlink == 0)
    return AGAIN;
  region->device = st.st_dev;
  region->inode = st.st_ino;
  int error = colockp_inspect(region->file.fd, st.st_size, &header, &condition);
  if (error)
    return fail_errno(region, error, "read");
  if (condition == COLOCKP_FOREIGN)
    return colockp_fail(COLOCK_EFOREIGN, 0, "%s: has somebody else's content, so left untouched; choose another name", region->escaped);
  if (condition == COLOCKP_NEWER)
    return colockp_fail(COLOCK_EVERSION, 0, "%s: format %u, layout %08x; this colock knows format %u, layout %08x. Use the newer colock, "
                        "or delete the file when nobody has it open", region->escaped, (unsigned)header.version,
                        (unsigned)header.fingerprint, COLOCKP_VERSION, COLOCKP_FINGERPRINT);
  int code = check_file_system(region, o->settings->carrier);
  if (code)
    return code;
  if (condition == COLOCKP_BLANK)
    return blank(o);
  if (condition == COLOCKP_DAMAGED && (region->read_only || !(o->flags & COLOCKP_CREATE)))
    return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged; the next process that opens it for writing rebuilds it when nobody lives in it",
                        region->escaped);
  if (condition == COLOCKP_DAMAGED || (condition == COLOCKP_REBOOTED && !region->read_only && (o->flags & COLOCKP_CREATE))) {
    code = settle(o, condition);
    if (code)
      return code;
  }
  if (header.carrier != COLOCKP_CARRIER_MAPPED)
    return colockp_fail(COLOCK_EVERSION, 0, "%s: made for the file carrier, which this colock does not have", region->escaped);
  if (!region->read_only && (code = map(region)) != 0)
    return code;
  return condition == COLOCKP_REBOOTED ? 0 : check_device(o, &header); /* device numbers change over a reboot */
}

static int turn(struct opening *o) {
  struct colockp_region *region = o->region;
  struct stat st;
  /* Looked at before it is opened: opening a FIFO or a device would already do something to it. */
  if (colockp_system.fstatat(region->directory.fd, region->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT && (o->flags & COLOCKP_CREATE))
      return create(o);
    return errno == ENOENT ? colockp_fail(COLOCK_ENOENT, errno, "%s: no such file", region->escaped) : fail_errno(region, errno, "find");
  }
  if (!S_ISREG(st.st_mode))
    return refuse_kind(region, st.st_mode);
  region->read_only = false;
  int error = colockp_fd_open(&region->file, false, region->directory.fd, region->name, O_RDWR | PLAIN, 0);
  if (error == EACCES || error == EROFS || error == EPERM) {
    region->read_only = true;
    error = colockp_fd_open(&region->file, false, region->directory.fd, region->name, O_RDONLY | PLAIN, 0);
  }
  if (error == ENOENT || error == ELOOP || error == ENXIO)
    return AGAIN;
  if (error)
    return fail_errno(region, error, "open");
  int code = accept(o);
  if (code == AGAIN)
    colockp_fd_close(&region->file);
  return code;
}

int colockp_region_open(struct colockp_region **out, const char *path, const struct colockp_region *before,
                        const struct colockp_settings *settings, int64_t deadline_ns, unsigned flags) {
  struct opening o = { .settings = settings, .deadline_ns = deadline_ns, .delay_ns = 1000000, .flags = flags };
  int code = new_region(&o.region, path, settings);
  if (code)
    return code;
  code = open_directory(o.region, before);
  for (int turns = 0; code == 0; turns++) {
    code = turn(&o);
    if (code != AGAIN)
      break;
    code = 0;
    /* A name that changes at every look would keep us here for ever. */
    if (turns > 100 && !colockp_region_pause(&o.delay_ns, deadline_ns))
      code = colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: is being deleted or replaced again and again", o.region->escaped);
  }
  if (code) {
    colockp_region_unref(o.region);
    return code;
  }
  *out = o.region;
  return 0;
}

struct colockp_region *colockp_region_ref(struct colockp_region *region) {
  atomic_fetch_add(&region->references, 1);
  return region;
}

void colockp_region_unref(struct colockp_region *region) {
  if (atomic_fetch_sub(&region->references, 1) != 1)
    return;
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

int colockp_region_named(const struct colockp_region *region) {
  struct stat st;
  if (colockp_system.fstatat(region->directory.fd, region->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == EACCES) /* privileges were dropped since: we cannot tell, but a deleted file still shows by its links */
      return 0;
    return errno == ENOENT ? colockp_fail(COLOCK_ELOST, 0, "%s: the lock file was deleted or renamed", region->escaped)
                           : fail_errno(region, errno, "find");
  }
  if (st.st_dev != region->device || st.st_ino != region->inode)
    return colockp_fail(COLOCK_ELOST, 0, "%s: the lock file was replaced by another", region->escaped);
  return 0;
}

uint32_t colockp_region_generation(const struct colockp_region *region) {
  uint64_t word = 0;
  if (region->header)
    word = atomic_load_explicit(&region->header->generation, memory_order_acquire);
  else if (colockp_system.pread(region->file.fd, &word, sizeof word, offsetof(struct colockp_header, generation)) != sizeof word)
    return 0;
  return colockp_generation_valid(word) ? (uint32_t)word : 0;
}

static int allocate_more(struct colockp_region *region, uint32_t from) {
  uint32_t to = from * 2;
  int fd = region->file.fd;
  int error = colockp_allocate(fd, COLOCKP_AT_QUEUE + (int64_t)from * 16, COLOCKP_AT_QUEUE + (int64_t)to * 16);
  if (error == 0)
    error = colockp_allocate(fd, COLOCKP_AT_BELLS + (int64_t)from * 4, COLOCKP_AT_BELLS + (int64_t)to * 4);
  if (error == 0)
    error = colockp_allocate(fd, colockp_file_size(from), colockp_file_size(to));
  if (error)
    return fail_errno(region, error, "allocate room for more seats");
  atomic_store_explicit(&region->header->capacity, to, memory_order_release);
  colockp_log(region->verbosity, COLOCKP_INFO, "%s: grown to %u slots", region->escaped, (unsigned)to);
  return 0;
}

int colockp_region_grow(struct colockp_region *region, int fd, uint32_t capacity, int64_t deadline_ns) {
  struct colockp_header *header = region->header;
  int64_t delay_ns = 1000000;
  if (capacity >= COLOCKP_SLOTS_MAX)
    return colockp_fail(COLOCK_EMFILE, 0, "%s: all %u seats are taken", region->escaped, COLOCKP_SLOTS_MAX);
  int error;
  while ((error = colockp_range_lock(fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_BYTE_GUARD, 1)) == EAGAIN) {
    if (atomic_load_explicit(&header->capacity, memory_order_acquire) > capacity)
      return 0;
    if (!colockp_region_pause(&delay_ns, deadline_ns))
      return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: process %lld keeps its guard (is it stopped?)", region->escaped,
                          (long long)header->guard_pid);
  }
  if (error)
    return fail_errno(region, error, "lock its guard");
  header->guard_slot = COLOCKP_GUARD_NO_SLOT;
  header->guard_pid = getpid();
  int code = 0;
  uint32_t present = atomic_load_explicit(&header->capacity, memory_order_acquire);
  if (present <= capacity)
    code = allocate_more(region, capacity);
  header->guard_slot = 0;
  header->guard_pid = 0;
  colockp_range_unlock(fd, COLOCKP_BYTE_GUARD, 1);
  return code;
}

/* open.c - from a path to a region. See region.h for what a region is, create.h for what is written.
 *
 * Opening is a loop: look, act on what is there, look again. Every act is safe to race with another opener, and a name
 * that was deleted or replaced in between only costs another turn. */
#define _GNU_SOURCE
#include "clock.h"
#include "create.h"
#include "error.h"
#include "filesystem.h"
#include "log.h"
#include "range.h"
#include "region.h"
#include "system.h"

#include <errno.h>
#include <string.h>

#define PLAIN (O_NOFOLLOW | O_NOCTTY | O_NONBLOCK)
#define YOUNG_NS INT64_C(200000000) /* an empty file this young may be somebody's who is about to lay it out */
enum { AGAIN = -1 }; /* look again at once; never leaves this file */

struct opening {
  struct colockp_region *region;
  const struct colockp_settings *settings;
  int64_t deadline_ns, delay_ns;
  unsigned flags;
};

static const char *kind_of(mode_t mode) {
  return S_ISDIR(mode) ? "a directory" : S_ISLNK(mode) ? "a symbolic link: name its target instead"
       : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static int refuse_kind(const struct colockp_region *region, mode_t mode) {
  return colockp_fail(COLOCK_EFOREIGN, 0, "%s: not a lock file but %s; left untouched", region->escaped, kind_of(mode));
}

static bool lockish(const char *name) {
  size_t size = strlen(name);
  return (size >= 4 && strcmp(name + size - 4, "lock") == 0) || (size >= 4 && strcmp(name + size - 4, ".lck") == 0);
}

static int create(const struct opening *o) {
  struct colockp_region *region = o->region;
  int code = colockp_filesystem_check(region->escaped, region->directory.fd, o->settings->carrier, 0);
  if (code)
    return code;
  int error = colockp_create_whole(region, o->settings->file_mode);
  if (error == EOPNOTSUPP)
    error = colockp_create_bare(region, o->settings->file_mode);
  if (error == 0)
    colockp_log(region->verbosity, COLOCKP_INFO, region->path, "created", "slots=%u", COLOCKP_SLOTS_MIN);
  if (error == 0 || error == EEXIST || error == EAGAIN || error == ESTALE)
    return AGAIN;
  return colockp_region_fail(region, error, "create it");
}

/* Blank, damaged or rebooted: bring it in order, wait for whoever is at it, or say why not. */
static int settle(struct opening *o, enum colockp_condition condition) {
  struct colockp_region *region = o->region;
  int error = colockp_settle(region);
  if (error == 0) {
    if (condition == COLOCKP_DAMAGED)
      colockp_log(region->verbosity, COLOCKP_WARNING, region->path, "rebuilt",
                  "message=\"it was damaged, and nobody lived in it\"");
    return AGAIN;
  }
  if (error == ESTALE)
    return AGAIN;
  if (error != EAGAIN)
    return colockp_region_fail(region, error, condition == COLOCKP_BLANK ? "lay out" : "rebuild");
  if (condition == COLOCKP_REBOOTED)
    return 0; /* a boot id is a hint; somebody lives here, so the words are good */
  if (colockp_region_pause(&o->delay_ns, o->deadline_ns))
    return AGAIN;
  return colockp_fail(COLOCK_ECORRUPT, 0,
                      "%s: damaged, and a process that has it open still holds locks in it; end that "
                      "process, then open it again (see fuser %s)",
                      region->escaped, region->escaped);
}

static int blank(struct opening *o) {
  struct colockp_region *region = o->region;
  if (!(o->flags & COLOCKP_CREATE))
    return colockp_fail(COLOCK_EFOREIGN, 0, "%s: empty, not a lock file yet; left untouched", region->escaped);
  if (region->read_only)
    return colockp_fail(COLOCK_EACCES, 0, "%s: empty, and not ours to write", region->escaped);
  if (lockish(region->name))
    return settle(o, COLOCKP_BLANK);
  /* Perhaps another process is creating it in the open (no O_TMPFILE here): its range lock shows, or its file is very
   * young. */
  struct stat st;
  if (colockp_system.fstat(region->file.fd, &st) != 0)
    return colockp_region_fail(region, errno, "look at it");
  int64_t age_ns = colockp_wall_ns() - ((int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec);
  if ((age_ns < YOUNG_NS ||
       colockp_range_taken(region->file.fd, COLOCKP_RANGE_EXCLUSIVE, COLOCKP_ALL_FROM, COLOCKP_ALL_LENGTH) == 1) &&
      colockp_region_pause(&o->delay_ns, o->deadline_ns))
    return AGAIN;
  return colockp_fail(COLOCK_EFOREIGN, 0,
                      "%s: an empty file, perhaps somebody's data, so left untouched; a lock file's name ends in "
                      "lock or .lck. Delete it, or choose another name",
                      region->escaped);
}

static int accept(struct opening *o) {
  struct colockp_region *region = o->region;
  struct colockp_header header;
  enum colockp_condition condition;
  struct stat st;
  if (colockp_system.fstat(region->file.fd, &st) != 0)
    return colockp_region_fail(region, errno, "look at it");
  if (!S_ISREG(st.st_mode))
    return refuse_kind(region, st.st_mode);
  if (st.st_nlink == 0)
    return AGAIN;
  region->device = st.st_dev;
  region->inode = st.st_ino;
  int error = colockp_inspect(region->file.fd, st.st_size, &header, &condition);
  if (error)
    return colockp_region_fail(region, error, "read");
  if (condition == COLOCKP_FOREIGN)
    return colockp_fail(COLOCK_EFOREIGN, 0,
                        "%s: not a lock file: it has somebody else's content, so it is left untouched; choose another "
                        "name", region->escaped);
  if (condition == COLOCKP_NEWER)
    return colockp_fail(COLOCK_EVERSION, 0,
                        "%s: format %u, layout %08x; this colock knows format %u, layout %08x. Use the newer colock, "
                        "or delete the file when nobody has it open",
                        region->escaped, (unsigned)header.version, (unsigned)header.fingerprint, COLOCKP_VERSION,
                        COLOCKP_FINGERPRINT);
  int code = colockp_filesystem_check(region->escaped, region->file.fd, o->settings->carrier, st.st_size);
  if (code)
    return code;
  if (condition == COLOCKP_BLANK)
    return blank(o);
  /* Before it could be laid out as mapped. */
  if (condition != COLOCKP_DAMAGED && header.carrier != COLOCKP_CARRIER_MAPPED)
    return colockp_fail(COLOCK_EVERSION, 0, "%s: made for the file carrier, which this colock does not have",
                        region->escaped);
  if (condition == COLOCKP_DAMAGED && (region->read_only || !(o->flags & COLOCKP_CREATE)))
    return colockp_fail(COLOCK_ECORRUPT, 0,
                        "%s: damaged; the next process that opens it for writing rebuilds it when nobody lives in it",
                        region->escaped);
  if (condition == COLOCKP_DAMAGED ||
      (condition == COLOCKP_REBOOTED && !region->read_only && (o->flags & COLOCKP_CREATE))) {
    code = settle(o, condition);
    if (code)
      return code;
  }
  if (!region->read_only && (code = colockp_region_map(region)) != 0)
    return code;
  if (condition == COLOCKP_REBOOTED) /* device numbers change over a reboot */
    return 0;
  return colockp_region_claim_device(region, o->flags, &header);
}

static int turn(struct opening *o) {
  struct colockp_region *region = o->region;
  struct stat st;
  /* Looked at before it is opened: opening a FIFO or a device would already do something to it. */
  if (colockp_system.fstatat(region->directory.fd, region->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT && (o->flags & COLOCKP_CREATE))
      return create(o);
    return errno == ENOENT ? colockp_fail(COLOCK_ENOENT, errno, "%s: no such file", region->escaped)
                           : colockp_region_fail(region, errno, "look for it");
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
    return colockp_region_fail(region, error, "open it");
  int code = accept(o);
  if (code == AGAIN)
    colockp_fd_close(&region->file);
  return code;
}

int colockp_region_open(struct colockp_region **out, const char *path, const struct colockp_region *before,
                        const struct colockp_settings *settings, int64_t deadline_ns, unsigned flags) {
  struct opening o = { .settings = settings, .deadline_ns = deadline_ns, .delay_ns = 1000000, .flags = flags };
  int code = colockp_region_new(&o.region, path, before, settings->verbosity);
  if (code)
    return code;
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

/* filesystem.c - a table of file systems.
 *
 * Local ones keep a shared mapping coherent and honour record locks. A store into an allocated page must not meet a
 * full disk, which would be a SIGBUS: where stores copy their page (btrfs), the file is made without copy on write. */
#define _GNU_SOURCE
#include "filesystem.h"
#include "config.h"
#include "error.h"
#include "system.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

enum kind { LOCAL, COPYING, REMOTE };
#define BTRFS 0x9123683eul

static const struct {
  unsigned long type; /* statfs: f_type */
  enum kind kind;
  const char *name;
} known[] = {
  { 0xef53, LOCAL, "ext2, ext3 or ext4" }, { 0x58465342, LOCAL, "xfs" }, { 0x01021994, LOCAL, "tmpfs" },
  { 0xf2f52010, LOCAL, "f2fs" }, { 0x794c7630, LOCAL, "overlay" }, { BTRFS, COPYING, "btrfs" },
  { 0x6969, REMOTE, "nfs" }, { 0xff534d42, REMOTE, "cifs" }, { 0xfe534d42, REMOTE, "smb2" }, { 0x517b, REMOTE, "smb" },
  { 0x00c36400, REMOTE, "ceph" }, { 0x65735546, REMOTE, "fuse" }, { 0x01021997, REMOTE, "9p" },
  { 0x5346414f, REMOTE, "afs" }, { 0x0bd00bd0, REMOTE, "lustre" }, { 0x01161970, REMOTE, "gfs2" },
  { 0x7461636f, REMOTE, "ocfs2" }
};

static int check_no_copying(const char *path, int fd) {
  long flags = 0;
  if (colockp_system.ioctl_long(fd, FS_IOC_GETFLAGS, &flags) != 0)
    return colockp_fail(COLOCK_ESYSTEM, errno, "%s: cannot ask for its flags: %m", path);
  if (flags & FS_NOCOW_FL)
    return 0;
  return colockp_fail(COLOCK_ENOLOCKS, 0,
                      "%s: a btrfs file with copy on write (a copy of a lock file?), where a full disk would kill its "
                      "users; delete it when nobody has it open", path);
}

int colockp_filesystem_check(const char *path, int fd, int carrier, off_t size) {
  struct statfs fs;
  if (colockp_system.fstatfs(fd, &fs) != 0)
    return colockp_fail(COLOCK_ESYSTEM, errno, "%s: cannot ask for its file system: %m", path);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (known[i].type != (unsigned long)fs.f_type)
      continue;
    if (known[i].kind == COPYING && size > 0)
      return check_no_copying(path, fd);
    if (known[i].kind != REMOTE)
      return 0;
    return colockp_fail(COLOCK_ENOLOCKS, 0,
                        "%s: on a network or user-space file system (%s), which cannot carry a mapped lock file; keep "
                        "it on a local one", path, known[i].name);
  }
  if (carrier == COLOCKP_CHOOSE_MAPPED)
    return 0;
  return colockp_fail(COLOCK_ENOLOCKS, 0,
                      "%s: on a file system (type 0x%lx) that is not known to carry a mapped lock file; keep it "
                      "elsewhere, or set carrier: mapped if that file system is local", path,
                      (unsigned long)fs.f_type);
}

int colockp_filesystem_prepare(int fd) {
  struct statfs fs;
  long flags = 0;
  if (colockp_system.fstatfs(fd, &fs) != 0)
    return errno;
  if ((unsigned long)fs.f_type != BTRFS)
    return 0;
  if (colockp_system.ioctl_long(fd, FS_IOC_GETFLAGS, &flags) != 0)
    return errno;
  flags |= FS_NOCOW_FL;
  return colockp_system.ioctl_long(fd, FS_IOC_SETFLAGS, &flags) == 0 ? 0 : errno;
}

/* Zeros are written only at the end of the file, behind all that anybody uses: an emulation that rewrites bytes would
 * undo others' stores. They leave no hole, so that all below the end is allocated. */
static int write_zeros(int fd, off_t to) {
  static const char zeros[65536];
  struct stat st;
  if (colockp_system.fstat(fd, &st) != 0)
    return errno;
  for (off_t at = st.st_size; at < to;) {
    size_t size = to - at < (off_t)sizeof zeros ? (size_t)(to - at) : sizeof zeros;
    ssize_t n = colockp_system.pwrite(fd, zeros, size, at);
    if (n > 0)
      at += n;
    else if (n == 0 || errno != EINTR)
      return n < 0 ? errno : EIO;
  }
  return 0;
}

int colockp_filesystem_allocate(int fd, off_t from, off_t to) {
  struct rlimit limit;
  int error;
  /* Beyond it the kernel would send SIGXFSZ, which ends the program. */
  if (colockp_system.getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      (rlim_t)to > limit.rlim_cur)
    return EFBIG;
  do
    error = colockp_system.fallocate(fd, 0, from, to - from) == 0 ? 0 : errno;
  while (error == EINTR);
  return error == EOPNOTSUPP || error == ENOSYS ? write_zeros(fd, to) : error;
}

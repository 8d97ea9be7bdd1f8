/* config_file.c - finding the configuration file and reading it whole, whatever somebody put in its place.
 *
 * Opened without blocking (a FIFO must not hang us), regular files only, bounded in size. The first file that is there
 * is the one: it is read or it is an error, never passed over.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "config_keys.h"
#include "error.h"
#include "system.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h> /* secure_getenv */
#include <string.h>
#include <sys/sysmacros.h>

#ifndef COLOCKP_SYSCONFDIR
#define COLOCKP_SYSCONFDIR "/etc"
#endif

#define FILE_MOST 65536 /* bytes; every key with a page of comment fits */

/* Reads up to `size` bytes; how many, or -1 with errno. */
static ssize_t read_all(int fd, char *out, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t got = colockp_system.pread(fd, out + done, size - done, (off_t)done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return -1;
    if (got == 0)
      break;
    done += (size_t)got;
  }
  return (ssize_t)done;
}

static int cannot_read(const char *shown, int errno_value) {
  int code = colockp_code_of_errno(errno_value);
  if (code == COLOCK_EMFILE || code == COLOCK_ENOMEM)
    return colockp_fail(code, errno_value, "%s: cannot be read: %m", shown);
  const char *advice = code == COLOCK_ENOENT ? "create it" : "make it readable";
  return colockp_fail(COLOCK_ECONFIG, errno_value, "%s: cannot be read: %m; %s or name another file", shown, advice);
}

static int not_a_file(const char *shown, mode_t mode) {
  const char *what = S_ISDIR(mode) ? "a directory" : S_ISFIFO(mode) ? "a FIFO" : "a device";
  return colockp_fail(COLOCK_ECONFIG, 0, "%s: is %s; a configuration is a regular file", shown, what);
}

static int read_open_file(int fd, const char *shown, char **text, size_t *size) {
  struct stat st;
  if (colockp_system.fstat(fd, &st) != 0)
    return cannot_read(shown, errno);
  bool null = S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3); /* /dev/null: an empty one, as people expect */
  if (!S_ISREG(st.st_mode) && !null)
    return not_a_file(shown, st.st_mode);
  char *buffer = colockp_system.malloc(FILE_MOST + 1);
  if (!buffer)
    return colockp_fail(COLOCK_ENOMEM, 0, "%s: no memory to read it", shown);
  ssize_t got = null ? 0 : read_all(fd, buffer, FILE_MOST + 1);
  if (got < 0 || got > FILE_MOST) {
    int error = errno;
    colockp_system.free(buffer);
    if (got < 0)
      return cannot_read(shown, error);
    return colockp_fail(COLOCK_ECONFIG, 0, "%s: is larger than 64 KiB; is it a colock configuration?", shown);
  }
  *text = buffer;
  *size = (size_t)got;
  return COLOCK_OK;
}

/* Reads the file at `path`. One that is not there is an error if `required`, else *text stays NULL. */
static int read_file(const char *path, bool required, char **text, size_t *size, char *shown, size_t shown_size) {
  struct stat st;
  int fd;
  colockp_escape(shown, shown_size, path);
  do
    fd = colockp_system.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    int error = errno;
    /* EACCES of a directory above (another user's HOME, kept by sudo) hides whether anything is there: as if nothing
     * were. */
    bool absent = colockp_code_of_errno(error) == COLOCK_ENOENT ||
                  (error == EACCES && colockp_system.fstatat(AT_FDCWD, path, &st, 0) != 0);
    return absent && !required ? COLOCK_OK : cannot_read(shown, error);
  }
  int code = read_open_file(fd, shown, text, size);
  colockp_system.close(fd);
  return code;
}

/* The places where a configuration may lie, after $COLOCK_CONFIG. Returns the length that snprintf would; 0: this place
 * is none here; -1: there are no more. */
static int place(int number, char *path, size_t size) {
  const char *config_home = secure_getenv("XDG_CONFIG_HOME"), *home = secure_getenv("HOME");
  switch (number) {
  case 0:
    if (config_home && config_home[0] == '/')
      return snprintf(path, size, "%s/colock.yaml", config_home);
    return home && home[0] == '/' ? snprintf(path, size, "%s/.config/colock.yaml", home) : 0;
  case 1: return snprintf(path, size, "%s/colock.yaml", COLOCKP_SYSCONFDIR);
  default: return -1;
  }
}

int colockp_file_read(const char *path, char **text, size_t *size, char *found, size_t found_size) {
  char candidate[PATH_MAX];
  const char *named = path ? NULL : secure_getenv("COLOCK_CONFIG");
  *text = NULL;
  if (path)
    return read_file(path, true, text, size, found, found_size);
  if (named && *named) {
    int code = read_file(named, true, text, size, found, found_size);
    return code == COLOCK_OK ? code : colockp_fail_again(code, "COLOCK_CONFIG");
  }
  for (int i = 0, length; (length = place(i, candidate, sizeof candidate)) >= 0; i++) {
    if (length == 0)
      continue;
    if ((size_t)length >= sizeof candidate)
      return colockp_fail(COLOCK_ECONFIG, 0, "%s...: too long a path; shorten XDG_CONFIG_HOME or HOME",
                          colockp_escape(found, found_size < 64 ? found_size : 64, candidate));
    int code = read_file(candidate, false, text, size, found, found_size);
    if (code != COLOCK_OK || *text)
      return code;
  }
  return COLOCK_OK;
}

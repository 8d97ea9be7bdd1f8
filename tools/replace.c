/* replace.c - a file written as a whole: beside its place, to the disk, then renamed onto it. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a plain creat would have given; the old file's own, if there is one. */
static mode_t mode_for(const char *path) {
  struct stat st;
  if (stat(path, &st) == 0)
    return st.st_mode & 07777;
  mode_t mask = umask(0);
  umask(mask);
  return 0666 & ~mask;
}

/* DIRECTORY/.NAME.XXXXXX, which no glob for *.prom finds; free() it. */
static char *name_beside(const char *path) {
  const char *slash = strrchr(path, '/');
  char *made = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&made, &size);
  fprintf(to, "%.*s.%s.XXXXXX", slash != NULL ? (int)(slash - path + 1) : 0, path, slash != NULL ? slash + 1 : path);
  fclose(to);
  return made;
}

/* 0 or an errno. */
static int write_whole(int fd, mode_t mode, const char *text, size_t size) {
  int error = tool_write_all(fd, text, size);
  return error != 0 ? error : fchmod(fd, mode) != 0 || fsync(fd) != 0 ? errno : 0;
}

static int replace(const char *path, const char *text, size_t size) {
  char *beside = name_beside(path);
  int fd = mkostemp(beside, O_CLOEXEC);
  int error = fd < 0 ? errno : write_whole(fd, mode_for(path), text, size);
  if (fd >= 0 && close(fd) != 0 && error == 0)
    error = errno;
  if (error == 0 && rename(beside, path) != 0)
    error = errno;
  if (error != 0 && fd >= 0)
    unlink(beside);
  free(beside);
  return error;
}

int tool_replace_file(const char *path, const char *text, size_t size) {
  struct stat st;
  char *target = realpath(path, NULL); /* of a symbolic link not the link is replaced but what it names */
  const char *name = target != NULL ? target : path;
  int error = 0;
  const char *why = NULL;
  if (stat(name, &st) == 0 && !S_ISREG(st.st_mode))
    why = "it is no plain file, so it cannot be replaced";
  else if ((error = replace(name, text, size)) != 0)
    why = strerror(error);
  if (why != NULL) {
    char *escaped = tool_escaped(path);
    tool_tell("cannot write %s: %s", escaped, why);
    free(escaped);
  }
  free(target);
  return why != NULL ? TOOL_SYSTEM : TOOL_OK;
}

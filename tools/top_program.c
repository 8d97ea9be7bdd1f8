/* top_program.c - colock top is a program of its own, colock-top: what it needs of a terminal takes longer to load than
 * all else that colock does, and nothing but top uses it. */
#include "tool.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Beside this program, wherever it has been moved to. */
static int find(char path[PATH_MAX]) {
  static const char name[] = "colock-top";
  ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - sizeof name);
  if (length < 0)
    return errno;
  path[length] = '\0';
  strcpy(strrchr(path, '/') + 1, name);
  return 0;
}

static int become_top(int argc, char **argv) {
  char path[PATH_MAX] = "colock-top";
  int error = find(path);
  (void)argc;
  if (error == 0) {
    execv(path, argv);
    error = errno;
  }
  char *escaped = tool_escaped(path);
  tool_tell("top: cannot run %s: %s; it belongs beside colock, where make install puts it", escaped, strerror(error));
  free(escaped);
  return TOOL_SYSTEM;
}

const struct tool_command tool_top = {"top", "watch several locks", NULL, become_top};

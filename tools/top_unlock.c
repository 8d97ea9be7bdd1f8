/* top_unlock.c - colock unlock on behalf of who looks: in a child, so that the view goes on meanwhile and what it says
 * does not fall into the middle of the screen. */
#include "top.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

char *top_owners(const colock_report *report) {
  const colock_entry *entry;
  char *text = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  for (size_t i = 0; (entry = colock_report_entry(report, i)) != NULL; i++) {
    int64_t role = colock_entry_number(entry, COLOCK_ROLE);
    if (role == COLOCK_HOLDER || role == COLOCK_CACHED || role == COLOCK_ANONYMOUS)
      fprintf(to, "%" PRId64 ":%" PRId64 ":%" PRId64 " ", colock_entry_number(entry, COLOCK_SLOT),
              colock_entry_number(entry, COLOCK_HOLD_ID), colock_entry_number(entry, COLOCK_GENERATION));
  }
  fclose(to);
  return text;
}

/* People read a question for a while; who answers it has spoken of those who had the lock when it was asked. */
static bool same_owners(const char *path, const char *owners) {
  colock_report *now = NULL;
  if (colock_report_read(path, &now) != COLOCK_OK)
    return true; /* colock unlock says what is wrong */
  char *text = top_owners(now);
  bool same = strcmp(text, owners) == 0;
  free(text);
  colock_report_free(now);
  return same;
}

static int unlock(const char *path, int way, const char *owners) {
  static char word[] = "unlock", kill[] = "--kill", force[] = "--force", end[] = "--";
  char *argv[5], *name = tool_got(strdup(path));
  int argc = 0;
  if (way != TOP_ASK && !same_owners(path, owners)) {
    char *escaped = tool_escaped(path);
    tool_tell("%s: others have it by now than those you were asked about; nothing was done", escaped);
    free(escaped);
    free(name);
    return TOOL_BUSY;
  }
  argv[argc++] = word;
  if (way != TOP_ASK)
    argv[argc++] = way == TOP_KILL ? kill : force;
  argv[argc++] = end;
  argv[argc++] = name;
  argv[argc] = NULL;
  optind = 0; /* glibc and musl: begin anew */
  int status = tool_unlock.run(argc, argv);
  free(name);
  return status;
}

/* In the child. It must not outlive the view: nobody would see what it still does. */
static void become(const char *path, int way, const char *owners, int out, pid_t parent) {
  sigset_t none;
  int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent)
    _exit(TOOL_SYSTEM);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  dup2(nothing, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  _exit(unlock(path, way, owners));
}

static void could_not(struct top_unlock *unlock, int error) {
  FILE *to = tool_memory(&unlock->text, &unlock->size);
  fprintf(to, "colock unlock could not be started: %s\n", strerror(error));
  fclose(to);
}

void top_unlock_start(struct top_unlock *unlock, const char *path, int way, const char *owners) {
  int ends[2];
  pid_t parent = getpid();
  top_unlock_end(unlock);
  if (pipe2(ends, O_CLOEXEC) != 0) {
    could_not(unlock, errno);
    return;
  }
  unlock->pid = fork();
  if (unlock->pid == 0)
    become(path, way, owners, ends[1], parent);
  close(ends[1]);
  unlock->fd = ends[0];
  if (unlock->pid > 0)
    return;
  could_not(unlock, errno);
  close(unlock->fd);
  unlock->fd = -1;
}

static void add(struct top_unlock *unlock, const char *text, size_t size) {
  unlock->text = tool_got(realloc(unlock->text, unlock->size + size + 1));
  memcpy(unlock->text + unlock->size, text, size);
  unlock->size += size;
  unlock->text[unlock->size] = '\0';
}

bool top_unlock_hear(struct top_unlock *unlock) {
  char text[1024];
  ssize_t got = read(unlock->fd, text, sizeof text);
  if (got < 0 && errno == EINTR)
    return false;
  if (got > 0) {
    add(unlock, text, (size_t)got);
    return false;
  }
  add(unlock, "", 0);
  close(unlock->fd);
  unlock->fd = -1;
  while (waitpid(unlock->pid, NULL, 0) < 0 && errno == EINTR)
    continue;
  return true;
}

void top_unlock_end(struct top_unlock *unlock) {
  if (unlock->fd >= 0) {
    kill(unlock->pid, SIGTERM);
    close(unlock->fd);
    while (waitpid(unlock->pid, NULL, 0) < 0 && errno == EINTR)
      continue;
  }
  free(unlock->text);
  *unlock = (struct top_unlock){.fd = -1};
}

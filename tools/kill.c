/* kill.c - ending those who hold a lock, and nobody else.
 *
 * A pid in a report is that of another moment, perhaps of another host or pid namespace. So a signal goes only to a
 * process that has the lock file open right now, through a descriptor of the process itself where the kernel has them
 * (pidfd).
 */
#include "tool.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, UNSEEN_MS = 1000, POLL_MS = 50, TOLD = 256 };

struct hunt {
  const char *path;
  const colock_report *before;
  int role; /* of those to be ended */
  struct stat file;
  int64_t told[TOLD]; /* heirs that had SIGTERM */
  size_t told_count;
  int64_t unseen_ms; /* since when a hold lasts of which no process is to be seen; 0: not so */
};

void tool_pause(int64_t ms) {
  struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
  nanosleep(&time, NULL);
}

/* Has the process the lock file open? 1, 0, or -errno. */
static int has_open(int64_t pid, const struct stat *file) {
  char name[64];
  struct stat one;
  const struct dirent *entry;
  int found = 0;
  snprintf(name, sizeof name, "/proc/%" PRId64 "/fd", pid);
  DIR *directory = opendir(name);
  if (directory == NULL)
    return errno == ENOENT || errno == ESRCH ? 0 : -errno;
  while (!found && (entry = readdir(directory)) != NULL)
    found = fstatat(dirfd(directory), entry->d_name, &one, 0) == 0 && one.st_dev == file->st_dev &&
            one.st_ino == file->st_ino && S_ISREG(one.st_mode);
  closedir(directory);
  return found;
}

/* Signals the process (number 0: only looks) if it has the lock file open: 1 done, 0 no such process
 * has it, or -errno. */
static int signal_user(int64_t pid, const struct stat *file, int number) {
  int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0); /* first: from here on the number cannot be reused under us */
  int answer = fd < 0 && errno == ESRCH ? 0 : has_open(pid, file);
  if (answer > 0) {
    long done = fd >= 0 ? syscall(SYS_pidfd_send_signal, fd, number, NULL, 0) : kill((pid_t)pid, number);
    if (done != 0)
      answer = errno == ESRCH ? 0 : -errno;
  }
  if (fd >= 0)
    close(fd);
  return answer;
}

/* Is `now` the hold that `before` was, later? */
static bool same_hold(const colock_entry *before, const colock_entry *now) {
  return colock_entry_number(before, COLOCK_PID) == colock_entry_number(now, COLOCK_PID) &&
         colock_entry_number(before, COLOCK_SLOT) == colock_entry_number(now, COLOCK_SLOT) &&
         colock_entry_number(before, COLOCK_HOLD_ID) == colock_entry_number(now, COLOCK_HOLD_ID) &&
         colock_entry_number(before, COLOCK_GENERATION) == colock_entry_number(now, COLOCK_GENERATION);
}

/* The entry that the hold has in a fresh report, or NULL: it is over. */
static const colock_entry *still_there(const colock_report *fresh, const colock_entry *before) {
  for (size_t i = 0; i < colock_report_count(fresh); i++) {
    const colock_entry *now = colock_report_entry(fresh, i);
    int64_t role = colock_entry_number(now, COLOCK_ROLE);
    if ((role == COLOCK_HOLDER || role == COLOCK_CACHED) && same_hold(before, now))
      return now;
  }
  return NULL;
}

static int refuse(const struct hunt *hunt, const colock_entry *entry, int status, const char *why) {
  char *path = tool_escaped(hunt->path), *text = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  fprintf(to, "%s: ", path);
  if (entry != NULL)
    tool_name(to, entry);
  else
    tool_nameless(to, tool_entry(hunt->before, COLOCK_ANONYMOUS, 0));
  fprintf(to, " cannot be killed from here: %s. Last resort: colock unlock --force %s", why, path);
  fclose(to);
  tool_tell("%s", text);
  free(text);
  free(path);
  return status;
}

/* Does the environment of the process say that it runs under this hold of the lock file? */
static bool runs_under(int64_t pid, const struct stat *file, const char *id) {
  char name[64], *item = NULL;
  size_t room = 0;
  struct stat one;
  bool same_file = false, same_id = false;
  snprintf(name, sizeof name, "/proc/%" PRId64 "/environ", pid);
  FILE *from = fopen(name, "re");
  if (from == NULL)
    return false;
  while (getdelim(&item, &room, '\0', from) > 0) {
    if (strncmp(item, "COLOCK_FILE=", 12) == 0)
      same_file = stat(item + 12, &one) == 0 && one.st_dev == file->st_dev && one.st_ino == file->st_ino;
    else if (strncmp(item, "COLOCK_HOLD=", 12) == 0)
      same_id = strcmp(item + 12, id) == 0;
  }
  free(item);
  fclose(from);
  return same_file && same_id;
}

/* A signal for those who have a hold only by inheritance: descendants of COMMAND that outlived it. How many were found;
 * without `again` those that had it before are spared. */
static int signal_heirs(struct hunt *hunt, const colock_entry *entry, int number, bool again) {
  char id[96];
  const struct dirent *process;
  int found = 0;
  snprintf(id, sizeof id, "%" PRId64 ":%" PRId64 ":%" PRId64, colock_entry_number(entry, COLOCK_SLOT),
           colock_entry_number(entry, COLOCK_HOLD_ID), colock_entry_number(entry, COLOCK_GENERATION));
  DIR *directory = opendir("/proc");
  while (directory != NULL && (process = readdir(directory)) != NULL) {
    int64_t pid = atoll(process->d_name);
    bool before = false;
    if (pid <= 0 || pid == getpid() || !runs_under(pid, &hunt->file, id))
      continue;
    for (size_t i = 0; i < hunt->told_count; i++)
      before = before || hunt->told[i] == pid;
    if (before && !again)
      found++;
    else
      found += signal_user(pid, &hunt->file, number) > 0;
    if (!before && hunt->told_count < TOLD)
      hunt->told[hunt->told_count++] = pid;
  }
  if (directory != NULL)
    closedir(directory);
  return found;
}

/* A signal for one hold: to its owner, who passes SIGTERM on; when that one is gone to those who inherited from it.
 * SIGKILL to all of them. number 0: SIGTERM for heirs that have not had it yet, once the others are gone. */
static int signal_hold(struct hunt *hunt, const colock_entry *entry, int number) {
  int64_t owner = colock_entry_number(entry, COLOCK_PID), child = colock_entry_number(entry, COLOCK_INHERITED);
  int heirs = 0, other = 0;
  if (owner <= 0)
    return refuse(hunt, entry, TOOL_BUSY, "its pid is not known");
  if (!tool_here(entry))
    return refuse(hunt, entry, TOOL_BUSY,
                  "it runs on another host, or in a container with a host name of its own; end it there");
  int one = signal_user(owner, &hunt->file, number);
  if (child > 0 && (one == 0 || number == SIGKILL))
    other = signal_user(child, &hunt->file, number);
  if (child > 0 && ((one == 0 && other == 0) || number == SIGKILL))
    heirs = signal_heirs(hunt, entry, number != 0 ? number : SIGTERM, number == SIGKILL);
  if (one > 0 || other > 0 || heirs > 0)
    return TOOL_OK;
  if (one < 0 || other < 0)
    return refuse(hunt, entry, TOOL_PERMISSION, "only its user, or root, may do that");
  return TOOL_NO_FILE; /* nobody to be seen here: it ended, or it was never ours to see */
}

/* One round: TOOL_OK: all are gone; TOOL_BUSY: not yet; -status: cannot be done. */
static int round_of(struct hunt *hunt, int number) {
  const colock_entry *entry, *now;
  colock_report *fresh = NULL;
  int result = TOOL_OK;
  int code = colock_report_read(hunt->path, &fresh);
  if (code == COLOCK_ENOENT)
    return TOOL_OK;
  if (code != COLOCK_OK)
    return -tool_fail(code, false);
  for (size_t at = 0; result >= 0 && (entry = tool_next(hunt->before, hunt->role, &at)) != NULL;) {
    if ((now = still_there(fresh, entry)) == NULL)
      continue;
    int status = signal_hold(hunt, now, number);
    result = TOOL_BUSY;
    if (status == TOOL_OK)
      hunt->unseen_ms = 0;
    else if (status != TOOL_NO_FILE)
      result = -status;
    else if (hunt->unseen_ms == 0)
      hunt->unseen_ms = tool_now_ms(); /* who exits closes its files first, and loses its locks a moment later */
    else if (tool_now_ms() - hunt->unseen_ms > UNSEEN_MS)
      result = -refuse(hunt, now, TOOL_BUSY,
                       "no process here by that number has the lock file open: it may live in another "
                       "container, or have left the lock to a process that it started");
  }
  colock_report_free(fresh);
  return result;
}

/* Signals all, then looks until they are gone or patience ends. Results as of round_of. */
static int drive_out(struct hunt *hunt, int number) {
  int64_t until = tool_now_ms() + PATIENCE_MS;
  int result = round_of(hunt, number);
  while (result == TOOL_BUSY && tool_now_ms() < until) {
    tool_pause(POLL_MS);
    result = round_of(hunt, number == SIGKILL ? SIGKILL : 0); /* a new heir of the hold dies as well */
  }
  return result;
}

int tool_kill_holders(const char *path, const colock_report *before, bool *killed) {
  struct hunt hunt = {.path = path, .before = before};
  hunt.role = tool_entry(before, COLOCK_HOLDER, 0) != NULL ? COLOCK_HOLDER : COLOCK_CACHED;
  if (tool_entry(before, COLOCK_ANONYMOUS, 0) != NULL)
    return refuse(&hunt, NULL, TOOL_BUSY, "it left no pid");
  if (stat(path, &hunt.file) != 0)
    return refuse(&hunt, tool_entry(before, hunt.role, 0), TOOL_SYSTEM, strerror(errno));
  int result = drive_out(&hunt, SIGTERM);
  if (result == TOOL_BUSY) {
    *killed = true;
    result = drive_out(&hunt, SIGKILL);
  }
  if (result == TOOL_BUSY)
    return refuse(&hunt, tool_entry(before, hunt.role, 0), TOOL_BUSY, "it does not end, not even by SIGKILL");
  return result < 0 ? -result : TOOL_OK;
}

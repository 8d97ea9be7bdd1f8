/* report.c - reports: made, filled, searched, freed; and one read by the name of a lock file. */
#include "report.h"
#include "error.h"
#include "look.h"
#include "process.h"
#include "system.h"
#include "usual.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void drop(struct colockp_snapshot *snapshot) {
  if (snapshot->entries)
    colockp_system.free(snapshot->entries);
}

int colockp_report_new(colock_report **report, const char *path) {
  size_t size = strlen(path) + 1;
  colock_report *made = colockp_system.malloc(sizeof *made);
  char *copy = made ? colockp_system.malloc(size) : NULL;
  if (!copy) {
    if (made)
      colockp_system.free(made);
    return colockp_fail(COLOCK_ENOMEM, ENOMEM, "no memory for a report");
  }
  memset(made, 0, sizeof *made);
  made->path = memcpy(copy, path, size);
  made->now.forced_age_ns = made->now.usual_ns[0] = made->now.usual_ns[1] = -1;
  made->file.fd = -1;
  *report = made;
  return COLOCK_OK;
}

void colock_report_free(colock_report *report) {
  if (!report)
    return;
  drop(&report->now);
  if (report->json)
    colockp_system.free(report->json);
  colockp_system.free(report->path);
  colockp_system.free(report);
}

static int group(const colock_entry *entry) {
  switch (entry->role) {
  case COLOCK_HOLDER: return entry->mode == COLOCK_SHARED ? 1 : 0;
  case COLOCK_CACHED: return 2;
  case COLOCK_ANONYMOUS: return 3;
  case COLOCK_WAITER: return entry->passed ? 5 : 4;
  default: return 6;
  }
}

static int compare(const void *left, const void *right) {
  const colock_entry *a = left, *b = right;
  if (group(a) != group(b))
    return group(a) < group(b) ? -1 : 1;
  if (a->place != b->place)
    return a->place < b->place ? -1 : 1;
  if (a->role != COLOCK_WAITER && a->age_ns != b->age_ns)
    return a->age_ns > b->age_ns ? -1 : 1;
  return a->slot < b->slot ? -1 : a->slot > b->slot;
}

/* Holders (exclusive first, the oldest first), cached ones, anonymous ones, waiters as they stand in line, those that
 * are passed over, revoked. */
static void put_in_order(struct colockp_snapshot *snapshot) {
  int64_t position = 0;
  if (snapshot->count > 1)
    qsort(snapshot->entries, snapshot->count, sizeof *snapshot->entries, compare);
  for (size_t i = 0; i < snapshot->count; i++)
    if (snapshot->entries[i].role == COLOCK_WAITER && !snapshot->entries[i].passed)
      snapshot->entries[i].position = ++position;
}

int colockp_report_fill(colock_report *report, int fd) {
  struct colockp_snapshot fresh = {.entries = NULL};
  char escaped[COLOCKP_ESCAPED_PATH];
  int code = colockp_look(&fresh, fd, colockp_escape(escaped, sizeof escaped, report->path));
  if (code != COLOCK_OK) {
    drop(&fresh);
    return code;
  }
  colockp_usual_read(fresh.usual_ns, fd, escaped);
  put_in_order(&fresh);
  drop(&report->now);
  report->now = fresh;
  memset(&report->asked, 0, sizeof report->asked);
  for (size_t i = 0; i < fresh.count; i++)
    fresh.entries[i].asked = &report->asked;
  if (report->json)
    colockp_system.free(report->json);
  report->json = NULL;
  return COLOCK_OK;
}

bool colockp_report_holder(const colock_report *report, int mode, struct colockp_holder *holder) {
  return colockp_report_other_holder(report, mode, COLOCKP_NO_SLOT, holder);
}

bool colockp_report_other_holder(const colock_report *report, int mode, uint32_t own, struct colockp_holder *holder) {
  struct colockp_holder found = {.entry = NULL};
  for (size_t i = 0; i < report->now.count; i++) {
    const colock_entry *entry = &report->now.entries[i];
    bool holds = entry->role == COLOCK_HOLDER || entry->role == COLOCK_CACHED || entry->role == COLOCK_ANONYMOUS;
    bool itself = own != COLOCKP_NO_SLOT && entry->slot == own;
    if (!holds || itself || (mode == COLOCK_SHARED && entry->mode == COLOCK_SHARED))
      continue;
    if (!found.entry) {
      found.entry = entry;
      found.slot = entry->slot;
      found.generation = report->now.generation;
      found.hold_id = entry->activity.hold_id;
      found.mode = entry->mode;
      found.stale = entry->stale;
    }
    found.conflicting++;
    found.conflicting_stale += entry->stale;
  }
  if (!found.entry)
    return false;
  *holder = found;
  return true;
}

static const char *kind_of(mode_t mode) {
  return S_ISDIR(mode) ? "a directory" : S_ISLNK(mode) ? "a symbolic link: name its target instead"
       : S_ISFIFO(mode) ? "a FIFO" : S_ISSOCK(mode) ? "a socket" : "a device";
}

static int refuse_kind(const char *escaped, mode_t mode) {
  return colockp_fail(COLOCK_EFOREIGN, 0, "%s: not a lock file but %s; left untouched", escaped, kind_of(mode));
}

static int fail_errno(const char *escaped, int error, const char *what) {
  if (error == ENOENT)
    return colockp_fail(COLOCK_ENOENT, error, "%s: no such file", escaped);
  return colockp_fail(colockp_code_of_errno(error), error, "%s: cannot %s: %s", escaped, what, strerror(error));
}

int colockp_report_open(struct colockp_fd *file, const char *path, const char *escaped) {
  struct stat st;
  if (*path == '\0')
    return colockp_fail(COLOCK_EINVAL, 0, "the path of the lock file is empty");
  /* Looked at before it is opened: opening a FIFO or a device would already do something to it. */
  if (colockp_system.fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return fail_errno(escaped, errno, "look for it");
  if (!S_ISREG(st.st_mode))
    return refuse_kind(escaped, st.st_mode);
  const int flags = O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
  int error = colockp_fd_open(file, false, AT_FDCWD, path, flags, 0);
  if (error)
    return fail_errno(escaped, error, "open it");
  if (colockp_system.fstat(file->fd, &st) == 0 && !S_ISREG(st.st_mode)) /* replaced in between */
    return refuse_kind(escaped, st.st_mode);
  return COLOCK_OK;
}

int colock_report_read(const char *path, colock_report **report) {
  char escaped[COLOCKP_ESCAPED_PATH];
  colock_report *made = NULL;
  colockp_fork_count();
  if (!path || !report)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_report_read: path and report are needed");
  int code = colockp_report_new(&made, path);
  if (code != COLOCK_OK)
    return code;
  code = colockp_report_open(&made->file, path, colockp_escape(escaped, sizeof escaped, path));
  if (code == COLOCK_OK)
    code = colockp_report_fill(made, made->file.fd);
  if (made->file.fd >= 0)
    colockp_fd_close(&made->file);
  if (code == COLOCK_OK)
    *report = made;
  else
    colock_report_free(made);
  return code;
}

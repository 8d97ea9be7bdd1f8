/* tracker.c - the record locks of this process, a list of ranges for every open file description. See tracker.h.
 *
 * Locks of the kernel belong to the description, so descriptors are mapped to descriptions: openat makes one, F_DUPFD
 * shares it, the last close ends it. One mutex guards all of it; a forked child never takes it.
 */
#define _GNU_SOURCE
#include "tracker.h"

#include "layout.h"
#include "system.h"
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FDS_MAX 4096
#define RANGES_MAX 8192

struct range {
  int description;
  int64_t start, end; /* end is the first byte behind */
  short type;
};

static struct {
  bool on;
  pid_t owner;
  bool close_allowed;
  struct colockp_system below;
  int description[FDS_MAX]; /* 0: unknown */
  int last_description;
  struct range ranges[RANGES_MAX];
  size_t count;
  size_t granted;
  char problems[8192];
  size_t used;
} tracker;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void problem(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void problem(const char *format, ...) {
  va_list list;
  va_start(list, format);
  size_t room = sizeof tracker.problems - tracker.used;
  int n = vsnprintf(tracker.problems + tracker.used, room, format, list);
  va_end(list);
  if (n > 0) tracker.used += (size_t)n < room ? (size_t)n : room - 1;
}

static bool watched(void) { return tracker.on && getpid() == tracker.owner; }

static int description_of(int fd) {
  if (fd < 0 || fd >= FDS_MAX) return 0;
  if (tracker.description[fd] == 0) tracker.description[fd] = ++tracker.last_description; /* opened before the start */
  return tracker.description[fd];
}

/* Cut [start, end) out of the description's ranges; how many bytes of it were locked. */
static int64_t cut(int description, int64_t start, int64_t end) {
  int64_t covered = 0;
  size_t before = tracker.count;
  for (size_t i = 0; i < before; i++) {
    struct range *r = &tracker.ranges[i];
    if (r->description != description || r->end <= start || end <= r->start) continue;
    struct range whole = *r;
    covered += (whole.end < end ? whole.end : end) - (whole.start > start ? whole.start : start);
    r->end = r->start; /* empty: dropped below */
    if (whole.start < start) r->end = start;
    if (whole.end > end && tracker.count < RANGES_MAX) {
      tracker.ranges[tracker.count++] = (struct range){description, end, whole.end, whole.type};
    }
  }
  size_t kept = 0;
  for (size_t i = 0; i < tracker.count; i++) {
    if (tracker.ranges[i].end > tracker.ranges[i].start) tracker.ranges[kept++] = tracker.ranges[i];
  }
  tracker.count = kept;
  return covered;
}

static bool within(int64_t start, int64_t end, int64_t from, int64_t length) {
  return from <= start && end <= from + length;
}

/* To take: one byte of its kind, or the whole range that proves that nobody lives. To look at: anything within that,
 * too. */
static bool range_known(int64_t start, int64_t end, int command) {
  if (start == COLOCKP_ALL_FROM && end == COLOCKP_ALL_FROM + COLOCKP_ALL_LENGTH) return true;
  if (command == F_OFD_GETLK && within(start, end, COLOCKP_ALL_FROM, COLOCKP_ALL_LENGTH)) return true;
  if (end - start != 1) return false;
  return within(start, end, COLOCKP_BYTE_GUARD, 1) || within(start, end, COLOCKP_BYTE_PROBE, 1) ||
         within(start, end, COLOCKP_BYTE_SLOT, COLOCKP_SLOTS_MAX) ||
         within(start, end, COLOCKP_BYTE_LANE, COLOCKP_LANES) ||
         within(start, end, COLOCKP_BYTE_UPGRADE, COLOCKP_LANES);
}

static void note_set(int fd, const struct flock *range) {
  int64_t start = range->l_start, end = range->l_start + range->l_len;
  int description = description_of(fd);
  int64_t covered = cut(description, start, end);
  if (range->l_type == F_UNLCK) {
    if (covered != end - start) {
      problem("unlock of %#" PRIx64 "+%" PRId64 " on fd %d, of which %" PRId64 " bytes were locked\n", (uint64_t)start,
              end - start, fd, covered);
    }
    return;
  }
  tracker.granted++;
  if (tracker.count < RANGES_MAX)
    tracker.ranges[tracker.count++] = (struct range){description, start, end, range->l_type};
  else problem("more locks than the tracker can note\n");
}

static int track_fcntl_lock(int fd, int command, struct flock *range) {
  if (!watched()) return tracker.below.fcntl_lock(fd, command, range);
  pthread_mutex_lock(&mutex);
  int64_t start = range->l_start, end = range->l_start + range->l_len;
  if (command != F_OFD_SETLK && command != F_OFD_GETLK) problem("fcntl command %d on fd %d\n", command, fd);
  if (range->l_whence != SEEK_SET || range->l_len <= 0 || !range_known(start, end, command)) {
    problem("range %#" PRIx64 "+%" PRId64 " on fd %d is none of the layout's\n", (uint64_t)start, end - start, fd);
  }
  struct flock asked = *range;
  int result = tracker.below.fcntl_lock(fd, command, range);
  if (result == 0 && command == F_OFD_SETLK) note_set(fd, &asked);
  pthread_mutex_unlock(&mutex);
  return result;
}

static int track_openat(int at, const char *path, int flags, mode_t mode) {
  if (!watched()) return tracker.below.openat(at, path, flags, mode);
  pthread_mutex_lock(&mutex);
  int fd = tracker.below.openat(at, path, flags, mode);
  if (fd >= 0 && fd < FDS_MAX) tracker.description[fd] = ++tracker.last_description;
  pthread_mutex_unlock(&mutex);
  return fd;
}

static int track_fcntl_int(int fd, int command, int argument) {
  if (!watched()) return tracker.below.fcntl_int(fd, command, argument);
  pthread_mutex_lock(&mutex);
  int result = tracker.below.fcntl_int(fd, command, argument);
  bool copied = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
  if (copied && result >= 0 && result < FDS_MAX) tracker.description[result] = description_of(fd);
  pthread_mutex_unlock(&mutex);
  return result;
}

/* The last descriptor of a description goes: whatever it still locks goes with it, which nobody should rely on. */
static void note_close(int fd) {
  if (fd < 0 || fd >= FDS_MAX || tracker.description[fd] == 0) return;
  int description = tracker.description[fd];
  tracker.description[fd] = 0;
  for (int other = 0; other < FDS_MAX; other++) {
    if (tracker.description[other] == description) return;
  }
  for (size_t i = 0; i < tracker.count; i++) {
    const struct range *r = &tracker.ranges[i];
    if (r->description == description && !tracker.close_allowed) {
      problem("fd %d closed with %#" PRIx64 "+%" PRId64 " locked\n", fd, (uint64_t)r->start, r->end - r->start);
    }
  }
  cut(description, 0, INT64_MAX);
}

static int track_close(int fd) {
  if (!watched()) return tracker.below.close(fd);
  pthread_mutex_lock(&mutex);
  note_close(fd);
  int result = tracker.below.close(fd);
  pthread_mutex_unlock(&mutex);
  return result;
}

void tracker_start(void) {
  memset(&tracker, 0, sizeof tracker);
  tracker.below = colockp_system;
  tracker.owner = getpid();
  tracker.on = true;
  colockp_system.fcntl_lock = track_fcntl_lock;
  colockp_system.fcntl_int = track_fcntl_int;
  colockp_system.openat = track_openat;
  colockp_system.close = track_close;
}

const char *tracker_stop(void) {
  if (!watched()) return "";
  colockp_system = tracker.below;
  tracker.on = false;
  for (size_t i = 0; i < tracker.count; i++) {
    const struct range *r = &tracker.ranges[i];
    problem("%#" PRIx64 "+%" PRId64 " is still locked\n", (uint64_t)r->start, r->end - r->start);
  }
  return tracker.problems;
}

void tracker_finish(void) {
  const char *problems = tracker_stop();
  ck_assert_msg(problems[0] == '\0', "record locks: %s", problems);
}

void tracker_allow_close(bool allow) { tracker.close_allowed = allow; }

size_t tracker_held(void) {
  pthread_mutex_lock(&mutex);
  size_t n = tracker.count;
  pthread_mutex_unlock(&mutex);
  return n;
}

size_t tracker_locks(void) {
  pthread_mutex_lock(&mutex);
  size_t n = tracker.granted;
  pthread_mutex_unlock(&mutex);
  return n;
}

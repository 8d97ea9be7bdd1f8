/* pause.c - wrappers around the calls that an agent can be stopped at. See pause.h. */
#define _GNU_SOURCE
#include "pause.h"

#include "layout.h"
#include "system.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LONG_NS 50000000

struct pause_page {
  _Atomic bool armed; /* the rest is written before it is set, and read after */
  _Atomic bool unwatched, unticked;
  bool after;
  pid_t tid;
  long left;
  char call[24];
};

static struct colockp_system below;
static struct pause_page *page;

static const char *const plain[] = {"futex_wait", "futex_wake", "fstat", "fstatat",
                                    "fdatasync", "pread", "openat", "close"};
static const char *const verbs[] = {"lock", "unlock", "ask"};
static const char *const places[] = {"guard", "slot", "lane", "upgrade", "all"};
#define COUNT(array) (sizeof (array) / sizeof (array)[0])

bool pause_knows(const char *call) {
  char name[24];
  for (size_t i = 0; i < COUNT(plain); i++)
    if (strcmp(call, plain[i]) == 0) return true;
  for (size_t i = 0; i < COUNT(verbs) * COUNT(places); i++) {
    snprintf(name, sizeof name, "%s_%s", verbs[i / COUNT(places)], places[i % COUNT(places)]);
    if (strcmp(call, name) == 0) return true;
  }
  return false;
}

struct pause_page *pause_new(int *fd) {
  *fd = memfd_create("pause", MFD_CLOEXEC);
  if (*fd < 0 || ftruncate(*fd, sizeof(struct pause_page)) != 0) return NULL;
  void *at = mmap(NULL, sizeof(struct pause_page), PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
  return at == MAP_FAILED ? NULL : at;
}

void pause_free(struct pause_page *it) { munmap(it, sizeof *it); }

void pause_arm(struct pause_page *it, pid_t tid, bool after, const char *call, long n) {
  atomic_store(&it->armed, false);
  it->after = after;
  it->tid = tid;
  it->left = n;
  snprintf(it->call, sizeof it->call, "%s", call);
  atomic_store(&it->armed, true);
}

void pause_unwatched(struct pause_page *it) { atomic_store(&it->unwatched, true); }
void pause_unticked(struct pause_page *it) { atomic_store(&it->unticked, true); }

static void here(const char *call, bool after) {
  if (!atomic_load(&page->armed) || page->after != after || strcmp(page->call, call) != 0 || page->tid != gettid() ||
      --page->left > 0)
    return;
  int saved = errno;
  atomic_store(&page->armed, false);
  raise(SIGSTOP);
  errno = saved;
}

static void name_range(char *name, size_t size, int command, const struct flock *range) {
  const char *verb = command == F_OFD_GETLK ? "ask" : range->l_type == F_UNLCK ? "unlock" : "lock";
  const char *place = "guard";
  if (range->l_len != 1) place = "all";
  else if (range->l_start >= COLOCKP_BYTE_UPGRADE) place = "upgrade";
  else if (range->l_start >= COLOCKP_BYTE_LANE) place = "lane";
  else if (range->l_start >= COLOCKP_BYTE_SLOT) place = "slot";
  snprintf(name, size, "%s_%s", verb, place);
}

static int pausing_fcntl_lock(int fd, int command, struct flock *range) {
  char name[24];
  if (!atomic_load(&page->armed)) return below.fcntl_lock(fd, command, range);
  name_range(name, sizeof name, command, range);
  here(name, false);
  int result = below.fcntl_lock(fd, command, range);
  here(name, true);
  return result;
}

/* The header is at the beginning of a page. */
static bool is_tick(const uint32_t *word, const struct timespec *relative) {
  return atomic_load(&page->unticked) && (uintptr_t)word % COLOCKP_PAGE == offsetof(struct colockp_header, recall) &&
         relative != NULL && (relative->tv_sec > 0 || relative->tv_nsec > LONG_NS);
}

#define PAUSING(result, name, parameters, arguments) \
  static result pausing_##name parameters { \
    here(#name, false); \
    result value = below.name arguments; \
    here(#name, true); \
    return value; \
  }
PAUSING(int, futex_wait, (uint32_t *word, uint32_t expected, const struct timespec *relative),
        (word, expected, is_tick(word, relative) ? NULL : relative))
PAUSING(int, futex_wake, (uint32_t *word, int count), (word, count))
PAUSING(int, fstat, (int fd, struct stat *st), (fd, st))
PAUSING(int, fstatat, (int directory, const char *path, struct stat *st, int flags), (directory, path, st, flags))
PAUSING(int, fdatasync, (int fd), (fd))
PAUSING(ssize_t, pread, (int fd, void *buffer, size_t size, off_t offset), (fd, buffer, size, offset))
PAUSING(int, openat, (int directory, const char *path, int flags, mode_t mode), (directory, path, flags, mode))
PAUSING(int, close, (int fd), (fd))
#undef PAUSING

static int pausing_inotify_init1(int flags) {
  if (!atomic_load(&page->unwatched)) return below.inotify_init1(flags);
  errno = EMFILE;
  return -1;
}

void pause_install(int fd) {
  void *at = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) return; /* then nobody can be paused */
  page = at;
  below = colockp_system;
  colockp_system.fcntl_lock = pausing_fcntl_lock;
  colockp_system.futex_wait = pausing_futex_wait;
  colockp_system.futex_wake = pausing_futex_wake;
  colockp_system.fstat = pausing_fstat;
  colockp_system.fstatat = pausing_fstatat;
  colockp_system.fdatasync = pausing_fdatasync;
  colockp_system.pread = pausing_pread;
  colockp_system.openat = pausing_openat;
  colockp_system.close = pausing_close;
  colockp_system.inotify_init1 = pausing_inotify_init1;
}

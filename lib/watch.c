/* watch.c - the thread that rings for those who died. See watch.h for the discipline.
 *
 * A region joins the list at its first begin and leaves it when it is unmapped. While it is in the list it may have a
 * descriptor of inotify's, that is, be watched: begin makes one, the thread drops it when nobody has waited for a
 * while. Begin counts itself, then looks at the descriptor; the thread takes the descriptor away, then looks at the
 * count: one of two sees the other, so that begin needs no mutex while the region is watched.
 *
 * The thread starts before the first region is watched and ends with the last in the list. Who starts or ends it may
 * not do so under the mutex, as opening and closing take the fork lock: meanwhile it is CHANGING and others wait. */
#define _GNU_SOURCE
#include "watch.h"
#include "clock.h"
#include "log.h"
#include "queue.h"
#include "range.h"
#include "recall.h"
#include "system.h"
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#define ROUNDS   7
#define LATE     2 /* by that round the kernel has dropped the locks of who died, unless he is large */
#define TICK_NS  INT64_C(1000000000)
#define STACK    ((size_t)128 * 1024)
#define CHANGES  (IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)
#define MASK     (IN_CLOSE | CHANGES)

enum { NONE, CHANGING, RUNNING };
enum { EVENTS, KICK };

/* From one round to the next. Not from the event on: on a busy machine the dying process is as late as we are. */
static const int64_t gap_ns[ROUNDS] = { 100000, 900000, 4000000, 20000000, 100000000, 475000000, 0 };

static void in_child(struct colockp_member *member);
static void forget(struct colockp_region *region);

static struct {
  struct colockp_member member;
  struct colockp_fd fds[2];       /* of who is CHANGING the state, constant while RUNNING */
  pthread_t thread;               /* as fds */
  _Atomic uint32_t state;         /* stored under the mutex; futex of those who wait for a change */
  bool ending;                    /* under the mutex */
  struct colockp_region *regions; /* under the mutex */
  _Atomic bool warned;
} watch = {
  .member = { .mutex = PTHREAD_MUTEX_INITIALIZER, .in_child = in_child }, .fds = { { .fd = -1 }, { .fd = -1 } }
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void join_members(void) { colockp_member_add(&watch.member); }

static void lock(void) { pthread_mutex_lock(&watch.member.mutex); }
static void unlock(void) { pthread_mutex_unlock(&watch.member.mutex); }

static void set_state(uint32_t state) {
  atomic_store(&watch.state, state);
  colockp_system.futex_wake((uint32_t *)&watch.state, INT_MAX);
}

/* What the child has of it is memory alone: no thread, and its copies of the descriptors are closed. */
static void in_child(struct colockp_member *member) {
  (void)member;
  for (struct colockp_region *region = watch.regions, *next; region; region = next) {
    next = region->watch.next;
    region->watch = (struct colockp_watched){ .waiters = 0 };
    atomic_store(&region->gone, NULL);
  }
  watch.regions = NULL;
  watch.state = NONE;
  watch.ending = false;
  watch.warned = false;
}

/* The thread looks at everything anew. An eventfd that nobody lets overflow takes every write. */
static void kick(void) {
  const uint64_t one = 1;
  while (colockp_system.write(watch.fds[KICK].fd, &one, sizeof one) < 0 && errno == EINTR)
    ;
}

/* ---- one region, under the mutex ---- */

/* Where there is no /proc, by its name, if that is still its name. */
static int add_by_path(const struct colockp_region *region) {
  struct stat st;
  if (colockp_system.fstatat(AT_FDCWD, region->path, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return -1;
  if (st.st_dev != region->device || st.st_ino != region->inode) {
    errno = ENOENT;
    return -1;
  }
  return colockp_system.inotify_add_watch(watch.fds[EVENTS].fd, region->path, MASK | IN_DONT_FOLLOW);
}

static int place(struct colockp_region *region) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", region->file.fd);
  int descriptor = colockp_system.inotify_add_watch(watch.fds[EVENTS].fd, path, MASK);
  if (descriptor < 0 && errno == ENOENT)
    descriptor = add_by_path(region);
  if (descriptor < 0)
    return errno;
  region->watch.due_ns = colockp_now_ns(); /* who has closed it already may not have dropped its lock yet */
  region->watch.rounds = ROUNDS;
  atomic_store(&region->watch.descriptor, descriptor);
  kick();
  return 0;
}

/* Regions on the same inode have the same descriptor. */
static void drop(int descriptor) {
  for (const struct colockp_region *region = watch.regions; region; region = region->watch.next)
    if (atomic_load(&region->watch.descriptor) == descriptor)
      return;
  colockp_system.inotify_rm_watch(watch.fds[EVENTS].fd, descriptor);
}

/* Once in a while: does anybody here still care? */
static void retire(struct colockp_region *region) {
  if (atomic_load(&region->watch.waiters) > 0)
    return;
  if (!atomic_exchange(&region->watch.idle, true))
    return;
  int descriptor = atomic_exchange(&region->watch.descriptor, 0);
  if (atomic_load(&region->watch.waiters) > 0) /* it may not have seen that */
    atomic_store(&region->watch.descriptor, descriptor);
  else
    drop(descriptor);
}

/* ---- the thread, under the mutex ---- */

static void ring(struct colockp_region *region, int64_t now_ns) {
  struct colockp_watched *w = &region->watch;
  bool changed = w->changed;
  unsigned round = ROUNDS - w->rounds--;
  w->changed = false;
  w->due_ns = now_ns + gap_ns[round];
  if (atomic_load(&w->waiters) == 0)
    return;
  if (changed) {
    colockp_queue_ring_all(region);
    return;
  }
  /* What is locked exclusively is no reason to wake anybody, but once: one of those in line may have died. */
  int fd = region->file.fd;
  uint32_t generation = colockp_region_generation(region);
  if (round == LATE || !generation ||
      colockp_range_taken(fd, COLOCKP_RANGE_SHARED, colockp_lane(generation), 1) != 1)
    colockp_queue_ring_front(region);
  colockp_recall_again(region);
}

static void note(const struct inotify_event *event, int64_t now_ns) {
  for (struct colockp_region *region = watch.regions; region; region = region->watch.next) {
    int descriptor = atomic_load(&region->watch.descriptor);
    bool overflow = event->mask & IN_Q_OVERFLOW;
    if (descriptor == 0 || (event->wd != descriptor && !overflow))
      continue;
    region->watch.rounds = ROUNDS;
    region->watch.due_ns = now_ns;
    if (overflow || event->mask & CHANGES)
      region->watch.changed = true;
    if (event->mask & IN_IGNORED) /* the kernel dropped it: unmounted */
      atomic_store(&region->watch.descriptor, 0);
  }
}

static void read_events(void) {
  _Alignas(struct inotify_event) char buffer[4096];
  ssize_t size = colockp_system.read(watch.fds[EVENTS].fd, buffer, sizeof buffer);
  int64_t now_ns = colockp_now_ns();
  for (ssize_t at = 0; at < size;) {
    const struct inotify_event *event = (const void *)(buffer + at);
    at += (ssize_t)(sizeof *event + event->len);
    note(event, now_ns);
  }
}

/* Do what is due. When the next thing is; INT64_MAX: nothing is watched. */
static int64_t turn(int64_t *tick_ns) {
  int64_t now_ns = colockp_now_ns(), next_ns = INT64_MAX;
  bool tick = now_ns >= *tick_ns;
  if (tick)
    *tick_ns = now_ns + TICK_NS;
  for (struct colockp_region *region = watch.regions; region; region = region->watch.next) {
    struct colockp_watched *w = &region->watch;
    if (w->rounds > 0 && w->due_ns <= now_ns)
      ring(region, now_ns);
    if (tick && atomic_load(&w->descriptor) != 0)
      retire(region);
    if (w->rounds > 0 && w->due_ns < next_ns)
      next_ns = w->due_ns;
    if (atomic_load(&w->descriptor) != 0 && *tick_ns < next_ns)
      next_ns = *tick_ns;
  }
  return next_ns;
}

/* ---- the thread, without the mutex ---- */

static struct timespec in_ns(int64_t ns) {
  ns = ns > 0 ? ns : 0;
  return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

/* If poll does not work (a program may have set its limit of descriptors to 0, or closed ours), a look each 10 ms will
 * do. */
static void sleep_until(int64_t until_ns, struct pollfd fds[2]) {
  struct timespec relative = in_ns(until_ns - colockp_now_ns());
  int ready = colockp_system.ppoll(fds, 2, until_ns == INT64_MAX ? NULL : &relative);
  if (ready >= 0 && !((fds[EVENTS].revents | fds[KICK].revents) & ~POLLIN))
    return;
  if (ready >= 0 || errno != EINTR) {
    uint32_t nobody = 0;
    relative = in_ns(10000000);
    colockp_system.futex_wait(&nobody, 0, &relative);
  }
  fds[EVENTS].revents = fds[KICK].revents = POLLIN; /* reading does not block */
}

static void *run(void *arg) {
  struct pollfd fds[2] = { { .revents = 0 } };
  int64_t tick_ns = 0;
  uint64_t kicks;
  for (;;) {
    lock();
    if (watch.ending)
      break;
    for (int i = 0; i < 2; i++) {
      fds[i].fd = watch.fds[i].fd;
      fds[i].events = POLLIN;
    }
    if (fds[KICK].revents)
      colockp_system.read(fds[KICK].fd, &kicks, sizeof kicks);
    if (fds[EVENTS].revents)
      read_events();
    int64_t next_ns = turn(&tick_ns);
    unlock();
    sleep_until(next_ns, fds);
  }
  unlock();
  return arg;
}

/* ---- its start and end, without the mutex ---- */

static int make_events(void) { return colockp_system.inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }
static int make_kick(void) { return colockp_system.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static void shut(int which) {
  if (watch.fds[which].fd >= 0)
    colockp_fd_close(&watch.fds[which]);
}

static int start(const char **step) {
  int error = colockp_fd_make(&watch.fds[EVENTS], make_events);
  *step = error == EMFILE ? "inotify_init1 (fs.inotify.max_user_instances, or the limit of descriptors)"
                          : "inotify_init1";
  if (error)
    return error;
  error = colockp_fd_make(&watch.fds[KICK], make_kick);
  *step = "eventfd";
  if (error == 0) {
    error = colockp_thread_start(&watch.thread, STACK, run, NULL);
    *step = "pthread_create";
  }
  if (error) {
    shut(KICK);
    shut(EVENTS);
  }
  return error;
}

/* The last close of an inotify descriptor that had a watch takes some ms, and ours happens under the fork lock. The
 * thread polls it: if it is closed before the thread is woken, the last close is that of the poll. */
static void end(void) {
  shut(EVENTS);
  kick();
  pthread_join(watch.thread, NULL);
  shut(KICK);
}

/* ---- what waiters call ---- */

/* Under the mutex, which is let go meanwhile. 0 when the thread runs. */
static int have_thread(const char **step) {
  while (watch.state != RUNNING) {
    bool mine = watch.state == NONE;
    int error = 0;
    if (mine)
      atomic_store(&watch.state, CHANGING);
    unlock();
    if (mine)
      error = start(step);
    else
      colockp_system.futex_wait((uint32_t *)&watch.state, CHANGING, NULL);
    lock();
    if (mine)
      set_state(error ? NONE : RUNNING);
    if (error)
      return error;
  }
  return 0;
}

static int watch_region(struct colockp_region *region, const char **step) {
  pthread_once(&once, join_members);
  lock();
  if (!atomic_load(&region->gone)) {
    region->watch.next = watch.regions;
    watch.regions = region;
    atomic_store(&region->gone, forget);
  }
  int error = have_thread(step);
  if (error == 0 && atomic_load(&region->watch.descriptor) == 0) {
    error = place(region);
    *step = error == ENOSPC ? "inotify_add_watch (fs.inotify.max_user_watches)" : "inotify_add_watch";
  }
  unlock();
  return error;
}

static void tell(const struct colockp_region *region, const char *step, int error) {
  char call[COLOCKP_QUOTED], why[COLOCKP_QUOTED];
  colockp_log(region->verbosity, COLOCKP_WARNING, region->path, "cannot_watch",
              "call=%s error=%s message=\"holders that die are noticed each retry_delay only\"",
              colockp_quote(call, sizeof call, step), colockp_quote(why, sizeof why, strerror(error)));
}

int colockp_watch_begin(struct colockp_region *region) {
  const char *step = NULL;
  atomic_fetch_add(&region->watch.waiters, 1);
  atomic_store_explicit(&region->watch.idle, false, memory_order_relaxed);
  if (atomic_load(&region->watch.descriptor) != 0)
    return 0;
  if (!region->header)
    return ENOTSUP;
  int error = watch_region(region, &step);
  if (error && region->verbosity >= COLOCKP_WARNING && !atomic_exchange(&watch.warned, true))
    tell(region, step, error);
  return error;
}

/* Not below 0: in a child that was forked in between nobody waits any more. */
void colockp_watch_end(struct colockp_region *region) {
  uint32_t waiters = atomic_load(&region->watch.waiters);
  while (waiters > 0 && !atomic_compare_exchange_weak(&region->watch.waiters, &waiters, waiters - 1))
    ;
}

/* The region is about to be unmapped. The thread looks at regions under the mutex alone. */
static void forget(struct colockp_region *region) {
  lock();
  struct colockp_region **link = &watch.regions;
  while (*link != region)
    link = &(*link)->watch.next;
  *link = region->watch.next;
  int descriptor = atomic_load(&region->watch.descriptor);
  if (descriptor != 0)
    drop(descriptor);
  bool last = !watch.regions && watch.state == RUNNING;
  if (last) {
    atomic_store(&watch.state, CHANGING);
    watch.ending = true;
  }
  unlock();
  if (!last)
    return;
  end();
  lock();
  watch.ending = false;
  set_state(NONE);
  unlock();
}

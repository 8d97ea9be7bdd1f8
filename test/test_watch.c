/* test_watch.c - who is killed rings nobody: the watch does it for him, in time, and costs nothing when nobody waits.
 *
 * Most tests publish a rank word of their own for slot 0 and listen to its bell, in the place of a waiter.
 */
#define _GNU_SOURCE
#include "watch.h"
#include "agent.h"
#include "clock.h"
#include "fault.h"
#include "queue.h"
#include "support.h"
#include "system.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SOON_MS 2000 /* what is a matter of a ms may take so long on a busy machine */

static int region_of(struct colockp_region **region, const char *path, const colock_config *config) {
  colockp_fork_count();
  return colockp_region_open(region, path, NULL, colockp_config_settings(config),
                             colockp_now_ns() + INT64_C(5000000000), COLOCKP_CREATE);
}

static struct colockp_region *open_region(const char *path) {
  struct colockp_region *region = NULL;
  colock_config *config = test_config("timeout", "5s", NULL);
  must(region_of(&region, path, config));
  colock_config_free(config);
  return region;
}

/* As if the owner of that slot waited, for its turn in the order of the slots. */
static void stand_in_line(struct colockp_region *region, uint32_t slot) {
  if (region->header->slots_in_use <= slot) region->header->slots_in_use = slot + 1;
  region->queue[slot].rank = (COLOCKP_KEY_BASE + slot) << COLOCKP_RANK_KEY_SHIFT | COLOCKP_RANK_EXCLUSIVE;
}

static bool rung(const struct colockp_region *region, uint32_t slot) {
  return (region->bells[slot] & COLOCKP_BELL_RUNG) != 0;
}

/* Sleep on that bell. False: silent for all that time. Clears it. */
static bool hear(struct colockp_region *region, uint32_t slot, int64_t ms) {
  int64_t limit = test_now_ms() + ms;
  while (!rung(region, slot)) {
    int64_t left = limit - test_now_ms();
    if (left <= 0) return false;
    struct timespec relative = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
    colockp_system_default.futex_wait((uint32_t *)&region->bells[slot], region->bells[slot], &relative);
  }
  region->bells[slot] = 0;
  return true;
}

static void touch(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  close(fd);
}

/* ---- what the thread does, seen through the table ---- */

static _Atomic uint32_t polls; /* begun; futex */
static _Atomic uint32_t polls_before_removal; /* of a watch, the last one */
static _Atomic long removals;
static _Atomic long writes, watches, asked, taken_answers;
static int failing_ppoll_errno;
static struct colockp_region *_Atomic observed; /* its slot 0 is rung, or not, in each turn of the thread */
static _Atomic int rings;
static _Atomic bool overflow;

static int seen_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *relative) {
  if (observed != NULL) rings += (atomic_exchange(&observed->bells[0], 0) & COLOCKP_BELL_RUNG) != 0;
  polls++;
  colockp_system_default.futex_wake((uint32_t *)&polls, INT_MAX);
  if (failing_ppoll_errno != 0) {
    errno = failing_ppoll_errno;
    return -1;
  }
  return colockp_system_default.ppoll(fds, count, relative);
}

static ssize_t seen_write(int fd, const void *buffer, size_t size) {
  writes++;
  return colockp_system_default.write(fd, buffer, size);
}

static int seen_add_watch(int fd, const char *path, uint32_t mask) {
  watches++;
  return colockp_system_default.inotify_add_watch(fd, path, mask);
}

static int seen_rm_watch(int fd, int descriptor) {
  polls_before_removal = polls;
  removals++;
  return colockp_system_default.inotify_rm_watch(fd, descriptor);
}

/* The first so many questions about the lane are answered as if a writer had it. */
static int slow_lock(int fd, int command, struct flock *range) {
  if (command != F_OFD_GETLK) return colockp_system_default.fcntl_lock(fd, command, range);
  asked++;
  range->l_type = F_UNLCK;
  if (taken_answers > 0) {
    taken_answers--;
    range->l_type = F_WRLCK;
  }
  return 0;
}

/* An event of the kernel's that it has lost events. */
static ssize_t overflowing_read(int fd, void *buffer, size_t size) {
  ssize_t n = colockp_system_default.read(fd, buffer, size);
  if (size <= sizeof(uint64_t) || n <= 0 || !overflow) return n;
  *(struct inotify_event *)buffer = (struct inotify_event){.wd = -1, .mask = IN_Q_OVERFLOW};
  return sizeof(struct inotify_event);
}

static void see(void) {
  colockp_system.ppoll = seen_ppoll;
  colockp_system.write = seen_write;
  colockp_system.inotify_add_watch = seen_add_watch;
  colockp_system.inotify_rm_watch = seen_rm_watch;
}

/* Until it has done all that is due and polls for more. */
static void await_quiet(const struct colockp_region *region) {
  int64_t limit = test_now_ms() + 20000;
  for (uint32_t seen = polls; region->watch.rounds > 0; seen = polls) {
    struct timespec relative = {.tv_sec = 0, .tv_nsec = 50000000};
    ck_assert_msg(test_now_ms() < limit, "the rounds of ringing do not end");
    colockp_system_default.futex_wait((uint32_t *)&polls, seen, &relative);
  }
}

static unsigned inotify_descriptors(void) {
  unsigned n = 0;
  for (int fd = 0; fd < 256; fd++) {
    char link[64], target[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, target, sizeof target - 1);
    if (size > 0) n += strncmp(target, "anon_inode:inotify", 18) == 0;
  }
  return n;
}

/* ---- ringing ---- */

START_TEST(death_of_the_holder_rings) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  struct colockp_region *region = open_region(path);
  see();
  stand_in_line(region, 1);
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  await_quiet(region);
  hear(region, 1, 0);
  agent_kill(holder);
  ck_assert(hear(region, 1, SOON_MS));
  colockp_watch_end(region);
  colockp_region_unref(region);
}
END_TEST

START_TEST(death_just_before_the_watch_began_rings) {
  struct colockp_region *region = open_region(test_path("a.lock"));
  stand_in_line(region, 0);
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  ck_assert(hear(region, 0, SOON_MS));
  colockp_watch_end(region);
  colockp_region_unref(region);
}
END_TEST

/* The event comes while the dying process still has its lock. */
START_TEST(lock_that_goes_after_the_event_rings) {
  const char *path = test_path("a.lock");
  struct colockp_region *region = open_region(path);
  see();
  stand_in_line(region, 0);
  colockp_system.fcntl_lock = slow_lock;
  observed = region;
  for (int taken = 0; taken <= 4; taken++) {
    asked = 0;
    rings = 0;
    taken_answers = taken;
    uint32_t before = polls;
    if (taken == 0) ck_assert_int_eq(colockp_watch_begin(region), 0);
    else touch(path);
    while (polls - before < 7) sched_yield();
    await_quiet(region);
    ck_assert_int_eq(asked, 6); /* in seven rounds; in one it rings in any case */
    ck_assert_int_eq(rings, 7 - taken);
  }
  observed = NULL;
  colockp_watch_end(region);
  colockp_region_unref(region);
}
END_TEST

START_TEST(nobody_is_rung_for_whom_nobody_here_waits) {
  const char *path = test_path("a.lock");
  struct colockp_region *region = open_region(path);
  see();
  stand_in_line(region, 0);
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  ck_assert(hear(region, 0, SOON_MS));
  colockp_watch_end(region);
  await_quiet(region);
  hear(region, 0, 0);
  uint32_t before = polls;
  touch(path);
  while (polls - before < 5) sched_yield(); /* it has seen it */
  await_quiet(region);
  ck_assert(!rung(region, 0));
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  touch(path);
  ck_assert(hear(region, 0, SOON_MS));
  colockp_watch_end(region);
  colockp_watch_end(region); /* one too many does no harm */
  ck_assert_uint_eq(region->watch.waiters, 0);
  colockp_region_unref(region);
}
END_TEST

/* A close rings some of those in line, what else can happen to the file all. */
START_TEST(changes_of_the_file_ring_everybody) {
  const char *path = test_path("a.lock");
  struct colockp_region *region = open_region(path);
  see();
  for (uint32_t slot = 0; slot < COLOCKP_FRONT + 2; slot++) stand_in_line(region, slot);
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  ck_assert(hear(region, 0, SOON_MS));
  await_quiet(region);
  hear(region, 0, 0);
  touch(path);
  ck_assert(hear(region, 0, SOON_MS));
  await_quiet(region);
  for (uint32_t slot = 0; slot < COLOCKP_FRONT + 2; slot++) ck_assert(hear(region, slot, 0) == (slot < COLOCKP_FRONT));
  switch (_i) {
    case 0: ck_assert_int_eq(rename(path, test_path("b.lock")), 0); break;
    case 1: ck_assert_int_eq(unlink(path), 0); break;
    case 2: test_make_lock(test_path("b.lock")); ck_assert_int_eq(rename(test_path("b.lock"), path), 0); break;
    case 3: ck_assert_int_eq(chmod(path, 0640), 0); break;
  }
  for (uint32_t slot = 0; slot < COLOCKP_FRONT + 2; slot++) ck_assert(hear(region, slot, SOON_MS));
  colockp_watch_end(region);
  colockp_region_unref(region);
}
END_TEST

START_TEST(lost_events_ring_everybody) {
  const char *path = test_path("a.lock");
  see();
  colockp_system.read = overflowing_read;
  struct colockp_region *region = open_region(path), *other = open_region(test_path("b.lock"));
  for (uint32_t slot = 0; slot <= COLOCKP_FRONT; slot++) {
    stand_in_line(region, slot);
    stand_in_line(other, slot);
  }
  ck_assert(colockp_watch_begin(region) == 0 && colockp_watch_begin(other) == 0);
  ck_assert(hear(region, 0, SOON_MS) && hear(other, 0, SOON_MS));
  await_quiet(region);
  await_quiet(other);
  overflow = true;
  touch(path);
  ck_assert(hear(region, COLOCKP_FRONT, SOON_MS));
  ck_assert(hear(other, COLOCKP_FRONT, SOON_MS));
  colockp_watch_end(region);
  colockp_watch_end(other);
  colockp_region_unref(region);
  colockp_region_unref(other);
}
END_TEST

/* Two descriptions of one file get the same number from inotify. */
START_TEST(two_regions_of_one_file_are_both_served) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  struct colockp_region *one = open_region(path), *two = open_region(path);
  see();
  stand_in_line(one, 1);
  ck_assert(colockp_watch_begin(one) == 0 && colockp_watch_begin(two) == 0);
  ck_assert_int_eq(one->watch.descriptor, two->watch.descriptor);
  await_quiet(one);
  await_quiet(two);
  colockp_watch_end(two);
  colockp_region_unref(two); /* and the other is still served */
  uint32_t before = polls;
  touch(path);
  while (polls - before < 5) sched_yield();
  await_quiet(one);
  ck_assert_int_ne(one->watch.descriptor, 0);
  hear(one, 1, 0);
  agent_kill(holder);
  ck_assert(hear(one, 1, SOON_MS));
  colockp_watch_end(one);
  colockp_region_unref(one);
}
END_TEST

/* As with a limit of descriptors that is set to 0: poll refuses. */
START_TEST(without_poll_it_looks_now_and_then) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  struct colockp_region *region = open_region(path);
  see();
  failing_ppoll_errno = EINVAL;
  stand_in_line(region, 1);
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  agent_kill(holder);
  ck_assert(hear(region, 1, SOON_MS));
  uint32_t before = polls;
  hear(region, 5, 100);
  ck_assert_uint_lt(polls - before, 50); /* no endless loop */
  colockp_watch_end(region);
  colockp_region_unref(region);
}
END_TEST

/* ---- what it costs ---- */

START_TEST(one_wait_after_another_makes_no_system_call) {
  struct colockp_region *region = open_region(test_path("a.lock"));
  see();
  fault_install();
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  colockp_watch_end(region);
  await_quiet(region);
  fault_die_at(0); /* count */
  uint32_t before = polls;
  for (int i = 0; i < 1000; i++) {
    ck_assert_int_eq(colockp_watch_begin(region), 0);
    colockp_watch_end(region);
  }
  long calls = fault_calls();
  ck_assert_msg(polls != before || calls == 0, "%ld calls", calls); /* unless the thread's second was over just then */
  ck_assert_int_le(calls, 4);
  fault_disarm();
  ck_assert_int_eq(watches, 1);
  ck_assert_int_eq(writes, 1);
  colockp_region_unref(region);
  fault_remove();
}
END_TEST

START_TEST(at_rest_no_event_wakes_it) {
  const char *path = test_path("a.lock");
  struct colockp_region *region = open_region(path);
  see();
  stand_in_line(region, 0);
  for (int turn = 0; turn < 2; turn++) {
    long before_removal = removals;
    ck_assert_int_eq(colockp_watch_begin(region), 0);
    ck_assert(hear(region, 0, SOON_MS));
    touch(path);
    ck_assert(hear(region, 0, SOON_MS));
    colockp_watch_end(region);
    /* Once more it wakes: for the kernel's word that the file is not watched any more. */
    await_that(removals > before_removal && polls >= polls_before_removal + 2);
    ck_assert_int_eq(region->watch.descriptor, 0);
    hear(region, 0, 0);
    uint32_t before = polls;
    for (int i = 0; i < 100; i++) touch(path);
    ck_assert(!hear(region, 0, 50));
    ck_assert_uint_eq(polls, before);
    ck_assert_int_eq(watches, turn + 1);
  }
  colockp_region_unref(region);
}
END_TEST

/* As long as somebody waits it stays, whatever the time. */
START_TEST(long_wait_is_watched_to_its_end) {
  const char *path = test_path("a.lock");
  struct colockp_region *region = open_region(path), *other = open_region(test_path("b.lock"));
  see();
  stand_in_line(region, 0);
  ck_assert(colockp_watch_begin(other) == 0 && colockp_watch_begin(region) == 0);
  colockp_watch_end(other);
  int64_t limit = test_now_ms() + 20000;
  while (other->watch.descriptor != 0) { /* nobody waits for this one: it goes after a second or two */
    ck_assert_msg(test_now_ms() < limit, "a file for which nobody waits is watched for ever");
    ck_assert(!hear(other, 5, 50));
  }
  hear(region, 0, 0);
  touch(path);
  ck_assert(hear(region, 0, SOON_MS));
  ck_assert_int_eq(watches, 2);
  colockp_watch_end(region);
  colockp_region_unref(region);
  colockp_region_unref(other);
}
END_TEST

/* ---- thread and descriptors ---- */

START_TEST(thread_and_descriptors_end_with_the_last_region) {
  unsigned threads = test_threads();
  struct colockp_region *one = open_region(test_path("a.lock")), *two = open_region(test_path("b.lock"));
  struct colockp_region *never = open_region(test_path("c.lock"));
  unsigned descriptors = test_descriptors();
  ck_assert_int_eq(colockp_watch_begin(one), 0);
  ck_assert_uint_eq(test_threads(), threads + 1);
  ck_assert_uint_eq(test_descriptors(), descriptors + 2);
  ck_assert_int_eq(colockp_watch_begin(two), 0);
  ck_assert_uint_eq(test_threads(), threads + 1);
  ck_assert_uint_eq(test_descriptors(), descriptors + 2);
  colockp_watch_end(one);
  colockp_watch_end(two);
  colockp_region_unref(one);
  ck_assert_uint_eq(test_descriptors(), descriptors + 2 - 2);
  colockp_region_unref(two);
  ck_assert_uint_eq(test_descriptors(), descriptors - 4);
  colockp_region_unref(never);
  one = open_region(test_path("a.lock")); /* and again */
  stand_in_line(one, 0);
  ck_assert_int_eq(colockp_watch_begin(one), 0);
  ck_assert(hear(one, 0, SOON_MS));
  colockp_watch_end(one);
  colockp_region_unref(one);
}
END_TEST

/* The mask of signals of that kind of each thread but the first. */
static uint64_t others_mask(const char *kind) {
  uint64_t mask = 0;
  DIR *tasks = opendir("/proc/self/task");
  for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
    char path[512], line[256];
    if (e->d_name[0] == '.' || atoi(e->d_name) == getpid()) continue;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", e->d_name);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
      if (strncmp(line, kind, strlen(kind)) == 0) mask = strtoull(line + strlen(kind) + 1, NULL, 16);
    }
    if (file != NULL) fclose(file);
  }
  closedir(tasks);
  return mask;
}

START_TEST(thread_takes_no_signal) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  struct colockp_region *region = open_region(test_path("a.lock"));
  stand_in_line(region, 0);
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  ck_assert(hear(region, 0, SOON_MS)); /* until it runs libc has them all blocked in any case */
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  for (int s = 1; s < SIGRTMIN; s++) ck_assert_int_eq(sigismember(&before, s), sigismember(&after, s));
  uint64_t blocked = others_mask("SigBlk:");
  for (int s = 1; s <= SIGRTMAX; s++) {
    if (s == SIGKILL || s == SIGSTOP || (s >= 32 && s < SIGRTMIN)) continue; /* those are libc's */
    ck_assert_msg(blocked >> (s - 1) & 1, "signal %d is not blocked", s);
  }
  colockp_watch_end(region);
  colockp_region_unref(region);
}
END_TEST

/* A process that dies closes its descriptors from the highest number down, and inotify's takes long. */
START_TEST(locks_are_on_higher_descriptors_than_the_watch) {
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  struct colockp_region *region = open_region(path);
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  int highest_watch = -1, lowest_seat = INT_MAX;
  for (int fd = 0; fd < 256; fd++) {
    char name[64], line[256];
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(name, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
      if (strncmp(line, "inotify wd:", 11) == 0) highest_watch = fd;
      if (strncmp(line, "lock:", 5) == 0 && fd < lowest_seat) lowest_seat = fd;
    }
    if (file != NULL) fclose(file);
  }
  ck_assert_int_ge(highest_watch, 0);
  ck_assert_int_lt(highest_watch, lowest_seat);
  ck_assert_int_lt(lowest_seat, INT_MAX);
  colockp_watch_end(region);
  colockp_region_unref(region);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

/* The walk over all locks of the process meets the watch, which is none. */
START_TEST(deadlock_is_found_beside_the_watch) {
  struct colockp_region *region = open_region(test_path("b.lock"));
  ck_assert_int_eq(colockp_watch_begin(region), 0);
  colock *lock = test_open(test_path("a.lock"));
  colock_hold *hold = NULL, *again = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must_be(COLOCK_EDEADLK, colock_acquire(lock, COLOCK_EXCLUSIVE, &again));
  must(colock_release(hold));
  colock_close(lock);
  colockp_watch_end(region);
  colockp_region_unref(region);
}
END_TEST

/* ---- fork ---- */

static struct colockp_region *parents;

static int watch_in_child(void *arg) {
  const char *path = arg;
  colockp_fork_count();
  if (test_threads() != 1 || inotify_descriptors() != 0) return 1;
  if (parents->watch.waiters != 0 || parents->watch.descriptor != 0) return 2;
  colockp_watch_end(parents); /* of a wait in which the parent forked */
  parents->bells[0] = 0;
  if (colockp_watch_begin(parents) != 0) return 3;
  if (test_threads() != 2 || inotify_descriptors() != 1) return 4;
  if (!hear(parents, 0, SOON_MS)) return 5;
  touch(path);
  if (!hear(parents, 0, SOON_MS)) return 6;
  colockp_watch_end(parents);
  colockp_region_unref(parents);
  return inotify_descriptors() == 0 ? 0 : 7;
}

START_TEST(child_begins_without_and_starts_its_own) {
  const char *path = test_path("a.lock");
  parents = open_region(path);
  stand_in_line(parents, 0);
  ck_assert_int_eq(colockp_watch_begin(parents), 0);
  ck_assert_int_eq(test_in_child(watch_in_child, (void *)(uintptr_t)path), 0);
  hear(parents, 0, 0);
  touch(path);
  ck_assert(hear(parents, 0, SOON_MS));
  colockp_watch_end(parents);
  colockp_region_unref(parents);
}
END_TEST

static int forget_in_child(void *arg) {
  (void)arg;
  colockp_fork_count();
  colockp_region_unref(parents);
  return 0;
}

START_TEST(child_may_forget_what_its_parent_watched) {
  parents = open_region(test_path("a.lock"));
  ck_assert_int_eq(colockp_watch_begin(parents), 0);
  ck_assert_int_eq(test_in_child(forget_in_child, NULL), 0);
  colockp_watch_end(parents);
  colockp_region_unref(parents);
}
END_TEST

static _Atomic bool stop;
static colock_config *config_of_threads;

/* Nothing of Check in here: its mutex, held by one of our threads, would be held for ever in a child. */
static int come_and_go_once(void *path) {
  struct colockp_region *region = NULL;
  if (region_of(&region, path, config_of_threads) != 0) return 1;
  int failed = 0;
  for (int i = 0; i < 3; i++) {
    failed |= colockp_watch_begin(region);
    colockp_watch_end(region);
  }
  colockp_region_unref(region);
  return failed ? 2 : 0;
}

static void *come_and_go(void *path) {
  while (!stop) {
    if (come_and_go_once(path) != 0) return "a thread could not watch";
  }
  return NULL;
}

/* Start and end of the thread, over and over, from two threads, amid forks. */
START_TEST(starts_and_ends_amid_forks) {
#ifdef __SANITIZE_ADDRESS__
  test_skip("the address sanitizer's own lists may stay locked in a child that is forked amid thread starts");
  return;
#endif
  pthread_t threads[2];
  const char *path = test_path("a.lock");
  test_make_lock(path);
  config_of_threads = test_config("timeout", "5s", NULL);
  stop = false;
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, (void *)(uintptr_t)path), 0);
  for (int i = 0; i < 40; i++) ck_assert_int_eq(test_in_child(come_and_go_once, (void *)(uintptr_t)path), 0);
  stop = true;
  for (int i = 0; i < 2; i++) {
    void *said = NULL;
    pthread_join(threads[i], &said);
    ck_assert_msg(said == NULL, "%s", (char *)said);
  }
  colock_config_free(config_of_threads);
}
END_TEST

/* ---- failures ---- */

static int once_through(void) {
  struct colockp_region *region = open_region(test_path("a.lock"));
  int error = colockp_watch_begin(region);
  stand_in_line(region, 0);
  region->bells[0] = 0;
  if (error == 0) { /* then it works, whatever has failed */
    ck_assert(hear(region, 0, SOON_MS)); /* as it begins */
    touch(test_path("a.lock"));
    ck_assert(hear(region, 0, SOON_MS));
  }
  colockp_watch_end(region);
  colockp_region_unref(region);
  return error;
}

static bool may_be_survived(enum fault_call call) {
  return call != FAULT_inotify_init1 && call != FAULT_eventfd && call != FAULT_inotify_add_watch &&
         call != FAULT_pthread_create && call != FAULT_fcntl_int;
}

/* True: that call was reached. */
static bool fails_at(enum fault_call call, long at, int errno_value) {
  unsigned threads = test_threads(), descriptors = test_descriptors();
  fault_fail_at(call, at, errno_value);
  int error = once_through();
  bool hit = fault_hit();
  fault_disarm();
  bool must_work = may_be_survived(call) || errno_value == EINVAL; /* a stack that is too small is made larger */
  ck_assert_msg(error == 0 || (hit && error == errno_value && !must_work), "%s call %ld: %s, then %s",
                fault_names[call], at, strerrorname_np(errno_value), strerrorname_np(error));
  int64_t limit = test_now_ms() + 5000; /* a joined thread leaves /proc a moment later */
  while (test_threads() != threads && test_now_ms() < limit) sched_yield();
  ck_assert_msg(test_threads() == threads && test_descriptors() == descriptors, "%s call %ld: a leak",
                fault_names[call], at);
  return hit;
}

START_TEST(every_step_may_fail_and_leaks_nothing) {
  static const enum fault_call calls[] = {FAULT_inotify_init1, FAULT_inotify_add_watch, FAULT_inotify_rm_watch,
                                          FAULT_eventfd, FAULT_read, FAULT_write, FAULT_ppoll, FAULT_pthread_create};
  test_make_lock(test_path("a.lock"));
  fault_install();
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
    int hits = 0;
    /* Once through may be over before the thread has come to its first read. */
    for (int tries = 0; tries == 0 || (hits == 0 && tries < 50); tries++)
      for (const int *e = fault_errnos(calls[c]); *e >= 0; e++)
        for (long at = 1; at <= 3; at++) hits += fails_at(calls[c], at, *e);
    ck_assert_msg(hits > 0, "%s was never failed", fault_names[calls[c]]);
  }
  fault_remove();
}
END_TEST

static unsigned lines_with(const char *part) {
  unsigned n = 0;
  for (const char *at = test_log(); (at = strstr(at, part)) != NULL; at++) n++;
  return n;
}

START_TEST(without_an_instance_it_says_so_once) {
  const char *path = test_path("a.lock");
  fault_install();
  struct colockp_region *region = open_region(path);
  for (int i = 0; i < 3; i++) {
    fault_fail_at(FAULT_inotify_init1, 1, EMFILE);
    ck_assert_int_eq(colockp_watch_begin(region), EMFILE);
    fault_disarm();
    colockp_watch_end(region);
  }
  ck_assert_uint_eq(lines_with("max_user_instances"), 1);
  ck_assert_uint_eq(lines_with("retry_delay"), 1);
  ck_assert_uint_eq(lines_with("a.lock"), 1);
  stand_in_line(region, 0);
  ck_assert_int_eq(colockp_watch_begin(region), 0); /* there is one again */
  ck_assert(hear(region, 0, SOON_MS));
  colockp_watch_end(region);
  colockp_region_unref(region);
  fault_remove();
}
END_TEST

static int without_proc(int fd, const char *path, uint32_t mask) {
  if (strncmp(path, "/proc/", 6) != 0) return colockp_system_default.inotify_add_watch(fd, path, mask);
  errno = ENOENT;
  return -1;
}

START_TEST(without_proc_the_name_is_watched_if_it_is_still_ours) {
  const char *path = test_path("a.lock");
  struct colockp_region *region = open_region(path);
  colockp_system.inotify_add_watch = without_proc;
  stand_in_line(region, 0);
  if (_i == 0) {
    ck_assert_int_eq(colockp_watch_begin(region), 0);
    hear(region, 0, 30);
    touch(path);
    ck_assert(hear(region, 0, SOON_MS));
  } else {
    ck_assert_int_eq(rename(path, test_path("b.lock")), 0);
    if (_i == 2) test_make_lock(path);
    ck_assert_int_eq(colockp_watch_begin(region), ENOENT);
  }
  colockp_watch_end(region);
  colockp_region_unref(region);
}
END_TEST

/* ---- through the whole library: nobody polls for 10 s ---- */

static struct agent *open_patient(const char *path) {
  struct agent *agent = agent_start();
  ck_assert_int_eq(agent_call(agent, "open %s retry_delay=10s", agent_word(path)), COLOCK_OK);
  return agent;
}

static void must_have_it_soon(struct agent *waiter, int64_t since_ms) {
  ck_assert_int_eq(agent_answer(waiter), COLOCK_OK);
  int64_t took = test_now_ms() - since_ms;
  ck_assert_msg(took < SOON_MS, "it took %d ms", (int)took);
}

START_TEST(waiter_has_the_lock_of_a_killed_holder_at_once) {
  static const char modes[][2] = {{'x', 'x'}, {'x', 's'}, {'s', 'x'}};
  const char *path = test_path("a.lock");
  struct agent *first = open_patient(path), *holder = open_patient(path), *waiter = open_patient(path);
  ck_assert_int_eq(agent_call(first, "acquire x 20000"), COLOCK_OK);
  agent_send(holder, "acquire %c 20000", modes[_i][0]); /* he has waited, and watches, too */
  test_await_waiters(path, 1);
  ck_assert_int_eq(agent_call(first, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(holder), COLOCK_OK);
  agent_send(waiter, "acquire %c 20000", modes[_i][1]);
  test_await_waiters(path, 1);
  int64_t before = test_now_ms();
  agent_kill(holder);
  must_have_it_soon(waiter, before);
}
END_TEST

/* Nobody knows the process that has the last copy: only the file says that it was closed. */
START_TEST(waiter_has_the_lock_of_an_inherited_copy_at_once) {
  const char *path = test_path("a.lock");
  struct agent *holder = open_patient(path), *waiter = open_patient(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 20000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "inherit 0 1"), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "fork_live"), COLOCK_OK);
  pid_t copy = (pid_t)holder->number;
  agent_send(waiter, "acquire x 20000");
  test_await_waiters(path, 1);
  agent_kill(holder);
  ck_assert(test_lane_taken(path) && !agent_answered(waiter));
  int64_t before = test_now_ms();
  kill(copy, SIGKILL);
  must_have_it_soon(waiter, before);
}
END_TEST

/* Asleep, with nothing to do for some seconds unless it is rung. */
static void await_watcher(const char *path) {
  const uint32_t asleep = COLOCKP_BELL_WATCH | COLOCKP_BELL_ASLEEP;
  int64_t limit = test_now_ms() + 20000;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  for (bool found = false; !found; sched_yield()) {
    uint32_t bells[COLOCKP_SLOTS_MIN];
    ck_assert_int_eq(pread(fd, bells, sizeof bells, COLOCKP_AT_BELLS), sizeof bells);
    for (size_t i = 0; i < COLOCKP_SLOTS_MIN; i++) found |= bells[i] == asleep;
    ck_assert(test_now_ms() < limit);
  }
  close(fd);
}

/* It starts over on the new file, which nobody holds. */
START_TEST(waiter_notices_at_once_that_the_file_was_deleted) {
  const char *path = test_path("a.lock");
  struct agent *holder = open_patient(path), *waiter = open_patient(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 20000"), COLOCK_OK);
  agent_send(waiter, "acquire x 20000");
  await_watcher(path);
  int64_t before = test_now_ms();
  ck_assert_int_eq(unlink(path), 0);
  must_have_it_soon(waiter, before);
}
END_TEST

static struct agent *doomed;

static int kill_the_holder(const colock_report *who, int64_t waited_ms, void *arg) {
  (void)who, (void)waited_ms, (void)arg;
  if (doomed != NULL) agent_kill(doomed);
  doomed = NULL;
  return 0;
}

static int no_instance(int flags) {
  (void)flags;
  errno = EMFILE;
  return -1;
}

/* In this process, whose descriptors and threads the fixture counts. */
START_TEST(death_is_noticed_with_an_instance_and_without) {
  const char *path = test_path("a.lock");
  doomed = agent_open(path);
  ck_assert_int_eq(agent_call(doomed, "acquire x 5000"), COLOCK_OK);
  if (_i == 1) colockp_system.inotify_init1 = no_instance;
  colock *lock = NULL;
  colock_hold *hold = NULL;
  colock_request request;
  colock_config *config = test_config("retry_delay", _i == 1 ? "100ms" : "10s", "notify_after", "50ms", NULL);
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = 20000;
  request.on_wait = kill_the_holder;
  int64_t before = test_now_ms();
  must(colock_acquire_with(lock, &request, &hold));
  ck_assert_int_lt(test_now_ms() - before, SOON_MS);
  ck_assert_ptr_null(doomed);
  ck_assert_uint_eq(lines_with("max_user_instances"), _i == 1 ? 1 : 0);
  ck_assert_uint_eq(inotify_descriptors(), _i == 1 ? 0 : 1);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "ring", 60);
  tcase_add_test(tcase, death_of_the_holder_rings);
  tcase_add_test(tcase, death_just_before_the_watch_began_rings);
  tcase_add_test(tcase, lock_that_goes_after_the_event_rings);
  tcase_add_test(tcase, nobody_is_rung_for_whom_nobody_here_waits);
  tcase_add_loop_test(tcase, changes_of_the_file_ring_everybody, 0, 4);
  tcase_add_test(tcase, lost_events_ring_everybody);
  tcase_add_test(tcase, two_regions_of_one_file_are_both_served);
  tcase_add_test(tcase, without_poll_it_looks_now_and_then);
  tcase = test_case(suite, "cost", 60);
  tcase_add_test(tcase, one_wait_after_another_makes_no_system_call);
  tcase_add_test(tcase, at_rest_no_event_wakes_it);
  tcase_add_test(tcase, long_wait_is_watched_to_its_end);
  tcase = test_case(suite, "thread", 60);
  tcase_add_test(tcase, thread_and_descriptors_end_with_the_last_region);
  tcase_add_test(tcase, locks_are_on_higher_descriptors_than_the_watch);
  tcase_add_test(tcase, deadlock_is_found_beside_the_watch);
  tcase = test_case(suite, "signals", 60);
  tcase_set_tags(tcase, "native"); /* valgrind keeps the last one for itself */
  tcase_add_test(tcase, thread_takes_no_signal);
  tcase = test_case(suite, "fork", 60);
  tcase_set_tags(tcase, "native child_threads");
  tcase_add_test(tcase, child_begins_without_and_starts_its_own);
  tcase_add_test(tcase, child_may_forget_what_its_parent_watched);
  tcase_add_test(tcase, starts_and_ends_amid_forks);
  tcase = test_case(suite, "fail", 120);
  tcase_add_test(tcase, every_step_may_fail_and_leaks_nothing);
  tcase_add_test(tcase, without_an_instance_it_says_so_once);
  tcase_add_loop_test(tcase, without_proc_the_name_is_watched_if_it_is_still_ours, 0, 3);
  tcase = test_case(suite, "whole", 60);
  tcase_add_loop_test(tcase, waiter_has_the_lock_of_a_killed_holder_at_once, 0, 3);
  tcase_add_test(tcase, waiter_has_the_lock_of_an_inherited_copy_at_once);
  tcase_add_test(tcase, waiter_notices_at_once_that_the_file_was_deleted);
  tcase_add_loop_test(tcase, death_is_noticed_with_an_instance_and_without, 0, 2);
}

int main(int argc, char **argv) { return test_main(argc, argv, "watch", fill); }

/* test_waiting.c - waits that do not block: granted at once or later, in vain, freed at any stage, forked, failing. */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "layout.h"
#include "lock.h"
#include "support.h"
#include "system.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SOON_MS 30000

static const char *path;
static struct agent *holder; /* another process, whose hold 0 is in the way */
static colock *lock;
static colock_request request;

static void have_lock(const char *key, const char *value) {
  path = test_path("a.lock");
  lock = test_open_set(path, key, value);
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = COLOCK_FOREVER;
}

static void have_holder(const char *mode) {
  holder = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire %s 5000", mode), COLOCK_OK);
}

static void have_both(const char *mode) {
  have_lock("timeout", "10s");
  have_holder(mode);
}

static colock_wait *start(void) {
  colock_wait *wait = NULL;
  must(colock_wait_start(lock, &request, &wait));
  ck_assert_ptr_nonnull(wait);
  return wait;
}

static bool readable(const colock_wait *wait, int ms) {
  struct pollfd event = {.fd = colock_wait_fd(wait), .events = POLLIN};
  ck_assert_int_ge(poll(&event, 1, ms), 0);
  ck_assert_int_eq(event.revents & ~POLLIN, 0);
  return event.revents != 0;
}

/* What an event loop does: sleep on the descriptor, step, until it has ended. */
static int finish(colock_wait *wait, colock_hold **hold) {
  for (;;) {
    ck_assert_msg(readable(wait, SOON_MS), "the wait never became readable");
    int code = colock_wait_step(wait, hold);
    ck_assert_msg(readable(wait, 0) == (code != COLOCK_EBUSY), "readable after a step that said %d", code);
    if (code != COLOCK_EBUSY) return code;
  }
}

static colock_hold *finish_granted(colock_wait *wait) {
  colock_hold *hold = NULL;
  must(finish(wait, &hold));
  ck_assert_ptr_nonnull(hold);
  return hold;
}

static void holder_lets_go(void) { ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK); }

/* Nobody of this process has it or stands in line: another one gets it. */
static void is_free(void) {
  struct agent *other = agent_open(path);
  ck_assert_int_eq(agent_call(other, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  ck_assert_uint_eq(test_waiters(path), 0);
}

static void is_taken(void) {
  struct agent *other = agent_open(path);
  ck_assert_int_eq(agent_call(other, "try s"), COLOCK_EBUSY);
}

/* ---- granted ---- */

START_TEST(what_is_free_is_granted_at_once_without_a_thread) {
  have_lock("timeout", "10s");
  unsigned threads = test_threads();
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    request.mode = mode;
    colock_wait *wait = start();
    ck_assert_uint_eq(test_threads(), threads);
    ck_assert(readable(wait, 0));
    colock_hold *hold = NULL, *other = NULL;
    must(colock_wait_step(wait, &hold));
    must_be(COLOCK_EINVAL, colock_wait_step(wait, &other));
    ck_assert_ptr_null(other);
    ck_assert(readable(wait, 0)); /* for good */
    colock_wait_free(wait);
    must(colock_check(hold)); /* it is ours, not the wait's */
    ck_assert_int_eq(colock_token(hold) != 0, mode == COLOCK_EXCLUSIVE);
    if (mode == COLOCK_EXCLUSIVE) is_taken();
    must(colock_release(hold));
  }
  is_free();
  colock_close(lock);
}
END_TEST

START_TEST(lock_that_is_not_enabled_is_granted_at_once) {
  have_lock("enabled", "false");
  colock_wait *wait = start(), *second = start();
  must(colock_release(finish_granted(wait)));
  must(colock_release(finish_granted(second)));
  colock_wait_free(wait);
  colock_wait_free(second);
  colock_close(lock);
}
END_TEST

START_TEST(granted_once_another_process_releases) {
  have_both("x");
  colock_wait *wait = start();
  colock_hold *hold = NULL;
  int fd = colock_wait_fd(wait);
  test_await_waiters(path, 1);
  ck_assert(!readable(wait, 0));
  for (int i = 0; i < 3; i++) must_be(COLOCK_EBUSY, colock_wait_step(wait, &hold));
  ck_assert_ptr_null(hold);
  ck_assert(!readable(wait, 0));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "a.lock"));
  holder_lets_go();
  hold = finish_granted(wait);
  ck_assert_int_eq(colock_wait_fd(wait), fd);
  must(colock_check(hold));
  ck_assert_uint_eq(colock_token(hold), colock_last_token(hold) + 1);
  is_taken();
  colock_wait_free(wait);
  must(colock_release(hold));
  is_free();
  colock_close(lock);
}
END_TEST

/* One thread serves them all; edge-triggered, which asks most of the descriptors. */
START_TEST(many_waits_in_one_loop_are_granted_in_order) {
  enum { COUNT = 24 };
  colock_wait *waits[COUNT];
  have_both("x");
  int loop = epoll_create1(EPOLL_CLOEXEC);
  for (uint32_t i = 0; i < COUNT; i++) {
    waits[i] = start();
    test_await_waiters(path, i + 1);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = i};
    ck_assert_int_eq(epoll_ctl(loop, EPOLL_CTL_ADD, colock_wait_fd(waits[i]), &event), 0);
  }
  holder_lets_go();
  for (uint32_t granted = 0; granted < COUNT;) {
    struct epoll_event event;
    colock_hold *hold = NULL;
    ck_assert_int_eq(epoll_wait(loop, &event, 1, SOON_MS), 1);
    int code = colock_wait_step(waits[event.data.u32], &hold);
    if (code == COLOCK_EBUSY) continue;
    ck_assert_int_eq(code, COLOCK_OK);
    ck_assert_uint_eq(event.data.u32, granted++);
    must(colock_release(hold));
    colock_wait_free(waits[event.data.u32]);
  }
  close(loop);
  is_free();
  colock_close(lock);
}
END_TEST

START_TEST(readers_that_wait_are_granted_together) {
  colock_wait *waits[4];
  colock_hold *holds[4];
  have_both("x");
  request.mode = COLOCK_SHARED;
  for (unsigned i = 0; i < 4; i++) waits[i] = start();
  test_await_waiters(path, 4);
  holder_lets_go();
  for (int i = 0; i < 4; i++) holds[i] = finish_granted(waits[i]);
  for (int i = 0; i < 4; i++) {
    ck_assert_uint_eq(colock_token(holds[i]), 0);
    must(colock_release(holds[i]));
    colock_wait_free(waits[i]);
  }
  is_free();
  colock_close(lock);
}
END_TEST

static const colock_entry *entry_of(const colock_report *report, int role) {
  for (size_t i = 0; i < colock_report_count(report); i++) {
    const colock_entry *entry = colock_report_entry(report, i);
    if (colock_entry_number(entry, COLOCK_ROLE) == role && colock_entry_number(entry, COLOCK_PID) == getpid())
      return entry;
  }
  return NULL;
}

/* The request may go as soon as the wait has begun. */
START_TEST(request_is_copied_and_reports_show_it) {
  have_both("x");
  char purpose[] = "to see it";
  request.purpose = purpose;
  request.priority = 7;
  colock_wait *wait = start();
  memset(purpose, 'x', sizeof purpose - 1);
  memset(&request, 0xff, sizeof request);
  test_await_waiters(path, 1);
  colock_report *report = NULL;
  colock_hold *hold = NULL;
  for (int role = COLOCK_WAITER;; role = COLOCK_HOLDER) {
    must(colock_report_read(path, &report));
    const colock_entry *entry = entry_of(report, role);
    ck_assert_ptr_nonnull(entry);
    ck_assert_str_eq(colock_entry_text(entry, COLOCK_PURPOSE), "to see it");
    ck_assert_int_eq(colock_entry_number(entry, COLOCK_PRIORITY), 7);
    ck_assert_int_eq(colock_entry_number(entry, COLOCK_MODE), COLOCK_EXCLUSIVE);
    /* The thread that waited is no more. */
    if (role == COLOCK_HOLDER) ck_assert_int_eq(colock_entry_number(entry, COLOCK_TID), syscall(SYS_gettid));
    colock_report_free(report);
    if (role == COLOCK_HOLDER) break;
    holder_lets_go();
    hold = finish_granted(wait);
    colock_wait_free(wait);
  }
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

/* A loop that waits for itself comes to the release all the same: no deadlock. */
START_TEST(its_holds_count_for_no_thread) {
  have_lock("timeout", "10s");
  colock_hold *first = NULL, *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &first));
  colock_wait *wait = start();
  test_await_waiters(path, 1);
  must(colock_release(first));
  hold = finish_granted(wait);
  colock_wait_free(wait);
  for (int at_once = 0; at_once < 2; at_once++) {
    request.timeout_ms = 30;
    must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &first));
    must(colock_release(hold));
    wait = start();
    hold = finish_granted(wait);
    colock_wait_free(wait);
  }
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(hold_outlives_wait_and_lock) {
  have_both("x");
  colock_wait *wait = start();
  test_await_waiters(path, 1);
  holder_lets_go();
  colock_hold *hold = finish_granted(wait);
  colock_wait_free(wait);
  colock_close(lock);
  must(colock_check(hold));
  is_taken();
  must(colock_release(hold));
  is_free();
}
END_TEST

/* ---- in vain ---- */

/* It says so at each step, with the message of the thread that waited, and stays readable. */
static void has_failed(colock_wait *wait, int code, const char *part) {
  colock_hold *untouched = NULL;
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(finish(wait, &untouched), code);
    ck_assert_msg(strstr(colock_last_message(), "a.lock") && strstr(colock_last_message(), part), "%s",
                  colock_last_message());
    ck_assert_ptr_null(untouched);
    must_be(COLOCK_EINVAL, colock_wait_step(NULL, &untouched)); /* another message in between */
  }
  colock_wait_free(wait);
  ck_assert_uint_eq(test_waiters(path), 0);
}

START_TEST(time_counts_from_the_start_and_the_message_names_the_holder) {
  char pid[32];
  have_lock("timeout", "80ms");
  have_holder("s");
  snprintf(pid, sizeof pid, "[%d]", (int)holder->pid);
  for (int way = 0; way < 4; way++) {
    struct timespec now;
    int64_t before = test_now_ms();
    clock_gettime(CLOCK_MONOTONIC, &now);
    request.timeout_ms = way == 0 ? COLOCK_CONFIGURED : way == 1 ? 80 : COLOCK_FOREVER;
    request.deadline_ns = way >= 2 ? now.tv_sec * INT64_C(1000000000) + now.tv_nsec + 80000000 : 0;
    if (way == 3) request.deadline_ns = 1; /* long over */
    colock_wait *wait = start();
    has_failed(wait, COLOCK_ETIMEDOUT, pid);
    if (way != 3) ck_assert_int_ge(test_now_ms() - before, 79);
  }
  colock_close(lock);
}
END_TEST

START_TEST(who_does_not_wait_is_told_at_the_start) {
  colock_wait *wait = NULL;
  have_lock("timeout", "0");
  have_holder("x");
  for (int way = 0; way < 2; way++) {
    request.timeout_ms = way == 0 ? COLOCK_NOWAIT : COLOCK_CONFIGURED;
    must_be(COLOCK_EBUSY, colock_wait_start(lock, &request, &wait));
    ck_assert_ptr_null(wait);
  }
  holder_lets_go();
  wait = start();
  must(colock_release(finish_granted(wait)));
  colock_wait_free(wait);
  colock_close(lock);
}
END_TEST

START_TEST(cancel_of_the_lock_ends_its_waits) {
  have_both("x");
  colock_wait *wait = start(), *second = start();
  test_await_waiters(path, 2);
  colock_cancel(lock, 1);
  ck_assert(readable(second, SOON_MS));
  has_failed(wait, COLOCK_ECANCELED, "cancel");
  has_failed(second, COLOCK_ECANCELED, "cancel");
  wait = start(); /* would have to wait */
  has_failed(wait, COLOCK_ECANCELED, "cancel");
  holder_lets_go();
  wait = start();
  must(colock_release(finish_granted(wait)));
  colock_wait_free(wait);
  colock_close(lock);
}
END_TEST

static int no_locks(int fd, int command, struct flock *range) {
  (void)fd, (void)command, (void)range;
  errno = ENOLCK;
  return -1;
}

START_TEST(what_fails_at_the_start_is_told_by_the_first_step) {
  have_lock("timeout", "10s");
  unsigned threads = test_threads();
  colockp_system.fcntl_lock = no_locks;
  colock_wait *wait = start();
  colockp_system.fcntl_lock = colockp_system_default.fcntl_lock;
  ck_assert_uint_eq(test_threads(), threads);
  ck_assert(readable(wait, 0));
  colock_hold *hold = NULL;
  must_be(COLOCK_ENOLOCKS, colock_wait_step(wait, &hold));
  ck_assert_int_eq(colock_last_errno(), ENOLCK);
  has_failed(wait, COLOCK_ENOLOCKS, "lock");
  colock_close(lock);
}
END_TEST

START_TEST(command_of_colock_run_is_told_that_it_waits_for_its_parent) {
  char id[64];
  have_lock("timeout", "10s");
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_hold_id(hold, id, sizeof id));
  setenv("COLOCK_FILE", path, 1);
  setenv("COLOCK_HOLD", id, 1);
  colock *first = lock;
  lock = test_open(path);
  has_failed(start(), COLOCK_EDEADLK, "colock run");
  colock_close(lock);
  must(colock_release(hold));
  colock_close(first);
}
END_TEST

START_TEST(file_that_is_replaced_is_waited_for_anew) {
  have_both("x");
  colock_wait *wait = start();
  test_await_waiters(path, 1);
  ck_assert_int_eq(unlink(path), 0);
  colock_hold *hold = finish_granted(wait); /* on the new file, which the old holder does not have */
  must(colock_check(hold));
  is_taken();
  must(colock_release(hold));
  colock_wait_free(wait);
  colock_close(lock);
}
END_TEST

START_TEST(wrong_arguments_are_refused) {
  have_lock("timeout", "10s");
  colock_wait *wait = NULL;
  colock_hold *hold = NULL;
  must_be(COLOCK_EINVAL, colock_wait_start(NULL, &request, &wait));
  must_be(COLOCK_EINVAL, colock_wait_start(lock, NULL, &wait));
  must_be(COLOCK_EINVAL, colock_wait_start(lock, &request, NULL));
  colock_request good = request;
  for (int i = 0; i < 6; i++) {
    request = good;
    if (i == 0) request.size--;
    if (i == 1) request.mode = 3;
    if (i == 2) request.flags = 2;
    if (i == 3) request.priority = 101;
    if (i == 4) request.deadline_ns = -1;
    if (i == 5) request.timeout_ms = -3;
    must_be(COLOCK_EINVAL, colock_wait_start(lock, &request, &wait));
  }
  ck_assert_ptr_null(wait);
  request = good;
  request.flags = COLOCK_INTERRUPTIBLE; /* without a meaning, but not wrong */
  wait = start();
  must_be(COLOCK_EINVAL, colock_wait_step(NULL, &hold));
  must_be(COLOCK_EINVAL, colock_wait_step(wait, NULL));
  must(colock_release(finish_granted(wait)));
  colock_wait_free(wait);
  colock_close(lock);
}
END_TEST

/* ---- on_wait ---- */

static struct {
  pthread_t thread;
  int calls, answer;
  int64_t waited_ms, holders;
  bool release; /* the holder lets go while it is called, and we are granted, too late */
} told;

static int on_wait(const colock_report *who, int64_t waited_ms, void *arg) {
  ck_assert_ptr_eq(arg, &told);
  ck_assert(pthread_equal(pthread_self(), told.thread));
  ck_assert_int_ge(waited_ms, told.waited_ms);
  told.calls++;
  told.waited_ms = waited_ms;
  told.holders = colock_report_stat(who, "holders");
  if (!told.release) return told.answer;
  holder_lets_go();
  test_await_waiters(path, 0);
  ck_assert(test_lane_taken(path));
  return told.answer;
}

static colock_wait *start_telling(void) {
  have_lock("notify_after", "20ms");
  have_holder("x");
  memset(&told, 0, sizeof told);
  told.thread = pthread_self();
  request.on_wait = on_wait;
  request.on_wait_arg = &told;
  return start();
}

START_TEST(on_wait_is_called_by_the_step) {
  colock_wait *wait = start_telling();
  colock_hold *hold = NULL;
  for (int i = 1; i <= 3; i++) {
    ck_assert(readable(wait, SOON_MS));
    ck_assert_int_eq(told.calls, i - 1); /* by nobody else */
    must_be(COLOCK_EBUSY, colock_wait_step(wait, &hold));
    ck_assert_int_eq(told.calls, i);
    ck_assert_int_ge(told.waited_ms, 20 << (i - 1));
    ck_assert_int_eq(told.holders, 1);
    must_be(COLOCK_EBUSY, colock_wait_step(wait, &hold));
    ck_assert_int_eq(told.calls, i);
  }
  holder_lets_go();
  must(colock_release(finish_granted(wait)));
  colock_wait_free(wait);
  colock_close(lock);
}
END_TEST

START_TEST(on_wait_that_says_no_ends_the_wait) {
  colock_wait *wait = start_telling();
  told.answer = 1;
  test_await_waiters(path, 1);
  ck_assert(readable(wait, SOON_MS));
  colock_hold *hold = NULL;
  must_be(COLOCK_ECANCELED, colock_wait_step(wait, &hold));
  test_await_waiters(path, 0);
  has_failed(wait, COLOCK_ECANCELED, "on_wait");
  ck_assert_int_eq(told.calls, 1);
  colock_close(lock);
}
END_TEST

START_TEST(what_is_granted_while_on_wait_says_no_is_given_back) {
  colock_wait *wait = start_telling();
  told.answer = told.release = true;
  test_await_waiters(path, 1);
  ck_assert(readable(wait, SOON_MS));
  colock_hold *hold = NULL;
  must_be(COLOCK_ECANCELED, colock_wait_step(wait, &hold));
  is_free(); /* now, not when the wait is freed */
  has_failed(wait, COLOCK_ECANCELED, "on_wait");
  colock_close(lock);
}
END_TEST

/* ---- freed ---- */

enum { AT_ONCE, IN_LINE, GRANTED, HANDED_OUT, FAILED, STAGES };

START_TEST(wait_may_be_freed_at_any_stage) {
  have_both("x");
  if (_i == FAILED) request.timeout_ms = 1;
  colock_wait *wait = start();
  colock_hold *hold = NULL;
  if (_i != AT_ONCE && _i != FAILED) test_await_waiters(path, 1);
  if (_i == FAILED) ck_assert_int_eq(finish(wait, &hold), COLOCK_ETIMEDOUT);
  if (_i == GRANTED || _i == HANDED_OUT) holder_lets_go();
  if (_i == GRANTED) ck_assert(readable(wait, SOON_MS));
  if (_i == HANDED_OUT) hold = finish_granted(wait);
  colock_wait_free(wait);
  ck_assert_uint_eq(test_waiters(path), 0);
  if (_i != GRANTED && _i != HANDED_OUT) holder_lets_go();
  if (hold) is_taken();
  if (hold) must(colock_release(hold));
  is_free();
  colock_wait_free(NULL);
  colock_close(lock);
}
END_TEST

static struct {
  void *(*body)(void *arg);
  void *arg;
} gated; /* a thread that begins only when its wait is being freed */
static _Atomic bool gate;

static void *begin_late(void *arg) {
  (void)arg;
  while (!gate) sched_yield();
  return gated.body(gated.arg);
}

static int create_gated(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *arg), void *arg) {
  gated.body = body;
  gated.arg = arg;
  return pthread_create(thread, attributes, begin_late, NULL);
}

static int wake_and_open(uint32_t *word, int count) {
  gate = true;
  return colockp_system_default.futex_wake(word, count);
}

/* Whoever is told of a request is told of its end too. */
START_TEST(wait_that_is_freed_before_its_thread_has_begun_is_told_as_canceled) {
  have_lock("verbosity", "debug");
  have_holder("x");
  colockp_system.pthread_create = create_gated;
  colock_wait *wait = start();
  colockp_system.pthread_create = colockp_system_default.pthread_create;
  ck_assert_ptr_null(strstr(test_log(), "event=canceled"));
  colockp_system.futex_wake = wake_and_open;
  colock_wait_free(wait);
  colockp_system.futex_wake = colockp_system_default.futex_wake;
  const char *line = strstr(test_log(), "event=canceled");
  ck_assert_msg(line && !strstr(line + 1, "event=canceled"), "%s", test_log());
  ck_assert_msg(strstr(line, "mode=exclusive waited_ms=0") && strstr(line, "the wait was canceled"), "%s", line);
  holder_lets_go();
  is_free();
  colock_close(lock);
}
END_TEST

START_TEST(hold_that_nobody_took_is_released) {
  have_lock("timeout", "10s");
  colock_wait *wait = start();
  is_taken();
  colock_wait_free(wait);
  is_free();
  colock_close(lock);
}
END_TEST

/* It wakes who is behind. */
START_TEST(wait_that_is_freed_keeps_nobody_waiting) {
  have_both("s");
  struct agent *reader = agent_start();
  colock_wait *wait = start();
  test_await_waiters(path, 1);
  int64_t past = 0; /* no newcomer goes first any more */
  test_poke(path, offsetof(struct colockp_header, turn), &past, sizeof past);
  ck_assert_int_eq(agent_call(reader, "open %s retry_delay=10s", agent_word(path)), COLOCK_OK);
  agent_send(reader, "acquire s 4500");
  test_await_waiters(path, 2);
  colock_wait_free(wait);
  ck_assert_int_eq(agent_answer(reader), COLOCK_OK);
  colock_close(lock);
}
END_TEST

/* Until the one with that slot, first in line, sleeps until its next look, and the watch does too. */
static void await_asleep(uint32_t slot) {
  const uint32_t asleep = COLOCKP_BELL_ASLEEP | COLOCKP_BELL_WATCH;
  const struct colockp_region *region = lock->region;
  int64_t limit = test_now_ms() + 20000;
  for (uint32_t bell = 0; (bell & asleep) != asleep || region->watch.rounds > 0; bell = region->bells[slot]) {
    ck_assert_int_lt(test_now_ms(), limit);
    sched_yield();
  }
}

START_TEST(wait_that_sleeps_is_freed_at_once) {
  have_lock("retry_delay", "10s");
  have_holder("x");
  colock_wait *wait = start();
  test_await_waiters(path, 1);
  await_asleep(0);
  int64_t before = test_now_ms();
  colock_wait_free(wait);
  ck_assert_int_lt(test_now_ms() - before, 4000);
  colock_close(lock);
}
END_TEST

START_TEST(wait_that_is_freed_at_once_takes_the_others_no_time) {
  have_lock("retry_delay", "10s");
  have_holder("x");
  colock_wait *other = start();
  test_await_waiters(path, 1);
  int64_t before = test_now_ms();
  for (int i = 0; i < 50; i++) {
    colock_wait *wait = start();
    if (i % 2) sched_yield();
    colock_wait_free(wait);
  }
  ck_assert_int_lt(test_now_ms() - before, 5000); /* who slept on would sleep for 10 s */
  ck_assert_uint_eq(test_waiters(path), 1);
  holder_lets_go();
  must(colock_release(finish_granted(other)));
  colock_wait_free(other);
  colock_close(lock);
}
END_TEST

/* Many of them, in one thread, granted and freed in any order: no two have it, nothing is left. */
START_TEST(random_waits_exclude_each_other) {
  enum { COUNT = 12 };
  uint64_t random = test_seed();
  colock_wait *waits[COUNT] = {NULL};
  colock_hold *holds[COUNT] = {NULL};
  have_lock("timeout", "10s");
  unsigned granted = 0, inside = 0;
  for (int64_t limit = test_now_ms() + test_seconds(1) * 1000; test_now_ms() < limit || granted <= 10;) {
    uint32_t i = test_random(&random) % COUNT, what = test_random(&random) % 4;
    if (holds[i] != NULL) {
      must(colock_release(holds[i]));
      holds[i] = NULL;
      inside--;
    } else if (waits[i] == NULL) {
      waits[i] = start();
    } else if (what == 0) {
      colock_wait_free(waits[i]);
      waits[i] = NULL;
    } else {
      if (what == 1) readable(waits[i], 1);
      int code = colock_wait_step(waits[i], &holds[i]);
      ck_assert_msg(code == COLOCK_OK || code == COLOCK_EBUSY, "%d, %s", code, colock_last_message());
      if (code == COLOCK_EBUSY) continue;
      ck_assert_uint_eq(++inside, 1);
      granted++;
      colock_wait_free(waits[i]);
      waits[i] = NULL;
    }
  }
  for (int i = 0; i < COUNT; i++) {
    colock_wait_free(waits[i]);
    if (holds[i] != NULL) must(colock_release(holds[i]));
  }
  is_free();
  colock_close(lock);
}
END_TEST

/* ---- fork ---- */

static colock_wait *parents[2]; /* granted; in line behind it */

static int child_of_waits(void *arg) {
  (void)arg;
  colock_hold *hold = NULL;
  for (int i = 0; i < 2; i++) {
    if (colock_wait_step(parents[i], &hold) != COLOCK_EFORKED || hold) return 1 + i;
    if (strstr(colock_last_message(), "a.lock") == NULL || colock_wait_fd(parents[i]) != -1) return 3 + i;
    colock_wait_free(parents[i]);
  }
  return 0;
}

/* The lock itself works on. */
static int child_that_waits(void *arg) {
  colock_wait *wait = NULL;
  colock_hold *hold = NULL;
  int code = child_of_waits(arg);
  if (code != 0) return code;
  if (colock_wait_start(lock, &request, &wait) != 0) return 5;
  if (colock_wait_step(wait, &hold) != COLOCK_EBUSY) return 6; /* the parent still has it */
  if (test_threads() < 2) return 7;
  colock_wait_free(wait);
  colock_close(lock);
  return 0;
}

static void fork_amid_waits(int (*child)(void *arg)) {
  have_lock("timeout", "10s");
  parents[0] = start();
  parents[1] = start();
  test_await_waiters(path, 1);
  await_asleep(1); /* a sanitizer's own locks are free then */
  ck_assert_int_eq(test_in_child(child, NULL), 0);
  ck_assert_uint_eq(test_waiters(path), 1);
  is_taken();
  must(colock_release(finish_granted(parents[0])));
  must(colock_release(finish_granted(parents[1])));
  for (int i = 0; i < 2; i++) colock_wait_free(parents[i]);
  is_free();
  colock_close(lock);
}

START_TEST(child_has_none_of_its_parents_waits) { fork_amid_waits(child_of_waits); }
END_TEST

START_TEST(child_may_begin_its_own) { fork_amid_waits(child_that_waits); }
END_TEST

/* ---- out of means ---- */

START_TEST(without_a_thread_nothing_has_begun) {
  static const enum fault_call calls[] = {FAULT_pthread_create, FAULT_pthread_create, FAULT_eventfd, FAULT_eventfd,
                                          FAULT_malloc};
  static const int errors[] = {EAGAIN, ENOMEM, EMFILE, ENOMEM, ENOMEM};
  static const int codes[] = {COLOCK_ESYSTEM, COLOCK_ENOMEM, COLOCK_EMFILE, COLOCK_ENOMEM, COLOCK_ENOMEM};
  fault_install();
  have_both("x");
  colock_wait *wait = NULL;
  unsigned threads = test_threads(), descriptors = 0;
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
    long allocations = fault_allocations();
    if (i > 0) ck_assert_uint_eq(test_descriptors(), descriptors); /* the first claimed a seat, which is kept */
    fault_fail_at(calls[i], 1, errors[i]);
    int code = colock_wait_start(lock, &request, &wait);
    ck_assert(fault_hit());
    fault_disarm();
    ck_assert_msg(code == codes[i], "%s: %d, %s", fault_names[calls[i]], code, colock_last_message());
    ck_assert_int_eq(colock_last_errno(), errors[i]);
    ck_assert_ptr_null(wait);
    ck_assert_uint_eq(test_threads(), threads);
    ck_assert_uint_eq(test_waiters(path), 0);
    if (i > 0) ck_assert_int_eq(fault_allocations(), allocations);
    descriptors = test_descriptors();
  }
  holder_lets_go();
  wait = start();
  must(colock_release(finish_granted(wait)));
  colock_wait_free(wait);
  colock_close(lock);
  fault_remove();
}
END_TEST

/* One call after the other fails, in this thread or in the wait's: a code and a message, or it does not matter. */
START_TEST(any_call_may_fail) {
  static const enum fault_call calls[] = {FAULT_malloc, FAULT_eventfd, FAULT_read, FAULT_write, FAULT_pthread_create,
                                          FAULT_futex_wait, FAULT_fcntl_lock};
  have_lock("timeout", "10s");
  colock_close(lock);
  fault_install();
  int hits = 0, failures = 0;
  for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
    for (long at = 1; at <= 12; at++) {
      have_both("x");
      long allocations = fault_allocations();
      unsigned descriptors = test_descriptors();
      colock *again = test_open(path);
      colock_wait *wait = NULL;
      colock_hold *hold = NULL;
      fault_fail_at(calls[c], at, *fault_errnos(calls[c]));
      int code = colock_wait_start(again, &request, &wait);
      if (code == 0) {
        code = colock_wait_step(wait, &hold);
        sched_yield();
        holder_lets_go();
        if (code == COLOCK_EBUSY) code = finish(wait, &hold);
      }
      hits += fault_hit();
      fault_disarm();
      failures += code != 0;
      ck_assert_msg(code != 0 || hold, "%s call %ld", fault_names[calls[c]], at);
      if (hold) must(colock_check(hold));
      if (hold) must(colock_release(hold));
      colock_wait_free(wait);
      colock_close(again);
      ck_assert_msg(fault_allocations() == allocations, "%s call %ld: memory leaked", fault_names[calls[c]], at);
      ck_assert_msg(test_descriptors() == descriptors, "%s call %ld: a descriptor leaked", fault_names[calls[c]], at);
      colock_close(lock);
      agent_kill(holder);
      ck_assert(test_free(path));
    }
  }
  fault_remove();
  ck_assert_msg(hits > 6 && failures > 4, "%d hits, %d failures", hits, failures);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "granted", 60);
  tcase_add_test(tcase, what_is_free_is_granted_at_once_without_a_thread);
  tcase_add_test(tcase, lock_that_is_not_enabled_is_granted_at_once);
  tcase_add_test(tcase, granted_once_another_process_releases);
  tcase_add_test(tcase, many_waits_in_one_loop_are_granted_in_order);
  tcase_add_test(tcase, readers_that_wait_are_granted_together);
  tcase_add_test(tcase, request_is_copied_and_reports_show_it);
  tcase_add_test(tcase, its_holds_count_for_no_thread);
  tcase_add_test(tcase, hold_outlives_wait_and_lock);
  tcase = test_case(suite, "in_vain", 60);
  tcase_add_test(tcase, time_counts_from_the_start_and_the_message_names_the_holder);
  tcase_add_test(tcase, who_does_not_wait_is_told_at_the_start);
  tcase_add_test(tcase, cancel_of_the_lock_ends_its_waits);
  tcase_add_test(tcase, what_fails_at_the_start_is_told_by_the_first_step);
  tcase_add_test(tcase, command_of_colock_run_is_told_that_it_waits_for_its_parent);
  tcase_add_test(tcase, file_that_is_replaced_is_waited_for_anew);
  tcase_add_test(tcase, wrong_arguments_are_refused);
  tcase = test_case(suite, "on_wait", 60);
  tcase_add_test(tcase, on_wait_is_called_by_the_step);
  tcase_add_test(tcase, on_wait_that_says_no_ends_the_wait);
  tcase_add_test(tcase, what_is_granted_while_on_wait_says_no_is_given_back);
  tcase = test_case(suite, "freed", 60);
  tcase_add_loop_test(tcase, wait_may_be_freed_at_any_stage, 0, STAGES);
  tcase_add_test(tcase, hold_that_nobody_took_is_released);
  tcase_add_test(tcase, wait_that_is_freed_before_its_thread_has_begun_is_told_as_canceled);
  tcase_add_test(tcase, wait_that_is_freed_keeps_nobody_waiting);
  tcase_add_test(tcase, wait_that_sleeps_is_freed_at_once);
  tcase_add_test(tcase, wait_that_is_freed_at_once_takes_the_others_no_time);
  tcase_add_test(tcase, random_waits_exclude_each_other);
  tcase_add_test(test_case(suite, "fork", 60), child_has_none_of_its_parents_waits);
  tcase = test_case(suite, "fork_and_wait", 60);
  tcase_set_tags(tcase, "native child_threads");
  tcase_add_test(tcase, child_may_begin_its_own);
  tcase = test_case(suite, "means", 60);
  tcase_add_test(tcase, without_a_thread_nothing_has_begun);
  tcase_add_test(tcase, any_call_may_fail);
}

int main(int argc, char **argv) { return test_main(argc, argv, "waiting", fill); }

/* test_wait.c - what ends a wait besides the grant: cancel, signals, on_wait, the force of a stale holder. */
#define _GNU_SOURCE
#include "agent.h"
#include "support.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *path;
static struct agent *holder;

static void have_holder(const char *settings, const char *mode) {
  path = test_path("a.lock");
  holder = agent_start();
  ck_assert_int_eq(agent_call(holder, "open %s %s", agent_word(path), settings), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "acquire %s 5000", mode), COLOCK_OK);
}

struct waiting {
  colock *lock;
  pthread_t thread;
  int code;
};

static void *wait_for_ever(void *arg) {
  struct waiting *w = arg;
  colock_hold *hold = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = COLOCK_FOREVER;
  w->code = colock_acquire_with(w->lock, &request, &hold);
  if (w->code == COLOCK_OK) colock_release(hold);
  return NULL;
}

START_TEST(cancel_ends_every_wait_on_the_lock_and_no_other) {
  have_holder("", "x");
  struct waiting waits[3] = {{.lock = test_open(path)}, {.code = -1}, {.lock = test_open(path)}};
  waits[1].lock = waits[0].lock;
  for (int i = 0; i < 3; i++) ck_assert_int_eq(pthread_create(&waits[i].thread, NULL, wait_for_ever, &waits[i]), 0);
  test_await_waiters(path, 3);
  colock_cancel(waits[0].lock, 1);
  for (int i = 0; i < 2; i++) {
    pthread_join(waits[i].thread, NULL);
    ck_assert_int_eq(waits[i].code, COLOCK_ECANCELED);
  }
  ck_assert_uint_eq(test_waiters(path), 1);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  pthread_join(waits[2].thread, NULL);
  ck_assert_int_eq(waits[2].code, COLOCK_OK);
  colock_close(waits[0].lock);
  colock_close(waits[2].lock);
}
END_TEST

START_TEST(cancel_lasts_until_switched_off) {
  have_holder("", "s");
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  colock_cancel(lock, 1);
  must_be(COLOCK_ECANCELED, colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must_be(COLOCK_ECANCELED, colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold)); /* did not wait */
  must(colock_acquire(lock, COLOCK_SHARED, &hold));                        /* nor did this */
  must(colock_check(hold));
  must(colock_release(hold));
  colock_cancel(lock, 0);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(cancel_works_from_a_signal_handler) {
  have_holder("", "x");
  struct agent *a = agent_open(path);
  agent_send(a, "acquire x -1");
  test_await_waiters(path, 1);
  kill(a->pid, SIGUSR1);
  ck_assert_int_eq(agent_answer(a), COLOCK_ECANCELED);
  ck_assert_ptr_nonnull(strstr(a->text, "a.lock"));
  ck_assert_int_eq(agent_call(a, "cancel 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
}
END_TEST

START_TEST(signal_interrupts_only_who_asked_for_it) {
  have_holder("", "x");
  struct agent *polite = agent_open(path), *deaf = agent_open(path);
  agent_send(polite, "acquire s -1 interruptible");
  agent_send(deaf, "acquire s -1");
  test_await_waiters(path, 2);
  while (!agent_answered(polite)) { /* one signal may come while it does not sleep */
    kill(polite->pid, SIGUSR2);
    kill(deaf->pid, SIGUSR2);
  }
  ck_assert_int_eq(agent_answer(polite), COLOCK_EINTR);
  ck_assert(!agent_answered(deaf));
  ck_assert_uint_eq(test_waiters(path), 1);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(deaf), COLOCK_OK);
}
END_TEST

/* ---- what a wait leaves behind ---- */

static uint64_t file_word(size_t at, size_t size) {
  uint64_t word = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(pread(fd, &word, size, (off_t)at), (ssize_t)size);
  close(fd);
  return word;
}

static uint64_t rank_of(uint32_t slot) {
  return file_word(COLOCKP_AT_QUEUE + slot * sizeof(struct colockp_queue_entry), sizeof(uint64_t));
}

enum { GRANTED, TIMED_OUT, PAST_DEADLINE, CANCELED, INTERRUPTED, WAYS };

/* Whatever ends a wait, alone in line, behind another or before one: no word, no bell that somebody would pay for, and
 * the flag is that of those who go on waiting. */
START_TEST(ended_wait_leaves_the_queue_clean) {
  static const int codes[] = {COLOCK_OK, COLOCK_ETIMEDOUT, COLOCK_ETIMEDOUT, COLOCK_ECANCELED, COLOCK_EINTR};
  static const char *const how[] = {"x 20000", "x 150", "x -1 deadline=150", "x -1", "x -1 interruptible"};
  int way = _i % WAYS, place = _i / WAYS; /* 0: alone, 1: behind another, 2: before another */
  have_holder("", "x");
  struct agent *a = agent_open(path), *other = agent_open(path);
  if (place == 1) agent_send(other, "acquire x 20000 priority=50");
  if (place == 1) test_await_waiters(path, 1);
  agent_send(a, "acquire %s", how[way]);
  test_await_waiters(path, place == 1 ? 2 : 1);
  if (place == 2) agent_send(other, "acquire x 20000");
  if (place == 2) test_await_waiters(path, 2);
  if (way == GRANTED) ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  if (way == GRANTED && place == 1) ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  if (way == GRANTED && place == 1) ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  if (way == CANCELED) kill(a->pid, SIGUSR1);
  while (way == INTERRUPTED && !agent_answered(a)) kill(a->pid, SIGUSR2);
  ck_assert_int_eq(agent_answer(a), codes[way]);
  ck_assert_uint_eq(rank_of(1), 0);
  ck_assert_uint_eq(file_word(COLOCKP_AT_BELLS + 4, 4) & COLOCKP_BELL_ASLEEP, 0);
  bool waits = place == 2 || (place == 1 && way != GRANTED);
  ck_assert_uint_eq(test_waiters(path), waits);
  ck_assert_int_eq(test_header(path).flag & COLOCKP_FLAG_SET, waits);
  if (way == GRANTED) ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  else ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  if (waits) ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  ck_assert_uint_eq(test_waiters(path), 0);
  ck_assert_uint_eq(test_header(path).flag & COLOCKP_FLAG_SET, 0);
}
END_TEST

/* As when somebody took it for dead. */
START_TEST(waiter_whose_word_is_gone_comes_back_with_its_old_key) {
  have_holder("", "x");
  struct agent *a = agent_start(), *later = agent_open(path);
  ck_assert_int_eq(agent_call(a, "open %s retry_delay=10ms", agent_word(path)), COLOCK_OK);
  agent_send(a, "acquire x 20000");
  test_await_waiters(path, 1);
  uint32_t slot = 0;
  while (rank_of(slot) == 0) slot++;
  uint64_t rank = rank_of(slot), none = 0;
  agent_send(later, "acquire x 20000");
  test_await_waiters(path, 2);
  test_poke(path, COLOCKP_AT_QUEUE + slot * sizeof(struct colockp_queue_entry), &none, sizeof none);
  test_await_waiters(path, 2);
  ck_assert_uint_eq(rank_of(slot), rank);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
  ck_assert(!agent_answered(later));
}
END_TEST

/* A key of the old file would put it behind the next thousands of newcomers: tickets of a new file begin anew. */
START_TEST(waiter_on_a_replaced_file_stands_before_those_who_come_later) {
  have_holder("", "x");
  uint64_t ticket = 100000;
  test_poke(path, offsetof(struct colockp_header, ticket), &ticket, sizeof ticket);
  struct agent *a = agent_start(), *later = agent_open(path), *second;
  ck_assert_int_eq(agent_call(a, "open %s retry_delay=10ms", agent_word(path)), COLOCK_OK);
  agent_send(a, "acquire x 20000");
  test_await_waiters(path, 1);
  second = agent_open(test_path("b.lock"));
  ck_assert_int_eq(agent_call(second, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(rename(test_path("b.lock"), path), 0);
  test_await_waiters(path, 1); /* on the new one */
  agent_send(later, "acquire x 20000");
  test_await_waiters(path, 2);
  ck_assert_int_eq(agent_call(second, "release 0"), COLOCK_ELOST); /* its name is gone, its lock was good */
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
  ck_assert(!agent_answered(later));
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(later), COLOCK_OK);
}
END_TEST

static void *take_and_leave(void *arg) {
  static colock_hold *hold;
  must(colock_acquire(arg, COLOCK_EXCLUSIVE, &hold));
  return hold;
}

/* A hold belongs to the process: it outlives its thread, and anybody may give it back. */
START_TEST(hold_of_a_thread_that_has_ended_is_held_on) {
  path = test_path("a.lock");
  colock *lock = test_open(path);
  pthread_t thread;
  void *hold;
  colock_hold *other = NULL;
  colock_request request;
  ck_assert_int_eq(pthread_create(&thread, NULL, take_and_leave, lock), 0);
  pthread_join(thread, &hold);
  struct agent *a = agent_open(path);
  agent_send(a, "acquire x 20000");
  test_await_waiters(path, 1);
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.timeout_ms = 20;
  must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &other)); /* no deadlock: it is not this thread's */
  ck_assert(!agent_answered(a));
  must(colock_release(hold));
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
  colock_close(lock);
}
END_TEST

/* ---- on_wait ---- */

struct notices {
  int count, stop_at;
  int64_t waited[16];
  bool right;
};

static int on_wait(const colock_report *who, int64_t waited_ms, void *arg) {
  struct notices *n = arg;
  const colock_entry *first = colock_report_entry(who, 0);
  n->right = first != NULL && colock_entry_number(first, COLOCK_ROLE) == COLOCK_HOLDER &&
             colock_entry_number(first, COLOCK_PID) == holder->pid && colock_report_stat(who, "waiters") == 1;
  if (n->count < 16) n->waited[n->count] = waited_ms;
  n->count++;
  return n->stop_at != 0 && n->count >= n->stop_at;
}

static int wait_with(colock *lock, int (*callback)(const colock_report *, int64_t, void *), void *arg,
                     int64_t timeout_ms) {
  colock_hold *hold = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.timeout_ms = timeout_ms;
  request.on_wait = callback;
  request.on_wait_arg = arg;
  int code = colock_acquire_with(lock, &request, &hold);
  if (code == COLOCK_OK) must(colock_release(hold));
  return code;
}

START_TEST(on_wait_is_called_at_doubling_intervals) {
  have_holder("", "x");
  colock *lock = test_open_set(path, "notify_after", "20ms");
  struct notices notices = {.stop_at = 5};
  ck_assert_int_eq(wait_with(lock, on_wait, &notices, COLOCK_FOREVER), COLOCK_ECANCELED);
  ck_assert(notices.right);
  for (int i = 0; i < 5; i++) ck_assert_int_ge(notices.waited[i], 20 << i); /* and not much later, on a quick machine */
  colock_close(lock);
}
END_TEST

START_TEST(on_wait_stops_the_wait) {
  have_holder("", "x");
  colock *lock = test_open_set(path, "notify_after", "1ms");
  struct notices notices = {.stop_at = 2};
  ck_assert_int_eq(wait_with(lock, on_wait, &notices, COLOCK_FOREVER), COLOCK_ECANCELED);
  ck_assert_int_eq(notices.count, 2);
  ck_assert_uint_eq(test_waiters(path), 0);
  colock_close(lock);
}
END_TEST

START_TEST(on_wait_is_not_called_without_a_wait) {
  path = test_path("a.lock");
  colock *lock = test_open_set(path, "notify_after", "1ms");
  struct notices notices = {0};
  ck_assert_int_eq(wait_with(lock, on_wait, &notices, 5000), COLOCK_OK);
  ck_assert_int_eq(notices.count, 0);
  colock_close(lock);
}
END_TEST

static int use_the_library(const colock_report *who, int64_t waited_ms, void *arg) {
  (void)who, (void)waited_ms;
  colock *lock = arg, *other = test_open(test_path("b.lock"));
  colock_hold *hold = NULL;
  colock_report *report = NULL;
  ck_assert_int_eq(colock_try_acquire(lock, COLOCK_SHARED, &hold), COLOCK_EBUSY);
  must(colock_report_read(path, &report));
  colock_report_free(report);
  must(colock_acquire(other, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  colock_close(other);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  return 0;
}

/* No lock of the library is held meanwhile. */
START_TEST(on_wait_may_use_the_library) {
  have_holder("", "x");
  colock *lock = test_open_set(path, "notify_after", "1ms");
  ck_assert_int_eq(wait_with(lock, use_the_library, lock, 10000), COLOCK_OK);
  colock_close(lock);
}
END_TEST

/* ---- stale ---- */

static int64_t stale_of_first(void) {
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  ck_assert_uint_ge(colock_report_count(report), 1);
  int64_t stale = colock_entry_number(colock_report_entry(report, 0), COLOCK_STALE);
  colock_report_free(report);
  return stale;
}

START_TEST(stale_is_reported_and_renew_makes_it_fresh) {
  have_holder("stale_timeout=300ms", "x");
  for (int i = 0; i < 2; i++) { /* once more, if we do not look in time */
    await_that(agent_call(holder, "renew 0") == COLOCK_OK && stale_of_first() == 0);
    await_that(stale_of_first() != 0);
  }
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
}
END_TEST

START_TEST(stale_holder_keeps_the_lock_unless_told_to_break) {
  have_holder("stale_timeout=1ms", "x");
  colock *lock = test_open(path);
  ck_assert_int_eq(wait_with(lock, NULL, NULL, 150), COLOCK_ETIMEDOUT);
  ck_assert_int_eq(agent_call(holder, "check 0"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

START_TEST(waiter_told_to_break_forces_a_stale_holder_out) {
  have_holder("stale_timeout=50ms", "x");
  colock *lock = test_open_set(path, "stale_action", "break");
  uint64_t token = holder->token;
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_uint_gt(colock_token(hold), token);
  ck_assert_int_eq(colock_abandoned(hold), 1);
  ck_assert_int_eq(agent_call(holder, "check 0"), COLOCK_EREVOKED);
  ck_assert_ptr_nonnull(strstr(test_log(), "stale"));
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(fresh_holder_is_never_forced_out) {
  have_holder("stale_timeout=1h", "x");
  colock *lock = test_open_set(path, "stale_action", "break");
  ck_assert_int_eq(wait_with(lock, NULL, NULL, 300), COLOCK_ETIMEDOUT);
  ck_assert_int_eq(agent_call(holder, "check 0"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

/* Forcing out one reader revokes its whole generation, so one fresh reader protects the stale ones beside it. */
START_TEST(fresh_reader_protects_a_stale_one) {
  have_holder("stale_timeout=1ms", "s");
  struct agent *fresh = agent_start();
  ck_assert_int_eq(agent_call(fresh, "open %s stale_timeout=1h", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(fresh, "acquire s 5000"), COLOCK_OK);
  colock *lock = test_open_set(path, "stale_action", "break");
  colock_hold *hold = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = 250;
  must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &hold));
  ck_assert_int_eq(agent_call(holder, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(fresh, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(fresh, "release 0"), COLOCK_OK);
  request.timeout_ms = 20000;
  must(colock_acquire_with(lock, &request, &hold)); /* now it stands alone */
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(labels_and_purposes_with_control_characters_stay_whole) {
  path = test_path("a.lock");
  const char *strange = "\033[31mred\n\"quoted\"\\\t\001\377";
  colock *lock = NULL;
  colock_config *config = test_config("label", "two\nlines\007", NULL);
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  colock_hold *hold = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.purpose = strange;
  must(colock_acquire_with(lock, &request, &hold));
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  const char *json = colock_report_json(report);
  ck_assert_ptr_nonnull(json);
  for (const char *c = json; *c != '\0'; c++)
    ck_assert_msg((unsigned char)*c >= ' ' || *c == '\n', "a raw control character");
  ck_assert_ptr_nonnull(strstr(json, "two\\nlines"));
  colock_report_free(report);
  colock_hold *second = NULL; /* and in the message of a waiter */
  must(colock_detach(hold));
  request.timeout_ms = 10;
  must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &second));
  for (const char *c = colock_last_message(); *c != '\0'; c++)
    ck_assert_msg((unsigned char)*c >= ' ', "a raw control character");
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "ended", 30);
  tcase_add_test(tcase, cancel_ends_every_wait_on_the_lock_and_no_other);
  tcase_add_test(tcase, cancel_lasts_until_switched_off);
  tcase_add_test(tcase, cancel_works_from_a_signal_handler);
  tcase_add_test(tcase, signal_interrupts_only_who_asked_for_it);
  tcase = test_case(suite, "left", 60);
  tcase_add_loop_test(tcase, ended_wait_leaves_the_queue_clean, 0, 3 * WAYS);
  tcase_add_test(tcase, waiter_whose_word_is_gone_comes_back_with_its_old_key);
  tcase_add_test(tcase, waiter_on_a_replaced_file_stands_before_those_who_come_later);
  tcase_add_test(tcase, hold_of_a_thread_that_has_ended_is_held_on);
  tcase = test_case(suite, "on_wait", 30);
  tcase_add_test(tcase, on_wait_is_called_at_doubling_intervals);
  tcase_add_test(tcase, on_wait_stops_the_wait);
  tcase_add_test(tcase, on_wait_is_not_called_without_a_wait);
  tcase_add_test(tcase, on_wait_may_use_the_library);
  tcase = test_case(suite, "stale", 30);
  tcase_add_test(tcase, stale_is_reported_and_renew_makes_it_fresh);
  tcase_add_test(tcase, stale_holder_keeps_the_lock_unless_told_to_break);
  tcase_add_test(tcase, waiter_told_to_break_forces_a_stale_holder_out);
  tcase_add_test(tcase, fresh_holder_is_never_forced_out);
  tcase_add_test(tcase, fresh_reader_protects_a_stale_one);
  tcase_add_test(tcase, labels_and_purposes_with_control_characters_stay_whole);
}

int main(int argc, char **argv) { return test_main(argc, argv, "wait", fill); }

/* test_trace.c - what is told of real calls: each event once, at its level, with its pairs; and nothing else. */
#define _GNU_SOURCE
#include "told.h"

#include "fault.h"
#include "kept.h"
#include "system.h"
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/time.h>
#include <unistd.h>

static const char *path;
static colock *lock;
static colock_hold *hold;
static struct agent *other;
static _Atomic int suspended; /* by on_suspend */

static const char *const modes[] = {[COLOCK_SHARED] = "shared", [COLOCK_EXCLUSIVE] = "exclusive"};

/* A lock of that verbosity; `key`, NULL: no more is set. What its opening told is forgotten. However slow a test is,
 * nothing idles out, and no wait is long, but where `key` says so. */
static void have_file(const char *name, const char *verbosity, const char *key, const char *value) {
  colock_config *config = test_config("verbosity", verbosity, "timeout", "20s", "idle_timeout", "1min", "notify_after",
                                      "1min", key, value, NULL);
  path = test_path(name);
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  suspended = 0;
  listen_to_all();
  told_none();
}

static void have(const char *verbosity, const char *key, const char *value) {
  have_file("my db.lock", verbosity, key, value);
}

/* Another process that holds it, or keeps it. */
static void have_other(const char *settings, const char *mode) {
  other = agent_start();
  ck_assert_int_eq(agent_call(other, "open %s %s", agent_word(path), settings), COLOCK_OK);
  if (mode) ck_assert_int_eq(agent_call(other, "acquire %s 5000", mode), COLOCK_OK);
}

static void end(void) {
  colock_close(lock);
  colock_set_log(NULL, NULL);
}

/* `count` lines in all. */
static void told_in_all(int count) {
  if (told_lines() != count) all_told();
  ck_assert_int_eq(told_lines(), count);
}

/* ---- debug: every grant, release, and try in vain ---- */

START_TEST(grant_and_release_are_told_to_who_looks_closely) {
  have("debug", NULL, NULL);
  must(colock_acquire(lock, _i, &hold));
  uint64_t token = colock_token(hold);
  must(colock_release(hold));
  const char *line = told_once(COLOCKP_DEBUG, "granted", path);
  ck_assert_str_eq(text_of(line, "mode"), modes[_i]);
  ck_assert_str_eq(text_of(line, "cached"), "no");
  ck_assert_int_eq(number_of(line, "waited_ms"), 0);
  if (_i == COLOCK_EXCLUSIVE) ck_assert_uint_eq((uint64_t)number_of(line, "token"), token);
  else ck_assert(!has(line, "token"));
  line = told_once(COLOCKP_DEBUG, "released", path);
  ck_assert_str_eq(text_of(line, "mode"), modes[_i]);
  ck_assert_str_eq(text_of(line, "kept"), "no");
  ck_assert_int_ge(number_of(line, "held_ms"), 0);
  told_in_all(2);
  end();
}
END_TEST

START_TEST(hold_time_is_that_from_grant_to_release) {
  have("debug", "auto_release", _i ? "true" : "false");
  int64_t before = test_now_ms();
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  int64_t began = test_now_ms();
  while (test_now_ms() < began + 30) sched_yield();
  must(colock_release(hold));
  long long held = number_of(told_once(COLOCKP_DEBUG, "released", path), "held_ms");
  ck_assert_int_ge(held, 29);
  ck_assert_int_le(held, test_now_ms() - before + 1);
  end();
}
END_TEST

START_TEST(what_is_kept_is_told_as_such) {
  have("debug", "auto_release", "true");
  keep(lock, _i);
  told_none();
  colock_hold *again = kept_acquire(lock, _i);
  uint64_t token = colock_token(again);
  must(colock_release(again));
  const char *line = told_once(COLOCKP_DEBUG, "granted", path);
  ck_assert_str_eq(text_of(line, "cached"), "yes");
  ck_assert_str_eq(text_of(line, "mode"), modes[_i]);
  if (_i == COLOCK_EXCLUSIVE) ck_assert_uint_eq((uint64_t)number_of(line, "token"), token);
  line = told_once(COLOCKP_DEBUG, "released", path);
  ck_assert_str_eq(text_of(line, "kept"), "yes");
  ck_assert_str_eq(text_of(line, "mode"), modes[_i]);
  told_in_all(2);
  end();
}
END_TEST

/* Acquires by every door. */
static int acquire_by(int door) {
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  switch (door) {
  case 0: return colock_acquire(lock, COLOCK_EXCLUSIVE, &hold);
  case 1: return colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold);
  case 2: return colock_acquire_with(lock, &request, &hold);
  default: request.timeout_ms = COLOCK_NOWAIT; return colock_acquire_with(lock, &request, &hold);
  }
}

START_TEST(each_door_tells_once) {
  have("debug", "auto_release", _i / 4 ? "true" : "false");
  must(acquire_by(_i % 4)); /* nothing is kept yet */
  must(colock_release(hold));
  told_once(COLOCKP_DEBUG, "granted", path);
  told_in_all(2);
  told_none();
  must(acquire_by(_i % 4));
  must(colock_release(hold));
  told_once(COLOCKP_DEBUG, "granted", path);
  told_in_all(2);
  end();
}
END_TEST

START_TEST(try_in_vain_is_told) {
  have_file("tried.lock", "debug", "auto_release", _i ? "true" : "false"); /* test_probes.sh knows the name */
  have_other("", "x");
  must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_SHARED, &hold));
  const char *line = told_once(COLOCKP_DEBUG, "busy", path);
  ck_assert_str_eq(text_of(line, "mode"), "shared");
  ck_assert_int_eq(number_of(line, "code"), COLOCK_EBUSY);
  ck_assert_str_eq(text_of(line, "message"), colock_last_message());
  told_in_all(1);
  end();
}
END_TEST

START_TEST(waiting_for_oneself_is_told) {
  have("debug", "auto_release", _i ? "true" : "false");
  if (_i) keep_many(lock, COLOCK_SHARED, 2);
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  told_none();
  colock_hold *second = NULL;
  must_be(COLOCK_EDEADLK, colock_acquire(lock, COLOCK_SHARED, &second));
  const char *line = told_once(COLOCKP_DEBUG, "deadlock", path);
  ck_assert_int_eq(number_of(line, "code"), COLOCK_EDEADLK);
  told_in_all(1);
  must(colock_release(hold));
  end();
}
END_TEST

START_TEST(what_fails_otherwise_is_told_with_code_and_message) {
  have("debug", NULL, NULL);
  fault_install();
  fault_fail_at(FAULT_fcntl_lock, 1, ENOLCK);
  must_be(COLOCK_ENOLOCKS, colock_acquire(lock, COLOCK_SHARED, &hold));
  fault_remove();
  const char *line = told_once(COLOCKP_DEBUG, "failed", path);
  ck_assert_int_eq(number_of(line, "code"), COLOCK_ENOLOCKS);
  ck_assert_str_eq(text_of(line, "message"), colock_last_message());
  told_in_all(1);
  end();
}
END_TEST

/* In a file of another name: these holds are granted more than once (test_probes.sh). */
START_TEST(change_of_mode_is_told) {
  have_file("changed.lock", "debug", "auto_release", _i ? "true" : "false");
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  told_none();
  must(colock_upgrade(hold, 1000));
  const char *line = told_once(COLOCKP_DEBUG, "upgraded", path);
  ck_assert_str_eq(text_of(line, "mode"), "exclusive");
  ck_assert_int_eq(number_of(line, "waited_ms"), 0);
  ck_assert_uint_eq((uint64_t)number_of(line, "token"), colock_token(hold));
  must(colock_upgrade(hold, 1000)); /* it is that already */
  told_in_all(1);
  must(colock_downgrade(hold));
  ck_assert_str_eq(text_of(told_once(COLOCKP_DEBUG, "downgraded", path), "mode"), "shared");
  must(colock_downgrade(hold));
  told_in_all(2);
  have_other("", "s");
  must_be(COLOCK_ETIMEDOUT, colock_upgrade(hold, 30));
  ck_assert_int_ge(number_of(told_once(COLOCKP_DEBUG, "timeout", path), "waited_ms"), 30);
  must_be(COLOCK_EBUSY, colock_upgrade(hold, COLOCK_NOWAIT));
  ck_assert_str_eq(text_of(told_once(COLOCKP_DEBUG, "busy", path), "mode"), "exclusive");
  told_in_all(4);
  agent_send(other, "upgrade 0 10000");
  test_await_waiters(path, 1);
  must_be(COLOCK_EDEADLK, colock_upgrade(hold, 1000));
  told_once(COLOCKP_DEBUG, "deadlock", path);
  told_in_all(5);
  must(colock_release(hold));
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  end();
}
END_TEST

static void *release_in_turn(void *arg) {
  if (agent_answer(other) == COLOCK_OK) agent_call(other, "release 0");
  return arg;
}

START_TEST(yield_is_a_release_and_a_grant) {
  pthread_t thread;
  have_file("yielded.lock", "debug", NULL, NULL);
  have_other("", NULL);
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  told_none();
  must(colock_yield(hold, 1000)); /* to nobody */
  told_in_all(0);
  agent_send(other, "acquire s 10000");
  test_await_waiters(path, 1);
  ck_assert_int_eq(pthread_create(&thread, NULL, release_in_turn, NULL), 0);
  must(colock_yield(hold, 10000));
  pthread_join(thread, NULL);
  told_once(COLOCKP_DEBUG, "released", path);
  ck_assert_uint_eq((uint64_t)number_of(told_once(COLOCKP_DEBUG, "granted", path), "token"), colock_token(hold));
  told_in_all(2);
  told_none();
  agent_send(other, "acquire s 10000");
  test_await_waiters(path, 1);
  must_be(COLOCK_ETIMEDOUT, colock_yield(hold, 5)); /* longer, and one that is not quick would be passed over */
  told_once(COLOCKP_DEBUG, "released", path);
  told_once(COLOCKP_DEBUG, "timeout", path);
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  must(colock_release(hold)); /* nothing is held any more */
  told_in_all(2);
  end();
}
END_TEST

/* ---- info: what took long, who died, what was recalled ---- */

START_TEST(short_wait_in_vain_is_for_who_looks_closely) {
  have("debug", NULL, NULL);
  have_other("", "x");
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.timeout_ms = 30;
  must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &hold));
  ck_assert_int_ge(number_of(told_once(COLOCKP_DEBUG, "timeout", path), "waited_ms"), 30);
  told_in_all(1);
  end();
}
END_TEST

START_TEST(long_wait_in_vain_is_told_while_it_lasts_and_at_its_end) {
  have("info", "notify_after", "20ms");
  have_other("label=migrate", "x");
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.timeout_ms = 1000;
  must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &hold));
  const char *line = told_once(COLOCKP_INFO, "timeout", path);
  ck_assert_str_eq(text_of(line, "mode"), "shared");
  ck_assert_int_ge(number_of(line, "waited_ms"), 1000);
  ck_assert_ptr_nonnull(strstr(text_of(line, "message"), "migrate["));
  int waiting = times_told("waiting"); /* after 20 ms, 40, 80, 160, 320, 640, as far as the machine keeps up */
  ck_assert(waiting >= 1 && waiting <= 6);
  ck_assert_int_eq(told.lines[0].level, COLOCKP_INFO);
  ck_assert_int_ge(number_of(told.lines[0].line, "waited_ms"), 20);
  ck_assert_ptr_nonnull(strstr(text_of(told.lines[0].line, "message"), "migrate["));
  told_in_all(waiting + 1);
  end();
}
END_TEST

static int let_go_now(const colock_report *who, int64_t waited_ms, void *arg) {
  (void)who, (void)waited_ms, (void)arg;
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  return 0;
}

START_TEST(long_wait_that_ends_well_is_told) {
  have(_i ? "info" : "warning", "notify_after", "20ms");
  have_other("", "x");
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.on_wait = let_go_now;
  must(colock_acquire_with(lock, &request, &hold));
  if (_i) {
    const char *line = told_once(COLOCKP_INFO, "granted", path);
    ck_assert_int_ge(number_of(line, "waited_ms"), 20);
    ck_assert_str_eq(text_of(line, "cached"), "no");
    told_once(COLOCKP_INFO, "waiting", path);
  }
  must(colock_release(hold));
  told_in_all(_i ? 2 : 0);
  end();
}
END_TEST

START_TEST(cancelled_wait_is_told) {
  have("debug", NULL, NULL);
  have_other("", "x");
  colock_cancel(lock, 1);
  must_be(COLOCK_ECANCELED, colock_acquire(lock, COLOCK_SHARED, &hold));
  told_once(COLOCKP_DEBUG, "canceled", path);
  told_in_all(1);
  end();
}
END_TEST

static void ignore(int number) { (void)number; }

START_TEST(interrupted_wait_is_told) {
  have("debug", NULL, NULL);
  have_other("", "x");
  struct sigaction action = {.sa_handler = ignore};
  struct itimerval often = {.it_value = {.tv_usec = 20000}, .it_interval = {.tv_usec = 20000}};
  struct itimerval never = {.it_value = {.tv_usec = 0}};
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.flags = COLOCK_INTERRUPTIBLE;
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &often, NULL);
  must_be(COLOCK_EINTR, colock_acquire_with(lock, &request, &hold));
  setitimer(ITIMER_REAL, &never, NULL);
  told_once(COLOCKP_DEBUG, "interrupted", path);
  told_in_all(1);
  end();
}
END_TEST

/* The try at the start of it and the thread that waits are one request. */
START_TEST(wait_that_does_not_block_is_one_request) {
  have("debug", NULL, NULL);
  have_other("", "x");
  colock_request request;
  colock_wait *wait = NULL;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  must(colock_wait_start(lock, &request, &wait));
  test_await_waiters(path, 1);
  told_in_all(0);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  await_that(times_told("granted") == 1);
  int code;
  while ((code = colock_wait_step(wait, &hold)) == COLOCK_EBUSY) sched_yield();
  ck_assert_int_eq(code, COLOCK_OK);
  colock_wait_free(wait);
  must(colock_release(hold));
  told_once(COLOCKP_DEBUG, "granted", path);
  told_in_all(2);
  told_none();
  ck_assert_int_eq(agent_call(other, "acquire x 5000"), COLOCK_OK);
  request.timeout_ms = COLOCK_NOWAIT;
  must_be(COLOCK_EBUSY, colock_wait_start(lock, &request, &wait));
  told_once(COLOCKP_DEBUG, "busy", path);
  told_in_all(1);
  end();
}
END_TEST

START_TEST(recall_is_told_by_who_kept) {
  have("info", "auto_release", "true");
  have_other("", NULL);
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(agent_call(other, "acquire %s 10000", _i ? "x" : "s"), COLOCK_OK);
  await_that(times_told("recalled") == 1); /* whom it was for is granted it before that */
  const char *line = told_once(COLOCKP_INFO, "recalled", path);
  ck_assert_str_eq(text_of(line, "mode"), "exclusive");
  ck_assert_int_ge(number_of(line, "unused_ms"), 0);
  told_in_all(1);
  end();
}
END_TEST

/* Somebody waits who asked nobody for it: the library's thread does not know, and the next acquire finds out. */
START_TEST(recall_is_told_by_who_wanted_to_use_it_again) {
  have("info", "auto_release", "true");
  keep_overdue(kept_acquire(lock, COLOCK_EXCLUSIVE));
  struct colockp_region *region = lock->region;
  atomic_store(&region->header->slots_in_use, 6);
  atomic_store(&region->queue[5].rank, COLOCKP_KEY_BASE << COLOCKP_RANK_KEY_SHIFT | COLOCKP_RANK_EXCLUSIVE);
  atomic_fetch_or(&region->header->flag, COLOCKP_FLAG_SET);
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold)); /* and that nobody lives who waits */
  must(colock_release(hold));
  told_once(COLOCKP_INFO, "recalled", path);
  ck_assert_int_eq(number_of(told_once(COLOCKP_INFO, "reaped", path), "slot"), 5);
  told_in_all(2);
  end();
}
END_TEST

START_TEST(what_idles_out_or_is_given_back_is_no_recall) {
  have("info", "auto_release", "true");
  keep(lock, COLOCK_EXCLUSIVE);
  must(colock_release_idle(lock));
  colock_close(lock);
  have("info", "auto_release", "true");
  lock->settings.idle_timeout_ns = 1000000;
  keep(lock, COLOCK_EXCLUSIVE);
  await_that(!test_lane_taken(path));
  told_in_all(0);
  end();
}
END_TEST

START_TEST(dead_writer_is_told_of) {
  have("info", NULL, NULL);
  have_other("", "x");
  uint64_t token = other->token;
  agent_kill(other);
  for (int i = 0; i < 2; i++) { /* to the first alone */
    must(colock_acquire(lock, COLOCK_SHARED, &hold));
    must(colock_release(hold));
  }
  const char *line = told_once(COLOCKP_INFO, "abandoned", path);
  ck_assert_uint_eq((uint64_t)number_of(line, "token"), token);
  ck_assert(has(line, "message"));
  told_in_all(1);
  end();
}
END_TEST

START_TEST(dead_waiter_is_told_of) {
  have("info", NULL, NULL);
  have_other("", "s");
  struct agent *dead = agent_open(path);
  agent_send(dead, "acquire x -1");
  test_await_waiters(path, 1);
  test_end_turn(path);
  agent_kill(dead);
  must(colock_acquire(lock, COLOCK_SHARED, &hold)); /* behind it, and beside who holds */
  must(colock_release(hold));
  const char *line = told_once(COLOCKP_INFO, "reaped", path);
  ck_assert_int_ge(number_of(line, "slot"), 1);
  told_in_all(1);
  end();
}
END_TEST

START_TEST(dead_reader_is_told_of_by_who_gets_its_slot) {
  colock_hold *second = NULL;
  have("info", NULL, NULL);
  have_other("", "s");
  agent_kill(other);
  must(colock_try_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_try_acquire(lock, COLOCK_SHARED, &second));
  ck_assert(strstr(told_once(COLOCKP_INFO, "reaped", path), "reader") != NULL);
  told_in_all(1);
  must(colock_release(second));
  must(colock_release(hold));
  end();
}
END_TEST

START_TEST(new_file_and_its_growth_are_told) {
  path = test_path("new.lock");
  listen_to_all();
  told_none();
  colock_config *config = test_config("verbosity", "info", NULL);
  must(colock_open(&lock, path, config));
  ck_assert_int_eq(number_of(told_once(COLOCKP_INFO, "created", path), "slots"), COLOCKP_SLOTS_MIN);
  told_in_all(1);
  colock *second = NULL;
  must(colock_config_set(config, "seats", "32"));
  must(colock_open(&second, path, config));
  ck_assert_int_eq(number_of(told_once(COLOCKP_INFO, "grown", path), "slots"), 2 * COLOCKP_SLOTS_MIN);
  told_in_all(2);
  colock_config_free(config);
  colock_close(second);
  end();
}
END_TEST

/* ---- warning and error: for administrators ---- */

START_TEST(forced_unlock_is_told_by_who_forces_and_by_who_held) {
  have("warning", NULL, NULL);
  must(colock_acquire(lock, _i, &hold));
  uint64_t token = colock_token(hold);
  must(colock_force_unlock(path, "he said \"now\"", NULL));
  const char *line = told_once(COLOCKP_WARNING, "forced", path);
  ck_assert_str_eq(text_of(line, "reason"), "he said \"now\"");
  ck_assert_int_ge(number_of(line, "generation"), 1);
  ck_assert(has(line, "message"));
  told_in_all(1);
  must_be(COLOCK_EREVOKED, colock_check(hold));
  must_be(COLOCK_EREVOKED, colock_check(hold));
  told_in_all(1);
  must_be(COLOCK_EREVOKED, colock_release(hold));
  line = told_once(COLOCKP_WARNING, "revoked", path);
  ck_assert_str_eq(text_of(line, "mode"), modes[_i]);
  ck_assert_str_eq(text_of(line, "kept"), "no");
  ck_assert_int_ge(number_of(line, "held_ms"), 0);
  if (_i == COLOCK_EXCLUSIVE) ck_assert_uint_eq((uint64_t)number_of(line, "token"), token);
  told_in_all(2);
  end();
}
END_TEST

START_TEST(nobody_to_force_is_not_told) {
  have("warning", NULL, NULL);
  must(colock_force_unlock(path, NULL, NULL));
  told_in_all(0);
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_force_unlock(path, NULL, NULL));
  ck_assert_str_eq(text_of(told_once(COLOCKP_WARNING, "forced", path), "reason"), "");
  must_be(COLOCK_EREVOKED, colock_release(hold));
  end();
}
END_TEST

START_TEST(stale_holder_that_is_broken_is_told) {
  have("warning", "stale_action", "break");
  have_other("stale_timeout=50ms label=old", "x");
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  const char *line = told_once(COLOCKP_WARNING, "stale_broken", path);
  ck_assert_ptr_nonnull(strstr(text_of(line, "holder"), "old["));
  long long generation = number_of(line, "generation");
  line = told_once(COLOCKP_WARNING, "forced", path);
  ck_assert_str_eq(text_of(line, "reason"), "stale");
  ck_assert_int_eq(number_of(line, "generation"), generation);
  told_in_all(2);
  must(colock_release(hold));
  end();
}
END_TEST

START_TEST(lost_file_is_told_by_holder_and_newcomer) {
  have("warning", NULL, NULL);
  must(colock_acquire(lock, _i, &hold));
  ck_assert_int_eq(unlink(path), 0);
  must_be(COLOCK_ELOST, colock_check(hold));
  must_be(COLOCK_ELOST, colock_release(hold));
  const char *line = told_once(COLOCKP_WARNING, "lost", path);
  ck_assert_str_eq(text_of(line, "mode"), modes[_i]);
  ck_assert(has(line, "message"));
  told_in_all(1);
  test_make_lock(path);
  told_none();
  must(colock_acquire(lock, COLOCK_SHARED, &hold)); /* the pool has nothing of the old file */
  must(colock_release(hold));
  ck_assert_int_le(times_told("replaced"), 1);
  told_none();
  ck_assert_int_eq(unlink(path), 0);
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_release(hold));
  ck_assert(has(told_once(COLOCKP_WARNING, "replaced", path), "message"));
  told_in_all(1);
  end();
}
END_TEST

static int on_suspend(void *arg) {
  suspended++;
  return *(int *)arg;
}

START_TEST(suspend_is_told_and_a_failed_one_is_an_error) {
  int value = 0;
  have("debug", "auto_release", _i ? "true" : "false");
  must(colock_set_suspend(lock, on_suspend, &value));
  for (; value < 8; value += 7) {
    told_none();
    must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
    must(colock_release(hold));
    if (_i) must(colock_release_idle(lock));
    const char *line = value ? told_once(COLOCKP_ERROR, "suspend_failed", path)
                             : told_once(COLOCKP_DEBUG, "suspended", path);
    ck_assert_str_eq(text_of(line, "mode"), "exclusive");
    ck_assert_int_ge(number_of(line, "took_ms"), 0);
    if (value) ck_assert_int_eq(number_of(line, "value"), 7);
    if (value) ck_assert(has(line, "message"));
    told_in_all(3);
  }
  ck_assert_int_eq(suspended, 2);
  end();
}
END_TEST

static bool nothing_is_used(void) {
  pthread_mutex_lock(&lock->member.mutex);
  bool nothing = lock->used == NULL;
  pthread_mutex_unlock(&lock->member.mutex);
  return nothing;
}

/* What was kept and not suspended is given up; without a suspend there was nothing to give up. */
START_TEST(kept_lock_that_was_forced_out_is_told_if_something_was_given_up) {
  int value = 0;
  have("warning", "auto_release", "true");
  if (_i) must(colock_set_suspend(lock, on_suspend, &value));
  have_other("", NULL);
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(agent_call(other, "force %s test", agent_word(path)), COLOCK_OK);
  await_that(nothing_is_used());
  if (_i) ck_assert_str_eq(text_of(told_once(COLOCKP_WARNING, "revoked", path), "kept"), "yes");
  told_in_all(_i);
  ck_assert_int_eq(suspended, 0);
  end();
}
END_TEST

START_TEST(kept_lock_whose_file_was_lost_is_told_if_something_was_given_up) {
  int value = 0;
  have("warning", "auto_release", "true");
  if (_i) must(colock_set_suspend(lock, on_suspend, &value));
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(unlink(path), 0);
  must(colock_release_idle(lock));
  if (_i) ck_assert_str_eq(text_of(told_once(COLOCKP_WARNING, "lost", path), "kept"), "yes");
  told_in_all(_i);
  ck_assert_int_eq(suspended, 0);
  end();
}
END_TEST

START_TEST(ceiling_that_cannot_be_synced_is_told) {
  have("warning", NULL, NULL);
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  uint64_t ceiling = colock_token(hold) + 1;
  must(colock_release(hold));
  test_poke(path, offsetof(struct colockp_header, ceiling), &ceiling, sizeof ceiling);
  fault_install();
  fault_fail_at(FAULT_fdatasync, 1, EIO);
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  fault_remove();
  ck_assert_str_eq(text_of(told_once(COLOCKP_WARNING, "cannot_sync", path), "error"), strerror(EIO));
  told_in_all(1);
  must(colock_release(hold));
  end();
}
END_TEST

static int end_when_something_was_told(const colock_report *who, int64_t waited_ms, void *arg) {
  (void)who, (void)waited_ms, (void)arg;
  return told_lines() > 0;
}

START_TEST(missing_watch_is_told) {
  have("warning", "notify_after", "20ms");
  have_other("", "x");
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.on_wait = end_when_something_was_told;
  fault_install();
  fault_fail_at(FAULT_inotify_init1, 1, EMFILE);
  must_be(COLOCK_ECANCELED, colock_acquire_with(lock, &request, &hold));
  fault_remove();
  const char *line = told_once(COLOCKP_WARNING, "cannot_watch", path);
  ck_assert_str_eq(text_of(line, "error"), strerror(EMFILE));
  ck_assert_ptr_nonnull(strstr(text_of(line, "call"), "inotify_init1"));
  told_in_all(1);
  end();
}
END_TEST

START_TEST(missing_thread_is_told_once) {
  have("warning", "auto_release", "true");
  fault_install();
  fault_fail_at(FAULT_pthread_create, 1, EAGAIN);
  keep(lock, COLOCK_SHARED);
  keep(lock, COLOCK_SHARED);
  fault_remove();
  ck_assert_str_eq(text_of(told_once(COLOCKP_WARNING, "cannot_keep", path), "error"), strerror(EAGAIN));
  told_in_all(1);
  end();
}
END_TEST

START_TEST(rebuilt_file_is_told) {
  have("warning", NULL, NULL);
  colock_close(lock);
  uint64_t generation = 0;
  test_poke(path, offsetof(struct colockp_header, generation), &generation, sizeof generation);
  colock_config *config = test_config("verbosity", "warning", NULL);
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  ck_assert(has(told_once(COLOCKP_WARNING, "rebuilt", path), "message"));
  told_in_all(1);
  end();
}
END_TEST

/* ---- and nothing else ---- */

START_TEST(nothing_is_told_of_a_lock_that_is_not_enabled) {
  have("debug", "enabled", "false");
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  told_in_all(0);
  end();
}
END_TEST

START_TEST(quiet_lock_tells_nothing) {
  test_expect_errors();
  int value = 7;
  have("quiet", "auto_release", _i ? "true" : "false");
  must(colock_set_suspend(lock, on_suspend, &value));
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  must(colock_release_idle(lock));
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_int_eq(unlink(path), 0);
  must_be(COLOCK_ELOST, colock_check(hold));
  must_be(COLOCK_ELOST, colock_release(hold));
  told_in_all(0);
  end();
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "debug", 60);
  tcase_add_loop_test(tcase, grant_and_release_are_told_to_who_looks_closely, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_loop_test(tcase, hold_time_is_that_from_grant_to_release, 0, 2);
  tcase_add_loop_test(tcase, what_is_kept_is_told_as_such, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_loop_test(tcase, each_door_tells_once, 0, 8);
  tcase_add_loop_test(tcase, try_in_vain_is_told, 0, 2);
  tcase_add_loop_test(tcase, waiting_for_oneself_is_told, 0, 2);
  tcase_add_test(tcase, what_fails_otherwise_is_told_with_code_and_message);
  tcase_add_test(tcase, short_wait_in_vain_is_for_who_looks_closely);
  tcase_add_test(tcase, cancelled_wait_is_told);
  tcase_add_test(tcase, interrupted_wait_is_told);
  tcase_add_test(tcase, wait_that_does_not_block_is_one_request);
  tcase_add_loop_test(tcase, change_of_mode_is_told, 0, 2);
  tcase_add_test(tcase, yield_is_a_release_and_a_grant);
  tcase = test_case(suite, "info", 60);
  tcase_add_test(tcase, long_wait_in_vain_is_told_while_it_lasts_and_at_its_end);
  tcase_add_loop_test(tcase, long_wait_that_ends_well_is_told, 0, 2);
  tcase_add_loop_test(tcase, recall_is_told_by_who_kept, 0, 2);
  tcase_add_test(tcase, recall_is_told_by_who_wanted_to_use_it_again);
  tcase_add_test(tcase, what_idles_out_or_is_given_back_is_no_recall);
  tcase_add_test(tcase, dead_writer_is_told_of);
  tcase_add_test(tcase, dead_waiter_is_told_of);
  tcase_add_test(tcase, dead_reader_is_told_of_by_who_gets_its_slot);
  tcase_add_test(tcase, new_file_and_its_growth_are_told);
  tcase = test_case(suite, "warning", 60);
  tcase_add_loop_test(tcase, forced_unlock_is_told_by_who_forces_and_by_who_held, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_test(tcase, nobody_to_force_is_not_told);
  tcase_add_test(tcase, stale_holder_that_is_broken_is_told);
  tcase_add_loop_test(tcase, lost_file_is_told_by_holder_and_newcomer, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_loop_test(tcase, suspend_is_told_and_a_failed_one_is_an_error, 0, 2);
  tcase_add_loop_test(tcase, kept_lock_that_was_forced_out_is_told_if_something_was_given_up, 0, 2);
  tcase_add_loop_test(tcase, kept_lock_whose_file_was_lost_is_told_if_something_was_given_up, 0, 2);
  tcase_add_test(tcase, ceiling_that_cannot_be_synced_is_told);
  tcase_add_test(tcase, missing_watch_is_told);
  tcase_add_test(tcase, missing_thread_is_told_once);
  tcase_add_test(tcase, rebuilt_file_is_told);
  tcase = test_case(suite, "nothing", 60);
  tcase_add_test(tcase, nothing_is_told_of_a_lock_that_is_not_enabled);
  tcase_add_loop_test(tcase, quiet_lock_tells_nothing, 0, 2);
}

int main(int argc, char **argv) { return test_main(argc, argv, "trace", fill); }

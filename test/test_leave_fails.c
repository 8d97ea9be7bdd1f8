/* test_leave_fails.c - a suspend that fails, or must not be called, or cannot be set. */
#define _GNU_SOURCE
#include "leave.h"
#include "cache.h"
#include "suspended.h"
#include "system.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what goes wrong ---- */

START_TEST(failed_suspend_leaves_as_if_the_writer_had_died) {
  test_expect_errors();
  for (int keeps = 0; keeps < 2; keeps++) {
    have(keeps, "1min");
    other = NULL;
    seen.fails = 5;
    must(colock_release(kept_acquire(lock, _i)));
    ck_assert_int_eq(abandoned_elsewhere(), _i == COLOCK_EXCLUSIVE);
    suspends(1);
    ck_assert_ptr_nonnull(strstr(test_log(), "suspend failed (5)"));
    seen.fails = 0;
    must(colock_release(kept_acquire(lock, _i)));
    ck_assert_int_eq(abandoned_elsewhere(), 0);
    suspends(2);
    colock_close(lock);
  }
}
END_TEST

static int die_in_suspend(void *arg) {
  have(arg != NULL, "20ms");
  seen.dies = true;
  must(colock_release(kept_acquire(lock, COLOCK_EXCLUSIVE)));
  for (;;) pause();
}

START_TEST(writer_that_dies_in_its_suspend_is_told_of) {
  path = test_path("a.lock");
  test_make_lock(path);
  ck_assert_int_eq(test_in_child(die_in_suspend, _i ? &seen : NULL), 256 + SIGKILL);
  ck_assert_int_eq(abandoned_elsewhere(), 1);
}
END_TEST

START_TEST(what_was_forced_out_is_not_suspended) {
  have(_i, "1min");
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  must(colock_force_unlock(path, "test", NULL));
  must_be(COLOCK_EREVOKED, colock_release(hold));
  suspends(0);
  abandoned_elsewhere();
  if (_i) {
    keep(lock, COLOCK_EXCLUSIVE);
    must(colock_force_unlock(path, "test", NULL));
    ck_assert_int_eq(abandoned_elsewhere(), 0);
    must(colock_release_idle(lock));
    suspends(0);
  }
  must(colock_release(kept_acquire(lock, COLOCK_SHARED)));
  colock_close(lock);
  suspends(1); /* but what came after that */
}
END_TEST

/* A hold that runs on, forced out, has nothing that could leave: it must not count as one that has. */
START_TEST(forced_out_hold_does_not_stand_for_the_lock) {
  have(_i, "1min");
  colock_hold *revoked = kept_try(lock, COLOCK_EXCLUSIVE);
  must(colock_force_unlock(path, "test", NULL));
  colock_hold *hold = kept_try(lock, COLOCK_EXCLUSIVE);
  must(colock_release(hold));
  must(colock_release_idle(lock));
  suspends(1);
  must_be(COLOCK_EREVOKED, colock_release(revoked));
  suspends(1);
  must(colock_release(kept_try(lock, COLOCK_SHARED)));
  colock_close(lock);
  suspends(2);
}
END_TEST

static void *release(void *hold) { return (void *)(intptr_t)colock_release(hold); }

START_TEST(what_was_forced_out_during_its_suspend_stays_abandoned) {
  pthread_t thread;
  void *code = NULL;
  have(_i, "20ms");
  seen.blocks = true;
  ck_assert_int_eq(pthread_create(&thread, NULL, release, kept_acquire(lock, COLOCK_EXCLUSIVE)), 0);
  await_that(seen.calls == 1);
  must(colock_force_unlock(path, "test", NULL));
  ck_assert_int_eq(abandoned_elsewhere(), 1); /* it was writing */
  seen.blocks = false;
  pthread_join(thread, &code);
  ck_assert_int_eq((intptr_t)code, _i ? COLOCK_OK : COLOCK_EREVOKED);
  if (_i) await_that(parked(lock));
  must(colock_release(kept_acquire(lock, COLOCK_EXCLUSIVE)));
  ck_assert_int_eq(abandoned_elsewhere(), 0);
  colock_close(lock);
}
END_TEST

/* Whoever meets on the new file has the data now. */
START_TEST(what_lost_its_file_is_not_suspended) {
  have(_i > 0, _i == 2 ? "1min" : "50ms");
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  if (_i == 2) must(colock_release(hold));
  ck_assert_int_eq(unlink(path), 0);
  if (_i < 2) (void)colock_release(hold); /* it may have been too short to be told */
  if (_i == 2) await_that(parked(lock));
  must(colock_release_idle(lock));
  suspends(0);
  must(colock_release(kept_acquire(lock, COLOCK_SHARED))); /* of the new file */
  colock_close(lock);
  suspends(1);
}
END_TEST

START_TEST(kept_readers_of_a_file_that_was_replaced_are_not_suspended) {
  have(true, "1min");
  keep_many(lock, COLOCK_SHARED, 3);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  ck_assert_int_eq(unlink(path), 0);
  must_be(COLOCK_ELOST, colock_check(hold));
  must_be(COLOCK_ELOST, colock_release(hold));
  must(colock_release_idle(lock));
  suspends(0);
  hold = kept_acquire(lock, COLOCK_EXCLUSIVE); /* on the new one */
  must(colock_release(hold));
  suspends(0);
  colock_close(lock);
  suspends(1);
}
END_TEST

/* Nor has one of the file that was replaced, whose generation may be the same number. */
START_TEST(hold_of_a_file_that_is_gone_does_not_stand_for_the_lock) {
  have(_i, "1min");
  colock_hold *gone = kept_try(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(unlink(path), 0);
  colock_hold *hold = kept_try(lock, COLOCK_EXCLUSIVE);
  must(colock_release(hold));
  must(colock_release_idle(lock));
  suspends(1);
  (void)colock_release(gone); /* it may have been too short to be told */
  suspends(1);
  must(colock_release(kept_try(lock, COLOCK_SHARED)));
  colock_close(lock);
  suspends(2);
}
END_TEST

/* It came back: it is the same lock, and has to be suspended as before. */
START_TEST(file_that_comes_back_is_suspended_again) {
  have(true, "1min");
  keep(lock, COLOCK_EXCLUSIVE);
  const char *away = test_path("away.lock");
  ck_assert_int_eq(rename(path, away), 0);
  await_that(!test_lane_taken(away));
  suspends(0);
  ck_assert_int_eq(rename(away, path), 0);
  keep(lock, COLOCK_EXCLUSIVE);
  colock_close(lock);
  suspends(1);
}
END_TEST

START_TEST(inherited_hold_is_not_suspended_but_those_after_it_are) {
  have(_i, "1min");
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  must(colock_inherit(hold, 1));
  must(colock_release(hold));
  suspends(0);
  must(colock_release(kept_acquire(lock, COLOCK_EXCLUSIVE)));
  colock_close(lock);
  suspends(1);
}
END_TEST

static int own_suspends(void *arg) {
  (void)arg;
  seen.calls = 0;
  for (int i = 1; i <= 2; i++) {
    colock_hold *hold = NULL;
    if (colock_acquire(lock, COLOCK_EXCLUSIVE, &hold) != COLOCK_OK || colock_release(hold) != COLOCK_OK) return 1;
    if (colock_release_idle(lock) != COLOCK_OK) return 2;
    if (seen.calls != i) return 3;
  }
  colock_close(lock);
  return seen.calls == 2 ? 0 : 4;
}

START_TEST(child_suspends_what_is_its_own) {
  have(_i, "1min");
  keep_many(lock, COLOCK_SHARED, 3);
  int before = seen.calls;
  ck_assert_int_eq(test_in_child(own_suspends, NULL), 0);
  must(colock_release_idle(lock));
  ck_assert_int_eq(seen.calls, 1);
  ck_assert_int_eq(before, !_i);
  colock_close(lock);
  suspends(1);
}
END_TEST

enum { BY_RELEASE, BY_YIELD, BY_RELEASE_IDLE, BY_CLOSE, BY_THE_LIBRARY, WAYS };

static bool in_child;
static uint64_t token;
static _Atomic int ended; /* how the child did; -1: it runs on */

static int await_child(pid_t child) {
  int status = 0;
  for (int64_t limit = test_now_ms() + 10000; waitpid(child, &status, WNOHANG) == 0; sched_yield()) {
    if (test_now_ms() < limit) continue;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_suspending(void) {
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  bool is = colock_entry_number(colock_report_entry(report, 0), COLOCK_SUSPENDING) == 1;
  colock_report_free(report);
  return is;
}

/* Where the library's thread is the child's only one, it ends with that: a sanitizer would miss what the main thread's
 * stack had hold of. */
static void leave_at_once(void) { syscall(SYS_exit_group, 0); }

/* Once the child has ended, all words are what the parent made them. */
static int fork_in_suspend(void *arg) {
  (void)arg;
  pid_t child = fork();
  if (child == 0) {
    in_child = true;
    return atexit(leave_at_once);
  }
  ended = await_child(child);
  ck_assert_uint_eq(test_header(path).writer, token);
  ck_assert(is_suspending());
  seen.lane = test_lane_taken(path);
  seen.calls++;
  return 0;
}

static void give_up(int way, colock_hold *hold) {
  if (way == BY_YIELD) agent_send(other, "acquire x 20000");
  if (way == BY_YIELD) test_await_waiters(path, 1);
  int code = way == BY_YIELD ? colock_yield(hold, COLOCK_NOWAIT) : colock_release(hold);
  if (way == BY_RELEASE_IDLE) code = colock_release_idle(lock);
  if (way == BY_CLOSE) colock_close(lock);
  bool says_so = way == BY_RELEASE || way == BY_YIELD;
  if (in_child && way == BY_YIELD) says_so = code == COLOCK_EFORKED && colock_release(hold) == COLOCK_EFORKED;
  if (in_child) _exit(code == (says_so ? COLOCK_EFORKED : COLOCK_OK) ? 0 : 1);
  if (way != BY_YIELD) must(code);
  if (way != BY_YIELD) return;
  must_be(COLOCK_EBUSY, code);
  must(colock_release(hold));
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
}

/* There it took the writer's mark away, or looked after its parent's locks for ever. */
START_TEST(child_that_returns_from_a_suspend_leaves_its_parent_alone) {
  path = test_path("a.lock");
  lock = _i < BY_RELEASE_IDLE ? test_open(path) : kept_open(path, _i == BY_THE_LIBRARY ? "20ms" : "1min");
  other = other_of(path);
  memset(&seen, 0, sizeof seen);
  must(colock_set_suspend(lock, fork_in_suspend, NULL));
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  token = colock_token(hold);
  give_up(_i, hold);
  await_that(seen.calls == 1);
  ck_assert_int_eq(ended, 0);
  suspends(1);
  ck_assert_int_eq(abandoned_elsewhere(), 0);
  if (_i != BY_CLOSE) colock_close(lock);
}
END_TEST

static _Atomic int failing_errno; /* of every lock call that is not an unlock; 0: none fails */
static int failing_lock(int fd, int command, struct flock *range) {
  int error = atomic_load(&failing_errno);
  if (error == 0 || command != F_OFD_SETLK || range->l_type == F_UNLCK)
    return colockp_system_default.fcntl_lock(fd, command, range);
  errno = error;
  return -1;
}

/* Between a grant's look at the generation and its end: it is forced out, and another of this process has written. */
static int write_meanwhile(int fd) {
  colockp_system.fdatasync = colockp_system_default.fdatasync;
  must(colock_force_unlock(path, "test", NULL));
  keep(lock, COLOCK_EXCLUSIVE);
  return colockp_system.fdatasync(fd);
}

START_TEST(hold_that_was_forced_out_at_its_grant_does_not_stand_for_the_lock) {
  const uint64_t unsynced = 0;
  have(true, "1min");
  test_poke(path, offsetof(struct colockp_header, ceiling), &unsynced, sizeof unsynced);
  colockp_system.fdatasync = write_meanwhile;
  colock_hold *revoked = kept_try(lock, COLOCK_EXCLUSIVE);
  must_be(COLOCK_EREVOKED, colock_check(revoked));
  must(colock_release_idle(lock)); /* what has written */
  suspends(1);
  must_be(COLOCK_EREVOKED, colock_release(revoked));
  colock_close(lock);
  suspends(1);
  colockp_system = colockp_system_default;
}
END_TEST

static int failing_sync(int fd) {
  (void)fd;
  errno = EIO;
  return -1;
}

enum { LOCK_CALL, SYNC_OF_A_READER, SYNC_OF_A_WRITER, FAILURES };

/* It was let go without a suspend; or counted as one that has the lock, for ever. */
START_TEST(what_cannot_be_made_exclusive_is_suspended_before_it_goes) {
  const uint64_t unsynced = 0;
  int mode = _i == SYNC_OF_A_WRITER ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
  colock_hold *hold = NULL;
  colockp_system.fcntl_lock = failing_lock;
  have(true, "1min");
  keep(lock, mode);
  if (_i == LOCK_CALL) {
    failing_errno = ENOLCK;
    must_be(COLOCK_ENOLOCKS, colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold));
    failing_errno = 0;
  } else {
    test_poke(path, offsetof(struct colockp_header, ceiling), &unsynced, sizeof unsynced);
    colockp_system.fdatasync = failing_sync;
    int code = colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold);
    ck_assert(code == COLOCK_EBUSY || code == COLOCK_ESYSTEM); /* it is still there, or gone already */
  }
  await_that(seen.calls == 1);
  if (_i != LOCK_CALL) must_be(COLOCK_ESYSTEM, colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  colockp_system.fdatasync = colockp_system_default.fdatasync;
  ck_assert_ptr_null(hold);
  await_that(free_for_others());
  suspends(1);
  ck_assert_int_eq(seen.mode, mode);
  ck_assert_int_ne(seen.tid, getpid()); /* who acquires never runs one */
  keep(lock, COLOCK_SHARED);
  must(colock_release_idle(lock));
  suspends(2);
  colock_close(lock);
  colockp_system = colockp_system_default;
}
END_TEST

/* ---- to set it ---- */

START_TEST(suspend_is_set_while_nobody_holds) {
  have(true, "1min");
  must_be(COLOCK_EINVAL, colock_set_suspend(NULL, suspend, &seen));
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  must_be(COLOCK_EBUSY, colock_set_suspend(lock, NULL, NULL));
  must(colock_release(hold));
  must_be(COLOCK_EBUSY, colock_set_suspend(lock, NULL, NULL)); /* kept */
  must(colock_release_idle(lock));
  suspends(1);
  must(colock_set_suspend(lock, NULL, NULL));
  keep(lock, COLOCK_EXCLUSIVE);
  must(colock_release_idle(lock));
  suspends(1);
  colock_close(lock);
}
END_TEST

static int no_thread(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *arg) {
  (void)thread, (void)attributes, (void)body, (void)arg;
  return EAGAIN;
}

START_TEST(suspend_without_its_thread_is_refused) {
  colockp_system.pthread_create = no_thread;
  path = test_path("a\nb.lock");
  lock = kept_open(path, "1min");
  must_be(COLOCK_ESYSTEM, colock_set_suspend(lock, suspend, &seen));
  ck_assert_int_eq(colock_last_errno(), EAGAIN);
  ck_assert_msg(strstr(colock_last_message(), "a\\nb.lock: cannot"), "%s", colock_last_message());
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert(free_for_others());
  ck_assert_int_eq(seen.calls, 0);
  colock_close(lock);
  lock = test_open(path);
  must(colock_set_suspend(lock, suspend, &seen)); /* without auto_release it needs none */
  colock_close(lock);
  colockp_system = colockp_system_default;
}
END_TEST

/* A suspend may take its time: nobody takes the lock away from one that only lets go. */
START_TEST(suspend_is_never_stale) {
  colock_config *config = test_config("auto_release", _i ? "true" : "false", "idle_timeout", "20ms", "stale_timeout",
                                      "10ms", NULL);
  path = test_path("a.lock");
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  memset(&seen, 0, sizeof seen);
  must(colock_set_suspend(lock, suspend, &seen));
  seen.blocks = true;
  pthread_t thread;
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(pthread_create(&thread, NULL, release, hold), 0);
  await_that(seen.calls == 1);
  other = agent_start();
  ck_assert_int_eq(agent_call(other, "open %s stale_action=break retry_delay=10ms", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(other, "acquire x 300"), COLOCK_ETIMEDOUT);
  ck_assert_ptr_nonnull(strstr(other->text, "suspending"));
  ck_assert_int_le(entry_of(path, COLOCK_STALE), 0);
  seen.blocks = false;
  pthread_join(thread, NULL);
  ck_assert_int_eq(agent_call(other, "acquire x 7000"), COLOCK_OK);
  ck_assert_int_eq(other->abandoned, 0);
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  const int first = COLOCK_SHARED, end = COLOCK_EXCLUSIVE + 1;
  TCase *tcase = test_case(suite, "wrong", 60);
  tcase_add_loop_test(tcase, failed_suspend_leaves_as_if_the_writer_had_died, first, end);
  tcase_add_loop_test(tcase, writer_that_dies_in_its_suspend_is_told_of, 0, 2);
  tcase_add_loop_test(tcase, what_was_forced_out_is_not_suspended, 0, 2);
  tcase_add_loop_test(tcase, forced_out_hold_does_not_stand_for_the_lock, 0, 2);
  tcase_add_loop_test(tcase, what_was_forced_out_during_its_suspend_stays_abandoned, 0, 2);
  tcase_add_loop_test(tcase, what_lost_its_file_is_not_suspended, 0, 3);
  tcase_add_test(tcase, kept_readers_of_a_file_that_was_replaced_are_not_suspended);
  tcase_add_loop_test(tcase, hold_of_a_file_that_is_gone_does_not_stand_for_the_lock, 0, 2);
  tcase_add_test(tcase, file_that_comes_back_is_suspended_again);
  tcase_add_loop_test(tcase, inherited_hold_is_not_suspended_but_those_after_it_are, 0, 2);
  tcase_add_test(tcase, hold_that_was_forced_out_at_its_grant_does_not_stand_for_the_lock);
  tcase_add_loop_test(tcase, what_cannot_be_made_exclusive_is_suspended_before_it_goes, 0, FAILURES);
  tcase = test_case(suite, "fork", 60);
  tcase_set_tags(tcase, "native child_threads");
  tcase_add_loop_test(tcase, child_suspends_what_is_its_own, 0, 2);
  tcase_add_loop_test(tcase, child_that_returns_from_a_suspend_leaves_its_parent_alone, 0, WAYS);
  tcase = test_case(suite, "set", 60);
  tcase_add_test(tcase, suspend_is_set_while_nobody_holds);
  tcase_add_test(tcase, suspend_without_its_thread_is_refused);
  tcase_add_loop_test(tcase, suspend_is_never_stale, 0, 2);
}

int main(int argc, char **argv) { return test_main(argc, argv, "leave_fails", fill); }

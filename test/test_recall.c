/* test_recall.c - locks that are kept, seen from other processes: who waits gets them, and who dies leaves them. */
#define _GNU_SOURCE
#include "recall.h"
#include "line.h"
#include "naps.h"
#include "kept_lock.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The other process gets it, waiting, and gives it back. */
static void goes(const char *mode) {
  ck_assert_msg(agent_call(other, "acquire %s 7000", mode) == COLOCK_OK, "%s", other->text);
  ck_assert_int_eq(agent_call(other, "release %d", other->hold), COLOCK_OK);
}

/* ---- by waiting ---- */

START_TEST(writer_gets_what_is_only_kept) {
  have_other();
  for (int i = 1; i < 4; i++) {
    if (_i == COLOCK_SHARED) keep_many(lock, COLOCK_SHARED, i);
    else keep(lock, COLOCK_EXCLUSIVE);
    goes("x");
    ck_assert_int_eq(cached(path), 0);
  }
  colock_close(lock);
}
END_TEST

START_TEST(reader_gets_what_a_writer_keeps_and_leaves_readers_alone) {
  have_other();
  for (int i = 0; i < 3; i++) {
    keep(lock, COLOCK_EXCLUSIVE);
    goes("s");
    ck_assert_int_eq(cached(path), 0);
    keep(lock, COLOCK_SHARED);
    goes("s");
    ck_assert_int_eq(cached(path), 1);
  }
  colock_close(lock);
}
END_TEST

START_TEST(all_owners_let_go_for_one_writer) {
  have_other();
  keep_many(lock, COLOCK_SHARED, 2);
  for (int i = 0; i < 3; i++) keeper_of(path, "", "s");
  ck_assert_int_eq(cached(path), 5);
  goes("x");
  ck_assert_int_eq(cached(path), 0);
  colock_close(lock);
}
END_TEST

START_TEST(upgrade_elsewhere_gets_what_readers_keep) {
  have_other();
  ck_assert_int_eq(agent_call(other, "acquire s 7000"), COLOCK_OK);
  keep_many(lock, COLOCK_SHARED, 2);
  ck_assert_int_eq(agent_call(other, "upgrade 0 7000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

START_TEST(try_asks_nobody_to_let_go) {
  have_other();
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(agent_call(other, "try s"), COLOCK_EBUSY);
  ck_assert_int_eq(agent_call(other, "acquire s 0"), COLOCK_EBUSY);
  ck_assert_ptr_nonnull(strstr(other->text, "a.lock"));
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

START_TEST(release_hands_it_to_who_waits) {
  have_other();
  keep(lock, _i);
  colock_hold *hold = kept_acquire(lock, _i);
  lasts_ms(hold, -1000);
  agent_send(other, "acquire x 7000");
  test_await_waiters(path, 1);
  must(colock_release(hold));
  ck_assert_int_eq(cached(path), 0);
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  colock_close(lock);
}
END_TEST

START_TEST(waiter_that_gave_up_is_no_reason_to_let_go) {
  have_other();
  keep(lock, COLOCK_EXCLUSIVE);
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(agent_call(other, "acquire s 30"), COLOCK_ETIMEDOUT);
  must(colock_release(hold));
  for (int i = 0; i < 10; i++) keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

/* It stood still and was passed over, so it did not count: until it runs again. */
START_TEST(waiter_that_was_passed_over_is_let_in_when_it_runs_again) {
  have_other();
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  lasts_ms(hold, -1000);
  agent_send(other, "acquire x 20000");
  test_await_waiters(path, 1);
  stop(other->pid);
  must(colock_release(hold));
  struct agent *owner = keeper_of(path, "retry_delay=10ms", "x");
  ck_assert_int_eq(cached(path), 1);
  ck_assert_int_eq(agent_call(owner, "acquire x 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(owner, "release 0"), COLOCK_OK);
  ck_assert_int_eq(cached(path), 1);
  go_on(other->pid);
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  colock_close(lock);
}
END_TEST

/* ---- the least time ---- */

START_TEST(it_is_used_again_for_a_moment_and_then_let_go) {
  have_other();
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  lasts_ms(hold, 60000);
  must(colock_release(hold));
  agent_send(other, "acquire %s 20000", _i ? "x" : "s");
  test_await_waiters(path, 1);
  for (int i = 0; i < 10; i++) {
    must(colock_release(kept_try(lock, COLOCK_EXCLUSIVE)));
    ck_assert(!agent_answered(other));
  }
  hold = kept_try(lock, COLOCK_EXCLUSIVE);
  int64_t end_ns = lasts_ms(hold, 30);
  must(colock_release(hold));
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  ck_assert_int_ge(colockp_now_ns(), end_ns);
  colock_close(lock);
}
END_TEST

START_TEST(recall_that_came_while_it_was_in_use_is_heard) {
  have_other();
  for (int i = 0; i < 10; i++) {
    keep(lock, COLOCK_EXCLUSIVE);
    colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
    int64_t end_ns = lasts_ms(hold, 30);
    agent_send(other, "acquire x 7000");
    test_await_waiters(path, 1);
    must(colock_release(hold));
    ck_assert_int_eq(agent_answer(other), COLOCK_OK);
    ck_assert_int_ge(colockp_now_ns(), end_ns);
    ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  }
  colock_close(lock);
}
END_TEST

/* Nobody recalls it here: the waiter is nothing but words. */
START_TEST(after_that_moment_who_waits_goes_first) {
  have_other();
  colock_hold *late = NULL;
  keep_overdue(kept_acquire(lock, COLOCK_EXCLUSIVE));
  struct line line = line_of(lock->region, 20, "w-100");
  ck_assert_int_eq(cached(path), 1);
  int64_t before_ns = colockp_now_ns();
  int code = colock_try_acquire(lock, _i, &late);
  if (code == COLOCK_OK) { /* it did not take it in the time that a try gives it: it was passed over */
    ck_assert_int_gt(late->lane_since_ns, before_ns);
    ck_assert_uint_ne(lock->region->queue[20].rank & COLOCKP_RANK_PASSED, 0);
    must(colock_release(late));
  } else {
    ck_assert_int_eq(code, COLOCK_EBUSY);
    ck_assert(!test_lane_taken(path));
  }
  line_end(&line);
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  lasts_ms(hold, -1000);
  line = line_of(lock->region, 20, "r5");
  must(colock_release(hold));
  ck_assert(!test_lane_taken(path));
  line_end(&line);
  colock_close(lock);
}
END_TEST

/* The thread has seen who waits, and nothing to be let go: it sleeps until it is told. Nobody else is there to tell it:
 * the waiter is nothing but words. */
START_TEST(who_keeps_it_for_that_moment_sees_to_its_end) {
  naps_install(true);
  have_other();
  for (int i = 0; i < 12; i++) {
    keep(lock, COLOCK_EXCLUSIVE);
    colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
    struct line line = line_of(lock->region, 20, "w5");
    long before = naps.begun;
    if (i % 2) colockp_recall(lock->region);
    if (i % 2) naps_await(before);
    int64_t end_ns = lasts_ms(hold, 30);
    must(colock_release(hold));
    await_that(!test_lane_taken(path));
    ck_assert_int_ge(colockp_now_ns(), end_ns);
    line_end(&line);
  }
  colock_close(lock);
  colockp_system = colockp_system_default;
}
END_TEST

/* ---- owners that are stopped, or die ---- */

START_TEST(stopped_owner_keeps_others_waiting_until_it_runs_again) {
  have_other();
  struct agent *owner = keeper_of(path, "stale_timeout=10ms", "x");
  stop(owner->pid);
  ck_assert_int_eq(agent_call(other, "acquire s 300"), COLOCK_ETIMEDOUT);
  ck_assert_ptr_nonnull(strstr(other->text, "kept unused"));
  ck_assert_ptr_nonnull(strstr(other->text, "stopped"));
  struct agent *breaker = agent_start(); /* what is kept is never stale */
  ck_assert_int_eq(agent_call(breaker, "open %s stale_action=break retry_delay=10ms", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(breaker, "acquire x 300"), COLOCK_ETIMEDOUT);
  agent_send(other, "acquire x 20000");
  test_await_waiters(path, 1);
  ck_assert_int_eq(cached(path), 1);
  go_on(owner->pid);
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  ck_assert_int_eq(other->abandoned, 0);
  colock_close(lock);
}
END_TEST

START_TEST(owner_that_ends_leaves_a_free_lock_behind) {
  have_other();
  for (int i = 0; i < 4; i++) {
    struct agent *owner = keeper_of(path, "", i % 2 ? "x" : "s");
    ck_assert_int_eq(cached(path), 1);
    if (i < 2) {
      agent_kill(owner);
    } else {
      agent_send(owner, "exit 0");
      ck_assert_int_eq(agent_wait(owner), 0);
    }
    ck_assert_int_eq(agent_call(other, "try x"), COLOCK_OK);
    ck_assert_int_eq(other->abandoned, 0); /* nobody was writing */
    ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
    ck_assert_int_eq(stat_of(path, "abandoned"), 0);
  }
  colock_close(lock);
}
END_TEST

START_TEST(waiter_learns_of_the_death_of_a_stopped_owner) {
  have_other();
  struct agent *owner = keeper_of(path, "", "x");
  stop(owner->pid);
  agent_send(other, "acquire x 7000");
  test_await_waiters(path, 1);
  agent_kill(owner);
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  ck_assert_int_eq(other->abandoned, 0);
  colock_close(lock);
}
END_TEST

START_TEST(writer_that_dies_with_what_it_had_kept_before_is_told_of) {
  have_other();
  struct agent *owner = keeper_of(path, "", _i == COLOCK_SHARED ? "s" : "x");
  ck_assert_int_eq(agent_call(owner, "acquire x 0"), COLOCK_OK);
  uint64_t token = owner->token;
  agent_kill(owner);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  ck_assert_int_eq(colock_abandoned(hold), 1);
  ck_assert_uint_eq((uint64_t)stat_of(path, "abandoned"), token);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

/* A child has copies of its descriptors, but for those that carry locks. */
START_TEST(child_does_not_keep_what_its_dead_parent_kept) {
  have_other();
  struct agent *owner = keeper_of(path, "", "x");
  ck_assert_int_eq(agent_call(owner, "fork_live"), COLOCK_OK);
  pid_t child = (pid_t)owner->number;
  agent_kill(owner);
  ck_assert_int_eq(can("x"), COLOCK_OK);
  kill(child, SIGKILL);
  colock_close(lock);
}
END_TEST

/* ---- forced out ---- */

static bool old_lane_taken(uint32_t generation) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = colockp_lane(generation), .l_len = 1};
  ck_assert_int_eq(fcntl(fd, F_OFD_GETLK, &range), 0);
  close(fd);
  return range.l_type != F_UNLCK;
}

START_TEST(kept_lock_can_be_forced_out) {
  have_other();
  for (int i = 0; i < 3; i++) {
    uint32_t generation = (uint32_t)stat_of(path, "generation");
    keep(lock, _i);
    must(colock_force_unlock(path, "test", NULL));
    ck_assert_int_eq(stat_of(path, "generation"), generation + 1);
    if (i > 0) ck_assert_int_eq(can("x"), COLOCK_OK); /* at once */
    ck_assert_int_eq(other->abandoned, 0);
    if (i == 2) await_that(!old_lane_taken(generation)); /* its owner lets go, too */
    colock_hold *hold = kept_acquire(lock, _i);
    must(colock_check(hold));
    ck_assert_int_eq(stat_of(path, "holders"), 1);
    must(colock_release(hold));
    must(colock_release_idle(lock));
    await_that(!old_lane_taken(generation)); /* it may be the thread that was faster */
    await_that(!test_lane_taken(path));
  }
  colock_close(lock);
}
END_TEST

START_TEST(forced_out_hold_of_what_was_kept_is_revoked_and_not_kept) {
  have_other();
  for (int i = 0; i < 3; i++) {
    keep(lock, _i);
    colock_hold *hold = kept_acquire(lock, _i);
    must(colock_force_unlock(path, "test", NULL));
    if (i > 0) must_be(COLOCK_EREVOKED, colock_check(hold));
    ck_assert_int_eq(agent_call(other, "try x"), COLOCK_OK);
    ck_assert_int_eq(other->abandoned, _i == COLOCK_EXCLUSIVE);
    if (other->abandoned) ck_assert_int_eq(agent_call(other, "recovered 0"), COLOCK_OK);
    must_be(COLOCK_EREVOKED, colock_release(hold));
    ck_assert_int_eq(cached(path), 0);
    ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  }
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

/* ---- all of it, again and again ---- */

#define PROCESSES 3
#define THREADS 2

static struct shared {
  _Atomic int writers, readers;
  _Atomic int broken, failed;
  _Atomic long grants;
} *shared;

static void *use_it_again_and_again(void *arg) {
  uint64_t random = (uint64_t)(intptr_t)arg;
  int64_t end = test_now_ms() + 1000 * test_seconds(2);
  while (test_now_ms() < end && !shared->failed) {
    int mode = test_random(&random) % 4 ? COLOCK_SHARED : COLOCK_EXCLUSIVE;
    colock_hold *hold = NULL;
    if (colock_acquire(lock, mode, &hold) != COLOCK_OK) {
      fprintf(stderr, "%s\n", colock_last_message());
      shared->failed++;
      break;
    }
    _Atomic int *mine = mode == COLOCK_SHARED ? &shared->readers : &shared->writers;
    shared->broken += atomic_fetch_add(mine, 1) > 0 && mode == COLOCK_EXCLUSIVE;
    shared->broken += mode == COLOCK_SHARED ? shared->writers > 0 : shared->readers > 0;
    shared->grants++;
    if (test_random(&random) % 8 == 0) sched_yield();
    atomic_fetch_sub(mine, 1);
    shared->failed += colock_release(hold) != COLOCK_OK;
    if (test_random(&random) % 64 == 0) usleep(test_random(&random) % 3000);
  }
  return NULL;
}

static int process(void *arg) {
  pthread_t threads[THREADS];
  intptr_t number = (intptr_t)arg;
  lock = kept_open(path, number % 2 ? "5ms" : "1min"); /* its wait ends after 10 s: before a lost recall is made good */
  for (int i = 0; i < THREADS; i++)
    if (pthread_create(&threads[i], NULL, use_it_again_and_again, (void *)(number * THREADS + i)) != 0) return 1;
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  colock_close(lock);
  return 0;
}

START_TEST(owners_hand_it_over_again_and_again) {
  pid_t children[PROCESSES];
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(shared, MAP_FAILED);
  path = test_path("a.lock");
  for (intptr_t i = 0; i < PROCESSES; i++)
    children[i] = test_fork(process, (void *)((intptr_t)(test_seed() >> 24) + i));
  for (int i = 0; i < PROCESSES; i++) ck_assert_int_eq(test_wait(children[i]), 0);
  ck_assert_int_eq(shared->broken, 0);
  ck_assert_int_eq(shared->failed, 0);
  ck_assert_int_gt(shared->grants, 10);
  ck_assert_uint_eq(test_waiters(path), 0);
  munmap(shared, sizeof *shared);
}
END_TEST

static void fill(Suite *suite) {
  const int first = COLOCK_SHARED, end = COLOCK_EXCLUSIVE + 1;
  TCase *tcase = test_case(suite, "waiting", 60);
  tcase_add_loop_test(tcase, writer_gets_what_is_only_kept, first, end);
  tcase_add_test(tcase, reader_gets_what_a_writer_keeps_and_leaves_readers_alone);
  tcase_add_test(tcase, all_owners_let_go_for_one_writer);
  tcase_add_test(tcase, upgrade_elsewhere_gets_what_readers_keep);
  tcase_add_test(tcase, try_asks_nobody_to_let_go);
  tcase_add_loop_test(tcase, release_hands_it_to_who_waits, first, end);
  tcase_add_test(tcase, waiter_that_gave_up_is_no_reason_to_let_go);
  tcase_add_test(tcase, waiter_that_was_passed_over_is_let_in_when_it_runs_again);
  tcase = test_case(suite, "least time", 60);
  tcase_add_loop_test(tcase, it_is_used_again_for_a_moment_and_then_let_go, 0, 2);
  tcase_add_test(tcase, recall_that_came_while_it_was_in_use_is_heard);
  tcase_add_loop_test(tcase, after_that_moment_who_waits_goes_first, first, end);
  tcase_add_test(tcase, who_keeps_it_for_that_moment_sees_to_its_end);
  tcase = test_case(suite, "ends", 60);
  tcase_add_test(tcase, stopped_owner_keeps_others_waiting_until_it_runs_again);
  tcase_add_test(tcase, owner_that_ends_leaves_a_free_lock_behind);
  tcase_add_test(tcase, waiter_learns_of_the_death_of_a_stopped_owner);
  tcase_add_loop_test(tcase, writer_that_dies_with_what_it_had_kept_before_is_told_of, first, end);
  tcase_add_test(tcase, child_does_not_keep_what_its_dead_parent_kept);
  tcase_add_loop_test(tcase, kept_lock_can_be_forced_out, first, end);
  tcase_add_loop_test(tcase, forced_out_hold_of_what_was_kept_is_revoked_and_not_kept, first, end);
  tcase = test_case(suite, "all", 120);
  tcase_add_test(tcase, owners_hand_it_over_again_and_again);
}

int main(int argc, char **argv) { return test_main(argc, argv, "recall", fill); }

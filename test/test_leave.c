/* test_leave.c - a lock that leaves its process: when the suspend before that is called, and in which thread. */
#define _GNU_SOURCE
#include "leave.h"
#include "cache.h"
#include "suspended.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* ---- without auto_release ---- */

START_TEST(last_release_suspends_in_its_own_thread) {
  unsigned threads = test_threads();
  have(false, NULL);
  for (int i = 1; i <= 3; i++) {
    must(colock_release(kept_acquire(lock, _i)));
    suspends(i);
    ck_assert_int_eq(seen.tid, getpid());
    ck_assert_int_eq(seen.role, COLOCK_CACHED);
    ck_assert_int_eq(seen.suspending, 1);
    ck_assert_int_eq(seen.mode, _i);
    ck_assert(!seen.blocked);
    ck_assert(free_for_others());
  }
  ck_assert_uint_eq(test_threads(), threads);
  colock_close(lock);
  suspends(3);
}
END_TEST

START_TEST(only_the_last_of_several_readers_suspends) {
  have(false, NULL);
  colock_hold *holds[3];
  for (int i = 0; i < 3; i++) holds[i] = kept_try(lock, COLOCK_SHARED);
  for (int i = 0; i < 3; i++) {
    suspends(0);
    must(colock_release(holds[i]));
  }
  suspends(1);
  colock_close(lock);
}
END_TEST

START_TEST(yield_suspends_and_downgrade_does_not) {
  have(_i, "1min");
  other = other_of(path);
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  must(colock_downgrade(hold));
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  must(colock_downgrade(hold));
  must(colock_yield(hold, COLOCK_NOWAIT)); /* nobody waits */
  suspends(0);
  agent_send(other, "acquire x 7000");
  test_await_waiters(path, 1);
  must_be(COLOCK_ETIMEDOUT, colock_yield(hold, 1));
  suspends(1);
  ck_assert_int_eq(seen.tid, getpid());
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  must(colock_release(hold));
  suspends(1);
  colock_close(lock);
}
END_TEST

/* ---- with auto_release ---- */

START_TEST(release_and_acquire_never_suspend) {
  have(true, "1min");
  for (int i = 0; i < 20; i++) keep(lock, i % 2 ? COLOCK_SHARED : COLOCK_EXCLUSIVE);
  keep_many(lock, COLOCK_SHARED, 1);
  suspends(0);
  must(colock_release_idle(lock));
  suspends(1);
  ck_assert_int_eq(seen.tid, getpid());
  colock_close(lock);
  suspends(1);
}
END_TEST

START_TEST(what_idles_is_suspended_by_a_thread_that_no_signal_reaches) {
  have(true, "50ms");
  for (int i = 1; i <= 3; i++) {
    keep(lock, _i);
    await_that(free_for_others());
    suspends(i);
    ck_assert_int_ne(seen.tid, getpid());
    ck_assert(seen.blocked);
    ck_assert_int_eq(seen.role, COLOCK_CACHED);
    ck_assert_int_eq(seen.mode, _i);
    ck_assert_int_eq(seen.suspending, 1);
  }
  colock_close(lock);
  suspends(3);
}
END_TEST

START_TEST(who_waits_gets_it_after_the_suspend) {
  have(true, "1min");
  other = other_of(path);
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(entry_of(path, COLOCK_SUSPENDING), 0);
  seen.blocks = true;
  agent_send(other, "acquire %s 20000", _i == COLOCK_SHARED ? "s" : "x");
  await_that(seen.calls == 1);
  ck_assert_int_ne(seen.tid, getpid());
  ck_assert(!agent_answered(other));
  ck_assert(test_lane_taken(path));
  seen.blocks = false;
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  ck_assert_int_eq(other->abandoned, 0);
  colock_close(lock);
  suspends(1);
}
END_TEST

START_TEST(last_of_those_that_are_kept_suspends) {
  have(true, "1min");
  keep_many(lock, COLOCK_SHARED, 5);
  ck_assert_int_eq(abandoned_elsewhere(), 0);
  suspends(1);
  keep_many(lock, COLOCK_SHARED, 3);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  must(colock_release_idle(lock));
  suspends(1); /* one is in use */
  must(colock_release(hold));
  suspends(1);
  colock_close(lock);
  suspends(2);
  ck_assert_int_eq(seen.tid, getpid());
}
END_TEST

static void *close_it(void *arg) {
  (void)arg;
  colock_close(lock);
  return NULL;
}

START_TEST(close_waits_for_a_suspend_under_way) {
  have(true, "20ms");
  keep(lock, COLOCK_EXCLUSIVE);
  seen.blocks = true;
  await_that(seen.calls == 1);
  must(colock_release_idle(lock)); /* does not wait for it */
  ck_assert_int_eq(seen.inside, 1);
  pthread_t thread;
  ck_assert_int_eq(pthread_create(&thread, NULL, close_it, NULL), 0);
  await_that(atomic_load(&lock->cache.ending));
  ck_assert_int_eq(seen.inside, 1);
  seen.blocks = false;
  pthread_join(thread, NULL);
  ck_assert_int_eq(seen.inside, 0);
  suspends(1);
  ck_assert(free_for_others());
}
END_TEST

static void *release_idle(void *arg) {
  (void)arg;
  return (void *)(intptr_t)colock_release_idle(lock);
}

/* While the last one is suspended a reader comes in beside it; what it gives up is suspended too, but after that. */
START_TEST(of_two_suspends_the_second_begins_after_the_first) {
  have(true, "20ms");
  keep(lock, COLOCK_SHARED);
  seen.blocks = true;
  await_that(seen.calls == 1);
  colock_hold *hold = kept_try(lock, COLOCK_SHARED);
  must(colock_release(hold));
  pthread_t thread;
  ck_assert_int_eq(pthread_create(&thread, NULL, release_idle, NULL), 0);
  await_that((uint32_t)atomic_load(&lock->region->lanes) == 0);
  for (int i = 0; i < 1000; i++) sched_yield(); /* suspend itself looks for another one */
  seen.blocks = false;
  pthread_join(thread, NULL);
  await_that(free_for_others());
  colock_close(lock);
  suspends(2);
}
END_TEST

START_TEST(readers_get_an_exclusive_hold_as_long_as_a_writer_is_kept) {
  have(true, "1min");
  other = other_of(path);
  keep(lock, COLOCK_EXCLUSIVE);
  for (int i = 0; i < 3; i++) {
    colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
    uint64_t last = test_header(path).fence;
    ck_assert_uint_eq(colock_token(hold), last);
    ck_assert_uint_eq(colock_last_token(hold), last - 1);
    ck_assert_int_eq(entry_of(path, COLOCK_MODE), COLOCK_EXCLUSIVE);
    ck_assert_int_eq(agent_call(other, "try s"), COLOCK_EBUSY);
    must(colock_release(hold));
    ck_assert_int_eq(entry_of(path, COLOCK_MODE), COLOCK_EXCLUSIVE);
  }
  suspends(0);
  ck_assert_int_eq(agent_call(other, "acquire s 7000"), COLOCK_OK);
  suspends(1);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  ck_assert_uint_eq(colock_token(hold), 0);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(own_readers_come_in_together_once_the_writer_is_suspended) {
  have(true, "1min");
  keep(lock, COLOCK_EXCLUSIVE);
  colock_hold *first = kept_acquire(lock, COLOCK_SHARED), *second = NULL;
  ck_assert_uint_gt(colock_token(first), 0);
  must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_SHARED, &second));
  must(colock_release(first));
  must(colock_release_idle(lock));
  suspends(1);
  first = kept_try(lock, COLOCK_SHARED);
  second = kept_try(lock, COLOCK_SHARED);
  ck_assert_uint_eq(colock_token(first), 0);
  must(colock_release(first));
  must(colock_release(second));
  colock_close(lock);
  suspends(2);
}
END_TEST

/* Of the own ones that are kept none is the last: the one that is to write has the lock too. */
START_TEST(own_kept_readers_make_room_for_a_writer_without_a_suspend) {
  have(true, "1min");
  keep_many(lock, COLOCK_SHARED, 3);
  colock_hold *hold = kept_try(lock, COLOCK_EXCLUSIVE);
  must(colock_release(hold));
  must(colock_release_idle(lock));
  suspends(1);
  keep_many(lock, COLOCK_SHARED, 3);
  hold = kept_try(lock, COLOCK_SHARED);
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  must(colock_release(hold));
  suspends(1);
  colock_close(lock);
  suspends(2);
}
END_TEST

/* ---- all of it, again and again ---- */

#define PROCESSES 3
#define THREADS 2

/* A page that each process writes into its own memory first: suspend brings it to the others. */
static struct shared {
  _Atomic int unflushed[PROCESSES]; /* writes of that process which the others cannot see yet */
  _Atomic int suspending[PROCESSES];
  _Atomic int writers, readers;
  _Atomic int broken, failed;
  _Atomic long grants, suspends;
} *shared;
static int me;

static int flush(void *arg) {
  (void)arg;
  shared->broken += atomic_fetch_add(&shared->suspending[me], 1) != 0;
  shared->suspends++;
  shared->unflushed[me] = 0;
  sched_yield();
  shared->suspending[me]--;
  return 0;
}

/* Under a hold: those of the other processes whose writes are missing. */
static int behind(void) {
  int found = 0;
  for (int i = 0; i < PROCESSES; i++) found += i != me && shared->unflushed[i] != 0;
  return found;
}

static void use(uint64_t *random, colock_hold *hold) {
  bool writes = colock_token(hold) != 0;
  _Atomic int *mine = writes ? &shared->writers : &shared->readers;
  shared->broken += atomic_fetch_add(mine, 1) > 0 && writes;
  shared->broken += writes ? shared->readers > 0 : shared->writers > 0;
  shared->broken += behind() > 0;
  if (writes) shared->unflushed[me]++;
  if (test_random(random) % 4 == 0) sched_yield();
  shared->broken += behind() > 0;
  atomic_fetch_sub(mine, 1);
  shared->grants++;
}

static void *use_it_again_and_again(void *arg) {
  uint64_t random = (uint64_t)(uintptr_t)arg;
  int64_t end = test_now_ms() + 1000 * test_seconds(2);
  while (test_now_ms() < end && !shared->failed) {
    int mode = test_random(&random) % 3 ? COLOCK_SHARED : COLOCK_EXCLUSIVE;
    colock_hold *hold = NULL;
    int code = test_random(&random) % 8 ? colock_acquire(lock, mode, &hold) : colock_try_acquire(lock, mode, &hold);
    if (code == COLOCK_EBUSY) continue;
    if (code != COLOCK_OK) {
      fprintf(stderr, "%s\n", colock_last_message());
      shared->failed++;
      break;
    }
    use(&random, hold);
    uint32_t more = test_random(&random) % 16;
    if (more == 0 && colock_upgrade(hold, COLOCK_NOWAIT) == COLOCK_OK) use(&random, hold);
    else if (more == 1 && colock_yield(hold, COLOCK_CONFIGURED) == COLOCK_OK) use(&random, hold);
    shared->failed += colock_release(hold) != COLOCK_OK;
    if (more == 2) colock_release_idle(lock);
    if (more == 3) usleep(test_random(&random) % 3000);
  }
  return NULL;
}

static int process(void *arg) {
  pthread_t threads[THREADS];
  me = *(int *)arg;
  lock = me == 0 ? test_open(path) : kept_open(path, me == 1 ? "2ms" : "1min");
  if (colock_set_suspend(lock, flush, NULL) != COLOCK_OK) return 1;
  for (int i = 0; i < THREADS; i++) {
    uintptr_t random = (uintptr_t)test_seed() + (uintptr_t)(me * THREADS + i);
    if (pthread_create(&threads[i], NULL, use_it_again_and_again, (void *)random) != 0) return 2;
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  colock_close(lock);
  return shared->unflushed[me] == 0 ? 0 : 3;
}

START_TEST(nobody_comes_in_before_what_was_written_is_suspended) {
  pid_t children[PROCESSES];
  int numbers[PROCESSES];
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(shared, MAP_FAILED);
  path = test_path("a.lock");
  for (int i = 0; i < PROCESSES; i++) {
    numbers[i] = i;
    children[i] = test_fork(process, &numbers[i]);
  }
  for (int i = 0; i < PROCESSES; i++) ck_assert_int_eq(test_wait(children[i]), 0);
  ck_assert_int_eq(shared->broken, 0);
  ck_assert_int_eq(shared->failed, 0);
  ck_assert_int_gt(shared->grants, 10);
  ck_assert_int_gt(shared->suspends, 3);
  munmap(shared, sizeof *shared);
}
END_TEST

static void fill(Suite *suite) {
  const int first = COLOCK_SHARED, end = COLOCK_EXCLUSIVE + 1;
  TCase *tcase = test_case(suite, "plain", 60);
  tcase_add_loop_test(tcase, last_release_suspends_in_its_own_thread, first, end);
  tcase_add_test(tcase, only_the_last_of_several_readers_suspends);
  tcase_add_loop_test(tcase, yield_suspends_and_downgrade_does_not, 0, 2);
  tcase = test_case(suite, "kept", 60);
  tcase_add_test(tcase, release_and_acquire_never_suspend);
  tcase_add_loop_test(tcase, what_idles_is_suspended_by_a_thread_that_no_signal_reaches, first, end);
  tcase_add_loop_test(tcase, who_waits_gets_it_after_the_suspend, first, end);
  tcase_add_test(tcase, last_of_those_that_are_kept_suspends);
  tcase_add_test(tcase, close_waits_for_a_suspend_under_way);
  tcase_add_test(tcase, of_two_suspends_the_second_begins_after_the_first);
  tcase_add_test(tcase, readers_get_an_exclusive_hold_as_long_as_a_writer_is_kept);
  tcase_add_test(tcase, own_readers_come_in_together_once_the_writer_is_suspended);
  tcase_add_test(tcase, own_kept_readers_make_room_for_a_writer_without_a_suspend);
  tcase = test_case(suite, "all", 120);
  tcase_add_test(tcase, nobody_comes_in_before_what_was_written_is_suspended);
}

int main(int argc, char **argv) { return test_main(argc, argv, "leave", fill); }

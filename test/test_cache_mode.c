/* test_cache_mode.c - a lock that is kept in one mode and wanted in the other, by the process that keeps it. */
#define _GNU_SOURCE
#include "cache.h"
#include "kept_lock.h"
#include "system.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

START_TEST(try_and_blocking_turn_own_kept_readers_into_a_writer) {
  have_other();
  keep_many(lock, COLOCK_SHARED, 3);
  ck_assert_int_eq(cached(path), 3);
  colock_hold *hold = _i ? kept_try(lock, COLOCK_EXCLUSIVE) : kept_acquire(lock, COLOCK_EXCLUSIVE);
  ck_assert_uint_gt(colock_token(hold), 0);
  ck_assert_uint_eq(writer_mark(), colock_token(hold));
  ck_assert_int_eq(can("s"), COLOCK_EBUSY);
  ck_assert_int_eq(entry_of(path, COLOCK_MODE), COLOCK_EXCLUSIVE);
  ck_assert_int_eq(cached(path), 0);
  must(colock_release(hold));
  ck_assert_int_eq(entry_of(path, COLOCK_MODE), COLOCK_EXCLUSIVE); /* and as that it is kept */
  ck_assert_int_eq(entry_of(path, COLOCK_ROLE), COLOCK_CACHED);
  colock_close(lock);
}
END_TEST

START_TEST(try_and_blocking_turn_an_own_kept_writer_into_a_reader) {
  have_other();
  keep(lock, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(can("s"), COLOCK_EBUSY);
  colock_hold *hold = _i ? kept_try(lock, COLOCK_SHARED) : kept_acquire(lock, COLOCK_SHARED);
  ck_assert_uint_eq(colock_token(hold), 0);
  ck_assert_uint_eq(colock_last_token(hold), test_header(path).fence);
  ck_assert_int_eq(can("s"), COLOCK_OK);
  ck_assert_int_eq(can("x"), COLOCK_EBUSY);
  colock_hold *second = kept_try(lock, COLOCK_SHARED);
  must(colock_release(second));
  must(colock_release(hold));
  ck_assert_int_eq(cached(path), 2);
  ck_assert_int_eq(can("s"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

static _Atomic int failing_errno; /* of every lock call that is not an unlock; 0: none fails */
static _Atomic int lane_calls[3]; /* so many made LANE shared, exclusive, free */
static int observed_lock(int fd, int command, struct flock *range) {
  int error = atomic_load(&failing_errno);
  if (command == F_OFD_SETLK && range->l_start >= COLOCKP_BYTE_LANE && range->l_start < COLOCKP_BYTE_UPGRADE)
    lane_calls[range->l_type == F_RDLCK ? 0 : range->l_type == F_WRLCK ? 1 : 2]++;
  if (error == 0 || command != F_OFD_SETLK || range->l_type == F_UNLCK)
    return colockp_system_default.fcntl_lock(fd, command, range);
  errno = error;
  return -1;
}

/* Nobody can write in between: LANE is not given up, it changes its mode. */
START_TEST(only_the_mode_of_the_lock_changes) {
  colockp_system.fcntl_lock = observed_lock;
  have_other();
  for (int i = 0; i < 4; i++) {
    int mode = i % 2 ? COLOCK_SHARED : COLOCK_EXCLUSIVE;
    keep(lock, COLOCK_SHARED + COLOCK_EXCLUSIVE - mode);
    for (int call = 0; call < 3; call++) lane_calls[call] = 0;
    colock_hold *hold = kept_try(lock, mode);
    ck_assert_int_eq(lane_calls[0], mode == COLOCK_SHARED);
    ck_assert_int_eq(lane_calls[1], mode == COLOCK_EXCLUSIVE);
    ck_assert_int_eq(lane_calls[2], 0);
    must(colock_release(hold));
    ck_assert_int_eq(lane_calls[2], 0);
  }
  colock_close(lock);
  colockp_system = colockp_system_default;
}
END_TEST

START_TEST(reader_elsewhere_is_in_the_way_of_a_kept_reader_that_is_to_write) {
  have_other();
  ck_assert_int_eq(agent_call(other, "acquire s 5000"), COLOCK_OK);
  keep_many(lock, COLOCK_SHARED, 2);
  colock_hold *hold = NULL;
  must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_ptr_null(hold);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  hold = kept_try(lock, COLOCK_EXCLUSIVE);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

/* It kept LANE as it was, unseen, until its descriptor was closed: that rings nobody. */
START_TEST(lock_that_could_not_be_converted_is_let_go) {
  colockp_system.fcntl_lock = observed_lock;
  have_other();
  keep(lock, _i);
  colock_hold *hold = NULL;
  lane_calls[2] = 0;
  atomic_store(&failing_errno, ENOLCK);
  must_be(COLOCK_ENOLOCKS, colock_try_acquire(lock, COLOCK_SHARED + COLOCK_EXCLUSIVE - _i, &hold));
  atomic_store(&failing_errno, 0);
  ck_assert_ptr_null(hold);
  ck_assert_int_eq(lane_calls[2], 1);
  ck_assert(!test_lane_taken(path));
  ck_assert_int_eq(can("x"), COLOCK_OK);
  keep(lock, COLOCK_SHARED);
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
  colockp_system = colockp_system_default;
}
END_TEST

START_TEST(upgrade_takes_own_kept_readers_out_of_its_way) {
  have_other();
  keep_many(lock, COLOCK_SHARED, 3);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  ck_assert_int_eq(cached(path), 2);
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  ck_assert_int_eq(cached(path), 0);
  ck_assert_uint_eq(writer_mark(), colock_token(hold));
  must(colock_release(hold));
  ck_assert_int_eq(entry_of(path, COLOCK_MODE), COLOCK_EXCLUSIVE);
  ck_assert_int_eq(entry_of(path, COLOCK_ROLE), COLOCK_CACHED);
  hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  uint64_t token = colock_token(hold);
  must(colock_downgrade(hold));
  ck_assert_int_eq(can("s"), COLOCK_OK);
  must(colock_release(hold));
  ck_assert_uint_eq(writer_mark(), 0);
  hold = kept_acquire(lock, COLOCK_SHARED);
  ck_assert_uint_eq(colock_last_token(hold), token);
  ck_assert_uint_eq(colock_token(hold), 0);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

static void *yield(void *hold) {
  return (void *)(intptr_t)colock_yield(hold, 10000);
}

START_TEST(yield_lets_a_writer_through_though_more_is_kept) {
  have_other();
  keep_many(lock, COLOCK_SHARED, 3);
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  uint64_t last = colock_last_token(hold);
  must(colock_yield(hold, COLOCK_NOWAIT)); /* nobody waits */
  ck_assert_int_eq(cached(path), 2);
  agent_send(other, "acquire x 7000");
  test_await_waiters(path, 1);
  pthread_t thread;
  void *code = NULL;
  ck_assert_int_eq(pthread_create(&thread, NULL, yield, hold), 0);
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  ck_assert_uint_eq(other->token, last + 1);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  pthread_join(thread, &code);
  ck_assert_int_eq((intptr_t)code, COLOCK_OK);
  ck_assert_uint_eq(colock_last_token(hold), last + 1);
  must(colock_release(hold));
  ck_assert_int_eq(cached(path), 1);
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "mode", 60);
  tcase_add_loop_test(tcase, try_and_blocking_turn_own_kept_readers_into_a_writer, 0, 2);
  tcase_add_loop_test(tcase, try_and_blocking_turn_an_own_kept_writer_into_a_reader, 0, 2);
  tcase_add_test(tcase, only_the_mode_of_the_lock_changes);
  tcase_add_test(tcase, reader_elsewhere_is_in_the_way_of_a_kept_reader_that_is_to_write);
  tcase_add_loop_test(tcase, lock_that_could_not_be_converted_is_let_go, COLOCK_SHARED, COLOCK_EXCLUSIVE + 1);
  tcase_add_test(tcase, upgrade_takes_own_kept_readers_out_of_its_way);
  tcase_add_test(tcase, yield_lets_a_writer_through_though_more_is_kept);
}

int main(int argc, char **argv) { return test_main(argc, argv, "cache_mode", fill); }

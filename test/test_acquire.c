/* test_acquire.c - from a request to a hold: modes, times, what is refused, the races of the grant. */
#define _GNU_SOURCE
#include "agent.h"
#include "clock.h"
#include "range.h"
#include "seat.h"
#include "support.h"
#include "system.h"
#include "tracker.h"
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *path;
static struct agent *holder;

/* The lock is held by an agent, in that mode. */
static void have_holder(const char *mode) {
  path = test_path("a.lock");
  holder = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire %s 5000", mode), COLOCK_OK);
}

static int acquire(colock *lock, int mode, int64_t timeout_ms, int64_t deadline_ns) {
  colock_hold *hold = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, mode);
  request.timeout_ms = timeout_ms;
  request.deadline_ns = deadline_ns;
  int code = colock_acquire_with(lock, &request, &hold);
  if (code == COLOCK_OK) must(colock_release(hold));
  else ck_assert_ptr_null(hold);
  return code;
}

START_TEST(modes_exclude_each_other_as_they_should) {
  static const int expected[3][3] = {{0}, {0, COLOCK_OK, COLOCK_EBUSY}, {0, COLOCK_EBUSY, COLOCK_EBUSY}};
  path = test_path("a.lock");
  struct agent *a = agent_open(path);
  colock *lock = test_open(path);
  for (int first = COLOCK_SHARED; first <= COLOCK_EXCLUSIVE; first++) {
    for (int second = COLOCK_SHARED; second <= COLOCK_EXCLUSIVE; second++) {
      ck_assert_int_eq(agent_call(a, "acquire %s 5000", first == COLOCK_SHARED ? "s" : "x"), COLOCK_OK);
      colock_hold *hold = NULL;
      int code = colock_try_acquire(lock, second, &hold);
      ck_assert_msg(code == expected[first][second], "%d beside %d: %d", second, first, code);
      if (code == COLOCK_OK) must(colock_release(hold));
      ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
      must(colock_try_acquire(lock, second, &hold));
      must(colock_release(hold));
    }
  }
  colock_close(lock);
}
END_TEST

/* ---- times ---- */

START_TEST(time_outs_are_kept) {
  const struct {
    int64_t timeout_ms, deadline_ms; /* deadline from now on; 0 none */
    int code;
    int64_t least, most;
  } waits[] = {
      {COLOCK_NOWAIT, 0, COLOCK_EBUSY, 0, 3000},
      {COLOCK_NOWAIT, 5000, COLOCK_EBUSY, 0, 3000},
      {1, 0, COLOCK_ETIMEDOUT, 1, 3000},
      {120, 0, COLOCK_ETIMEDOUT, 120, 3000},
      {COLOCK_FOREVER, 120, COLOCK_ETIMEDOUT, 119, 3000},
      {120, 60000, COLOCK_ETIMEDOUT, 120, 3000},
      {60000, 120, COLOCK_ETIMEDOUT, 119, 3000},
      {INT64_MAX, 120, COLOCK_ETIMEDOUT, 119, 3000},
      {INT64_MAX / 1000000, 120, COLOCK_ETIMEDOUT, 119, 3000},
      {INT64_MAX / 1000000 + 1, 120, COLOCK_ETIMEDOUT, 119, 3000},
      {COLOCK_CONFIGURED, 0, COLOCK_ETIMEDOUT, 150, 3000},
      {COLOCK_FOREVER, -1000000, COLOCK_ETIMEDOUT, 0, 3000}, /* long past */
  };
  have_holder("x");
  colock *lock = test_open_set(path, "timeout", "150ms");
  for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
    int64_t now = colockp_now_ns(), before = test_now_ms();
    int64_t deadline = waits[i].deadline_ms < 0 ? 1 : now + waits[i].deadline_ms * 1000000;
    if (waits[i].deadline_ms == 0) deadline = 0;
    int code = acquire(lock, COLOCK_SHARED, waits[i].timeout_ms, deadline);
    int64_t took = test_now_ms() - before;
    ck_assert_msg(code == waits[i].code, "wait %zu: %d, %s", i, code, colock_last_message());
    ck_assert_msg(took >= waits[i].least && took <= waits[i].most, "wait %zu took %lld ms", i, (long long)took);
  }
  colock_close(lock);
}
END_TEST

START_TEST(free_lock_is_granted_whatever_the_time) {
  static const int64_t timeouts[] = {COLOCK_NOWAIT, COLOCK_FOREVER, COLOCK_CONFIGURED, 1, INT64_MAX};
  colock *lock = test_open_set(test_path("a.lock"), "timeout", "0");
  for (size_t i = 0; i < 5; i++) {
    ck_assert_int_eq(acquire(lock, COLOCK_EXCLUSIVE, timeouts[i], 0), COLOCK_OK);
    ck_assert_int_eq(acquire(lock, COLOCK_EXCLUSIVE, timeouts[i], 1), COLOCK_OK); /* a deadline long past: tried once */
    ck_assert_int_eq(acquire(lock, COLOCK_EXCLUSIVE, timeouts[i], INT64_MAX), COLOCK_OK);
  }
  colock_close(lock);
}
END_TEST

START_TEST(forever_waits_until_it_is_free) {
  have_holder("x");
  struct agent *a = agent_open(path);
  agent_send(a, "acquire x -1");
  test_await_waiters(path, 1);
  ck_assert(!agent_answered(a));
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
}
END_TEST

START_TEST(waiter_gets_the_lock_of_a_killed_holder) {
  have_holder("x");
  struct agent *a = agent_open(path);
  agent_send(a, "acquire s -1");
  test_await_waiters(path, 1);
  agent_kill(holder);
  int64_t before = test_now_ms();
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
  ck_assert_int_lt(test_now_ms() - before, 5000);
  ck_assert_int_eq(a->abandoned, 1);
}
END_TEST

START_TEST(refusals_name_the_file_and_the_holder) {
  have_holder("x");
  colock *lock = test_open(path);
  char pid[32];
  snprintf(pid, sizeof pid, "[%d]", (int)holder->pid);
  ck_assert_int_eq(acquire(lock, COLOCK_SHARED, 30, 0), COLOCK_ETIMEDOUT);
  const char *message = colock_last_message();
  ck_assert_msg(strstr(message, "a.lock") && strstr(message, pid) && strstr(message, "colock status"), "%s", message);
  ck_assert_int_eq(acquire(lock, COLOCK_SHARED, 0, 0), COLOCK_EBUSY);
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "a.lock"));
  colock_close(lock);
}
END_TEST

START_TEST(nonsense_is_refused) {
  colock *lock = test_open(test_path("a.lock"));
  colock_hold *hold = NULL;
  colock_request good, bad;
  colock_request_init(&good, sizeof good, COLOCK_SHARED);
#define MUST_REFUSE(change) \
  do { \
    bad = good; \
    change; \
    must_be(COLOCK_EINVAL, colock_acquire_with(lock, &bad, &hold)); \
    ck_assert_ptr_null(hold); \
  } while (0)
  MUST_REFUSE(bad.size = 0);
  MUST_REFUSE(bad.size = sizeof bad - 1);
  MUST_REFUSE(bad.mode = 0);
  MUST_REFUSE(bad.mode = 3);
  MUST_REFUSE(bad.flags = 2);
  MUST_REFUSE(bad.priority = 101);
  MUST_REFUSE(bad.priority = -101);
  MUST_REFUSE(bad.timeout_ms = -3);
  MUST_REFUSE(bad.timeout_ms = INT64_MIN);
  MUST_REFUSE(bad.deadline_ns = -1);
#undef MUST_REFUSE
  must_be(COLOCK_EINVAL, colock_acquire_with(NULL, &good, &hold));
  must_be(COLOCK_EINVAL, colock_acquire_with(lock, NULL, &hold));
  must_be(COLOCK_EINVAL, colock_acquire_with(lock, &good, NULL));
  must_be(COLOCK_EINVAL, colock_acquire(lock, 0, &hold));
  ck_assert(!test_lane_taken(test_path("a.lock")));
  colock_close(lock);
}
END_TEST

/* ---- a thread that would wait for itself ---- */

START_TEST(blocking_twice_is_a_deadlock_in_any_modes) {
  path = test_path("a.lock");
  colock *lock = test_open(path), *again = test_open(path);
  for (int first = COLOCK_SHARED; first <= COLOCK_EXCLUSIVE; first++) {
    for (int second = COLOCK_SHARED; second <= COLOCK_EXCLUSIVE; second++) {
      colock_hold *hold = NULL, *other = NULL;
      must(colock_acquire(lock, first, &hold));
      must_be(COLOCK_EDEADLK, colock_acquire(lock, second, &other));
      must_be(COLOCK_EDEADLK, colock_acquire(again, second, &other)); /* by whatever colock */
      ck_assert_int_eq(acquire(again, second, COLOCK_FOREVER, 0), COLOCK_EDEADLK);
      int code = colock_try_acquire(again, second, &other); /* never waits, so never a deadlock */
      ck_assert_int_eq(code, first == COLOCK_SHARED && second == COLOCK_SHARED ? COLOCK_OK : COLOCK_EBUSY);
      if (code == COLOCK_OK) must(colock_release(other));
      must(colock_release(hold));
      must(colock_acquire(again, second, &other));
      must(colock_release(other));
    }
  }
  colock_close(lock);
  colock_close(again);
}
END_TEST

START_TEST(other_files_and_tried_holds_do_not_count) {
  colock *lock = test_open(test_path("a.lock")), *other = test_open(test_path("b.lock"));
  colock_hold *hold = NULL, *second = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_acquire(other, COLOCK_EXCLUSIVE, &second));
  must(colock_release(second));
  must(colock_release(hold));
  must(colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_int_eq(acquire(lock, COLOCK_SHARED, 20, 0), COLOCK_ETIMEDOUT);
  must(colock_release(hold));
  colock_close(lock);
  colock_close(other);
}
END_TEST

START_TEST(detached_hold_does_not_count) {
  colock *lock = test_open(test_path("a.lock"));
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_detach(hold));
  ck_assert_int_eq(acquire(lock, COLOCK_SHARED, 20, 0), COLOCK_ETIMEDOUT);
  must(colock_release(hold));
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_detach(hold));
  ck_assert_int_eq(acquire(lock, COLOCK_SHARED, 20, 0), COLOCK_OK);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(command_of_a_run_does_not_wait_for_its_parent) {
  path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  char id[64];
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_hold_id(hold, id, sizeof id));
  struct agent *command = agent_start();
  agent_call(command, "environment COLOCK_FILE %s", agent_word(path));
  agent_call(command, "environment COLOCK_HOLD %s", id);
  ck_assert_int_eq(agent_call(command, "open %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(command, "acquire x -1"), COLOCK_EDEADLK);
  ck_assert_ptr_nonnull(strstr(command->text, "colock run"));
  char parent[32];
  snprintf(parent, sizeof parent, "[%d]", getpid());
  ck_assert_msg(strstr(command->text, parent) != NULL, "%s", command->text);
  ck_assert_int_eq(agent_call(command, "acquire s 1000"), COLOCK_EDEADLK);
  ck_assert_int_eq(agent_call(command, "try s"), COLOCK_EBUSY);
  struct agent *stranger = agent_open(path); /* waits as ever */
  ck_assert_int_eq(agent_call(stranger, "acquire s 20"), COLOCK_ETIMEDOUT);
  must(colock_release(hold));
  ck_assert_int_eq(agent_call(command, "acquire x 5000"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

/* ---- without locking ---- */

START_TEST(disabled_grants_everything_and_touches_nothing) {
  path = test_path("none/a.lock");
  colock *lock = test_open_set(path, "enabled", "false");
  colock_hold *first = NULL, *second = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &first));
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &second));
  ck_assert_uint_gt(colock_token(second), colock_token(first));
  ck_assert_uint_eq(colock_last_token(second), colock_token(first));
  must(colock_check(first));
  must(colock_renew(first));
  must(colock_recovered(first));
  must(colock_inherit(first, 1));
  must(colock_detach(first));
  ck_assert_int_eq(colock_abandoned(first), 0);
  must(colock_release(first));
  must(colock_release(second));
  must(colock_try_acquire(lock, COLOCK_SHARED, &first));
  ck_assert_uint_eq(colock_token(first), 0);
  must(colock_release(first));
  colock_close(lock);
  ck_assert_int_ne(access(test_path("none"), F_OK), 0);
}
END_TEST

/* ---- races of the grant, each made to happen ---- */

static void (*interfere)(void); /* once, right after the lane was locked */

static int interfering_lock(int fd, int command, struct flock *range) {
  bool lane =
      range->l_start >= COLOCKP_BYTE_LANE && range->l_start < COLOCKP_BYTE_LANE + COLOCKP_LANES && range->l_len == 1;
  bool taking = command == F_OFD_SETLK && range->l_type != F_UNLCK && lane;
  int result = colockp_system_default.fcntl_lock(fd, command, range);
  if (taking && result == 0 && interfere != NULL) {
    void (*once)(void) = interfere;
    interfere = NULL;
    once();
  }
  return result;
}

static uint32_t generation_now(void) {
  struct colockp_header header = test_header(path);
  return (uint32_t)header.generation;
}

/* As a forced unlock does it: everyone moves on to the next lane. */
static void move_generation(void) {
  uint64_t word = colockp_generation_word(colockp_generation_next(generation_now()));
  test_poke(path, offsetof(struct colockp_header, generation), &word, sizeof word);
}

START_TEST(forced_between_lock_and_look_starts_over) {
  path = test_path("a.lock");
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    colockp_system.fcntl_lock = interfering_lock;
    tracker_start();
    colock *lock = test_open(path);
    uint32_t before = generation_now();
    colock_hold *hold = NULL;
    interfere = move_generation;
    must(colock_acquire(lock, mode, &hold));
    ck_assert_uint_eq(generation_now(), before + 1);
    ck_assert_uint_eq(hold->activity.generation, before + 1);
    ck_assert_uint_eq(tracker_held(), 2); /* SLOT and the one lane */
    must(colock_check(hold));
    must(colock_release(hold));
    colock_close(lock);
    tracker_finish();
    colockp_system = colockp_system_default;
  }
}
END_TEST

static void put_another_there(void) {
  ck_assert_int_eq(rename(test_path("other.lock"), path), 0);
}

START_TEST(replaced_between_lock_and_look_starts_over) {
  path = test_path("a.lock");
  test_make_lock(test_path("other.lock"));
  ino_t other = test_inode(test_path("other.lock"));
  colockp_system.fcntl_lock = interfering_lock;
  tracker_start();
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  interfere = put_another_there;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_uint_eq(hold->region->inode, other);
  must(colock_check(hold));
  ck_assert(test_lane_taken(path));
  must(colock_release(hold));
  colock_close(lock);
  tracker_finish();
  colockp_system = colockp_system_default;
}
END_TEST

static void die_as_writer(void) {
  uint64_t token = 1234567;
  test_poke(path, offsetof(struct colockp_header, writer), &token, sizeof token);
}

/* The mark may appear at any time before the lane was ours: it is read behind the lock. */
START_TEST(mark_is_looked_at_behind_the_lock) {
  path = test_path("a.lock");
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    colockp_system.fcntl_lock = interfering_lock;
    colock *lock = test_open(path);
    colock_hold *hold = NULL;
    interfere = die_as_writer;
    must(colock_acquire(lock, mode, &hold));
    ck_assert_int_eq(colock_abandoned(hold), 1);
    must(colock_release(hold));
    colock_close(lock);
    colockp_system = colockp_system_default;
    unlink(path);
  }
}
END_TEST

static bool mark_of_a_successor;

/* The look at the file comes behind the look at the generation: a forced unlock here, and a writer on the next lane. */
static int interfering_fstat(int fd, struct stat *st) {
  if (mark_of_a_successor) {
    mark_of_a_successor = false;
    move_generation();
    die_as_writer();
  }
  return colockp_system_default.fstat(fd, st);
}

/* Told of by reading the code: a reader that is forced out at this moment must leave the mark of the live writer on the
 * next lane alone. It buried it, and everybody was told of an abandoned writer who was not. */
START_TEST(mark_of_the_next_generation_is_not_ours_to_bury) {
  path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  colockp_system.fstat = interfering_fstat;
  mark_of_a_successor = true;
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  ck_assert(!mark_of_a_successor);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.writer, 1234567);
  ck_assert_uint_eq(header.abandoned, 0);
  must_be(COLOCK_EREVOKED, colock_release(hold));
  colock_close(lock);
  colockp_system = colockp_system_default;
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "acquire", 60);
  tcase_add_test(tcase, modes_exclude_each_other_as_they_should);
  tcase_add_test(tcase, time_outs_are_kept);
  tcase_add_test(tcase, free_lock_is_granted_whatever_the_time);
  tcase_add_test(tcase, forever_waits_until_it_is_free);
  tcase_add_test(tcase, waiter_gets_the_lock_of_a_killed_holder);
  tcase_add_test(tcase, refusals_name_the_file_and_the_holder);
  tcase_add_test(tcase, nonsense_is_refused);
  tcase_add_test(tcase, disabled_grants_everything_and_touches_nothing);
  tcase = test_case(suite, "deadlock", 30);
  tcase_add_test(tcase, blocking_twice_is_a_deadlock_in_any_modes);
  tcase_add_test(tcase, other_files_and_tried_holds_do_not_count);
  tcase_add_test(tcase, detached_hold_does_not_count);
  tcase_add_test(tcase, command_of_a_run_does_not_wait_for_its_parent);
  tcase = test_case(suite, "races", 30);
  tcase_add_test(tcase, forced_between_lock_and_look_starts_over);
  tcase_add_test(tcase, mark_of_the_next_generation_is_not_ours_to_bury);
  tcase_add_test(tcase, replaced_between_lock_and_look_starts_over);
  tcase_add_test(tcase, mark_is_looked_at_behind_the_lock);
}

int main(int argc, char **argv) { return test_main(argc, argv, "acquire", fill); }

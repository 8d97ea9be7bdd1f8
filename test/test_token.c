/* test_token.c - fencing tokens grow for ever; a writer that died or was forced out is told of until recovered. */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "scenario.h"
#include "support.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define AHEAD (UINT64_C(1) << 32)

static uint64_t take_token(colock *lock) {
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  uint64_t token = colock_token(hold);
  must(colock_release(hold));
  return token;
}

static void set_ceiling(const char *path, uint64_t ceiling) {
  test_poke(path, offsetof(struct colockp_header, ceiling), &ceiling, sizeof ceiling);
}

START_TEST(tokens_grow_over_releases_processes_and_files) {
  const char *path = test_path("a.lock");
  uint64_t last = 0;
  for (int i = 0; i < 5; i++) {
    colock *lock = test_open(path);
    for (int j = 0; j < 3; j++) {
      uint64_t token = take_token(lock);
      ck_assert_uint_gt(token, last);
      last = token;
    }
    colock_close(lock);
    struct agent *a = agent_open(path);
    ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
    ck_assert_uint_gt(a->token, last);
    last = a->token;
    agent_kill(a);
    if (i % 2 == 1) unlink(path); /* made anew, from the clock */
  }
}
END_TEST

START_TEST(reader_that_missed_no_writer_can_tell) {
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  uint64_t token = take_token(lock);
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  ck_assert_uint_eq(colock_token(hold), 0);
  ck_assert_uint_eq(colock_last_token(hold), token);
  must(colock_release(hold));
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_uint_eq(colock_last_token(hold), token);
  ck_assert_uint_gt(colock_token(hold), token);
  token = colock_token(hold);
  must(colock_release(hold));
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  ck_assert_uint_eq(colock_last_token(hold), token);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(ceiling_is_extended_when_half_is_used) {
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  uint64_t token = take_token(lock);
  fault_install();
  set_ceiling(path, token + AHEAD / 2 + 1);
  fault_fail_at(FAULT_fdatasync, 0, 0); /* only counts */
  ck_assert_uint_eq(take_token(lock), token + 1);
  ck_assert_int_eq(fault_calls(), 0); /* not yet half */
  ck_assert_uint_eq(take_token(lock), token + 2);
  ck_assert_int_eq(fault_calls(), 1);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.ceiling, token + 2 + AHEAD);
  fault_remove();
  colock_close(lock);
}
END_TEST

START_TEST(old_ceiling_serves_on_when_the_disk_does_not) {
  const char *path = test_path("a.lock");
  colock *lock = test_open_set(path, "verbosity", "quiet");
  uint64_t token = take_token(lock);
  fault_install();
  set_ceiling(path, token + 1);
  fault_fail_at(FAULT_fdatasync, 1, EIO);
  ck_assert_uint_eq(take_token(lock), token + 1); /* within what was synced before */
  ck_assert(fault_hit());
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.ceiling, token + 1);
  colock_hold *hold = NULL;
  fault_fail_at(FAULT_fdatasync, 1, EIO);
  must_be(COLOCK_ESYSTEM, colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_ptr_null(hold);
  ck_assert_int_eq(colock_last_errno(), EIO);
  ck_assert(!test_lane_taken(path));
  header = test_header(path);
  ck_assert_uint_eq(header.writer, 0);
  must(colock_acquire(lock, COLOCK_SHARED, &hold)); /* readers need no token */
  must(colock_release(hold));
  ck_assert_uint_gt(take_token(lock), token + 1);
  fault_remove();
  colock_close(lock);
}
END_TEST

/* Synced means synced: the order is ceiling, sync, token. */
START_TEST(no_token_above_what_was_synced) {
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  uint64_t token = take_token(lock);
  set_ceiling(path, token);
  for (int i = 0; i < 5; i++) {
    uint64_t next = take_token(lock);
    struct colockp_header header = test_header(path);
    ck_assert_uint_le(next, header.ceiling);
  }
  colock_close(lock);
}
END_TEST

/* ---- abandoned ---- */

static uint64_t die_holding(const char *path) {
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  agent_kill(a);
  return a->token;
}

START_TEST(dead_writer_is_told_of_until_recovered) {
  const char *path = test_path("a.lock");
  uint64_t token = die_holding(path);
  colock *lock = test_open_set(path, "verbosity", "info");
  colock_hold *hold = NULL;
  for (int i = 0; i < 2; i++) {
    must(colock_acquire(lock, COLOCK_SHARED, &hold));
    ck_assert_int_eq(colock_abandoned(hold), 1);
    must_be(COLOCK_EINVAL, colock_recovered(hold)); /* a reader has mended nothing */
    must(colock_release(hold));
  }
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.abandoned, token);
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_int_eq(colock_abandoned(hold), 1);
  must(colock_release(hold)); /* nothing said */
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_int_eq(colock_abandoned(hold), 1);
  must(colock_recovered(hold));
  must(colock_recovered(hold)); /* nothing left to say is fine */
  must(colock_release(hold));
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  ck_assert_int_eq(colock_abandoned(hold), 0);
  must(colock_release(hold));
  colock_close(lock);
  ck_assert_ptr_nonnull(strstr(test_log(), "died"));
}
END_TEST

START_TEST(dead_reader_and_orderly_writer_leave_no_mark) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire s 5000"), COLOCK_OK);
  agent_kill(a);
  ck_assert_int_eq(agent_call(b, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(b->abandoned, 0);
  ck_assert_int_eq(agent_call(b, "release 0"), COLOCK_OK);
  agent_kill(b);
  bool abandoned = true;
  scenario_successor(path, &abandoned);
  ck_assert(!abandoned);
}
END_TEST

START_TEST(second_death_is_told_of_anew) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  die_holding(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "recovered 0"), COLOCK_OK);
  agent_kill(a); /* it mended, and died in its own writing */
  bool abandoned = false;
  scenario_successor(path, &abandoned);
  ck_assert(abandoned);
}
END_TEST

START_TEST(forced_out_writer_counts_and_never_clears_its_successors_mark) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  uint64_t first = a->token;
  ck_assert_int_eq(agent_call(b, "force %s test", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(b, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(b->abandoned, 1);
  uint64_t second = b->token;
  ck_assert_uint_gt(second, first);
  ck_assert_int_eq(agent_call(a, "recovered 0"), COLOCK_EREVOKED);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_EREVOKED);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.writer, second);
  ck_assert_uint_eq(header.abandoned, first);
  ck_assert_int_eq(agent_call(a, "try s"), COLOCK_EBUSY);
  agent_kill(b);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  header = test_header(path);
  ck_assert_uint_eq(header.abandoned, second); /* the higher of the two */
}
END_TEST

START_TEST(forced_out_writer_that_ends_by_itself_is_still_abandoned) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "force %s test", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_EREVOKED);
  bool abandoned = false;
  scenario_successor(path, &abandoned);
  ck_assert(abandoned);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "token", 30);
  tcase_add_test(tcase, tokens_grow_over_releases_processes_and_files);
  tcase_add_test(tcase, reader_that_missed_no_writer_can_tell);
  tcase_add_test(tcase, ceiling_is_extended_when_half_is_used);
  tcase_add_test(tcase, old_ceiling_serves_on_when_the_disk_does_not);
  tcase_add_test(tcase, no_token_above_what_was_synced);
  tcase = test_case(suite, "abandoned", 30);
  tcase_add_test(tcase, dead_writer_is_told_of_until_recovered);
  tcase_add_test(tcase, dead_reader_and_orderly_writer_leave_no_mark);
  tcase_add_test(tcase, second_death_is_told_of_anew);
  tcase_add_test(tcase, forced_out_writer_counts_and_never_clears_its_successors_mark);
  tcase_add_test(tcase, forced_out_writer_that_ends_by_itself_is_still_abandoned);
}

int main(int argc, char **argv) { return test_main(argc, argv, "token", fill); }

/* test_seat.c - seats: pooled and used again, one for each hold at a time, and what their slots say in the file. */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "support.h"
#include "tracker.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct slot_bytes { /* a slot as plain memory */
  uint64_t sequence;
  struct colockp_activity activity;
  char purpose[COLOCKP_PURPOSE_SIZE];
  struct colockp_identity identity;
};

static struct slot_bytes slot_of(const char *path, uint32_t slot) {
  static unsigned char bytes[COLOCKP_AT_SLOTS + 128 * COLOCKP_PAGE];
  struct slot_bytes result;
  ck_assert_uint_ge(test_read(path, bytes, sizeof bytes), (size_t)colockp_at_slot(slot + 1));
  memcpy(&result, bytes + colockp_at_slot(slot), sizeof result);
  return result;
}

static int64_t published(const char *path, uint32_t slot) {
  static unsigned char bytes[COLOCKP_AT_QUEUE + 4096];
  int64_t value;
  test_read(path, bytes, sizeof bytes);
  memcpy(&value, bytes + COLOCKP_AT_QUEUE + slot * sizeof(struct colockp_queue_entry) +
                     offsetof(struct colockp_queue_entry, published), sizeof value);
  return value;
}

START_TEST(one_seat_serves_one_hold_after_another) {
  const char *path = test_path("a.lock");
  tracker_start();
  colock *lock = test_open(path);
  unsigned descriptors = test_descriptors();
  for (int i = 0; i < 200; i++) {
    colock_hold *hold = NULL;
    must(colock_acquire(lock, i % 2 ? COLOCK_SHARED : COLOCK_EXCLUSIVE, &hold));
    must(colock_release(hold));
  }
  ck_assert_uint_eq(test_descriptors(), descriptors);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.slots_in_use, 1);
  colock_close(lock);
  ck_assert_uint_ge(tracker_locks(), 201);
}
END_TEST

START_TEST(seated_acquire_and_release_allocate_nothing) {
  colock *lock = test_open(test_path("a.lock"));
  colock_hold *hold = NULL;
  fault_install();
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    fault_fail_at(FAULT_malloc, 1, ENOMEM);
    must(colock_acquire(lock, mode, &hold));
    must(colock_release(hold));
    ck_assert_int_eq(fault_calls(), 0);
  }
  fault_remove();
  colock_close(lock);
}
END_TEST

/* The name may be gone for a moment between the opening of the file and that of a seat, and be back at the next look.
 * That made a seat without a descriptor. */
START_TEST(name_that_is_gone_for_a_moment_only_costs_a_turn) {
  colock *lock = test_open(test_path("a.lock")), *late = NULL;
  colock_config *config = test_config(NULL);
  colock_hold *first = NULL, *second = NULL;
  must(colock_acquire(lock, COLOCK_SHARED, &first));
  fault_install();
  fault_fail_at(FAULT_openat, 1, ENOENT); /* the new seat's */
  must(colock_try_acquire(lock, COLOCK_SHARED, &second));
  ck_assert(fault_hit());
  for (long at = 1; at <= 3; at++) { /* of opening: the directory, the file, the seat */
    fault_fail_at(FAULT_openat, at, ENOENT);
    int code = colock_open(&late, test_path("a.lock"), config);
    ck_assert(fault_hit());
    ck_assert_int_eq(code, at == 1 ? COLOCK_ENOENT : COLOCK_OK);
    if (code == COLOCK_OK) colock_close(late);
  }
  fault_remove();
  must(colock_check(second));
  must(colock_release(first));
  must(colock_release(second));
  colock_close(lock);
  colock_config_free(config);
}
END_TEST

/* The speed that the design promises: a lock, a look, an unlock. */
START_TEST(seated_pair_makes_three_calls) {
  colock *lock = test_open(test_path("a.lock"));
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  fault_install();
  fault_die_at(0);
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_release(hold));
  long calls = fault_calls();
  fault_remove();
  ck_assert_int_le(calls, 4); /* one look more when the hold lasted 0.1 ms */
  ck_assert_int_ge(calls, 3);
  colock_close(lock);
}
END_TEST

START_TEST(holds_at_the_same_time_have_seats_of_their_own) {
  const char *path = test_path("a.lock");
  colock_hold *holds[200];
  tracker_start();
  colock *lock = test_open(path);
  for (int i = 0; i < 200; i++) must(colock_try_acquire(lock, COLOCK_SHARED, &holds[i]));
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.slots_in_use, 200);
  ck_assert_uint_eq(header.capacity, 256);
  colock_hold *writer = NULL;
  must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_EXCLUSIVE, &writer));
  for (int i = 0; i < 200; i++) {
    must(colock_check(holds[i]));
    must(colock_release(holds[i]));
  }
  must(colock_try_acquire(lock, COLOCK_EXCLUSIVE, &writer));
  must(colock_release(writer));
  header = test_header(path);
  ck_assert_uint_le(header.slots_in_use, 201);
  colock_close(lock);
}
END_TEST

START_TEST(configured_seats_are_there_from_the_start) {
  const char *path = test_path("a.lock");
  unsigned before = test_descriptors();
  colock_close(test_open(path));
  ck_assert_uint_eq(test_descriptors(), before);
  colock *one = test_open_set(path, "seats", "1");
  unsigned with_one = test_descriptors();
  colock_close(one);
  colock *five = test_open_set(path, "seats", "5");
  ck_assert_uint_eq(test_descriptors(), with_one + 4);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.slots_in_use, 5);
  colock_close(five);
}
END_TEST

START_TEST(seats_opened_before_serve_after_the_directory_changes) {
  char before[512];
  ck_assert_ptr_nonnull(getcwd(before, sizeof before));
  ck_assert_int_eq(chdir(test_dir()), 0);
  colock *lock = test_open("relative.lock");
  ck_assert_int_eq(chdir("/"), 0);
  colock_hold *first = NULL, *second = NULL;
  must(colock_try_acquire(lock, COLOCK_SHARED, &first));
  must(colock_try_acquire(lock, COLOCK_SHARED, &second)); /* a new one, through the directory that was */
  must(colock_check(first));
  must(colock_release(first));
  must(colock_release(second));
  colock_close(lock);
  ck_assert_int_eq(chdir(before), 0);
}
END_TEST

START_TEST(slot_tells_who_holds_and_why) {
  const char *path = test_path("a.lock");
  colock *lock = test_open_set(path, "label", "migrator \303\274");
  colock_hold *hold = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.purpose = "schema 42";
  request.priority = 7;
  must(colock_acquire_with(lock, &request, &hold));
  struct slot_bytes held = slot_of(path, 0);
  ck_assert_uint_eq(held.sequence % 2, 0);
  ck_assert_uint_eq(held.activity.state, COLOCKP_HELD);
  ck_assert_uint_eq(held.activity.mode, COLOCK_EXCLUSIVE);
  ck_assert_int_eq(held.activity.priority, 7);
  ck_assert_uint_eq(held.activity.token, colock_token(hold));
  ck_assert_uint_eq(held.activity.purpose_length, 9);
  ck_assert_str_eq(held.purpose, "schema 42");
  ck_assert_str_eq(held.identity.label, "migrator \303\274");
  ck_assert_int_eq(held.identity.pid, getpid());
  ck_assert_uint_eq(held.identity.uid, geteuid());
  ck_assert_int_eq(published(path, 0), COLOCKP_SEAT_TAKEN);
  must(colock_release(hold));
  struct slot_bytes idle = slot_of(path, 0);
  ck_assert_uint_eq(idle.activity.state, COLOCKP_IDLE);
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  struct slot_bytes again = slot_of(path, 0);
  ck_assert_uint_gt(again.activity.hold_id, held.activity.hold_id);
  ck_assert_uint_eq(again.activity.purpose_length, 0);
  ck_assert_uint_eq(again.activity.token, 0);
  must(colock_release(hold));
  colock_close(lock);
  ck_assert_int_eq(published(path, 0), COLOCKP_SEAT_FREE);
}
END_TEST

START_TEST(long_texts_are_cut_at_a_character) {
  const char *path = test_path("a.lock");
  char long_text[600];
  for (size_t i = 0; i + 2 < sizeof long_text; i += 2) memcpy(long_text + i, "\303\244", 2);
  memset(long_text + sizeof long_text - 2, 0, 2);
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.purpose = long_text;
  must(colock_acquire_with(lock, &request, &hold));
  struct slot_bytes held = slot_of(path, 0);
  ck_assert_uint_eq(held.activity.purpose_length, 254); /* of 255 bytes, one would be half a character */
  ck_assert_mem_eq(held.purpose, long_text, 254);
  ck_assert_int_eq(held.purpose[254], '\0');
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(slots_of_the_dead_are_used_again) {
  const char *path = test_path("a.lock");
  uint64_t hold_id = 0, sequence = 0;
  for (int i = 0; i < 20; i++) {
    struct agent *a = agent_open(path);
    ck_assert_int_eq(agent_call(a, "acquire s 5000"), COLOCK_OK);
    struct slot_bytes slot = slot_of(path, 0);
    ck_assert_int_eq(slot.identity.pid, a->pid);
    ck_assert_uint_gt(slot.activity.hold_id, hold_id); /* a hold is never taken for an older one */
    ck_assert_uint_gt(slot.sequence, sequence);
    hold_id = slot.activity.hold_id;
    sequence = slot.sequence;
    agent_kill(a);
  }
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.slots_in_use, 1);
}
END_TEST

START_TEST(new_owner_puts_a_torn_slot_right) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire s 5000"), COLOCK_OK);
  agent_kill(a);
  uint64_t odd = slot_of(path, 0).sequence | 1; /* as if it had died while writing */
  test_poke(path, (size_t)colockp_at_slot(0), &odd, sizeof odd);
  struct agent *b = agent_open(path);
  ck_assert_int_eq(agent_call(b, "acquire x 5000"), COLOCK_OK);
  struct slot_bytes slot = slot_of(path, 0);
  ck_assert_uint_eq(slot.sequence % 2, 0);
  ck_assert_uint_gt(slot.sequence, odd);
  ck_assert_int_eq(slot.identity.pid, b->pid);
}
END_TEST

START_TEST(dead_waiters_rank_goes_with_its_slot) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  agent_send(b, "acquire x 20000");
  test_await_waiters(path, 1);
  agent_kill(b);
  ck_assert_uint_eq(test_waiters(path), 1);
  struct agent *c = agent_open(path); /* gets that slot: it is the only one whose byte is free */
  ck_assert_uint_eq(test_waiters(path), 0);
  ck_assert_int_eq(agent_call(c, "try s"), COLOCK_EBUSY);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "seat", 30);
  tcase_add_test(tcase, one_seat_serves_one_hold_after_another);
  tcase_add_test(tcase, seated_acquire_and_release_allocate_nothing);
  tcase_add_test(tcase, name_that_is_gone_for_a_moment_only_costs_a_turn);
  tcase_add_test(tcase, seated_pair_makes_three_calls);
  tcase_add_test(tcase, holds_at_the_same_time_have_seats_of_their_own);
  tcase_add_test(tcase, configured_seats_are_there_from_the_start);
  tcase_add_test(tcase, seats_opened_before_serve_after_the_directory_changes);
  tcase_add_test(tcase, slot_tells_who_holds_and_why);
  tcase_add_test(tcase, long_texts_are_cut_at_a_character);
  tcase_add_test(tcase, slots_of_the_dead_are_used_again);
  tcase_add_test(tcase, new_owner_puts_a_torn_slot_right);
  tcase_add_test(tcase, dead_waiters_rank_goes_with_its_slot);
}

int main(int argc, char **argv) { return test_main(argc, argv, "seat", fill); }

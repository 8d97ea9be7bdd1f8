/* test_store.c - a database behind the lock: what is called when, and what the caller is told. Another process that
 * writes is an agent that has the lock exclusively. See notes.h for the letters. */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "notes.h"
#include "support.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* ---- what is called when ---- */

START_TEST(database_is_suspended_after_each_operation_and_refreshed_before_the_next) {
  struct notes notes = NOTES;
  colock *lock = test_open(test_path("a.lock"));
  colock_store *store = begin_store(lock, &all, &notes, "OMS");
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "FrS");
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "FwS");
  must(colock_store_close(store, NULL)); /* suspended, so there is nothing to refresh first */
  expect(&notes, "C");
  colock_close(lock);
}
END_TEST

START_TEST(without_a_suspend_it_is_refreshed_only_after_others_wrote) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
  must(colock_store_read(store, op_read, NULL, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  must(colock_store_read(store, op_read, NULL, NULL)); /* a writer of our own is no reason */
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "OMrwrw");
  ck_assert_int_eq(agent_call(other, "acquire s 10000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  must(colock_store_read(store, op_read, NULL, NULL)); /* nor is a reader elsewhere */
  expect(&notes, "r");
  write_elsewhere(other);
  must(colock_store_read(store, op_read, NULL, NULL));
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "Frr");
  write_elsewhere(other);
  must(colock_store_write(store, op_write, NULL, NULL));
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "Fwr");
  write_elsewhere(other);
  must(colock_store_close(store, NULL)); /* what it would write is old */
  expect(&notes, "FC");
  colock_close(lock);
}
END_TEST

START_TEST(open_and_close_alone_will_do) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &least, &notes, NULL));
  write_elsewhere(other);
  must(colock_store_read(store, op_read, NULL, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  die_elsewhere(path);
  must(colock_store_write(store, op_write, NULL, NULL));
  must(colock_store_close(store, NULL));
  expect(&notes, "OrwwC");
  colock_close(lock);
}
END_TEST

START_TEST(lock_that_is_not_enabled_is_no_reason_to_refresh) {
  struct notes notes = NOTES;
  colock *lock = test_open_set(test_path("a.lock"), "enabled", "false");
  colock *other = test_open_set(test_path("b.lock"), "enabled", "false");
  colock_store *store = NULL;
  colock_hold *hold = NULL;
  must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  must(colock_acquire(other, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  must(colock_store_read(store, op_read, NULL, NULL));
  must(colock_store_close(store, NULL));
  expect(&notes, "OMwrC");
  colock_close(lock);
  colock_close(other);
}
END_TEST

START_TEST(replaced_lock_file_makes_memory_stale) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open_set(path, "verbosity", "quiet");
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
  ck_assert_int_eq(unlink(path), 0);
  must(colock_store_read(store, op_read, NULL, NULL)); /* the new file has tokens of its own */
  expect(&notes, "OMFr");
  ck_assert_int_eq(unlink(path), 0);
  write_elsewhere(agent_open(path));
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "Fw");
  end_store(store, lock);
}
END_TEST

/* ---- what the caller is told ---- */

START_TEST(value_of_the_operation_is_passed_through) {
  struct notes notes = NOTES;
  colock *lock = test_open(test_path("a.lock"));
  colock_store *store = NULL;
  int value = 5, result = -1;
  must(colock_store_open(&store, lock, &unsuspended, &notes, &result));
  ck_assert_int_eq(result, -1);
  must(colock_store_read(store, op_read, &value, &result));
  ck_assert_int_eq(result, 5);
  value = -3;
  must(colock_store_write(store, op_write, &value, &result));
  ck_assert_int_eq(result, -3);
  must(colock_store_write(store, op_write, NULL, &result));
  ck_assert_int_eq(result, 0);
  result = 9;
  must(colock_store_close(store, &result));
  ck_assert_int_eq(result, 9);
  colock_close(lock);
}
END_TEST

START_TEST(callback_that_fails_in_open_ends_it) {
  static const struct {
    char failing;
    const char *events, *word;
  } cases[] = {{'O', "O", "open"}, {'V', "OVC", "recover"}, {'M', "OMC", "migrate"}};
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct notes notes = NOTES;
    colock_store *store = NULL;
    int result = -1;
    if (cases[i].failing == 'V') die_elsewhere(path);
    notes.failing = cases[i].failing;
    must_be(COLOCK_ESTORE, colock_store_open(&store, lock, &all, &notes, &result));
    ck_assert_ptr_null(store);
    ck_assert_int_eq(result, 7);
    ck_assert_ptr_nonnull(strstr(colock_last_message(), cases[i].word));
    expect(&notes, cases[i].events);
    must_be(COLOCK_ESTORE, colock_store_open(&store, lock, &all, &notes, NULL)); /* and may be tried again */
    expect(&notes, cases[i].events);
    notes.failing = 0;
    must(colock_store_open(&store, lock, &all, &notes, NULL));
    expect(&notes, cases[i].failing == 'V' ? "OVMS" : "OMS");
    must(colock_store_close(store, NULL));
  }
  colock_close(lock);
}
END_TEST

START_TEST(refresh_that_fails_is_called_again_and_nothing_is_written_until_it_is_well) {
  struct notes notes = NOTES;
  colock *lock = test_open(test_path("a.lock"));
  colock_store *store = NULL;
  int result = -1;
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  notes.failing = 'F';
  must_be(COLOCK_ESTORE, colock_store_read(store, op_read, NULL, &result));
  ck_assert_int_eq(result, 7);
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "refresh"));
  must_be(COLOCK_ESTORE, colock_store_write(store, op_write, NULL, &result));
  expect(&notes, "OMSFF");
  notes.failing = 0;
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "FrS");
  end_store(store, lock);
}
END_TEST

START_TEST(suspend_that_fails_is_a_death_in_the_middle) {
  struct notes notes = NOTES;
  test_expect_errors();
  colock *lock = test_open(test_path("a.lock"));
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  notes.failing = 'S';
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "OMSFwS");
  ck_assert_ptr_nonnull(strstr(test_log(), "suspend failed (7)"));
  notes.failing = 0;
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "FVwS");
  notes.failing = 'S';
  must(colock_store_write(store, op_write, NULL, NULL));
  notes.failing = 0;
  expect(&notes, "FwS");
  must(colock_store_close(store, NULL)); /* what was not suspended well may be older than the database by now */
  expect(&notes, "FC");
  colock_close(lock);
}
END_TEST

START_TEST(close_that_fails_closes_all_the_same) {
  static const struct {
    char failing;
    const char *events, *word;
  } cases[] = {{'C', "FC", "close"}, {'F', "FC", "refresh"}};
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  struct agent *other = agent_open(path);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct notes notes = NOTES;
    colock_store *store = NULL;
    int result = -1;
    must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
    expect(&notes, "OM");
    write_elsewhere(other);
    notes.failing = cases[i].failing;
    must_be(COLOCK_ESTORE, colock_store_close(store, &result));
    ck_assert_int_eq(result, 7);
    ck_assert_ptr_nonnull(strstr(colock_last_message(), cases[i].word));
    expect(&notes, cases[i].events);
    ck_assert_int_eq(agent_call(other, "try x"), COLOCK_OK);
    ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  }
  colock_close(lock);
}
END_TEST

static int hook(void *arg) {
  (void)arg;
  return 0;
}

START_TEST(what_cannot_be_is_refused) {
  struct notes notes = NOTES;
  colock *lock = test_open(test_path("a.lock"));
  colock_store *store = NULL, *second = NULL;
  colock_hold *hold = NULL;
  colock_store_ops ops = all;
  must_be(COLOCK_EINVAL, colock_store_open(NULL, lock, &all, &notes, NULL));
  must_be(COLOCK_EINVAL, colock_store_open(&store, NULL, &all, &notes, NULL));
  must_be(COLOCK_EINVAL, colock_store_open(&store, lock, NULL, &notes, NULL));
  ops.size--;
  must_be(COLOCK_EINVAL, colock_store_open(&store, lock, &ops, &notes, NULL));
  ops = all, ops.open = NULL;
  must_be(COLOCK_EINVAL, colock_store_open(&store, lock, &ops, &notes, NULL));
  ops = all, ops.close = NULL;
  must_be(COLOCK_EINVAL, colock_store_open(&store, lock, &ops, &notes, NULL));
  must(colock_set_suspend(lock, hook, NULL));
  must_be(COLOCK_EINVAL, colock_store_open(&store, lock, &all, &notes, NULL));
  must(colock_set_suspend(lock, NULL, NULL));
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must_be(COLOCK_EBUSY, colock_store_open(&store, lock, &all, &notes, NULL));
  must(colock_release(hold));
  ck_assert_ptr_null(store);
  expect(&notes, "");
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  must_be(COLOCK_EINVAL, colock_store_open(&second, lock, &all, &notes, NULL));
  must_be(COLOCK_EINVAL, colock_store_read(store, NULL, NULL, NULL));
  must_be(COLOCK_EINVAL, colock_store_write(store, NULL, NULL, NULL));
  must_be(COLOCK_EINVAL, colock_store_read(NULL, op_read, NULL, NULL));
  must_be(COLOCK_EINVAL, colock_store_write(NULL, op_write, NULL, NULL));
  must_be(COLOCK_EINVAL, colock_store_close(NULL, NULL));
  expect(&notes, "OMS");
  must(colock_store_close(store, NULL));
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  must(colock_store_close(store, NULL));
  must(colock_set_suspend(lock, NULL, NULL));
  colock_close(lock);
}
END_TEST

START_TEST(who_does_not_get_the_lock_calls_nothing) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open_set(path, "timeout", "20ms");
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  int result = -1;
  ck_assert_int_eq(agent_call(other, "acquire x 10000"), COLOCK_OK);
  must_be(COLOCK_ETIMEDOUT, colock_store_open(&store, lock, &all, &notes, &result));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "held by")); /* who is in the way is not forgotten on the way */
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  must(colock_store_open(&store, lock, &all, &notes, &result));
  expect(&notes, "OMS");
  ck_assert_int_eq(agent_call(other, "acquire x 10000"), COLOCK_OK);
  must_be(COLOCK_ETIMEDOUT, colock_store_read(store, op_read, NULL, &result));
  must_be(COLOCK_ETIMEDOUT, colock_store_write(store, op_write, NULL, &result));
  must_be(COLOCK_ETIMEDOUT, colock_store_close(store, &result));
  colock_cancel(lock, 1);
  must_be(COLOCK_ECANCELED, colock_store_read(store, op_read, NULL, &result));
  must_be(COLOCK_ECANCELED, colock_store_close(store, &result));
  colock_cancel(lock, 0);
  ck_assert_int_eq(result, -1);
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  expect(&notes, "");
  must(colock_store_read(store, op_read, NULL, NULL));
  must(colock_store_close(store, NULL));
  expect(&notes, "FrSC");
  colock_close(lock);
}
END_TEST

START_TEST(no_memory_is_said_and_no_more) {
  struct notes notes = NOTES;
  colock *lock = test_open(test_path("a.lock"));
  colock_store *store = NULL;
  fault_install();
  fault_fail_at(FAULT_malloc, 1, ENOMEM);
  int code = colock_store_open(&store, lock, &all, &notes, NULL);
  ck_assert(fault_hit());
  fault_remove();
  ck_assert_int_eq(code, COLOCK_ENOMEM);
  expect(&notes, "");
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  end_store(store, lock);
}
END_TEST

/* ---- calls from within ---- */

struct within {
  colock_store *store, *other;
  struct notes *other_notes;
};

static void call_again(struct notes *notes) {
  struct within *within = notes->act_arg;
  refuses_every_call(within->store);
  notes->acted++;
}

static int op_call_first(void *context, void *arg) {
  (void)context;
  struct within *within = arg;
  must_be(COLOCK_EDEADLK, colock_store_read(within->store, op_read, NULL, NULL));
  must_be(COLOCK_EDEADLK, colock_store_read(within->other, op_read, NULL, NULL));
  return 4;
}

/* Another store, and from there the first again. */
static void call_another(struct notes *notes) {
  struct within *within = notes->act_arg;
  int result = 0;
  must(colock_store_write(within->other, op_call_first, within, &result));
  ck_assert_int_eq(result, 4);
  must(colock_store_read(within->other, op_read, NULL, NULL));
  notes->acted++;
}

START_TEST(store_may_not_be_called_from_within) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  struct within within = {0};
  notes.act = call_again;
  notes.act_arg = &within;
  must(colock_store_open(&within.store, lock, &all, &notes, NULL));
  for (const char *place = "FSrw"; *place != '\0'; place++) {
    notes.acting = *place;
    must(colock_store_read(within.store, op_read, NULL, NULL));
    must(colock_store_write(within.store, op_write, NULL, NULL));
  }
  ck_assert_int_eq(notes.acted, 2 + 2 + 1 + 1);
  notes.acting = 'V';
  die_elsewhere(path);
  must(colock_store_write(within.store, op_write, NULL, NULL));
  ck_assert_int_eq(notes.acted, 7);
  notes.acting = 'C';
  must(colock_store_close(within.store, NULL));
  ck_assert_int_eq(notes.acted, 8);
  colock_close(lock);
}
END_TEST

START_TEST(another_store_may_be_called_from_within) {
  struct notes notes = NOTES, other_notes = NOTES;
  colock *lock = test_open(test_path("a.lock")), *other = test_open(test_path("b.lock"));
  struct within within = {0};
  must(colock_store_open(&within.store, lock, &all, &notes, NULL));
  must(colock_store_open(&within.other, other, &unsuspended, &other_notes, NULL));
  notes.act = call_another;
  notes.act_arg = &within;
  for (const char *place = "FSrw"; *place != '\0'; place++) {
    notes.acting = *place;
    must(colock_store_read(within.store, op_read, NULL, NULL));
    must(colock_store_write(within.store, op_write, NULL, NULL));
  }
  ck_assert_int_eq(notes.acted, 2 + 2 + 1 + 1);
  must(colock_store_read(within.other, op_read, NULL, NULL)); /* who was within is out again */
  must(colock_store_close(within.other, NULL));
  must(colock_store_close(within.store, NULL));
  colock_close(lock);
  colock_close(other);
}
END_TEST

/* ---- holds that were forced out, files that were lost, writers that died ---- */

static void force(struct notes *notes) {
  must(colock_force_unlock(notes->act_arg, "test", NULL));
  notes->acted++;
}

START_TEST(forced_unlock_is_told_and_nothing_old_is_written) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = NULL;
  int value = 6, result = -1;
  store = begin_store(lock, &all, &notes, "OMS");
  notes.act = force;
  notes.act_arg = (void *)path;
  notes.acting = 'w';
  must_be(COLOCK_EREVOKED, colock_store_write(store, op_write, &value, &result));
  ck_assert_int_eq(result, 6);
  expect(&notes, "Fw");
  notes.acting = 'r';
  must_be(COLOCK_EREVOKED, colock_store_read(store, op_read, NULL, &result));
  ck_assert_int_eq(result, 0);
  expect(&notes, "FVr"); /* a forced out writer is one that died */
  notes.acting = 0;
  must(colock_store_write(store, op_write, NULL, NULL)); /* and from here on all is as it was */
  expect(&notes, "FVwS");
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "FrS");
  notes.acting = 'C';
  must_be(COLOCK_EREVOKED, colock_store_close(store, NULL));
  expect(&notes, "C");
  ck_assert_int_eq(notes.acted, 3);
  colock_close(lock);
}
END_TEST

START_TEST(forced_unlock_after_which_nobody_wrote_makes_memory_stale_too) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "OMr");
  ck_assert_int_eq(agent_call(other, "acquire s 10000"), COLOCK_OK);
  must(colock_force_unlock(path, "test", NULL));
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "Fr");
  end_store(store, lock);
}
END_TEST

START_TEST(forced_unlock_in_open_opens_nothing) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = NULL;
  int result = -1;
  notes.act = force;
  notes.act_arg = (void *)path;
  notes.acting = 'M';
  must_be(COLOCK_EREVOKED, colock_store_open(&store, lock, &all, &notes, &result));
  ck_assert_ptr_null(store);
  ck_assert_int_eq(result, -1);
  expect(&notes, "OMC");
  notes.acting = 'V'; /* it was ours that was forced out; and recovered cannot be said under a hold that is over */
  must_be(COLOCK_EREVOKED, colock_store_open(&store, lock, &all, &notes, &result));
  expect(&notes, "OVC");
  notes.acting = 0;
  store = begin_store(lock, &all, &notes, "OVMS");
  end_store(store, lock);
}
END_TEST

/* The last callback of open had returned, so it is as well as if that had happened later. */
START_TEST(forced_unlock_in_the_suspend_after_open_is_for_the_next_to_see) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = NULL;
  notes.act = force;
  notes.act_arg = (void *)path;
  notes.acting = 'S';
  store = begin_store(lock, &all, &notes, "OMS");
  must_be(COLOCK_EREVOKED, colock_store_read(store, op_read, NULL, NULL));
  notes.acting = 0;
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "FVrSFVrS");
  end_store(store, lock);
}
END_TEST

static void force_once(struct notes *notes) {
  if (notes->acted == 0) force(notes);
}

/* The operation has not run yet, so it is no failure. */
START_TEST(forced_unlock_in_recover_begins_anew) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = begin_store(lock, &all, &notes, "OMS");
  notes.act = force_once;
  notes.act_arg = (void *)path;
  notes.acting = 'V';
  die_elsewhere(path);
  must(colock_store_write(store, op_write, NULL, NULL));
  ck_assert_int_eq(notes.acted, 1);
  expect(&notes, "FVFVwS");
  end_store(store, lock);
}
END_TEST

static void replace(struct notes *notes) {
  int64_t begin = test_now_ms();
  ck_assert_int_eq(unlink(notes->act_arg), 0);
  while (test_now_ms() < begin + 2) sched_yield(); /* a shorter hold is looked at when it is granted only */
}

START_TEST(lock_file_that_is_lost_meanwhile_is_told) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open_set(path, "verbosity", "quiet");
  colock_store *store = NULL;
  int value = 6, result = -1;
  must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
  notes.act = replace;
  notes.act_arg = (void *)path;
  notes.acting = 'w';
  must_be(COLOCK_ELOST, colock_store_write(store, op_write, &value, &result));
  ck_assert_int_eq(result, 6);
  notes.acting = 0;
  must(colock_store_read(store, op_read, NULL, NULL));
  notes.acting = 'C';
  must_be(COLOCK_ELOST, colock_store_close(store, NULL));
  expect(&notes, "OMwFrC");
  colock_close(lock);
}
END_TEST

START_TEST(dead_writer_is_recovered_from_before_anything_else) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  die_elsewhere(path);
  colock *lock = test_open(path);
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
  must(colock_store_write(store, op_write, NULL, NULL)); /* once */
  expect(&notes, "OVMw");
  die_elsewhere(path);
  must(colock_store_write(store, op_write, NULL, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "FVww");
  die_elsewhere(path);
  must(colock_store_read(store, op_read, NULL, NULL)); /* a reader reads nothing that is half written */
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "FVrr");
  end_store(store, lock);
}
END_TEST

START_TEST(recover_that_fails_is_called_again) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = NULL;
  int result = -1;
  store = begin_store(lock, &all, &notes, "OMS");
  die_elsewhere(path);
  notes.failing = 'V';
  must_be(COLOCK_ESTORE, colock_store_read(store, op_read, NULL, &result));
  ck_assert_int_eq(result, 7);
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "recover"));
  must_be(COLOCK_ESTORE, colock_store_write(store, op_write, NULL, &result));
  expect(&notes, "FVFV"); /* what it may have left behind is not written */
  notes.failing = 0;
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "FVrS");
  end_store(store, lock);
}
END_TEST

START_TEST(without_a_recover_a_dead_writer_stays_noted) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = NULL;
  colock_hold *hold = NULL;
  die_elsewhere(path);
  must(colock_store_open(&store, lock, &least, &notes, NULL));
  must(colock_store_read(store, op_read, NULL, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  must(colock_store_close(store, NULL));
  expect(&notes, "OrwC");
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  ck_assert_int_eq(colock_abandoned(hold), 1);
  must(colock_recovered(hold));
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

static void die(struct notes *notes) {
  (void)notes;
  raise(SIGKILL);
}

static int die_in_write(void *path) {
  struct notes notes = NOTES;
  colock *lock = NULL;
  colock_store *store = NULL;
  notes.act = die;
  notes.acting = 'w';
  if (colock_open(&lock, path, NULL) || colock_store_open(&store, lock, &all, &notes, NULL)) return 1;
  colock_store_write(store, op_write, NULL, NULL);
  return 2;
}

static int die_in_suspend(void *path) {
  struct notes notes = NOTES;
  colock *lock = NULL;
  colock_store *store = NULL;
  notes.act = die;
  if (colock_open(&lock, path, NULL) || colock_store_open(&store, lock, &all, &notes, NULL)) return 1;
  notes.acting = 'S';
  colock_store_write(store, op_write, NULL, NULL);
  return 2;
}

START_TEST(process_that_dies_in_a_write_leaves_the_lock_abandoned) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = begin_store(lock, &all, &notes, "OMS");
  ck_assert_int_eq(test_in_child(die_in_write, (void *)path), 256 + SIGKILL);
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "FVrS");
  ck_assert_int_eq(test_in_child(die_in_suspend, (void *)path), 256 + SIGKILL);
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "FVwS");
  end_store(store, lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "calls", 60);
  tcase_add_test(tcase, database_is_suspended_after_each_operation_and_refreshed_before_the_next);
  tcase_add_test(tcase, without_a_suspend_it_is_refreshed_only_after_others_wrote);
  tcase_add_test(tcase, open_and_close_alone_will_do);
  tcase_add_test(tcase, lock_that_is_not_enabled_is_no_reason_to_refresh);
  tcase_add_test(tcase, replaced_lock_file_makes_memory_stale);

  tcase = test_case(suite, "codes", 60);
  tcase_add_test(tcase, value_of_the_operation_is_passed_through);
  tcase_add_test(tcase, callback_that_fails_in_open_ends_it);
  tcase_add_test(tcase, refresh_that_fails_is_called_again_and_nothing_is_written_until_it_is_well);
  tcase_add_test(tcase, suspend_that_fails_is_a_death_in_the_middle);
  tcase_add_test(tcase, close_that_fails_closes_all_the_same);
  tcase_add_test(tcase, what_cannot_be_is_refused);
  tcase_add_test(tcase, who_does_not_get_the_lock_calls_nothing);
  tcase_add_test(tcase, no_memory_is_said_and_no_more);

  tcase = test_case(suite, "within", 60);
  tcase_add_test(tcase, store_may_not_be_called_from_within);
  tcase_add_test(tcase, another_store_may_be_called_from_within);

  tcase = test_case(suite, "broken", 60);
  tcase_add_test(tcase, forced_unlock_is_told_and_nothing_old_is_written);
  tcase_add_test(tcase, forced_unlock_after_which_nobody_wrote_makes_memory_stale_too);
  tcase_add_test(tcase, forced_unlock_in_open_opens_nothing);
  tcase_add_test(tcase, forced_unlock_in_the_suspend_after_open_is_for_the_next_to_see);
  tcase_add_test(tcase, forced_unlock_in_recover_begins_anew);
  tcase_add_test(tcase, lock_file_that_is_lost_meanwhile_is_told);
  tcase_add_test(tcase, dead_writer_is_recovered_from_before_anything_else);
  tcase_add_test(tcase, recover_that_fails_is_called_again);
  tcase_add_test(tcase, without_a_recover_a_dead_writer_stays_noted);
  tcase_add_test(tcase, process_that_dies_in_a_write_leaves_the_lock_abandoned);
}

int main(int argc, char **argv) { return test_main(argc, argv, "store", fill); }

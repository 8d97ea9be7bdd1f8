/* test_stats.c - what is counted, by real calls: each kind alone, so that a number in the wrong place shows; over the
 * death of owners, the reuse of slots, and resets. */
#define _GNU_SOURCE
#include "agent.h"
#include "kept.h"
#include "line.h"
#include "stats.h"
#include "stats_names.h"
#include "token.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path;

static colock *open_plainly(void) {
  path = test_path("a.lock");
  return test_open(path);
}

static colock *open_keeping(void) {
  path = test_path("a.lock");
  return kept_open(path, "1min");
}

static void pair(colock *lock, int mode, int times) {
  for (int i = 0; i < times; i++) {
    colock_hold *hold;
    must(colock_acquire(lock, mode, &hold));
    must(colock_release(hold));
  }
}

static struct agent *holding(const char *mode) {
  struct agent *agent = agent_open(path);
  ck_assert_msg(agent_call(agent, "acquire %s 20000", mode) == COLOCK_OK, "%s", agent->text);
  return agent;
}

static struct agent *waiting(const char *request, unsigned place) {
  struct agent *agent = agent_open(path);
  agent_send(agent, "acquire %s", request);
  test_await_waiters(path, place);
  return agent;
}

/* ---- each kind ---- */

START_TEST(new_file_has_counted_nothing) {
  colock_close(open_plainly());
  stats_are(path, NULL);
  colock_stats *stats = stats_read(path);
  ck_assert_int_ge(colock_stats_number(stats, "age_ms"), 0);
  ck_assert_int_lt(colock_stats_number(stats, "age_ms"), 60000);
  colock_stats_free(stats);
}
END_TEST

START_TEST(acquisitions_are_counted_by_mode) {
  colock *lock = open_plainly();
  pair(lock, COLOCK_SHARED, 3);
  pair(lock, COLOCK_EXCLUSIVE, 5);
  stats_are(path, "acquisitions_shared", 3, "acquisitions_exclusive", 5, "hold_shared_count", 3,
            "hold_exclusive_count", 5, NULL);
  colock_hold *hold;
  must(colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold)); /* counted when it is got, its time when it ends */
  stats_are(path, "acquisitions_shared", 3, "acquisitions_exclusive", 6, "hold_shared_count", 3,
            "hold_exclusive_count", 5, NULL);
  must(colock_release(hold));
  ck_assert_int_eq(stats_number(path, "hold_exclusive_count"), 6);
  colock_close(lock);
}
END_TEST

START_TEST(kept_locks_are_hits) {
  colock *lock = open_keeping();
  pair(lock, COLOCK_EXCLUSIVE, 4);
  stats_are(path, "acquisitions_exclusive", 4, "cached_exclusive", 3, "hold_exclusive_count", 4, NULL);
  must(colock_release_idle(lock)); /* nobody waited for it: no recall, and it is no hold that ends */
  pair(lock, COLOCK_SHARED, 3);
  stats_are(path, "acquisitions_exclusive", 4, "cached_exclusive", 3, "hold_exclusive_count", 4,
            "acquisitions_shared", 3, "cached_shared", 2, "hold_shared_count", 3, NULL);
  pair(lock, COLOCK_EXCLUSIVE, 1); /* kept in the other mode: it takes a system call, and is no hit */
  stats_are(path, "acquisitions_exclusive", 5, "cached_exclusive", 3, "hold_exclusive_count", 5,
            "acquisitions_shared", 3, "cached_shared", 2, "hold_shared_count", 3, NULL);
  colock_close(lock);
  stats_are(path, "acquisitions_exclusive", 5, "cached_exclusive", 3, "hold_exclusive_count", 5,
            "acquisitions_shared", 3, "cached_shared", 2, "hold_shared_count", 3, NULL);
}
END_TEST

START_TEST(tries_in_vain_are_busy) {
  colock *lock = open_plainly();
  holding("x");
  colock_hold *hold;
  must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_SHARED, &hold));
  must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  stats_are(path, "acquisitions_exclusive", 1, "busy", 2, NULL);
  colock_close(lock);
}
END_TEST

START_TEST(waits_are_timed_by_mode) {
  colock *lock = open_plainly();
  colock_hold *hold;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  struct agent *writer = waiting("x 20000", 1), *reader = waiting("s 20000", 2);
  usleep(20000);
  must(colock_release(hold));
  ck_assert_int_eq(agent_answer(reader), COLOCK_OK); /* it waited when a writer left: it goes before the next one */
  ck_assert_int_eq(agent_call(reader, "release %d", reader->hold), COLOCK_OK);
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
  stats_are(path, "acquisitions_exclusive", 2, "acquisitions_shared", 1, "wait_exclusive_count", 1,
            "wait_shared_count", 1, "hold_exclusive_count", 1, "hold_shared_count", 1, NULL);
  colock_stats *stats = stats_read(path);
  ck_assert_int_ge(colock_stats_number(stats, "wait_exclusive_sum_ns"), 20000000);
  ck_assert_int_ge(colock_stats_number(stats, "wait_shared_sum_ns"), 20000000);
  ck_assert_int_eq(colock_stats_number(stats, "wait_shared_max_ns"),
                   colock_stats_number(stats, "wait_shared_sum_ns"));
  ck_assert_int_ge(colock_stats_number(stats, "hold_exclusive_max_ns"), 20000000);
  colock_stats_free(stats);
  colock_close(lock);
}
END_TEST

START_TEST(waits_in_vain_are_timeouts_and_cancels) {
  colock_close(open_plainly());
  holding("x");
  struct agent *first = agent_open(path);
  ck_assert_int_eq(agent_call(first, "acquire s 5"), COLOCK_ETIMEDOUT);
  stats_are(path, "acquisitions_exclusive", 1, "timeouts", 1, "wait_shared_count", 1, NULL);
  struct agent *canceled = waiting("x 20000", 1);
  kill(canceled->pid, SIGUSR1);
  ck_assert_int_eq(agent_answer(canceled), COLOCK_ECANCELED);
  struct agent *interrupted = waiting("x 20000 interruptible", 1);
  while (!agent_answered(interrupted)) kill(interrupted->pid, SIGUSR2); /* one may come while it does not sleep */
  ck_assert_int_eq(agent_answer(interrupted), COLOCK_EINTR);
  stats_are(path, "acquisitions_exclusive", 1, "timeouts", 1, "wait_shared_count", 1, "cancels", 2,
            "wait_exclusive_count", 2, NULL);
}
END_TEST

START_TEST(requests_that_would_wait_for_ever_are_deadlocks) {
  colock *lock = open_plainly();
  colock_hold *hold, *second;
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must_be(COLOCK_EDEADLK, colock_acquire(lock, COLOCK_SHARED, &second));
  stats_are(path, "acquisitions_shared", 1, "deadlocks", 1, NULL);
  struct agent *other = holding("s");
  agent_send(other, "upgrade %d 20000", other->hold);
  test_await_waiters(path, 1);
  must_be(COLOCK_EDEADLK, colock_upgrade(hold, COLOCK_FOREVER));
  must(colock_release(hold));
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  stats_are(path, "acquisitions_shared", 2, "deadlocks", 2, "upgrades", 1, "wait_exclusive_count", 1,
            "hold_shared_count", 2, NULL);
  colock_close(lock);
}
END_TEST

START_TEST(deadlock_with_a_kept_lock_is_counted_too) {
  colock *lock = open_keeping();
  colock_hold *kept, *hold, *second;
  must(colock_try_acquire(lock, COLOCK_SHARED, &kept));
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_release(kept));
  must_be(COLOCK_EDEADLK, colock_acquire(lock, COLOCK_SHARED, &second));
  stats_are(path, "acquisitions_shared", 2, "deadlocks", 1, "hold_shared_count", 1, NULL);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

/* What was held in one mode and then in the other are two holds, each in its own histogram. */
START_TEST(changes_of_mode_divide_the_hold) {
  colock *lock = open_plainly();
  colock_hold *hold;
  int64_t before_ns = colockp_now_ns();
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  usleep(30000);
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  stats_are(path, "acquisitions_shared", 1, "upgrades", 1, "hold_shared_count", 1, NULL);
  must(colock_downgrade(hold));
  stats_are(path, "acquisitions_shared", 1, "upgrades", 1, "downgrades", 1, "hold_shared_count", 1,
            "hold_exclusive_count", 1, NULL);
  must(colock_release(hold));
  stats_are(path, "acquisitions_shared", 1, "upgrades", 1, "downgrades", 1, "hold_shared_count", 2,
            "hold_exclusive_count", 1, NULL);
  int64_t all_ns = stats_number(path, "hold_shared_sum_ns") + stats_number(path, "hold_exclusive_sum_ns");
  ck_assert_int_ge(all_ns, 30000000);
  ck_assert_int_le(all_ns, colockp_now_ns() - before_ns);
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  struct agent *other = holding("s");
  must_be(COLOCK_EBUSY, colock_upgrade(hold, COLOCK_NOWAIT));
  must_be(COLOCK_ETIMEDOUT, colock_upgrade(hold, 5));
  ck_assert_int_eq(agent_call(other, "release %d", other->hold), COLOCK_OK);
  must(colock_release(hold));
  stats_are(path, "acquisitions_shared", 3, "upgrades", 1, "downgrades", 1, "hold_shared_count", 4,
            "hold_exclusive_count", 1, "busy", 1, "timeouts", 1, "wait_exclusive_count", 1, NULL);
  colock_close(lock);
}
END_TEST

static int write_once(void *arg) {
  (void)arg;
  colock *lock = test_open(path);
  pair(lock, COLOCK_EXCLUSIVE, 1);
  colock_close(lock);
  return 0;
}

START_TEST(yield_is_a_release_and_an_acquire) {
  colock *lock = open_plainly();
  colock_hold *hold;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_yield(hold, COLOCK_FOREVER)); /* nobody waits: nothing has happened */
  stats_are(path, "acquisitions_exclusive", 1, NULL);
  struct agent *other = waiting("x 20000", 1);
  must_be(COLOCK_ETIMEDOUT, colock_yield(hold, 5)); /* the other one keeps it */
  ck_assert_int_eq(agent_answer(other), COLOCK_OK);
  stats_are(path, "acquisitions_exclusive", 2, "hold_exclusive_count", 1, "wait_exclusive_count", 2, "timeouts", 1,
            NULL);
  must(colock_release(hold)); /* there is none any more */
  stats_are(path, "acquisitions_exclusive", 2, "hold_exclusive_count", 1, "wait_exclusive_count", 2, "timeouts", 1,
            NULL);
  agent_kill(other);
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  pid_t third = test_fork(write_once, NULL);
  test_await_waiters(path, 1);
  must(colock_yield(hold, COLOCK_FOREVER));
  must(colock_release(hold));
  ck_assert_int_eq(test_wait(third), 0);
  ck_assert_int_eq(stats_number(path, "acquisitions_shared"), 2);
  ck_assert_int_eq(stats_number(path, "hold_shared_count"), 2);
  ck_assert_int_eq(stats_number(path, "wait_shared_count"), 1);
  colock_close(lock);
}
END_TEST

START_TEST(kept_lock_that_leaves_for_a_waiter_is_a_recall) {
  colock *lock = open_keeping();
  pair(lock, COLOCK_EXCLUSIVE, 2);
  struct agent *other = holding("x");
  stats_are(path, "acquisitions_exclusive", 3, "cached_exclusive", 1, "hold_exclusive_count", 2, "recalls", 1,
            "wait_exclusive_count", 1, NULL);
  agent_kill(other);
  colock_close(lock);
}
END_TEST

/* The same where its owner sees to it, before the thread that looks after it does. */
START_TEST(kept_lock_that_its_owner_must_not_use_again_is_a_recall) {
  colock *lock = open_keeping();
  colock_hold *hold = kept_acquire(lock, COLOCK_EXCLUSIVE);
  hold->lane_since_ns -= 10 * SECOND; /* long enough */
  must(colock_release(hold));
  struct line line = line_of(lock->region, 20, "w-100"); /* recalls nobody */
  int code = colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold);
  if (code == COLOCK_OK) must(colock_release(hold)); /* it did not take it, and was passed over */
  ck_assert_int_eq(stats_number(path, "recalls"), 1);
  line_end(&line);
  colock_close(lock);
}
END_TEST

START_TEST(kept_lock_that_idles_is_let_go_without_a_recall) {
  path = test_path("a.lock");
  colock *lock = kept_open(path, "20ms");
  pair(lock, COLOCK_EXCLUSIVE, 1);
  await_that(!test_lane_taken(path));
  colock_close(lock);
  stats_are(path, "acquisitions_exclusive", 1, "hold_exclusive_count", 1, NULL);
}
END_TEST

START_TEST(locks_that_count_nothing_do_no_harm) {
  colock_close(open_plainly());
  colock *lock = test_open_set(test_path("b.lock"), "enabled", "false");
  pair(lock, COLOCK_EXCLUSIVE, 3);
  colock_close(lock);
  ck_assert_int_ne(access(test_path("b.lock"), F_OK), 0);
  chmod(path, 0444);
  struct agent *reader = agent_start();
  if (agent_call(reader, "nobody") != COLOCK_OK || chmod(test_dir(), 0755) != 0) {
    test_skip("needs root, to give up its privileges");
    return;
  }
  ck_assert_msg(agent_call(reader, "open %s", agent_word(path)) == COLOCK_OK, "%s", reader->text);
  ck_assert_int_eq(agent_call(reader, "acquire s 20000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(reader, "release %d", reader->hold), COLOCK_OK);
  stats_are(path, NULL);
}
END_TEST

/* ---- the dead and the forced out ---- */

static const struct {
  const char *mode, *name;
} deaths[] = {{"s", "deaths_shared"}, {"x", "deaths_exclusive"}};

/* Known at once, though nobody has been there since; counted once, whoever notices. */
START_TEST(death_while_holding_is_counted_once) {
  colock *lock = open_plainly();
  bool shared = _i == 0;
  agent_kill(holding(deaths[_i].mode));
  const char *got = shared ? "acquisitions_shared" : "acquisitions_exclusive";
  stats_are(path, got, 1, deaths[_i].name, 1, NULL);
  pair(lock, COLOCK_EXCLUSIVE, 1); /* finds the writer's mark */
  ck_assert_int_eq(stats_number(path, deaths[_i].name), 1);
  struct agent *next = agent_open(path); /* moves into the slot */
  ck_assert_int_eq(agent_call(next, "try s"), COLOCK_OK);
  ck_assert_uint_eq(test_header(path).slots_in_use, 2);
  stats_are(path, "acquisitions_shared", shared ? 2 : 1, "acquisitions_exclusive", shared ? 1 : 2,
            "hold_exclusive_count", 1, deaths[_i].name, 1, NULL);
  colock_close(lock);
}
END_TEST

START_TEST(death_without_a_hold_is_none) {
  colock *lock = open_plainly();
  struct agent *idle = agent_open(path), *keeper = agent_start();
  ck_assert_int_eq(agent_call(keeper, "open %s auto_release=true idle_timeout=1min", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(keeper, "try s"), COLOCK_OK);
  ck_assert_int_eq(agent_call(keeper, "release %d", keeper->hold), COLOCK_OK);
  agent_kill(keeper);
  ck_assert_int_eq(agent_call(idle, "try x"), COLOCK_OK);
  ck_assert_int_eq(agent_call(idle, "release %d", idle->hold), COLOCK_OK);
  agent_kill(idle);
  struct agent *holder = holding("x");
  agent_kill(waiting("x 20000", 1));
  ck_assert_int_eq(agent_call(holder, "release %d", holder->hold), COLOCK_OK);
  agent_kill(holder);
  pair(lock, COLOCK_EXCLUSIVE, 1);
  for (int i = 0; i < 4; i++) holding("s"); /* all the slots are moved into again */
  ck_assert_int_eq(stats_number(path, "deaths_shared"), 0);
  ck_assert_int_eq(stats_number(path, "deaths_exclusive"), 0);
  colock_close(lock);
}
END_TEST

START_TEST(hold_that_a_child_inherits_did_not_die) {
  colock_close(open_plainly());
  struct agent *parent = holding("s");
  int hold = parent->hold;
  ck_assert_int_eq(agent_call(parent, "inherit %d 1", hold), COLOCK_OK);
  ck_assert_int_eq(agent_call(parent, "exec"), COLOCK_OK);
  pid_t child = (pid_t)parent->number;
  ck_assert_int_eq(agent_call(parent, "release %d", hold), COLOCK_OK);
  agent_kill(parent);
  ck_assert(test_lane_taken(path));
  kill(child, SIGKILL);
  while (test_lane_taken(path)) usleep(1000);
  stats_are(path, "acquisitions_shared", 1, "hold_shared_count", 1, NULL);
  holding("s");
  stats_are(path, "acquisitions_shared", 2, "hold_shared_count", 1, NULL);
}
END_TEST

START_TEST(forced_unlock_is_counted_and_is_no_death) {
  colock *lock = open_plainly();
  must(colock_force_unlock(path, "nobody has it", NULL));
  stats_are(path, NULL);
  struct agent *holder = holding("x");
  must(colock_force_unlock(path, "because", NULL));
  stats_are(path, "acquisitions_exclusive", 1, "forced_unlocks", 1, NULL);
  agent_kill(holder);
  stats_are(path, "acquisitions_exclusive", 1, "forced_unlocks", 1, NULL);
  pair(lock, COLOCK_EXCLUSIVE, 1); /* finds the mark of the one that was forced out */
  stats_are(path, "acquisitions_exclusive", 2, "hold_exclusive_count", 1, "forced_unlocks", 1, NULL);
  agent_kill(holding("x"));
  pair(lock, COLOCK_EXCLUSIVE, 1);
  stats_are(path, "acquisitions_exclusive", 4, "hold_exclusive_count", 2, "forced_unlocks", 1, "deaths_exclusive", 1,
            NULL);
  colock_close(lock);
}
END_TEST

/* ---- owners come and go ---- */

/* Two readers may find the mark of a dead writer at once. */
START_TEST(writer_is_buried_once) {
  colock *lock = open_plainly();
  for (int i = 1; i <= 3; i++) {
    atomic_store(&lock->region->header->writer, 5);
    colockp_writer_bury(lock->region, 5);
    colockp_writer_bury(lock->region, 5);
    stats_are(path, "deaths_exclusive", i, NULL);
  }
  colock_close(lock);
}
END_TEST

START_TEST(counts_stay_when_owners_die_and_slots_are_used_again) {
  colock_close(open_plainly());
  for (int i = 1; i <= 5; i++) {
    struct agent *agent = agent_open(path);
    for (int k = 0; k < 3; k++) {
      ck_assert_int_eq(agent_call(agent, "acquire x 20000"), COLOCK_OK);
      ck_assert_int_eq(agent_call(agent, "release %d", agent->hold), COLOCK_OK);
    }
    if (i % 2) agent_kill(agent);
    else ck_assert_int_eq(agent_call(agent, "close"), COLOCK_OK);
    stats_are(path, "acquisitions_exclusive", 3 * i, "hold_exclusive_count", 3 * i, NULL);
    ck_assert_uint_eq(test_header(path).slots_in_use, 1);
  }
}
END_TEST

START_TEST(counts_are_summed_over_processes) {
  colock_close(open_plainly());
  struct agent *agents[3];
  for (int i = 0; i < 3; i++) agents[i] = holding("s");
  ck_assert_uint_eq(test_header(path).slots_in_use, 3);
  for (int i = 0; i < 3; i++)
    for (int k = 0; k <= i; k++) {
      ck_assert_int_eq(agent_call(agents[i], "acquire s 0"), COLOCK_OK);
      ck_assert_int_eq(agent_call(agents[i], "release %d", agents[i]->hold), COLOCK_OK);
    }
  stats_are(path, "acquisitions_shared", 3 + 1 + 2 + 3, "hold_shared_count", 6, NULL);
}
END_TEST

static void *pairs_in_a_thread(void *lock) {
  pair(lock, COLOCK_SHARED, 2000);
  return NULL;
}

START_TEST(no_count_is_lost_among_threads) {
  colock *lock = _i ? open_keeping() : open_plainly();
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, pairs_in_a_thread, lock), 0);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  ck_assert_int_eq(stats_number(path, "acquisitions_shared"), 8000);
  ck_assert_int_eq(stats_number(path, "hold_shared_count"), 8000);
  colock_close(lock);
}
END_TEST

/* ---- who took longest ---- */

START_TEST(longest_is_told_with_who_and_when) {
  colock_close(open_plainly());
  struct agent *first = holding("x");
  usleep(50000);
  struct agent *second = waiting("x 20000", 1);
  usleep(20000);
  ck_assert_int_eq(agent_call(first, "release %d", first->hold), COLOCK_OK);
  ck_assert_int_eq(agent_answer(second), COLOCK_OK);
  colock_stats *stats = stats_read(path);
  ck_assert_int_eq(colock_stats_number(stats, "hold_exclusive_max_pid"), first->pid);
  ck_assert_int_eq(colock_stats_number(stats, "hold_exclusive_max_tid"), first->pid);
  ck_assert_int_eq(colock_stats_number(stats, "wait_exclusive_max_pid"), second->pid);
  ck_assert_str_eq(colock_stats_text(stats, "hold_exclusive_max_program"), "test_stats");
  ck_assert_int_ge(colock_stats_number(stats, "hold_exclusive_max_ns"), 70000000);
  ck_assert_int_lt(colock_stats_number(stats, "hold_exclusive_max_ns"), INT64_C(60000000000));
  ck_assert_int_ge(colock_stats_number(stats, "wait_exclusive_max_age_ms"), 0);
  ck_assert_int_lt(colock_stats_number(stats, "wait_exclusive_max_age_ms"), 60000);
  ck_assert_int_eq(colock_stats_number(stats, "hold_shared_max_pid"), -1);
  ck_assert_ptr_null(colock_stats_text(stats, "hold_shared_max_program"));
  colock_stats_free(stats);
}
END_TEST

static const char *name_of_longest(const char *label) {
  static char name[64];
  colock_hold *hold;
  path = test_path("a.lock");
  colock *lock = test_open_set(path, "label", label);
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  colock_close(lock);
  colock_stats *stats = stats_read(path);
  snprintf(name, sizeof name, "%s", colock_stats_text(stats, "hold_exclusive_max_program"));
  colock_stats_free(stats);
  unlink(path);
  return name;
}

/* As reports name it: of `colock run` the program is always the same. */
START_TEST(longest_is_named_by_its_label) {
  ck_assert_str_eq(name_of_longest("migrate"), "migrate");
  ck_assert_str_eq(name_of_longest(""), "test_stats");
  ck_assert_str_eq(name_of_longest("0123456789012345678901234567890"), "0123456789012345678901234567890");
  ck_assert_str_eq(name_of_longest("01234567890123456789012345678901234"), "0123456789012345678901234567890");
  ck_assert_str_eq(name_of_longest("012345678901234567890123456789\u00e4\u00e4"), "012345678901234567890123456789");
}
END_TEST

START_TEST(only_what_is_longer_is_the_longest) {
  static const int64_t times[] = {4000, 5000, 3000, -7};
  colock *lock = open_plainly();
  colock_hold *hold = kept_acquire(lock, COLOCK_SHARED);
  uint64_t none;
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    hold->activity.tid = (int32_t)i + 1;
    colockp_stats_time(hold, COLOCKP_T_WAITS + 1, times[i]);
  }
  colock_stats *stats = stats_read(path);
  ck_assert_int_eq(colock_stats_number(stats, "wait_exclusive_count"), 4);
  ck_assert_int_eq(colock_stats_number(stats, "wait_exclusive_sum_ns"), 12000); /* time does not run backwards */
  ck_assert_int_eq(colock_stats_bucket(stats, "wait_exclusive", 0, &none), 64);
  ck_assert_uint_eq(none, 1);
  ck_assert_int_eq(colock_stats_number(stats, "wait_exclusive_max_ns"), 5000);
  ck_assert_int_eq(colock_stats_number(stats, "wait_exclusive_max_tid"), 2);
  ck_assert_int_eq(colock_stats_number(stats, "wait_exclusive_max_pid"), getpid());
  colock_stats_free(stats);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

/* ---- reset ---- */

START_TEST(reset_begins_anew) {
  colock *lock = open_plainly();
  pair(lock, COLOCK_SHARED, 3);
  agent_kill(holding("x"));
  struct agent *forced = holding("s");
  must(colock_force_unlock(path, "because", NULL));
  agent_kill(forced);
  for (int i = 0; i < 3; i++) {
    must(colock_stats_reset(path));
    ck_assert_uint_eq(test_header(path).guard_slot, 0);
    stats_are(path, NULL);
    ck_assert_int_eq(stats_number(path, "hold_shared_sum_ns"), 0);
    ck_assert_int_eq(stats_number(path, "hold_shared_max_ns"), -1);
    ck_assert_int_eq(stats_number(path, "hold_shared_max_pid"), -1);
    pair(lock, COLOCK_SHARED, i + 1);
    holding("s");
    stats_are(path, "acquisitions_shared", i + 2, "hold_shared_count", i + 1, NULL);
  }
  colock_close(lock);
}
END_TEST

/* Also in a lock that is kept, and so is never granted anew: its next hold is the longest since, though a longer one
 * went before. */
START_TEST(longest_of_before_a_reset_counts_no_more) {
  colock *lock = open_keeping();
  colock_hold *hold;
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  usleep(100000);
  must(colock_release(hold));
  ck_assert_int_ge(stats_number(path, "hold_exclusive_max_ns"), 100000000);
  must(colock_stats_reset(path));
  pair(lock, COLOCK_EXCLUSIVE, 1);
  ck_assert_int_eq(stats_number(path, "cached_exclusive"), 1);
  colock_stats *stats = stats_read(path);
  ck_assert_int_eq(colock_stats_number(stats, "hold_exclusive_max_ns"),
                   colock_stats_number(stats, "hold_exclusive_sum_ns"));
  ck_assert_int_eq(colock_stats_number(stats, "hold_exclusive_max_pid"), getpid());
  colock_stats_free(stats);
  colock_close(lock);
}
END_TEST

#define PAIRS 30000

static int count_on(void *arg) {
  (void)arg;
  colock *lock = kept_open(path, "1min");
  pair(lock, COLOCK_SHARED, PAIRS);
  colock_close(lock);
  return 0;
}

/* All that was counted is either in the base of the last reset or after it. */
START_TEST(resets_lose_nothing_of_those_who_count) {
  colock_close(open_plainly());
  uint64_t base[COLOCKP_N_HITS + 1];
  pid_t children[] = {test_fork(count_on, NULL), test_fork(count_on, NULL)};
  for (int i = 0; i < 100; i++) {
    must(colock_stats_reset(path));
    int64_t now = stats_number(path, "acquisitions_shared");
    ck_assert_int_ge(now, 0);
    ck_assert_int_le(now, 2 * PAIRS);
  }
  for (int i = 0; i < 2; i++) ck_assert_int_eq(test_wait(children[i]), 0);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.statistics_epoch, 100);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(pread(fd, base, sizeof base, colockp_at_base(100)), (ssize_t)sizeof base);
  close(fd);
  int64_t after = stats_number(path, "acquisitions_shared");
  ck_assert_int_eq((int64_t)(base[COLOCKP_N_GRANTS] + base[COLOCKP_N_HITS]) + after, 2 * PAIRS);
}
END_TEST

START_TEST(reset_needs_the_right_to_write) {
  colock_close(open_plainly());
  must_be(COLOCK_EINVAL, colock_stats_reset(NULL));
  must_be(COLOCK_EINVAL, colock_stats_reset(""));
  must_be(COLOCK_ENOENT, colock_stats_reset(test_path("absent.lock")));
  ck_assert_int_ne(access(test_path("absent.lock"), F_OK), 0);
  test_write(test_path("data"), "data", 4);
  must_be(COLOCK_EFOREIGN, colock_stats_reset(test_path("data")));
}
END_TEST

static int reset_as_nobody(void *arg) {
  (void)arg;
  if (test_become_nobody() != 0) return 77;
  must_be(COLOCK_EACCES, colock_stats_reset(path));
  colock_stats *stats = stats_read(path); /* reading is allowed */
  colock_stats_free(stats);
  return 0;
}

START_TEST(who_may_only_read_may_not_reset) {
  colock_close(open_plainly());
  chmod(path, 0444);
  chmod(test_dir(), 0755);
  int status = test_in_child(reset_as_nobody, NULL);
  if (status == 77) test_skip("needs root, to give up its privileges");
  else ck_assert_int_eq(status, 0);
}
END_TEST

static void fill(Suite *suite) {
  TCase *kinds = test_case(suite, "kinds", 30);
  tcase_add_test(kinds, new_file_has_counted_nothing);
  tcase_add_test(kinds, acquisitions_are_counted_by_mode);
  tcase_add_test(kinds, kept_locks_are_hits);
  tcase_add_test(kinds, tries_in_vain_are_busy);
  tcase_add_test(kinds, waits_are_timed_by_mode);
  tcase_add_test(kinds, waits_in_vain_are_timeouts_and_cancels);
  tcase_add_test(kinds, requests_that_would_wait_for_ever_are_deadlocks);
  tcase_add_test(kinds, deadlock_with_a_kept_lock_is_counted_too);
  tcase_add_test(kinds, changes_of_mode_divide_the_hold);
  tcase_add_test(kinds, yield_is_a_release_and_an_acquire);
  tcase_add_test(kinds, kept_lock_that_leaves_for_a_waiter_is_a_recall);
  tcase_add_test(kinds, kept_lock_that_its_owner_must_not_use_again_is_a_recall);
  tcase_add_test(kinds, kept_lock_that_idles_is_let_go_without_a_recall);
  tcase_add_test(kinds, locks_that_count_nothing_do_no_harm);
  TCase *ends = test_case(suite, "ends", 30);
  tcase_add_loop_test(ends, death_while_holding_is_counted_once, 0, 2);
  tcase_add_test(ends, death_without_a_hold_is_none);
  tcase_add_test(ends, hold_that_a_child_inherits_did_not_die);
  tcase_add_test(ends, forced_unlock_is_counted_and_is_no_death);
  tcase_add_test(ends, writer_is_buried_once);
  TCase *owners = test_case(suite, "owners", 30);
  tcase_add_test(owners, counts_stay_when_owners_die_and_slots_are_used_again);
  tcase_add_test(owners, counts_are_summed_over_processes);
  tcase_add_loop_test(owners, no_count_is_lost_among_threads, 0, 2);
  tcase_add_test(owners, longest_is_told_with_who_and_when);
  tcase_add_test(owners, longest_is_named_by_its_label);
  tcase_add_test(owners, only_what_is_longer_is_the_longest);
  TCase *reset = test_case(suite, "reset", 30);
  tcase_add_test(reset, reset_begins_anew);
  tcase_add_test(reset, longest_of_before_a_reset_counts_no_more);
  tcase_add_test(reset, resets_lose_nothing_of_those_who_count);
  tcase_add_test(reset, reset_needs_the_right_to_write);
  tcase_add_test(reset, who_may_only_read_may_not_reset);
}

int main(int argc, char **argv) { return test_main(argc, argv, "stats", fill); }

/* test_upgrade.c - changing a hold in place: upgrade, downgrade, yield, and contended, which says when that is kind. */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "layout.h"
#include "line.h"
#include "seat.h"
#include "support.h"
#include "system.h"
#include "tracker.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;
static colock *lock;
static colock_hold *hold;
static int priority;

static colock_hold *acquire(int mode) {
  colock_request request;
  colock_request_init(&request, sizeof request, mode);
  request.purpose = "to change it";
  request.priority = priority;
  must(colock_acquire_with(lock, &request, &hold));
  return hold;
}

static void have_hold(int mode) {
  path = test_path("a.lock");
  lock = test_open_set(path, "label", "changer");
  acquire(mode);
}

static void release(void) {
  must(colock_release(hold));
  colock_close(lock);
  ck_assert_uint_eq(test_waiters(path), 0);
}

static struct agent *with(const char *mode) {
  struct agent *agent = agent_open(path);
  ck_assert_msg(agent_call(agent, "acquire %s 5000", mode) == COLOCK_OK, "%s", agent->text);
  return agent;
}

/* A ring that is missing costs it 7 s at least: its wait is shorter. */
static struct agent *waiting(const char *mode, unsigned place) {
  struct agent *agent = agent_start();
  ck_assert_int_eq(agent_call(agent, "open %s retry_delay=10s", agent_word(path)), COLOCK_OK);
  agent_send(agent, "acquire %s 7000", mode);
  test_await_waiters(path, place);
  return agent;
}

static uint64_t writer_mark(void) {
  struct colockp_header header = test_header(path);
  return header.writer;
}

static bool flag_is_set(void) {
  struct colockp_header header = test_header(path);
  return header.flag & COLOCKP_FLAG_SET;
}

static bool byte_taken(int64_t byte) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  ck_assert_int_eq(fcntl(fd, F_OFD_GETLK, &range), 0);
  close(fd);
  return range.l_type != F_UNLCK;
}

static bool upgrade_taken(void) {
  struct colockp_header header = test_header(path);
  return byte_taken(COLOCKP_BYTE_UPGRADE + (uint32_t)header.generation % COLOCKP_LANES);
}

/* It is shared as before, whatever was tried; the queue is as if nothing had been. */
static void still_shared(struct agent *reader) {
  must(colock_check(hold));
  ck_assert_uint_eq(colock_token(hold), 0);
  ck_assert_uint_eq(writer_mark(), 0);
  ck_assert_uint_eq(test_waiters(path), 0);
  ck_assert(!flag_is_set());
  ck_assert(!upgrade_taken());
  if (reader) {
    ck_assert_int_eq(agent_call(reader, "try s"), COLOCK_OK);
    ck_assert_int_eq(agent_call(reader, "release %d", reader->hold), COLOCK_OK);
  }
}

/* ---- upgrade ---- */

START_TEST(only_reader_becomes_the_writer) {
  have_hold(COLOCK_SHARED);
  uint64_t last = colock_last_token(hold);
  struct agent *other = agent_open(path);
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  ck_assert_uint_eq(colock_token(hold), last + 1);
  ck_assert_uint_eq(colock_last_token(hold), last); /* nobody has written since the shared hold began */
  ck_assert_uint_eq(writer_mark(), last + 1);
  ck_assert(!upgrade_taken());
  ck_assert_int_eq(agent_call(other, "try s"), COLOCK_EBUSY);
  must(colock_check(hold));
  must(colock_recovered(hold));
  must(colock_upgrade(hold, 1000)); /* again: it is already */
  ck_assert_uint_eq(colock_token(hold), last + 1);
  release();
  ck_assert_uint_eq(writer_mark(), 0);
  ck_assert_int_eq(agent_call(other, "acquire x 5000"), COLOCK_OK);
  ck_assert_uint_eq(other->token, last + 2);
  ck_assert_int_eq(other->abandoned, 0);
}
END_TEST

START_TEST(upgrade_waits_for_the_readers_and_goes_before_all_who_wait) {
  path = test_path("a.lock");
  struct agent *upgrader = with("s"), *reader = with("s"), *writer = waiting("x", 1);
  agent_send(upgrader, "upgrade 0 20000");
  test_await_waiters(path, 2);
  struct agent *late = waiting("s", 3);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(upgrader), COLOCK_OK);
  uint64_t token = upgrader->token;
  ck_assert_uint_gt(token, 0);
  ck_assert(!agent_answered(writer));
  ck_assert(!agent_answered(late));
  ck_assert_uint_eq(test_waiters(path), 2);
  ck_assert_int_eq(agent_call(upgrader, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(late), COLOCK_OK); /* it waited when a writer ended */
  ck_assert_int_eq(agent_call(late, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
  ck_assert_uint_eq(writer->token, token + 1);
}
END_TEST

START_TEST(no_reader_enters_while_somebody_upgrades) {
  path = test_path("a.lock");
  struct agent *upgrader = with("s"), *reader = with("s"), *other = agent_open(path);
  agent_send(upgrader, "upgrade 0 20000");
  test_await_waiters(path, 1);
  test_end_turn(path);
  ck_assert_int_eq(agent_call(other, "try s"), COLOCK_EBUSY);
  ck_assert_int_eq(agent_call(other, "acquire s 50"), COLOCK_ETIMEDOUT);
  ck_assert(!agent_answered(upgrader));
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(upgrader), COLOCK_OK);
}
END_TEST

START_TEST(upgrade_in_vain_leaves_it_shared_and_lets_readers_in) {
  have_hold(COLOCK_SHARED);
  struct agent *reader = with("s");
  must_be(COLOCK_EBUSY, colock_upgrade(hold, COLOCK_NOWAIT));
  still_shared(reader);
  int64_t before = test_now_ms();
  must_be(COLOCK_ETIMEDOUT, colock_upgrade(hold, 80));
  ck_assert_int_ge(test_now_ms() - before, 79);
  char pid[32];
  snprintf(pid, sizeof pid, "[%d]", (int)reader->pid);
  ck_assert_msg(strstr(colock_last_message(), pid) != NULL, "%s", colock_last_message());
  snprintf(pid, sizeof pid, "[%d]", (int)getpid());
  ck_assert_msg(strstr(colock_last_message(), pid) == NULL, "%s", colock_last_message());
  still_shared(reader);
  colock_cancel(lock, 1);
  must_be(COLOCK_ECANCELED, colock_upgrade(hold, COLOCK_FOREVER));
  still_shared(reader);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  must(colock_upgrade(hold, COLOCK_FOREVER)); /* does not have to wait */
  colock_cancel(lock, 0);
  release();
}
END_TEST

START_TEST(readers_behind_an_upgrade_that_gives_up_enter_at_once) {
  path = test_path("a.lock");
  struct agent *upgrader = with("s"), *reader = with("s"), *late[3];
  agent_send(upgrader, "upgrade 0 20000");
  test_await_waiters(path, 1);
  for (unsigned i = 0; i < 3; i++) late[i] = waiting("s", i + 2);
  kill(upgrader->pid, SIGUSR1); /* cancels */
  ck_assert_int_eq(agent_answer(upgrader), COLOCK_ECANCELED);
  for (int i = 0; i < 3; i++) ck_assert_int_eq(agent_answer(late[i]), COLOCK_OK);
  ck_assert_int_eq(agent_call(upgrader, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(reader, "check 0"), COLOCK_OK);
  ck_assert_uint_eq(test_waiters(path), 0);
}
END_TEST

/* Neither would ever let the other: one is told at once. */
START_TEST(second_of_two_upgraders_is_told_of_the_deadlock) {
  path = test_path("a.lock");
  struct agent *first = with("s"), *second = with("s");
  static const char *const timeouts[] = {"-1", "0", "5000"};
  agent_send(first, "upgrade 0 20000");
  test_await_waiters(path, 1);
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(agent_call(second, "upgrade 0 %s", timeouts[i]), COLOCK_EDEADLK);
    ck_assert_ptr_nonnull(strstr(second->text, "release"));
    ck_assert_int_eq(agent_call(second, "check 0"), COLOCK_OK);
  }
  ck_assert(!agent_answered(first));
  ck_assert_int_eq(agent_call(second, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(first), COLOCK_OK);
  ck_assert_int_eq(agent_call(first, "downgrade 0"), COLOCK_OK); /* and now the other may */
  ck_assert_int_eq(agent_call(second, "acquire s 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(first, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(second, "upgrade 0 5000"), COLOCK_OK);
}
END_TEST

START_TEST(killed_upgrader_is_in_nobodys_way) {
  path = test_path("a.lock");
  struct agent *upgrader = with("s"), *reader = with("s");
  agent_send(upgrader, "upgrade 0 20000");
  test_await_waiters(path, 1);
  agent_kill(upgrader);
  ck_assert_int_eq(agent_call(reader, "upgrade 0 5000"), COLOCK_OK);
  ck_assert_int_eq(reader->abandoned, 0); /* it never wrote */
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  struct agent *next = with("x");
  ck_assert_int_eq(next->abandoned, 0);
}
END_TEST

START_TEST(times_of_an_upgrade_are_those_of_a_request) {
  path = test_path("a.lock");
  lock = test_open_set(path, "timeout", "60ms");
  acquire(COLOCK_SHARED);
  struct agent *reader = with("s");
  int64_t before = test_now_ms();
  must_be(COLOCK_ETIMEDOUT, colock_upgrade(hold, COLOCK_CONFIGURED));
  ck_assert_int_ge(test_now_ms() - before, 59);
  ck_assert_int_lt(test_now_ms() - before, 3000);
  must_be(COLOCK_EINVAL, colock_upgrade(hold, -3));
  must_be(COLOCK_EINVAL, colock_yield(hold, -3));
  must_be(COLOCK_EINVAL, colock_upgrade(NULL, 0));
  must_be(COLOCK_EINVAL, colock_downgrade(NULL));
  must_be(COLOCK_EINVAL, colock_yield(NULL, 0));
  ck_assert_int_eq(colock_contended(NULL), 0);
  still_shared(reader);
  release();
}
END_TEST

START_TEST(upgrade_of_a_revoked_hold_says_so) {
  path = test_path("a.lock");
  struct agent *upgrader = with("s"), *reader = with("s");
  agent_send(upgrader, "upgrade 0 20000");
  test_await_waiters(path, 1);
  must(colock_force_unlock(path, "for the test", NULL)); /* while it waits */
  ck_assert_int_eq(agent_answer(upgrader), COLOCK_EREVOKED);
  ck_assert_uint_eq(test_waiters(path), 0);
  ck_assert_int_eq(agent_call(reader, "upgrade 0 0"), COLOCK_EREVOKED); /* and before */
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_EREVOKED);
  ck_assert_int_eq(agent_call(upgrader, "upgrade 0 5000"), COLOCK_EREVOKED);
  ck_assert_int_eq(agent_call(upgrader, "release 0"), COLOCK_EREVOKED);
  ck_assert_int_eq(agent_call(upgrader, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(upgrader->abandoned, 0);
}
END_TEST

static void (*interfere)(void); /* once, right after the lane was made exclusive */

static int interfering_lock(int fd, int command, struct flock *range) {
  bool lane = range->l_start >= COLOCKP_BYTE_LANE && range->l_start < COLOCKP_BYTE_LANE + COLOCKP_LANES;
  int result = colockp_system_default.fcntl_lock(fd, command, range);
  if (command == F_OFD_SETLK && range->l_type == F_WRLCK && lane && result == 0 && interfere != NULL) {
    void (*once)(void) = interfere;
    interfere = NULL;
    once();
  }
  return result;
}

static void force_it(void) { must(colock_force_unlock(path, "for the test", NULL)); }
/* As a forced unlock does it. */
static void move_generation(void) {
  struct colockp_header header = test_header(path);
  uint64_t word = colockp_generation_word(colockp_generation_next((uint32_t)header.generation));
  test_poke(path, offsetof(struct colockp_header, generation), &word, sizeof word);
}
static void delete_it(void) { ck_assert_int_eq(unlink(path), 0); }

/* The conversion is undone: as a reader it may go on to say what it is. */
START_TEST(forced_or_deleted_in_the_middle_of_an_upgrade_is_noticed) {
  for (int i = 0; i < 2; i++) {
    colockp_system.fcntl_lock = interfering_lock;
    tracker_start();
    have_hold(COLOCK_SHARED);
    int64_t lane = colockp_lane(hold->activity.generation);
    int spare = open(path, O_RDWR | O_CLOEXEC);
    interfere = i == 0 ? move_generation : delete_it;
    int code = colock_upgrade(hold, 1000);
    ck_assert_int_eq(code, i == 0 ? COLOCK_EREVOKED : COLOCK_ELOST);
    ck_assert_uint_eq(colock_token(hold), 0);
    struct flock range = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = lane, .l_len = 1};
    ck_assert_int_eq(fcntl(spare, F_OFD_GETLK, &range), 0);
    ck_assert_int_eq(range.l_type, F_UNLCK); /* shared again, if at all */
    struct colockp_header header;
    ck_assert_int_eq(pread(spare, &header, sizeof header, 0), sizeof header);
    ck_assert_uint_eq(header.writer, 0);
    close(spare);
    ck_assert_int_eq(colock_release(hold), code);
    colock_close(lock);
    tracker_finish();
    colockp_system = colockp_system_default;
  }
}
END_TEST

START_TEST(upgrade_notices_that_the_file_is_gone) {
  path = test_path("a.lock");
  lock = test_open_set(path, "retry_delay", "10ms");
  acquire(COLOCK_SHARED);
  struct agent *reader = agent_start(), *upgrader = agent_start();
  struct agent *both[2] = {reader, upgrader};
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(agent_call(both[i], "open %s retry_delay=10ms", agent_word(path)), COLOCK_OK);
    ck_assert_int_eq(agent_call(both[i], "acquire s 5000"), COLOCK_OK);
  }
  agent_send(upgrader, "upgrade 0 20000");
  test_await_waiters(path, 1);
  unlink(path);
  ck_assert_int_eq(agent_answer(upgrader), COLOCK_ELOST); /* while it waits */
  ck_assert_int_eq(agent_call(upgrader, "release 0"), COLOCK_ELOST);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_ELOST);
  must_be(COLOCK_ELOST, colock_upgrade(hold, 0)); /* and before */
  ck_assert_uint_eq(colock_token(hold), 0);
  must_be(COLOCK_ELOST, colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(reader_only_hold_cannot_be_upgraded) {
  path = test_path("a.lock");
  if (geteuid() != 0) {
    test_skip("only root can become somebody who may only read");
    return;
  }
  colock_close(test_open_set(path, "file_mode", "0644"));
  struct agent *reader = agent_start();
  ck_assert_int_eq(agent_call(reader, "nobody"), COLOCK_OK);
  ck_assert_int_eq(agent_call(reader, "open %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(reader, "acquire s 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(reader, "upgrade 0 5000"), COLOCK_EACCES);
  ck_assert_int_eq(agent_call(reader, "downgrade 0"), COLOCK_OK); /* it is shared */
  ck_assert_int_eq(agent_call(reader, "yield 0 5000"), COLOCK_OK); /* nobody waits */
  ck_assert_int_eq(agent_call(reader, "check 0"), COLOCK_OK);
  struct agent *writer = waiting("x", 1); /* now somebody does; it is told by nobody but the descriptor that closes */
  ck_assert_int_eq(agent_call(reader, "contended 0"), COLOCK_OK);
  ck_assert_int_eq((int)reader->number, 1);
  agent_send(reader, "yield 0 20000");
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
  uint64_t token = writer->token;
  ck_assert(!agent_answered(reader));
  ck_assert_int_eq(agent_call(writer, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(reader), COLOCK_OK);
  ck_assert_uint_eq(reader->last_token, token);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
}
END_TEST

START_TEST(child_cannot_change_its_parents_hold) {
  path = test_path("a.lock");
  static const char *const modes[] = {"s", "x"};
  for (int i = 0; i < 2; i++) {
    struct agent *parent = with(modes[i]);
    ck_assert_int_eq(agent_call(parent, "fork upgrade 0 0"), COLOCK_EFORKED);
    ck_assert_int_eq(agent_call(parent, "fork downgrade 0"), COLOCK_EFORKED);
    ck_assert_int_eq(agent_call(parent, "fork yield 0 0"), COLOCK_EFORKED);
    struct agent *writer = waiting("x", 1);
    ck_assert_int_eq(agent_call(parent, "contended 0"), COLOCK_OK);
    ck_assert_int_eq((int)parent->number, 1);
    ck_assert_int_eq(agent_call(parent, "fork contended 0"), COLOCK_OK);
    ck_assert_int_eq((int)parent->number, 0);
    ck_assert_int_eq(agent_call(parent, "release 0"), COLOCK_OK);
    ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
    agent_end_all();
  }
}
END_TEST

START_TEST(hold_that_excludes_nobody_changes_all_the_same) {
  path = test_path("none/a.lock");
  lock = test_open_set(path, "enabled", "false");
  acquire(COLOCK_SHARED);
  ck_assert_int_eq(colock_contended(hold), 0);
  must(colock_yield(hold, COLOCK_FOREVER));
  must(colock_downgrade(hold));
  ck_assert_uint_eq(colock_token(hold), 0);
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  uint64_t token = colock_token(hold);
  ck_assert_uint_gt(token, 0);
  ck_assert_uint_eq(colock_last_token(hold), token - 1);
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  must(colock_yield(hold, COLOCK_FOREVER));
  ck_assert_uint_eq(colock_token(hold), token);
  must(colock_downgrade(hold));
  ck_assert_uint_eq(colock_token(hold), 0);
  ck_assert_uint_eq(colock_last_token(hold), token);
  must(colock_upgrade(hold, COLOCK_NOWAIT));
  ck_assert_uint_gt(colock_token(hold), token);
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

struct yielding {
  pthread_t thread;
  int64_t timeout_ms;
  int code;
};

static void *yield(void *arg) {
  struct yielding *y = arg;
  y->code = colock_yield(hold, y->timeout_ms);
  return NULL;
}

static void begin_yield(struct yielding *y) {
  y->timeout_ms = 20000;
  ck_assert_int_eq(pthread_create(&y->thread, NULL, yield, y), 0);
}

/* To force the stale reader out would revoke the upgrader's own hold as well. */
START_TEST(upgrade_forces_nobody_out) {
  path = test_path("a.lock");
  struct agent *stale = agent_start();
  ck_assert_int_eq(agent_call(stale, "open %s stale_timeout=1ms", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(stale, "acquire s 5000"), COLOCK_OK);
  lock = test_open_set(path, "stale_action", "break");
  acquire(COLOCK_SHARED);
  must_be(COLOCK_ETIMEDOUT, colock_upgrade(hold, 250));
  must(colock_check(hold));
  ck_assert_int_eq(agent_call(stale, "check 0"), COLOCK_OK);
  release();
}
END_TEST

START_TEST(one_alarm_serves_wait_after_wait) {
  have_hold(COLOCK_SHARED);
  struct agent *reader = with("s");
  for (int i = 0; i < 5; i++) must_be(COLOCK_ETIMEDOUT, colock_upgrade(hold, 5));
  ck_assert_ptr_nonnull(lock->alarms);
  ck_assert_ptr_null(atomic_load(&lock->alarms)->next);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  release();
}
END_TEST

/* ---- what others see ---- */

static int64_t entry_number(size_t index, int field) {
  colock_report *report;
  must(colock_report_read(path, &report));
  ck_assert_uint_gt(colock_report_count(report), index);
  int64_t number = colock_entry_number(colock_report_entry(report, index), field);
  colock_report_free(report);
  return number;
}

static void shown_as(int mode, uint64_t token) {
  colock_report *report;
  must(colock_report_read(path, &report));
  const colock_entry *entry = colock_report_entry(report, 0);
  ck_assert_ptr_nonnull(entry);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_ROLE), COLOCK_HOLDER);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_MODE), mode);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_PID), getpid());
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_PRIORITY), priority);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_TOKEN), token ? (int64_t)token : -1);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_UPGRADING), 0);
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_LABEL), "changer");
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_PURPOSE), "to change it");
  colock_report_free(report);
}

START_TEST(who_it_is_and_what_for_stays_the_same) {
  priority = 7;
  have_hold(COLOCK_SHARED);
  char id[64], after[64];
  must(colock_hold_id(hold, id, sizeof id));
  shown_as(COLOCK_SHARED, 0);
  must(colock_upgrade(hold, 0));
  shown_as(COLOCK_EXCLUSIVE, colock_token(hold));
  must(colock_downgrade(hold));
  shown_as(COLOCK_SHARED, 0);
  must(colock_hold_id(hold, after, sizeof after));
  ck_assert_str_eq(after, id); /* it is the same hold */
  struct agent *reader = with("s");
  must_be(COLOCK_ETIMEDOUT, colock_upgrade(hold, 20));
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  shown_as(COLOCK_SHARED, 0);
  release();
}
END_TEST

START_TEST(upgrader_is_shown_as_holder_and_as_waiter) {
  path = test_path("a.lock");
  struct agent *upgrader = with("s"), *reader = with("s");
  agent_send(upgrader, "upgrade 0 20000");
  test_await_waiters(path, 1);
  int seen = 0;
  colock_report *report;
  must(colock_report_read(path, &report));
  ck_assert_uint_eq(colock_report_count(report), 3);
  for (size_t i = 0; i < 3; i++) {
    const colock_entry *entry = colock_report_entry(report, i);
    if (colock_entry_number(entry, COLOCK_PID) != upgrader->pid) continue;
    ck_assert_int_eq(colock_entry_number(entry, COLOCK_UPGRADING), 1);
    seen |= 1 << colock_entry_number(entry, COLOCK_ROLE);
  }
  ck_assert_int_eq(seen, 1 << COLOCK_HOLDER | 1 << COLOCK_WAITER);
  colock_report_free(report);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(upgrader), COLOCK_OK);
}
END_TEST

/* As if nothing had been heard of it for two minutes. */
static void make_stale(void) {
  hold->activity.since_ns = hold->activity.renewed_ns = colockp_now_ns() - 120 * SECOND;
  colockp_seat_show_activity(hold);
  ck_assert_int_eq(entry_number(0, COLOCK_STALE), 1);
}

START_TEST(upgrade_and_yield_are_signs_of_life) {
  path = test_path("a.lock");
  lock = test_open_set(path, "stale_timeout", "1min");
  acquire(COLOCK_SHARED);
  ck_assert_int_eq(entry_number(0, COLOCK_STALE), 0);
  make_stale();
  must(colock_upgrade(hold, 0));
  ck_assert_int_eq(hold->activity.renewed_ns > hold->activity.since_ns, 1);
  ck_assert_int_eq(entry_number(0, COLOCK_STALE), 0);
  make_stale();
  struct agent *writer = waiting("x", 1);
  struct yielding y;
  begin_yield(&y);
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
  ck_assert_int_eq(agent_call(writer, "release 0"), COLOCK_OK);
  pthread_join(y.thread, NULL);
  ck_assert_int_eq(y.code, COLOCK_OK);
  ck_assert_int_eq(entry_number(0, COLOCK_STALE), 0);
  ck_assert_int_eq(hold->activity.stale_timeout_ns, 60 * SECOND);
  release();
}
END_TEST

/* ---- downgrade ---- */

START_TEST(downgrade_lets_readers_in_and_no_writer) {
  have_hold(COLOCK_EXCLUSIVE);
  uint64_t token = colock_token(hold);
  struct agent *writer = waiting("x", 1), *readers[2] = {waiting("s", 2), waiting("s", 3)};
  must(colock_downgrade(hold));
  for (int i = 0; i < 2; i++) ck_assert_int_eq(agent_answer(readers[i]), COLOCK_OK);
  ck_assert(!agent_answered(writer));
  ck_assert_uint_eq(colock_token(hold), 0);
  ck_assert_uint_eq(colock_last_token(hold), token);
  ck_assert_uint_eq(readers[0]->last_token, token);
  ck_assert_uint_eq(writer_mark(), 0);
  must(colock_downgrade(hold)); /* again: it is already */
  ck_assert_uint_eq(colock_last_token(hold), token);
  must_be(COLOCK_EINVAL, colock_recovered(hold));
  must(colock_check(hold));
  must(colock_release(hold));
  for (int i = 0; i < 2; i++) {
    ck_assert(!agent_answered(writer));
    ck_assert_int_eq(agent_call(readers[i], "release 0"), COLOCK_OK);
  }
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
  ck_assert_uint_eq(writer->token, token + 1);
  ck_assert_int_eq(writer->abandoned, 0);
  colock_close(lock);
}
END_TEST

/* The watch would make up for a ring that is missing, only later: so the bells themselves are looked at. */
START_TEST(readers_are_rung_by_a_downgrade) {
  have_hold(COLOCK_EXCLUSIVE);
  struct line line = line_of(lock->region, 1, "r1 w2 r3 w4");
  lock->region->header->ticket = 100;
  must(colock_downgrade(hold));
  ck_assert_str_eq(line_bells(lock->region, COLOCKP_BELL_RUNG), "1 2 3"); /* both readers, and who looks after them */
  line_end(&line);
  release();
}
END_TEST

/* What a dead one leaves behind is the mark of what it was when it died. */
START_TEST(dead_after_an_upgrade_is_abandoned_and_after_a_downgrade_not) {
  static const char *const calls[] = {"upgrade 0 0", "downgrade 0"};
  path = test_path("a.lock");
  for (int i = 0; i < 4; i++) { /* an upgrader, a downgrader, both, both the other way round */
    struct agent *victim = with(i % 2 ? "x" : "s"), *next;
    ck_assert_int_eq(agent_call(victim, "%s", calls[i % 2]), COLOCK_OK);
    if (i > 1) ck_assert_int_eq(agent_call(victim, "%s", calls[1 - i % 2]), COLOCK_OK);
    bool writes = i == 0 || i == 3;
    ck_assert_int_eq(writer_mark() != 0, writes);
    agent_kill(victim);
    next = with("x");
    ck_assert_msg(next->abandoned == writes, "%d: %d", i, next->abandoned);
    ck_assert_int_eq(agent_call(next, "recovered 0"), COLOCK_OK);
    ck_assert_int_eq(agent_call(next, "release 0"), COLOCK_OK);
    agent_end_all();
  }
}
END_TEST

START_TEST(downgrade_of_a_hold_that_is_not_whole_leaves_it_as_it_is) {
  have_hold(COLOCK_EXCLUSIVE);
  uint64_t token = colock_token(hold);
  force_it();
  must_be(COLOCK_EREVOKED, colock_downgrade(hold));
  must_be(COLOCK_EREVOKED, colock_upgrade(hold, 0)); /* it is exclusive, and not whole */
  ck_assert_uint_eq(colock_token(hold), token);
  must_be(COLOCK_EREVOKED, colock_release(hold));
  acquire(COLOCK_EXCLUSIVE);
  token = colock_token(hold);
  unlink(path);
  must_be(COLOCK_ELOST, colock_downgrade(hold));
  ck_assert_uint_eq(colock_token(hold), token);
  must_be(COLOCK_ELOST, colock_release(hold));
  acquire(COLOCK_SHARED);
  force_it();
  must_be(COLOCK_EREVOKED, colock_downgrade(hold)); /* it is shared, and not whole */
  must_be(COLOCK_EREVOKED, colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(downgrade_that_the_kernel_refuses_leaves_it_exclusive) {
  have_hold(COLOCK_EXCLUSIVE);
  uint64_t token = colock_token(hold);
  struct agent *other = agent_open(path);
  fault_install();
  fault_fail_at(FAULT_fcntl_lock, 1, ENOLCK);
  must_be(COLOCK_ESYSTEM, colock_downgrade(hold));
  ck_assert(fault_hit());
  fault_remove();
  ck_assert_uint_eq(colock_token(hold), token);
  ck_assert_uint_eq(writer_mark(), token);
  ck_assert_int_eq(agent_call(other, "try s"), COLOCK_EBUSY);
  must(colock_check(hold));
  must(colock_downgrade(hold));
  release();
}
END_TEST

START_TEST(upgrade_that_the_kernel_refuses_leaves_it_shared) {
  have_hold(COLOCK_SHARED);
  struct agent *reader = agent_open(path);
  for (long at = 1;; at++) {
    fault_install();
    fault_fail_at(FAULT_fcntl_lock, at, ENOLCK);
    int code = colock_upgrade(hold, 0);
    bool hit = fault_hit();
    fault_remove();
    if (!hit) {
      ck_assert_int_eq(code, COLOCK_OK);
      break;
    }
    ck_assert_int_eq(code, COLOCK_ENOLOCKS);
    ck_assert_uint_eq(colock_token(hold), 0);
    still_shared(reader);
  }
  release();
}
END_TEST

/* ---- contended ---- */

START_TEST(contended_tells_whether_this_hold_keeps_anybody_waiting) {
  path = test_path("a.lock");
  lock = test_open(path);
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    acquire(mode);
    ck_assert_int_eq(colock_contended(hold), 0);
    struct agent *waiter = waiting(mode == COLOCK_SHARED ? "x" : "s", 1);
    fault_install();
    fault_die_at(0);
    ck_assert_int_eq(colock_contended(hold), 1);
    ck_assert_int_eq(fault_calls(), 0); /* cheap enough for every turn of a loop */
    fault_remove();
    if (mode == COLOCK_EXCLUSIVE) { /* and by what it is by then */
      must(colock_downgrade(hold));
      ck_assert_int_eq(agent_answer(waiter), COLOCK_OK);
      ck_assert_int_eq(colock_contended(hold), 0);
    }
    must(colock_release(hold));
    if (mode == COLOCK_SHARED) ck_assert_int_eq(agent_answer(waiter), COLOCK_OK);
    agent_end_all();
  }
  colock_close(lock);
}
END_TEST

/* ---- yield ---- */

START_TEST(yield_does_nothing_while_nobody_waits) {
  path = test_path("a.lock");
  lock = test_open(path);
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    acquire(mode);
    uint64_t token = colock_token(hold);
    struct agent *reader = mode == COLOCK_SHARED ? with("s") : NULL; /* beside us: it does not wait for us */
    char id[64], after[64];
    must(colock_hold_id(hold, id, sizeof id));
    fault_install();
    fault_die_at(0);
    must(colock_yield(hold, COLOCK_FOREVER));
    ck_assert_int_eq(fault_calls(), 0);
    fault_remove();
    ck_assert_uint_eq(colock_token(hold), token);
    must(colock_hold_id(hold, after, sizeof after));
    ck_assert_str_eq(after, id);
    must(colock_release(hold));
    if (reader) ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  }
  colock_close(lock);
}
END_TEST

START_TEST(yield_lets_all_go_who_wait_by_now) {
  have_hold(COLOCK_EXCLUSIVE);
  uint64_t token = colock_token(hold);
  struct agent *writers[2] = {waiting("x", 1), waiting("x", 2)};
  struct yielding y;
  begin_yield(&y);
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(agent_answer(writers[i]), COLOCK_OK);
    ck_assert_uint_eq(writers[i]->token, token + 1 + (uint64_t)i);
    ck_assert_int_eq(agent_call(writers[i], "release 0"), COLOCK_OK);
  }
  pthread_join(y.thread, NULL);
  ck_assert_int_eq(y.code, COLOCK_OK);
  ck_assert_uint_eq(colock_token(hold), token + 3);
  ck_assert_uint_eq(colock_last_token(hold), token + 2); /* not our own: somebody has written */
  ck_assert_uint_eq(writer_mark(), token + 3);
  shown_as(COLOCK_EXCLUSIVE, token + 3);
  must(colock_check(hold));
  release();
}
END_TEST

/* At the end of the line, whatever its own priority. */
START_TEST(yield_lets_those_of_lower_priority_go_too) {
  static const int own[] = {0, 7, -7, 100};
  priority = own[_i];
  have_hold(_i % 2 ? COLOCK_SHARED : COLOCK_EXCLUSIVE);
  struct agent *writers[2] = {waiting("x", 1), agent_open(path)};
  agent_send(writers[1], "acquire x 20000 priority=-9");
  test_await_waiters(path, 2);
  struct yielding y;
  begin_yield(&y);
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(agent_answer(writers[i]), COLOCK_OK);
    ck_assert_int_eq(agent_call(writers[i], "release 0"), COLOCK_OK);
  }
  pthread_join(y.thread, NULL);
  ck_assert_int_eq(y.code, COLOCK_OK);
  ck_assert_int_eq(hold->activity.priority, priority);
  release();
}
END_TEST

START_TEST(yield_of_a_shared_hold_lets_a_writer_through) {
  have_hold(COLOCK_SHARED);
  uint64_t last = colock_last_token(hold);
  struct agent *writer = waiting("x", 1), *reader;
  struct yielding y;
  begin_yield(&y);
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
  uint64_t token = writer->token;
  ck_assert_int_eq(agent_call(writer, "release 0"), COLOCK_OK);
  pthread_join(y.thread, NULL);
  ck_assert_int_eq(y.code, COLOCK_OK);
  ck_assert_uint_eq(colock_token(hold), 0);
  ck_assert_uint_eq(colock_last_token(hold), token);
  ck_assert_uint_gt(colock_last_token(hold), last);
  reader = with("s");
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  release();
}
END_TEST

START_TEST(yield_of_an_exclusive_hold_lets_readers_through) {
  have_hold(COLOCK_EXCLUSIVE);
  uint64_t token = colock_token(hold);
  struct agent *readers[2] = {waiting("s", 1), waiting("s", 2)};
  struct yielding y;
  begin_yield(&y);
  for (int i = 0; i < 2; i++) ck_assert_int_eq(agent_answer(readers[i]), COLOCK_OK);
  test_await_waiters(path, 1); /* that is us */
  for (int i = 0; i < 2; i++) ck_assert_int_eq(agent_call(readers[i], "release 0"), COLOCK_OK);
  pthread_join(y.thread, NULL);
  ck_assert_int_eq(y.code, COLOCK_OK);
  ck_assert_uint_eq(colock_token(hold), token + 1);
  ck_assert_uint_eq(colock_last_token(hold), token); /* nobody has written */
  release();
}
END_TEST

enum { TIMED_OUT, BUSY, CANCELED, LOST, REVOKED, ENDINGS };

/* Nothing is held any more, and every call says why. */
START_TEST(yield_in_vain_ends_the_hold) {
  static const int codes[] = {COLOCK_ETIMEDOUT, COLOCK_EBUSY, COLOCK_ECANCELED, COLOCK_ELOST, COLOCK_EREVOKED};
  int code = codes[_i];
  path = test_path("a.lock");
  lock = test_open_set(path, "retry_delay", "10ms");
  acquire(COLOCK_EXCLUSIVE);
  struct agent *writer = waiting("x", 1);
  if (_i == CANCELED) colock_cancel(lock, 1);
  if (_i == LOST) { /* it would notice at once, and wait no more */
    ck_assert_int_eq(kill(writer->pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(writer->pid, NULL, WUNTRACED), writer->pid);
    unlink(path);
  }
  if (_i == REVOKED) force_it();
  ck_assert_int_eq(colock_yield(hold, _i == BUSY ? COLOCK_NOWAIT : _i == TIMED_OUT ? 50 : 5000), code);
  if (_i == LOST) ck_assert_int_eq(kill(writer->pid, SIGCONT), 0);
  else {
    ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
    ck_assert_uint_eq(test_waiters(path), 0);
    ck_assert_int_eq(writer->abandoned, _i == REVOKED);
  }
  ck_assert_int_eq(colock_check(hold), code);
  ck_assert_int_eq(colock_renew(hold), code);
  ck_assert_int_eq(colock_upgrade(hold, 0), code);
  ck_assert_int_eq(colock_downgrade(hold), code);
  ck_assert_int_eq(colock_yield(hold, 0), code);
  ck_assert_int_eq(colock_inherit(hold, 1), code);
  ck_assert_int_eq(colock_recovered(hold), code);
  ck_assert_int_eq(colock_contended(hold), 0);
  colock_cancel(lock, 0);
  colock_hold *other;
  if (_i != LOST) must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_EXCLUSIVE, &other));
  colock_request request; /* nor does it count for this thread */
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = 20;
  if (_i != LOST) must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &other));
  must(colock_release(hold));
  if (_i != LOST) ck_assert_int_eq(agent_call(writer, "release 0"), COLOCK_OK);
  else agent_kill(writer); /* it goes on to the new file, and may be there before us */
  acquire(COLOCK_EXCLUSIVE); /* the seat is as good as new */
  must(colock_check(hold));
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

/* The contract says so whether or not somebody waits. */
START_TEST(yield_of_a_revoked_hold_ends_it_though_nobody_waits) {
  have_hold(COLOCK_EXCLUSIVE);
  int64_t lane = colockp_lane(hold->activity.generation);
  force_it();
  must_be(COLOCK_EREVOKED, colock_yield(hold, 1000));
  ck_assert(!byte_taken(lane));
  must_be(COLOCK_EREVOKED, colock_check(hold));
  must(colock_release(hold));
  colock_close(lock);
}
END_TEST

START_TEST(inherited_hold_is_not_given_up) {
  have_hold(COLOCK_EXCLUSIVE);
  uint64_t token = colock_token(hold);
  struct agent *writer = waiting("x", 1);
  must(colock_inherit(hold, 1));
  must_be(COLOCK_EINVAL, colock_yield(hold, 1000));
  must(colock_check(hold));
  ck_assert_uint_eq(colock_token(hold), token);
  must(colock_inherit(hold, 0));
  struct yielding y;
  begin_yield(&y);
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
  ck_assert_int_eq(agent_call(writer, "release 0"), COLOCK_OK);
  pthread_join(y.thread, NULL);
  ck_assert_int_eq(y.code, COLOCK_OK);
  release();
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "upgrade", 60);
  tcase_add_test(tcase, only_reader_becomes_the_writer);
  tcase_add_test(tcase, upgrade_waits_for_the_readers_and_goes_before_all_who_wait);
  tcase_add_test(tcase, no_reader_enters_while_somebody_upgrades);
  tcase_add_test(tcase, upgrade_in_vain_leaves_it_shared_and_lets_readers_in);
  tcase_add_test(tcase, readers_behind_an_upgrade_that_gives_up_enter_at_once);
  tcase_add_test(tcase, second_of_two_upgraders_is_told_of_the_deadlock);
  tcase_add_test(tcase, killed_upgrader_is_in_nobodys_way);
  tcase_add_test(tcase, times_of_an_upgrade_are_those_of_a_request);
  tcase_add_test(tcase, upgrade_of_a_revoked_hold_says_so);
  tcase_add_test(tcase, forced_or_deleted_in_the_middle_of_an_upgrade_is_noticed);
  tcase_add_test(tcase, upgrade_notices_that_the_file_is_gone);
  tcase_add_test(tcase, upgrade_that_the_kernel_refuses_leaves_it_shared);
  tcase_add_test(tcase, reader_only_hold_cannot_be_upgraded);
  tcase_add_test(tcase, child_cannot_change_its_parents_hold);
  tcase_add_test(tcase, hold_that_excludes_nobody_changes_all_the_same);
  tcase_add_test(tcase, upgrade_forces_nobody_out);
  tcase_add_test(tcase, one_alarm_serves_wait_after_wait);
  tcase = test_case(suite, "seen", 60);
  tcase_add_test(tcase, who_it_is_and_what_for_stays_the_same);
  tcase_add_test(tcase, upgrader_is_shown_as_holder_and_as_waiter);
  tcase_add_test(tcase, upgrade_and_yield_are_signs_of_life);
  tcase = test_case(suite, "downgrade", 60);
  tcase_add_test(tcase, downgrade_lets_readers_in_and_no_writer);
  tcase_add_test(tcase, readers_are_rung_by_a_downgrade);
  tcase_add_test(tcase, dead_after_an_upgrade_is_abandoned_and_after_a_downgrade_not);
  tcase_add_test(tcase, downgrade_of_a_hold_that_is_not_whole_leaves_it_as_it_is);
  tcase_add_test(tcase, downgrade_that_the_kernel_refuses_leaves_it_exclusive);
  tcase = test_case(suite, "yield", 60);
  tcase_add_test(tcase, contended_tells_whether_this_hold_keeps_anybody_waiting);
  tcase_add_test(tcase, yield_does_nothing_while_nobody_waits);
  tcase_add_test(tcase, yield_lets_all_go_who_wait_by_now);
  tcase_add_loop_test(tcase, yield_lets_those_of_lower_priority_go_too, 0, 4);
  tcase_add_test(tcase, yield_of_a_shared_hold_lets_a_writer_through);
  tcase_add_test(tcase, yield_of_an_exclusive_hold_lets_readers_through);
  tcase_add_loop_test(tcase, yield_in_vain_ends_the_hold, 0, ENDINGS);
  tcase_add_test(tcase, yield_of_a_revoked_hold_ends_it_though_nobody_waits);
  tcase_add_test(tcase, inherited_hold_is_not_given_up);
}

int main(int argc, char **argv) { return test_main(argc, argv, "upgrade", fill); }

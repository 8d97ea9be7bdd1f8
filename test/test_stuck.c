/* test_stuck.c - the dead and the stopped among those who wait ahead: the dead are cleared at once, the stopped are
 * passed over while the lock is free, and never while somebody holds it; those who live and run keep their place.
 *
 * Planted waiters (line.h) live and do not move, as stopped ones. The first tests hand the times to stuck.c themselves.
 */
#define _GNU_SOURCE
#include "agent.h"
#include "line.h"
#include "naps.h"
#include "range.h"
#include "stuck.h"
#include "support.h"
#include "system.h"
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE 1000

static const char *path;
static colock *lock;
static struct colockp_region *region;

static void have_lock(const char *key, const char *value) {
  path = test_path("a.lock");
  lock = test_open_set(path, key, value);
  region = lock->region;
}

static uint64_t word(uint32_t slot) { return atomic_load(&region->queue[slot].rank); }
static bool passed(uint32_t slot) { return word(slot) & COLOCKP_RANK_PASSED; }

/* LANE through a descriptor of the test. */
static int hold_lane(int mode) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  planted_take(fd, mode == COLOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK, colockp_lane(colockp_region_generation(region)));
  return fd;
}

static int acquire(int mode, int64_t timeout_ms) {
  colock_hold *hold;
  colock_request request;
  colock_request_init(&request, sizeof request, mode);
  request.timeout_ms = timeout_ms;
  int code = colock_acquire_with(lock, &request, &hold);
  if (code == COLOCK_OK) must(colock_release(hold));
  return code;
}

/* ---- one look ---- */

static struct colockp_stuck memory;
static struct colockp_ahead ahead;

/* A writer in slot 0 with a late ticket looks at that time. */
static bool look(int64_t now_ns) {
  struct colock_hold *seat = lock->pool;
  colockp_queue_ahead(seat, COLOCK_EXCLUSIVE, line_key(1000), &ahead);
  return colockp_stuck_look(&memory, seat, COLOCK_EXCLUSIVE, line_key(1000), &ahead, now_ns, GRACE);
}

static struct line have_line(const char *text) {
  have_lock("timeout", "10s");
  ck_assert_uint_eq(lock->pool->number, 0);
  struct line line = line_of(region, 1, text);
  colockp_queue_join(lock->pool, COLOCK_EXCLUSIVE, line_key(1000));
  memory = (struct colockp_stuck){.free_since_ns = 0};
  return line;
}

static void leave(struct line *line) {
  line_end(line);
  colockp_queue_leave(lock->pool, false);
  colock_close(lock);
}

/* Who could take it is called, and passed over if it has not even read its bell at the end; then it is the next one's
 * turn. */
START_TEST(free_lock_at_both_ends_of_the_grace_is_passed_on) {
  struct line line = have_line("w1 r2 r3 w4");
  ck_assert(!look(50));
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), "1");
  ck_assert(!look(50 + GRACE - 1));
  ck_assert(!passed(1));
  ck_assert(look(50 + GRACE));
  ck_assert(passed(1) && !passed(2) && !passed(3) && !passed(4));
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), "1 2 3");
  ck_assert(!look(60 + GRACE)); /* they get as long as the first */
  ck_assert(!look(60 + 2 * GRACE - 1));
  ck_assert(look(60 + 2 * GRACE));
  ck_assert(passed(1) && passed(2) && passed(3) && !passed(4));
  ck_assert(!look(70 + 2 * GRACE));
  ck_assert(look(70 + 3 * GRACE));
  ck_assert(passed(4));
  ck_assert_str_eq(line_bells(region, COLOCKP_BELL_RUNG), "0 1 2 3 4"); /* now we may go */
  colockp_queue_ahead(lock->pool, COLOCK_EXCLUSIVE, line_key(1000), &ahead);
  ck_assert_uint_eq(ahead.conflicts, 0);
  leave(&line);
}
END_TEST

/* With three processes it was seen that the third in line passed over the second as well as the first, which alone was
 * stopped, and took the lock before it. */
START_TEST(who_reads_its_bell_is_not_passed) {
  struct line line = have_line("w1 w2");
  for (int64_t now = 50; now < 10 * GRACE; now += GRACE) {
    look(now);
    atomic_fetch_and(&region->bells[1], ~COLOCKP_BELL_RUNG);
  }
  ck_assert(!passed(1) && !passed(2));
  look(20 * GRACE);
  look(21 * GRACE); /* now the first one reads no more */
  ck_assert(passed(1) && !passed(2));
  leave(&line);
}
END_TEST

START_TEST(nobody_is_passed_while_the_lock_is_held) {
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    struct line line = have_line("w1");
    int fd = hold_lane(mode);
    for (int64_t now = 1; now < 10 * GRACE; now += GRACE / 3) ck_assert(!look(now));
    close(fd);
    ck_assert(!look(20 * GRACE)); /* the grace begins when it is seen free */
    ck_assert(!look(21 * GRACE - 1));
    fd = hold_lane(mode); /* and begins anew when it is not */
    ck_assert(!look(21 * GRACE));
    close(fd);
    ck_assert(!look(22 * GRACE));
    ck_assert(!passed(1));
    ck_assert(look(23 * GRACE));
    ck_assert(passed(1));
    leave(&line);
    unlink(path);
  }
}
END_TEST

START_TEST(who_moves_begins_the_grace_anew) {
  static const char *const before[] = {"w1 w2", "w1 w2 w3", "w1 r2"};
  static const char *const after[] = {"w1 w4", "w1 w2", "w1 w2"};
  for (size_t i = 0; i < 3; i++) {
    struct line line = have_line(before[i]);
    ck_assert(!look(50));
    line_end(&line);
    line = line_of(region, 1, after[i]);
    ck_assert(!look(50 + GRACE));
    ck_assert(!passed(1) && !passed(2));
    ck_assert(!look(50 + 2 * GRACE - 1));
    ck_assert(look(50 + 2 * GRACE));
    leave(&line);
    unlink(path);
  }
}
END_TEST

START_TEST(dead_ones_are_cleared_at_the_first_look) {
  static const struct {
    const char *line;
    const char *left; /* words that are still there */
    bool changed;
  } lines[] = {{"!w1", "-", true},
               {"!w1 !w2 !r3", "- - -", true},
               {"w1 !w2", "w1 -", true},       /* one dead in the middle */
               {"!w1 w2", "!w1 w2", false},    /* the one behind it will see to that */
               {"!w1 w2 !w3 !w4", "!w1 w2 - -", true},
               {"w1", "w1", false},
               {"!w2000", "!w2000", false},    /* behind us */
               {"", "", false}};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    struct line line = have_line(lines[i].line);
    int fd = hold_lane(COLOCK_EXCLUSIVE); /* held or not */
    ck_assert_msg(look(50) == lines[i].changed, "\"%s\"", lines[i].line);
    char copy[64], *rest = copy;
    strcpy(copy, lines[i].left);
    for (uint32_t slot = 1; slot < line.end; slot++) {
      const char *expected = strsep(&rest, " ");
      ck_assert_msg(word(slot) == line_word(expected + (*expected == '!')), "\"%s\", slot %u", lines[i].line, slot);
      if (word(slot) == 0) ck_assert_int_eq(region->queue[slot].published, COLOCKP_SEAT_FREE);
    }
    close(fd);
    leave(&line);
    ck_assert(test_free(path));
    unlink(path);
  }
}
END_TEST

static uint32_t claimed; /* slot: somebody claims it between the question and our lock; its word is new */
static int claimed_fd = -1;

static int claiming_lock(int fd, int command, struct flock *range) {
  bool taking = command == F_OFD_SETLK && range->l_type == F_WRLCK;
  if (taking && range->l_start == COLOCKP_BYTE_SLOT + claimed && claimed_fd < 0) {
    claimed_fd = line_owner(path, claimed);
    atomic_store(&region->queue[claimed].rank, line_word("w7"));
  }
  return colockp_system_default.fcntl_lock(fd, command, range);
}

/* Who has the SLOT byte owns the slot: a word is cleared only by who has it. */
START_TEST(slot_that_has_a_new_owner_is_left_alone) {
  struct line line = have_line("!w1");
  claimed = 1;
  colockp_system.fcntl_lock = claiming_lock;
  ck_assert(!look(50));
  colockp_system = colockp_system_default;
  ck_assert_int_ge(claimed_fd, 0);
  ck_assert_uint_eq(word(1), line_word("w7"));
  close(claimed_fd);
  leave(&line);
}
END_TEST

/* A former look may not be taken for a reason to look at once, for ever: that cost a processor. */
START_TEST(grace_is_forgotten_when_nobody_is_ahead_any_more) {
  struct line line = have_line("w1");
  ck_assert(!look(50));
  ck_assert_int_ne(memory.free_since_ns, 0);
  line_end(&line);
  ck_assert(!look(50 + GRACE / 2));
  ck_assert_int_eq(memory.free_since_ns, 0);
  leave(&line);
}
END_TEST

/* ---- a wait ---- */

static int64_t timed_acquire(int mode, int64_t timeout_ms, int code) {
  int64_t before = colockp_now_ns();
  int got = acquire(mode, timeout_ms);
  ck_assert_msg(got == code, "%d, %s", got, colock_last_message());
  return (colockp_now_ns() - before) / 1000;
}

/* 50 ms are what colock promises; a machine that is busy with other things gets ten tries. */
START_TEST(sixty_four_dead_ahead_do_not_delay_a_newcomer) {
  char text[LINE_MOST * 8] = "";
  for (int i = 1; i <= 64; i++) sprintf(text + strlen(text), i % 3 ? "!w%d " : "!r%d ", i);
  int64_t least = INT64_MAX;
  have_lock("timeout", "10s");
  colock_hold *holds[65]; /* so that there are as many slots */
  for (int i = 0; i < 65; i++) must(colock_try_acquire(lock, COLOCK_SHARED, &holds[i]));
  for (int i = 0; i < 65; i++) must(colock_release(holds[i]));
  colock_close(lock);
  for (int tries = 0; tries < 10 && least >= 50000; tries++) {
    lock = test_open(path);
    region = lock->region;
    ck_assert_uint_eq(lock->pool->number, 0);
    struct line line = line_of(region, 1, text);
    region->header->ticket = 1000;
    int64_t took = timed_acquire(COLOCK_EXCLUSIVE, 10000, COLOCK_OK);
    least = took < least ? took : least;
    for (uint32_t slot = 0; slot < line.end; slot++) ck_assert_uint_eq(word(slot), 0);
    ck_assert_uint_eq(region->header->flag & COLOCKP_FLAG_SET, 0);
    line_end(&line);
    colock_close(lock);
  }
  printf("64 dead waiters ahead: %d us\n", (int)least);
  ck_assert_msg(least < 50000, "%d us", (int)least);
}
END_TEST

static const struct {
  const char *line;
  const char *words; /* afterwards */
} waits[] = {
    {"w1", "pw1"},
    {"w1 w2 r3", "pw1 pw2 pr3"},
    {"!w1 w2 !w3 w4", "- pw2 - pw4"},
    {"w1 w2 w3 w4 w5 w6", "pw1 pw2 pw3 pw4 pw5 pw6"}, /* a stopped process with many threads, say */
};

START_TEST(stopped_ones_are_passed_when_the_lock_is_free) {
  have_lock("retry_delay", "20ms");
  struct line line = line_of(region, 1, waits[_i].line);
  region->header->ticket = 1000;
  int64_t took = timed_acquire(COLOCK_EXCLUSIVE, 20000, COLOCK_OK);
  ck_assert_int_lt(took, 5000000);
  char copy[64], *rest = copy;
  strcpy(copy, waits[_i].words);
  for (uint32_t slot = 1; slot < line.end; slot++) {
    uint64_t expected = line_word(strsep(&rest, " "));
    /* A dead one between stopped ones may be cleared, or passed over as they are. */
    ck_assert_msg(word(slot) == expected || (expected == 0 && passed(slot)), "\"%s\": slot %u: %llx", waits[_i].line,
                  slot, (unsigned long long)word(slot));
  }
  ck_assert_int_lt(timed_acquire(COLOCK_EXCLUSIVE, 20000, COLOCK_OK), 5000000); /* they are in nobody's way now */
  line_end(&line);
  colock_close(lock);
}
END_TEST

START_TEST(stopped_one_keeps_its_place_while_the_lock_is_held) {
  have_lock("retry_delay", "5ms");
  struct line line = line_of(region, 1, "w1 r2");
  region->header->ticket = 1000;
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    int fd = hold_lane(mode);
    timed_acquire(COLOCK_EXCLUSIVE, 150, COLOCK_ETIMEDOUT);
    timed_acquire(COLOCK_EXCLUSIVE, 0, COLOCK_EBUSY);
    timed_acquire(COLOCK_SHARED, 150, COLOCK_ETIMEDOUT); /* beside a reader too: it stands behind a writer */
    ck_assert_uint_eq(word(1), line_word("w1"));
    ck_assert_uint_eq(word(2), line_word("r2"));
    close(fd);
  }
  line_end(&line);
  colock_close(lock);
}
END_TEST

START_TEST(try_gives_those_in_line_a_moment_and_passes_them_over) {
  have_lock("retry_delay", "10s"); /* the moment does not come from there */
  struct line line = line_of(region, 1, waits[_i].line);
  region->header->ticket = 1000;
  int fd = hold_lane(COLOCK_EXCLUSIVE);
  int64_t least = INT64_MAX;
  for (int i = 0; i < 10; i++) {
    int64_t took = timed_acquire(COLOCK_EXCLUSIVE, COLOCK_NOWAIT, COLOCK_EBUSY);
    least = took < least ? took : least;
  }
  ck_assert_int_lt(least, 5000); /* it is held: nothing to wait for */
  close(fd);
  for (uint32_t slot = 1; slot < line.end; slot++) ck_assert(!passed(slot));
  int code = COLOCK_EBUSY; /* one after another; and on a busy machine 20 ms may be over before we have looked twice */
  for (int i = 0; i < 20 && code == COLOCK_EBUSY; i++) {
    int64_t before = test_now_ms();
    code = acquire(COLOCK_EXCLUSIVE, COLOCK_NOWAIT);
    ck_assert_int_lt(test_now_ms() - before, 5000);
  }
  ck_assert_int_eq(code, COLOCK_OK);
  line_end(&line);
  colock_close(lock);
}
END_TEST

/* The owner of a planted bell, who reads it as soon as it is rung. */
static _Atomic bool owner_ended;
static int read_bell(uint32_t *bell, int count) {
  if (!atomic_load(&owner_ended))
    for (uint32_t slot = 1; slot <= 2; slot++) atomic_fetch_and(&region->bells[slot], ~COLOCKP_BELL_RUNG);
  return colockp_system_default.futex_wake(bell, count);
}

START_TEST(who_runs_is_not_passed_over) {
  have_lock("retry_delay", "20ms");
  struct line line = line_of(region, 1, "w1 w2");
  region->header->ticket = 1000;
  atomic_store(&owner_ended, false);
  colockp_system.futex_wake = read_bell;
  for (int i = 0; i < 3; i++) timed_acquire(COLOCK_SHARED, COLOCK_NOWAIT, COLOCK_EBUSY);
  timed_acquire(COLOCK_EXCLUSIVE, 300, COLOCK_ETIMEDOUT);
  ck_assert(!passed(1) && !passed(2));
  atomic_store(&owner_ended, true);
  line_end(&line);
  colock_close(lock);
  colockp_system = colockp_system_default; /* the watch reads the table until then */
}
END_TEST

/* ---- processes ---- */

static struct agent *holder;

static struct agent *waiting(const char *mode, unsigned place) {
  struct agent *agent = agent_start();
  ck_assert_int_eq(agent_call(agent, "open %s retry_delay=20ms", agent_word(path)), COLOCK_OK);
  agent_send(agent, "acquire %s 20000", mode);
  test_await_waiters(path, place);
  return agent;
}

static void have_holder(void) {
  path = test_path("a.lock");
  holder = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
}

static void stop(const struct agent *agent) {
  int status;
  kill(agent->pid, SIGSTOP);
  ck_assert_int_eq(waitpid(agent->pid, &status, WUNTRACED), agent->pid);
  ck_assert(WIFSTOPPED(status));
}

START_TEST(killed_waiter_lets_the_others_go_on) {
  have_holder();
  struct agent *agents[4];
  for (unsigned i = 0; i < 4; i++) agents[i] = waiting(i == 2 ? "s" : "x", i + 1);
  for (int i = 0; i < 4; i++)
    if (i == _i) agent_kill(agents[i]); /* at the head, in the middle, at the end */
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  static const int order[] = {2, 0, 1, 3}; /* the reader has waited for a writer */
  for (int i = 0; i < 4; i++) {
    if (order[i] == _i) continue;
    ck_assert_int_eq(agent_answer(agents[order[i]]), COLOCK_OK);
    ck_assert_int_eq(agent_call(agents[order[i]], "release 0"), COLOCK_OK);
  }
  int64_t past = 0; /* whoever comes next stands behind a dead one that was the last in line, and clears it away */
  test_poke(path, offsetof(struct colockp_header, turn), &past, sizeof past);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  ck_assert_uint_eq(test_waiters(path), 0);
}
END_TEST

START_TEST(stopped_waiter_is_passed_over_and_gets_its_place_back) {
  have_holder();
  struct agent *agents[3];
  for (unsigned i = 0; i < 3; i++) agents[i] = waiting("x", i + 1);
  struct agent *stopped = agents[_i], *others[2] = {agents[_i == 0], agents[_i == 2 ? 1 : 2]};
  stop(stopped);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(others[0]), COLOCK_OK);
  if (_i == 0) ck_assert(!agent_answered(others[1]));
  kill(stopped->pid, SIGCONT); /* it waits on, at its place, before whoever came later */
  struct agent *late = waiting("x", 3);
  ck_assert_int_eq(agent_call(others[0], "release 0"), COLOCK_OK);
  struct agent *next = _i == 2 ? others[1] : stopped, *then = _i == 2 ? stopped : others[1];
  ck_assert_int_eq(agent_answer(next), COLOCK_OK);
  ck_assert(!agent_answered(then));
  ck_assert(!agent_answered(late));
  ck_assert_int_eq(agent_call(next, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(then), COLOCK_OK);
  ck_assert_int_eq(agent_call(then, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(late), COLOCK_OK);
}
END_TEST

/* A holder that is stopped keeps the lock: nobody is robbed because he does not move. */
START_TEST(stopped_holder_keeps_the_lock) {
  have_holder();
  struct agent *a = waiting("x", 1);
  stop(holder);
  colock *own = test_open(path);
  colock_hold *hold;
  must_be(COLOCK_EBUSY, colock_try_acquire(own, COLOCK_SHARED, &hold));
  colock_close(own);
  ck_assert(!agent_answered(a));
  kill(holder->pid, SIGCONT);
  ck_assert_int_eq(agent_call(holder, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
}
END_TEST

START_TEST(process_that_exits_with_waiting_threads_leaves_the_queue_to_the_others) {
  have_holder();
  struct agent *leaver = agent_start(), *a;
  ck_assert_int_eq(agent_call(leaver, "open %s", agent_word(path)), COLOCK_OK);
  for (unsigned i = 0; i < 5; i++) {
    agent_send(agent_thread(leaver), "acquire x 20000");
    test_await_waiters(path, i + 1);
  }
  a = waiting("x", 6);
  agent_send(leaver, "exit 3");
  ck_assert_int_eq(agent_wait(leaver), 3);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  int64_t before = test_now_ms();
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
  ck_assert_int_lt(test_now_ms() - before, 2000);
  ck_assert_uint_eq(test_waiters(path), 0);
}
END_TEST

/* ---- cost ---- */

static _Atomic long calls;
static int counted_lock(int fd, int command, struct flock *range) {
  calls++;
  return colockp_system_default.fcntl_lock(fd, command, range);
}

static void *wait_exclusive(void *arg) {
  *(int *)arg = acquire(COLOCK_EXCLUSIVE, 20000);
  return NULL;
}

/* It saw the lock free with somebody ahead of it; that one takes it and keeps it. */
START_TEST(waiter_sleeps_while_the_one_before_it_holds) {
  pthread_t thread;
  int code = -1;
  have_lock("retry_delay", "500ms");
  colock_hold *hold; /* so that the wait has a seat already */
  must(colock_try_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_release(hold));
  struct line line = line_of(region, 1, "w1");
  region->header->ticket = 1000;
  colockp_system.fcntl_lock = counted_lock;
  naps_install(false);
  ck_assert_int_eq(pthread_create(&thread, NULL, wait_exclusive, &code), 0);
  naps_await(0); /* it has looked, and gives a grace of a second */
  int fd = hold_lane(COLOCK_EXCLUSIVE);
  line_end(&line);
  region->header->flag |= COLOCKP_FLAG_SET;
  colockp_queue_ring(region);
  long before = calls;
  for (int64_t end = test_now_ms() + 1100; test_now_ms() < end;) naps_await(naps.begun);
  ck_assert_msg(calls - before < 100, "%ld lock calls in a second of waiting", calls - before);
  close(fd);
  colockp_queue_released(region);
  pthread_join(thread, NULL);
  ck_assert_int_eq(code, COLOCK_OK);
  colock_close(lock);
  colockp_system = colockp_system_default; /* the watch reads the table until then */
}
END_TEST

static void fill(Suite *suite) {
  const int wait_count = (int)(sizeof waits / sizeof waits[0]);
  TCase *tcase = test_case(suite, "look", 30);
  tcase_add_test(tcase, free_lock_at_both_ends_of_the_grace_is_passed_on);
  tcase_add_test(tcase, nobody_is_passed_while_the_lock_is_held);
  tcase_add_test(tcase, who_moves_begins_the_grace_anew);
  tcase_add_test(tcase, who_reads_its_bell_is_not_passed);
  tcase_add_test(tcase, dead_ones_are_cleared_at_the_first_look);
  tcase_add_test(tcase, slot_that_has_a_new_owner_is_left_alone);
  tcase_add_test(tcase, grace_is_forgotten_when_nobody_is_ahead_any_more);
  tcase = test_case(suite, "wait", 60);
  tcase_add_test(tcase, sixty_four_dead_ahead_do_not_delay_a_newcomer);
  tcase_add_loop_test(tcase, stopped_ones_are_passed_when_the_lock_is_free, 0, wait_count);
  tcase_add_test(tcase, stopped_one_keeps_its_place_while_the_lock_is_held);
  tcase_add_loop_test(tcase, try_gives_those_in_line_a_moment_and_passes_them_over, 0, wait_count);
  tcase_add_test(tcase, who_runs_is_not_passed_over);
  tcase_add_test(tcase, waiter_sleeps_while_the_one_before_it_holds);
  tcase = test_case(suite, "processes", 60);
  tcase_add_loop_test(tcase, killed_waiter_lets_the_others_go_on, 0, 4);
  tcase_add_loop_test(tcase, stopped_waiter_is_passed_over_and_gets_its_place_back, 0, 3);
  tcase_add_test(tcase, stopped_holder_keeps_the_lock);
  tcase_add_test(tcase, process_that_exits_with_waiting_threads_leaves_the_queue_to_the_others);
}

int main(int argc, char **argv) { return test_main(argc, argv, "stuck", fill); }

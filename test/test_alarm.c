/* test_alarm.c - alarms: which bells a cancel has to ring, from whatever thread or signal handler it comes. */
#define _GNU_SOURCE
#include "alarm.h"
#include "layout.h"
#include "support.h"
#include "system.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static _Atomic long wakes;
static int count_wake(uint32_t *word, int count) {
  (void)word, (void)count;
  wakes++;
  return 0;
}

static long allocated;
static void *count_malloc(size_t size) {
  void *memory = colockp_system_default.malloc(size);
  allocated += memory != NULL;
  return memory;
}
static void count_free(void *memory) {
  allocated -= memory != NULL;
  colockp_system_default.free(memory);
}
static void *no_malloc(size_t size) {
  (void)size;
  return NULL;
}

static void count_calls(void) {
  colockp_system.futex_wake = count_wake;
  colockp_system.malloc = count_malloc;
  colockp_system.free = count_free;
}

START_TEST(armed_bells_are_rung_and_disarmed_ones_not) {
  colockp_alarms alarms = NULL;
  _Atomic uint32_t bells[3] = {0, COLOCKP_BELL_ASLEEP, COLOCKP_BELL_RUNG | COLOCKP_BELL_ASLEEP};
  struct colockp_alarm *armed[3];
  count_calls();
  colockp_alarm_ring(&alarms); /* nobody there */
  ck_assert_int_eq(wakes, 0);
  for (int i = 0; i < 3; i++) armed[i] = colockp_alarm_arm(&alarms, &bells[i]);
  colockp_alarm_ring(&alarms);
  ck_assert_int_eq(wakes, 3); /* always: one that rests has to stop now */
  ck_assert_uint_eq(bells[0], COLOCKP_BELL_RUNG);
  ck_assert_uint_eq(bells[1], COLOCKP_BELL_RUNG | COLOCKP_BELL_ASLEEP);
  for (int i = 0; i < 3; i++) bells[i] = 0;
  colockp_alarm_disarm(armed[1]);
  colockp_alarm_ring(&alarms);
  ck_assert_uint_eq(bells[0], COLOCKP_BELL_RUNG);
  ck_assert_uint_eq(bells[1], 0);
  ck_assert_uint_eq(bells[2], COLOCKP_BELL_RUNG);
  colockp_alarm_disarm(armed[0]);
  colockp_alarm_disarm(armed[2]);
  colockp_alarm_free_all(&alarms);
  ck_assert_ptr_null(alarms);
  ck_assert_int_eq(allocated, 0);
  colockp_alarm_free_all(&alarms);
  colockp_system = colockp_system_default;
}
END_TEST

START_TEST(free_alarm_is_used_again) {
  colockp_alarms alarms = NULL;
  _Atomic uint32_t first = 0, second = 0, third = 0;
  count_calls();
  struct colockp_alarm *a = colockp_alarm_arm(&alarms, &first), *b = colockp_alarm_arm(&alarms, &second);
  ck_assert_ptr_ne(a, b);
  ck_assert_int_eq(allocated, 2);
  for (int i = 0; i < 100; i++) {
    colockp_alarm_disarm(a);
    a = colockp_alarm_arm(&alarms, &third);
  }
  ck_assert_int_eq(allocated, 2);
  colockp_alarm_ring(&alarms);
  ck_assert_uint_eq(first, 0); /* it rings the new owner's bell */
  ck_assert_uint_eq(second, COLOCKP_BELL_RUNG);
  ck_assert_uint_eq(third, COLOCKP_BELL_RUNG);
  colockp_alarm_disarm(a);
  colockp_alarm_disarm(b);
  colockp_alarm_free_all(&alarms);
  ck_assert_int_eq(allocated, 0);
  colockp_system = colockp_system_default;
}
END_TEST

START_TEST(without_memory_there_is_no_new_alarm_but_a_free_one_will_do) {
  colockp_alarms alarms = NULL;
  _Atomic uint32_t bell = 0;
  colockp_system.malloc = no_malloc;
  ck_assert_ptr_null(colockp_alarm_arm(&alarms, &bell));
  colockp_system = colockp_system_default;
  struct colockp_alarm *a = colockp_alarm_arm(&alarms, &bell);
  ck_assert_ptr_nonnull(a);
  colockp_alarm_disarm(a);
  colockp_system.malloc = no_malloc;
  ck_assert_ptr_eq(colockp_alarm_arm(&alarms, &bell), a);
  colockp_alarm_disarm(a);
  colockp_alarm_free_all(&alarms);
  colockp_system = colockp_system_default;
}
END_TEST

/* ---- from a signal handler ---- */

static colockp_alarms *handled;
static volatile sig_atomic_t runs;
static void ring_in_handler(int number) {
  (void)number;
  colockp_alarm_ring(handled);
  runs++;
}

static int raise_in_wake(uint32_t *word, int count) {
  (void)word, (void)count;
  if (wakes++ == 0) raise(SIGUSR1); /* while this very alarm is being rung */
  return 0;
}

START_TEST(handler_may_ring_while_its_thread_rings) {
  colockp_alarms alarms = NULL;
  _Atomic uint32_t bells[2] = {0, 0};
  struct sigaction action = {.sa_handler = ring_in_handler};
  sigaction(SIGUSR1, &action, NULL);
  handled = &alarms;
  struct colockp_alarm *a = colockp_alarm_arm(&alarms, &bells[0]), *b = colockp_alarm_arm(&alarms, &bells[1]);
  colockp_system.futex_wake = raise_in_wake;
  colockp_alarm_ring(&alarms);
  ck_assert_int_eq(runs, 1);
  ck_assert_uint_eq(bells[0], COLOCKP_BELL_RUNG);
  ck_assert_uint_eq(bells[1], COLOCKP_BELL_RUNG);
  ck_assert_int_ge(wakes, 2);
  colockp_alarm_disarm(a); /* neither is left in the middle of a ring */
  colockp_alarm_disarm(b);
  colockp_alarm_free_all(&alarms);
  colockp_system = colockp_system_default;
}
END_TEST

static _Atomic bool over;

static void *send_signals(void *arg) {
  pthread_t target = *(pthread_t *)arg;
  while (!over) {
    pthread_kill(target, SIGUSR1);
    sched_yield();
  }
  return NULL;
}

/* A handler interrupts the very thread that arms and disarms, at any instruction. It never waits for that thread. */
START_TEST(handler_may_ring_while_its_thread_arms_and_disarms) {
  colockp_alarms alarms = NULL;
  _Atomic uint32_t bell;
  pthread_t self = pthread_self(), sender;
  struct sigaction action = {.sa_handler = ring_in_handler};
  sigaction(SIGUSR1, &action, NULL);
  handled = &alarms;
  ck_assert_int_eq(pthread_create(&sender, NULL, send_signals, &self), 0);
  long rung = 0;
  for (int64_t end = test_now_ms() + 200; test_now_ms() < end || runs < 100 || rung == 0;) {
    atomic_store(&bell, 0);
    struct colockp_alarm *a = colockp_alarm_arm(&alarms, &bell);
    for (int i = 0; i < 1000 && !bell; i++) continue;
    colockp_alarm_disarm(a);
    rung += bell != 0;
    atomic_store(&bell, 0);
    for (int i = 0; i < 100; i++) ck_assert_uint_eq(bell, 0); /* disarmed: nobody touches it */
  }
  over = true;
  pthread_join(sender, NULL);
  colockp_alarm_free_all(&alarms);
}
END_TEST

/* ---- many threads ---- */

static struct colockp_alarm *rung;
static _Atomic bool waits, disarmed;

static int note_wait(uint32_t *word, uint32_t expected, const struct timespec *relative) {
  waits = true;
  return colockp_system_default.futex_wait(word, expected, relative);
}

static void *disarm(void *arg) {
  colockp_alarm_disarm(rung);
  disarmed = true;
  return arg;
}

static pthread_t disarmer;
static int disarm_in_wake(uint32_t *word, int count) {
  (void)word, (void)count;
  ck_assert_int_eq(pthread_create(&disarmer, NULL, disarm, NULL), 0);
  while (!waits && !disarmed) sched_yield();
  ck_assert(!disarmed);
  return 0;
}

/* Who disarms may unmap the bell right after: not while somebody rings it. */
START_TEST(disarming_waits_for_who_rings) {
  colockp_alarms alarms = NULL;
  _Atomic uint32_t bell = 0;
  rung = colockp_alarm_arm(&alarms, &bell);
  colockp_system.futex_wake = disarm_in_wake;
  colockp_system.futex_wait = note_wait;
  colockp_alarm_ring(&alarms);
  pthread_join(disarmer, NULL);
  ck_assert(disarmed);
  colockp_system = colockp_system_default;
  bell = 0;
  colockp_alarm_ring(&alarms);
  ck_assert_uint_eq(bell, 0);
  colockp_alarm_free_all(&alarms);
}
END_TEST

#define THREADS 6
static colockp_alarms shared;
static _Atomic long touched;

/* One bell after the other: the last one is watched until the next one has gone as well. */
static void *arm_and_disarm(void *arg) {
  _Atomic long *rounds = arg;
  _Atomic uint32_t bells[2] = {0, 0};
  uint32_t left = 0;
  while (!over) {
    _Atomic uint32_t *bell = &bells[*rounds % 2], *last = &bells[(*rounds + 1) % 2];
    *bell = 0;
    struct colockp_alarm *a = colockp_alarm_arm(&shared, bell);
    for (int i = 0; i < 30 && *bell == 0; i++) continue;
    colockp_alarm_disarm(a);
    touched += *last != left;
    left = *bell;
    if (++*rounds % 64 == 0) sched_yield();
  }
  return NULL;
}

static void *ring_on(void *arg) {
  (void)arg;
  while (!over) colockp_alarm_ring(&shared);
  return NULL;
}

START_TEST(no_bell_is_touched_after_it_was_disarmed) {
  pthread_t threads[THREADS + 2];
  static _Atomic long rounds[THREADS];
  count_calls();
  colockp_system.malloc = colockp_system_default.malloc;
  for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, arm_and_disarm, &rounds[i]), 0);
  for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&threads[THREADS + i], NULL, ring_on, NULL), 0);
  for (int64_t end = test_now_ms() + 300; test_now_ms() < end;) sched_yield();
  for (int i = 0; i < THREADS; i++) await_that(rounds[i] > 0);
  over = true;
  for (int i = 0; i < THREADS + 2; i++) pthread_join(threads[i], NULL);
  ck_assert_int_eq(touched, 0);
  int alarms = 0;
  for (struct colockp_alarm *a = shared; a; a = a->next) alarms++;
  ck_assert_int_le(alarms, THREADS); /* one for each that waited at once, not for each wait */
  colockp_alarm_free_all(&shared);
  colockp_system = colockp_system_default;
}
END_TEST

START_TEST(cancel_leaves_errno_alone) {
  colock *lock = test_open(test_path("a.lock"));
  errno = EDOM;
  colock_cancel(lock, 1);
  ck_assert_int_eq(errno, EDOM);
  colock_cancel(lock, 0);
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "alarm", 30);
  tcase_add_test(tcase, armed_bells_are_rung_and_disarmed_ones_not);
  tcase_add_test(tcase, free_alarm_is_used_again);
  tcase_add_test(tcase, without_memory_there_is_no_new_alarm_but_a_free_one_will_do);
  tcase_add_test(tcase, handler_may_ring_while_its_thread_rings);
  tcase_add_test(tcase, disarming_waits_for_who_rings);
  tcase_add_test(tcase, cancel_leaves_errno_alone);
  tcase = test_case(suite, "races", 30);
  tcase_set_tags(tcase, "native"); /* memcheck runs one thread at a time: no race, and spinning takes for ever */
  tcase_add_test(tcase, handler_may_ring_while_its_thread_arms_and_disarms);
  tcase_add_test(tcase, no_bell_is_touched_after_it_was_disarmed);
}

int main(int argc, char **argv) { return test_main(argc, argv, "alarm", fill); }

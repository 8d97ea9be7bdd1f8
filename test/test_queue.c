/* test_queue.c - ranks: published while somebody waits, in the right order, and gone when nobody does. */
#define _GNU_SOURCE
#include "agent.h"
#include "support.h"
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t rank_of(const char *path, uint32_t slot) {
  static unsigned char bytes[COLOCKP_AT_QUEUE + 4096];
  uint64_t rank;
  test_read(path, bytes, sizeof bytes);
  memcpy(&rank, bytes + COLOCKP_AT_QUEUE + slot * sizeof(struct colockp_queue_entry), sizeof rank);
  return rank;
}

static uint64_t key_of(uint64_t rank) { return rank >> COLOCKP_RANK_KEY_SHIFT; }

static bool flag_set(const char *path) {
  struct colockp_header header = test_header(path);
  return (header.flag & COLOCKP_FLAG_SET) != 0;
}

START_TEST(report_shows_waiters_in_order) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path), *b = agent_open(path), *c = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000 purpose=holds"), COLOCK_OK);
  agent_send(a, "acquire x 20000 purpose=first");
  test_await_waiters(path, 1);
  agent_send(b, "acquire s 20000 priority=-10 purpose=humble");
  test_await_waiters(path, 2);
  agent_send(c, "acquire x 20000 priority=50 purpose=urgent");
  test_await_waiters(path, 3);
  char expected[512];
  ck_assert_int_eq(agent_call(holder, "report %s", agent_word(path)), COLOCK_OK);
  char *parts[5] = {NULL};
  int n = 0;
  for (char *p = strtok(holder->text, ";"); p != NULL && n < 5; p = strtok(NULL, ";")) parts[n++] = p;
  ck_assert_int_eq(n, 4);
  const struct {
    const struct agent *agent;
    int role, mode, priority;
    const char *purpose;
  } order[] = {{holder, COLOCK_HOLDER, COLOCK_EXCLUSIVE, 0, "holds"},
               {c, COLOCK_WAITER, COLOCK_EXCLUSIVE, 50, "urgent"},
               {a, COLOCK_WAITER, COLOCK_EXCLUSIVE, 0, "first"},
               {b, COLOCK_WAITER, COLOCK_SHARED, -10, "humble"}};
  for (int i = 0; i < 4; i++) {
    snprintf(expected, sizeof expected, "%d:%d:%d:%d:", order[i].role, order[i].mode, (int)order[i].agent->pid,
             order[i].priority);
    ck_assert_msg(strncmp(parts[i], expected, strlen(expected)) == 0, "%d is \"%s\", not \"%s\"", i, parts[i],
                  expected);
    ck_assert_ptr_nonnull(strstr(parts[i], order[i].purpose));
  }
}
END_TEST

START_TEST(rank_is_ticket_and_priority) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path), *b = agent_open(path);
  uint64_t ticket = 1000;
  test_poke(path, offsetof(struct colockp_header, ticket), &ticket, sizeof ticket);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire x 20000 priority=3");
  test_await_waiters(path, 1);
  agent_send(b, "acquire s 20000 priority=-2");
  test_await_waiters(path, 2);
  uint64_t first = rank_of(path, 1), second = rank_of(path, 2);
  ck_assert_uint_eq(key_of(first), COLOCKP_KEY_BASE + 1000 - 3 * 64);
  ck_assert_uint_eq(first & 3, COLOCKP_RANK_EXCLUSIVE);
  ck_assert_uint_eq(key_of(second), COLOCKP_KEY_BASE + 1001 + 2 * 64);
  ck_assert_uint_eq(second & 3, 0);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.ticket, 1002);
}
END_TEST

START_TEST(rank_saturates_at_the_last_ticket) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path);
  uint64_t ticket = COLOCKP_KEY_BASE - 1;
  test_poke(path, offsetof(struct colockp_header, ticket), &ticket, sizeof ticket);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire x 20000 priority=-100");
  test_await_waiters(path, 1);
  uint64_t rank = rank_of(path, 1);
  ck_assert_uint_gt(key_of(rank), COLOCKP_KEY_BASE);
  ck_assert_uint_eq(rank & 3, COLOCKP_RANK_EXCLUSIVE);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(a), COLOCK_OK);
}
END_TEST

enum { GRANTED, TIMED_OUT, CANCELED, INTERRUPTED, WAYS };

START_TEST(rank_and_flag_go_when_the_wait_ends) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path);
  ck_assert(!flag_set(path));
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire s %d %s", _i == TIMED_OUT ? 400 : 20000, _i == INTERRUPTED ? "interruptible" : "");
  test_await_waiters(path, 1);
  ck_assert(flag_set(path));
  if (_i == GRANTED) ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  if (_i == CANCELED) kill(a->pid, SIGUSR1);
  while (_i == INTERRUPTED && !agent_answered(a)) kill(a->pid, SIGUSR2); /* one may come between two sleeps */
  static const int codes[] = {COLOCK_OK, COLOCK_ETIMEDOUT, COLOCK_ECANCELED, COLOCK_EINTR};
  ck_assert_int_eq(agent_answer(a), codes[_i]);
  ck_assert_uint_eq(test_waiters(path), 0);
  ck_assert(!flag_set(path));
  ck_assert_int_eq(agent_call(holder, "report %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq((int)holder->number, 1);
}
END_TEST

START_TEST(flag_stays_while_another_waits) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path), *b = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire x 20000");
  agent_send(b, "acquire x 20000");
  test_await_waiters(path, 2);
  kill(a->pid, SIGUSR1);
  ck_assert_int_eq(agent_answer(a), COLOCK_ECANCELED);
  ck_assert_uint_eq(test_waiters(path), 1);
  ck_assert(flag_set(path));
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(b), COLOCK_OK);
  ck_assert(!flag_set(path));
}
END_TEST

START_TEST(dead_waiter_is_not_shown) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *a = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  agent_send(a, "acquire x 20000");
  test_await_waiters(path, 1);
  agent_kill(a);
  ck_assert_int_eq(agent_call(holder, "report %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq((int)holder->number, 1);
}
END_TEST

START_TEST(readers_enter_together_and_a_writer_waits_for_the_last) {
  const char *path = test_path("a.lock");
  struct agent *holder = agent_open(path), *readers[3], *writer = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  for (int i = 0; i < 3; i++) {
    readers[i] = agent_open(path);
    agent_send(readers[i], "acquire s 20000");
  }
  test_await_waiters(path, 3);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  for (int i = 0; i < 3; i++) ck_assert_int_eq(agent_answer(readers[i]), COLOCK_OK); /* all are inside now */
  agent_send(writer, "acquire x 20000");
  test_await_waiters(path, 1);
  for (int i = 0; i < 3; i++) {
    ck_assert(!agent_answered(writer));
    ck_assert_int_eq(agent_call(readers[i], "release 0"), COLOCK_OK);
  }
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "queue", 60);
  tcase_add_test(tcase, report_shows_waiters_in_order);
  tcase_add_test(tcase, rank_is_ticket_and_priority);
  tcase_add_test(tcase, rank_saturates_at_the_last_ticket);
  tcase_add_loop_test(tcase, rank_and_flag_go_when_the_wait_ends, 0, WAYS);
  tcase_add_test(tcase, flag_stays_while_another_waits);
  tcase_add_test(tcase, dead_waiter_is_not_shown);
  tcase_add_test(tcase, readers_enter_together_and_a_writer_waits_for_the_last);
}

int main(int argc, char **argv) { return test_main(argc, argv, "queue", fill); }

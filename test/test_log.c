/* test_log.c - the log hook: what reaches it, that it always comes with its own argument, and that it may call back in.
 */
#define _GNU_SOURCE
#include "support.h"

#include "log.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct heard {
  int calls, level;
  char line[4096];
};

static void hear(int level, const char *line, void *arg) {
  struct heard *heard = arg;
  heard->calls++;
  heard->level = level;
  snprintf(heard->line, sizeof heard->line, "%s", line);
  errno = EXDEV;
}

START_TEST(line_reaches_the_hook_whole) {
  struct heard heard = {0, 0, ""};
  colock_set_log(hear, &heard);
  errno = ERANGE;
  colockp_log(COLOCKP_INFO, COLOCKP_WARNING, "%s: %d", "a.lock", 7);
  ck_assert_int_eq(errno, ERANGE);
  ck_assert_int_eq(heard.calls, 1);
  ck_assert_int_eq(heard.level, COLOCKP_WARNING);
  ck_assert_str_eq(heard.line, "a.lock: 7");
  colock_set_log(NULL, NULL);
  colockp_log(COLOCKP_INFO, COLOCKP_WARNING, "nobody hears this");
  ck_assert_int_eq(heard.calls, 1);
}
END_TEST

START_TEST(verbosity_decides_what_is_said) {
  struct heard heard = {0, 0, ""};
  colock_set_log(hear, &heard);
  for (int verbosity = COLOCKP_QUIET; verbosity <= COLOCKP_DEBUG; verbosity++) {
    heard.calls = 0;
    for (int level = COLOCKP_ERROR; level <= COLOCKP_DEBUG; level++)
      colockp_log(verbosity, level, "x");
    ck_assert_int_eq(heard.calls, verbosity);
  }
}
END_TEST

START_TEST(long_line_is_cut_at_a_whole_character) {
  struct heard heard = {0, 0, ""};
  char text[4000];
  colock_set_log(hear, &heard);
  for (size_t shift = 0; shift < 3; shift++) {
    memset(text, 'x', shift);
    for (size_t i = shift; i + 4 <= sizeof text; i += 3)
      memcpy(text + i, "\u20ac", 4);
    colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "%s", text);
    ck_assert_uint_gt(strlen(heard.line), 2000);
    ck_assert_uint_eq((strlen(heard.line) - shift) % 3, 0);
  }
}
END_TEST

static void chatter(int level, const char *line, void *arg) {
  (void)level, (void)line;
  ++*(int *)arg;
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "from within");
  colock_set_log(chatter, arg); /* no lock is held here */
}

START_TEST(hook_may_call_back_in) {
  int calls = 0;
  colock_set_log(chatter, &calls);
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "one");
  ck_assert_int_eq(calls, 1);
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "two");
  ck_assert_int_eq(calls, 2);
}
END_TEST

/* Two hooks, each with an argument of its own, exchanged all the time under the feet of those who log. */
static int red, blue;
static _Atomic long calls, mismatches;
static atomic_bool over;

static void red_hook(int level, const char *line, void *arg) {
  (void)level, (void)line;
  calls++;
  mismatches += arg != &red;
}
static void blue_hook(int level, const char *line, void *arg) {
  (void)level, (void)line;
  calls++;
  mismatches += arg != &blue;
}

static void *swap(void *arg) {
  while (!over) {
    colock_set_log(red_hook, &red);
    colock_set_log(blue_hook, &blue);
  }
  return arg;
}

static void *say(void *arg) {
  while (!over)
    colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "x");
  return arg;
}

START_TEST(hook_always_comes_with_its_own_argument) {
  pthread_t threads[4];
  colock_set_log(red_hook, &red);
  for (size_t i = 0; i < 4; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, i < 2 ? swap : say, NULL), 0);
  int64_t end = test_now_ms() + 300;
  while (test_now_ms() < end)
    colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "x");
  over = true;
  for (size_t i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  ck_assert_int_gt(calls, 100);
  ck_assert_int_eq(mismatches, 0);
}
END_TEST

static int set_in_child(void *arg) {
  struct heard heard = {0, 0, ""};
  (void)arg;
  colock_set_log(hear, &heard); /* whatever the parent's threads were doing */
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "child");
  return heard.calls == 1 ? 0 : 1;
}

START_TEST(forked_child_can_set_its_own_hook) {
  pthread_t thread;
  ck_assert_int_eq(pthread_create(&thread, NULL, swap, NULL), 0);
  for (int i = 0; i < 50; i++)
    ck_assert_int_eq(test_in_child(set_in_child, NULL), 0);
  over = true;
  pthread_join(thread, NULL);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "log", 30);
  tcase_add_test(tcase, line_reaches_the_hook_whole);
  tcase_add_test(tcase, verbosity_decides_what_is_said);
  tcase_add_test(tcase, long_line_is_cut_at_a_whole_character);
  tcase_add_test(tcase, hook_may_call_back_in);
  tcase_add_test(tcase, hook_always_comes_with_its_own_argument);
  tcase_add_test(tcase, forked_child_can_set_its_own_hook);
}

int main(int argc, char **argv) { return test_main(argc, argv, "log", fill); }

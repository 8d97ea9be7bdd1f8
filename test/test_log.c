/* test_log.c - the log hook: what reaches it and in which form, how much of it, that it always comes with its own
 * argument, and that it may call back in. */
#define _GNU_SOURCE
#include "told.h"

#include "clock.h"
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>

#define SECOND INT64_C(1000000000)
#define MOST 10

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
  colockp_log(COLOCKP_INFO, COLOCKP_WARNING, "a.lock", "tested", "answer=%d", 7);
  ck_assert_int_eq(errno, ERANGE);
  ck_assert_int_eq(heard.calls, 1);
  ck_assert_int_eq(heard.level, COLOCKP_WARNING);
  ck_assert_str_eq(heard.line, "event=tested file=a.lock answer=7");
  colock_set_log(NULL, NULL);
  colockp_log(COLOCKP_INFO, COLOCKP_WARNING, "a.lock", "tested", "answer=%d", 8);
  ck_assert_int_eq(heard.calls, 1);
}
END_TEST

START_TEST(verbosity_decides_what_is_said) {
  struct heard heard = {0, 0, ""};
  colock_set_log(hear, &heard);
  for (int verbosity = COLOCKP_QUIET; verbosity <= COLOCKP_DEBUG; verbosity++) {
    heard.calls = 0;
    for (int level = COLOCKP_ERROR; level <= COLOCKP_DEBUG; level++)
      colockp_log(verbosity, level, "a.lock", "tested", "verbosity=%d", verbosity);
    ck_assert_int_eq(heard.calls, verbosity);
  }
}
END_TEST

/* ---- values ---- */

static const struct {
  const char *text, *quoted;
} values[] = {
    {"db.lock", "db.lock"},
    {"/var/lib/a-b_c,d;e:1%2B~(x)", "/var/lib/a-b_c,d;e:1%2B~(x)"},
    {"\u20ac.lock", "\u20ac.lock"},
    {"", "\"\""},
    {NULL, "\"\""},
    {"my db.lock", "\"my db.lock\""},
    {" ", "\" \""},
    {"a=b", "\"a=b\""},
    {"say \"x\"", "\"say \\\"x\\\"\""},
    {"\"", "\"\\\"\""},
    {"a\\b", "\"a\\\\b\""},
    {"line\nevent=forged", "\"line\\nevent=forged\""},
    {"a\tb", "\"a\\tb\""},
    {"\x1b[2J", "\"\\x1b[2J\""},
    {"\xff", "\"\\xff\""},
    {"\u202e", "\"\\xe2\\x80\\xae\""},
    {"\xe2\x82", "\"\\xe2\\x82\""},
};

START_TEST(value_that_could_be_mistaken_is_quoted) {
  char out[COLOCKP_QUOTED];
  struct heard heard = {0, 0, ""};
  colock_set_log(hear, &heard);
  ck_assert_ptr_eq(colockp_quote(out, sizeof out, values[_i].text), out);
  ck_assert_str_eq(out, values[_i].quoted);
  if (!values[_i].text) return;
  char line[256];
  snprintf(line, sizeof line, "event=tested file=%s reason=%s", values[_i].quoted, values[_i].quoted);
  colockp_log(COLOCKP_INFO, COLOCKP_INFO, values[_i].text, "tested", "reason=%s", out);
  ck_assert_str_eq(heard.line, line);
  ck_assert_str_eq(text_of(heard.line, "reason"), values[_i].text);
}
END_TEST

static void random_text(char *text, size_t length, uint64_t *random) {
  static const char hard[] = "\" =\\\n\t\x01\x7f\xff\xe2\x82\xac\xf0\x9f\x98\x80x";
  for (size_t i = 0; i < length; i++) {
    uint32_t r = test_random(random);
    text[i] = r & 1 ? hard[(r >> 1) % (sizeof hard - 1)] : (char)(1 + (r >> 1) % 255);
  }
  text[length] = '\0';
}

START_TEST(any_bytes_come_back_from_the_line) {
  uint64_t random = test_seed();
  struct heard heard = {0, 0, ""};
  colock_set_log(hear, &heard);
  int64_t end = test_now_ms() + 1000 * test_seconds(3);
  for (int i = 0; i < 5000 && (i < 500 || test_now_ms() < end); i++) {
    char path[160], text[160], out[COLOCKP_QUOTED];
    random_text(path + sprintf(path, "%d", i), test_random(&random) % 140, &random); /* each of another kind */
    random_text(text, test_random(&random) % 150, &random);
    colockp_quote(out, sizeof out, text);
    colockp_log(COLOCKP_INFO, COLOCKP_INFO, path, "tested", "n=%d text=%s m=%d", i, out, i);
    ck_assert_str_eq(text_of(heard.line, "file"), path);
    ck_assert_str_eq(text_of(heard.line, "text"), text);
    ck_assert_int_eq(number_of(heard.line, "n"), i);
    ck_assert_int_eq(number_of(heard.line, "m"), i);
    ck_assert_ptr_null(strchr(heard.line, '\n'));
  }
}
END_TEST

START_TEST(value_that_is_too_long_is_cut_and_the_line_stays_whole) {
  static const char *const pieces[] = {"x", "\u20ac", "\x01", "\"", "\xf0\x9f\x98\x80", "a b"};
  struct heard heard = {0, 0, ""};
  char text[4000], out[COLOCKP_QUOTED], other[COLOCKP_QUOTED];
  colock_set_log(hear, &heard);
  for (size_t shift = 0; shift < 8; shift++) {
    size_t used = shift;
    memset(text, 'x', shift);
    while (used + 8 < sizeof text) used += (size_t)sprintf(text + used, "%s", pieces[_i]);
    colockp_quote(out, sizeof out, text);
    memcpy(other, out, sizeof other);
    colockp_log(COLOCKP_INFO, COLOCKP_INFO, text, "tested", "a=%s n=%llu b=%s m=7", out, ~0ull, other);
    const char *got = text_of(heard.line, "b");
    ck_assert_uint_gt(strlen(got), 100);
    ck_assert(memcmp(got, text, strlen(got)) == 0);
    ck_assert_uint_ge(strlen(out), sizeof out - 4 * 4 - 2); /* no more than needed */
    ck_assert_uint_lt(strlen(out), sizeof out);
    ck_assert_int_eq(number_of(heard.line, "m"), 7);
    ck_assert_uint_gt(strlen(text_of(heard.line, "file")), 100);
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
    colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "t=%s", text);
    ck_assert_uint_gt(strlen(heard.line), 2500);
    ck_assert_uint_eq((strlen(strstr(heard.line, "t=")) - 2 - shift) % 3, 0);
  }
}
END_TEST

/* ---- how many: the clock is ours ---- */

START_TEST(ten_a_second_pass_and_the_next_says_how_many_did_not) {
  uint64_t suppressed = 99;
  int64_t now = 5 * SECOND;
  for (int i = 0; i < MOST; i++, now += SECOND / 1000) {
    ck_assert(colockp_log_passes(7, now, &suppressed));
    ck_assert_uint_eq(suppressed, 0);
  }
  suppressed = 99;
  for (int i = 0; i < 25; i++) ck_assert(!colockp_log_passes(7, 6 * SECOND - 1, &suppressed));
  ck_assert_uint_eq(suppressed, 99);
  ck_assert(colockp_log_passes(7, 6 * SECOND, &suppressed)); /* a second after the first, not after the last */
  ck_assert_uint_eq(suppressed, 25);
  for (int i = 1; i < MOST; i++) {
    ck_assert(colockp_log_passes(7, 6 * SECOND + i, &suppressed));
    ck_assert_uint_eq(suppressed, 0); /* said once */
  }
  ck_assert(!colockp_log_passes(7, 6 * SECOND + MOST, &suppressed));
  ck_assert(colockp_log_passes(7, 600 * SECOND, &suppressed)); /* whenever that is */
  ck_assert_uint_eq(suppressed, 1);
}
END_TEST

START_TEST(ten_a_second_are_none_too_many) {
  uint64_t suppressed;
  for (int i = 0; i < 1000; i++) {
    ck_assert(colockp_log_passes(7, i * (SECOND / MOST), &suppressed));
    ck_assert_uint_eq(suppressed, 0);
  }
}
END_TEST

START_TEST(clock_of_another_thread_may_be_behind) {
  uint64_t suppressed;
  for (int i = 0; i < MOST; i++) ck_assert(colockp_log_passes(7, 5 * SECOND - i, &suppressed));
  ck_assert(!colockp_log_passes(7, 3 * SECOND, &suppressed));
  ck_assert(colockp_log_passes(7, 6 * SECOND, &suppressed));
  ck_assert_uint_eq(suppressed, 1);
}
END_TEST

START_TEST(kinds_do_not_count_for_each_other) {
  uint64_t suppressed;
  for (uint64_t kind = 0; kind < 50; kind++)
    for (int i = 0; i < MOST + 3; i++) ck_assert_int_eq(colockp_log_passes(kind, SECOND + i, &suppressed), i < MOST);
  for (uint64_t kind = 0; kind < 50; kind++) {
    ck_assert(colockp_log_passes(kind, 3 * SECOND, &suppressed));
    ck_assert_uint_eq(suppressed, 3);
  }
}
END_TEST

/* The table is full of what has been told lately, or has a count to tell; new kinds come all the time. */
START_TEST(new_kinds_always_pass_and_take_the_place_of_what_is_over) {
  uint64_t suppressed;
  for (int i = 0; i < MOST + 5; i++) colockp_log_passes(1, SECOND, &suppressed); /* over soon, with a count */
  for (uint64_t kind = 100; kind < 150; kind++) ck_assert(colockp_log_passes(kind, SECOND, &suppressed));
  for (uint64_t kind = 1000; kind < 1050; kind++) { /* in the places of those, which are over by now */
    suppressed = 99;
    ck_assert(colockp_log_passes(kind, 3 * SECOND, &suppressed));
    ck_assert_uint_eq(suppressed, 0);
  }
  ck_assert(colockp_log_passes(1, 3 * SECOND, &suppressed));
  ck_assert_uint_eq(suppressed, 5);
  for (uint64_t kind = 10000; kind < 11000; kind++) { /* more than there is room for, and each leaves a count */
    suppressed = 99;
    ck_assert(colockp_log_passes(kind, 5 * SECOND, &suppressed));
    ck_assert_uint_eq(suppressed, 0);
    for (int i = 0; i < MOST; i++) colockp_log_passes(kind, 5 * SECOND, &suppressed);
  }
  ck_assert(colockp_log_passes(10999, 7 * SECOND, &suppressed));
  ck_assert_uint_eq(suppressed, 1);
  suppressed = 99;
  ck_assert(colockp_log_passes(2, 7 * SECOND, &suppressed));
  ck_assert_uint_eq(suppressed, 0); /* which is not told of another */
}
END_TEST

/* ---- how many: in earnest, where nothing gets lost: what is written and what is counted is what was said ---- */

START_TEST(event_level_and_path_make_a_kind) {
  static const struct { int level; const char *path, *event; } kinds[] = {
      {COLOCKP_INFO, "a", "x"}, {COLOCKP_DEBUG, "a", "x"}, {COLOCKP_INFO, "b", "x"}, {COLOCKP_INFO, "a", "y"},
      {COLOCKP_INFO, "ya", "x"}, {COLOCKP_INFO, "a", "xy"}, {COLOCKP_INFO, "", "xa"}};
  struct heard heard = {0, 0, ""};
  colock_set_log(hear, &heard);
  for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
    heard.calls = 0;
    int64_t began = colockp_now_ns();
    for (int i = 0; i < 3 * MOST; i++)
      colockp_log(COLOCKP_DEBUG, kinds[kind].level, kinds[kind].path, kinds[kind].event, "n=%d", i);
    if (colockp_now_ns() - began < SECOND) ck_assert_int_eq(heard.calls, MOST);
    ck_assert_int_ge(heard.calls, MOST);
  }
}
END_TEST

static long flood(long *calls) {
  long suppressed = 0;
  struct heard heard = {0, 0, ""};
  colock_set_log(hear, &heard);
  while (suppressed == 0) {
    int before = heard.calls;
    colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "n=%ld", ++*calls);
    if (heard.calls != before && has(heard.line, "suppressed")) suppressed = number_of(heard.line, "suppressed");
  }
  ck_assert_str_eq(strrchr(heard.line, ' ') + 1, strstr(heard.line, "suppressed"));
  return heard.calls + suppressed;
}

START_TEST(what_was_suppressed_is_said_by_the_next_line) {
  long calls = 0, accounted = flood(&calls);
  ck_assert_int_eq(accounted, calls);
  ck_assert_int_gt(calls, MOST + 1);
}
END_TEST

/* What is above the verbosity, or nobody hears, is not counted. */
START_TEST(what_is_not_said_anyway_uses_nothing_up) {
  struct heard heard = {0, 0, ""};
  for (int i = 0; i < 100; i++) colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "n=%d", i);
  colock_set_log(NULL, NULL);
  for (int i = 0; i < 100; i++) colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "b.lock", "tested", "n=%d", i);
  colock_set_log(hear, &heard);
  for (int i = 0; i < 100; i++) colockp_log(COLOCKP_WARNING, COLOCKP_INFO, "b.lock", "tested", "n=%d", i);
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "b.lock", "tested", "n=%d", 100);
  ck_assert_int_eq(heard.calls, 1);
  ck_assert_str_eq(heard.line, "event=tested file=b.lock n=100");
}
END_TEST

static atomic_bool over;
static _Atomic long said, written, lost;
static sem_t told_of_losses;

static void add_up(int level, const char *line, void *arg) {
  char value[64];
  (void)level, (void)arg;
  written++;
  if (!pair(line, "suppressed", value, sizeof value)) return;
  lost += atol(value);
  sem_post(&told_of_losses);
}

static void *say_the_same(void *arg) {
  while (!over) {
    colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "n=%d", 1);
    said++;
  }
  return arg;
}

START_TEST(threads_together_get_no_more_and_nothing_is_lost) {
  pthread_t threads[4];
  int64_t began = colockp_now_ns();
  sem_init(&told_of_losses, 0, 0);
  colock_set_log(add_up, NULL);
  for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, say_the_same, NULL), 0);
  while (sem_wait(&told_of_losses) != 0) continue;
  over = true;
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  int64_t periods = (colockp_now_ns() - began) / SECOND + 1;
  ck_assert_int_le(written, periods * MOST);
  for (long before = lost; lost == before; said++) /* until the rest is told, too */
    colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "n=%d", 1);
  ck_assert_int_eq(written + lost, said);
}
END_TEST

/* ---- the hook ---- */

static void chatter(int level, const char *line, void *arg) {
  (void)level, (void)line;
  ++*(int *)arg;
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "within", "n=%d", 1);
  colock_set_log(chatter, arg); /* no lock is held here */
}

START_TEST(hook_may_call_back_in) {
  int calls = 0;
  colock_set_log(chatter, &calls);
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "n=%d", 1);
  ck_assert_int_eq(calls, 1);
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "n=%d", 2);
  ck_assert_int_eq(calls, 2);
}
END_TEST

static void *say_once(void *arg) {
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "n=%d", 2);
  return arg;
}

static void wait_for_another(int level, const char *line, void *arg) {
  pthread_t thread;
  (void)level, (void)line;
  if (++*(_Atomic int *)arg > 1) return;
  ck_assert_int_eq(pthread_create(&thread, NULL, say_once, NULL), 0);
  pthread_join(thread, NULL);
}

START_TEST(while_the_hook_runs_others_may_log) {
  _Atomic int calls = 0;
  colock_set_log(wait_for_another, &calls);
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "a.lock", "tested", "n=%d", 1);
  ck_assert_int_eq(calls, 2);
}
END_TEST

/* Two hooks, each with an argument of its own, exchanged all the time under the feet of those who log. */
static int red, blue;
static _Atomic long calls, mismatches;

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

/* Always of another file, so that there are never too many. */
static void say_something(void) {
  static _Atomic long number;
  char path[32];
  snprintf(path, sizeof path, "%ld.lock", ++number);
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, path, "tested", "n=%d", 1);
}

static void *say(void *arg) {
  while (!over) say_something();
  return arg;
}

START_TEST(hook_always_comes_with_its_own_argument) {
  pthread_t threads[4];
  colock_set_log(red_hook, &red);
  for (size_t i = 0; i < 4; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, i < 2 ? swap : say, NULL), 0);
  int64_t end = test_now_ms() + 300;
  while (test_now_ms() < end || calls <= 100) say_something();
  over = true;
  for (size_t i = 0; i < 4; i++)
    pthread_join(threads[i], NULL);
  ck_assert_int_eq(mismatches, 0);
}
END_TEST

static int set_in_child(void *arg) {
  struct heard heard = {0, 0, ""};
  (void)arg;
  colock_set_log(hear, &heard); /* whatever the parent's threads were doing */
  colockp_log(COLOCKP_DEBUG, COLOCKP_INFO, "child.lock", "tested", "n=%d", 1);
  return heard.calls == 1 ? 0 : 1;
}

START_TEST(forked_child_can_set_its_own_hook_and_log) {
  pthread_t threads[2];
  colock_set_log(red_hook, &red);
  ck_assert_int_eq(pthread_create(&threads[0], NULL, swap, NULL), 0);
  ck_assert_int_eq(pthread_create(&threads[1], NULL, say, NULL), 0);
  int64_t end = test_now_ms() + 1000 * test_seconds(3); /* under memcheck, a second for each of them */
  for (int i = 0; i < 50 && (i < 5 || test_now_ms() < end); i++)
    ck_assert_int_eq(test_in_child(set_in_child, NULL), 0);
  over = true;
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "log", 60);
  tcase_add_test(tcase, line_reaches_the_hook_whole);
  tcase_add_test(tcase, verbosity_decides_what_is_said);
  tcase_add_loop_test(tcase, value_that_could_be_mistaken_is_quoted, 0, sizeof values / sizeof values[0]);
  tcase_add_test(tcase, any_bytes_come_back_from_the_line);
  tcase_add_loop_test(tcase, value_that_is_too_long_is_cut_and_the_line_stays_whole, 0, 6);
  tcase_add_test(tcase, long_line_is_cut_at_a_whole_character);
  tcase_add_test(tcase, ten_a_second_pass_and_the_next_says_how_many_did_not);
  tcase_add_test(tcase, ten_a_second_are_none_too_many);
  tcase_add_test(tcase, clock_of_another_thread_may_be_behind);
  tcase_add_test(tcase, kinds_do_not_count_for_each_other);
  tcase_add_test(tcase, new_kinds_always_pass_and_take_the_place_of_what_is_over);
  tcase_add_test(tcase, event_level_and_path_make_a_kind);
  tcase_add_test(tcase, what_was_suppressed_is_said_by_the_next_line);
  tcase_add_test(tcase, what_is_not_said_anyway_uses_nothing_up);
  tcase_add_test(tcase, threads_together_get_no_more_and_nothing_is_lost);
  tcase_add_test(tcase, hook_may_call_back_in);
  tcase_add_test(tcase, while_the_hook_runs_others_may_log);
  tcase_add_test(tcase, hook_always_comes_with_its_own_argument);
  tcase_add_test(tcase, forked_child_can_set_its_own_hook_and_log);
}

int main(int argc, char **argv) { return test_main(argc, argv, "log", fill); }

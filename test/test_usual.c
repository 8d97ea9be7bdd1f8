/* test_usual.c - what who waits may expect: by the histograms of lock files written by hand, and of a lock in use. */
#define _GNU_SOURCE
#include "agent.h"
#include "planted.h"
#include "report.h"
#include "totals.h"

#define MS INT64_C(1000000)

static const char *path;

static void begin(uint32_t slots) {
  path = planted_file("a.lock");
  planted_field(path, slots_in_use, slots);
}

static void count_at(int64_t counters, unsigned which, int64_t ns, uint64_t times) {
  int64_t at = counters + (int64_t)(offsetof(struct colockp_counters, times) + which * sizeof(struct colockp_times) +
                                    offsetof(struct colockp_times, buckets) + colockp_bucket((uint64_t)ns) * 8);
  planted_bytes(path, at, &times, sizeof times);
}

static void held(uint32_t slot, int mode, int64_t ns, uint64_t times) {
  count_at(colockp_at_slot(slot) + (int64_t)offsetof(struct colockp_slot, statistics.counters),
           COLOCKP_T_HOLDS + (unsigned)mode - COLOCK_SHARED, ns, times);
}

static void usual_are(int64_t shared_ms, int64_t exclusive_ms) {
  colock_report *report = NULL;
  char json[80], shared[24] = "null", exclusive[24] = "null";
  must(colock_report_read(path, &report));
  ck_assert_int_eq(colock_report_stat(report, "usual_hold_shared_ms"), shared_ms);
  ck_assert_int_eq(colock_report_stat(report, "usual_hold_exclusive_ms"), exclusive_ms);
  if (shared_ms >= 0) snprintf(shared, sizeof shared, "%d", (int)shared_ms);
  if (exclusive_ms >= 0) snprintf(exclusive, sizeof exclusive, "%d", (int)exclusive_ms);
  snprintf(json, sizeof json, "\"usual_hold_ms\":{\"shared\":%s,\"exclusive\":%s}}", shared, exclusive);
  ck_assert_msg(strstr(colock_report_json(report), json) != NULL, "%s", colock_report_json(report));
  colock_report_free(report);
}

START_TEST(few_say_nothing) {
  begin(2);
  usual_are(-1, -1);
  held(0, COLOCK_SHARED, 10, 10);
  held(1, COLOCK_SHARED, 10, 9);
  held(2, COLOCK_SHARED, 10, 9); /* not in use: no slot behind */
  held(0, COLOCK_EXCLUSIVE, 10, 19);
  usual_are(-1, -1);
  held(1, COLOCK_SHARED, 10, 10);
  usual_are(1, -1);
}
END_TEST

START_TEST(nine_of_ten_are_usual) {
  begin(2);
  held(0, COLOCK_EXCLUSIVE, 7 * MS, 18);
  held(1, COLOCK_EXCLUSIVE, 900 * MS, 2);
  held(1, COLOCK_SHARED, 30000 * MS, 100);
  usual_are(30065, 8); /* the ends of their buckets */
  held(1, COLOCK_EXCLUSIVE, 900 * MS, 3);
  usual_are(30065, 940);
  count_at(colockp_at_slot(0) + (int64_t)offsetof(struct colockp_slot, statistics.counters),
           COLOCKP_T_WAITS + 1, 10, 1000); /* waits are none */
  usual_are(30065, 940);
  held(0, COLOCK_SHARED, INT64_MAX, 1000); /* days */
  usual_are(-1, 940);
}
END_TEST

START_TEST(what_was_reset_is_forgotten) {
  begin(1);
  held(0, COLOCK_EXCLUSIVE, 7 * MS, 100);
  held(0, COLOCK_EXCLUSIVE, 100 * MS, 25);
  count_at(colockp_at_base(3), COLOCKP_T_HOLDS + 1, 7 * MS, 100);
  usual_are(-1, 101);
  planted_field(path, statistics_epoch, 2); /* whose base is the other one */
  usual_are(-1, 101);
  held(0, COLOCK_EXCLUSIVE, 100 * MS, 11);
  usual_are(-1, 8);
  planted_field(path, statistics_epoch, 3);
  usual_are(-1, -1);
  held(0, COLOCK_EXCLUSIVE, 7 * MS, 108); /* 8 and 11 since */
  usual_are(-1, -1);
  held(0, COLOCK_EXCLUSIVE, 7 * MS, 109);
  usual_are(-1, 101);
  held(0, COLOCK_EXCLUSIVE, 7 * MS, 99); /* damaged */
  usual_are(-1, -1);
}
END_TEST

static void in_the_way_of(int mode, const char *end) {
  char text[COLOCKP_IN_THE_WAY];
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  ck_assert(colockp_in_the_way(report, mode, COLOCKP_NO_SLOT, text, sizeof text));
  size_t length = strlen(text);
  ck_assert_msg(length > strlen(end) && strcmp(text + length - strlen(end), end) == 0, "%s", text);
  colock_report_free(report);
}

START_TEST(who_is_in_the_way_is_told_with_it) {
  struct planted one = {.slot = 3, .state = COLOCKP_HELD, .mode = COLOCK_EXCLUSIVE, .generation = 1, .pid = 7,
                        .tid = 7, .hold_id = 1, .token = 1000, .program = "migrate", .purpose = "schema 42"};
  begin(6);
  int owner = planted(path, &one);
  in_the_way_of(COLOCK_SHARED, "\"schema 42\")");
  held(5, COLOCK_EXCLUSIVE, 35 * MS, 20);
  in_the_way_of(COLOCK_SHARED, "\"schema 42\"); usually under 42ms");
  in_the_way_of(COLOCK_EXCLUSIVE, "\"schema 42\"); usually under 42ms");
  held(5, COLOCK_EXCLUSIVE, 3000 * MS, 20);
  in_the_way_of(COLOCK_SHARED, "\"schema 42\"); usually under 4s");
  held(5, COLOCK_EXCLUSIVE, 100000 * MS, 20);
  in_the_way_of(COLOCK_SHARED, "\"schema 42\"); usually under 1m44s");
  close(owner);
  one.mode = COLOCK_SHARED; /* the others of his kind count */
  one.token = 0;
  owner = planted(path, &one);
  in_the_way_of(COLOCK_EXCLUSIVE, "\"schema 42\")");
  held(5, COLOCK_SHARED, 10, 20);
  in_the_way_of(COLOCK_EXCLUSIVE, "\"schema 42\"); usually under 1ms");
  close(owner);
  one.state = COLOCKP_CACHED; /* let go for who waits, whatever is usual */
  owner = planted(path, &one);
  in_the_way_of(COLOCK_EXCLUSIVE, ")");
  close(owner);
}
END_TEST

static int64_t told_ms;

static int on_wait(const colock_report *report, int64_t waited_ms, void *arg) {
  (void)waited_ms, (void)arg;
  told_ms = colock_report_stat(report, "usual_hold_exclusive_ms");
  return 1;
}

START_TEST(who_waits_is_told) {
  colock *lock = NULL;
  colock_hold *hold = NULL;
  path = test_path("a.lock");
  colock_config *config = test_config("notify_after", "1ms", NULL);
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  for (int i = 0; i < 20; i++) {
    must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
    must(colock_release(hold));
  }
  struct agent *holder = agent_start();
  ck_assert_int_eq(agent_call(holder, "open %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "acquire x 0"), COLOCK_OK);
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.timeout_ms = 20;
  hold = NULL;
  must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &hold));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "; usually under "));
  request.timeout_ms = COLOCK_FOREVER;
  request.on_wait = on_wait;
  must_be(COLOCK_ECANCELED, colock_acquire_with(lock, &request, &hold));
  ck_assert_int_gt(told_ms, 0);
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "histograms", 20);
  tcase_add_test(tcase, few_say_nothing);
  tcase_add_test(tcase, nine_of_ten_are_usual);
  tcase_add_test(tcase, what_was_reset_is_forgotten);
  tcase = test_case(suite, "words", 20);
  tcase_add_test(tcase, who_is_in_the_way_is_told_with_it);
  tcase_add_test(tcase, who_waits_is_told);
}

int main(int argc, char **argv) { return test_main(argc, argv, "usual", fill); }

/* test_fail.c - every call of the table fails at its 1st, 2nd, ... time in every operation, with every errno that fits.
 *
 * Each failure either does not matter or is a code with a message; it leaks no descriptor, mapping, memory or record
 * lock, leaves outputs alone, and the file works afterwards. COLOCK_TEST_SECONDS=1 tries but the first errno of each
 * call.
 */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "scenario.h"
#include "support.h"
#include "tracker.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CALLS_MAX 2000
#define BOUND_MS 1000

struct trial {
  const struct scenario *scenario;
  enum fault_call call;
  int errno_value;
  long at;
  int64_t took; /* the next one, in ms */
};

static char told[256];
static const char *tell(const struct trial *trial) {
  snprintf(told, sizeof told, "%s, %s call %ld failing with %s", trial->scenario->name, fault_names[trial->call],
           trial->at, trial->errno_value == 0 ? "half" : strerrorname_np(trial->errno_value));
  return told;
}

struct resources {
  unsigned descriptors, mappings;
  long allocations;
};

static struct resources count_resources(void) {
  return (struct resources){test_descriptors(), test_mappings("a.lock"), fault_allocations()};
}

static void compare(const struct trial *trial, struct resources before, struct resources after) {
  ck_assert_msg(before.descriptors == after.descriptors, "%s: descriptors %u, then %u", tell(trial), before.descriptors,
                after.descriptors);
  ck_assert_msg(before.mappings == after.mappings, "%s: mappings %u, then %u", tell(trial), before.mappings,
                after.mappings);
  ck_assert_msg(before.allocations == after.allocations, "%s: allocations %ld, then %ld", tell(trial),
                before.allocations, after.allocations);
}

/* False once the operation has fewer such calls than that. */
static bool fail_once(struct trial *trial) {
  const char *path = test_path("a.lock");
  trial->scenario->prepare(path);
  struct resources before = count_resources();
  tracker_start();
  tracker_allow_close(trial->scenario->inherits);
  ck_assert_int_eq(scenario_begin(trial->scenario, path), COLOCK_OK);
  fault_no_tmpfile(trial->scenario->no_tmpfile);
  fault_fail_at(trial->call, trial->at, trial->errno_value);
  int code = trial->scenario->operate(path);
  bool hit = fault_hit();
  fault_disarm();
  fault_no_tmpfile(false);
  ck_assert_msg(code >= COLOCK_OK && code <= COLOCK_ESYSTEM, "%s: code %d", tell(trial), code);
  if (code != COLOCK_OK) {
    ck_assert_msg(colock_last_message()[0] != '\0', "%s: code %d without a message", tell(trial), code);
    ck_assert_msg(scenario_untouched() || trial->scenario->ends_hold, "%s: failed and yet set its output", tell(trial));
  }
  scenario_clean();
  const char *problems = tracker_stop();
  ck_assert_msg(problems[0] == '\0', "%s: %s", tell(trial), problems);
  compare(trial, before, count_resources());
  scenario_end_others();
  trial->took = scenario_successor(path, NULL);
  ck_assert_msg(test_free(path), "%s: a lock is left", tell(trial));
  return hit;
}

/* A wait of the next one comes back each time; a machine that is busy does not. */
static bool fail_in_time(struct trial *trial) {
  bool hit = fail_once(trial);
  for (int tries = 1; tries < 3 && trial->took >= BOUND_MS; tries++) hit = fail_once(trial);
  ck_assert_msg(trial->took < BOUND_MS, "%s: the next one took %d ms", tell(trial), (int)trial->took);
  return hit;
}

START_TEST(every_call_may_fail) {
  const struct scenario *scenario = &scenarios[_i];
  scenario_successor(test_path("warm.lock"), NULL); /* what a process does once is done */
  fault_install();
  long hits = 0;
  for (int call = 0; call < FAULT_COUNT; call++) {
    const int *first = fault_errnos((enum fault_call)call); /* in a short run the only one */
    for (const int *e = first; *e >= 0 && (e == first || test_seconds(5) > 3); e++) {
      struct trial trial = {scenario, (enum fault_call)call, *e, 1, 0};
      while (fail_in_time(&trial)) {
        hits++;
        trial.at++;
        ck_assert_msg(trial.at < CALLS_MAX, "%s: no end", tell(&trial));
      }
    }
  }
  fault_remove();
  ck_assert_msg(hits > 0 || scenario->ends_hold, "%s: not one call was failed", scenario->name);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "fail", 120);
  tcase_add_loop_test(tcase, every_call_may_fail, 0, scenario_count);
}

int main(int argc, char **argv) { return test_main(argc, argv, "fail", fill); }

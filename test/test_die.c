/* test_die.c - a process dies by SIGKILL at the 1st, 2nd, 3rd ... system call of an operation, and once right after it.
 *
 * After each death the next process gets the exclusive lock within 200 ms. It is told of an abandoned writer exactly if
 * the dead one had stored its mark (the header's writer word) and not cleared it.
 */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "scenario.h"
#include "support.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BOUND_MS 200
#define CALLS_MAX 2000

struct victim {
  const struct scenario *scenario;
  const char *path;
  long at;
  volatile bool *completed; /* shared with the test */
};

static int die(void *arg) {
  const struct victim *victim = arg;
  if (scenario_begin(victim->scenario, victim->path) != COLOCK_OK) return 2;
  fault_install();
  fault_no_tmpfile(victim->scenario->no_tmpfile);
  fault_die_at(victim->at);
  int code = victim->scenario->operate(victim->path);
  fault_disarm();
  *victim->completed = true;
  bool expected = code == COLOCK_OK || code == COLOCK_ETIMEDOUT;
  if (!expected) return 3;
  raise(SIGKILL);
  return 4;
}

/* What the file says of writers before anybody looks after it. */
static bool marked(const char *path) {
  struct colockp_header header;
  memset(&header, 0, sizeof header);
  if (access(path, F_OK) != 0) return false;
  test_read(path, &header, sizeof header);
  return header.writer != 0 || header.abandoned != 0;
}

/* One death and its successor, who took that long. True: the victim had done all of the operation. */
static bool die_once(const struct scenario *scenario, long at, int64_t *took) {
  const char *path = test_path("a.lock");
  bool *completed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(completed, MAP_FAILED);
  struct victim victim = {scenario, path, at, completed};
  scenario->prepare(path);
  int status = test_in_child(die, &victim);
  ck_assert_msg(status == 256 + SIGKILL, "%s, call %ld: the victim ended with %d", scenario->name, at, status);
  bool over = *completed;
  munmap(completed, 4096);
  scenario_end_others();
  bool expected = marked(path), abandoned = false;
  *took = scenario_successor(path, &abandoned);
  ck_assert_msg(abandoned == expected, "%s, killed at call %ld: %s a mark, and the next was told %s", scenario->name,
                at, expected ? "left" : "did not leave", abandoned ? "of it" : "nothing");
  ck_assert_msg(test_free(path), "%s, killed at call %ld: a lock is left", scenario->name, at);
  return over;
}

/* A wait of ours comes back each time; a disk that stalls in the successor's fsync does not. */
static bool die_in_time(const struct scenario *scenario, long at) {
  int64_t took = BOUND_MS;
  bool over = false;
  for (int tries = 0; tries < 3 && took >= BOUND_MS; tries++) over = die_once(scenario, at, &took);
  ck_assert_msg(took < BOUND_MS, "%s, killed at call %ld: the next took %d ms", scenario->name, at, (int)took);
  return over;
}

START_TEST(successor_of_the_dead_gets_the_lock) {
  const struct scenario *scenario = &scenarios[_i];
  long at = 1;
  while (!die_in_time(scenario, at)) {
    at++;
    ck_assert_msg(at < CALLS_MAX, "%s does not end", scenario->name);
  }
  ck_assert_msg(at > 1, "%s made no call at all", scenario->name);
}
END_TEST

/* The proof above rests on the mark: here it is made and cleared for certain. */
START_TEST(dead_writer_leaves_a_mark_and_a_released_one_none) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.writer, a->token);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  header = test_header(path);
  ck_assert_uint_eq(header.writer, 0);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  agent_kill(a);
  ck_assert(marked(path));
  bool abandoned = false;
  scenario_successor(path, &abandoned);
  ck_assert(abandoned);
  scenario_successor(path, &abandoned);
  ck_assert(!abandoned);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "die", 60);
  tcase_set_tags(tcase, "native"); /* hundreds of processes that are killed before memcheck could say anything */
  tcase_add_loop_test(tcase, successor_of_the_dead_gets_the_lock, 0, scenario_count);
  tcase_add_test(tcase, dead_writer_leaves_a_mark_and_a_released_one_none);
}

int main(int argc, char **argv) { return test_main(argc, argv, "die", fill); }

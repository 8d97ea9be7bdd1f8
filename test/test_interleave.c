/* test_interleave.c - plays every schedule of test/interleave: one test for each permutation, in a case of its file's
 * name. And the reading and playing themselves: a wrong schedule is refused with file and line, a schedule that goes
 * another way is seen.
 */
#define _GNU_SOURCE
#include "interleave/actor.h"
#include "interleave/play.h"
#include "interleave/spec.h"
#include "support.h"
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 64

static struct spec *specs[FILES_MAX];
static int spec_count;
static int first[FILES_MAX + 1]; /* the number of its first permutation: a loop test's number is counted over all */

START_TEST(permutation_goes_as_written) {
  int file = 0;
  while (_i >= first[file + 1]) file++;
  const struct spec_permutation *permutation = &specs[file]->permutations[_i - first[file]];
  const char *lacking = play_lacks(specs[file], permutation);
  if (lacking != NULL) return test_skip(lacking);
  const char *astray = play(specs[file], permutation);
  ck_assert_msg(astray == NULL, "%s", astray);
}
END_TEST

/* ---- the player: what it is there to see, planted ---- */

static const char common[] = "session a unwatched\nsession b unwatched\nstep ax a acquire x 60000\nstep ar a release\n"
                             "step bx b acquire x 60000\nstep bt b try x\nstep br b release\nstep ac a contended\n"
                             "step stop a stop\nstep bw b acquire x 200\npermutation p\n";
static const struct {
  const char *lines, *says;
} planted[] = {
    {" ax EBUSY\n", "planted.spec:12: permutation p: ax is ok instead of EBUSY"},
    {" ax ok\n bt ok\n", "planted.spec:13: permutation p: bt is EBUSY instead of ok"},
    {" ax ok\n bx ok\n", "bx: no ok within 6000 ms; it waits in the queue"},
    {" ax ok\n bx waits\n ar ok\n", "bx got on too: ok"},
    {" ax waits\n", "ax is ok instead of waits"},
    {" ax ok\n bx waits\n", "step bx is still under way at the end"},
    {" ax ok\n bx waits\n bx ok\n", "step bx is still under way"},
    {" ax ok\n ac ok=1\n", "ac says 0 instead of 1"},
    {" ax ok\n bw waits, bw ETIMEDOUT(b)\n", "bw does not name session b"},
    {" ax stops\n", "ax is ok instead of stops"},
    {" ax ok\n ar ends\n", "ar is ok instead of ends"},
    {" ax ok, bx ok\n", "bx is not under way"},
    {" stop ok\n ax ok\n", "ax: no ok within 6000 ms; it is stopped"},
};

START_TEST(player_sees_what_goes_another_way) {
  static struct spec spec;
  char error[256] = "", text[1024];
  snprintf(text, sizeof text, "%s%s", common, planted[_i].lines);
  ck_assert_msg(spec_parse(&spec, "planted.spec", text, error, sizeof error), "%s", error);
  const char *astray = play(&spec, &spec.permutations[0]);
  ck_assert_msg(astray != NULL, "nothing was seen of: %s", planted[_i].lines);
  ck_assert_msg(strstr(astray, planted[_i].says) != NULL, "not \"%s\" but: %s", planted[_i].says, astray);
}
END_TEST

static const char *granted(struct actor *actors, int which, const char *command, long long generation, uint64_t token) {
  static char why[256];
  why[0] = '\0';
  actor_begins(&actors[which], command);
  *actors[which].agent = (struct agent){.number = generation, .token = token};
  return actor_granted(actors, 2, &actors[which], why, sizeof why) ? "" : why;
}

START_TEST(player_sees_what_no_lock_may_grant) {
  struct agent agents[2];
  struct actor actors[2] = {{.agent = &agents[0]}, {.agent = &agents[1]}};
  actors_begin();
  ck_assert_str_eq(granted(actors, 0, "acquire s 1", 1, 0), "");
  ck_assert_str_eq(granted(actors, 1, "acquire s 1", 1, 0), "");
  ck_assert_ptr_nonnull(strstr(granted(actors, 1, "upgrade 0 1", 1, 8), "at once"));
  actor_begins(&actors[0], "release");
  ck_assert_str_eq(granted(actors, 1, "upgrade 0 1", 1, 8), "");
  ck_assert_str_eq(granted(actors, 0, "acquire x 1", 2, 9), ""); /* another lane */
  ck_assert_ptr_nonnull(strstr(granted(actors, 1, "acquire s 1", 2, 0), "at once"));
  actor_begins(&actors[0], "release");
  actor_begins(&actors[1], "release");
  ck_assert_ptr_nonnull(strstr(granted(actors, 0, "acquire x 1", 2, 9), "token")); /* the same again */
  ck_assert_ptr_nonnull(strstr(granted(actors, 0, "acquire x 1", 3, 9), "token"));
  ck_assert_ptr_nonnull(strstr(granted(actors, 0, "acquire x 1", 1, 10), "token")); /* newer than the next lane's */
}
END_TEST

/* ---- the reader ---- */

static const struct {
  const char *text, *error;
} wrong[] = {
    {"", "wrong.spec:1: no permutation"},
    {"session a\nsession a\n", "wrong.spec:2: session a is there already"},
    {"session file\n", "wrong.spec:1: session file is there already"},
    {"session\n", "wrong.spec:1: a session needs a name"},
    {"thread t a\n", "wrong.spec:1: a thread of which session?"},
    {"session a\nthread t a\nthread u t\n", "wrong.spec:3: a thread of which session?"},
    {"step x a release\n", "wrong.spec:1: no session a"},
    {"session a\nstep x a\n", "wrong.spec:2: step x: does what?"},
    {"session a\nstep x\n", "wrong.spec:2: step x: whose?"},
    {"session a\nstep x a release\nstep x a release\n", "wrong.spec:3: step x is there already"},
    {"session a\nstep x a release\n# no\n\n x ok\n", "wrong.spec:5: neither session, thread, step nor permutation, "
                                                     "and within no permutation: x ok"},
    {"session a\nstep x a release\npermutation p\n y ok\n", "wrong.spec:4: no step y"},
    {"session a\nstep x a release\npermutation p\n x\n", "wrong.spec:4: step x: with what outcome?"},
    {"session a\nstep x a release\npermutation p\n x fine\n", "wrong.spec:4: no outcome fine"},
    {"session a\nstep x a release\npermutation p\n x ok ok\n", "wrong.spec:4: step x: more than one outcome"},
    {"session a\nstep x a release\npermutation p\n x ok,\n", "wrong.spec:4: a step and its outcome are missing"},
    {"session a\nstep x a release\npermutation p\n x ETIMEDOUT(b)\n", "wrong.spec:4: no session b"},
    {"session a\nstep x a release\npermutation p\n x ok\npermutation p\n",
     "wrong.spec:5: permutation p is there already"},
    {"session a\nstep x a release\npermutation p\n", "wrong.spec:4: permutation p has no step"},
};

START_TEST(wrong_schedule_is_refused_with_its_line) {
  static struct spec spec;
  char error[256] = "", text[1024];
  snprintf(text, sizeof text, "%s", wrong[_i].text);
  ck_assert_msg(!spec_parse(&spec, "wrong.spec", text, error, sizeof error), "accepted: %s", wrong[_i].text);
  ck_assert_str_eq(error, wrong[_i].error);
}
END_TEST

START_TEST(schedule_is_read) {
  static struct spec spec;
  char error[256] = "";
  char text[] = "# a story\nsession a retry_delay=10ms  # short\nthread t a\nstep ax a acquire x 60000\n"
                "step f file ticket 5\npermutation p\n  ax ok=3 , f ETIMEDOUT(a)\n";
  ck_assert_msg(spec_parse(&spec, "good.spec", text, error, sizeof error), "%s", error);
  ck_assert_int_eq(spec.session_count, 2);
  ck_assert_str_eq(spec.sessions[0].settings, "retry_delay=10ms");
  ck_assert_int_eq(spec.sessions[1].process, 0);
  ck_assert_str_eq(spec.steps[0].command, "acquire x 60000");
  ck_assert_int_eq(spec.steps[1].session, SPEC_FILE);
  const struct spec_line *line = &spec.permutations[0].lines[0];
  ck_assert_int_eq(line->line, 7);
  ck_assert_int_eq(line->count, 2);
  ck_assert(line->outcomes[0].counted && line->outcomes[0].number == 3);
  ck_assert_int_eq(line->outcomes[1].result, COLOCK_ETIMEDOUT);
  ck_assert_int_eq(line->outcomes[1].names, 0);
}
END_TEST

/* ---- the suite ---- */

static char *read_text(const char *path) {
  FILE *file = fopen(path, "re");
  size_t used = 0;
  char *text = NULL, *buffer = NULL;
  if (file == NULL) return NULL;
  if (getdelim(&buffer, &used, '\0', file) >= 0) text = buffer;
  else free(buffer);
  fclose(file);
  return text;
}

/* A schedule that cannot be read ends the whole program: it is part of the source. */
static void load(const char *path) {
  char error[256] = "cannot be read";
  char *text = read_text(path);
  struct spec *spec = calloc(1, sizeof *spec);
  if (spec_count == FILES_MAX || spec == NULL || text == NULL ||
      !spec_parse(spec, strrchr(path, '/') + 1, text, error, sizeof error)) {
    fprintf(stderr, "%s: %s\n", path, error);
    exit(99);
  }
  free(text);
  specs[spec_count] = spec;
  first[spec_count + 1] = first[spec_count] + spec->permutation_count;
  spec_count++;
}

static void load_all(void) {
  char pattern[1024];
  glob_t found;
  const char *top = getenv("abs_top_srcdir");
  snprintf(pattern, sizeof pattern, "%s/test/interleave/*.spec", top != NULL ? top : INTERLEAVE_TOP);
  if (glob(pattern, 0, NULL, &found) != 0) {
    fprintf(stderr, "%s: no schedule there\n", pattern);
    exit(99);
  }
  for (size_t i = 0; i < found.gl_pathc; i++) load(found.gl_pathv[i]);
  globfree(&found);
}

static void fill(Suite *suite) {
  TCase *reader = test_case(suite, "reader", 60);
  tcase_add_loop_test(reader, wrong_schedule_is_refused_with_its_line, 0, (int)(sizeof wrong / sizeof wrong[0]));
  tcase_add_test(reader, schedule_is_read);
  TCase *player = test_case(suite, "player", 60);
  tcase_set_tags(player, "native");
  tcase_add_loop_test(player, player_sees_what_goes_another_way, 0, (int)(sizeof planted / sizeof planted[0]));
  tcase_add_test(player, player_sees_what_no_lock_may_grant);
  load_all();
  for (int i = 0; i < spec_count; i++) {
    TCase *tcase = test_case(suite, specs[i]->file, 120);
    /* native: agents run as they are, memcheck would say nothing new */
    tcase_set_tags(tcase, play_traces(specs[i]) ? "native stepped" : "native");
    tcase_add_loop_test(tcase, permutation_goes_as_written, first[i], first[i + 1]);
  }
}

int main(int argc, char **argv) { return test_main(argc, argv, "interleave", fill); }

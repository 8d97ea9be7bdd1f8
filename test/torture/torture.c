/* torture.c - the program: torture [--seed N] [--seconds N] [--plan NAME]... [--processes N] [--threads N]
 * [--history FILE] [--keep], or torture --decisions N. With --keep every plan keeps what is released.
 *
 * Runs the plans one after another, each for its share of the time; without --plan all but those with a planted fault.
 * Exit status 0, or 1 after a failure, which it tells with its history.
 */
#define _GNU_SOURCE
#include "broken.h"
#include "torture.h"
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct torture *torture;
int torture_processes = 4, torture_threads = 3;

static const struct plan *plan_named(const char *name) {
  for (unsigned i = 0; i < plan_count; i++)
    if (strcmp(plans[i].name, name) == 0) return &plans[i];
  fprintf(stderr, "torture: no plan \"%s\"\n", name);
  exit(64);
}

/* Those without a planted fault. Who is stopped is passed over by those who look now and then; of the dead the watch
 * tells. */
static bool is_for_this_build(const struct plan *plan) {
  return !plan->lies && (COLOCKP_POLLS || !plan->stops) && (COLOCKP_WATCHES || !plan->kills);
}

/* What the first actors will do: the same for the same seed. */
static void decisions(uint64_t seed, unsigned long long steps) {
  for (uint64_t stream = 0; stream < 3; stream++) {
    for (uint64_t number = 0; number < steps; number++) {
      struct step step = step_decide(plan_named("all"), seed, stream, number);
      printf("%" PRIu64 " %" PRIu64 ": ", stream, number);
      step_print(stdout, &step);
    }
  }
}

static int number(const char *text, int most) {
  int n = atoi(text);
  if (n >= 1 && n <= most) return n;
  fprintf(stderr, "torture: \"%s\" is no number from 1 to %d\n", text, most);
  exit(64);
}

int main(int argc, char **argv) {
  static const struct option options[] = {
      {"seed", required_argument, NULL, 's'},    {"seconds", required_argument, NULL, 't'},
      {"plan", required_argument, NULL, 'p'},    {"processes", required_argument, NULL, 'P'},
      {"threads", required_argument, NULL, 'T'}, {"history", required_argument, NULL, 'h'},
      {"decisions", required_argument, NULL, 'd'}, {"keep", no_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
  const struct plan *chosen[16];
  bool keep = false;
  unsigned count = 0;
  uint64_t seed = (uint64_t)now_ns();
  const char *history = "torture.history", *steps = NULL;
  int seconds = 10;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    if (option == 's') seed = strtoull(optarg, NULL, 0);
    else if (option == 't') seconds = number(optarg, 1000000);
    else if (option == 'p' && count < 16) chosen[count++] = plan_named(optarg);
    else if (option == 'P') torture_processes = number(optarg, PROCESSES_MAX);
    else if (option == 'T') torture_threads = number(optarg, THREADS_MAX);
    else if (option == 'h') history = optarg;
    else if (option == 'd') steps = optarg;
    else if (option == 'k') keep = true;
    else return 64;
  }
  if (steps != NULL) {
    decisions(seed, strtoull(steps, NULL, 0));
    return 0;
  }
  if (count == 0)
    for (unsigned i = 0; i < plan_count; i++)
      if (is_for_this_build(&plans[i])) chosen[count++] = &plans[i];
  printf("seed %" PRIu64 "\n", seed);
  fflush(stdout);
  int code = 0;
  for (unsigned i = 0; i < count && code == 0; i++) {
    struct plan plan = *chosen[i];
    plan.keeps |= keep;
    code = warden_run(&plan, seed, (int64_t)seconds * 1000 / (int64_t)count, history);
  }
  return code == 0 ? verdict_all_tried() : code;
}

/* bench.c - what a lock costs, side by side with the bare system calls in the same run.
 *
 * Machines are noisy and differ, ratios less so: colock and its measure take turns in short rounds, and the figure is
 * the median of the rounds' ratios. README says how to read the output. */
#define _GNU_SOURCE
#include "bench.h"
#include "measure.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct bench {
  const char *name, *what;
  void (*measure)(struct run *run);
} benches[] = {
  { "pair", "acquire and release, nobody else about", bench_pair },
  { "open", "open, first acquire, release, close", bench_open },
  { "holders", "acquire and release beside 1 to 1,000 who hold", bench_holders },
  { "handover", "from a release to the waiter's run", bench_handover },
  { "waiters", "the same with 1 to 1,000 who wait", bench_waiters },
  { "fairness", "how long one waits beside many of the other kind", bench_fairness },
  { "throughput", "processes that do nothing but lock and unlock", bench_throughput },
  { "work", "the same with 20 us of work under the lock and 20 us beside it", bench_work },
  { "death", "from the holder's SIGKILL to the waiter's run", bench_death },
  { "idle", "what 1,000 who wait use of the processor", bench_idle },
};
enum { BENCHES = sizeof benches / sizeof *benches };

static pid_t main_process;
static char directory[] = "../colock-bench-XXXXXX"; /* as seen from within */

/* Calls nothing that a signal handler may not. */
static void clean_up(void) {
  if (getpid() != main_process)
    return;
  unlink(OURS);
  unlink(THEIRS);
  rmdir(directory);
}

static void interrupted(int number) {
  clean_up();
  signal(number, SIG_DFL);
  raise(number);
}

static int usage(void) {
  fprintf(stderr, "usage: bench [--json] [--quick] [--in DIRECTORY] [BENCH]...\n");
  for (size_t i = 0; i < BENCHES; i++)
    fprintf(stderr, "  %-11s %s\n", benches[i].name, benches[i].what);
  return 64;
}

static void enter(const char *where) {
  if (chdir(where) != 0 || !mkdtemp(directory + strlen("../")) || chdir(directory + strlen("../")) != 0)
    die(where);
  main_process = getpid();
  atexit(clean_up);
  signal(SIGINT, interrupted);
  signal(SIGTERM, interrupted);
}

int main(int argc, char **argv) {
  struct run run = { 0 };
  const char *where = ".";
  bool chosen[BENCHES] = { false }, all = true;
  for (int i = 1; i < argc; i++) {
    size_t b = 0;
    while (b < BENCHES && strcmp(argv[i], benches[b].name) != 0)
      b++;
    if (b < BENCHES)
      chosen[b] = true, all = false;
    else if (strcmp(argv[i], "--json") == 0)
      run.json = true;
    else if (strcmp(argv[i], "--quick") == 0)
      run.quick = true;
    else if (strcmp(argv[i], "--in") == 0 && i + 1 < argc)
      where = argv[++i];
    else
      return usage();
  }
  struct rlimit files; /* 1,000 seats are 1,000 descriptors */
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  enter(where);
  check(colock_config_new(&run.config));
  check(colock_config_set(run.config, "timeout", "forever"));
  print_first(&run);
  for (size_t b = 0; b < BENCHES; b++)
    if (all || chosen[b])
      benches[b].measure(&run);
  print_last(&run);
  colock_config_free(run.config);
  return 0;
}

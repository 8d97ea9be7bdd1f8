/* main.c - options, the directory of its own, and then the benches of the list that the program is linked with. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static pid_t main_process;
static char directory[] = "../colock-bench-XXXXXX"; /* as seen from within */

/* Calls nothing that a signal handler may not. */
static void clean_up(void) {
  if (getpid() != main_process)
    return;
  fresh_files();
  rmdir(directory);
}

static void interrupted(int number) {
  clean_up();
  signal(number, SIG_DFL);
  raise(number);
}

static int usage(void) {
  fprintf(stderr, "usage: %s [--json] [--quick] [--in DIRECTORY] [BENCH]...\n", program_invocation_short_name);
  for (int i = 0; i < bench_count; i++)
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
  bool chosen[MOST_BENCHES] = { false }, all = true;
  for (int i = 1; i < argc; i++) {
    int b = 0;
    while (b < bench_count && strcmp(argv[i], benches[b].name) != 0)
      b++;
    if (b < bench_count)
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
  for (int b = 0; b < bench_count; b++)
    if (all || chosen[b])
      benches[b].measure(&run);
  print_last(&run);
  colock_config_free(run.config);
  return 0;
}

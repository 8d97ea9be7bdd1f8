/* recall.c - a process keeps the lock without using it: how soon another has it, and what keeping it costs. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEPT_NS (3 * MS) /* longer than a kept lock stays at the least */
enum { MOST_TURNS = 1000 };

struct place {
  const struct run *run;
  uint32_t turns;
  struct event kept, done; /* the number of the turn */
  double waits[MOST_TURNS];
};

static void keep(struct place *place) {
  struct party party;
  kept_contender.open(&party, place->run, 0);
  for (uint32_t turn = 1; turn <= place->turns; turn++) {
    kept_contender.lock(&party, COLOCK_EXCLUSIVE);
    kept_contender.unlock(&party);
    event_set(&place->kept, turn);
    event_await(&place->done, turn);
  }
}

static void want(struct place *place) {
  colock *lock;
  colock_hold *hold;
  check(colock_open(&lock, KEPT, place->run->config));
  for (uint32_t turn = 1; turn <= place->turns; turn++) {
    event_await(&place->kept, turn);
    pause_ns(KEPT_NS);
    int64_t start = now_ns();
    check(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
    place->waits[turn - 1] = (double)(now_ns() - start) / 1e3;
    check(colock_release(hold));
    event_set(&place->done, turn);
  }
}

static void take_part(struct team *team, int index, void *arg) {
  struct place *place = arg;
  team_meet(team);
  (index == 0 ? keep : want)(place);
}

void bench_recall(struct run *run) {
  struct place *place = shared_new(sizeof *place);
  struct team team;
  fresh_files();
  begin_section(run, "from the call of acquire to its return, where another process keeps the lock unused", "nothing");
  place->run = run;
  place->turns = run->quick ? 100 : MOST_TURNS;
  team_start(&team, 2, take_part, place);
  team_go(&team);
  team_end(&team);
  print_figure(run, (struct figure){ .name = "median", .unit = "us", .theirs = NAN, .judged = OURS_ALONE, .aim = 100,
                                     .ours = quantile(place->waits, place->turns, 0.5) });
  print_figure(run, (struct figure){ .name = "99th percentile", .unit = "us", .theirs = NAN,
                                     .ours = quantile(place->waits, place->turns, 0.99) });
  shared_free(place, sizeof *place);
}

/* ---- at rest ---- */

struct server {
  const struct run *run;
  int orders[2];     /* a pipe: what to do next. Nothing of ours wakes up beside it */
  struct event done; /* how many of them */
};

static void await_order(struct server *server) {
  char order;
  if (read(server->orders[0], &order, 1) != 1)
    _exit(0);
}

static void serve(struct team *team, int index, void *arg) {
  struct server *server = arg;
  colock *lock;
  colock_hold *hold;
  (void)index;
  close(server->orders[1]);
  check(colock_open(&lock, OURS, server->run->config));
  team_meet(team);
  await_order(server);
  check(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  check(colock_release(hold));
  event_set(&server->done, 1);
  await_order(server);
  check(colock_release_idle(lock));
  event_set(&server->done, 2);
  await_order(server);
  colock_close(lock);
}

static long switches_of(pid_t process, const char *thread) {
  char path[64 + 256], line[128];
  long count = 0;
  snprintf(path, sizeof path, "/proc/%ld/task/%s/status", (long)process, thread);
  FILE *file = fopen(path, "re");
  if (!file)
    die(path);
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "voluntary_ctxt_switches: %ld", &count) == 1)
      break;
  fclose(file);
  return count;
}

/* Of all threads of the process: how often one of them went to sleep. */
static long sleeps_of(pid_t process) {
  char path[64];
  long sum = 0;
  snprintf(path, sizeof path, "/proc/%ld/task", (long)process);
  DIR *directory = opendir(path);
  if (!directory)
    die(path);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    if (isdigit((unsigned char)entry->d_name[0]))
      sum += switches_of(process, entry->d_name);
  closedir(directory);
  return sum;
}

/* Who never sleeps is not woken: so its processor time, too. */
static void watch(struct run *run, const struct team *team, const char *what, struct figure wake_ups) {
  char name[64];
  pause_ns(SEC / 2); /* until it is asleep again */
  long sleeps = sleeps_of(team->processes[0]);
  int64_t used = team_cpu_ns(team), start = now_ns();
  pause_ns(3 * SEC);
  double seconds = (double)(now_ns() - start) / 1e9;
  wake_ups.name = name;
  wake_ups.unit = "/s";
  wake_ups.theirs = NAN;
  wake_ups.judged = OURS_ALONE;
  wake_ups.ours = (double)(sleeps_of(team->processes[0]) - sleeps) / seconds;
  snprintf(name, sizeof name, "%s: wake-ups", what);
  print_figure(run, wake_ups);
  snprintf(name, sizeof name, "%s: processor time", what);
  print_figure(run, (struct figure){ .name = name, .unit = "%", .theirs = NAN, .judged = OURS_ALONE, .aim = 0.1,
                                     .ours = (double)(team_cpu_ns(team) - used) / seconds / 1e7 });
}

static void order(struct server *server, uint32_t number) {
  if (write(server->orders[1], "", 1) != 1)
    die("write");
  event_await(&server->done, number);
}

void bench_rest(struct run *run) {
  struct server *server = shared_new(sizeof *server);
  struct team team;
  fresh_files();
  begin_section(run, "a process that does nothing, all its threads; processor time in % of a core", "nothing");
  keep_locks(run, true, "1h");
  server->run = run;
  if (pipe(server->orders) != 0)
    die("pipe");
  team_start(&team, 1, serve, server);
  team_go(&team);
  order(server, 1);
  watch(run, &team, "keeps a lock", (struct figure){ .aim = 1.4 });
  order(server, 2);
  watch(run, &team, "has kept one", (struct figure){ .none = true });
  close(server->orders[0]);
  close(server->orders[1]);
  team_end(&team);
  keep_locks(run, false, "1s");
  shared_free(server, sizeof *server);
}

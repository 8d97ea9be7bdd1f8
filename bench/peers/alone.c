/* alone.c - what lock and unlock cost where nobody is in the way, alone and beside many who hold, and as a command. */
#define _GNU_SOURCE
#include "peer.h"
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 31, QUICK_ROUNDS = 5, MOST_REPEATS = 20000 };

struct place {
  const struct run *run;
  const struct contender *ours, *theirs;
  int mode;
  struct series series;
};

/* As many as take a millisecond. */
static int repeats_of(const struct contender *contender, struct party *party, int mode) {
  pairs_of(contender, party, mode, 1);
  int64_t few = pairs_of(contender, party, mode, 5) / 5 + 1;
  return few > MS ? 1 : few < MS / MOST_REPEATS ? MOST_REPEATS : (int)(MS / few);
}

static void take_turns_alone(struct team *team, int index, void *arg) {
  struct place *place = arg;
  struct party ours, theirs;
  place->ours->open(&ours, place->run, index);
  place->theirs->open(&theirs, place->run, index);
  int our_repeats = repeats_of(place->ours, &ours, place->mode);
  int their_repeats = repeats_of(place->theirs, &theirs, place->mode);
  team_meet(team);
  for (int i = 0; i < place->series.count; i++) {
    place->series.ours[i] = (double)pairs_of(place->ours, &ours, place->mode, our_repeats) / our_repeats;
    place->series.theirs[i] = (double)pairs_of(place->theirs, &theirs, place->mode, their_repeats) / their_repeats;
  }
}

static void compare(struct run *run, const struct contender *ours, const struct contender *theirs, int mode) {
  struct place *place = shared_new(sizeof *place);
  struct team team;
  fresh_files_for(run, theirs);
  place->run = run;
  place->ours = ours;
  place->theirs = theirs;
  place->mode = mode;
  place->series.count = run->quick ? QUICK_ROUNDS : ROUNDS;
  team_start(&team, 1, take_turns_alone, place);
  team_go(&team);
  team_end(&team);
  print_series(run, &place->series, (struct figure){ .name = theirs->name, .unit = "ns", .remark = theirs->remark });
  shared_free(place, sizeof *place);
}

static void compare_all(struct run *run, const char *title, const struct contender *ours, int mode) {
  begin_section(run, title, "each of these");
  for (int i = 0; i < peer_count; i++)
    if (can(peers[i], mode) && peers[i] != ours)
      compare(run, ours, peers[i], mode);
}

void compare_alone(struct run *run) {
  compare_all(run, "alone, exclusive", &colock_contender, COLOCK_EXCLUSIVE);
  compare_all(run, "alone, shared", &colock_contender, COLOCK_SHARED);
}

void compare_cached(struct run *run) {
  compare_all(run, "with auto_release, exclusive", &kept_contender, COLOCK_EXCLUSIVE);
  compare_all(run, "with auto_release, shared", &kept_contender, COLOCK_SHARED);
}

/* ---- beside many who hold ---- */

struct crowd {
  const struct run *run;
  const struct contender *contender;
  double ns;
};

static void hold(struct team *team, int index, void *arg) {
  const struct crowd *crowd = arg;
  struct party party;
  crowd->contender->open(&party, crowd->run, index);
  crowd->contender->lock(&party, COLOCK_SHARED);
  team_meet(team);
  for (;;)
    pause();
}

static void pass_by(struct team *team, int index, void *arg) {
  struct crowd *crowd = arg;
  struct party party;
  double rounds[ROUNDS];
  crowd->contender->open(&party, crowd->run, 60000 + index);
  int repeats = repeats_of(crowd->contender, &party, COLOCK_SHARED);
  team_meet(team);
  for (int i = 0; i < ROUNDS; i++)
    rounds[i] = (double)pairs_of(crowd->contender, &party, COLOCK_SHARED, repeats) / repeats;
  crowd->ns = quantile(rounds, ROUNDS, 0.5);
}

static double beside(const struct run *run, const struct contender *contender, int count) {
  struct crowd *crowd = shared_new(sizeof *crowd);
  struct team holders, one;
  fresh_files_for(run, contender);
  crowd->run = run;
  crowd->contender = contender;
  team_start(&holders, count, hold, crowd);
  team_go(&holders);
  team_start(&one, 1, pass_by, crowd);
  team_go(&one);
  team_end(&one);
  team_kill(&holders);
  double ns = crowd->ns;
  shared_free(crowd, sizeof *crowd);
  return ns;
}

void compare_readers(struct run *run) {
  static const int counts[] = { 1, 10, 100, 1000 };
  for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
    char title[64];
    snprintf(title, sizeof title, "shared, beside %d that hold", counts[n]);
    begin_section(run, title, "each of these");
    double ours = beside(run, &colock_contender, counts[n]);
    for (int i = 0; i < peer_count; i++)
      if (can(peers[i], COLOCK_SHARED) && (!peers[i]->slow || counts[n] <= 10))
        print_figure(run, (struct figure){ .name = peers[i]->name, .unit = "ns", .ours = ours,
                                           .theirs = beside(run, peers[i], counts[n]), .remark = peers[i]->remark });
  }
}

/* ---- the command ---- */

/* Of the command from its start to its end; -1: there is no such program. */
static double run_command(const char *const *words) {
  pid_t pid;
  int status;
  int64_t start = now_ns();
  errno = posix_spawnp(&pid, words[0], NULL, NULL, (char *const *)words, environ);
  if (errno || waitpid(pid, &status, 0) != pid || status != 0)
    return -1;
  return (double)(now_ns() - start) / 1e3;
}

static void compare_commands(struct run *run, const char *name, const char *const *ours, const char *const *theirs) {
  static struct series series;
  series.count = run->quick ? QUICK_ROUNDS : 3 * ROUNDS;
  for (int i = 0; i < series.count; i++) {
    series.ours[i] = run_command(ours);
    series.theirs[i] = run_command(theirs);
    if (series.ours[i] < 0 || series.theirs[i] < 0) {
      print_missing(run, name, series.ours[i] < 0 ? "BENCH_COLOCK does not name colock" : "it cannot be run");
      return;
    }
  }
  print_series(run, &series, (struct figure){ .name = name, .unit = "us" });
}

void compare_command(struct run *run) {
  const char *command = getenv("BENCH_COLOCK");
  const char *const ours[] = { command ? command : "colock", "run", OURS, "true", NULL };
  const char *const flock[] = { "flock", THEIRS, "true", NULL };
  const char *const nothing[] = { "true", NULL };
  fresh_files();
  begin_section(run, "the whole command: colock run FILE true", "each of these");
  compare_commands(run, "flock(1) FILE true", ours, flock);
  compare_commands(run, "true", ours, nothing);
}

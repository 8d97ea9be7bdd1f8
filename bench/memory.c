/* memory.c - private memory of an opened lock, and of a seat: what would be free again if the process ended.
 *
 * In a process that has opened one before, so that neither what is done once a process nor the first use of the
 * allocator is counted. */
#define _GNU_SOURCE
#include "measure.h"
#include "scenario.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOCKS = 20, SEATS = 200 };

/* Without stdio, whose buffers would count. */
static double rollup(const char *const *names, int count) {
  char text[4096];
  double sum = 0;
  int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  ssize_t length = read(fd, text, sizeof text - 1);
  if (length <= 0)
    die("/proc/self/smaps_rollup");
  close(fd);
  text[length] = '\0';
  for (int i = 0; i < count; i++) {
    const char *line = strstr(text, names[i]);
    if (line)
      sum += strtod(line + strlen(names[i]), NULL);
  }
  return sum;
}

double private_kib(void) {
  static const char *const names[] = { "\nPrivate_Clean:", "\nPrivate_Dirty:" };
  return rollup(names, 2);
}

/* Of those what is no page of a file: the pages of the lock file are the kernel's, mapped or not. */
static double anonymous_kib(void) {
  static const char *const name = "\nAnonymous:";
  return rollup(&name, 1);
}

struct place {
  const struct run *run;
  double per_lock, per_seat, anonymous_per_seat;
};

static void use(colock *lock) {
  colock_hold *hold;
  check(colock_acquire(lock, COLOCK_SHARED, &hold));
  check(colock_release(hold));
}

static void measure(struct team *team, int index, void *arg) {
  struct place *place = arg;
  colock *locks[LOCKS + 1];
  colock_hold *holds[SEATS];
  (void)index;
  team_meet(team);
  check(colock_open(&locks[LOCKS], OURS, place->run->config));
  use(locks[LOCKS]);
  double before = private_kib();
  for (int i = 0; i < LOCKS; i++) {
    check(colock_open(&locks[i], OURS, place->run->config));
    use(locks[i]);
  }
  double opened = private_kib(), anonymous = anonymous_kib();
  for (int i = 0; i < SEATS; i++)
    check(colock_try_acquire(locks[0], COLOCK_SHARED, &holds[i]));
  place->per_lock = (opened - before) / LOCKS;
  place->per_seat = (private_kib() - opened) / SEATS;
  place->anonymous_per_seat = (anonymous_kib() - anonymous) / SEATS;
}

void bench_memory(struct run *run) {
  struct place *place = shared_new(sizeof *place);
  struct team team;
  fresh_files();
  place->run = run;
  team_start(&team, 1, measure, place);
  team_go(&team);
  team_end(&team);
  begin_section(run, "private memory", "nothing");
  print_figure(run, (struct figure){ .name = "of an opened lock that was used", .unit = "KiB", .ours = place->per_lock,
                                     .theirs = NAN, .judged = OURS_ALONE, .aim = 200 });
  print_figure(run, (struct figure){ .name = "of each further hold, its page of the lock file too", .unit = "KiB",
                                     .ours = place->per_seat, .theirs = NAN });
  print_figure(run, (struct figure){ .name = "without that", .unit = "KiB", .ours = place->anonymous_per_seat,
                                     .theirs = NAN, .judged = OURS_ALONE, .aim = 2 });
  shared_free(place, sizeof *place);
}

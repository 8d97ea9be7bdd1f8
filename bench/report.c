/* report.c - what a look at 1,000 who hold costs: colock status, and each frame of colock top.
 *
 * By the command's own code, within this process: what starting a program costs is not counted. Processor time, because
 * nobody is waited for. The kernel walks its list of record locks once for each holder, whoever asks; so the measure is
 * what 1,000 such walks cost. */
#define _GNU_SOURCE
#include "contender.h"
#include "measure.h"
#include "top.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { HOLDERS = 1000 };

struct place {
  const struct run *run;
  int holds; /* of each process */
};

/* Until the team is ended. On the other side as many descriptions, with as many bytes locked in the same order. */
static void hold(struct team *team, int index, void *arg) {
  const struct place *place = arg;
  colock *lock;
  check(colock_open(&lock, OURS, place->run->config));
  for (int i = 0; i < place->holds; i++) {
    colock_hold *one;
    check(colock_try_acquire(lock, COLOCK_SHARED, &one));
    bare_lock(bare_open(index * place->holds + i), F_RDLCK, LANE);
  }
  team_meet(team);
}

static void walk(int fd) {
  for (int i = 0; i < HOLDERS; i++) {
    struct flock range = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = SLOT + i, .l_len = 1 };
    if (fcntl(fd, F_OFD_GETLK, &range) != 0 || range.l_type != F_WRLCK)
      die("F_OFD_GETLK");
  }
}

static int64_t used_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * SEC + t.tv_nsec;
}

/* ---- what is measured ---- */

static void show_status(const char *option) {
  static char status[] = "status", plain[] = "--", file[] = OURS;
  char json[] = "--json", *argv[] = { status, option ? json : plain, file, NULL };
  optind = 0;
  if (tool_status.run(3, argv) != TOOL_OK)
    die("colock status");
}

static void show_text(struct top_view *view) {
  (void)view;
  show_status(NULL);
}

static void show_json(struct top_view *view) {
  (void)view;
  show_status("--json");
}

static void show_frame(struct top_view *view) {
  top_look(view->top);
  top_view_settle(view);
  top_draw(view, 1000);
}

static int silence(void) {
  int kept = dup(STDOUT_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (kept < 0 || null < 0 || dup2(null, STDOUT_FILENO) < 0)
    die("/dev/null");
  close(null);
  return kept;
}

static void measure(struct run *run, struct figure figure, void (*show)(struct top_view *view)) {
  static char file[] = OURS;
  char *paths[] = { file };
  struct top top;
  struct top_view view;
  struct series series = { .count = run->quick ? 5 : 41 };
  int fd = open(THEIRS, O_RDWR | O_CLOEXEC), kept = silence();
  top_begin(&top, paths, 1);
  top_look(&top);
  top_view_begin(&view, &top);
  for (int i = -1; i < series.count; i++) { /* the first does not count */
    int64_t t0 = used_ns();
    show(&view);
    int64_t t1 = used_ns();
    walk(fd);
    int64_t t2 = used_ns();
    series.ours[i < 0 ? 0 : i] = (double)(t1 - t0) / 1e6;
    series.theirs[i < 0 ? 0 : i] = (double)(t2 - t1) / 1e6;
  }
  top_view_end(&view);
  top_end(&top);
  dup2(kept, STDOUT_FILENO);
  close(kept);
  close(fd);
  figure.unit = "ms";
  figure.judged = OURS_ALONE;
  print_series(run, &series, figure);
}

void bench_report(struct run *run) {
  static const int processes[] = { 1, HOLDERS };
  begin_section(run, "processor time of a look at 1,000 holds", "1,000 times F_OFD_GETLK, as many locked bytes");
  for (size_t i = 0; i < sizeof processes / sizeof *processes; i++) {
    struct place place = { .run = run, .holds = HOLDERS / processes[i] };
    const char *of = processes[i] == 1 ? "of one process" : "of 1,000 processes";
    struct team team;
    char name[64];
    fresh_files();
    team_start(&team, processes[i], hold, &place);
    team_ready(&team);
    snprintf(name, sizeof name, "status, %s", of);
    measure(run, (struct figure){ .name = name, .aim = 20 }, show_text);
    snprintf(name, sizeof name, "status --json, %s", of);
    measure(run, (struct figure){ .name = name }, show_json);
    snprintf(name, sizeof name, "top, a frame, %s", of);
    measure(run, (struct figure){ .name = name, .aim = 30 }, show_frame);
    team_kill(&team);
  }
}

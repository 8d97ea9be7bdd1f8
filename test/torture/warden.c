/* warden.c - the supervisor: forks the processes, lets rounds begin, kills and stops at random, sees that things move.
 *
 * It holds one descriptor of the lock file from the first to the last: closing one is an event that rings waiters.
 */
#define _GNU_SOURCE
#include "layout.h"
#include "torture.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STILL_MS      5000 /* nothing moves for so long: it never will */
#define PASSED_OVER_MS 1500 /* the same while a process is stopped and LANE is free, or LANE is only kept */
#define END_MS       30000

struct process {
  pid_t pid; /* 0: none */
  int64_t continue_ms; /* stopped until then; 0: runs */
};

static struct process processes[PROCESSES_MAX];
static uint64_t dice;
static int lock_fd = -1;

int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static int64_t now_ms(void) { return now_ns() / 1000000; }

void count(enum count what) { torture->counts[what]++; }

void failure(const char *format, ...) {
  va_list list;
  if (atomic_exchange(&torture->telling, true)) return;
  va_start(list, format);
  vsnprintf(torture->said, sizeof torture->said, format, list);
  va_end(list);
  torture->failures++;
}

static unsigned chance(unsigned limit) { return (unsigned)(random_next(&dice) % limit); }

/* ---- processes ---- */

static void spawn(int p) {
  torture->incarnation[p]++;
  for (int t = 0; t < torture->threads; t++) torture->actors[p][t].finished = 0;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGCHLD, SIG_DFL);
    _exit(actor_process(p));
  }
  if (pid < 0) failure("fork: %s", strerror(errno));
  processes[p] = (struct process){.pid = pid};
}

static void put_down(int p) {
  if (processes[p].pid <= 0 || ledger_doomed(p, torture->incarnation[p])) return;
  torture->doomed[p] = torture->incarnation[p];
  kill(processes[p].pid, SIGKILL);
}

/* Until then; a process that stops itself gets a time as well. */
static void stop_for(int p, int64_t ms) {
  processes[p].continue_ms = now_ms() + ms;
  kill(processes[p].pid, SIGSTOP);
}

static int64_t some_ms(void) { return chance(40) == 0 ? 2 * PASSED_OVER_MS : chance(30); }

static void ended(int p, int status, bool last) {
  bool doomed = ledger_doomed(p, torture->incarnation[p]);
  torture->doomed[p] = torture->incarnation[p];
  ledger_bury(p);
  processes[p] = (struct process){.pid = 0};
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && doomed) count(COUNT_KILLED);
  else if (WIFSIGNALED(status)) failure("process %d ended by signal %d", p, WTERMSIG(status));
  else if (WEXITSTATUS(status) != 0 || !last) failure("process %d ended, status %d", p, WEXITSTATUS(status));
}

static void reap(bool last) {
  int status;
  for (int p = 0; p < torture->processes; p++) {
    if (processes[p].pid <= 0 || waitpid(processes[p].pid, &status, WNOHANG | WUNTRACED) != processes[p].pid) continue;
    if (!WIFSTOPPED(status)) {
      ended(p, status, last);
      if (!last && torture->failures == 0) spawn(p);
    } else {
      count(COUNT_STOPPED);
      if (processes[p].continue_ms == 0) processes[p].continue_ms = now_ms() + some_ms();
    }
  }
}

static void let_run(bool all) {
  for (int p = 0; p < torture->processes; p++) {
    if (processes[p].pid <= 0 || processes[p].continue_ms == 0) continue;
    if (!all && now_ms() < processes[p].continue_ms) continue;
    kill(processes[p].pid, SIGCONT);
    processes[p].continue_ms = 0;
  }
}

static bool somebody_is_stopped(void) {
  for (int p = 0; p < torture->processes; p++)
    if (processes[p].continue_ms != 0) return true;
  return false;
}

/* Each ms or so. */
static void make_mischief(void) {
  int p = (int)chance((unsigned)torture->processes);
  struct actor *actor = &torture->actors[p][chance((unsigned)torture->threads)];
  unsigned kind = chance(256);
  if (processes[p].pid <= 0 || somebody_is_stopped()) return; /* what is new would hide that the others stand still */
  if (torture->plan->kills && kind < 3) put_down(p);
  else if (torture->plan->stops && kind < 8) stop_for(p, some_ms());
  else if (torture->plan->signals && actor->tid != 0 && !ledger_doomed(p, torture->incarnation[p]))
    syscall(SYS_tgkill, processes[p].pid, actor->tid, SIGUSR1);
}

/* ---- rounds ---- */

static bool round_is_over(void) {
  for (int p = 0; p < torture->processes; p++)
    for (int t = 0; t < torture->threads; t++)
      if (torture->actors[p][t].finished != torture->round) return false;
  return true;
}

/* Half of the rounds all, else a few. */
static uint64_t some_actors(void) {
  uint64_t bits = 0;
  if (chance(2) == 0) return UINT64_MAX;
  for (unsigned i = 2 + chance(3); i > 0; i--)
    bits |= UINT64_C(1) << (chance((unsigned)torture->processes) * THREADS_MAX + chance((unsigned)torture->threads));
  return bits;
}

static void next_round(bool stop) {
  unsigned kind = chance(128);
  torture->round_steps = kind < 100 ? 1 + chance(6) : kind < 127 ? 4 + chance(20) : 200;
  torture->round_actors = some_actors();
  torture->stop = stop;
  torture->round++;
  count(COUNT_ROUNDS);
  syscall(SYS_futex, &torture->round, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- does it move? ---- */

static struct {
  uint64_t beats;
  int64_t since_ms, seen_ms;
} still;

static uint64_t beats(void) {
  uint64_t sum = 0;
  for (int p = 0; p < torture->processes; p++)
    for (int t = 0; t < torture->threads; t++) sum += torture->actors[p][t].beat;
  return sum;
}

static bool lane_is_free(void) {
  struct colockp_header header;
  if (lock_fd < 0) lock_fd = open(torture->path, O_RDWR | O_CLOEXEC);
  if (lock_fd < 0 || pread(lock_fd, &header, sizeof header, 0) != sizeof header) return false;
  struct flock range = {
      .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = colockp_lane((uint32_t)header.generation), .l_len = 1};
  return fcntl(lock_fd, F_OFD_GETLK, &range) == 0 && range.l_type == F_UNLCK;
}

/* Somebody who could run has work left in this round; queues: and has stood in line for PASSED_OVER_MS. */
static const struct actor *unfinished(bool queues) {
  int64_t since = now_ns() - (int64_t)PASSED_OVER_MS * 1000000;
  for (int p = 0; p < torture->processes; p++) {
    for (int t = 0; t < torture->threads; t++) {
      const struct actor *a = &torture->actors[p][t];
      if (processes[p].continue_ms != 0 || a->finished == torture->round) continue;
      if (!queues || (a->queued != 0 && a->queued_ns < since)) return a;
    }
  }
  return NULL;
}

/* How long nothing has moved; time in which we did not run ourselves does not count. */
static int64_t quiet_ms(void) {
  uint64_t sum = beats();
  int64_t now = now_ms(), gap = now - still.seen_ms;
  still.seen_ms = now;
  if (gap > 20) still.since_ms += gap;
  if (sum != still.beats) {
    still.beats = sum;
    still.since_ms = now;
  }
  return now - still.since_ms;
}

static void see_that_it_moves(void) {
  int64_t quiet = quiet_ms();
  bool stopped = somebody_is_stopped();
  const struct actor *actor = quiet > (stopped ? PASSED_OVER_MS : STILL_MS) ? unfinished(stopped) : NULL;
  if (actor != NULL && !stopped)
    failure("nothing moves: actor %d.%d is not done with round %" PRIu32 "; the lock is %s: a wake-up was lost",
            actor->process, actor->thread, torture->round, lane_is_free() ? "free" : "held");
  else if (actor != NULL && lane_is_free())
    failure("nothing moves while a process is stopped, though the lock is free: actor %d.%d waits", actor->process,
            actor->thread);
  actor = torture->plan->keeps && !stopped && quiet > PASSED_OVER_MS ? unfinished(true) : NULL;
  if (actor != NULL && !lane_is_free() && keeper_only_kept(lock_fd))
    failure("nothing moves though the lock is only kept: actor %d.%d waits; a recall was lost", actor->process,
            actor->thread);
  for (int p = 0; p < torture->processes; p++)
    for (int t = 0; t < torture->threads; t++)
      if (torture->actors[p][t].must_end_ns < now_ns() && processes[p].continue_ms == 0)
        failure("actor %d.%d waits for longer than its timeout", p, t);
}

/* ---- the end ---- */

/* What the kernel says of each thread, before all are stopped. */
static void describe_process(int p) {
  char path[64], text[128];
  printf("process %d, pid %d, incarnation %" PRIu64 "%s%s:", p, (int)processes[p].pid,
         (uint64_t)torture->incarnation[p], ledger_doomed(p, torture->incarnation[p]) ? ", doomed" : "",
         processes[p].continue_ms ? ", stopped" : "");
  snprintf(path, sizeof path, "/proc/%d/task", (int)processes[p].pid);
  DIR *tasks = opendir(path);
  for (struct dirent *entry; tasks != NULL && (entry = readdir(tasks)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    snprintf(text, sizeof text, "/proc/%d/task/%.20s/wchan", (int)processes[p].pid, entry->d_name);
    FILE *file = fopen(text, "re");
    if (file == NULL) continue;
    if (fgets(text, sizeof text, file) != NULL) printf(" %s %s", entry->d_name, text);
    fclose(file);
  }
  if (tasks != NULL) closedir(tasks);
  printf("\n");
}

static void end_all(void) {
  for (int p = 0; p < torture->processes; p++) {
    if (processes[p].pid <= 0) continue;
    kill(processes[p].pid, SIGKILL);
    waitpid(processes[p].pid, NULL, 0);
    processes[p].pid = 0;
  }
}

static void stop_all(void) {
  for (int p = 0; p < torture->processes; p++)
    if (processes[p].pid > 0) kill(processes[p].pid, SIGSTOP);
}

static bool all_ended(void) {
  for (int p = 0; p < torture->processes; p++)
    if (processes[p].pid > 0) return false;
  return true;
}

static void see_all_end(void) {
  for (int64_t limit = now_ms() + END_MS; !all_ended() && torture->failures == 0; usleep(1000)) {
    reap(true);
    let_run(true);
    if (now_ms() > limit) failure("a process does not end");
  }
}

static void go(int64_t run_ms) {
  int64_t end = now_ms() + run_ms, mischief = 0;
  still.since_ms = still.seen_ms = now_ms();
  next_round(false);
  for (int p = 0; p < torture->processes; p++) spawn(p);
  while (torture->failures == 0) {
    reap(false);
    let_run(false);
    if (round_is_over()) {
      bool stop = now_ms() >= end;
      if (stop) let_run(true);
      next_round(stop);
      if (stop) break;
    }
    if (now_ms() != mischief) {
      mischief = now_ms();
      make_mischief();
      see_that_it_moves();
    }
    usleep(100);
  }
  see_all_end();
}

int warden_run(const struct plan *plan, uint64_t seed, int64_t run_ms, const char *history) {
  char directory[256];
  const char *tmp = getenv("TMPDIR");
  snprintf(directory, sizeof directory, "%s/colock-torture.XXXXXX", tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
  torture = mmap(NULL, sizeof *torture, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (torture == MAP_FAILED || mkdtemp(directory) == NULL) {
    fprintf(stderr, "torture: %s: %s\n", directory, strerror(errno));
    return 99;
  }
  torture->plan = plan;
  torture->seed = dice = seed;
  torture->processes = torture_processes;
  torture->threads = torture_threads;
  snprintf(torture->path, sizeof torture->path, "%s/a.lock", directory);
  for (int p = 0; p < PROCESSES_MAX; p++)
    for (int t = 0; t < THREADS_MAX; t++) {
      torture->actors[p][t].process = p;
      torture->actors[p][t].thread = t;
      torture->actors[p][t].must_end_ns = INT64_MAX;
    }
  go(run_ms);
  if (torture->failures == 0) verdict_clean();
  verdict_report(run_ms);
  int failed = torture->failures != 0;
  if (failed) {
    for (int p = 0; p < torture->processes; p++) describe_process(p);
    stop_all(); /* so that it can be looked at as it is */
    printf("FAILED, seed %" PRIu64 ", plan %s: %s\n", seed, plan->name, torture->said);
    history_status(stdout, torture->path);
    history_write(history, stdout, 60);
  }
  end_all();
  if (lock_fd >= 0) close(lock_fd);
  lock_fd = -1;
  unlink(torture->path);
  rmdir(directory);
  munmap(torture, sizeof *torture);
  return failed;
}

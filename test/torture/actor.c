/* actor.c - a process of actors: each asks, is inside, gives back, as its steps say, and looks at every answer. */
#define _GNU_SOURCE
#include "lock.h"
#include "torture.h"
#include <dirent.h>
#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLACK_NS INT64_C(15000000000) /* by which a wait with a timeout may be late on a machine that is busy */
#define SUCCESSOR_STEPS 4 /* in the round in which its predecessor died: else a long round would never end */

struct task {
  struct actor *actor;
  colock *lock;        /* of this step */
  colock_hold *hold;
  struct step step;
  int mode;            /* held now */
  struct before before;
};

static colock *locks[HANDLES];

static void spend(int64_t us) {
  if (us == 0) return;
  struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
  nanosleep(&time, NULL);
}

static void expect_end(struct actor *actor, enum wait_kind wait, int64_t wait_ms) {
  actor->must_end_ns = wait == WAIT_FOREVER ? INT64_MAX : now_ns() + wait_ms * 1000000 + SLACK_NS;
}

/* ---- asking ---- */

static int stop_waiting(const colock_report *who, int64_t waited_ms, void *arg) {
  struct actor *actor = arg;
  history_note(actor, "on_wait stops it; waited ms, waiters", waited_ms, colock_report_stat(who, "waiters"));
  return 1;
}

/* Is a refusal one that the request allows? */
static void judge(const struct task *task, const char *what, enum wait_kind wait, int64_t wait_ms, int code,
                  int64_t took_ns) {
  const struct plan *plan = torture->plan;
  const struct step *step = &task->step;
  bool timed = wait == WAIT_SHORT || wait == WAIT_DEADLINE;
  switch (code) {
  case COLOCK_EBUSY:
    count(COUNT_BUSY);
    if (wait == WAIT_TRY) return;
    break;
  case COLOCK_ETIMEDOUT:
    count(COUNT_TIMED_OUT);
    if (timed && took_ns >= wait_ms * 1000000) return;
    break;
  case COLOCK_ECANCELED:
    count(COUNT_CANCELED);
    if (plan->cancels || step->stop_by_on_wait) return;
    break;
  case COLOCK_EINTR:
    count(COUNT_INTERRUPTED);
    if (plan->signals && step->interruptible) return;
    break;
  default:
    break;
  }
  failure("%s: code %d after %.3f ms, wait kind %d of %lld ms: %s", what, code, (double)took_ns / 1e6, (int)wait,
          (long long)wait_ms, colock_last_message());
}

static int64_t timeout_of(enum wait_kind wait, int64_t wait_ms) {
  return wait == WAIT_TRY ? COLOCK_NOWAIT : wait == WAIT_FOREVER ? COLOCK_FOREVER : wait_ms;
}

static int acquire(struct task *task) {
  const struct step *step = &task->step;
  colock_request request;
  colock_request_init(&request, sizeof request, step->mode);
  request.priority = step->priority;
  request.flags = step->interruptible ? COLOCK_INTERRUPTIBLE : 0;
  request.timeout_ms = timeout_of(step->wait, step->wait_ms);
  request.on_wait = step->stop_by_on_wait ? stop_waiting : NULL;
  request.on_wait_arg = task->actor;
  if (step->wait == WAIT_DEADLINE) {
    request.timeout_ms = COLOCK_FOREVER;
    request.deadline_ns = now_ns() + step->wait_ms * 1000000;
  }
  return colock_acquire_with(task->lock, &request, &task->hold);
}

/* A lock that has a suspend and is kept exclusively serves readers as it is. */
static void note_grant(struct task *task) {
  bool kept = torture->plan->keeps && task->hold->lane_since_ns < task->before.at_ns;
  if (kept) count(COUNT_KEPT);
  if (kept && keeper_hooks(task->step.handle) && task->lock->settings.auto_release && colock_token(task->hold) != 0)
    task->mode = COLOCK_EXCLUSIVE;
}

static bool get(struct task *task) {
  struct actor *actor = task->actor;
  const struct step *step = &task->step;
  history_note(actor, step->mode == COLOCK_EXCLUSIVE ? "asks for exclusive; wait, priority" : "asks for shared; wait, "
               "priority", step->wait, step->priority);
  expect_end(actor, step->wait, step->wait_ms);
  ledger_before(&task->before, task->lock->region);
  int code = acquire(task);
  int64_t took = now_ns() - task->before.at_ns;
  if (code == COLOCK_OK)
    ledger_overtakes(actor, &task->before, step->mode, step->priority, jolt_slept(), task->hold);
  ledger_left(actor);
  actor->must_end_ns = INT64_MAX;
  history_note(actor, code == COLOCK_OK ? "granted; us, queued" : "refused; us, code", took / 1000,
               code == COLOCK_OK ? jolt_slept() : code);
  if (code != COLOCK_OK) judge(task, "acquire", step->wait, step->wait_ms, code, took);
  else note_grant(task);
  return code == COLOCK_OK;
}

/* ---- inside ---- */

static void enter(const struct task *task, const struct before *before) {
  ledger_enter(task->actor, task->hold, task->mode, before);
  keeper_enter(task->actor, task->step.handle, task->mode);
}

static void leave(const struct task *task) {
  keeper_leave(task->actor, task->step.handle);
  ledger_leave(task->actor, task->hold);
}

static bool revoked(int code) { return code == COLOCK_EREVOKED && torture->plan->forces; }

static void upgrade(struct task *task) {
  uint64_t last = colock_last_token(task->hold);
  enum wait_kind wait = task->step.inside_wait;
  int64_t wait_ms = task->step.inside_wait_ms;
  struct before before = task->before;
  history_note(task->actor, "upgrades; wait", wait, 0);
  expect_end(task->actor, wait, wait_ms);
  before.at_ns = now_ns();
  int code = colock_upgrade(task->hold, timeout_of(wait, wait_ms));
  int64_t took = now_ns() - before.at_ns;
  ledger_left(task->actor);
  task->actor->must_end_ns = INT64_MAX;
  history_note(task->actor, "upgraded; us, code", took / 1000, code);
  if (code == COLOCK_OK) {
    uint64_t top = torture->top_token;
    if (top > last && colock_check(task->hold) == COLOCK_OK)
      failure("token %llu was handed out between a shared hold, last_token %llu, and its upgrade",
              (unsigned long long)top, (unsigned long long)last);
    task->mode = COLOCK_EXCLUSIVE;
    enter(task, &task->before);
    count(COUNT_UPGRADED);
  } else if (code == COLOCK_EDEADLK) {
    count(COUNT_UPGRADE_REFUSED);
  } else if (!revoked(code)) {
    judge(task, "upgrade", wait, wait_ms, code, took);
  }
}

static void downgrade(struct task *task) {
  uint64_t token = colock_token(task->hold), inside = task->actor->inside;
  ledger_look(task->actor);
  keeper_downgrade(task->actor, task->step.handle);
  task->actor->inside = (inside & ~UINT64_C(3)) | COLOCK_SHARED; /* before: readers may be in at once */
  int code = colock_downgrade(task->hold);
  history_note(task->actor, "downgraded; code", code, 0);
  if (code == COLOCK_OK) {
    task->mode = COLOCK_SHARED;
    if (colock_token(task->hold) != 0 || colock_last_token(task->hold) != token)
      failure("downgraded from token %llu: token %llu, last_token %llu", (unsigned long long)token,
              (unsigned long long)colock_token(task->hold), (unsigned long long)colock_last_token(task->hold));
    count(COUNT_DOWNGRADED);
  } else if (revoked(code)) {
    task->actor->inside = inside;
  } else {
    failure("downgrade: code %d, %s", code, colock_last_message());
  }
}

/* After a failure nothing is held, and the release of nothing is a success. */
static bool yield(struct task *task) {
  const struct step *step = &task->step;
  enum wait_kind wait = step->inside_wait;
  int64_t wait_ms = step->inside_wait_ms;
  struct before before;
  uint64_t token = colock_token(task->hold), last = colock_last_token(task->hold);
  leave(task);
  history_note(task->actor, "yields; wait", wait, 0);
  expect_end(task->actor, wait, wait_ms);
  ledger_before(&before, task->lock->region);
  before.dead_token = task->before.dead_token; /* if nobody waits the hold is the old one, granted then */
  int code = colock_yield(task->hold, timeout_of(wait, wait_ms));
  int64_t took = now_ns() - before.at_ns;
  bool same = colock_token(task->hold) == token && colock_last_token(task->hold) == last;
  if (code == COLOCK_OK && !same)
    ledger_overtakes(task->actor, &before, task->mode, step->priority, jolt_slept(), task->hold);
  ledger_left(task->actor);
  task->actor->must_end_ns = INT64_MAX;
  history_note(task->actor, "yielded; us, code", took / 1000, code);
  if (code == COLOCK_OK) {
    if (same) before.top_token = 0; /* it is noted by ourselves, perhaps */
    else enter(task, &before);
    count(COUNT_YIELDED);
    return true;
  }
  if (!revoked(code)) judge(task, "yield", wait, wait_ms, code, took);
  code = colock_release(task->hold);
  task->hold = NULL;
  if (code != COLOCK_OK) failure("release after a failed yield: code %d, %s", code, colock_last_message());
  return false;
}

static void force(struct task *task) {
  int code = colock_force_unlock(torture->path, "torture", NULL);
  history_note(task->actor, "forced; code", code, 0);
  count(COUNT_FORCED);
  if (code != COLOCK_OK && code != COLOCK_EBUSY) failure("force: code %d, %s", code, colock_last_message());
}

static void cancel(struct task *task) {
  history_note(task->actor, "cancels", 0, 0);
  colock_cancel(task->lock, 1);
  spend(task->step.pause_us / 8);
  colock_cancel(task->lock, 0);
}

static void look(struct task *task, int (*call)(colock_hold *hold), const char *what) {
  int code = call(task->hold);
  if (code != COLOCK_OK && !revoked(code)) failure("%s: code %d, %s", what, code, colock_last_message());
}

static void die(struct task *task) {
  history_note(task->actor, "dies inside", 0, 0);
  torture->doomed[task->actor->process] = torture->incarnation[task->actor->process];
  raise(SIGKILL);
}

/* True: it still holds. */
static bool be_inside(struct task *task) {
  const struct step *step = &task->step;
  enter(task, &task->before);
  if (step->extra == EXTRA_DIE_INSIDE) die(task);
  if (step->extra == EXTRA_FORCE) force(task);
  if (step->extra == EXTRA_CANCEL) cancel(task);
  spend(step->hold_us);
  (void)colock_contended(task->hold);
  switch (step->inside) {
  case INSIDE_UPGRADE:
    if (task->mode == COLOCK_SHARED) upgrade(task);
    break;
  case INSIDE_DOWNGRADE:
    if (task->mode == COLOCK_EXCLUSIVE) downgrade(task);
    break;
  case INSIDE_YIELD:
    if (!yield(task)) return false;
    if (task->actor->inside == 0) return true;
    break;
  case INSIDE_CHECK:
    look(task, colock_check, "check");
    break;
  case INSIDE_RENEW:
    look(task, colock_renew, "renew");
    break;
  default:
    break;
  }
  leave(task);
  return true;
}

static void let_go(struct task *task) {
  int code = colock_release_idle(task->lock);
  history_note(task->actor, "let go; code", code, 0);
  count(COUNT_LET_GO);
  if (code != COLOCK_OK) failure("release_idle: code %d, %s", code, colock_last_message());
}

static void do_step(struct actor *actor, uint64_t stream, uint64_t number) {
  struct task task = {.actor = actor, .step = step_decide(torture->plan, torture->seed, stream, number)};
  task.lock = locks[task.step.handle];
  task.mode = task.step.mode;
  spend(task.step.pause_us);
  jolt_set(actor, &task.step, task.lock->region);
  if (get(&task) && be_inside(&task)) {
    int code = colock_release(task.hold);
    history_note(actor, "released; code", code, 0);
    if (code == COLOCK_EREVOKED) count(COUNT_REVOKED);
    if (code != COLOCK_OK && !revoked(code)) failure("release: code %d, %s", code, colock_last_message());
  }
  if (task.step.idles) let_go(&task);
  jolt_clear();
}

/* ---- a process ---- */

static void await_round(struct actor *actor, uint32_t round) {
  actor->finished = round;
  history_note(actor, "done with round", round, 0);
  while (torture->round == round) syscall(SYS_futex, &torture->round, FUTEX_WAIT, round, NULL, NULL, 0);
}

static void *actor_main(void *arg) {
  struct actor *actor = arg;
  uint64_t stream = torture->incarnation[actor->process] * 10000 + (uint64_t)(actor->process * 100 + actor->thread);
  bool successor = torture->incarnation[actor->process] > 1;
  actor->tid = (int)syscall(SYS_gettid);
  for (uint64_t number = 0; !torture->stop && torture->failures == 0; successor = false) {
    uint32_t round = torture->round;
    uint32_t steps = successor ? SUCCESSOR_STEPS : torture->round_steps;
    if (!(torture->round_actors >> (actor->process * THREADS_MAX + actor->thread) & 1)) steps = 0;
    while (steps-- > 0 && torture->failures == 0) do_step(actor, stream, number++);
    await_round(actor, round);
  }
  return NULL;
}

static unsigned entries(const char *path) {
  unsigned n = 0;
  DIR *directory = opendir(path);
  if (directory == NULL) return 0;
  while (readdir(directory) != NULL) n++;
  closedir(directory);
  return n;
}

static void *own_tid(void *arg) {
  *(pid_t *)arg = (pid_t)syscall(SYS_gettid);
  return NULL;
}

/* A sanitizer begins a thread of its own with the first that the program makes. */
static unsigned threads_at_rest(void) {
  char entry[64];
  pthread_t thread;
  pid_t tid = 0;
  if (pthread_create(&thread, NULL, own_tid, &tid) != 0) return 0;
  pthread_join(thread, NULL);
  snprintf(entry, sizeof entry, "/proc/self/task/%d", (int)tid);
  while (access(entry, F_OK) == 0) sched_yield();
  return entries("/proc/self/task");
}

static void see_nothing_left(unsigned descriptors, unsigned threads) {
  unsigned left = entries("/proc/self/fd");
  if (left != descriptors) failure("%u descriptors before, %u after everything was closed", descriptors, left);
  int64_t limit = now_ns() + 5000000000; /* a thread that has been joined leaves /proc a moment later */
  while (entries("/proc/self/task") != threads && now_ns() < limit) sched_yield();
  if (entries("/proc/self/task") != threads) failure("a thread is left after everything was closed");
}

static colock *open_lock(int process, int handle) {
  static const char *const settings[][2] = {
      {"timeout", "30s"}, {"retry_delay", "20ms"}, {"notify_after", "2ms"}, {"verbosity", "quiet"}};
  colock_config *config = NULL;
  colock *lock = NULL;
  int code = colock_config_new(&config);
  for (size_t i = 0; code == COLOCK_OK && i < sizeof settings / sizeof settings[0]; i++)
    code = colock_config_set(config, settings[i][0], settings[i][1]);
  if (code == COLOCK_OK) code = keeper_configure(config, process, handle);
  if (code == COLOCK_OK) code = colock_open(&lock, torture->path, config);
  if (code == COLOCK_OK) code = keeper_hook(lock, process, handle);
  if (code != COLOCK_OK) failure("open: code %d, %s", code, colock_last_message());
  colock_config_free(config);
  return lock;
}

static void on_signal(int number) { (void)number; }

int actor_process(int process) {
  pthread_t threads[THREADS_MAX];
  struct sigaction action = {.sa_handler = on_signal};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigaction(SIGUSR1, &action, NULL);
  jolt_install();
  unsigned descriptors = entries("/proc/self/fd"), tasks = threads_at_rest();
  for (int i = 0; i < HANDLES; i++)
    if ((locks[i] = open_lock(process, i)) == NULL) return 1;
  for (int t = 0; t < torture->threads; t++)
    if (pthread_create(&threads[t], NULL, actor_main, &torture->actors[process][t]) != 0) return 1;
  for (int t = 0; t < torture->threads; t++) pthread_join(threads[t], NULL);
  for (int i = 0; i < HANDLES; i++) colock_close(locks[i]);
  if (torture->failures != 0) return 1;
  see_nothing_left(descriptors, tasks);
  return torture->failures != 0;
}

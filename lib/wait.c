/* wait.c - waiting in line. See wait.h.
 *
 * One turn: clear the own bell, look who stands ahead, try if nobody conflicts, else see what may end the wait, and
 * sleep until rung. All that is done after the bell was cleared is seen by who rings later, so no wake-up is lost. */
#include "wait.h"
#include "broken.h"
#include "clock.h"
#include "error.h"
#include "force.h"
#include "queue_read.h"
#include "range.h"
#include "recall.h"
#include "report.h"
#include "stats.h"
#include "system.h"
#include "trace.h"
#include "watch.h"

#include <errno.h>
#include <unistd.h>

#define SPIN_NS        INT64_C(50000)     /* what going to sleep and being woken costs, about */
#define LATE_NS        INT64_C(120000)    /* how late a timer may wake us, about */
#define WATCH_AFTER_NS COLOCKP_TURN_NS
#define FIRST_DELAY_NS INT64_C(1000000)
#define CHECK_MOST_NS  INT64_C(60000000000)
#define SIGNAL_NS      INT64_C(10000000000) /* how long a signal that came just before we slept may go unnoticed */
#define NEAR           16                 /* so many in line look after the others often: all before them may die */
#define MOMENT_NS      INT64_C(20000000)  /* what a try gives those in line to take a free lock */
#define GRACE_LEAST_NS INT64_C(10000000)

enum { ANOTHER = -1 };

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

int colockp_wait_timeout(const colock *lock, int64_t timeout_ms, int64_t *timeout_ns) {
  if (timeout_ms < COLOCK_CONFIGURED)
    return colockp_fail(COLOCK_EINVAL, 0, "a negative time: timeout_ms %lld", (long long)timeout_ms);
  if (timeout_ms == COLOCK_CONFIGURED)
    *timeout_ns = lock->settings.timeout_ns;
  else if (timeout_ms == COLOCK_FOREVER || timeout_ms > INT64_MAX / 1000000)
    *timeout_ns = INT64_MAX;
  else
    *timeout_ns = timeout_ms * 1000000;
  return 0;
}

void colockp_wait_clock(struct colockp_wait *w) {
  if (w->start_ns)
    return;
  w->start_ns = w->now_ns = colockp_now_ns();
  w->deadline_ns = colockp_time_add(w->now_ns, w->timeout_ns);
  if (w->request->deadline_ns > 0 && w->request->deadline_ns < w->deadline_ns)
    w->deadline_ns = w->request->deadline_ns;
}

int64_t colockp_wait_left_ns(struct colockp_wait *w) {
  if (w->request->deadline_ns > 0)
    colockp_wait_clock(w);
  if (w->start_ns == 0)
    return w->timeout_ns;
  return w->deadline_ns > w->now_ns ? w->deadline_ns - w->now_ns : 0;
}

/* Who is in the way, as a report. NULL where it cannot be read: the wait goes on without. */
static colock_report *look_around(const struct colockp_wait *w) {
  colock_report *report;
  if (colockp_report_new(&report, w->lock->path) != 0)
    return NULL;
  if (colockp_report_fill(report, w->seat->region->file.fd) == 0)
    return report;
  colock_report_free(report);
  return NULL;
}

static uint32_t own_slot(const struct colockp_wait *w) {
  return w->seat->slot ? w->seat->number : COLOCKP_NO_SLOT;
}

static int timed_out(const struct colockp_wait *w) {
  char who[COLOCKP_IN_THE_WAY] = "", waited[COLOCKP_AGE_SIZE];
  const char *path = w->seat->region->escaped;
  if (w->timeout_ns == 0)
    return colockp_fail(COLOCK_EBUSY, 0, "%s: busy: others wait for it", path);
  colockp_age(waited, sizeof waited, w->now_ns - w->start_ns);
  colock_report *report = look_around(w);
  bool seen = report && colockp_in_the_way(report, w->mode, own_slot(w), who, sizeof who);
  colock_report_free(report);
  if (seen)
    return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: gave up after %s; %s. Retry, or: colock status %s", path, waited, who,
                        path);
  return colockp_fail(COLOCK_ETIMEDOUT, 0, "%s: gave up after %s; the holder is gone or unknown by now. Retry", path,
                      waited);
}

static int notify(struct colockp_wait *w) {
  colock_report *report = look_around(w);
  char who[COLOCKP_IN_THE_WAY];
  int stop = 0;
  if (report && colockp_tells(w->lock, COLOCKP_INFO) &&
      colockp_in_the_way(report, w->mode, own_slot(w), who, sizeof who))
    colockp_trace_waiting(w->lock, w->mode, w->now_ns - w->start_ns, who);
  if (report && w->request->on_wait)
    stop = w->request->on_wait(report, (w->now_ns - w->start_ns) / 1000000, w->request->on_wait_arg);
  colock_report_free(report);
  w->now_ns = colockp_now_ns();
  w->notice_step_ns = colockp_time_add(w->notice_step_ns, w->notice_step_ns);
  w->notice_ns = colockp_time_add(w->start_ns, w->notice_step_ns);
  if (w->notice_ns <= w->now_ns) /* on_wait itself took long */
    w->notice_ns = colockp_time_add(w->now_ns, w->notice_step_ns);
  return stop ? colockp_fail(COLOCK_ECANCELED, 0, "%s: the wait was stopped by its on_wait", w->seat->region->escaped)
              : 0;
}

/* stale_action: break. Only when all that is in the way is stale: to force out one reader revokes all of them. */
static void judge(struct colockp_wait *w) {
  struct colockp_holder holder;
  char who[COLOCKP_DESCRIBED], holder_text[COLOCKP_QUOTED];
  w->judge_ns = colockp_time_add(w->now_ns, w->lock->settings.retry_delay_ns);
  colock_report *report = look_around(w);
  if (report && colockp_report_other_holder(report, w->mode, own_slot(w), &holder) && holder.stale &&
      holder.conflicting_stale == holder.conflicting &&
      colockp_force_break(w->seat->region, holder.generation, holder.slot, holder.hold_id, "stale") == 0)
    colockp_log(w->lock->settings.verbosity, COLOCKP_WARNING, w->lock->path, "stale_broken",
                "generation=%u holder=%s", (unsigned)holder.generation,
                colockp_quote(holder_text, sizeof holder_text, colockp_describe(holder.entry, who, sizeof who)));
  colock_report_free(report);
}

/* 0, or what ends the wait. */
static int may_go_on(struct colockp_wait *w) {
  if (atomic_load(&w->lock->canceled) || (w->cancel && atomic_load(&w->cancel->on)))
    return colockp_fail(COLOCK_ECANCELED, 0, "%s: the wait was canceled", w->seat->region->escaped);
  if (w->now_ns >= w->deadline_ns)
    return timed_out(w);
  int code = 0;
  if (w->now_ns >= w->notice_ns && (code = notify(w)) != 0)
    return code;
  if (w->now_ns >= w->judge_ns && w->ahead.place < COLOCKP_FRONT)
    judge(w);
  return 0;
}

/* A quarter less at most, so that those who began together do not stay together. */
static int64_t jitter(const struct colockp_wait *w, int64_t ns) {
  uint64_t random = ((uint64_t)w->now_ns + w->key) * UINT64_C(0x9e3779b97f4a7c15) >> 33;
  return ns - (int64_t)(random % (uint64_t)(ns / 4 + 1));
}

static bool should_watch(const struct colockp_wait *w) {
  return COLOCKP_WATCHES && !w->watching && w->ahead.place < COLOCKP_WATCHERS;
}

/* Those further behind look less often, and ever less: what they would find, those ahead of them find. */
static int64_t next_check(const struct colockp_wait *w) {
  int64_t delay = w->lock->settings.retry_delay_ns, place = (int64_t)w->ahead.place + 1;
  if (!w->seat->slot) { /* nobody rings it: often at first, then less and less */
    int64_t share = (w->now_ns - w->start_ns) / 2;
    return colockp_time_add(w->now_ns, jitter(w, least(delay, share > FIRST_DELAY_NS ? share : FIRST_DELAY_NS)));
  }
  if (!COLOCKP_WATCHES)
    return INT64_MAX;
  if (w->stuck.free_since_ns)
    return colockp_time_add(w->stuck.free_since_ns, w->grace_ns);
  if (!COLOCKP_POLLS)
    return INT64_MAX;
  int64_t most = delay > CHECK_MOST_NS ? delay : CHECK_MOST_NS;
  if (place > NEAR)
    place *= place / NEAR;
  return colockp_time_add(w->now_ns, jitter(w, delay < most / place ? delay * place : most));
}

/* 0; ANOTHER: something has changed, look again; ELOST: the file is another by now. */
static int look_after_others(struct colockp_wait *w) {
  bool again = false, first = w->check_ns == 0;
  if (w->seat->slot && should_watch(w) && w->now_ns >= w->start_ns + WATCH_AFTER_NS) {
    w->watching = true;
    colockp_watch_begin(w->seat->region); /* or not: then we poll, as we do anyway */
    again = true; /* whoever died before it began rang nobody */
  }
  int code = first || w->ahead.place < COLOCKP_FRONT ? colockp_region_named(w->seat->region) : 0;
  if (code)
    return code;
  if (w->seat->slot && !first)
    colockp_recall_again(w->seat->region);
  if (w->seat->slot)
    again |= colockp_stuck_look(&w->stuck, w->seat, w->mode, w->key, &w->ahead, w->now_ns, w->grace_ns);
  w->check_ns = next_check(w);
  return again ? ANOTHER : 0;
}

/* Called though others stand ahead: one of them may be dead, or we have moved up and have to watch. Called in vain: the
 * file may have lost its name. */
static bool look_is_due(const struct colockp_wait *w) {
  if (w->now_ns >= w->check_ns)
    return true;
  return w->seat->slot && ((w->rung && (w->ahead.conflicts || w->watching)) ||
                           (should_watch(w) && w->now_ns >= w->start_ns + WATCH_AFTER_NS));
}

static bool many_processors(void) {
  static _Atomic long count;
  long known = atomic_load_explicit(&count, memory_order_relaxed);
  if (known == 0) {
    known = sysconf(_SC_NPROCESSORS_ONLN);
    atomic_store_explicit(&count, known, memory_order_relaxed);
  }
  return known > 1;
}

/* A signal would go unnoticed meanwhile. */
static bool may_spin(const struct colockp_wait *w) {
  return many_processors() && !(w->request->flags & COLOCK_INTERRUPTIBLE);
}

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/* The first in line: a short hold ends sooner than we could fall asleep and be woken. */
static void spin(struct colockp_wait *w, const _Atomic uint32_t *bell) {
  do
    for (int i = 0; i < 64; i++) {
      if (atomic_load_explicit(bell, memory_order_acquire) & COLOCKP_BELL_RUNG)
        return;
      pause_briefly();
    }
  while ((w->now_ns = colockp_now_ns()) < w->spin_ns);
}

static int sleep_on(struct colockp_wait *w, _Atomic uint32_t *word, uint32_t expected, int64_t until_ns) {
  bool interruptible = w->request->flags & COLOCK_INTERRUPTIBLE;
  int64_t ns = until_ns - w->now_ns;
  if (interruptible)
    ns = least(ns, SIGNAL_NS);
  if (ns <= 0)
    return 0;
  struct timespec relative = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
  if (colockp_system.futex_wait((uint32_t *)word, expected, &relative) != 0 && errno == EINTR && interruptible)
    return colockp_fail(COLOCK_EINTR, EINTR, "%s: interrupted by a signal", w->seat->region->escaped);
  return 0;
}

/* Somebody takes and gives it faster than we wake up, as newcomers may while the turn lasts: until then nobody is to
 * wake us. The last part awake, else the lock would lie idle until the timer has woken us. */
static int let_them_have_their_turn(struct colockp_wait *w, _Atomic uint32_t *bell, uint32_t asleep, int64_t until_ns) {
  int64_t early_ns = may_spin(w) ? w->turn_ns - LATE_NS : w->turn_ns;
  asleep |= COLOCKP_BELL_RUNG;
  atomic_store(bell, asleep);
  if (w->now_ns < early_ns)
    return sleep_on(w, bell, asleep, least(until_ns, early_ns));
  while ((w->now_ns = colockp_now_ns()) < w->turn_ns)
    pause_briefly();
  w->spin_ns = w->turn_ns + SPIN_NS;
  return 0;
}

/* Until rung, or until something is due. 0, or EINTR. */
static int rest(struct colockp_wait *w) {
  int64_t until = least(least(w->deadline_ns, w->notice_ns), w->check_ns);
  if (w->ahead.place < COLOCKP_FRONT)
    until = least(until, w->judge_ns);
  if (!w->seat->slot)
    return sleep_on(w, w->cancel ? &w->cancel->on : &w->lock->canceled, 0, until);
  if (should_watch(w))
    until = least(until, w->start_ns + WATCH_AFTER_NS);
  _Atomic uint32_t *bell = &w->seat->region->bells[w->seat->number];
  if (COLOCKP_BROKEN(BELL_LATE))
    colockp_queue_listen(w->seat, w->watching);
  if (!w->ahead.conflicts && w->failed < 2 && w->now_ns < w->spin_ns && may_spin(w)) {
    spin(w, bell);
    return 0;
  }
  uint32_t silent = w->watching ? COLOCKP_BELL_WATCH : 0, asleep = silent | COLOCKP_BELL_ASLEEP;
  if (w->failed >= 2 && w->now_ns < w->turn_ns)
    return let_them_have_their_turn(w, bell, asleep, until);
  if (!atomic_compare_exchange_strong(bell, &silent, asleep))
    return 0; /* rung since we looked */
  return sleep_on(w, bell, asleep, until);
}

static bool nobody_ahead(struct colockp_wait *w) {
  if (!w->seat->slot)
    return !colockp_queue_read_writer(w->seat->region, w->seat->file.fd, w->key);
  w->rung = !COLOCKP_BROKEN(BELL_LATE) && colockp_queue_listen(w->seat, w->watching);
  colockp_queue_ahead(w->seat, w->mode, w->key, &w->ahead);
  /* Before an upgrader there can only be one of another generation: it, or we, have to find out that it is over. */
  return w->ahead.conflicts == 0 || w->key == COLOCKP_KEY_UPGRADE;
}

/* We were first in line and called, and somebody else got it, as newcomers may while the turn lasts. */
static void count_failure(struct colockp_wait *w) {
  int64_t ends = w->seat->slot ? colockp_queue_turn_ends(w->seat->region, w->now_ns) : 0;
  if (ends != w->turn_ns)
    w->failed = 0;
  w->turn_ns = ends;
  w->failed += w->rung && ends != 0;
}

/* ANOTHER: another turn. */
static int turn(struct colockp_wait *w) {
  bool first = nobody_ahead(w);
  if (first) {
    int code = w->attempt(w->seat, w->mode);
    if (code != COLOCK_EBUSY)
      return code;
  }
  w->now_ns = colockp_now_ns();
  if (first)
    count_failure(w);
  int code = may_go_on(w);
  if (code == 0 && look_is_due(w))
    code = look_after_others(w);
  if (code == 0)
    code = rest(w);
  return code ? code : ANOTHER;
}

static void begin(struct colockp_wait *w) {
  const struct colockp_settings *settings = &w->lock->settings;
  colockp_wait_clock(w);
  w->now_ns = colockp_now_ns();
  w->spin_ns = w->now_ns + SPIN_NS;
  w->check_ns = 0;
  w->stuck = (struct colockp_stuck){ .free_since_ns = 0 };
  w->failed = 0;
  w->turn_ns = 0;
  w->watching = false;
  if (w->notice_step_ns) /* not the first: the file was replaced */
    return;
  w->notice_step_ns = settings->notify_after_ns > 0 ? settings->notify_after_ns : FIRST_DELAY_NS;
  bool notices = (w->request->on_wait || colockp_tells(w->lock, COLOCKP_INFO)) && w->timeout_ns != 0;
  w->notice_ns = notices ? colockp_time_add(w->now_ns, settings->notify_after_ns) : INT64_MAX;
  /* An upgrade would force out its own shared hold too. */
  w->judge_ns = settings->stale_action == COLOCKP_STALE_BREAK && w->key != COLOCKP_KEY_UPGRADE ? w->now_ns : INT64_MAX;
  if (w->grace_ns == 0) {
    int64_t share = (w->deadline_ns - w->now_ns) / 4;
    w->grace_ns = least(2 * settings->retry_delay_ns, share > GRACE_LEAST_NS ? share : GRACE_LEAST_NS);
  }
}

static void disarm(struct colockp_wait *w) {
  colockp_alarm_disarm(w->alarm);
  if (w->cancel)
    colockp_alarm_disarm(w->cancel_alarm);
}

static bool arm(struct colockp_wait *w) {
  _Atomic uint32_t *bell = &w->seat->region->bells[w->seat->number];
  w->alarm = colockp_alarm_arm(&w->lock->alarms, bell);
  if (!w->alarm || !w->cancel)
    return w->alarm;
  w->cancel_alarm = colockp_alarm_arm(&w->cancel->alarms, bell);
  if (!w->cancel_alarm)
    colockp_alarm_disarm(w->alarm);
  return w->cancel_alarm;
}

int colockp_wait_for(struct colockp_wait *w) {
  struct colockp_region *region = w->seat->region;
  begin(w);
  if (w->key != COLOCKP_KEY_UPGRADE)
    w->key = w->seat->slot ? colockp_queue_ticket(region, w->request->priority)
                           : colockp_queue_read_key(region, w->request->priority);
  if (w->last && w->seat->slot) {
    uint64_t end = colockp_queue_end(region);
    w->key = w->key > end ? w->key : end;
  }
  if (w->seat->slot) {
    if (!arm(w))
      return colockp_fail(COLOCK_ENOMEM, 0, "%s: out of memory", region->escaped);
    colockp_queue_join(w->seat, w->mode, w->key);
  }
  int code;
  while ((code = turn(w)) == ANOTHER)
    ;
  if (w->seat->slot) {
    colockp_queue_leave(w->seat, code == 0);
    if (code == 0 && w->check_ns == 0) /* at the first try */
      colockp_stuck_tidy(w->seat);
    disarm(w);
  }
  if (w->watching)
    colockp_watch_end(region);
  if (code != COLOCK_ELOST) /* else it goes on elsewhere */
    colockp_stats_waited(w->seat, w->mode, w->start_ns);
  return code;
}

int colockp_wait_moment(struct colockp_wait *w) {
  int fd = w->seat->file.fd;
  int64_t lane = colockp_lane(colockp_region_generation(w->seat->region));
  if (colockp_range_taken(fd, w->mode, lane, 1) != 0)
    return colockp_fail(COLOCK_EBUSY, 0, "%s: busy", w->seat->region->escaped);
  colockp_wait_clock(w);
  w->deadline_ns = colockp_now_ns() + MOMENT_NS;
  w->grace_ns = MOMENT_NS / 2;
  return colockp_wait_for(w);
}

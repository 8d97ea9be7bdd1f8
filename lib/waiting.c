/* waiting.c - waits that do not block: what can be had at once is, else a thread of the wait's own stands in line.
 *
 * A futex cannot be polled, and the queue's bells are futexes: so each wait that has to wait costs one thread, which
 * does what a blocking acquire does and then makes an eventfd readable. on_wait is the program's, and may be called in
 * the thread that steps alone: the wait's thread only notes that it is due.
 *
 * Discipline: WAITING becomes ENDED by the wait's thread, or STOPPED by the one that steps or frees, in one CAS. The
 * wait's thread writes `result` before its CAS; the others read it once they see ENDED, and then it is theirs. Who sets
 * STOPPED wakes the thread, which gives back itself what it was granted too late. The eventfd is written after the
 * state, and read before it: so whoever found WAITING will find the descriptor readable at the next change. */
#include "acquire.h"
#include "alarm.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "report.h"
#include "system.h"
#include "thread.h"
#include "trace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

enum { WAITING, ENDED, STOPPED };

struct result {
  int code;
  int errno_value;
  char message[2048]; /* no message is longer (error.h) */
  colock_hold *hold;  /* NULL also: handed out */
};

struct colock_wait {
  colock *lock;
  uint32_t forks;             /* colockp_fork_count at the start */
  struct colockp_fd event;    /* an eventfd; -1 in a forked child */
  int fd;                     /* the same, constant: for the thread, which is in no child */
  colock_request request;     /* what the thread acquires with; constant once it runs */
  int (*on_wait)(const colock_report *who, int64_t waited_ms, void *arg); /* the caller's */
  void *on_wait_arg;
  pthread_t thread;
  bool threaded;              /* there is one to be joined */
  struct colockp_cancel cancel;
  _Atomic int state;
  struct result result;
  _Atomic bool noticed;       /* on_wait is due */
  _Atomic int64_t waited_ms;  /* to tell it */
  char path[COLOCKP_ESCAPED_PATH]; /* for messages: the region's may be freed under us */
  char purpose[];
};

static int make_event(void) { return colockp_system.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

/* An eventfd that nobody lets overflow takes every write. */
static void ring(const colock_wait *wait) {
  const uint64_t one = 1;
  while (colockp_system.write(wait->fd, &one, sizeof one) < 0 && errno == EINTR)
    ;
}

static void silence(const colock_wait *wait) {
  uint64_t rings;
  while (colockp_system.read(wait->fd, &rings, sizeof rings) < 0 && errno == EINTR)
    ;
}

/* ---- the wait's thread ---- */

/* In place of the caller's on_wait. */
static int note(const colock_report *who, int64_t waited_ms, void *arg) {
  colock_wait *wait = arg;
  (void)who; /* the one that steps reads its own: this one does not outlive us */
  atomic_store(&wait->waited_ms, waited_ms);
  atomic_store(&wait->noticed, true);
  ring(wait);
  return 0;
}

/* Messages belong to the thread in which something failed: it goes along. */
static void keep(colock_wait *wait, int code, colock_hold *hold) {
  wait->result.code = code;
  wait->result.hold = hold;
  if (code == 0)
    return;
  wait->result.errno_value = colock_last_errno();
  snprintf(wait->result.message, sizeof wait->result.message, "%s", colock_last_message());
}

static void *run(void *arg) {
  colock_wait *wait = arg;
  colock_hold *hold = NULL;
  int waiting = WAITING;
  if (atomic_load(&wait->state) == STOPPED) {
    colockp_trace_failed(wait->lock, wait->request.mode, 0,
                         colockp_fail(COLOCK_ECANCELED, 0, "%s: the wait was canceled", wait->path));
    return NULL;
  }
  int code = colockp_acquire(wait->lock, &wait->request, &wait->cancel, false, &hold);
  keep(wait, code, hold);
  if (atomic_compare_exchange_strong(&wait->state, &waiting, ENDED))
    ring(wait);
  else if (hold)
    colock_release(hold);
  return NULL;
}

/* ---- start ---- */

static int64_t deadline(const colock_request *request, int64_t timeout_ns) {
  int64_t by_timeout_ns = colockp_time_add(colockp_now_ns(), timeout_ns);
  if (request->deadline_ns > 0 && request->deadline_ns < by_timeout_ns)
    return request->deadline_ns;
  return by_timeout_ns == INT64_MAX ? 0 : by_timeout_ns;
}

static int make(colock *lock, const colock_request *request, int64_t timeout_ns, colock_wait **out) {
  size_t size = request->purpose ? strlen(request->purpose) + 1 : 0;
  colock_wait *wait = colockp_system.malloc(sizeof *wait + size);
  if (!wait)
    return colockp_fail(COLOCK_ENOMEM, ENOMEM, "no memory for a wait");
  memset(wait, 0, sizeof *wait);
  wait->lock = lock;
  wait->forks = colockp_fork_count();
  wait->request = *request;
  wait->request.size = sizeof wait->request;
  wait->request.flags = 0;
  wait->request.timeout_ms = timeout_ns == 0 ? COLOCK_NOWAIT : COLOCK_FOREVER;
  wait->request.deadline_ns = deadline(request, timeout_ns);
  if (size > 0)
    wait->request.purpose = memcpy(wait->purpose, request->purpose, size);
  if (request->on_wait) {
    wait->on_wait = request->on_wait;
    wait->on_wait_arg = request->on_wait_arg;
    wait->request.on_wait = note;
    wait->request.on_wait_arg = wait;
  }
  colockp_escape(wait->path, sizeof wait->path, lock->path);
  int error = colockp_fd_make(&wait->event, make_event);
  if (error) {
    int code = colockp_fail(colockp_code_of_errno(error), error, "%s: cannot make an eventfd to wait with: %s",
                            wait->path, strerror(error));
    colockp_system.free(wait);
    return code;
  }
  wait->fd = wait->event.fd;
  *out = wait;
  return 0;
}

static void discard(colock_wait *wait) {
  colockp_fd_close(&wait->event);
  colockp_alarm_free_all(&wait->cancel.alarms);
  colockp_system.free(wait);
}

/* One try here, then the thread. */
static int begin(colock_wait *wait, bool try) {
  colock_hold *hold = NULL;
  int code = colockp_acquire(wait->lock, &wait->request, &wait->cancel, true, &hold);
  if (code != COLOCK_EBUSY) {
    keep(wait, code, hold);
    atomic_store(&wait->state, ENDED);
    ring(wait);
    return 0;
  }
  if (try)
    return code;
  /* The default stack: the log hook is called in there, and a suspend may be. */
  int error = colockp_thread_start(&wait->thread, 0, run, wait);
  if (error)
    return colockp_trace_failed(wait->lock, wait->request.mode, 0,
                                colockp_fail(colockp_code_of_errno(error), error,
                                             "%s: cannot start the thread that would wait: %s", wait->path,
                                             strerror(error)));
  wait->threaded = true;
  return 0;
}

int colock_wait_start(colock *lock, const colock_request *request, colock_wait **out) {
  if (!lock || !request || !out)
    return colockp_fail(COLOCK_EINVAL, 0, "lock, request and wait must not be NULL");
  int64_t timeout_ns;
  colock_wait *wait = NULL;
  int code = colockp_request_check(request);
  if (code == 0)
    code = colockp_wait_timeout(lock, request->timeout_ms, &timeout_ns);
  if (code == 0)
    code = make(lock, request, timeout_ns, &wait);
  if (code)
    return code;
  code = begin(wait, timeout_ns == 0);
  if (code) {
    discard(wait);
    return code;
  }
  *out = wait;
  return 0;
}

/* ---- step ---- */

static void give_back(colock_wait *wait) {
  if (wait->result.hold)
    colock_release(wait->result.hold);
  wait->result.hold = NULL;
}

/* Whatever it was granted, or will be, is given back. */
static void stop(colock_wait *wait) {
  int waiting = WAITING;
  if (atomic_compare_exchange_strong(&wait->state, &waiting, STOPPED)) {
    atomic_store(&wait->cancel.on, 1);
    colockp_system.futex_wake((uint32_t *)&wait->cancel.on, 1); /* a reader-only lock has no bell */
    colockp_alarm_ring(&wait->cancel.alarms);
  } else if (waiting == ENDED) {
    give_back(wait);
    atomic_store(&wait->state, STOPPED);
  }
}

static colock_report *look_around(colock *lock) {
  colock_report *report;
  if (colockp_report_new(&report, lock->path) != 0)
    return NULL;
  pthread_mutex_lock(&lock->member.mutex);
  struct colockp_region *region = colockp_region_ref(lock->region);
  pthread_mutex_unlock(&lock->member.mutex);
  int code = colockp_report_fill(report, region->file.fd);
  colockp_region_unref(region);
  if (code == 0)
    return report;
  colock_report_free(report);
  return NULL;
}

/* What cannot be read now is told next time. */
static void notify(colock_wait *wait) {
  colock_report *report = look_around(wait->lock);
  if (report && wait->on_wait(report, atomic_load(&wait->waited_ms), wait->on_wait_arg) != 0)
    stop(wait);
  colock_report_free(report);
}

static int hand_out(colock_wait *wait, colock_hold **out) {
  colock_hold *hold = wait->result.hold;
  if (!hold)
    return colockp_fail(COLOCK_EINVAL, 0, "%s: the hold was handed out before", wait->path);
  wait->result.hold = NULL;
  if (hold->region && wait->threaded) { /* reports would name a thread that is no more */
    hold->activity.tid = colockp_tid();
    colockp_seat_show_activity(hold);
  }
  *out = hold;
  return 0;
}

int colock_wait_step(colock_wait *wait, colock_hold **hold) {
  if (!wait || !hold)
    return colockp_fail(COLOCK_EINVAL, 0, "wait and hold must not be NULL");
  if (wait->forks != colockp_fork_count())
    return colockp_fail(COLOCK_EFORKED, 0, "%s: the wait belongs to the parent process", wait->path);
  if (atomic_load(&wait->state) == WAITING) {
    silence(wait);
    if (atomic_exchange(&wait->noticed, false) && atomic_load(&wait->state) == WAITING)
      notify(wait);
    if (atomic_load(&wait->state) == WAITING)
      return colockp_fail(COLOCK_EBUSY, 0, "%s: not granted yet", wait->path);
    ring(wait); /* readable for good: what was read may have been the last of the thread's */
  }
  if (atomic_load(&wait->state) == STOPPED)
    return colockp_fail(COLOCK_ECANCELED, 0, "%s: the wait was stopped by its on_wait", wait->path);
  if (wait->result.code)
    return colockp_fail(wait->result.code, wait->result.errno_value, "%s", wait->result.message);
  return hand_out(wait, hold);
}

int colock_wait_fd(const colock_wait *wait) { return wait->event.fd; }

void colock_wait_free(colock_wait *wait) {
  if (!wait)
    return;
  if (wait->forks != colockp_fork_count()) {
    if (atomic_load(&wait->state) == ENDED)
      give_back(wait);
  } else {
    stop(wait);
    if (wait->threaded)
      pthread_join(wait->thread, NULL);
  }
  discard(wait);
}

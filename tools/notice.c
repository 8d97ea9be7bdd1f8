/* notice.c - telling people that we wait, and for whom.
 *
 * On a terminal a thread redraws one line each second, from a report that it reads itself; elsewhere each call of
 * tool_notice_report prints a plain line. `mutex` guards `stopping` alone; the rest is constant while the thread runs.
 */
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *path;
static char *escaped_path;
static bool silent;
static bool ticking; /* the thread runs */
static pthread_t ticker;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;
static bool stopping;

int64_t tool_now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *ordinal(int64_t n) {
  if (n % 100 >= 11 && n % 100 <= 13)
    return "th";
  return n % 10 == 1 ? "st" : n % 10 == 2 ? "nd" : n % 10 == 3 ? "rd" : "th";
}

/* Our own place among those who wait: 1 is next; 0: none. */
static int64_t own_place(const colock_report *report) {
  const colock_entry *entry;
  for (size_t at = 0; (entry = tool_next(report, COLOCK_WAITER, &at)) != NULL;)
    if (colock_entry_number(entry, COLOCK_PID) == getpid() && tool_here(entry))
      return colock_entry_number(entry, COLOCK_POSITION);
  return 0;
}

/* What to say now; free() it. */
static char *waiting_line(const colock_report *report) {
  char *text = NULL;
  size_t size = 0;
  int64_t place = own_place(report);
  FILE *to = tool_memory(&text, &size);
  fprintf(to, "%s: waiting for ", escaped_path);
  if (tool_in_use(report))
    tool_holders(to, report);
  else
    fputs("its turn", to);
  if (place > 0)
    fprintf(to, "; %" PRId64 "%s in line", place, ordinal(place));
  fclose(to);
  return text;
}

static void draw(const colock_report *report) {
  if (!tool_foreground())
    return;
  char *line = waiting_line(report);
  char *whole = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&whole, &size);
  fprintf(to, "colock: %s", line);
  fclose(to);
  tool_live(whole);
  free(whole);
  free(line);
}

static void *tick(void *unused) {
  (void)unused;
  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  pthread_mutex_lock(&mutex);
  while (!stopping) {
    next.tv_sec++;
    while (!stopping && pthread_cond_timedwait(&wake, &mutex, &next) != ETIMEDOUT)
      continue;
    if (stopping)
      break;
    pthread_mutex_unlock(&mutex);
    colock_report *report = NULL;
    if (colock_report_read(path, &report) == COLOCK_OK) {
      draw(report);
      colock_report_free(report);
    }
    pthread_mutex_lock(&mutex);
  }
  pthread_mutex_unlock(&mutex);
  return NULL;
}

/* Signals stay with the thread that waits. Without a thread the line is redrawn only when the library calls. */
static void start_ticker(void) {
  pthread_condattr_t monotonic;
  sigset_t all, before;
  sigfillset(&all);
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&wake, &monotonic);
  pthread_condattr_destroy(&monotonic);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  stopping = false;
  ticking = pthread_create(&ticker, NULL, tick, NULL) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* `of` must stay until tool_notice_end. quiet: say nothing. */
void tool_notice_begin(const char *of, bool quiet) {
  path = of;
  escaped_path = tool_escaped(of);
  silent = quiet;
}

int tool_notice_report(const colock_report *who, int64_t waited_ms, void *arg) {
  (void)waited_ms;
  (void)arg;
  if (silent || who == NULL)
    return 0;
  if (ticking)
    return 0;
  if (tool_live_possible()) {
    draw(who);
    start_ticker();
    return 0;
  }
  char *line = waiting_line(who);
  tool_tell("%s", line);
  free(line);
  return 0;
}

void tool_notice_end(void) {
  if (ticking) {
    pthread_mutex_lock(&mutex);
    stopping = true;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&mutex);
    pthread_join(ticker, NULL);
    pthread_cond_destroy(&wake);
    ticking = false;
  }
  tool_live(NULL);
  free(escaped_path);
  escaped_path = NULL;
}

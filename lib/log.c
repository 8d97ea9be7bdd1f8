/* log.c - the caller's hook, and the lines that go to it.
 *
 * Hook and argument are set together and must be read together, by threads that may be inside any call: a lock around
 * the hook's call is out (the hook may come back in), one around the copy would be in the way of fork. So the last few
 * pairs are kept in a ring. A writer, under its mutex, fills the place after the newest and then makes that the newest;
 * a reader takes no lock: it copies the newest and looks whether the writers have come round to it meanwhile. The mutex
 * is held across fork, so that a child never finds it locked by a thread that it does not have; it nests inside
 * nothing.
 */
#include "log.h"
#include "colock.h"
#include "utf8.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#define LINE_SIZE 2048
#define PAIRS 8u /* a power of two, so that the count may wrap */

typedef void hook_function(int level, const char *line, void *arg);

static struct {
  hook_function *_Atomic hook;
  void *_Atomic arg;
} pairs[PAIRS];
static _Atomic unsigned newest; /* counts the pairs that were set; stored under the mutex */
static pthread_mutex_t writers = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static _Thread_local bool inside; /* in the hook: what it makes the library say goes nowhere, not round and round */

static void lock_writers(void) { pthread_mutex_lock(&writers); }
static void unlock_writers(void) { pthread_mutex_unlock(&writers); }
static void start(void) { pthread_atfork(lock_writers, unlock_writers, unlock_writers); }

void colock_set_log(hook_function *log, void *arg) {
  pthread_once(&once, start);
  lock_writers();
  unsigned next = atomic_load_explicit(&newest, memory_order_relaxed) + 1;
  atomic_thread_fence(memory_order_release); /* who sees what is stored next sees the counts before it */
  atomic_store_explicit(&pairs[next % PAIRS].hook, log, memory_order_relaxed);
  atomic_store_explicit(&pairs[next % PAIRS].arg, arg, memory_order_relaxed);
  atomic_store_explicit(&newest, next, memory_order_release);
  unlock_writers();
}

/* The hook of the newest pair, with its argument; NULL: none is set. */
static hook_function *get_hook(void **arg) {
  for (;;) {
    unsigned before = atomic_load_explicit(&newest, memory_order_acquire);
    hook_function *hook = atomic_load_explicit(&pairs[before % PAIRS].hook, memory_order_relaxed);
    *arg = atomic_load_explicit(&pairs[before % PAIRS].arg, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&newest, memory_order_relaxed) - before < PAIRS - 1)
      return hook;
  }
}

void colockp_log(int verbosity, int level, const char *format, ...) {
  void *arg;
  hook_function *hook;
  if (level > verbosity || inside || !(hook = get_hook(&arg)))
    return;
  char line[LINE_SIZE];
  int saved = errno;
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  if (length >= LINE_SIZE)
    line[colockp_utf8_whole(line, LINE_SIZE - 1)] = '\0';
  if (length >= 0) {
    inside = true;
    hook(level, line, arg);
    inside = false;
  }
  errno = saved;
}

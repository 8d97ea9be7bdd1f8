/* log.c - the caller's hook, and the lines that go to it.
 *
 * Hook and argument are set together and must be read together, by threads that may be inside any call: a lock around
 * the hook's call is out (the hook may come back in), one around the copy would be in the way of fork. So the last few
 * pairs are kept in a ring. A writer, under the mutex, fills the place after the newest and then makes that the newest;
 * a reader takes no lock: it copies the newest and looks whether the writers have come round to it meanwhile.
 *
 * So that a lock that is fought for does not flood whoever reads the log, lines are counted by kind (event, level and
 * path) in a table, under the mutex as well. It is held for a few instructions, never while the hook runs, and across
 * fork, so that a child never finds it locked by a thread that it does not have; it nests inside nothing.
 */
#include "log.h"
#include "clock.h"
#include "colock.h"
#include "error.h"
#include "utf8.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LINE_SIZE 2560
#define PAIRS     8u /* a power of two, so that the count may wrap */
#define KINDS     64
#define MOST      10 /* lines of a kind within: */
#define PERIOD_NS INT64_C(1000000000)

typedef void hook_function(int level, const char *line, void *arg);

static struct {
  hook_function *_Atomic hook;
  void *_Atomic arg;
} pairs[PAIRS];
static _Atomic unsigned newest; /* counts the pairs that were set; stored under the mutex */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct kind {
  uint64_t kind;       /* under the mutex, as all of it */
  int64_t since_ns;    /* the first line of this period */
  uint32_t lines;      /* written in it; 0: the place is empty */
  uint64_t suppressed;
} kinds[KINDS];

static _Thread_local bool inside; /* in the hook: what it makes the library say goes nowhere, not round and round */

static void lock_it(void) { pthread_mutex_lock(&mutex); }
static void unlock_it(void) { pthread_mutex_unlock(&mutex); }
static void start(void) { pthread_atfork(lock_it, unlock_it, unlock_it); }

/* ---- the hook ---- */

void colock_set_log(hook_function *log, void *arg) {
  pthread_once(&once, start);
  lock_it();
  unsigned next = atomic_load_explicit(&newest, memory_order_relaxed) + 1;
  atomic_thread_fence(memory_order_release); /* who sees what is stored next sees the counts before it */
  atomic_store_explicit(&pairs[next % PAIRS].hook, log, memory_order_relaxed);
  atomic_store_explicit(&pairs[next % PAIRS].arg, arg, memory_order_relaxed);
  atomic_store_explicit(&newest, next, memory_order_release);
  unlock_it();
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

/* ---- not too many ---- */

static bool is_over(const struct kind *kind, int64_t now_ns) { return now_ns - kind->since_ns >= PERIOD_NS; }

/* How little is lost if another kind gets its place: 3 nothing, 2 nothing but time, 1 a count, 0 a count that grows. */
static int spare(const struct kind *kind, int64_t now_ns) {
  return kind->lines == 0 ? 3 : is_over(kind, now_ns) ? (kind->suppressed ? 1 : 2) : 0;
}

/* The place of that kind, or the one to give it: of several the oldest. */
static struct kind *place_of(uint64_t kind, int64_t now_ns) {
  struct kind *best = &kinds[0];
  for (struct kind *at = kinds; at < kinds + KINDS; at++) {
    if (at->lines && at->kind == kind)
      return at;
    int more = spare(at, now_ns) - spare(best, now_ns);
    if (more > 0 || (more == 0 && at->since_ns < best->since_ns))
      best = at;
  }
  return best;
}

bool colockp_log_passes(uint64_t kind, int64_t now_ns, uint64_t *suppressed) {
  lock_it();
  struct kind *place = place_of(kind, now_ns);
  bool known = place->lines && place->kind == kind, passes = true;
  uint64_t before = 0;
  if (!known || is_over(place, now_ns)) {
    before = known ? place->suppressed : 0;
    *place = (struct kind){ .kind = kind, .since_ns = now_ns, .lines = 1 };
  } else if (place->lines < MOST) {
    place->lines++;
  } else {
    place->suppressed++;
    passes = false;
  }
  unlock_it();
  if (passes)
    *suppressed = before;
  return passes;
}

static uint64_t hash(uint64_t so_far, const char *text) { /* FNV-1a, its end included */
  do
    so_far = (so_far ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
  while (*text++);
  return so_far;
}

/* ---- the line ---- */

/* The next character, or byte that is none, escaped for within quotes. Returns how many bytes it takes. */
static size_t quote_one(char *unit, size_t size, const char *text) {
  char character[5] = "";
  uint32_t point;
  size_t taken = colockp_utf8_read(text, strnlen(text, 4), &point);
  taken = taken ? taken : 1;
  memcpy(character, text, taken);
  if (*text == '"')
    memcpy(unit, "\\\"", sizeof "\\\"");
  else
    colockp_escape(unit, size, character);
  return taken;
}

char *colockp_quote(char *out, size_t size, const char *text) {
  size_t used = 1;
  bool plain = text && *text;
  out[0] = '"';
  while (text && *text) {
    char unit[4 * 4 + 1];
    size_t taken = quote_one(unit, sizeof unit, text), length = strlen(unit);
    plain = plain && *unit != '\\' && *text != ' ' && *text != '=';
    if (used + length + sizeof "\"" > size)
      break;
    memcpy(out + used, unit, length);
    used += length;
    text += taken;
  }
  if (plain) {
    memmove(out, out + 1, --used);
    out[used] = '\0';
  } else {
    memcpy(out + used, "\"", sizeof "\"");
  }
  return out;
}

static void write_line(char *line, size_t size, const char *path, const char *event, uint64_t suppressed,
                       const char *format, va_list arguments) {
  char file[COLOCKP_QUOTED], more[40] = "";
  if (suppressed)
    snprintf(more, sizeof more, " suppressed=%llu", (unsigned long long)suppressed);
  size_t used = (size_t)snprintf(line, size, "event=%s file=%s ", event, colockp_quote(file, sizeof file, path));
  size_t room = size - strlen(more);
  int length = vsnprintf(line + used, room - used, format, arguments);
  used += length > 0 ? (size_t)length : 0;
  if (used >= room)
    used = colockp_utf8_whole(line, room - 1);
  memcpy(line + used, more, strlen(more) + 1);
}

void colockp_log(int verbosity, int level, const char *path, const char *event, const char *format, ...) {
  void *arg;
  hook_function *hook;
  uint64_t suppressed;
  if (level > verbosity || inside || !(hook = get_hook(&arg)) ||
      !colockp_log_passes(hash(hash((uint64_t)level, event), path), colockp_now_ns(), &suppressed))
    return;
  char line[LINE_SIZE];
  int saved = errno;
  va_list arguments;
  va_start(arguments, format);
  write_line(line, sizeof line, path, event, suppressed, format, arguments);
  va_end(arguments);
  inside = true;
  hook(level, line, arg);
  inside = false;
  errno = saved;
}

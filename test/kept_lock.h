/* kept_lock.h - for suites about one lock that is kept (kept.h): that lock, and another process that wants it, too.
 *
 * To be included last: in other headers these names are parameters. */
#ifndef COLOCK_TEST_KEPT_LOCK_H
#define COLOCK_TEST_KEPT_LOCK_H

#include "kept.h"

static const char *path;
static colock *lock;
static struct agent *other;

static inline void have(const char *idle) {
  path = test_path("a.lock");
  lock = kept_open(path, idle);
}

static inline void have_other(void) {
  have("1min");
  other = other_of(path);
}

/* What the other process can get at once, and gives back. */
static inline int can(const char *mode) {
  int code = agent_call(other, "try %s", mode);
  if (code == COLOCK_OK) ck_assert_int_eq(agent_call(other, "release %d", other->hold), COLOCK_OK);
  return code;
}

static inline uint64_t writer_mark(void) {
  struct colockp_header header = test_header(path);
  return header.writer;
}

#endif

/* naps.h - for tests of the thread that looks after what is kept: when it sleeps, and that it is woken for what it has
 * to do, where the clock would hide that it is not.
 *
 * Install it before the library starts that thread. A nap is counted before it begins: who has seen the number grow
 * knows that the thread has looked, and means to sleep.
 */
#ifndef COLOCK_TEST_NAPS_H
#define COLOCK_TEST_NAPS_H

#include "support.h"
#include "system.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define NAPS_LONG_NS 100000000

static struct {
  pthread_t test;
  _Atomic long begun;
  _Atomic bool asleep;
  bool endless; /* the long ones: then only a wake-up ends them */
} naps;

static inline int naps_wait(uint32_t *word, uint32_t expected, const struct timespec *relative) {
  if (pthread_equal(pthread_self(), naps.test)) return colockp_system_default.futex_wait(word, expected, relative);
  bool is_long = relative != NULL && (relative->tv_sec > 0 || relative->tv_nsec > NAPS_LONG_NS);
  naps.asleep = true;
  naps.begun++;
  int result = colockp_system_default.futex_wait(word, expected, naps.endless && is_long ? NULL : relative);
  int saved = errno;
  naps.asleep = false;
  errno = saved;
  return result;
}

/* endless: it sleeps, for what is due later than that, until it is woken: what would be found by a look now and then is
 * never found. */
static inline void naps_install(bool endless) {
  naps.test = pthread_self();
  naps.begun = 0;
  naps.asleep = false;
  naps.endless = endless;
  colockp_system.futex_wait = naps_wait;
}

/* Until another one has begun than those before. */
static inline void naps_await(long before) { await_that(naps.begun > before); }

#endif

/* boost.c - Boost.Interprocess's file_lock; see boost.cc. */
#define _GNU_SOURCE
#include "peer.h"
#include "measure.h"

#ifdef HAVE_BOOST
#include <fcntl.h>
#include <unistd.h>

void *boost_open(const char *path);
void boost_lock(void *lock, int exclusive);
void boost_unlock(void *lock);
void boost_close(void *lock);

static void enter(struct party *party, const struct run *run, int index) {
  (void)run;
  (void)index;
  close(open(THEIRS, O_RDWR | O_CREAT | O_CLOEXEC, 0600)); /* it wants a file that is there */
  party->state = boost_open(THEIRS);
}

static void take(struct party *party, int mode) { boost_lock(party->state, mode == COLOCK_EXCLUSIVE); }

static void give(struct party *party) { boost_unlock(party->state); }

static void leave(struct party *party) { boost_close(party->state); }

const struct contender boost_peer = {
  .name = "Boost file_lock", .open = enter, .lock = take, .unlock = give, .close = leave
};

#else
static const char *missing(void) {
  return "configure found no Boost.Interprocess, or no C++ compiler (Debian: libboost-dev, g++)";
}
const struct contender boost_peer = { .name = "Boost file_lock", .missing = missing };
#endif

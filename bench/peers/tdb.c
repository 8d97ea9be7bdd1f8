/* tdb.c - chain locks of tdb. */
#include "peer.h"
#include "measure.h"

#ifdef HAVE_TDB
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <tdb.h>

static TDB_DATA key = { .dptr = (unsigned char *)"lock", .dsize = 4 };

static void prepare(const struct run *run) {
  (void)run;
  struct tdb_context *tdb = tdb_open(THEIRS, 0, TDB_DEFAULT, O_RDWR | O_CREAT, 0600);
  if (!tdb)
    die("tdb");
  tdb_close(tdb);
}

static void enter(struct party *party, const struct run *run, int index) {
  (void)run;
  (void)index;
  party->state = tdb_open(THEIRS, 0, TDB_DEFAULT, O_RDWR, 0600);
  if (!party->state)
    die("tdb");
}

static void take(struct party *party, int mode) {
  party->fd = mode;
  if ((mode == COLOCK_SHARED ? tdb_chainlock_read(party->state, key) : tdb_chainlock(party->state, key)) != 0)
    die("tdb");
}

static void give(struct party *party) {
  int mode = party->fd;
  if ((mode == COLOCK_SHARED ? tdb_chainunlock_read(party->state, key) : tdb_chainunlock(party->state, key)) != 0)
    die("tdb");
}

static void leave(struct party *party) { tdb_close(party->state); }

const struct contender tdb_peer = {
  .name = "tdb chain lock", .prepare = prepare, .open = enter, .lock = take, .unlock = give, .close = leave
};

#else
static const char *missing(void) { return "configure found no tdb (Debian: libtdb-dev)"; }
const struct contender tdb_peer = { .name = "tdb chain lock", .missing = missing };
#endif

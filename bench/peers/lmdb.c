/* lmdb.c - transactions of LMDB that read or write nothing. Its readers keep nobody waiting and wait for nobody. */
#include "peer.h"
#include "measure.h"

#ifdef HAVE_LMDB
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>

struct state {
  MDB_env *env;
  MDB_txn *reader, *writer;
  int mode;
};

static void must(int code) {
  if (code) {
    errno = code > 0 ? code : EIO;
    die("LMDB");
  }
}

static MDB_env *open_environment(void) {
  MDB_env *env;
  must(mdb_env_create(&env));
  must(mdb_env_set_maxreaders(env, 2000));
  must(mdb_env_open(env, THEIRS, MDB_NOSUBDIR | MDB_NOTLS, 0600));
  return env;
}

static void prepare(const struct run *run) {
  (void)run;
  mdb_env_close(open_environment());
}

static void enter(struct party *party, const struct run *run, int index) {
  struct state *state = calloc(1, sizeof *state);
  (void)run;
  (void)index;
  if (!state)
    die("calloc");
  state->env = open_environment();
  must(mdb_txn_begin(state->env, NULL, MDB_RDONLY, &state->reader)); /* used again, as its manual advises */
  mdb_txn_reset(state->reader);
  party->state = state;
}

static void take(struct party *party, int mode) {
  struct state *state = party->state;
  state->mode = mode;
  must(mode == COLOCK_SHARED ? mdb_txn_renew(state->reader) : mdb_txn_begin(state->env, NULL, 0, &state->writer));
}

static void give(struct party *party) {
  struct state *state = party->state;
  if (state->mode == COLOCK_SHARED)
    mdb_txn_reset(state->reader);
  else
    mdb_txn_abort(state->writer);
}

static void leave(struct party *party) {
  struct state *state = party->state;
  mdb_txn_abort(state->reader);
  mdb_env_close(state->env);
  free(state);
}

const struct contender lmdb_peer = {
  .name = "LMDB transaction", .remark = "readers see a snapshot: they exclude no writer",
  .prepare = prepare, .open = enter, .lock = take, .unlock = give, .close = leave
};

#else
static const char *missing(void) { return "configure found no lmdb (Debian: liblmdb-dev)"; }
const struct contender lmdb_peer = { .name = "LMDB transaction", .missing = missing };
#endif

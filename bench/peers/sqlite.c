/* sqlite.c - transactions of SQLite, with a rollback journal, that read one row or write nothing. */
#include "peer.h"
#include "measure.h"

#ifdef HAVE_SQLITE
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { BEGIN, BEGIN_EXCLUSIVE, READ, ROLLBACK, STATEMENTS };

struct state {
  sqlite3 *db;
  sqlite3_stmt *statements[STATEMENTS];
};

static _Noreturn void fail(sqlite3 *db) {
  fprintf(stderr, "SQLite: %s\n", sqlite3_errmsg(db));
  exit(71);
}

static sqlite3 *open_database(void) {
  sqlite3 *db;
  if (sqlite3_open(THEIRS, &db) != SQLITE_OK || sqlite3_busy_timeout(db, 600000) != SQLITE_OK)
    fail(db);
  return db;
}

static void prepare(const struct run *run) {
  (void)run;
  sqlite3 *db = open_database();
  if (sqlite3_exec(db, "create table t (x integer); insert into t values (1)", NULL, NULL, NULL) != SQLITE_OK)
    fail(db);
  sqlite3_close(db);
}

static void enter(struct party *party, const struct run *run, int index) {
  static const char *const texts[] = { "begin", "begin exclusive", "select x from t", "rollback" };
  struct state *state = calloc(1, sizeof *state);
  (void)run;
  (void)index;
  if (!state)
    die("calloc");
  state->db = open_database();
  for (int i = 0; i < STATEMENTS; i++)
    if (sqlite3_prepare_v2(state->db, texts[i], -1, &state->statements[i], NULL) != SQLITE_OK)
      fail(state->db);
  party->state = state;
}

static void step(struct state *state, int which) {
  int code = sqlite3_step(state->statements[which]);
  if (code != SQLITE_DONE && code != SQLITE_ROW)
    fail(state->db);
  sqlite3_reset(state->statements[which]);
}

static void take(struct party *party, int mode) {
  step(party->state, mode == COLOCK_EXCLUSIVE ? BEGIN_EXCLUSIVE : BEGIN);
  if (mode == COLOCK_SHARED)
    step(party->state, READ);
}

static void give(struct party *party) { step(party->state, ROLLBACK); }

static void leave(struct party *party) {
  struct state *state = party->state;
  for (int i = 0; i < STATEMENTS; i++)
    sqlite3_finalize(state->statements[i]);
  sqlite3_close(state->db);
  free(state);
}

const struct contender sqlite_peer = {
  .name = "SQLite begin, rollback", .prepare = prepare, .open = enter, .lock = take, .unlock = give, .close = leave
};

#else
static const char *missing(void) { return "configure found no sqlite3 (Debian: libsqlite3-dev)"; }
const struct contender sqlite_peer = { .name = "SQLite begin, rollback", .missing = missing };
#endif

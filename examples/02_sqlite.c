/* sqlite FILE: two processes add 100 rows each to the SQLite database FILE, whose own locking is off (nolock=1) */
#include <colock.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct shared {
  colock *lock;
  sqlite3 *db;
};

/* Opening the database reads nothing yet, so that needs no hold; the first statement does. */
static int open_shared(struct shared *s, const char *file) {
  char uri[4200];
  snprintf(uri, sizeof uri, "file:%s?nolock=1", file);
  if (colock_open_for(&s->lock, file, NULL)) return fprintf(stderr, "%s\n", colock_last_message()), 1;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  if (sqlite3_open_v2(uri, &s->db, flags, NULL) == SQLITE_OK) return 0;
  return fprintf(stderr, "%s: %s\n", file, sqlite3_errmsg(s->db)), 1;
}

static int print_row(void *arg, int count, char **values, char **names) {
  (void)arg, (void)names;
  for (int i = 0; i < count; i++) printf("%s\n", values[i]);
  return 0;
}

/* One hold covers a whole transaction. */
static int run(struct shared *s, int mode, const char *sql) {
  colock_hold *hold = NULL;
  if (colock_acquire(s->lock, mode, &hold)) return fprintf(stderr, "%s\n", colock_last_message()), 1;
  if (mode == COLOCK_EXCLUSIVE && colock_abandoned(hold)) /* a writer died half way: SQLite rolls back what it left */
    if (!sqlite3_exec(s->db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL)) colock_recovered(hold);
  int failed = sqlite3_exec(s->db, sql, print_row, NULL, NULL);
  if (failed) fprintf(stderr, "%s\n", sqlite3_errmsg(s->db));
  return colock_release(hold) || failed;
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: sqlite FILE\n"), 64;
  pid_t child = fork(); /* before anything is opened: a connection must not be used in two processes */
  struct shared s = {NULL, NULL};
  int status = 0;
  int failed = child < 0 || open_shared(&s, argv[1]) ||
               run(&s, COLOCK_EXCLUSIVE, "CREATE TABLE IF NOT EXISTS entry (pid INTEGER)");
  char sql[100];
  snprintf(sql, sizeof sql, "INSERT INTO entry VALUES (%d)", (int)getpid());
  for (int i = 0; i < 100 && !failed; i++) failed = run(&s, COLOCK_EXCLUSIVE, sql);
  if (child > 0 && waitpid(child, &status, 0) == child && !failed)
    failed = run(&s, COLOCK_SHARED, "SELECT count(*) FROM entry");
  sqlite3_close(s.db);
  colock_close(s.lock);
  return failed || status;
}

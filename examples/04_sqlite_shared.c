/* 04_sqlite_shared.c - several processes share one SQLite database whose own locking is off; colock alone guards it.
 *
 *   sqlite_shared [-t SECONDS] [-w WRITERS] [-r READERS] [-1] [DIRECTORY]
 *
 * Writers and readers work as fast as they can. One writer is killed in the middle of a transaction. At the end the
 * rows in the database are counted against those that the writers committed. Then the same load runs without colock
 * (-1: it does not). Exit status: 0 the guarded run was exact, 1 it was not, 2 it could not be run.
 *
 * What makes sharing right, beside the lock:
 * - One hold covers one whole transaction, and every statement is reset before the hold ends, so that SQLite looks at
 *   the file's change counter when the next one begins.
 * - A killed writer leaves a journal that must be rolled back before anybody reads, by one process alone. colock
 *   tells the next holders that a writer was abandoned; whoever has an exclusive hold lets SQLite roll back, then says
 *   that it has recovered.
 * - The first statement of a connection is under a hold too, even a PRAGMA: it reads the file, and would take a live
 *   writer's journal for one that was left behind.
 * - A connection is never carried across fork.
 */
#include <colock.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_WORKERS = 64, ROWS = 5, VICTIM_ROWS = 3000, WAIT_MS = 20000, GRACE_MS = 25000 };

/* What a worker tells its parent: one write, smaller than PIPE_BUF, so that it arrives whole or not at all. */
enum kind { COMMITTED, READ, TORN, FAILED, INSIDE, TOLD, RECOVERED };
struct message {
  enum kind kind;
  int from;
  int64_t rows;   /* COMMITTED, INSIDE */
  uint64_t token; /* INSIDE: the hold that will be killed */
  char text[100]; /* FAILED */
};

struct worker {
  int number;
  bool writes, victim, guarded;
  const char *database, *lock_file;
  int out, stay;       /* ends of pipes: messages; never written, closed when the parent dies */
  int64_t stop, die;   /* when to stop; when the victim begins its last transaction */
  int64_t committed;   /* rows of this worker so far */
  sqlite3 *sqlite;
  colock *lock;
  colock_hold *hold;
};

struct run { /* what the parent knows of one run */
  bool guarded, on_terminal;
  char database[4096], lock_file[4096];
  int workers, writers, victim;
  pid_t pid[MAX_WORKERS];
  int64_t begun, killed_at, next_line;
  int64_t rows[MAX_WORKERS], reads, torn, failed, told, recovered, transactions;
  int64_t told_after_ms;
  pid_t recoverer;
  uint64_t killed_token;
  int died, endless;
  char first_failure[100];
};

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void die(const char *what) {
  fprintf(stderr, "sqlite_shared: %s\n", what);
  exit(2);
}

/* ---- a worker ---- */

static void say(struct worker *w, enum kind kind, int64_t rows, uint64_t token, const char *text) {
  struct message m = {.kind = kind, .from = w->number, .rows = rows, .token = token};
  if (text) snprintf(m.text, sizeof m.text, "%s", text);
  if (write(w->out, &m, sizeof m) != (ssize_t)sizeof m) _exit(3);
}

static int sql(struct worker *w, const char *text) {
  return sqlite3_exec(w->sqlite, text, NULL, NULL, NULL);
}

static int past_the_end(void *arg) { /* a broken database may keep a statement busy for ever */
  return now_ms() > *(int64_t *)arg + GRACE_MS / 2;
}

/* Opens the file, and no more: the first statement, be it a PRAGMA, reads it, so that one needs a hold. */
static int connect_database(struct worker *w) {
  char uri[4200];
  snprintf(uri, sizeof uri, "file:%s?nolock=1", w->database);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  if (sqlite3_open_v2(uri, &w->sqlite, flags, NULL) != SQLITE_OK) return 1;
  if (w->stop) sqlite3_progress_handler(w->sqlite, 100000, past_the_end, &w->stop);
  return 0;
}

/* A killed process loses nothing that it wrote, so no fsync is needed; a power failure is not part of this show. */
static int set_up_connection(struct worker *w) {
  return sql(w, "PRAGMA synchronous = OFF");
}

static int acquire(struct worker *w, int mode) {
  char purpose[40];
  snprintf(purpose, sizeof purpose, "%s %d", w->writes ? "writer" : "reader", w->number);
  colock_request request;
  colock_request_init(&request, sizeof request, mode);
  request.timeout_ms = WAIT_MS;
  request.purpose = purpose;
  int code = colock_acquire_with(w->lock, &request, &w->hold);
  if (code) say(w, FAILED, 0, 0, colock_last_message());
  return code;
}

static int leave(struct worker *w) {
  if (!w->guarded) return 0;
  int code = colock_release(w->hold);
  if (code) say(w, FAILED, 0, 0, colock_last_message());
  return code;
}

/* Get a hold. When a writer was killed in one: let SQLite roll its transaction back, under an exclusive hold. */
static int enter(struct worker *w, int mode) {
  if (!w->guarded) return 0;
  int code = acquire(w, mode);
  while (!code && colock_abandoned(w->hold)) {
    say(w, TOLD, 0, 0, NULL);
    if (mode == COLOCK_SHARED) {
      if ((code = leave(w)) || (code = acquire(w, COLOCK_EXCLUSIVE))) return code;
    }
    if (colock_abandoned(w->hold)) { /* nobody was faster */
      if (sql(w, "BEGIN IMMEDIATE; ROLLBACK")) say(w, FAILED, 0, 0, sqlite3_errmsg(w->sqlite));
      else if (colock_recovered(w->hold)) say(w, FAILED, 0, 0, colock_last_message());
      else say(w, RECOVERED, 0, 0, NULL);
    }
    if (mode == COLOCK_EXCLUSIVE) break;
    if ((code = leave(w)) || (code = acquire(w, mode))) return code;
  }
  return code;
}

static int insert(struct worker *w, sqlite3_stmt *statement, int64_t count) {
  for (int64_t i = 1; i <= count; i++) {
    sqlite3_bind_int(statement, 1, w->number);
    sqlite3_bind_int64(statement, 2, w->committed + i);
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) return code;
  }
  return SQLITE_OK;
}

/* The victim's last transaction: pages of it are in the database file when it says so, and then it is killed. */
static void wait_for_death(struct worker *w, sqlite3_stmt *statement) {
  if (sql(w, "PRAGMA cache_size = 10") || sql(w, "BEGIN IMMEDIATE") || sql(w, "UPDATE total SET rows = -1") ||
      insert(w, statement, VICTIM_ROWS))
    say(w, FAILED, 0, 0, sqlite3_errmsg(w->sqlite));
  say(w, INSIDE, VICTIM_ROWS, w->guarded ? colock_token(w->hold) : 0, NULL);
  char byte;
  if (read(w->stay, &byte, 1) == 0) _exit(3); /* the parent died first */
}

static void write_rows(struct worker *w) {
  static const char text[] = "INSERT INTO entry (writer, number, filler) VALUES (?, ?, randomblob(40))";
  sqlite3_stmt *statement = NULL;
  while (w->victim || now_ms() < w->stop) {
    if (enter(w, COLOCK_EXCLUSIVE)) return;
    if (!statement) sqlite3_prepare_v2(w->sqlite, text, -1, &statement, NULL);
    if (w->victim && now_ms() >= w->die) wait_for_death(w, statement);
    if (!statement || sql(w, "BEGIN IMMEDIATE") || insert(w, statement, ROWS) ||
        sql(w, "UPDATE total SET rows = rows + 5") || sql(w, "COMMIT")) {
      say(w, FAILED, 0, 0, sqlite3_errmsg(w->sqlite));
      sql(w, "ROLLBACK");
    } else {
      w->committed += ROWS;
      say(w, COMMITTED, ROWS, 0, NULL);
    }
    if (leave(w)) return;
  }
  sqlite3_finalize(statement);
}

/* Within one hold the two numbers must agree, or this reader saw somebody's work half done. */
static void read_rows(struct worker *w) {
  static const char text[] = "SELECT rows, (SELECT count(*) FROM entry) FROM total";
  while (now_ms() < w->stop) {
    sqlite3_stmt *statement = NULL;
    if (enter(w, COLOCK_SHARED)) return;
    int code = sqlite3_prepare_v2(w->sqlite, text, -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    if (code != SQLITE_ROW) say(w, FAILED, 0, 0, sqlite3_errmsg(w->sqlite));
    else say(w, sqlite3_column_int64(statement, 0) == sqlite3_column_int64(statement, 1) ? READ : TORN, 0, 0, NULL);
    sqlite3_finalize(statement);
    if (leave(w)) return;
  }
}

/* With the defaults, whatever the user has configured. */
static int open_lock(struct worker *w) {
  colock_config *config = NULL;
  int code = colock_config_new(&config);
  if (!code) code = colock_open(&w->lock, w->lock_file, config);
  colock_config_free(config);
  return code;
}

static void work(struct worker *w) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (w->guarded && open_lock(w)) {
    say(w, FAILED, 0, 0, colock_last_message());
    _exit(3);
  }
  if (connect_database(w)) die(sqlite3_errmsg(w->sqlite));
  if (enter(w, COLOCK_SHARED)) _exit(3);
  if (set_up_connection(w)) say(w, FAILED, 0, 0, sqlite3_errmsg(w->sqlite));
  if (leave(w)) _exit(3);
  if (w->writes) write_rows(w);
  else read_rows(w);
  sqlite3_close(w->sqlite);
  if (w->guarded) colock_close(w->lock);
  _exit(0);
}

/* ---- the parent ---- */

static void create_database(struct run *run) {
  struct worker w = {.database = run->database};
  if (connect_database(&w) || set_up_connection(&w) ||
      sql(&w, "CREATE TABLE entry (id INTEGER PRIMARY KEY, writer INTEGER, number INTEGER, filler BLOB);"
              "CREATE INDEX by_writer ON entry (writer, number);"
              "CREATE TABLE total (rows INTEGER); INSERT INTO total VALUES (0)"))
    die(sqlite3_errmsg(w.sqlite));
  sqlite3_close(w.sqlite);
}

static void print_line(const struct run *run, const char *format, ...) {
  va_list list;
  va_start(list, format);
  printf("%s  %4.1f s  ", run->on_terminal ? "\r\033[K" : "", (double)(now_ms() - run->begun) / 1000);
  vprintf(format, list);
  va_end(list);
}

static void print_status(struct run *run) {
  colock_report *report = NULL;
  int64_t rows = 0;
  for (int i = 0; i < run->workers; i++) rows += run->rows[i];
  if (colock_report_read(run->lock_file, &report)) return;
  print_line(run, "%6lld rows; ", (long long)rows);
  int holders = 0;
  int waiters = 0;
  for (size_t i = 0; i < colock_report_count(report); i++) {
    const colock_entry *entry = colock_report_entry(report, i);
    if (colock_entry_number(entry, COLOCK_ROLE) == COLOCK_WAITER) waiters++;
    if (colock_entry_number(entry, COLOCK_ROLE) != COLOCK_HOLDER) continue;
    const char *purpose = colock_entry_text(entry, COLOCK_PURPOSE);
    printf("%s%s[%lld]", holders++ ? ", " : "held by ", purpose ? purpose : "?",
           (long long)colock_entry_number(entry, COLOCK_PID));
  }
  printf("%s; %d waiting%s", holders ? "" : "free", waiters, run->on_terminal ? "" : "\n");
  fflush(stdout);
  colock_report_free(report);
}

static void kill_victim(struct run *run, const struct message *m) {
  char journal[4200];
  char left[60] = "no journal";
  struct stat st;
  snprintf(journal, sizeof journal, "%s-journal", run->database);
  if (stat(journal, &st) == 0) snprintf(left, sizeof left, "a journal of %lld bytes", (long long)st.st_size);
  run->killed_token = m->token;
  run->killed_at = now_ms();
  kill(run->pid[m->from], SIGKILL);
  print_line(run, "writer %d [%d] killed with SIGKILL, %lld rows into a transaction, leaving %s\n", m->from,
             (int)run->pid[m->from], (long long)m->rows, left);
}

static void heard(struct run *run, const struct message *m) {
  switch (m->kind) {
  case COMMITTED: run->rows[m->from] += m->rows; run->transactions++; break;
  case READ: run->reads++; break;
  case TORN: run->torn++; break;
  case FAILED:
    if (!run->failed++) memcpy(run->first_failure, m->text, sizeof run->first_failure);
    break;
  case INSIDE: kill_victim(run, m); break;
  case TOLD:
    if (!run->told++) run->told_after_ms = now_ms() - run->killed_at;
    break;
  case RECOVERED:
    run->recovered++;
    run->recoverer = run->pid[m->from];
    break;
  }
}

/* Listen until the last worker has closed its end. */
static void listen_to(struct run *run, int in, int64_t limit) {
  struct pollfd p = {.fd = in, .events = POLLIN};
  for (;;) {
    int64_t left = limit - now_ms();
    if (left < 0 && !run->endless) {
      run->endless = 1;
      for (int i = 0; i < run->workers; i++) kill(run->pid[i], SIGKILL); /* not yet waited for: still ours */
    }
    if (poll(&p, 1, 50) < 0 && errno != EINTR) die("poll failed");
    if (p.revents) {
      struct message m;
      ssize_t got = read(in, &m, sizeof m);
      if (got == 0) return;
      if (got == (ssize_t)sizeof m) heard(run, &m);
    }
    if (run->guarded && now_ms() >= run->next_line) {
      print_status(run);
      run->next_line = now_ms() + (run->on_terminal ? 100 : 1000);
    }
  }
}

static void run_load(struct run *run, int seconds) {
  int messages[2];
  int stay[2];
  if (pipe(messages) || pipe(stay)) die("no pipe");
  run->begun = now_ms();
  int64_t stop = run->begun + (int64_t)seconds * 1000;
  fflush(stdout);
  for (int i = 0; i < run->workers; i++) {
    run->pid[i] = fork();
    if (run->pid[i] < 0) die("no process");
    if (run->pid[i]) continue;
    close(messages[0]);
    close(stay[1]);
    struct worker w = {.number = i, .writes = i < run->writers, .victim = i == run->victim, .guarded = run->guarded,
                       .database = run->database, .lock_file = run->lock_file, .out = messages[1], .stay = stay[0],
                       .stop = stop, .die = run->begun + (int64_t)seconds * 400};
    work(&w);
  }
  close(messages[1]);
  close(stay[0]);
  listen_to(run, messages[0], stop + GRACE_MS);
  close(messages[0]);
  close(stay[1]);
  for (int i = 0; i < run->workers; i++) {
    int status;
    if (waitpid(run->pid[i], &status, 0) > 0 && WIFSIGNALED(status) && i != run->victim) run->died++;
  }
  if (run->on_terminal) printf("\r\033[K");
}

static int64_t number_of(sqlite3 *sqlite, const char *query, int writer) {
  sqlite3_stmt *statement = NULL;
  int64_t n = -1;
  if (sqlite3_prepare_v2(sqlite, query, -1, &statement, NULL) == SQLITE_OK) {
    sqlite3_bind_int(statement, 1, writer);
    if (sqlite3_step(statement) == SQLITE_ROW) n = sqlite3_column_int64(statement, 0);
  }
  sqlite3_finalize(statement);
  return n;
}

static bool print_integrity(sqlite3 *sqlite) {
  sqlite3_stmt *statement = NULL;
  const char *text = NULL;
  if (sqlite3_prepare_v2(sqlite, "PRAGMA integrity_check(1)", -1, &statement, NULL) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW)
    text = (const char *)sqlite3_column_text(statement, 0);
  if (!text) text = sqlite3_errmsg(sqlite);
  bool good = strcmp(text, "ok") == 0;
  if (text[0] == '*' && strchr(text, '\n')) text = strchr(text, '\n') + 1; /* past "*** in database main ***" */
  printf("  integrity_check   %.*s\n", (int)strcspn(text, "\n"), text);
  sqlite3_finalize(statement);
  return good;
}

/* Count what is in the database against what the writers said they committed. */
static bool print_result(struct run *run) {
  struct worker w = {.database = run->database};
  if (connect_database(&w)) die(sqlite3_errmsg(w.sqlite));
  bool exact = print_integrity(w.sqlite);
  int64_t committed = 0;
  int wrong = 0;
  for (int i = 0; i < run->writers; i++) {
    committed += run->rows[i];
    if (number_of(w.sqlite, "SELECT count(*) FROM entry WHERE writer = ?", i) != run->rows[i] ||
        number_of(w.sqlite, "SELECT count(DISTINCT number) FROM entry WHERE writer = ?", i) != run->rows[i])
      wrong++;
  }
  int64_t rows = number_of(w.sqlite, "SELECT count(*) FROM entry NOT INDEXED", 0);
  int64_t total = number_of(w.sqlite, "SELECT rows FROM total", 0);
  sqlite3_close(w.sqlite);
  printf("  rows              ");
  if (rows < 0) printf("cannot be counted");
  else printf("%lld found", (long long)rows);
  printf(", %lld committed in %lld transactions; of %d writers %d find a wrong number of theirs\n",
         (long long)committed, (long long)run->transactions, run->writers, wrong);
  printf("  readers           %lld good reads, %lld of a half-done change\n", (long long)run->reads,
         (long long)run->torn);
  printf("  errors            %lld%s%s", (long long)run->failed, run->failed ? ", first: " : "", run->first_failure);
  printf(run->died ? "; %d processes crashed\n" : "\n", run->died);
  if (run->endless) printf("  some processes had to be stopped\n");
  return exact && rows > 0 && rows == committed && rows == total && !wrong && !run->torn && !run->failed &&
         !run->died && !run->endless;
}

static bool print_killed(const struct run *run) {
  if (!run->killed_at) {
    printf("  killed writer     none: it never got to its last transaction\n");
    return false;
  }
  printf("  killed writer     writer %d [%d], fencing token %llu\n", run->victim, (int)run->pid[run->victim],
         (unsigned long long)run->killed_token);
  if (!run->told) {
    printf("  colock            said nothing of it\n");
    return false;
  }
  printf("  colock            told the next holder %lld ms after the kill: abandoned (%lld holds saw it);\n"
         "                    process [%d] rolled back under an exclusive hold and said recovered\n",
         (long long)run->told_after_ms, (long long)run->told, (int)run->recoverer);
  return run->recovered == 1;
}

static bool one_run(const char *directory, bool guarded, int writers, int readers, int seconds) {
  struct run run = {.guarded = guarded, .on_terminal = isatty(STDOUT_FILENO), .workers = writers + readers,
                    .writers = writers, .victim = writers - 1};
  const char *name = guarded ? "guarded" : "unguarded";
  snprintf(run.database, sizeof run.database, "%s/%s.db", directory, name);
  snprintf(run.lock_file, sizeof run.lock_file, "%s/%s.db.lock", directory, name);
  create_database(&run);
  if (guarded) printf("\nGUARDED BY COLOCK\n");
  else printf("\nWITHOUT ANY LOCK (the same load, to show what colock is for; damage is expected here)\n");
  run_load(&run, seconds);
  bool exact = print_result(&run);
  if (guarded && !print_killed(&run)) exact = false;
  return exact;
}

static void clean(const char *directory) {
  static const char *const names[] = {"guarded.db", "guarded.db.lock", "guarded.db-journal", "unguarded.db",
                                      "unguarded.db-journal"};
  char path[4200];
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    snprintf(path, sizeof path, "%s/%s", directory, names[i]);
    unlink(path);
  }
}

int main(int argc, char **argv) {
  int seconds = 4;
  int writers = 4;
  int readers = 3;
  bool once = false;
  for (int option; (option = getopt(argc, argv, "t:w:r:1")) != -1;) {
    if (option == 't') seconds = atoi(optarg);
    else if (option == 'w') writers = atoi(optarg);
    else if (option == 'r') readers = atoi(optarg);
    else if (option == '1') once = true;
    else return 2;
  }
  if (seconds < 1 || writers < 2 || readers < 0 || writers + readers > MAX_WORKERS)
    die("at least 1 second and 2 writers; at most 64 processes");
  char fresh[] = "/tmp/colock-sqlite.XXXXXX";
  const char *directory = optind < argc ? argv[optind] : mkdtemp(fresh);
  if (!directory) die("no directory");
  clean(directory);
  printf("%d writers and %d readers, each a process, share one SQLite database for %d s; its own locking is off.\n",
         writers, readers, seconds);
  bool guarded = one_run(directory, true, writers, readers, seconds);
  bool unguarded = once ? false : one_run(directory, false, writers, readers, seconds);
  if (directory == fresh) {
    clean(directory);
    rmdir(directory);
  }
  printf("\nwith colock: %s\n",
         guarded ? "exact; nothing lost, nothing torn, the killed writer's half transaction undone" : "NOT EXACT");
  if (!once) printf("without:     %s\n", unguarded ? "exact too, this time: luck" : "damaged, as expected");
  return guarded ? 0 : 1;
}

/* tasks - a list of tasks that a server keeps open and that commands share with it
 *
 *   tasks serve          answer over a socket until SIGTERM or SIGINT; the database stays open in between
 *   tasks [-d] add TEXT  through the server if there is one; without one, or with -d, the database is opened here
 *   tasks [-d] list
 *   tasks lock-status    who has the lock, who waits for it
 *
 * In the directory where it is started: tasks.db (SQLite, its own locking off), tasks.db.lock, tasks.sock. The server
 * keeps the lock together with the open database; as soon as somebody else wants it, suspend() closes the database. */
#define _GNU_SOURCE
#include <colock.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE_MOST = 4096 };

/* ---- the database: what the store calls ---- */

struct database {
  sqlite3 *db; /* NULL: not open */
};

static int shut(void *context) { /* close, and suspend */
  struct database *d = context;
  int code = sqlite3_close(d->db);
  if (code == SQLITE_OK) d->db = NULL;
  return code;
}

static int open_anew(void *context) { /* open, and refresh: it may be open still, if the lock was forced from us */
  struct database *d = context;
  int code = shut(d);
  return code ? code : sqlite3_open_v2("file:tasks.db?nolock=1", &d->db,
                                       SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
}

static int migrate(void *context) {
  struct database *d = context;
  return sqlite3_exec(d->db, "CREATE TABLE IF NOT EXISTS task (id INTEGER PRIMARY KEY, text TEXT)", NULL, NULL, NULL);
}

static int recover(void *context) { /* SQLite rolls back what a dead writer left; it needs the file for itself */
  struct database *d = context;
  return sqlite3_exec(d->db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL);
}

static const colock_store_ops ops = {.size = sizeof ops, .open = open_anew, .migrate = migrate, .refresh = open_anew,
                                     .suspend = shut, .close = shut, .recover = recover};

/* ---- operations on it ---- */

struct request {
  const char *text; /* of a new task */
  FILE *out;        /* for the answer */
};

static int add(void *context, void *arg) {
  struct database *d = context;
  struct request *r = arg;
  sqlite3_stmt *s = NULL;
  int code = sqlite3_prepare_v2(d->db, "INSERT INTO task (text) VALUES (?)", -1, &s, NULL);
  if (!code) sqlite3_bind_text(s, 1, r->text, -1, SQLITE_STATIC);
  if (!code && sqlite3_step(s) == SQLITE_DONE) fprintf(r->out, "%lld\n", (long long)sqlite3_last_insert_rowid(d->db));
  return code ? code : sqlite3_finalize(s); /* which tells whether the step went well */
}

static int list(void *context, void *arg) {
  struct database *d = context;
  struct request *r = arg;
  sqlite3_stmt *s = NULL;
  int code = sqlite3_prepare_v2(d->db, "SELECT id, text FROM task ORDER BY id", -1, &s, NULL);
  while (!code && sqlite3_step(s) == SQLITE_ROW)
    fprintf(r->out, "%d %s\n", sqlite3_column_int(s, 0), (const char *)sqlite3_column_text(s, 1));
  return code ? code : sqlite3_finalize(s);
}

/* "add TEXT" or "list", in the server or in the command itself: it makes no difference. */
static int perform(colock_store *store, const char *line, FILE *out) {
  int adds = strncmp(line, "add ", 4) == 0, result = 0;
  struct request r = {.text = adds ? line + 4 : NULL, .out = out};
  int code = adds ? colock_store_write(store, add, &r, &result) : colock_store_read(store, list, &r, &result);
  if (code) fprintf(out, "%s\n", colock_last_message());
  else if (result) fprintf(out, "tasks.db: %s\n", sqlite3_errstr(result));
  return code || result;
}

static int open_store(struct database *d, int keep, colock **lock, colock_store **store) {
  colock_config *config = NULL;
  int code = colock_config_new(&config);
  if (!code) code = colock_config_load(config, NULL);
  if (!code) code = colock_config_env(config);
  if (!code && keep) code = colock_config_set(config, "auto_release", "true");
  if (!code && keep) code = colock_config_set(config, "idle_timeout", "1h");
  if (!code) code = colock_open_for(lock, "tasks.db", config);
  if (!code) code = colock_store_open(store, *lock, &ops, d, NULL);
  if (code) fprintf(stderr, "%s\n", colock_last_message());
  if (code) colock_close(*lock);
  colock_config_free(config);
  return code;
}

static int close_store(colock_store *store, colock *lock) {
  int code = colock_store_close(store, NULL);
  if (code) fprintf(stderr, "%s\n", colock_last_message());
  colock_close(lock);
  return code != 0;
}

/* ---- the server ---- */

static int open_socket(int (*use)(int fd, const struct sockaddr *name, socklen_t size)) { /* connect, or bind */
  struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "tasks.sock"};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && use(fd, (const struct sockaddr *)&name, sizeof name) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

/* A line comes in; 0 or 1, for whether it failed, and the answer go out. */
static void serve_one(colock_store *store, int fd) {
  char line[LINE_MOST + 1], *text = NULL;
  size_t length = 0;
  const struct timeval patience = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ssize_t size = recv(fd, line, LINE_MOST, MSG_WAITALL);
  FILE *memory = open_memstream(&text, &length), *out = fdopen(fd, "w");
  if (size > 0 && memory && out) {
    line[size] = '\0';
    int failed = perform(store, line, memory);
    fflush(memory);
    fprintf(out, "%d%s", failed, text);
  }
  if (memory) fclose(memory);
  if (out) fclose(out);
  else close(fd);
  free(text);
}

static volatile sig_atomic_t stopped;
static void stop(int signal_number) { stopped = signal_number; }

static int serve(void) {
  struct database d = {NULL};
  colock *lock = NULL;
  colock_store *store = NULL;
  int fd = open_socket(connect);
  if (fd >= 0) return fprintf(stderr, "tasks: there is a server already\n"), close(fd), 1;
  unlink("tasks.sock"); /* a dead server's */
  fd = open_socket(bind);
  if (fd < 0 || listen(fd, 10)) return perror("tasks.sock"), 1;
  sigset_t ending, before;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  sigprocmask(SIG_BLOCK, &ending, &before); /* they come while we wait, and only then */
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGPIPE, SIG_IGN);
  int failed = open_store(&d, 1, &lock, &store) != 0;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  while (!failed && !stopped) {
    if (ppoll(&p, 1, NULL, &before) < 0) continue;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (client >= 0) serve_one(store, client);
  }
  unlink("tasks.sock");
  close(fd);
  return failed || close_store(store, lock);
}

/* ---- commands ---- */

static int ask_server(int fd, const char *line) {
  int failed = 1;
  FILE *in = fdopen(fd, "r");
  if (in && send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line) && !shutdown(fd, SHUT_WR)) {
    failed = fgetc(in) != '0';
    for (int c; (c = fgetc(in)) != EOF;) fputc(c, failed ? stderr : stdout);
  }
  if (in) fclose(in);
  return failed;
}

static int ask(const char *line, int directly) {
  struct database d = {NULL};
  colock *lock = NULL;
  colock_store *store = NULL;
  int fd = directly ? -1 : open_socket(connect);
  if (fd >= 0) return ask_server(fd, line);
  if (open_store(&d, 0, &lock, &store)) return 75;
  int failed = perform(store, line, stdout);
  return close_store(store, lock) || failed;
}

static int lock_status(void) {
  colock_report *report = NULL;
  int code = colock_report_read("tasks.db.lock", &report);
  if (code == COLOCK_ENOENT) return puts("not used yet"), 0;
  if (code) return fprintf(stderr, "%s\n", colock_last_message()), 1;
  for (size_t i = 0; i < colock_report_count(report); i++) {
    const colock_entry *e = colock_report_entry(report, i);
    const char *role = colock_entry_text(e, COLOCK_ROLE), *mode = colock_entry_text(e, COLOCK_MODE);
    printf("%s, %s: %lld, for %lld ms\n", role ? role : "?", mode ? mode : "?",
           (long long)colock_entry_number(e, COLOCK_PID), (long long)colock_entry_number(e, COLOCK_AGE_MS));
  }
  if (colock_report_count(report) == 0) puts("free");
  colock_report_free(report);
  return 0;
}

int main(int argc, char **argv) {
  int directly = argc > 1 && strcmp(argv[1], "-d") == 0;
  const char *verb = argc > 1 + directly ? argv[1 + directly] : "";
  const char *text = argc > 2 + directly ? argv[2 + directly] : NULL;
  if (strcmp(verb, "serve") == 0 && !text) return serve();
  if (strcmp(verb, "lock-status") == 0 && !text) return lock_status();
  if (strcmp(verb, "list") == 0 && !text) return ask("list", directly);
  char line[LINE_MOST];
  if (strcmp(verb, "add") == 0 && text && strlen(text) < sizeof line - 4) {
    snprintf(line, sizeof line, "add %s", text);
    return ask(line, directly);
  }
  fprintf(stderr, "usage: tasks serve | lock-status | [-d] add TEXT | [-d] list\n");
  return 64;
}

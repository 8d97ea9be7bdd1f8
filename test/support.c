/* support.c - fixtures and helpers of every suite. See support.h. */
#define _GNU_SOURCE
#include "support.h"

#include "agent.h"
#include "clock.h"
#include "log.h"
#include "system.h"
#include "tracker.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef COLOCK_TEST_HELGRIND
#include <valgrind/helgrind.h>
#endif

#define DESCRIPTORS_MAX 1024

static char root[256];       /* of this program's run; removed at its end */
static char directory[320];  /* of this test */
static uint64_t seed;
static bool warm = true;     /* but where COLOCK_TEST_WARM asks for it */

static struct {
  unsigned descriptors;
  unsigned threads;
  char names[DESCRIPTORS_MAX][64];
} baseline;

static struct {
  char text[65536];
  size_t used;
  bool expected;
  int errors;
} logged;

static void on_log(int level, const char *line, void *arg) {
  (void)arg;
  if (level <= COLOCKP_ERROR) logged.errors++;
  int n = snprintf(logged.text + logged.used, sizeof logged.text - logged.used, "%d %s\n", level, line);
  if (n > 0 && (size_t)n < sizeof logged.text - logged.used) logged.used += (size_t)n;
}

void test_expect_errors(void) { logged.expected = true; }
const char *test_log(void) { return logged.text; }

/* ---- baselines ---- */

static unsigned count_entries(const char *path) {
  DIR *d = opendir(path);
  ck_assert_msg(d != NULL, "%s: %s", path, strerror(errno));
  unsigned n = 0;
  for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

unsigned test_descriptors(void) { return count_entries("/proc/self/fd") - 1; /* its own */ }
unsigned test_threads(void) { return count_entries("/proc/self/task"); }

/* Those that are open, and no others: most of a test's instructions would go into a thousand questions. */
static void name_descriptors(char names[][64]) {
  memset(names, 0, DESCRIPTORS_MAX * sizeof names[0]);
  DIR *d = opendir("/proc/self/fd");
  ck_assert_ptr_nonnull(d);
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    int fd = atoi(e->d_name);
    if (e->d_name[0] == '.' || fd == dirfd(d) || fd >= DESCRIPTORS_MAX) continue;
    ssize_t n = readlinkat(dirfd(d), e->d_name, names[fd], 63);
    names[fd][n < 0 ? 0 : n] = '\0';
  }
  closedir(d);
}

static void check_descriptors(void) {
  if (test_descriptors() == baseline.descriptors) return;
  static char now[DESCRIPTORS_MAX][64];
  static char text[4096];
  size_t used = 0;
  name_descriptors(now);
  for (int fd = 0; fd < DESCRIPTORS_MAX && used < sizeof text - 128; fd++) {
    if (strcmp(now[fd], baseline.names[fd]) == 0) continue;
    used += (size_t)snprintf(text + used, sizeof text - used, " %d is \"%s\", was \"%s\";", fd, now[fd],
                             baseline.names[fd]);
  }
  ck_abort_msg("%u descriptors before the test, %u after it:%s", baseline.descriptors, test_descriptors(), text);
}

/* A joined thread leaves /proc a moment after the join: only one that stays is a leak. */
static void check_threads(void) {
  int64_t limit = test_now_ms() + 5000;
  while (test_threads() != baseline.threads && test_now_ms() < limit) sched_yield();
  ck_assert_uint_eq(test_threads(), baseline.threads);
}

static int check_file(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)ftw;
  if (type == FTW_F && S_ISREG(st->st_mode) && access(path, R_OK | W_OK) == 0) {
    ck_assert_msg(test_free(path), "%s: a record lock outlived the test", path);
  }
  return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
  (void)st, (void)ftw;
  (void)(type == FTW_DP ? rmdir(path) : unlink(path));
  return 0;
}

#ifdef COLOCK_TEST_HELGRIND
/* What is in the map is shared with processes that helgrind does not see: atomics, all of it. */
static void *map_unchecked(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  void *map = colockp_system_default.mmap(address, length, protection, flags, fd, offset);
  if (map != MAP_FAILED && flags & MAP_SHARED) VALGRIND_HG_DISABLE_CHECKING(map, length);
  return map;
}
#endif

static void *own_tid(void *arg) {
  *(pid_t *)arg = (pid_t)syscall(SYS_gettid);
  return NULL;
}

/* A sanitizer begins a thread of its own with the first that the program makes; it belongs to the baseline. */
static void make_first_thread(void) {
  char entry[64];
  pthread_t thread;
  pid_t tid = 0;
  ck_assert_int_eq(pthread_create(&thread, NULL, own_tid, &tid), 0);
  pthread_join(thread, NULL);
  snprintf(entry, sizeof entry, "/proc/self/task/%d", (int)tid);
  for (int64_t limit = test_now_ms() + 5000; access(entry, F_OK) == 0 && test_now_ms() < limit;) sched_yield();
}

static void setup(void) {
  static unsigned number;
  snprintf(directory, sizeof directory, "%s/%d.%u", root, (int)getpid(), number++);
  ck_assert_int_eq(mkdir(directory, 0755), 0);
  memset(&logged, 0, sizeof logged);
  colock_set_log(on_log, NULL);
  make_first_thread();
#ifdef COLOCK_TEST_HELGRIND
  colockp_system.mmap = map_unchecked;
#endif
  baseline.descriptors = test_descriptors();
  baseline.threads = test_threads();
  name_descriptors(baseline.names);
}

static void teardown(void) {
  agent_end_all();
  tracker_finish();
  colock_set_log(NULL, NULL);
  check_descriptors();
  check_threads();
  nftw(directory, check_file, 16, FTW_PHYS);
  ck_assert_msg(logged.errors == 0 || logged.expected, "the library logged an error: %s", logged.text);
  nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Memcheck translates code when it first runs, and each test is a child of this process: what most of them begin with
 * runs here once, before the first. */
static void warm_up(void) {
  colock_hold *hold = NULL;
  if (warm) return;
  warm = true;
  setup();
  colock *lock = test_open(test_path("a.lock"));
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  colock_close(lock);
  teardown();
}

TCase *test_case(Suite *suite, const char *name, int limit_s) {
  TCase *tcase = tcase_create(name);
  tcase_add_unchecked_fixture(tcase, warm_up, NULL);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_set_timeout(tcase, limit_s);
  suite_add_tcase(suite, tcase);
  return tcase;
}

/* ---- the program ---- */

/* The caller's own settings must not reach the tests. */
static void clean_environment(void) {
  static const char *const kept[] = {"COLOCK_TEST_SEED", "COLOCK_TEST_SECONDS"};
  extern char **environ;
  char name[128];
  for (size_t i = 0; environ[i] != NULL;) {
    size_t length = strcspn(environ[i], "=");
    snprintf(name, sizeof name, "%.*s", (int)length, environ[i]);
    bool ours = strncmp(name, "COLOCK_", 7) == 0 && strcmp(name, kept[0]) != 0 && strcmp(name, kept[1]) != 0;
    if (ours && unsetenv(name) == 0) i = 0;
    else i++;
  }
  setenv("XDG_CONFIG_HOME", root, 1);
}

int test_main(int argc, char **argv, const char *name, void (*fill)(Suite *suite)) {
  if (argc == 4 && strcmp(argv[1], AGENT_ARGUMENT) == 0) return agent_main(atoi(argv[2]), atoi(argv[3]));
  const char *tmp = getenv("TMPDIR");
  snprintf(root, sizeof root, "%s/colock-test.XXXXXX", tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
  if (mkdtemp(root) == NULL || chmod(root, 0755) != 0) {
    fprintf(stderr, "%s: %s\n", root, strerror(errno));
    return 99;
  }
  const char *given = getenv("COLOCK_TEST_SEED");
  seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)colockp_wall_ns();
  printf("COLOCK_TEST_SEED=%" PRIu64 "\n", seed);
  fflush(stdout);
  warm = getenv("COLOCK_TEST_WARM") == NULL;
  clean_environment();
  signal(SIGPIPE, SIG_IGN);
  Suite *suite = suite_create(name);
  fill(suite);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int run = srunner_ntests_run(runner);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  if (run == 0 && getenv("CK_EXCLUDE_TAGS") != NULL) return 77; /* automake's word for skipped */
  if (run == 0) fprintf(stderr, "%s: not one test ran\n", name);
  return failed != 0 || run == 0;
}

const char *test_dir(void) { return directory; }

const char *test_path(const char *name) {
  static char paths[16][512];
  static unsigned next;
  char *path = paths[next++ % 16];
  snprintf(path, sizeof paths[0], "%s/%s", directory, name);
  return path;
}

void test_skip(const char *why) {
  printf("skipped: %s\n", why);
  fflush(stdout);
}

uint64_t test_seed(void) { return seed; }

uint32_t test_random(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return (uint32_t)(z >> 32 ^ z);
}

int64_t test_now_ms(void) { return colockp_now_ns() / 1000000; }

int test_seconds(int usual) {
  const char *given = getenv("COLOCK_TEST_SECONDS");
  int seconds = given != NULL ? atoi(given) : 0;
  return seconds > 0 ? seconds : usual;
}

/* ---- locks ---- */

colock_config *test_config(const char *key, ...) {
  colock_config *config = NULL;
  must(colock_config_new(&config));
  va_list list;
  va_start(list, key);
  for (; key != NULL; key = va_arg(list, const char *))
    must(colock_config_set(config, key, va_arg(list, const char *)));
  va_end(list);
  return config;
}

colock *test_open_set(const char *path, const char *key, const char *value) {
  colock_config *config = test_config(key, value, NULL);
  colock *lock = NULL;
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  return lock;
}

colock *test_open(const char *path) { return test_open_set(path, "timeout", "10s"); }

void test_make_lock(const char *path) { colock_close(test_open(path)); }

/* ---- files ---- */

void test_write(const char *path, const void *bytes, size_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
  ck_assert_int_eq(ftruncate(fd, 0), 0);
  ck_assert_int_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
  close(fd);
}

size_t test_read(const char *path, void *bytes, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
  ssize_t n = pread(fd, bytes, size, 0);
  ck_assert_int_ge(n, 0);
  close(fd);
  return (size_t)n;
}

void test_poke(const char *path, size_t at, const void *bytes, size_t size) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
  ck_assert_int_eq(pwrite(fd, bytes, size, (off_t)at), (ssize_t)size);
  close(fd);
}

ino_t test_inode(const char *path) {
  struct stat st;
  ck_assert_msg(stat(path, &st) == 0, "%s: %s", path, strerror(errno));
  return st.st_ino;
}

struct colockp_header test_header(const char *path) {
  struct colockp_header header;
  memset(&header, 0, sizeof header);
  test_read(path, &header, sizeof header);
  return header;
}

/* Who has a rank; awake: and does not sleep. */
static unsigned count_waiters(const char *path, bool awake) {
  struct colockp_header header = test_header(path);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  unsigned n = 0;
  for (uint32_t slot = 0, bell = 0; slot < header.slots_in_use && slot < COLOCKP_SLOTS_MAX; slot++) {
    struct colockp_queue_entry entry;
    if (pread(fd, &entry, sizeof entry, COLOCKP_AT_QUEUE + (off_t)(slot * sizeof entry)) != (ssize_t)sizeof entry)
      break;
    if (awake) ck_assert_int_eq(pread(fd, &bell, sizeof bell, COLOCKP_AT_BELLS + (off_t)(slot * sizeof bell)), 4);
    n += entry.rank != 0 && !(bell & COLOCKP_BELL_ASLEEP);
  }
  close(fd);
  return n;
}

unsigned test_waiters(const char *path) { return count_waiters(path, false); }

/* Who joins writes its rank first: others know that somebody waits by the flag. */
static bool wait_seen(const char *path, unsigned count) {
  return test_waiters(path) == count && (count == 0 || test_header(path).flag & COLOCKP_FLAG_SET);
}

void test_await_waiters(const char *path, unsigned count) {
  int64_t limit = test_now_ms() + 20000;
  while (!wait_seen(path, count)) {
    ck_assert_msg(test_now_ms() < limit, "%s: %u waiters, %u awaited", path, test_waiters(path), count);
    sched_yield();
  }
}

/* Who joined an empty queue writes, after its rank and the flag, when the turn began. */
void test_end_turn(const char *path) {
  const int64_t past = 0, limit = test_now_ms() + 20000;
  for (; count_waiters(path, true) > 0; sched_yield())
    ck_assert_msg(test_now_ms() < limit, "%s: who waits does not sleep", path);
  test_poke(path, offsetof(struct colockp_header, turn), &past, sizeof past);
}

static bool range_taken(const char *path, int64_t start, int64_t length) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  int result = fcntl(fd, F_OFD_GETLK, &range);
  ck_assert_int_eq(result, 0);
  close(fd);
  return range.l_type != F_UNLCK;
}

bool test_free(const char *path) { return !range_taken(path, 0, 0); }

bool test_lane_taken(const char *path) {
  struct colockp_header header = test_header(path);
  return range_taken(path, colockp_lane((uint32_t)header.generation), 1);
}

/* ---- processes ---- */

pid_t test_fork(int (*body)(void *arg), void *arg) {
  fflush(NULL);
  pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) _exit(body(arg));
  return child;
}

int test_wait(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) != child) ck_assert_int_eq(errno, EINTR);
  return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

int test_in_child(int (*body)(void *arg), void *arg) { return test_wait(test_fork(body, arg)); }

int test_become_nobody(void) {
  if (geteuid() != 0) return -1;
  if (setgroups(0, NULL) != 0 || setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) return -1;
  return 0;
}

unsigned test_mappings(const char *part) {
  FILE *maps = fopen("/proc/self/maps", "re");
  ck_assert_ptr_nonnull(maps);
  char line[1024];
  unsigned n = 0;
  while (fgets(line, sizeof line, maps) != NULL) n += strstr(line, part) != NULL;
  fclose(maps);
  return n;
}

/* test_cached_look.c - what is seen of locks that are kept for their next use: in reports, in messages, by the command.
 * Against lock files written by hand, so that owners can be kept unused, suspending or stopped for as long as it takes;
 * then with real owners. */
#define _GNU_SOURCE
#include "agent.h"
#include "command.h"
#include "fault.h"
#include "planted.h"
#include "report.h"
#include "system.h"

#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>

static const struct planted server = { /* held long ago, unused for 3 s */
  .slot = 3, .state = COLOCKP_CACHED, .mode = COLOCK_EXCLUSIVE, .generation = 1, .pid = 123, .tid = 123, .hold_id = 9,
  .token = 1001, .age_ns = 600 * SECOND, .quiet_ns = 3 * SECOND, .stale_timeout_ns = SECOND, .program = "server",
  .purpose = "schema 42"};
static const struct planted page = { /* one of several that keep it shared */
  .slot = 4, .state = COLOCKP_CACHED, .mode = COLOCK_SHARED, .generation = 1, .pid = 124, .tid = 124,
  .age_ns = 50 * SECOND, .quiet_ns = 5 * SECOND, .program = "page"};
static const struct planted reader = {
  .slot = 5, .state = COLOCKP_HELD, .mode = COLOCK_SHARED, .generation = 1, .pid = 77, .tid = 77, .age_ns = SECOND,
  .program = "api"};
static const struct planted backup = {
  .slot = 6, .state = COLOCKP_WAITING, .mode = COLOCK_EXCLUSIVE, .generation = 1, .pid = 5200, .tid = 5200,
  .rank = UINT64_C(3) << COLOCKP_RANK_KEY_SHIFT | COLOCKP_RANK_EXCLUSIVE, .age_ns = 2 * SECOND, .program = "backup"};
static const struct planted scan = {
  .slot = 7, .state = COLOCKP_WAITING, .mode = COLOCK_SHARED, .generation = 1, .pid = 5300, .tid = 5300,
  .rank = UINT64_C(2) << COLOCKP_RANK_KEY_SHIFT, .age_ns = SECOND, .program = "scan"};

static colock_report *read_report(const char *path) {
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  return report;
}

static int64_t number(const colock_report *report, size_t index, int field) {
  const colock_entry *entry = colock_report_entry(report, index);
  ck_assert_ptr_nonnull(entry);
  return colock_entry_number(entry, field);
}

/* ---- reports ---- */

START_TEST(kept_lock_has_an_owner_but_no_holder) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &server);
  colock_report *report = read_report(path);
  const colock_entry *entry = colock_report_entry(report, 0);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_ROLE), COLOCK_CACHED);
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_ROLE), "cached");
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_MODE), COLOCK_EXCLUSIVE);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_PID), 123);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_TOKEN), 1001);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_HOLD_ID), 9);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_STALE), 0); /* though nobody has renewed */
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_SUSPENDING), 0);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_STOPPED), -1);
  ck_assert_int_ge(colock_entry_number(entry, COLOCK_AGE_MS), 3000);
  ck_assert_int_lt(colock_entry_number(entry, COLOCK_AGE_MS), 33000);
  ck_assert_int_eq(colock_report_stat(report, "cached"), 1);
  ck_assert_int_eq(colock_report_stat(report, "holders"), 0);
  ck_assert_int_eq(colock_report_stat(report, "anonymous"), 0);
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(suspend_under_way_is_told_with_its_age) {
  const char *path = planted_file("a.lock");
  struct planted one = server;
  one.state = COLOCKP_RECALLED;
  int owner = planted(path, &one);
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_CACHED);
  ck_assert_int_eq(number(report, 0, COLOCK_SUSPENDING), 1);
  ck_assert_int_ge(number(report, 0, COLOCK_AGE_MS), 3000);
  ck_assert_int_lt(number(report, 0, COLOCK_AGE_MS), 33000);
  colock_report_free(report);
  planted_generation(path, 2); /* forced out, it is one that was, whatever it does */
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_REVOKED);
  ck_assert_int_eq(number(report, 0, COLOCK_SUSPENDING), 0);
  ck_assert_int_ge(number(report, 0, COLOCK_AGE_MS), 600000);
  ck_assert_int_eq(colock_report_stat(report, "cached"), 0);
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(words_of_one_that_has_let_go_keep_nothing) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &server);
  planted_take(owner, F_UNLCK, colockp_lane(1));
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 0);
  colock_report_free(report);
  int other = planted(path, &reader); /* beside a reader nobody keeps it exclusively */
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_PID), 77);
  colock_report_free(report);
  close(other);
  planted_take(owner, F_WRLCK, colockp_lane(1));
  close(owner); /* dead: the words stay */
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 0);
  colock_report_free(report);
}
END_TEST

START_TEST(kept_ones_come_behind_holders_the_longest_unused_first) {
  const char *path = planted_file("a.lock");
  struct planted other = page;
  other.slot = 8, other.pid = 125, other.quiet_ns = 100 * SECOND, other.age_ns = 100 * SECOND;
  int owners[] = {planted(path, &page), planted(path, &other), planted(path, &reader), planted(path, &backup)};
  static const struct { int role, pid; } c[] = {
    {COLOCK_HOLDER, 77}, {COLOCK_CACHED, 125}, {COLOCK_CACHED, 124}, {COLOCK_WAITER, 5200}};
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 4);
  for (size_t i = 0; i < 4; i++) {
    ck_assert_int_eq(number(report, i, COLOCK_ROLE), c[i].role);
    ck_assert_int_eq(number(report, i, COLOCK_PID), c[i].pid);
  }
  ck_assert_int_eq(colock_report_stat(report, "cached"), 2);
  ck_assert_int_eq(colock_report_stat(report, "holders"), 1);
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"state\":\"shared\""));
  colock_report_free(report);
  for (int i = 0; i < 4; i++) close(owners[i]);
}
END_TEST

/* A lock handed from one writer to the next: words of the first that lag behind, kept or held, do not count. */
START_TEST(of_two_writers_the_last_is_the_one) {
  static const uint32_t states[] = {COLOCKP_HELD, COLOCKP_CACHED, COLOCKP_RECALLED};
  const char *path = planted_file("a.lock");
  for (size_t i = 0; i < 9; i++) {
    struct planted first = server, second = server;
    first.state = states[i / 3];
    second.state = states[i % 3], second.slot = 2, second.pid = 321, second.token = 1002;
    int old = planted(path, &first);
    planted_take(old, F_UNLCK, colockp_lane(1));
    int now = planted(path, &second);
    colock_report *report = read_report(path);
    ck_assert_uint_eq(colock_report_count(report), 1);
    ck_assert_int_eq(number(report, 0, COLOCK_PID), 321);
    ck_assert_int_eq(number(report, 0, COLOCK_ROLE), i % 3 == 0 ? COLOCK_HOLDER : COLOCK_CACHED);
    ck_assert_int_eq(colock_report_stat(report, "holders"), i % 3 == 0);
    ck_assert_int_eq(colock_report_stat(report, "cached"), i % 3 != 0);
    colock_report_free(report);
    close(old);
    close(now);
  }
}
END_TEST

/* One kept shared is used exclusively, or the other way round: LANE is converted, the words will follow. */
START_TEST(owner_that_converts_it_is_named_meanwhile) {
  static const uint32_t states[] = {COLOCKP_HELD, COLOCKP_CACHED};
  const char *path = planted_file("a.lock");
  for (int i = 0; i < 4; i++) {
    struct planted one = server;
    int mode = i / 2 ? COLOCK_SHARED : COLOCK_EXCLUSIVE;
    one.state = states[i % 2];
    one.mode = COLOCK_SHARED + COLOCK_EXCLUSIVE - mode;
    int owner = planted(path, &one);
    planted_take(owner, mode == COLOCK_SHARED ? F_RDLCK : F_WRLCK, colockp_lane(1));
    colock_report *report = read_report(path);
    ck_assert_uint_eq(colock_report_count(report), 1);
    ck_assert_int_eq(number(report, 0, COLOCK_ROLE), i % 2 ? COLOCK_CACHED : COLOCK_HOLDER);
    ck_assert_int_eq(number(report, 0, COLOCK_PID), 123);
    ck_assert_int_eq(number(report, 0, COLOCK_MODE), mode);
    ck_assert_int_eq(number(report, 0, COLOCK_TOKEN), mode == COLOCK_SHARED ? -1 : 1001);
    ck_assert_int_eq(colock_report_stat(report, "anonymous"), 0);
    colock_report_free(report);
    close(owner);
  }
}
END_TEST

static ssize_t (*kernel_pread)(int, void *, size_t, off_t);
static int reads_left; /* of slot 3; then its owner has let go */

static ssize_t pread_until_it_lets_go(int fd, void *buffer, size_t size, off_t offset) {
  ssize_t n = kernel_pread(fd, buffer, size, offset);
  if (offset == colockp_at_slot(3) && size > sizeof(uint64_t) && reads_left-- <= 0)
    ((struct colockp_activity *)((char *)buffer + offsetof(struct colockp_slot, activity)))->state = COLOCKP_IDLE;
  return n;
}

/* It only looked as if: while the report was made it let go, and the next one has LANE, who has no slot. */
START_TEST(owner_that_lets_go_is_not_taken_for_the_next_one) {
  const char *path = planted_file("a.lock");
  struct planted one = server;
  one.state = COLOCKP_HELD, one.mode = COLOCK_SHARED;
  int owner = planted(path, &one), next = open(path, O_RDWR | O_CLOEXEC);
  planted_take(owner, F_UNLCK, colockp_lane(1));
  planted_take(next, F_WRLCK, colockp_lane(1));
  kernel_pread = colockp_system.pread;
  reads_left = 2;
  colockp_system.pread = pread_until_it_lets_go;
  colock_report *report = read_report(path);
  colockp_system.pread = kernel_pread;
  ck_assert_int_lt(reads_left, 0);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_ANONYMOUS);
  ck_assert_int_eq(number(report, 0, COLOCK_MODE), COLOCK_EXCLUSIVE);
  colock_report_free(report);
  close(owner);
  close(next);
}
END_TEST

/* The owner uses it again and again, each time for a microsecond, and never lets go. */
struct hammer {
  struct colockp_slot *slot;
  atomic_bool stop;
};
static void *use_again_and_again(void *arg) {
  struct hammer *hammer = arg;
  struct colockp_activity *activity = (struct colockp_activity *)hammer->slot->activity;
  for (uint32_t state = COLOCKP_HELD; !hammer->stop; state = state == COLOCKP_HELD ? COLOCKP_CACHED : COLOCKP_HELD) {
    atomic_fetch_add(&hammer->slot->sequence, 1);
    __atomic_store_n(&activity->state, state, __ATOMIC_SEQ_CST);
    __atomic_store_n(&activity->renewed_ns, colockp_now_ns(), __ATOMIC_SEQ_CST);
    atomic_fetch_add(&hammer->slot->sequence, 1);
  }
  return NULL;
}

START_TEST(owner_that_uses_it_all_the_time_is_named_all_the_time) {
  const char *path = planted_file("a.lock");
  struct planted one = server;
  one.stale_timeout_ns = INT64_MAX;
  int owner = planted(path, &one);
  pthread_t thread;
  struct hammer hammer = {.slot = mmap(NULL, sizeof *hammer.slot, PROT_READ | PROT_WRITE, MAP_SHARED, owner,
                                       colockp_at_slot(one.slot))};
  ck_assert_ptr_ne(hammer.slot, MAP_FAILED);
  ck_assert_int_eq(pthread_create(&thread, NULL, use_again_and_again, &hammer), 0);
  for (int round = 0; round < 100 * test_seconds(20); round++) {
    colock_report *report = read_report(path);
    ck_assert_uint_eq(colock_report_count(report), 1);
    int64_t role = number(report, 0, COLOCK_ROLE);
    ck_assert(role == COLOCK_HOLDER || role == COLOCK_CACHED);
    ck_assert_int_eq(number(report, 0, COLOCK_PID), 123);
    ck_assert_int_eq(number(report, 0, COLOCK_MODE), COLOCK_EXCLUSIVE);
    ck_assert_int_lt(role == COLOCK_CACHED ? number(report, 0, COLOCK_AGE_MS) : 0, 60000); /* not since it was got */
    colock_report_free(report);
  }
  hammer.stop = true;
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  munmap(hammer.slot, sizeof *hammer.slot);
  close(owner);
}
END_TEST

START_TEST(json_tells_what_is_kept) {
  const char *path = planted_file("a.lock");
  struct planted one = server;
  one.state = COLOCKP_RECALLED;
  int owner = planted(path, &one);
  colock_report *report = read_report(path);
  report->now.entries[0].age_ns = 7 * SECOND;
  strcpy(report->now.entries[0].identity.host, "here");
  const char *json = colock_report_json(report);
  ck_assert_ptr_nonnull(strstr(json, "\"state\":\"cached\","));
  ck_assert_ptr_nonnull(
      strstr(json, "\"holders\":[{\"role\":\"cached\",\"mode\":\"exclusive\",\"known\":true,\"slot\":3,\"pid\":123,"
                   "\"tid\":123,\"inherited_pid\":null,\"uid\":0,\"host\":\"here\",\"program\":\"server\","
                   "\"label\":\"\",\"purpose\":\"schema 42\",\"priority\":0,\"stopped\":null,\"age_ms\":7000,"
                   "\"token\":\"1001\",\"generation\":1,\"suspending\":true}],\"waiters\":[]"));
  colock_report_free(report);
  close(owner);
}
END_TEST

/* ---- who is stopped ---- */

static uint64_t start_of(pid_t pid) {
  char path[64], text[2048];
  unsigned long long ticks = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  text[test_read(path, text, sizeof text - 1)] = '\0';
  const char *at = strrchr(text, ')');
  for (int field = 2; at && field < 22; field++) at = strchr(at + 1, ' ');
  ck_assert(at && sscanf(at, "%llu", &ticks) == 1);
  return ticks;
}

/* The same owner, as words of a process that lives. */
static struct planted of_process(struct planted one, pid_t pid) {
  one.pid = one.tid = pid;
  one.start_ticks = start_of(pid);
  return one;
}

static void stop(pid_t pid) {
  int status;
  ck_assert_int_eq(kill(pid, SIGSTOP), 0);
  ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
}

static void go_on(pid_t pid) {
  int status;
  ck_assert_int_eq(kill(pid, SIGCONT), 0);
  ck_assert_int_eq(waitpid(pid, &status, WCONTINUED), pid);
}

static void stopped_is(const char *path, int64_t expected, const char *json) {
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_STOPPED), expected);
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), json));
  colock_report_free(report);
}

START_TEST(stopped_owner_is_known_while_it_is_stopped) {
  static const uint32_t states[] = {COLOCKP_HELD, COLOCKP_CACHED, COLOCKP_RECALLED};
  const char *path = planted_file("a.lock");
  struct agent *agent = agent_start();
  for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
    struct planted one = of_process(server, agent->pid);
    one.state = states[i];
    int owner = planted(path, &one);
    stopped_is(path, 0, "\"stopped\":false");
    stop(agent->pid);
    stopped_is(path, 1, "\"stopped\":true");
    go_on(agent->pid);
    stopped_is(path, 0, "\"stopped\":false");
    close(owner);
  }
  struct planted one = of_process(server, agent->pid);
  one.boot_id = "00000000-0000-0000-0000-000000000000";
  int owner = planted(path, &one);
  stopped_is(path, -1, "\"stopped\":null");
  close(owner);
}
END_TEST

/* How often the kernel was asked for the answers to all entries, in their order. */
static long asked_for_all(const colock_report *report, const int64_t *expected) {
  fault_install();
  fault_fail_at(FAULT_openat, 1000, ENOENT);
  for (size_t i = 0; i < colock_report_count(report); i++)
    ck_assert_int_eq(number(report, i, COLOCK_STOPPED), expected[i]);
  long calls = fault_calls();
  fault_remove();
  return calls;
}

/* A thousand holds of one process are a thousand entries. Two processes, whose entries come in turns; then one with the
 * same pid that is gone. */
START_TEST(process_with_many_entries_is_asked_once) {
  const char *path = planted_file("a.lock");
  struct agent *agents[] = {agent_start(), agent_start()};
  int owners[9];
  for (uint32_t i = 0; i < 9; i++) {
    struct planted one = of_process(reader, agents[i % 2]->pid);
    one.slot = 10 + i;
    one.age_ns = (20 - i) * SECOND;
    one.start_ticks += i == 8;
    owners[i] = planted(path, &one);
  }
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 9);
  ck_assert_int_eq(asked_for_all(report, (int64_t[]){0, 0, 0, 0, 0, 0, 0, 0, -1}), 3);
  stop(agents[1]->pid);
  ck_assert_int_eq(asked_for_all(report, (int64_t[]){0, 1, 0, 1, 0, 1, 0, 1, -1}), 3); /* anew: it is another moment */
  go_on(agents[1]->pid);
  ck_assert_int_eq(number(report, 7, COLOCK_STOPPED), 0);
  stop(agents[1]->pid);
  ck_assert_int_eq(number(report, 7, COLOCK_STOPPED), 1); /* asked twice, it is asked for now */
  go_on(agents[1]->pid);
  colock_report_free(report);
  for (size_t i = 0; i < 9; i++) close(owners[i]);
}
END_TEST

/* ---- messages ---- */

/* Whatever the machine's speed, ages are 7s. */
static void in_the_way(const char *path, int mode, const char *expected) {
  char text[COLOCKP_IN_THE_WAY] = "nobody";
  colock_report *report = read_report(path);
  for (size_t i = 0; i < report->now.count; i++) report->now.entries[i].age_ns = 7 * SECOND;
  colockp_in_the_way(report, mode, COLOCKP_NO_SLOT, text, sizeof text);
  ck_assert_str_eq(text, expected);
  colock_report_free(report);
}

START_TEST(message_says_that_it_is_only_kept) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &server);
  in_the_way(path, COLOCK_SHARED, "held by server[123] (uid 0, kept unused for 7s)");
  close(owner);
  struct planted one = server;
  one.state = COLOCKP_RECALLED;
  owner = planted(path, &one);
  in_the_way(path, COLOCK_SHARED, "held by server[123] (uid 0, suspending for 7s before it lets go)");
  close(owner);
  int owners[] = {planted(path, &page), planted(path, &reader)};
  in_the_way(path, COLOCK_SHARED, "nobody");
  in_the_way(path, COLOCK_EXCLUSIVE, "held by api[77] (uid 0, 7s) and 1 other");
  close(owners[1]);
  in_the_way(path, COLOCK_EXCLUSIVE, "held by page[124] (uid 0, kept unused for 7s)");
  close(owners[0]);
}
END_TEST

START_TEST(message_says_that_its_owner_is_stopped) {
  const char *path = planted_file("a.lock");
  struct agent *agent = agent_start();
  char expected[200];
  struct planted one = of_process(server, agent->pid);
  int owner = planted(path, &one);
  stop(agent->pid);
  snprintf(expected, sizeof expected,
           "held by server[%d] (uid 0, kept unused for 7s; stopped: it cannot let go until it is continued)",
           agent->pid);
  in_the_way(path, COLOCK_SHARED, expected);
  close(owner);
  one.state = COLOCKP_HELD;
  owner = planted(path, &one);
  snprintf(expected, sizeof expected, "held by server[%d] (uid 0, 7s, \"schema 42\"; stopped)", agent->pid);
  in_the_way(path, COLOCK_SHARED, expected);
  go_on(agent->pid);
  snprintf(expected, sizeof expected, "held by server[%d] (uid 0, 7s, \"schema 42\")", agent->pid);
  in_the_way(path, COLOCK_SHARED, expected);
  close(owner);
}
END_TEST

/* ---- the command ---- */

static const char *user(void) {
  static char text[64];
  const struct passwd *me = getpwuid(geteuid());
  if (me != NULL)
    snprintf(text, sizeof text, "%s", me->pw_name);
  else
    snprintf(text, sizeof text, "%u", (unsigned)geteuid());
  return text;
}

/* "USER" of a text becomes our user, "HOST" our host. Good for the next 3 calls. */
static const char *here(const char *text) {
  static char out[4][1024];
  static int turn;
  struct utsname name;
  char *to = out[turn++ % 4];
  size_t used = 0;
  uname(&name);
  while (*text) {
    const char *word = strncmp(text, "USER", 4) == 0 ? user() : strncmp(text, "HOST", 4) == 0 ? name.nodename : NULL;
    used += (size_t)(word ? sprintf(to + used, "%s", word) : sprintf(to + used, "%c", *text));
    text += word ? 4 : 1;
  }
  return to;
}

/* Ages in what the command said, in seconds and behind a blank, become AGE. */
static const char *ageless(const char *text) {
  static char out[4096];
  size_t used = 0;
  while (*text && used < sizeof out - 8) {
    size_t digits = text[0] == ' ' ? strspn(text + 1, "0123456789") : 0;
    if (digits > 0 && text[1 + digits] == 's') {
      used += (size_t)sprintf(out + used, " AGE");
      text += digits + 2;
    } else {
      out[used++] = *text++;
    }
  }
  out[used] = '\0';
  return out;
}

static struct planted mine(struct planted one) {
  one.uid = geteuid();
  return one;
}

static int plant(struct planted one) {
  one = mine(one);
  return planted(test_path("db.lock"), &one);
}

static void status_is(const char *expected) {
  command_is(0, "status", "db.lock");
  ck_assert_str_eq(ageless(command_out()), here(expected));
}

START_TEST(status_says_that_it_is_only_kept) {
  planted_file("db.lock");
  int owner = plant(server);
  status_is("db.lock: cached, exclusive, server[123] USER@HOST, unused for AGE\n");
  int waiters[] = {plant(backup), plant(scan)};
  status_is("db.lock: cached, exclusive, server[123] USER@HOST, unused for AGE, recalled for scan[5300]\n"
            "  waiting 2:\n  1 shared    scan[5300]   USER AGE\n  2 exclusive backup[5200] USER AGE\n");
  close(owner);
  struct planted one = server;
  one.state = COLOCKP_RECALLED;
  owner = plant(one);
  status_is("db.lock: cached, exclusive, server[123] USER@HOST, suspending for AGE, recalled for scan[5300]\n"
            "  waiting 2:\n  1 shared    scan[5300]   USER AGE\n  2 exclusive backup[5200] USER AGE\n");
  close(owner);
  owner = plant(page); /* is in no reader's way */
  status_is("db.lock: cached, shared, page[124] USER@HOST, unused for AGE, recalled for backup[5200]\n"
            "  waiting 2:\n  1 shared    scan[5300]   USER AGE\n  2 exclusive backup[5200] USER AGE\n");
  close(waiters[0]);
  struct planted stopped = backup;
  stopped.rank |= COLOCKP_RANK_PASSED;
  waiters[0] = plant(stopped);
  status_is("db.lock: cached, shared, page[124] USER@HOST, unused for AGE\n  waiting 2:\n"
            "  1 shared    scan[5300]   USER AGE\n  - exclusive backup[5200] USER AGE (stopped, passed over)\n");
  close(waiters[0]);
  status_is("db.lock: cached, shared, page[124] USER@HOST, unused for AGE\n"
            "  waiting 1:\n  1 shared    scan[5300] USER AGE\n");
  close(waiters[1]);
  close(owner);
}
END_TEST

START_TEST(status_shows_all_who_keep_it) {
  planted_file("db.lock");
  struct planted other = page;
  other.slot = 8, other.pid = other.tid = 125, other.quiet_ns = 20 * SECOND;
  int owners[] = {plant(page), plant(other)};
  status_is("db.lock: cached, shared, 2 owners:\n  page[125] USER@HOST, unused for AGE\n"
            "  page[124] USER@HOST, unused for AGE\n");
  int holder = plant(reader);
  status_is("db.lock: shared, api[77] USER@HOST, AGE\n  cached page[125] USER@HOST, unused for AGE\n"
            "  cached page[124] USER@HOST, unused for AGE\n");
  close(holder);
  close(owners[0]);
  close(owners[1]);
}
END_TEST

static int count_of(const char *text, const char *part) {
  int count = 0;
  for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) count++;
  return count;
}

/* It would take longer than all the rest. */
START_TEST(crowd_of_readers_is_not_asked_who_is_stopped_while_nobody_waits) {
  enum { FEW = 100 };
  const char *path = planted_file("db.lock");
  struct agent *agent = agent_start();
  int owners[FEW + 2];
  struct planted one = of_process(reader, agent->pid);
  stop(agent->pid);
  for (uint32_t i = 0; i < FEW; i++) {
    one.slot = 10 + i;
    owners[i] = planted(path, &one);
  }
  command_is(0, "status", "db.lock");
  ck_assert_int_eq(count_of(command_out(), ", stopped\n"), FEW);
  one.slot = 10 + FEW;
  owners[FEW] = planted(path, &one);
  command_is(0, "status", "db.lock");
  ck_assert_int_eq(count_of(command_out(), ", stopped\n"), 0);
  command_is(0, "status", "--json", "db.lock");
  ck_assert_int_eq(count_of(command_out(), "\"stopped\":true"), FEW + 1);
  owners[FEW + 1] = planted(path, &backup);
  command_is(0, "status", "db.lock");
  ck_assert_int_eq(count_of(command_out(), ", stopped\n"), FEW + 1);
  go_on(agent->pid);
  for (size_t i = 0; i < FEW + 2; i++) close(owners[i]);
}
END_TEST

START_TEST(status_marks_the_stopped) {
  char expected[300];
  struct agent *agent = agent_start();
  planted_file("db.lock");
  int owner = plant(of_process(server, agent->pid));
  stop(agent->pid);
  snprintf(expected, sizeof expected, "db.lock: cached, exclusive, server[%d] USER@HOST, unused for AGE, stopped\n",
           agent->pid);
  status_is(expected);
  close(owner);
  owner = plant(of_process(reader, agent->pid));
  int waiter = plant(of_process(backup, agent->pid));
  snprintf(expected, sizeof expected, "db.lock: shared, api[%d] USER@HOST, AGE, stopped\n  waiting 1:\n"
           "  1 exclusive backup[%d] USER AGE (stopped)\n", agent->pid, agent->pid);
  status_is(expected);
  close(waiter);
  close(owner);
  go_on(agent->pid);
}
END_TEST

START_TEST(kept_lock_is_in_use_for_scripts) {
  planted_file("db.lock");
  int owner = plant(server);
  command_is(1, "status", "-q", "db.lock");
  command_is(0, "status", "--json", "db.lock");
  command_has(command_out(), "\"state\":\"cached\"");
  command_is(75, "run", "-n", "db.lock", "true");
  command_has(ageless(command_err()), here("in use; held by server[123] (USER, kept unused for AGE). Retry"));
  command_is(75, "wait", "-q", "-w", "0", "db.lock");
  close(owner);
  command_is(0, "status", "-q", "db.lock");
}
END_TEST

/* It asks, in vain: the bytes of a test let go for nobody. */
START_TEST(wait_stands_in_line_for_what_is_only_kept) {
  const char *path = planted_file("db.lock");
  int owner = plant(server);
  struct command *wait = command_start("wait", "db.lock", NULL);
  test_await_waiters(path, 1);
  colock_report *report = read_report(path);
  ck_assert_str_eq(colock_entry_text(colock_report_entry(report, 1), COLOCK_PURPOSE), "colock wait");
  ck_assert_int_eq(number(report, 1, COLOCK_MODE), COLOCK_EXCLUSIVE);
  colock_report_free(report);
  planted_take(owner, F_UNLCK, colockp_lane(1)); /* rings nobody */
  ck_assert_int_eq(command_end(wait), 0);
  ck_assert_str_eq(wait->out, "");
  command_free(wait);
  planted_take(owner, F_WRLCK, colockp_lane(1));
  command_is(75, "wait", "-w", "20ms", "db.lock");
  command_has(ageless(command_err()),
              here("gave up after 20ms; held by server[123] (USER, kept unused for AGE). Retry"));
  close(owner);
}
END_TEST

START_TEST(unlock_asks_and_says_who_does_not_let_go) {
  planted_file("db.lock");
  struct planted one = server;
  int owner = plant(one);
  command_is(75, "unlock", "-w", "20ms", "db.lock");
  ck_assert_str_eq(ageless(command_out()),
                   here("db.lock: kept by server[123] USER, unused for AGE, and it does not let go. Give it time (-w "
                        "TIME). Else: colock unlock --kill db.lock. Last resort: colock unlock --force db.lock\n"));
  command_is(75, "unlock", "--json", "-w", "20ms", "db.lock");
  command_has(command_out(), "\"result\":\"busy\",\"before\":{\"version\":1,\"path\":\"db.lock\",\"state\":\"cached\"");
  command_is(64, "unlock", "-w", "soon", "db.lock");
  close(owner);
  one.host = "no-such-host";
  one.state = COLOCKP_RECALLED;
  owner = plant(one);
  command_is(75, "unlock", "-w", "20ms", "db.lock");
  command_has(ageless(command_out()), "suspending for AGE, and it does not let go. Give it time (-w TIME). Else end it "
                                      "there. Last resort: colock unlock --force db.lock\n");
  close(owner);
}
END_TEST

static int ask_as_nobody(void *arg) {
  (void)arg;
  static const char *const unlock[] = {"unlock", "db.lock", NULL};
  if (test_become_nobody() != 0) return -1;
  struct command *command = command_start_list(unlock);
  int status = command_end(command);
  if (strstr(command->err, "to have it let go needs write permission") == NULL) status = -2;
  command_free(command);
  return status;
}

START_TEST(to_ask_needs_permission_to_write) {
  planted_file("db.lock");
  int owner = plant(server);
  ck_assert_int_eq(chmod(test_path("db.lock"), 0644), 0);
  if (geteuid() == 0) ck_assert_int_eq(test_in_child(ask_as_nobody, NULL), 77);
  close(owner);
}
END_TEST

START_TEST(unlock_does_not_wait_for_the_stopped) {
  char expected[400];
  struct agent *agent = agent_start();
  planted_file("db.lock");
  int owner = plant(of_process(server, agent->pid));
  stop(agent->pid);
  command_is(75, "unlock", "-w", "forever", "db.lock");
  snprintf(expected, sizeof expected,
           "db.lock: kept by server[%d] USER, unused for AGE, stopped, so it cannot let go. Continue it: kill -CONT "
           "%d. Else: colock unlock --kill db.lock. Last resort: colock unlock --force db.lock\n",
           agent->pid, agent->pid);
  ck_assert_str_eq(ageless(command_out()), here(expected));
  command_is(0, "unlock", "--force", "db.lock");
  snprintf(expected, sizeof expected, "done: lock forced; server[%d] is revoked\n", agent->pid);
  ck_assert_str_eq(command_out(), expected);
  snprintf(expected, sizeof expected, "warning: server[%d] still runs and may still write\n", agent->pid);
  ck_assert_str_eq(command_err(), expected);
  go_on(agent->pid);
  close(owner);
}
END_TEST

/* ---- with real owners ---- */

static struct agent *keeper(const char *path) {
  struct agent *agent = agent_start();
  ck_assert_int_eq(agent_call(agent, "open %s auto_release=true idle_timeout=forever label=server", agent_word(path)),
                   COLOCK_OK);
  ck_assert_int_eq(agent_call(agent, "acquire x 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(agent, "release 0"), COLOCK_OK);
  return agent;
}

static void use(struct agent *agent, const char *mode) {
  ck_assert_int_eq(agent_call(agent, "acquire %s 20000", mode), COLOCK_OK);
  ck_assert_int_eq(agent_call(agent, "release %d", agent->hold), COLOCK_OK);
}

START_TEST(kept_lock_is_had_by_asking) {
  char expected[200];
  const char *path = test_path("db.lock");
  test_make_lock(path);
  struct agent *agent = keeper(path);
  snprintf(expected, sizeof expected, "db.lock: cached, exclusive, server[%d] USER@HOST, unused for ", agent->pid);
  command_is(0, "status", "db.lock");
  command_has(command_out(), here(expected));
  command_is(1, "status", "-q", "db.lock");
  command_is(75, "run", "-n", "db.lock", "true");
  command_is(1, "status", "-q", "db.lock"); /* a try asks for nothing */
  command_is(0, "wait", "db.lock");
  command_is(0, "status", "-q", "db.lock");
  use(agent, "x");
  command_is(1, "status", "-q", "db.lock");
  command_is(0, "unlock", "db.lock");
  snprintf(expected, sizeof expected, "done: server[%d] has let go\n", agent->pid);
  ck_assert_str_eq(command_out(), expected);
  ck_assert_str_eq(command_err(), "");
  command_is(0, "status", "-q", "db.lock");
  use(agent, "x");
  command_is(0, "unlock", "--json", "--kill", "db.lock"); /* no need to kill */
  command_has(command_out(), "\"result\":\"released\",\"before\":{");
  struct agent *second = keeper(path);
  use(agent, "s");
  use(second, "s");
  command_is(0, "status", "db.lock");
  command_has(command_out(), "db.lock: cached, shared, 2 owners:\n");
  command_is(0, "unlock", "db.lock");
  command_has(command_out(), " have let go\n");
  command_is(0, "status", "-q", "db.lock");
  ck_assert_int_eq(agent_call(agent, "acquire x 0"), COLOCK_OK); /* in use it is another matter */
  command_is(75, "unlock", "db.lock");
  command_has(command_out(), ", alive, ");
}
END_TEST

START_TEST(owner_that_is_stopped_is_told_of_and_can_be_killed) {
  char expected[200];
  const char *path = test_path("db.lock");
  test_make_lock(path);
  struct agent *agent = keeper(path);
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  stop(agent->pid);
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = 20;
  must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &hold));
  command_has(colock_last_message(), "; stopped: it cannot let go until it is continued). Retry, or: colock status ");
  command_is(75, "run", "-w", "20ms", "db.lock", "true");
  command_has(command_err(), "; stopped: it cannot let go until it is continued). Retry");
  command_is(75, "unlock", "db.lock");
  snprintf(expected, sizeof expected, "stopped, so it cannot let go. Continue it: kill -CONT %d. Else: colock unlock",
           agent->pid);
  command_has(command_out(), expected);
  go_on(agent->pid);
  command_is(0, "unlock", "db.lock");
  use(agent, "x");
  stop(agent->pid);
  command_is(0, "unlock", "--kill", "db.lock");
  snprintf(expected, sizeof expected, "done: server[%d] ended, not by SIGTERM but by SIGKILL; db.lock is free\n",
           agent->pid);
  ck_assert_str_eq(command_out(), expected);
  ck_assert_int_eq(agent_wait(agent), 256 + SIGKILL);
  colock_close(lock);
}
END_TEST

/* A suspend that lasts until the test says a word. */
static int suspend_until_told(void *arg) {
  char byte;
  return read(*(int *)arg, &byte, 1) != 1;
}

START_TEST(suspend_of_an_owner_is_told_while_it_lasts) {
  const char *path = test_path("db.lock");
  int word[2];
  ck_assert_int_eq(pipe2(word, O_CLOEXEC), 0);
  colock_config *config = test_config("auto_release", "true", "idle_timeout", "forever", "label", "server", NULL);
  colock *lock = NULL;
  colock_hold *hold = NULL;
  must(colock_open(&lock, path, config));
  colock_config_free(config);
  must(colock_set_suspend(lock, suspend_until_told, &word[0]));
  must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
  must(colock_release(hold));
  struct command *waits = command_start("run", "db.lock", "true", NULL);
  int64_t limit = test_now_ms() + 20000;
  do
    command_is(0, "status", "db.lock");
  while (strstr(command_out(), ", suspending for ") == NULL && test_now_ms() < limit);
  command_has(command_out(), "db.lock: cached, exclusive, server[");
  command_has(command_out(), ", suspending for ");
  command_has(command_out(), ", recalled for true[");
  command_is(75, "unlock", "-w", "20ms", "db.lock");
  command_has(command_out(), ", suspending for ");
  command_has(command_out(), ", and it does not let go. Give it time (-w TIME). Else: ");
  ck_assert_int_eq(write(word[1], "x", 1), 1);
  ck_assert_int_eq(command_end(waits), 0);
  command_free(waits);
  command_is(0, "status", "-q", "db.lock");
  colock_close(lock);
  close(word[0]);
  close(word[1]);
}
END_TEST

/* Used again and again, in both modes, which converts it, and never let go: never free, and never nobody's. */
struct busy {
  colock *lock;
  bool both;
  atomic_bool stop;
};
static void *use_all_the_time(void *arg) {
  struct busy *busy = arg;
  for (unsigned round = 0; !busy->stop; round++) {
    colock_hold *hold = NULL;
    int mode = busy->both && round % 2 ? COLOCK_SHARED : COLOCK_EXCLUSIVE;
    if (colock_acquire(busy->lock, mode, &hold) != COLOCK_OK || colock_release(hold) != COLOCK_OK) return arg;
  }
  return NULL;
}

START_TEST(busy_owner_is_named_all_the_time) {
  for (int both = 0; both < 2; both++) {
    const char *path = test_path("busy.lock");
    colock_config *config = test_config("auto_release", "true", "idle_timeout", "forever", NULL);
    struct busy busy = {.both = both};
    colock_hold *hold = NULL;
    pthread_t thread;
    void *failed;
    must(colock_open(&busy.lock, path, config));
    colock_config_free(config);
    must(colock_acquire(busy.lock, COLOCK_EXCLUSIVE, &hold));
    must(colock_release(hold));
    ck_assert_int_eq(pthread_create(&thread, NULL, use_all_the_time, &busy), 0);
    for (int round = 0; round < 100 * test_seconds(20); round++) {
      colock_report *report = read_report(path);
      ck_assert_uint_eq(colock_report_count(report), 1);
      int64_t role = number(report, 0, COLOCK_ROLE);
      ck_assert_msg(role == COLOCK_HOLDER || role == COLOCK_CACHED, "role %d", (int)role);
      ck_assert_int_eq(number(report, 0, COLOCK_PID), getpid());
      colock_report_free(report);
    }
    busy.stop = true;
    ck_assert_int_eq(pthread_join(thread, &failed), 0);
    ck_assert_ptr_null(failed);
    colock_close(busy.lock);
  }
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "reports", 60);
  tcase_add_test(tcase, kept_lock_has_an_owner_but_no_holder);
  tcase_add_test(tcase, suspend_under_way_is_told_with_its_age);
  tcase_add_test(tcase, words_of_one_that_has_let_go_keep_nothing);
  tcase_add_test(tcase, kept_ones_come_behind_holders_the_longest_unused_first);
  tcase_add_test(tcase, of_two_writers_the_last_is_the_one);
  tcase_add_test(tcase, owner_that_converts_it_is_named_meanwhile);
  tcase_add_test(tcase, owner_that_lets_go_is_not_taken_for_the_next_one);
  tcase_add_test(tcase, owner_that_uses_it_all_the_time_is_named_all_the_time);
  tcase_add_test(tcase, json_tells_what_is_kept);
  tcase_add_test(tcase, stopped_owner_is_known_while_it_is_stopped);
  tcase_add_test(tcase, process_with_many_entries_is_asked_once);
  tcase_add_test(tcase, message_says_that_it_is_only_kept);
  tcase_add_test(tcase, message_says_that_its_owner_is_stopped);
  tcase = test_case(suite, "command", 60);
  tcase_add_test(tcase, status_says_that_it_is_only_kept);
  tcase_add_test(tcase, status_shows_all_who_keep_it);
  tcase_add_test(tcase, status_marks_the_stopped);
  tcase_add_test(tcase, crowd_of_readers_is_not_asked_who_is_stopped_while_nobody_waits);
  tcase_add_test(tcase, kept_lock_is_in_use_for_scripts);
  tcase_add_test(tcase, wait_stands_in_line_for_what_is_only_kept);
  tcase_add_test(tcase, unlock_asks_and_says_who_does_not_let_go);
  tcase_add_test(tcase, unlock_does_not_wait_for_the_stopped);
  tcase_add_test(tcase, to_ask_needs_permission_to_write);
  tcase = test_case(suite, "real owners", 60);
  tcase_add_test(tcase, kept_lock_is_had_by_asking);
  tcase_add_test(tcase, owner_that_is_stopped_is_told_of_and_can_be_killed);
  tcase_add_test(tcase, suspend_of_an_owner_is_told_while_it_lasts);
  tcase_add_test(tcase, busy_owner_is_named_all_the_time);
}

int main(int argc, char **argv) {
  command_find();
  return test_main(argc, argv, "cached_look", fill);
}

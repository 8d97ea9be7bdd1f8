/* test_force.c - forced unlock: which hold is judged, that it happens once, what is noted, what is left alone. */
#define _GNU_SOURCE
#include "force.h"
#include "agent.h"
#include "fault.h"
#include "planted.h"
#include "report.h"
#include "support.h"
#include "system.h"
#include "tracker.h"
#include <errno.h>
#include <pthread.h>

static const struct planted writer = {
  .slot = 3, .state = COLOCKP_HELD, .mode = COLOCK_EXCLUSIVE, .generation = 1, .pid = 5120, .tid = 5120, .uid = 1000,
  .hold_id = 9, .token = 1001, .age_ns = 125 * SECOND, .program = "migrate"};

static uint32_t generation_of(const char *path) {
  struct colockp_header header = test_header(path);
  uint64_t word = header.generation;
  ck_assert(colockp_generation_valid(word));
  return (uint32_t)word;
}

static struct colockp_region *open_region(const char *path) {
  struct colockp_settings settings = {.enabled = true, .file_mode = 0600};
  struct colockp_region *region = NULL;
  must(colockp_region_open(&region, path, NULL, &settings, colockp_now_ns() + 5 * SECOND, 0));
  return region;
}

/* ---- the public call ---- */

START_TEST(holder_is_forced_out_and_noted) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  struct colockp_header header = test_header(path);
  uint32_t recall = header.recall;
  colock_report *before = NULL;
  must(colock_force_unlock(path, "stuck since monday", &before));
  ck_assert_uint_eq(generation_of(path), 2);
  ck_assert_uint_eq(colock_report_count(before), 1); /* as it was judged */
  ck_assert_int_eq(colock_entry_number(colock_report_entry(before, 0), COLOCK_ROLE), COLOCK_HOLDER);
  ck_assert_int_eq(colock_entry_number(colock_report_entry(before, 0), COLOCK_PID), 5120);
  colock_report_free(before);
  header = test_header(path);
  ck_assert_int_eq(header.forced.pid, getpid());
  ck_assert_uint_eq(header.forced.uid, geteuid());
  ck_assert_uint_eq(header.forced.generation, 1);
  ck_assert_uint_eq(header.forced.slot, 3);
  ck_assert_str_eq(header.forced.reason, "stuck since monday");
  ck_assert_str_eq(header.forced.program, program_invocation_short_name);
  ck_assert_uint_ne(header.recall, recall);
  colock_report *after = NULL;
  must(colock_report_read(path, &after));
  ck_assert_uint_eq(colock_report_count(after), 1);
  ck_assert_int_eq(colock_entry_number(colock_report_entry(after, 0), COLOCK_ROLE), COLOCK_REVOKED);
  ck_assert_int_eq(colock_report_stat(after, "forced_pid"), getpid());
  colock_report_free(after);
  ck_assert(!test_lane_taken(path)); /* the new lane is free, while the old one is still locked */
  close(owner);
}
END_TEST

START_TEST(nobody_is_forced_out_of_a_free_lock) {
  const char *path = planted_file("a.lock");
  struct colockp_header before = test_header(path), after;
  close(planted(path, &writer)); /* dead */
  before.slots_in_use = 4;
  colock_report *report = NULL;
  must(colock_force_unlock(path, "for nothing", &report));
  ck_assert_uint_eq(colock_report_count(report), 0);
  ck_assert_int_eq(colock_report_stat(report, "generation"), 1);
  colock_report_free(report);
  after = test_header(path);
  ck_assert_mem_eq(&before, &after, sizeof before);
  must(colock_force_unlock(path, NULL, NULL));
  after = test_header(path);
  ck_assert_mem_eq(&before, &after, sizeof before);
}
END_TEST

START_TEST(waiters_and_revoked_are_no_reason) {
  const char *path = planted_file("a.lock");
  int old = planted(path, &writer);
  planted_generation(path, 2);
  int waiter =
      planted(path, &(struct planted){.slot = 6, .state = COLOCKP_WAITING, .mode = COLOCK_SHARED, .rank = 4, .pid = 8});
  must(colock_force_unlock(path, NULL, NULL));
  ck_assert_uint_eq(generation_of(path), 2);
  close(old);
  close(waiter);
}
END_TEST

START_TEST(all_readers_of_a_generation_go_together) {
  const char *path = planted_file("a.lock");
  int owners[3];
  for (uint32_t i = 0; i < 3; i++) {
    struct planted one = writer;
    one.slot = i;
    one.mode = COLOCK_SHARED;
    one.token = 0;
    owners[i] = planted(path, &one);
  }
  must(colock_force_unlock(path, NULL, NULL));
  colock_report *after = NULL;
  must(colock_report_read(path, &after));
  ck_assert_int_eq(colock_report_stat(after, "revoked"), 3);
  ck_assert_int_eq(colock_report_stat(after, "holders"), 0);
  ck_assert_str_eq(test_header(path).forced.reason, "");
  colock_report_free(after);
  for (int i = 0; i < 3; i++) close(owners[i]);
}
END_TEST

START_TEST(holder_without_a_name_is_forced_out) {
  const char *path = planted_file("a.lock");
  int fd = open(path, O_RDWR | O_CLOEXEC);
  planted_take(fd, F_RDLCK, colockp_lane(1));
  must(colock_force_unlock(path, NULL, NULL));
  ck_assert_uint_eq(generation_of(path), 2);
  ck_assert_uint_eq(test_header(path).forced.slot, COLOCKP_NO_SLOT);
  close(fd);
}
END_TEST

START_TEST(generation_goes_round_without_zero) {
  const char *path = planted_file("a.lock");
  planted_generation(path, UINT32_MAX);
  struct planted last = writer;
  last.generation = UINT32_MAX;
  int owner = planted(path, &last);
  must(colock_force_unlock(path, NULL, NULL));
  ck_assert_uint_eq(generation_of(path), 1);
  close(owner);
}
END_TEST

START_TEST(guard_of_a_stopped_process_is_not_in_the_way) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  planted_take(owner, F_WRLCK, COLOCKP_BYTE_GUARD);
  must(colock_force_unlock(path, NULL, NULL));
  ck_assert_uint_eq(generation_of(path), 2);
  close(owner);
}
END_TEST

START_TEST(long_reason_is_cut_at_a_whole_character) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  char reason[300];
  for (size_t i = 0; i + 1 < sizeof reason; i += 2) memcpy(reason + i, "\xC3\xBC", 2);
  reason[sizeof reason - 2] = '\0';
  must(colock_force_unlock(path, reason, NULL));
  ck_assert_uint_eq(strlen(test_header(path).forced.reason), 134); /* 135 would cut the last in two */
  close(owner);
}
END_TEST

static void refused(int code, const char *path) {
  colock_report *before = (colock_report *)-1;
  must_be(code, colock_force_unlock(path, NULL, &before));
  ck_assert_ptr_eq(before, (colock_report *)-1);
}

START_TEST(what_is_no_lock_file_is_refused_and_left_alone) {
  refused(COLOCK_ENOENT, test_path("absent.lock"));
  ck_assert_int_ne(access(test_path("absent.lock"), F_OK), 0);
  test_write(test_path("empty.lock"), "", 0);
  refused(COLOCK_EFOREIGN, test_path("empty.lock"));
  struct stat st;
  ck_assert_int_eq(stat(test_path("empty.lock"), &st), 0);
  ck_assert_int_eq(st.st_size, 0);
  test_write(test_path("data.lock"), "hello", 5);
  refused(COLOCK_EFOREIGN, test_path("data.lock"));
  refused(COLOCK_EFOREIGN, test_dir());
  must_be(COLOCK_EINVAL, colock_force_unlock(NULL, NULL, NULL));
  planted_field(planted_file("torn.lock"), generation, 5);
  refused(COLOCK_ECORRUPT, test_path("torn.lock"));
  struct colockp_header header = test_header(test_path("torn.lock"));
  ck_assert_uint_eq(header.generation, 5);
}
END_TEST

/* What nobody gets from both calls; 0 as expected. */
static int force_as_nobody(void *arg) {
  colock_report *before = NULL;
  struct colockp_settings settings = {.enabled = true};
  struct colockp_region *region = NULL;
  (void)arg;
  if (test_become_nobody() != 0) return 0;
  if (chdir(test_dir()) != 0) return 9;
  if (colock_force_unlock("a.lock", NULL, &before) != COLOCK_EACCES || before != NULL) return 1;
  if (colock_force_unlock("free.lock", NULL, &before) != COLOCK_EACCES || before != NULL) return 2;
  if (colockp_region_open(&region, "a.lock", NULL, &settings, 0, 0) != COLOCK_OK) return 3;
  int code = colockp_force_break(region, 1, 3, 9, NULL);
  colockp_region_unref(region);
  return code != COLOCK_EACCES;
}

START_TEST(permission_to_write_is_needed) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  ck_assert_int_eq(chmod(path, 0644), 0);
  ck_assert_int_eq(chmod(planted_file("free.lock"), 0644), 0);
  ck_assert_int_eq(test_in_child(force_as_nobody, NULL), 0);
  ck_assert_uint_eq(generation_of(path), 1);
  close(owner);
}
END_TEST

/* ---- the break itself ---- */

START_TEST(only_the_judged_hold_is_forced_out) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  struct colockp_region *region = open_region(path);
  ck_assert_int_eq(colockp_force_break(region, 1, 3, 8, NULL),
                   COLOCKP_FORCED_NOBODY); /* has released, and has the lock again */
  ck_assert_int_eq(colockp_force_break(region, 1, 4, 9, NULL), COLOCKP_FORCED_NOBODY);
  ck_assert_int_eq(colockp_force_break(region, 7, 3, 9, NULL), COLOCKP_FORCED_BEFORE);
  ck_assert_uint_eq(generation_of(path), 1);
  close(owner);
  ck_assert_int_eq(colockp_force_break(region, 1, 3, 9, NULL), COLOCKP_FORCED_NOBODY); /* died meanwhile */
  ck_assert_int_eq(colockp_force_break(region, 1, COLOCKP_NO_SLOT, 0, NULL), COLOCKP_FORCED_NOBODY);
  ck_assert_uint_eq(generation_of(path), 1);
  ck_assert_int_eq(test_header(path).forced.when_wall_ns, 0);
  colockp_region_unref(region);
}
END_TEST

START_TEST(two_who_judge_the_same_hold_break_once) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  struct colockp_region *one = open_region(path), *two = open_region(path);
  ck_assert_int_eq(colockp_force_break(one, 1, 3, 9, "first"), COLOCK_OK);
  ck_assert_int_eq(colockp_force_break(two, 1, 3, 9, "second"), COLOCKP_FORCED_BEFORE);
  ck_assert_uint_eq(generation_of(path), 2);
  ck_assert_str_eq(test_header(path).forced.reason, "first");
  colockp_region_unref(one);
  colockp_region_unref(two);
  close(owner);
}
END_TEST

/* Between the last look at the hold and the swap of the generation somebody else breaks: the second swap must fail. */
static struct colockp_region *rival;
static int (*kernel_fcntl)(int, int, struct flock *);
static int rival_breaks(int fd, int command, struct flock *range) {
  colockp_system.fcntl_lock = kernel_fcntl;
  ck_assert_int_eq(colockp_force_break(rival, 1, 3, 9, "rival"), COLOCK_OK);
  return kernel_fcntl(fd, command, range);
}

START_TEST(lost_race_for_the_generation_breaks_nothing) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  struct colockp_region *region = open_region(path);
  rival = open_region(path);
  kernel_fcntl = colockp_system.fcntl_lock;
  colockp_system.fcntl_lock = rival_breaks; /* the last call before the swap is the look at SLOT */
  ck_assert_int_eq(colockp_force_break(region, 1, 3, 9, "late"), COLOCKP_FORCED_BEFORE);
  ck_assert_uint_eq(generation_of(path), 2);
  ck_assert_str_eq(test_header(path).forced.reason, "rival");
  colockp_region_unref(region);
  colockp_region_unref(rival);
  close(owner);
}
END_TEST

static long rival_at;
static int rival_breaks_later(int fd, int command, struct flock *range) {
  if (--rival_at == 0) return rival_breaks(fd, command, range);
  return kernel_fcntl(fd, command, range);
}

START_TEST(rival_at_any_moment_is_as_good_as_oneself) {
  bool late = true;
  for (long n = 1; late; n++) {
    const char *path = planted_file("a.lock");
    int owner = planted(path, &writer);
    rival = open_region(path);
    rival_at = n;
    kernel_fcntl = colockp_system.fcntl_lock;
    colockp_system.fcntl_lock = rival_breaks_later;
    must(colock_force_unlock(path, "late", NULL));
    colockp_system.fcntl_lock = kernel_fcntl;
    late = rival_at <= 0;
    ck_assert_uint_eq(generation_of(path), 2);
    ck_assert_str_eq(test_header(path).forced.reason, late ? "rival" : "late");
    ck_assert(late || n > 3); /* it was tried in between at all */
    colockp_region_unref(rival);
    close(owner);
  }
}
END_TEST

/* Whoever holds releases and takes the lock again between the look at the file and the look before the swap. */
static ssize_t (*kernel_pread)(int, void *, size_t, off_t);
static int new_holds;
static ssize_t ever_new_holds(int fd, void *buffer, size_t size, off_t offset) {
  ssize_t n = kernel_pread(fd, buffer, size, offset);
  if (offset == colockp_at_slot(3) && size > sizeof(uint64_t) && new_holds > 0) {
    struct colockp_activity *activity =
        (struct colockp_activity *)((char *)buffer + offsetof(struct colockp_slot, activity));
    activity->hold_id += (uint64_t)new_holds--;
  }
  return n;
}

START_TEST(changing_holders_are_judged_anew_but_not_for_ever) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  colock_report *before = NULL;
  kernel_pread = colockp_system.pread;
  colockp_system.pread = ever_new_holds;
  new_holds = 100000;
  must_be(COLOCK_EBUSY, colock_force_unlock(path, NULL, &before));
  ck_assert_ptr_null(before);
  ck_assert_int_gt(new_holds, 90000);
  ck_assert_uint_eq(generation_of(path), 1);
  new_holds = 11;
  must(colock_force_unlock(path, NULL, &before));
  ck_assert_uint_eq(generation_of(path), 2);
  colockp_system.pread = kernel_pread;
  colock_report_free(before);
  close(owner);
}
END_TEST

START_TEST(damaged_generation_is_left_alone) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  struct colockp_region *region = open_region(path);
  planted_field(path, generation, 5);
  must_be(COLOCK_ECORRUPT, colockp_force_break(region, 5, 3, 9, NULL));
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.generation, 5);
  colockp_region_unref(region);
  close(owner);
}
END_TEST

struct breaker {
  const char *path;
  pthread_barrier_t *together;
  int code;
};
static void *break_at_once(void *arg) {
  struct breaker *breaker = arg;
  struct colockp_region *region = open_region(breaker->path);
  pthread_barrier_wait(breaker->together);
  breaker->code = colockp_force_break(region, 1, 3, 9, NULL);
  colockp_region_unref(region);
  return NULL;
}

START_TEST(of_many_at_once_one_breaks) {
  for (int round = 0; round < 20; round++) {
    const char *path = planted_file("a.lock");
    int owner = planted(path, &writer), done = 0;
    pthread_barrier_t together;
    pthread_t threads[4];
    struct breaker breakers[4];
    ck_assert_int_eq(pthread_barrier_init(&together, NULL, 4), 0);
    for (int i = 0; i < 4; i++) {
      breakers[i] = (struct breaker){.path = path, .together = &together};
      ck_assert_int_eq(pthread_create(&threads[i], NULL, break_at_once, &breakers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
      pthread_join(threads[i], NULL);
      ck_assert(breakers[i].code == COLOCK_OK || breakers[i].code == COLOCKP_FORCED_BEFORE);
      done += breakers[i].code == COLOCK_OK;
    }
    ck_assert_int_eq(done, 1);
    ck_assert_uint_eq(generation_of(path), 2);
    pthread_barrier_destroy(&together);
    close(owner);
  }
}
END_TEST

/* ---- with real processes ---- */

START_TEST(real_holder_learns_that_it_was_forced_out) {
  const char *path = test_path("real.lock");
  test_make_lock(path);
  struct agent *holder = agent_open(path), *next = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 0"), COLOCK_OK);
  int old = holder->hold;
  uint64_t token = holder->token;
  ck_assert_int_eq(agent_call(next, "try x"), COLOCK_EBUSY);
  colock_report *before = NULL;
  must(colock_force_unlock(path, "test", &before));
  ck_assert_int_eq(colock_entry_number(colock_report_entry(before, 0), COLOCK_PID), holder->pid);
  colock_report_free(before);
  ck_assert_int_eq(agent_call(next, "try x"), COLOCK_OK);
  ck_assert_uint_gt(next->token, token);
  ck_assert_int_ne(next->abandoned, 0); /* a writer that was forced out may have left half of its work */
  ck_assert_int_eq(agent_call(holder, "check %d", old), COLOCK_EREVOKED);
  colock_report *after = NULL;
  must(colock_report_read(path, &after));
  ck_assert_uint_eq(colock_report_count(after), 2);
  ck_assert_int_eq(colock_entry_number(colock_report_entry(after, 0), COLOCK_PID), next->pid);
  ck_assert_int_eq(colock_entry_number(colock_report_entry(after, 1), COLOCK_ROLE), COLOCK_REVOKED);
  ck_assert_int_eq(colock_entry_number(colock_report_entry(after, 1), COLOCK_PID), holder->pid);
  colock_report_free(after);
  ck_assert_int_eq(agent_call(holder, "release %d", old), COLOCK_EREVOKED);
  must(colock_report_read(path, &after));
  ck_assert_int_eq(colock_report_stat(after, "revoked"), 0);
  colock_report_free(after);
}
END_TEST

START_TEST(waiter_gets_a_forced_lock) {
  const char *path = test_path("real.lock");
  test_make_lock(path);
  struct agent *holder = agent_open(path), *waiter = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire s 0"), COLOCK_OK);
  agent_send(waiter, "acquire x 20000");
  test_await_waiters(path, 1);
  must(colock_force_unlock(path, NULL, NULL));
  ck_assert_int_eq(agent_answer(waiter), COLOCK_OK);
}
END_TEST

/* ---- faults ---- */

START_TEST(no_lock_is_taken) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  tracker_start();
  must(colock_force_unlock(path, NULL, NULL));
  ck_assert_uint_eq(tracker_locks(), 0);
  ck_assert_str_eq(tracker_stop(), "");
  close(owner);
}
END_TEST

START_TEST(failing_calls_force_nothing_or_all) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  unsigned descriptors = test_descriptors();
  fault_install();
  for (int call = 0; call < FAULT_COUNT; call++) {
    for (const int *error = fault_errnos((enum fault_call)call); *error >= 0; error++) {
      for (long n = 1;; n++) {
        colock_report *before = NULL;
        planted_generation(path, 1);
        fault_fail_at((enum fault_call)call, n, *error);
        int code = colock_force_unlock(path, NULL, &before);
        bool hit = fault_hit();
        fault_disarm();
        ck_assert_msg(code == COLOCK_OK ? before != NULL && generation_of(path) == 2
                                        : before == NULL && generation_of(path) == 1,
                      "%s %ld: code %d, generation %u", fault_names[call], n, code, generation_of(path));
        colock_report_free(before);
        ck_assert_int_eq(fault_allocations(), 0);
        ck_assert_uint_eq(test_descriptors(), descriptors);
        if (!hit) break;
      }
    }
  }
  fault_remove();
  close(owner);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "force", 60);
  tcase_add_test(tcase, holder_is_forced_out_and_noted);
  tcase_add_test(tcase, nobody_is_forced_out_of_a_free_lock);
  tcase_add_test(tcase, waiters_and_revoked_are_no_reason);
  tcase_add_test(tcase, all_readers_of_a_generation_go_together);
  tcase_add_test(tcase, holder_without_a_name_is_forced_out);
  tcase_add_test(tcase, generation_goes_round_without_zero);
  tcase_add_test(tcase, guard_of_a_stopped_process_is_not_in_the_way);
  tcase_add_test(tcase, long_reason_is_cut_at_a_whole_character);
  tcase_add_test(tcase, what_is_no_lock_file_is_refused_and_left_alone);
  tcase_add_test(tcase, permission_to_write_is_needed);
  tcase_add_test(tcase, only_the_judged_hold_is_forced_out);
  tcase_add_test(tcase, two_who_judge_the_same_hold_break_once);
  tcase_add_test(tcase, lost_race_for_the_generation_breaks_nothing);
  tcase_add_test(tcase, rival_at_any_moment_is_as_good_as_oneself);
  tcase_add_test(tcase, changing_holders_are_judged_anew_but_not_for_ever);
  tcase_add_test(tcase, damaged_generation_is_left_alone);
  tcase_add_test(tcase, of_many_at_once_one_breaks);
  tcase_add_test(tcase, real_holder_learns_that_it_was_forced_out);
  tcase_add_test(tcase, waiter_gets_a_forced_lock);
  tcase_add_test(tcase, no_lock_is_taken);
  tcase_add_test(tcase, failing_calls_force_nothing_or_all);
}

int main(int argc, char **argv) { return test_main(argc, argv, "force", fill); }

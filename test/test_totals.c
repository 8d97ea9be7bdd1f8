/* test_totals.c - what is made of counted words: buckets, percentiles, bases, who took longest. Against lock files
 * written by hand, so that every word is known; with the table of system calls changed where a file has to change while
 * it is read. */
#define _GNU_SOURCE
#include "fault.h"
#include "planted.h"
#include "stats_names.h"
#include "system.h"
#include "totals.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/wait.h>

static const char *path;

#define AT_COUNTERS(slot) (colockp_at_slot(slot) + (int64_t)offsetof(struct colockp_slot, statistics.counters))

static void add_word(int64_t at, uint64_t word) { planted_bytes(path, at, &word, sizeof word); }

static int64_t of_bucket(unsigned which, unsigned bucket) {
  return (int64_t)(offsetof(struct colockp_counters, times) + which * sizeof(struct colockp_times) +
                   offsetof(struct colockp_times, buckets) + bucket * sizeof(uint64_t));
}

static int64_t of_sum(unsigned which) {
  return (int64_t)(offsetof(struct colockp_counters, times) + which * sizeof(struct colockp_times));
}

static void count(uint32_t slot, unsigned what, uint64_t value) {
  add_word(AT_COUNTERS(slot) + (int64_t)(what * sizeof value), value);
}

static void timed(uint32_t slot, unsigned which, uint64_t ns, uint64_t times) {
  add_word(AT_COUNTERS(slot) + of_bucket(which, colockp_bucket(ns)), times);
}

static void longest(uint32_t slot, unsigned which, uint64_t epoch, int64_t ns, uint64_t sequence) {
  struct colockp_longest one = {.sequence = sequence, .epoch = epoch, .ns = ns,
                                .wall_ns = colockp_wall_ns() - 5 * SECOND, .pid_tid = 4711 | UINT64_C(4712) << 32};
  size_t at = offsetof(struct colockp_slot, statistics.longest) + which * sizeof one;
  memcpy((void *)one.program, "slow\x1b", 5);
  planted_bytes(path, colockp_at_slot(slot) + (int64_t)at, &one, sizeof one);
}

static void begin(uint32_t slots) {
  path = planted_file("a.lock");
  planted_field(path, slots_in_use, slots);
}

/* ---- buckets ---- */

START_TEST(buckets_meet_without_a_gap) {
  ck_assert_uint_eq(colockp_bucket(0), 0);
  ck_assert_int_eq(colockp_bucket_end(0), 64);
  int64_t from = 64;
  for (unsigned i = 0; i < COLOCKP_BUCKETS - 1; i++) {
    int64_t end = colockp_bucket_end(i);
    ck_assert_uint_eq(colockp_bucket((uint64_t)end - 1), i);
    ck_assert_uint_eq(colockp_bucket((uint64_t)end), i + 1);
    if (i > 0) ck_assert_int_le(end - from, from / 4); /* so exact is a percentile */
    from = end;
  }
  for (unsigned i = 1; i + 4 < COLOCKP_BUCKETS - 1; i++) /* four an octave */
    ck_assert_int_eq(colockp_bucket_end(i + 4), 2 * colockp_bucket_end(i));
  ck_assert_int_eq(from, INT64_C(1) << 46);
  ck_assert_uint_eq(colockp_bucket(UINT64_MAX), COLOCKP_BUCKETS - 1);
  ck_assert_int_eq(colockp_bucket_end(COLOCKP_BUCKETS - 1), INT64_MAX);
  ck_assert_int_le(colockp_bucket_end(0), 100);
  ck_assert_int_ge(from, 300 * SECOND);
}
END_TEST

START_TEST(buckets_are_read_one_by_one) {
  static const char *const names[] = {"hold_shared", "hold_exclusive", "wait_shared", "wait_exclusive"};
  begin(1);
  for (unsigned i = 0; i < COLOCKP_TIMES; i++) timed(0, i, 1000, 100 + i);
  colock_stats *stats = stats_read(path);
  for (unsigned i = 0; i < COLOCKP_TIMES; i++) {
    uint64_t counted, all = 0;
    int64_t end, before = 0;
    size_t index = 0;
    while ((end = colock_stats_bucket(stats, names[i], index, &counted)) >= 0) {
      ck_assert_int_gt(end, before);
      if (counted) ck_assert(before <= 1000 && 1000 < end);
      all += counted;
      before = end;
      index++;
    }
    ck_assert_int_eq(before, INT64_MAX);
    ck_assert_uint_eq(index, COLOCKP_BUCKETS);
    ck_assert_uint_eq(all, 100 + i);
  }
  uint64_t untouched = 7;
  ck_assert_int_eq(colock_stats_bucket(stats, "hold", 0, &untouched), -1);
  ck_assert_int_eq(colock_stats_bucket(stats, "hold_shared_p50_ns", 0, &untouched), -1);
  ck_assert_int_eq(colock_stats_bucket(stats, "hold_shared", SIZE_MAX, &untouched), -1);
  ck_assert_int_eq(colock_stats_bucket(NULL, "hold_shared", 0, &untouched), -1);
  ck_assert_int_eq(colock_stats_bucket(stats, NULL, 0, &untouched), -1);
  ck_assert_int_eq(colock_stats_bucket(stats, "hold_shared", 0, NULL), -1);
  ck_assert_uint_eq(untouched, 7);
  colock_stats_free(stats);
}
END_TEST

/* ---- percentiles ---- */

static int64_t percentile(const struct colockp_timed *times, int64_t peak_ns, unsigned per_cent) {
  struct colockp_peak peak = {.ns = peak_ns};
  return colockp_timed_percentile(times, &peak, per_cent);
}

START_TEST(percentiles_are_ends_of_buckets) {
  struct colockp_timed times = {.sum_ns = 0};
  ck_assert_int_eq(percentile(&times, 0, 50), -1);
  ck_assert_int_eq(percentile(&times, 5000, 100), -1);
  times.buckets[colockp_bucket(1000)] = 50; /* 896 to 1023 */
  times.buckets[colockp_bucket(2000)] = 49; /* 1792 to 2047 */
  times.buckets[colockp_bucket(9000)] = 1;  /* 8192 to 10239 */
  ck_assert_int_eq(percentile(&times, 9000, 0), 1024);
  ck_assert_int_eq(percentile(&times, 9000, 50), 1024);
  ck_assert_int_eq(percentile(&times, 9000, 51), 2048);
  ck_assert_int_eq(percentile(&times, 9000, 99), 2048);
  ck_assert_int_eq(percentile(&times, 9000, 100), 9000);
  times.buckets[colockp_bucket(9000)] = 2; /* of 101: the 99 per cent are 99.99, which is the 100th */
  ck_assert_int_eq(percentile(&times, 9000, 99), 9000); /* no more than the longest */
  ck_assert_int_eq(percentile(&times, 8192, 99), 8192);
  ck_assert_int_eq(percentile(&times, 0, 99), 8192);    /* who died before it noted the longest: as far as is known */
  ck_assert_int_eq(percentile(&times, 2000, 100), 8192);
  ck_assert_int_eq(percentile(&times, 20000, 100), 20000); /* noted after a reset, counted before it */
}
END_TEST

START_TEST(percentiles_of_few_and_of_very_many) {
  struct colockp_timed one = {.buckets = {0}}, many = {.buckets = {0}};
  one.buckets[0] = 1;
  ck_assert_int_eq(percentile(&one, 7, 1), 7);
  ck_assert_int_eq(percentile(&one, 7, 100), 7);
  ck_assert_int_eq(percentile(&one, 0, 100), 0);
  many.buckets[1] = UINT64_C(1) << 62;
  many.buckets[COLOCKP_BUCKETS - 1] = UINT64_C(1) << 62;
  ck_assert_int_eq(percentile(&many, INT64_MAX, 50), 80);
  ck_assert_int_eq(percentile(&many, INT64_MAX, 51), INT64_MAX);
  ck_assert_int_eq(percentile(&many, 0, 99), INT64_C(1) << 46);
}
END_TEST

/* ---- sums ---- */

/* Every word of every slot that was ever in use, whoever has it now; none of a slot beyond. */
START_TEST(slots_are_summed) {
  begin(3);
  for (uint32_t slot = 0; slot < 4; slot++) {
    for (unsigned what = 0; what < COLOCKP_N_FORCED; what++) count(slot, what, (slot + 1) * (what + 1));
    timed(slot, COLOCKP_T_HOLDS, 100, 7);
    add_word(AT_COUNTERS(slot) + of_sum(COLOCKP_T_HOLDS), 700);
  }
  planted_field(path, deaths, 1000);
  planted_field(path, forced_unlocks, 2000);
  stats_are(path, "acquisitions_shared", 6 * (1 + 3), "acquisitions_exclusive", 6 * (2 + 4), "cached_shared", 6 * 3,
            "cached_exclusive", 6 * 4, "deaths_shared", 6 * 5, "deaths_exclusive", 6 * 6 + 1000, "busy", 6 * 7,
            "timeouts", 6 * 8, "cancels", 6 * 9, "deadlocks", 6 * 10, "upgrades", 6 * 11, "downgrades", 6 * 12,
            "recalls", 6 * 13, "forced_unlocks", 2000, "hold_shared_count", 21, NULL);
  ck_assert_int_eq(stats_number(path, "hold_shared_sum_ns"), 2100);
}
END_TEST

START_TEST(counts_are_64_bits_wide) {
  begin(2);
  count(0, COLOCKP_N_GRANTS, UINT64_C(1) << 32);
  count(1, COLOCKP_N_HITS, UINT64_C(1) << 53);
  timed(0, COLOCKP_T_HOLDS, 100, UINT64_C(1) << 40);
  count(0, COLOCKP_N_BUSY, UINT64_MAX);
  colock_stats *stats = stats_read(path);
  ck_assert_int_eq(colock_stats_number(stats, "acquisitions_shared"), (INT64_C(1) << 53) + (INT64_C(1) << 32));
  ck_assert_int_eq(colock_stats_number(stats, "hold_shared_count"), INT64_C(1) << 40);
  ck_assert_int_eq(colock_stats_number(stats, "busy"), INT64_MAX);
  ck_assert_ptr_nonnull(strstr(colock_stats_json(stats), "\"acquisitions_shared\":\"9007203549708288\""));
  colock_stats_free(stats);
}
END_TEST

/* ---- bases ---- */

static void plant_base(uint64_t epoch, uint64_t grants) {
  add_word(colockp_at_base(epoch), grants);
  add_word(colockp_at_base(epoch) + of_bucket(COLOCKP_T_HOLDS, 3), 2 * grants);
}

START_TEST(base_of_the_epoch_is_subtracted) {
  begin(1);
  count(0, COLOCKP_N_GRANTS, 100);
  add_word(AT_COUNTERS(0) + of_bucket(COLOCKP_T_HOLDS, 3), 100);
  plant_base(1, 10);
  plant_base(2, 20);
  stats_are(path, "acquisitions_shared", 100, "hold_shared_count", 100, NULL); /* never reset */
  planted_field(path, statistics_epoch, 1);
  stats_are(path, "acquisitions_shared", 90, "hold_shared_count", 80, NULL);
  planted_field(path, statistics_epoch, 2);
  stats_are(path, "acquisitions_shared", 80, "hold_shared_count", 60, NULL);
  planted_field(path, statistics_epoch, 7);
  stats_are(path, "acquisitions_shared", 90, "hold_shared_count", 80, NULL);
  plant_base(7, 101); /* damage */
  stats_are(path, NULL);
  planted_field(path, statistics_since_wall_ns, colockp_wall_ns() - 100 * SECOND);
  int64_t age = stats_number(path, "age_ms");
  ck_assert(age >= 100000 && age < 160000);
  planted_field(path, statistics_since_wall_ns, colockp_wall_ns() + 100 * SECOND); /* the clock was set back */
  ck_assert_int_eq(stats_number(path, "age_ms"), 0);
}
END_TEST

static ssize_t (*kernel_pread)(int, void *, size_t, off_t);
static int changes_left; /* changes of the file, while it is read */

/* Somebody resets while the base is read: after half of it. The next reset writes the other one. */
static ssize_t pread_amid_a_reset(int fd, void *buffer, size_t size, off_t offset) {
  uint64_t epoch = test_header(path).statistics_epoch;
  if (offset != colockp_at_base(epoch) || changes_left == 0)
    return kernel_pread(fd, buffer, size, offset);
  changes_left--;
  ssize_t half = kernel_pread(fd, buffer, size / 2, offset);
  for (int i = 1; i <= 2; i++) {
    plant_base(epoch + (uint64_t)i, 50 + epoch + (uint64_t)i);
    planted_field(path, statistics_epoch, epoch + (uint64_t)i);
  }
  return half;
}

START_TEST(base_is_never_seen_half_written) {
  begin(1);
  count(0, COLOCKP_N_GRANTS, 1000);
  add_word(AT_COUNTERS(0) + of_bucket(COLOCKP_T_HOLDS, 3), 1000);
  plant_base(1, 10);
  planted_field(path, statistics_epoch, 1);
  kernel_pread = colockp_system.pread;
  colockp_system.pread = pread_amid_a_reset;
  for (changes_left = 0; changes_left < 4; changes_left++) {
    int left = changes_left;
    colock_stats *stats = stats_read(path);
    int64_t grants = 1000 - colock_stats_number(stats, "acquisitions_shared");
    ck_assert_int_eq(1000 - colock_stats_number(stats, "hold_shared_count"), 2 * grants);
    colock_stats_free(stats);
    ck_assert_int_eq(changes_left, 0);
    changes_left = left;
  }
  changes_left = 1000;
  colock_stats *none = NULL;
  must_be(COLOCK_EBUSY, colock_stats_read(path, &none));
  ck_assert_ptr_null(none);
  colockp_system.pread = kernel_pread;
}
END_TEST

/* Who cannot write the base, or not whole, has changed nothing. */
START_TEST(reset_that_fails_changes_nothing) {
  path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_hold *hold;
  for (int i = 0; i < 3; i++) {
    must(colock_acquire(lock, COLOCK_SHARED, &hold));
    must(colock_release(hold));
    fault_install();
    fault_fail_at(FAULT_pwrite, 1, ENOSPC);
    must_be(COLOCK_ENOSPC, colock_stats_reset(path));
    ck_assert(fault_hit());
    fault_remove();
    ck_assert_uint_eq(test_header(path).guard_slot, 0);
    stats_are(path, "acquisitions_shared", 1, "hold_shared_count", 1, NULL);
    fault_install();
    fault_fail_at(FAULT_pwrite, 1, 0); /* half of it at first: goes on */
    must(colock_stats_reset(path));
    ck_assert(fault_hit());
    fault_remove();
    stats_are(path, NULL);
  }
  colock_close(lock);
}
END_TEST

/* ---- who took longest ---- */

START_TEST(longest_of_all_slots_in_the_epoch) {
  begin(4);
  planted_field(path, statistics_epoch, 3);
  for (uint32_t slot = 0; slot < 4; slot++) timed(slot, COLOCKP_T_WAITS, 1000, 1);
  longest(0, COLOCKP_T_WAITS, 3, 990, 4);
  longest(1, COLOCKP_T_WAITS, 3, 1001, 4);
  longest(2, COLOCKP_T_WAITS, 2, 5000, 4); /* of before the reset */
  longest(3, COLOCKP_T_WAITS, 3, 6000, 5); /* its owner died while it wrote, or is stopped */
  colock_stats *stats = stats_read(path);
  ck_assert_int_eq(colock_stats_number(stats, "wait_shared_max_ns"), 1001);
  ck_assert_int_eq(colock_stats_number(stats, "wait_shared_p50_ns"), 1001);
  ck_assert_int_eq(colock_stats_number(stats, "wait_shared_max_pid"), 4711);
  ck_assert_int_eq(colock_stats_number(stats, "wait_shared_max_tid"), 4712);
  ck_assert_str_eq(colock_stats_text(stats, "wait_shared_max_program"), "slow\x1b");
  int64_t age = colock_stats_number(stats, "wait_shared_max_age_ms");
  ck_assert(age >= 5000 && age < 65000);
  colock_stats_free(stats);
}
END_TEST

static ssize_t pread_of_one_being_written(int fd, void *buffer, size_t size, off_t offset) {
  if (size == sizeof(struct colockp_longest) && changes_left > 0) {
    changes_left--;
    longest(0, COLOCKP_T_WAITS, 0, 1010 + changes_left, 6 + 2 * (uint64_t)changes_left);
  }
  return kernel_pread(fd, buffer, size, offset);
}

/* It changes from one look to the next: looked at until it rests, not for ever. */
START_TEST(longest_that_is_being_written_is_read_again) {
  begin(1);
  timed(0, COLOCKP_T_WAITS, 1000, 1);
  longest(0, COLOCKP_T_WAITS, 0, 1000, 4);
  kernel_pread = colockp_system.pread;
  colockp_system.pread = pread_of_one_being_written;
  changes_left = 3;
  ck_assert_int_eq(stats_number(path, "wait_shared_max_ns"), 1010);
  changes_left = 1000;
  colock_stats *stats = stats_read(path);
  ck_assert_int_eq(colock_stats_number(stats, "wait_shared_max_ns"), 896); /* its bucket begins there */
  ck_assert_int_eq(colock_stats_number(stats, "wait_shared_max_pid"), -1);
  ck_assert_ptr_null(colock_stats_text(stats, "wait_shared_max_program"));
  colock_stats_free(stats);
  colockp_system.pread = kernel_pread;
}
END_TEST

/* ---- deaths that nobody has noticed ---- */

enum { NO_PID = 1 << 22 }; /* the kernel's limit: no process, no thread of the kernel has it */

START_TEST(words_of_the_dead_are_deaths) {
  static const struct {
    uint32_t state;
    int mode;
    bool inherited, marked;
    const char *name;
  } c[] = {
    {COLOCKP_HELD, COLOCK_SHARED, false, false, "deaths_shared"},
    {COLOCKP_UPGRADING, COLOCK_SHARED, false, false, "deaths_shared"},
    {COLOCKP_HELD, COLOCK_SHARED, true, false, NULL},
    {COLOCKP_CACHED, COLOCK_SHARED, false, false, NULL},
    {COLOCKP_WAITING, COLOCK_SHARED, false, false, NULL},
    {COLOCKP_HELD, COLOCK_EXCLUSIVE, false, true, "deaths_exclusive"},
    {COLOCKP_HELD, COLOCK_EXCLUSIVE, true, true, "deaths_exclusive"}, /* that is how the next writer sees it */
    {COLOCKP_HELD, COLOCK_EXCLUSIVE, false, false, NULL},             /* it let go, or it was noticed */
    {COLOCKP_CACHED, COLOCK_EXCLUSIVE, false, false, NULL},
  };
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    begin(1);
    struct planted one = {.slot = 0, .state = c[i].state, .mode = c[i].mode, .generation = 1, .pid = NO_PID,
                          .hold_id = 9, .token = c[i].mode == COLOCK_EXCLUSIVE ? 990 : 0,
                          .inherited_pid = c[i].inherited ? 78 : 0};
    int owner = planted(path, &one);
    if (c[i].marked) planted_field(path, writer, 990);
    stats_are(path, NULL); /* it lives */
    close(owner);
    stats_are(path, c[i].name, 1, NULL);
    must(colock_stats_reset(path));
    stats_are(path, NULL);
    if (c[i].marked) {
      planted_field(path, statistics_epoch, 0);
      planted_field(path, forced_token, 990);
      stats_are(path, NULL); /* it was forced out before */
    }
    unlink(path);
  }
}
END_TEST

/* ---- names, JSON, files ---- */

static int (*kernel_lock)(int fd, int command, struct flock *range);
static int asked;

static int counting_lock(int fd, int command, struct flock *range) {
  asked++;
  return kernel_lock(fd, command, range);
}

static int asked_for(const struct planted *one, const char *name) {
  begin(1);
  int owner = planted(path, one);
  close(owner);
  asked = 0;
  kernel_lock = colockp_system.fcntl_lock;
  colockp_system.fcntl_lock = counting_lock;
  stats_are(path, name, 1, NULL);
  colockp_system.fcntl_lock = kernel_lock;
  unlink(path);
  return asked;
}

/* Of a process that lives it is known when its slot is taken anew. */
START_TEST(kernel_is_asked_for_the_dead_alone) {
  struct planted one = {.slot = 0, .state = COLOCKP_HELD, .mode = COLOCK_SHARED, .generation = 1, .pid = getpid()};
  ck_assert_int_eq(asked_for(&one, NULL), 0);
  one.pid = fork();
  ck_assert_int_ge(one.pid, 0);
  if (one.pid == 0) _exit(0);
  ck_assert_int_eq(waitpid(one.pid, NULL, 0), one.pid);
  ck_assert_int_eq(asked_for(&one, "deaths_shared"), 1);
  one.pid = getpid();
  one.boot_id = "00000000-0000-4000-8000-000000000000"; /* elsewhere: nothing is known of it */
  ck_assert_int_eq(asked_for(&one, "deaths_shared"), 1);
}
END_TEST

START_TEST(unknown_names_have_no_number) {
  static const char *const wrong[] = {"", "hold", "hold_shared", "hold_shared_", "hold_shared_p51_ns",
                                      "hold_shared_p50", "acquisitions", "wait_shared_count_", "hold_sharedcount"};
  begin(1);
  timed(0, COLOCKP_T_HOLDS, 100, 1);
  colock_stats *stats = stats_read(path);
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ck_assert_int_eq(colock_stats_number(stats, wrong[i]), -1);
    ck_assert_ptr_null(colock_stats_text(stats, wrong[i]));
  }
  ck_assert_int_eq(colock_stats_number(stats, NULL), -1);
  ck_assert_int_eq(colock_stats_number(NULL, "busy"), -1);
  ck_assert_ptr_null(colock_stats_text(stats, NULL));
  ck_assert_ptr_null(colock_stats_text(NULL, "hold_shared_max_program"));
  ck_assert_ptr_null(colock_stats_json(NULL));
  colock_stats_free(stats);
  colock_stats_free(NULL);
}
END_TEST

START_TEST(json_says_all) {
  begin(1);
  count(0, COLOCKP_N_GRANTS + 1, 3);
  timed(0, COLOCKP_T_HOLDS + 1, 1000, 2);
  timed(0, COLOCKP_T_HOLDS + 1, UINT64_MAX, 1);
  add_word(AT_COUNTERS(0) + of_sum(COLOCKP_T_HOLDS + 1), 12345);
  longest(0, COLOCKP_T_HOLDS + 1, 0, INT64_C(1) << 46, 2);
  colock_stats *stats = stats_read(path);
  const char *json = colock_stats_json(stats);
  static const char *const parts[] = {
    "{\"version\":1,\"path\":\"/", "\"acquisitions_shared\":0,\"acquisitions_exclusive\":3,", "\"forced_unlocks\":0,",
    "\"wait_shared\":{\"count\":0,\"sum_ns\":0,\"p50_ns\":null,\"p90_ns\":null,\"p99_ns\":null,\"max_ns\":null,"
    "\"longest\":null,\"buckets\":[]}",
    "\"hold_exclusive\":{\"count\":3,\"sum_ns\":12345,\"p50_ns\":1024,\"p90_ns\":70368744177664,"
    "\"p99_ns\":70368744177664,\"max_ns\":70368744177664,\"longest\":{\"age_ms\":",
    ",\"pid\":4711,\"tid\":4712,\"program\":\"slow\\u001b\"},\"buckets\":[{\"below_ns\":1024,\"count\":2},"
    "{\"below_ns\":null,\"count\":1}]}"};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    ck_assert_msg(strstr(json, parts[i]) != NULL, "%s\nlacks %s", json, parts[i]);
  for (size_t i = 0; i + 4 < STATS_NAMES; i++) ck_assert_ptr_nonnull(strstr(json, stats_names[i]));
  ck_assert_ptr_eq(colock_stats_json(stats), json);
  colock_stats_free(stats);
}
END_TEST

START_TEST(what_is_no_lock_file_is_refused) {
  colock_stats *stats = NULL;
  path = test_path("a.lock");
  must_be(COLOCK_EINVAL, colock_stats_read(NULL, &stats));
  must_be(COLOCK_EINVAL, colock_stats_read(path, NULL));
  must_be(COLOCK_EINVAL, colock_stats_read("", &stats));
  must_be(COLOCK_ENOENT, colock_stats_read(path, &stats));
  ck_assert_int_ne(access(path, F_OK), 0);
  test_write(path, "data", 4);
  must_be(COLOCK_EFOREIGN, colock_stats_read(path, &stats));
  must_be(COLOCK_EFOREIGN, colock_stats_read(test_dir(), &stats));
  unlink(path);
  begin(1);
  ck_assert_int_eq(truncate(path, colockp_at_slot(0) + 100), 0);
  must_be(COLOCK_ECORRUPT, colock_stats_read(path, &stats));
  ck_assert_ptr_null(stats);
}
END_TEST

/* Who resets a file after a reboot has nobody's words to keep but these. */
START_TEST(counts_stay_over_a_reboot) {
  begin(2);
  count(1, COLOCKP_N_GRANTS, 9);
  planted_field(path, deaths, 3);
  planted_field(path, forced_unlocks, 4);
  planted_field(path, writer, 990); /* it died when the machine went down */
  plant_base(5, 2);
  planted_field(path, statistics_epoch, 5);
  planted_field(path, statistics_since_wall_ns, colockp_wall_ns() - 100 * SECOND);
  struct colockp_header before = test_header(path);
  before.boot_id[0] ^= 1;
  planted_bytes(path, offsetof(struct colockp_header, boot_id), before.boot_id, sizeof before.boot_id);
  colock_close(test_open(path));
  ck_assert_str_ne(test_header(path).boot_id, before.boot_id);
  stats_are(path, "acquisitions_shared", 7, "deaths_exclusive", 4, "forced_unlocks", 4, NULL);
  ck_assert_int_ge(stats_number(path, "age_ms"), 100000);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "totals", 30);
  tcase_add_test(tcase, buckets_meet_without_a_gap);
  tcase_add_test(tcase, buckets_are_read_one_by_one);
  tcase_add_test(tcase, percentiles_are_ends_of_buckets);
  tcase_add_test(tcase, percentiles_of_few_and_of_very_many);
  tcase_add_test(tcase, slots_are_summed);
  tcase_add_test(tcase, counts_are_64_bits_wide);
  tcase_add_test(tcase, base_of_the_epoch_is_subtracted);
  tcase_add_test(tcase, base_is_never_seen_half_written);
  tcase_add_test(tcase, reset_that_fails_changes_nothing);
  tcase_add_test(tcase, longest_of_all_slots_in_the_epoch);
  tcase_add_test(tcase, longest_that_is_being_written_is_read_again);
  tcase_add_test(tcase, words_of_the_dead_are_deaths);
  tcase_add_test(tcase, kernel_is_asked_for_the_dead_alone);
  tcase_add_test(tcase, unknown_names_have_no_number);
  tcase_add_test(tcase, json_says_all);
  tcase_add_test(tcase, what_is_no_lock_file_is_refused);
  tcase_add_test(tcase, counts_stay_over_a_reboot);
}

int main(int argc, char **argv) { return test_main(argc, argv, "totals", fill); }

/* test_report.c - what a report says, against lock files written by hand and record locks taken by the test. */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "planted.h"
#include "report.h"
#include "support.h"
#include "system.h"
#include "tracker.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

static const struct planted writer = {
  .slot = 3, .state = COLOCKP_HELD, .mode = COLOCK_EXCLUSIVE, .generation = 1, .pid = 5120, .tid = 5120, .uid = 1000,
  .hold_id = 9, .token = 1001, .age_ns = 125 * SECOND, .program = "migrate", .purpose = "schema 42"};
static const struct planted reader = {
  .slot = 5, .state = COLOCKP_HELD, .mode = COLOCK_SHARED, .generation = 1, .pid = 77, .tid = 78, .age_ns = SECOND,
  .program = "api"};
static const struct planted waiter = {
  .slot = 6, .state = COLOCKP_WAITING, .mode = COLOCK_EXCLUSIVE, .generation = 1, .pid = 88, .tid = 88,
  .age_ns = 41 * SECOND, .program = "backup"};

static const struct planted upgrader = { /* it keeps its shared LANE until it is the only one */
  .slot = 7, .state = COLOCKP_UPGRADING, .mode = COLOCK_SHARED, .generation = 1, .pid = 99, .tid = 99,
  .rank = COLOCKP_KEY_UPGRADE << COLOCKP_RANK_KEY_SHIFT | COLOCKP_RANK_EXCLUSIVE, .age_ns = 60 * SECOND,
  .queued_ns = 5 * SECOND, .hold_id = 3, .program = "scan"};

static colock_report *read_report(const char *path) {
  colock_report *report = NULL;
  must(colock_report_read(path, &report));
  return report;
}

static const colock_entry *entry_at(const colock_report *report, size_t index) {
  const colock_entry *entry = colock_report_entry(report, index);
  ck_assert_ptr_nonnull(entry);
  return entry;
}

static int64_t number(const colock_report *report, size_t index, int field) {
  return colock_entry_number(entry_at(report, index), field);
}

/* ---- who holds ---- */

START_TEST(unused_lock_is_free) {
  const char *path = planted_file("a.lock");
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 0);
  ck_assert_ptr_null(colock_report_entry(report, 0));
  ck_assert_int_eq(colock_report_stat(report, "generation"), 1);
  ck_assert_int_eq(colock_report_stat(report, "last_token"), 1000);
  ck_assert_int_eq(colock_report_stat(report, "capacity"), PLANTED_SLOTS);
  ck_assert_int_eq(colock_report_stat(report, "slots_in_use"), 0);
  ck_assert_int_eq(colock_report_stat(report, "holders"), 0);
  ck_assert_int_eq(colock_report_stat(report, "forced_pid"), -1);
  ck_assert_int_eq(colock_report_stat(report, "forced_age_ms"), -1);
  ck_assert_int_eq(colock_report_stat(report, "no such number"), -1);
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"state\":\"free\""));
  colock_report_free(report);
}
END_TEST

START_TEST(writer_is_named_with_all_it_said) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  const colock_entry *entry = entry_at(report, 0);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_ROLE), COLOCK_HOLDER);
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_ROLE), "holder");
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_MODE), COLOCK_EXCLUSIVE);
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_MODE), "exclusive");
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_PID), 5120);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_TID), 5120);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_UID), 1000);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_TOKEN), 1001);
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_TOKEN), "1001");
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_STALE), 0);
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_POSITION), -1);
  ck_assert_int_ge(colock_entry_number(entry, COLOCK_AGE_MS), 125000);
  ck_assert_int_lt(colock_entry_number(entry, COLOCK_AGE_MS), 155000);
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_PROGRAM), "migrate");
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_LABEL), "");
  ck_assert_str_eq(colock_entry_text(entry, COLOCK_PURPOSE), "schema 42");
  ck_assert_ptr_null(colock_entry_text(entry, COLOCK_AGE_MS));
  ck_assert_int_eq(colock_entry_number(entry, COLOCK_PROGRAM), -1);
  ck_assert_int_eq(colock_report_stat(report, "holders"), 1);
  close(owner);
  colock_report_free(report);
}
END_TEST

START_TEST(dead_owner_is_not_shown) {
  const char *path = planted_file("a.lock");
  int stale_waiter =
      planted(path, &(struct planted){.slot = 7, .state = COLOCKP_WAITING, .mode = COLOCK_SHARED, .rank = 4, .pid = 9});
  close(planted(path, &writer)); /* its words stay, its record locks are gone */
  close(stale_waiter);
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 0);
  colock_report_free(report);
}
END_TEST

/* The record lock alone says that somebody holds: an owner that lives and whose words lag behind is no holder. */
START_TEST(words_alone_make_no_holder) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer), other;
  planted_take(owner, F_UNLCK, colockp_lane(1));
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 0);
  colock_report_free(report);
  other = planted(path, &reader); /* and beside a reader there is no writer */
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_PID), 77);
  colock_report_free(report);
  close(owner);
  close(other);
}
END_TEST

START_TEST(idle_and_unmarked_seats_are_not_shown) {
  const char *path = planted_file("a.lock");
  int idle = planted(path, &(struct planted){.slot = 1, .state = COLOCKP_IDLE, .generation = 1, .pid = 4});
  int rankless = planted(path, &(struct planted){.slot = 2, .state = COLOCKP_WAITING, .mode = COLOCK_SHARED, .pid = 5});
  int unmarked = planted(
      path, &(struct planted){.slot = 4, .state = COLOCKP_WAITING, .rank = 4, .mode = COLOCK_SHARED, .unheard = true});
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 0);
  colock_report_free(report);
  close(idle);
  close(rankless);
  close(unmarked);
}
END_TEST

START_TEST(readers_come_oldest_first) {
  const char *path = planted_file("a.lock");
  int owners[3];
  static const int64_t age_s[3] = {20, 40, 30};
  for (uint32_t i = 0; i < 3; i++) {
    struct planted one = reader;
    one.slot = i;
    one.pid = (int32_t)(100 + i);
    one.age_ns = age_s[i] * SECOND;
    owners[i] = planted(path, &one);
  }
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 3);
  ck_assert_int_eq(number(report, 0, COLOCK_PID), 101);
  ck_assert_int_eq(number(report, 1, COLOCK_PID), 102);
  ck_assert_int_eq(number(report, 2, COLOCK_PID), 100);
  ck_assert_int_eq(number(report, 0, COLOCK_TOKEN), -1);
  ck_assert_ptr_null(colock_entry_text(entry_at(report, 0), COLOCK_TOKEN));
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"state\":\"shared\""));
  for (int i = 0; i < 3; i++) close(owners[i]);
  colock_report_free(report);
}
END_TEST

/* ---- who waits ---- */

START_TEST(waiters_come_in_the_order_of_their_ranks) {
  const char *path = planted_file("a.lock");
  static const struct { uint64_t key; int mode; } wait[4] = {
    {20, COLOCK_SHARED}, {10, COLOCK_EXCLUSIVE}, {20, COLOCK_EXCLUSIVE}, {5, COLOCK_SHARED}};
  int owners[5] = {planted(path, &writer)};
  for (uint32_t i = 0; i < 4; i++) {
    struct planted one = waiter;
    one.slot = 10 + i;
    one.pid = (int32_t)(100 + i);
    one.priority = (int32_t)i - 2;
    one.mode = wait[i].mode;
    one.rank = planted_rank(wait[i].key, wait[i].mode);
    owners[1 + i] = planted(path, &one);
  }
  static const int pids[] = {5120, 103, 101, 100, 102}; /* slot decides between equal keys, not the mode */
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 5);
  for (size_t i = 0; i < 5; i++) {
    ck_assert_int_eq(number(report, i, COLOCK_PID), pids[i]);
    ck_assert_int_eq(number(report, i, COLOCK_POSITION), i == 0 ? -1 : (int64_t)i);
    ck_assert_int_eq(number(report, i, COLOCK_ROLE), i == 0 ? COLOCK_HOLDER : COLOCK_WAITER);
  }
  ck_assert_int_eq(number(report, 1, COLOCK_PRIORITY), 1);
  ck_assert_int_eq(number(report, 1, COLOCK_MODE), COLOCK_SHARED);
  ck_assert_int_eq(number(report, 2, COLOCK_MODE), COLOCK_EXCLUSIVE);
  ck_assert_int_eq(number(report, 2, COLOCK_TOKEN), -1);
  ck_assert_int_ge(number(report, 1, COLOCK_AGE_MS), 41000);
  ck_assert_int_eq(colock_report_stat(report, "waiters"), 4);
  for (int i = 0; i < 5; i++) close(owners[i]);
  colock_report_free(report);
}
END_TEST

/* A reader that waited when an exclusive hold ended goes before the writers of up to 64 places ahead of it. */
START_TEST(readers_of_the_past_phase_have_moved_up) {
  const char *path = planted_file("a.lock");
  const uint64_t base = COLOCKP_KEY_BASE;
  const struct { uint64_t key; int mode; } wait[] = {
    {base + 10, COLOCK_EXCLUSIVE}, {base + 73, COLOCK_SHARED},  /* 73 - 64 = 9: before that writer */
    {base + 74, COLOCK_SHARED},                                 /* 10: beside it, the lower slot goes first */
    {base + 79, COLOCK_SHARED},                                 /* 15 */
    {base + 80, COLOCK_SHARED}, {base + 20, COLOCK_EXCLUSIVE}}; /* came after the phase: stays behind */
  static const int order[] = {1, 0, 2, 3, 5, 4};
  int owners[6];
  planted_field(path, phase, base + 80);
  for (uint32_t i = 0; i < 6; i++) {
    struct planted one = waiter;
    one.slot = 10 + i;
    one.pid = (int32_t)(100 + i);
    one.mode = wait[i].mode;
    one.rank = planted_rank(wait[i].key, wait[i].mode);
    owners[i] = planted(path, &one);
  }
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 6);
  for (size_t i = 0; i < 6; i++) {
    ck_assert_int_eq(number(report, i, COLOCK_PID), 100 + order[i]);
    ck_assert_int_eq(number(report, i, COLOCK_POSITION), (int64_t)i + 1);
  }
  for (int i = 0; i < 6; i++) close(owners[i]);
  colock_report_free(report);
}
END_TEST

START_TEST(waiter_that_is_passed_over_stands_in_no_line) {
  const char *path = planted_file("a.lock");
  int owners[3];
  for (uint32_t i = 0; i < 3; i++) {
    struct planted one = waiter;
    one.slot = 10 + i;
    one.pid = (int32_t)(100 + i);
    one.rank = planted_rank(3 + i, COLOCK_EXCLUSIVE) | (i == 0 ? COLOCKP_RANK_PASSED : 0);
    owners[i] = planted(path, &one);
  }
  static const struct { int pid, position, passed; } c[] = {{101, 1, 0}, {102, 2, 0}, {100, -1, 1}};
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 3);
  for (size_t i = 0; i < 3; i++) {
    ck_assert_int_eq(number(report, i, COLOCK_ROLE), COLOCK_WAITER);
    ck_assert_int_eq(number(report, i, COLOCK_MODE), COLOCK_EXCLUSIVE);
    ck_assert_int_eq(number(report, i, COLOCK_PID), c[i].pid);
    ck_assert_int_eq(number(report, i, COLOCK_POSITION), c[i].position);
    ck_assert_int_eq(number(report, i, COLOCK_PASSED), c[i].passed);
  }
  ck_assert_int_eq(colock_report_stat(report, "waiters"), 3);
  const char *json = strstr(colock_report_json(report), "\"pid\":100,");
  ck_assert_ptr_nonnull(json);
  ck_assert_ptr_nonnull(strstr(json, "\"position\":null,\"passed\":true,"));
  for (int i = 0; i < 3; i++) close(owners[i]);
  colock_report_free(report);
}
END_TEST

START_TEST(upgrading_hold_holds_and_waits) {
  const char *path = planted_file("a.lock");
  struct planted behind = waiter;
  behind.rank = planted_rank(3, COLOCK_EXCLUSIVE);
  int owners[] = {planted(path, &upgrader), planted(path, &reader), planted(path, &behind)};
  static const struct { int role, mode, pid, position, upgrading; int64_t age_s; } c[] = {
    {COLOCK_HOLDER, COLOCK_SHARED, 99, -1, 1, 60}, {COLOCK_HOLDER, COLOCK_SHARED, 77, -1, 0, 1},
    {COLOCK_WAITER, COLOCK_EXCLUSIVE, 99, 1, 1, 5}, {COLOCK_WAITER, COLOCK_EXCLUSIVE, 88, 2, 0, 41}};
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 4);
  for (size_t i = 0; i < 4; i++) {
    ck_assert_int_eq(number(report, i, COLOCK_ROLE), c[i].role);
    ck_assert_int_eq(number(report, i, COLOCK_MODE), c[i].mode);
    ck_assert_int_eq(number(report, i, COLOCK_PID), c[i].pid);
    ck_assert_int_eq(number(report, i, COLOCK_POSITION), c[i].position);
    ck_assert_int_eq(number(report, i, COLOCK_UPGRADING), c[i].upgrading);
    ck_assert_int_ge(number(report, i, COLOCK_AGE_MS), c[i].age_s * 1000);
    ck_assert_int_lt(number(report, i, COLOCK_AGE_MS), c[i].age_s * 1000 + 30000);
  }
  ck_assert_int_eq(colock_report_stat(report, "holders"), 2);
  ck_assert_int_eq(colock_report_stat(report, "waiters"), 2);
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"stale\":false,\"upgrading\":true}"));
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"position\":1,\"passed\":false,\"upgrading\":true}"));
  colock_report_free(report);
  for (int i = 0; i < 3; i++) close(owners[i]);
}
END_TEST

/* It alone can have converted LANE while it has it shared: its words only lag behind. */
START_TEST(upgraded_hold_is_an_exclusive_one) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &upgrader);
  planted_take(owner, F_WRLCK, colockp_lane(1));
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_HOLDER);
  ck_assert_int_eq(number(report, 0, COLOCK_MODE), COLOCK_EXCLUSIVE);
  ck_assert_int_eq(number(report, 0, COLOCK_UPGRADING), 0);
  colock_report_free(report);
  planted_generation(path, 2); /* and once it is forced out, it is a reader that was, and waits for nothing */
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_REVOKED);
  ck_assert_int_eq(number(report, 0, COLOCK_MODE), COLOCK_SHARED);
  ck_assert_int_eq(number(report, 0, COLOCK_UPGRADING), 0);
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(slots_far_apart_are_all_seen) {
  const char *path = planted_file("a.lock");
  static const uint32_t slots[] = {0, 255, 256, 257, PLANTED_SLOTS - 1};
  int owners[5];
  for (int i = 0; i < 5; i++) {
    struct planted one = waiter;
    one.slot = slots[i];
    one.rank = planted_rank(3, COLOCK_EXCLUSIVE);
    one.pid = 100 + i;
    owners[i] = planted(path, &one);
  }
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 5);
  for (size_t i = 0; i < 5; i++) ck_assert_int_eq(number(report, i, COLOCK_PID), 100 + (int64_t)i);
  for (int i = 0; i < 5; i++) close(owners[i]);
  colock_report_free(report);
}
END_TEST

/* ---- who was forced out ---- */

START_TEST(revoked_holder_is_listed_while_it_lives) {
  const char *path = planted_file("a.lock");
  int old = planted(path, &writer);
  planted_generation(path, 2);
  struct planted next = writer;
  next.slot = 4;
  next.pid = 5200;
  next.generation = 2;
  int present = planted(path, &next);
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 2);
  ck_assert_int_eq(number(report, 0, COLOCK_PID), 5200);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_HOLDER);
  ck_assert_int_eq(number(report, 1, COLOCK_PID), 5120);
  ck_assert_int_eq(number(report, 1, COLOCK_ROLE), COLOCK_REVOKED);
  ck_assert_int_eq(colock_report_stat(report, "revoked"), 1);
  colock_report_free(report);
  close(old);
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  colock_report_free(report);
  close(present);
}
END_TEST

START_TEST(mode_that_is_none_is_unknown) {
  const char *path = planted_file("a.lock");
  struct planted odd = writer;
  odd.mode = 77;
  int owner = planted(path, &odd);
  planted_generation(path, 2);
  colock_report *report = read_report(path);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_REVOKED);
  ck_assert_int_eq(number(report, 0, COLOCK_MODE), -1);
  ck_assert_ptr_null(colock_entry_text(entry_at(report, 0), COLOCK_MODE));
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"mode\":\"unknown\""));
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(last_forced_unlock_is_told) {
  const char *path = planted_file("a.lock");
  struct colockp_forced forced;
  memset(&forced, 'x', sizeof forced); /* texts without an end */
  forced.when_wall_ns = colockp_wall_ns() - 3 * SECOND;
  forced.pid = 4000;
  forced.uid = 0;
  forced.generation = 7;
  forced.slot = COLOCKP_NO_SLOT;
  planted_bytes(path, offsetof(struct colockp_header, forced), &forced, sizeof forced);
  planted_field(path, abandoned, 555);
  colock_report *report = read_report(path);
  ck_assert_int_eq(colock_report_stat(report, "forced_pid"), 4000);
  ck_assert_int_eq(colock_report_stat(report, "forced_uid"), 0);
  ck_assert_int_eq(colock_report_stat(report, "forced_generation"), 7);
  ck_assert_int_ge(colock_report_stat(report, "forced_age_ms"), 3000);
  ck_assert_int_eq(colock_report_stat(report, "abandoned"), 555);
  const char *json = colock_report_json(report);
  ck_assert_ptr_nonnull(strstr(json, "\"forced\":{\"pid\":4000,\"uid\":0,\"program\":\"xxx"));
  ck_assert_ptr_nonnull(strstr(json, "\"slot\":null"));
  ck_assert_ptr_nonnull(strstr(json, "\"abandoned\":\"555\""));
  colock_report_free(report);
}
END_TEST

/* ---- who has no name ---- */

START_TEST(holder_without_a_slot_is_anonymous) {
  const char *path = planted_file("a.lock");
  struct colockp_holder holder;
  char text[COLOCKP_DESCRIBED];
  int fd = open(path, O_RDWR | O_CLOEXEC);
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    planted_take(fd, mode == COLOCK_SHARED ? F_RDLCK : F_WRLCK, colockp_lane(1));
    colock_report *report = read_report(path);
    ck_assert_uint_eq(colock_report_count(report), 1);
    ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_ANONYMOUS);
    ck_assert_int_eq(number(report, 0, COLOCK_MODE), mode);
    ck_assert_int_eq(number(report, 0, COLOCK_PID), -1);
    ck_assert_int_eq(number(report, 0, COLOCK_UID), -1);
    ck_assert_int_eq(number(report, 0, COLOCK_AGE_MS), -1);
    ck_assert_ptr_null(colock_entry_text(entry_at(report, 0), COLOCK_PROGRAM));
    ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"holders\":[{\"role\":\"anonymous\""));
    ck_assert_int_eq(colock_report_stat(report, "anonymous"), 1);
    ck_assert_int_eq(colock_report_stat(report, "holders"), 1);
    ck_assert(colockp_report_holder(report, COLOCK_EXCLUSIVE, &holder));
    ck_assert_uint_eq(holder.slot, COLOCKP_NO_SLOT);
    ck_assert_int_eq(colockp_report_holder(report, COLOCK_SHARED, &holder), mode == COLOCK_EXCLUSIVE);
    ck_assert_str_eq(colockp_describe(entry_at(report, 0), text, sizeof text),
                     mode == COLOCK_SHARED ? "an unnamed reader" : "an unnamed writer");
    colock_report_free(report);
  }
  close(fd);
}
END_TEST

START_TEST(other_lanes_do_not_matter) {
  const char *path = planted_file("a.lock");
  int fd = open(path, O_RDWR | O_CLOEXEC);
  planted_take(fd, F_WRLCK, colockp_lane(2));
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 0);
  colock_report_free(report);
  close(fd);
}
END_TEST

/* ---- ages ---- */

START_TEST(stale_is_who_has_not_renewed) {
  const char *path = planted_file("a.lock");
  static const struct { int64_t quiet_s, timeout_ns; bool stale; } c[] = {
    {31, 30 * SECOND, true}, {2, 30 * SECOND, false}, {100, INT64_MAX, false}, {100, 0, false}};
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    struct planted one = writer;
    struct colockp_holder holder;
    one.age_ns = 200 * SECOND;
    one.quiet_ns = c[i].quiet_s * SECOND;
    one.stale_timeout_ns = c[i].timeout_ns;
    int owner = planted(path, &one);
    colock_report *report = read_report(path);
    ck_assert_int_eq(number(report, 0, COLOCK_STALE), c[i].stale);
    ck_assert(colockp_report_holder(report, COLOCK_SHARED, &holder));
    ck_assert_int_eq(holder.stale, c[i].stale);
    ck_assert_uint_eq(holder.conflicting_stale, c[i].stale);
    ck_assert_uint_eq(holder.slot, 3);
    ck_assert_uint_eq(holder.hold_id, 9);
    ck_assert_uint_eq(holder.generation, 1);
    colock_report_free(report);
    close(owner);
  }
}
END_TEST

START_TEST(other_boots_are_dated_by_the_wall_clock) {
  const char *path = planted_file("a.lock");
  struct planted one = writer;
  one.boot_id = "00000000-0000-0000-0000-000000000000";
  one.stale_timeout_ns = 30 * SECOND;
  int owner = planted(path, &one);
  int64_t far = -(INT64_C(1) << 50); /* a monotonic clock that means nothing here */
  planted_bytes(path, colockp_at_slot(3) + 8 + (int64_t)offsetof(struct colockp_activity, since_ns), &far, sizeof far);
  colock_report *report = read_report(path);
  ck_assert_int_ge(number(report, 0, COLOCK_AGE_MS), 125000);
  ck_assert_int_lt(number(report, 0, COLOCK_AGE_MS), 155000);
  ck_assert_int_eq(number(report, 0, COLOCK_STALE), 1);
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(ages_are_never_negative) {
  const char *path = planted_file("a.lock");
  struct planted one = writer;
  one.age_ns = -1000 * SECOND;
  int owner = planted(path, &one);
  colock_report *report = read_report(path);
  ck_assert_int_eq(number(report, 0, COLOCK_AGE_MS), 0);
  colock_report_free(report);
  close(owner);
}
END_TEST

/* ---- slots that change or lie ---- */

static ssize_t (*kernel_pread)(int, void *, size_t, off_t);
static int restless; /* so many reads of slot 3 find it being written */
static bool changing; /* by ever other owners */

static ssize_t restless_pread(int fd, void *buffer, size_t size, off_t offset) {
  ssize_t n = kernel_pread(fd, buffer, size, offset);
  if (offset == colockp_at_slot(3) && size > sizeof(uint64_t) && restless-- > 0) {
    *(uint64_t *)buffer |= 1;
    if (changing)
      ((struct colockp_identity *)((char *)buffer + offsetof(struct colockp_slot, identity)))->pid += restless;
  }
  return n;
}

static void start_restless(int times, bool change) {
  kernel_pread = colockp_system.pread;
  restless = times;
  changing = change;
  colockp_system.pread = restless_pread;
}

START_TEST(slot_that_is_being_written_is_read_again) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  start_restless(5, true);
  colock_report *report = read_report(path);
  colockp_system.pread = kernel_pread;
  ck_assert_int_eq(number(report, 0, COLOCK_PID), 5120);
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(owner_stopped_in_the_middle_is_named_still) {
  const char *path = planted_file("a.lock");
  struct planted one = writer;
  one.odd = true;
  int owner = planted(path, &one);
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_PID), 5120);
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(owner_that_never_reads_the_same_keeps_its_entry_without_a_name) {
  const char *path = planted_file("a.lock");
  char text[COLOCKP_DESCRIBED];
  int owner = planted(path, &writer);
  start_restless(1000, true);
  colock_report *report = read_report(path);
  colockp_system.pread = kernel_pread;
  ck_assert_int_ge(restless, 900); /* bounded */
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_HOLDER);
  ck_assert_int_eq(number(report, 0, COLOCK_PID), -1);
  ck_assert_ptr_null(colock_entry_text(entry_at(report, 0), COLOCK_PURPOSE));
  ck_assert_str_eq(colockp_describe(entry_at(report, 0), text, sizeof text), "a process that cannot be named (slot 3)");
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"known\":false"));
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(texts_without_an_end_are_ended) {
  const char *path = planted_file("a.lock");
  struct colockp_slot slot;
  int owner = planted(path, &writer);
  planted_slot(&writer, &slot);
  memset((void *)slot.purpose, 'p', sizeof slot.purpose);
  struct colockp_identity *who = (struct colockp_identity *)slot.identity;
  memset(who->host, 'h', sizeof who->host);
  memset(who->program, 'q', sizeof who->program);
  memset(who->label, 'l', sizeof who->label);
  ((struct colockp_activity *)slot.activity)->purpose_length = UINT32_MAX;
  planted_bytes(path, colockp_at_slot(3), &slot, sizeof slot);
  colock_report *report = read_report(path);
  char text[COLOCKP_DESCRIBED];
  ck_assert_uint_eq(strlen(colock_entry_text(entry_at(report, 0), COLOCK_PURPOSE)), COLOCKP_PURPOSE_SIZE - 1);
  ck_assert_uint_eq(strlen(colock_entry_text(entry_at(report, 0), COLOCK_LABEL)), 63);
  ck_assert_uint_eq(strlen(colock_entry_text(entry_at(report, 0), COLOCK_HOST)), 63);
  ck_assert_uint_eq(strlen(colock_entry_text(entry_at(report, 0), COLOCK_PROGRAM)), 31);
  colockp_describe(entry_at(report, 0), text, sizeof text);
  ck_assert_int_eq(text[strlen(text) - 1], ')');
  colock_report_free(report);
  close(owner);
}
END_TEST

START_TEST(nonsense_in_a_slot_is_survived) {
  const char *path = planted_file("a.lock");
  uint64_t state = test_seed();
  struct colockp_slot slot;
  int owner = planted(path, &writer);
  for (int round = 0; round < 200; round++) {
    uint32_t *word = (uint32_t *)&slot;
    for (size_t i = 0; i < sizeof slot / 4; i++) word[i] = test_random(&state);
    slot.sequence = 2;
    ((struct colockp_activity *)slot.activity)->state = test_random(&state) % 7;
    planted_bytes(path, colockp_at_slot(3), &slot, sizeof slot);
    colock_report *report = read_report(path);
    char text[COLOCKP_DESCRIBED];
    for (size_t i = 0; i < colock_report_count(report); i++) {
      ck_assert_int_ge(number(report, i, COLOCK_AGE_MS), -1);
      colockp_describe(entry_at(report, i), text, sizeof text);
    }
    ck_assert_ptr_nonnull(colock_report_json(report));
    colock_report_free(report);
  }
  close(owner);
}
END_TEST

/* ---- what it is said in ---- */

START_TEST(descriptions_are_for_people) {
  const char *path = planted_file("a.lock");
  static const struct {
    struct planted change;
    const char *expected;
  } c[] = {
    {{.pid = 5120, .tid = 5120, .purpose = "schema 42"}, "migrate[5120] (uid 1000, 2m5s, \"schema 42\")"},
    {{.pid = 5120, .tid = 5120}, "migrate[5120] (uid 1000, 2m5s)"},
    {{.pid = 4302, .tid = 4310, .label = "api"}, "api[4302/4310] (uid 1000, 2m5s)"},
    {{.pid = 5120, .tid = 5120, .inherited_pid = 5121}, "migrate[5120->5121] (uid 1000, 2m5s)"},
    {{.pid = 5120, .tid = 5120, .host = "no-such-host"}, "migrate[5120]@no-such-host (uid 1000, 2m5s)"},
    {{.pid = 5120, .tid = 5120, .purpose = "a\x1b[2Jb\n"}, "migrate[5120] (uid 1000, 2m5s, \"a\\x1b[2Jb\\n\")"},
  };
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    struct planted one = c[i].change;
    char text[COLOCKP_DESCRIBED], small[12];
    one.slot = 3;
    one.state = COLOCKP_HELD;
    one.mode = COLOCK_EXCLUSIVE;
    one.generation = 1;
    one.uid = 1000;
    one.program = "migrate";
    one.age_ns = 125 * SECOND;
    int owner = planted(path, &one);
    colock_report *report = read_report(path);
    report->now.entries[0].age_ns = 125 * SECOND; /* the test may be slow */
    ck_assert_str_eq(colockp_describe(entry_at(report, 0), text, sizeof text), c[i].expected);
    ck_assert_uint_eq(strlen(colockp_describe(entry_at(report, 0), small, sizeof small)), sizeof small - 1);
    colock_report_free(report);
    close(owner);
  }
}
END_TEST

/* What is in the way, as seen by the one with slot `own`; whatever the machine's speed, ages are 7s. */
static void in_the_way(const char *path, int mode, uint32_t own, const char *expected) {
  char text[COLOCKP_IN_THE_WAY] = "untouched";
  colock_report *report = read_report(path);
  for (size_t i = 0; i < report->now.count; i++) report->now.entries[i].age_ns = 7 * SECOND;
  bool seen = colockp_in_the_way(report, mode, own, text, sizeof text);
  ck_assert_int_eq(seen, *expected != '\0');
  ck_assert_str_eq(text, seen ? expected : "untouched");
  colock_report_free(report);
}

START_TEST(who_is_in_the_way_is_said) {
  const char *path = planted_file("a.lock");
  in_the_way(path, COLOCK_EXCLUSIVE, COLOCKP_NO_SLOT, "");
  struct planted second = waiter, third = waiter, stopped = waiter;
  struct planted first = waiter;
  first.rank = planted_rank(2, COLOCK_SHARED);
  second.slot = 8, second.pid = second.tid = 89, second.program = "copy";
  second.rank = planted_rank(3, COLOCK_EXCLUSIVE);
  third.slot = 9, third.rank = planted_rank(4, COLOCK_SHARED);
  stopped.slot = 10, stopped.rank = planted_rank(1, COLOCK_EXCLUSIVE) | COLOCKP_RANK_PASSED;
  int waiters[] = {planted(path, &first), planted(path, &second), planted(path, &third), planted(path, &stopped)};
  in_the_way(path, COLOCK_SHARED, 6, "");
  in_the_way(path, COLOCK_EXCLUSIVE, 8, "free, but backup[88] (uid 0, 7s) waits ahead");
  in_the_way(path, COLOCK_SHARED, 9, "free, but copy[89] (uid 0, 7s) waits ahead");
  in_the_way(path, COLOCK_EXCLUSIVE, COLOCKP_NO_SLOT, "free, but backup[88] (uid 0, 7s) and 2 others wait ahead");
  int readers = planted(path, &reader);
  in_the_way(path, COLOCK_SHARED, 9, "copy[89] (uid 0, 7s) waits ahead");
  in_the_way(path, COLOCK_EXCLUSIVE, 8, "held by api[77/78] (uid 0, 7s)");
  int upgrading = planted(path, &upgrader); /* is not in its own way */
  in_the_way(path, COLOCK_EXCLUSIVE, 7, "held by api[77/78] (uid 0, 7s)");
  in_the_way(path, COLOCK_EXCLUSIVE, 8, "held by scan[99] (uid 0, 7s) and 1 other");
  close(readers);
  in_the_way(path, COLOCK_EXCLUSIVE, 7, "");
  close(upgrading);
  for (int i = 0; i < 4; i++) close(waiters[i]);
}
END_TEST

START_TEST(ages_have_two_units) {
  static const struct { int64_t ns; const char *text; } c[] = {
    {-1, "?"}, {0, "0ms"}, {340 * 1000000, "340ms"}, {999999999, "999ms"}, {SECOND, "1s"}, {41 * SECOND, "41s"},
    {60 * SECOND, "1m0s"}, {125 * SECOND, "2m5s"}, {3725 * SECOND, "1h2m"}, {90000 * SECOND, "1d1h"},
    {INT64_MAX, "106751d23h"}};
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    char text[COLOCKP_AGE_SIZE];
    ck_assert_str_eq(colockp_age(text, sizeof text, c[i].ns), c[i].text);
  }
}
END_TEST

START_TEST(json_has_the_schema_of_the_manual) {
  const char *path = planted_file("a.lock");
  struct planted odd = writer;
  odd.label = "la\"bel\n\xff";
  odd.tid = 5121;
  int owner = planted(path, &odd);
  struct planted one = waiter;
  one.rank = planted_rank(3, COLOCK_EXCLUSIVE);
  one.host = "elsewhere";
  int second = planted(path, &one);
  colock_report *report = read_report(path);
  for (size_t i = 0; i < 2; i++) report->now.entries[i].age_ns = 7 * SECOND;
  strcpy(report->now.entries[0].identity.host, "here");
  strcpy(strrchr(report->path, '/'), "/\x01");
  strcpy(report->path, strrchr(report->path, '/'));
  ck_assert_str_eq(
      colock_report_json(report),
      "{\"version\":1,\"path\":\"/\\u0001\",\"state\":\"exclusive\",\"generation\":1,"
      "\"last_token\":\"1000\",\"abandoned\":null,"
      "\"holders\":[{\"role\":\"holder\",\"mode\":\"exclusive\",\"known\":true,\"slot\":3,\"pid\":5120,\"tid\":5121,"
      "\"inherited_pid\":null,\"uid\":1000,\"host\":\"here\",\"program\":\"migrate\",\"label\":"
      "\"la\\\"bel\\n\xEF\xBF\xBD\","
      "\"purpose\":\"schema 42\",\"priority\":0,\"stopped\":null,\"age_ms\":7000,\"token\":\"1001\","
      "\"generation\":1,\"stale\":false,\"upgrading\":false}],"
      "\"waiters\":[{\"role\":\"waiter\",\"mode\":\"exclusive\",\"known\":true,\"slot\":6,\"pid\":88,\"tid\":88,"
      "\"inherited_pid\":null,\"uid\":0,\"host\":\"elsewhere\",\"program\":\"backup\",\"label\":\"\",\"purpose\":\"\","
      "\"priority\":0,\"stopped\":null,\"age_ms\":7000,\"position\":1,\"passed\":false,\"upgrading\":false}],"
      "\"revoked\":[],\"forced\":null,\"usual_hold_ms\":{\"shared\":null,\"exclusive\":null}}");
  ck_assert_ptr_eq(colock_report_json(report), colock_report_json(report));
  colock_report_free(report);
  close(owner);
  close(second);
}
END_TEST

/* ---- files ---- */

static void refused(int code, const char *path, const char *part) {
  colock_report *report = (colock_report *)-1;
  must_be(code, colock_report_read(path, &report));
  ck_assert_ptr_eq(report, (colock_report *)-1);
  ck_assert_msg(strstr(colock_last_message(), part) != NULL, "\"%s\" lacks \"%s\"", colock_last_message(), part);
}

START_TEST(what_is_no_lock_file_is_refused_and_left_alone) {
  refused(COLOCK_ENOENT, test_path("absent.lock"), "absent.lock");
  ck_assert_int_ne(access(test_path("absent.lock"), F_OK), 0); /* creates nothing */
  refused(COLOCK_ENOENT, test_path("no/such.lock"), "no/such.lock");
  refused(COLOCK_EFOREIGN, test_dir(), "directory");
  ck_assert_int_eq(mkfifo(test_path("fifo.lock"), 0600), 0);
  refused(COLOCK_EFOREIGN, test_path("fifo.lock"), "FIFO");
  ck_assert_int_eq(symlink("nowhere", test_path("link.lock")), 0);
  refused(COLOCK_EFOREIGN, test_path("link.lock"), "symbolic link");
  refused(COLOCK_EFOREIGN, "/dev/null", "device");
  test_write(test_path("empty.lock"), "", 0);
  refused(COLOCK_EFOREIGN, test_path("empty.lock"), "empty");
  test_write(test_path("data.lock"), "hello, world", 12);
  refused(COLOCK_EFOREIGN, test_path("data.lock"), "somebody else's");
  char text[16] = "";
  ck_assert_uint_eq(test_read(test_path("data.lock"), text, sizeof text), 12);
  ck_assert_str_eq(text, "hello, world");
  refused(COLOCK_EINVAL, "", "empty");
  must_be(COLOCK_EINVAL, colock_report_read(NULL, NULL));
}
END_TEST

START_TEST(newer_and_damaged_files_are_told_apart) {
  planted_field(planted_file("newer.lock"), version, COLOCKP_VERSION + 1);
  refused(COLOCK_EVERSION, test_path("newer.lock"), "format 2");
  planted_field(planted_file("other.lock"), fingerprint, 5);
  refused(COLOCK_EVERSION, test_path("other.lock"), "00000005");
  planted_field(planted_file("torn.lock"), generation, 5);
  refused(COLOCK_ECORRUPT, test_path("torn.lock"), "damaged");
  planted_field(planted_file("used.lock"), slots_in_use, PLANTED_SLOTS + 1);
  refused(COLOCK_ECORRUPT, test_path("used.lock"), "damaged");
  ck_assert_int_eq(truncate(planted_file("short.lock"), 100), 0);
  refused(COLOCK_ECORRUPT, test_path("short.lock"), "damaged");
  ck_assert_int_eq(truncate(planted_file("cut.lock"), colockp_at_slot(4)), 0);
  refused(COLOCK_ECORRUPT, test_path("cut.lock"), "damaged");
}
END_TEST

START_TEST(file_in_use_through_another_device_is_refused) {
  const char *path = planted_file("a.lock");
  planted_field(path, device, 12345);
  colock_report_free(read_report(path)); /* nobody uses it */
  int owner = planted(path, &writer);
  refused(COLOCK_ECORRUPT, path, "another device");
  close(owner);
}
END_TEST

static int read_as_nobody(void *arg) {
  colock_report *report = NULL;
  if (test_become_nobody() != 0) return 0;
  if (chdir(test_dir()) != 0) return 9;
  if (open("a.lock", O_RDWR | O_CLOEXEC) >= 0) return 8; /* would prove nothing */
  int code = colock_report_read("a.lock", &report);
  if (code == COLOCK_OK && colock_entry_number(colock_report_entry(report, 0), COLOCK_PID) != 5120) return 7;
  colock_report_free(report);
  return code != *(int *)arg;
}

START_TEST(permission_to_read_is_needed_and_is_enough) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer), code = COLOCK_OK;
  ck_assert_int_eq(chmod(path, 0644), 0);
  ck_assert_int_eq(test_in_child(read_as_nobody, &code), 0);
  ck_assert_int_eq(chmod(path, 0), 0);
  code = COLOCK_EACCES;
  ck_assert_int_eq(test_in_child(read_as_nobody, &code), 0);
  close(owner);
}
END_TEST

START_TEST(nothing_is_written_and_nothing_is_locked) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer);
  struct stat before, after;
  ck_assert_int_eq(stat(path, &before), 0);
  tracker_start();
  fault_install();
  fault_fail_at(FAULT_pwrite, 1, EIO);
  colock_report_free(read_report(path));
  ck_assert_int_eq(fault_calls(), 0);
  fault_remove();
  ck_assert_uint_eq(tracker_locks(), 0);
  ck_assert_str_eq(tracker_stop(), "");
  ck_assert_int_eq(stat(path, &after), 0);
  ck_assert_int_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
  ck_assert_int_eq(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);
  close(owner);
}
END_TEST

/* ---- faults ---- */

START_TEST(each_failing_call_is_told_and_leaves_nothing_behind) {
  const char *path = planted_file("a.lock");
  int owners[12];
  for (uint32_t i = 0; i < 12; i++) { /* enough for the list to grow */
    struct planted one = reader;
    one.slot = i;
    owners[i] = planted(path, &one);
  }
  unsigned descriptors = test_descriptors();
  fault_install();
  for (int call = 0; call < FAULT_COUNT; call++) {
    for (const int *error = fault_errnos((enum fault_call)call); *error >= 0; error++) {
      for (long n = 1;; n++) {
        colock_report *report = NULL;
        fault_fail_at((enum fault_call)call, n, *error);
        int code = colock_report_read(path, &report);
        const char *json = code == COLOCK_OK ? colock_report_json(report) : NULL;
        bool hit = fault_hit();
        fault_disarm();
        ck_assert_msg(code == COLOCK_OK || (report == NULL && colock_last_message()[0] != '\0'), "%s",
                      fault_names[call]);
        ck_assert_msg(code != COLOCK_OK || colock_report_count(report) == 12, "%s %ld: entries are lost",
                      fault_names[call], n);
        ck_assert_msg(code != COLOCK_OK || json != NULL || call == FAULT_malloc, "%s %ld: no JSON", fault_names[call],
                      n);
        colock_report_free(report);
        ck_assert_int_eq(fault_allocations(), 0);
        ck_assert_uint_eq(test_descriptors(), descriptors);
        if (!hit) break;
      }
    }
  }
  fault_remove();
  for (int i = 0; i < 12; i++) close(owners[i]);
}
END_TEST

START_TEST(failed_refill_keeps_the_content) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer), fd = open(path, O_RDONLY | O_CLOEXEC);
  colock_report *report = NULL;
  must(colockp_report_new(&report, path));
  ck_assert_uint_eq(colock_report_count(report), 0);
  must(colockp_report_fill(report, fd));
  ck_assert_uint_eq(colock_report_count(report), 1);
  const char *json = colock_report_json(report);
  planted_field(path, generation, 5);
  must_be(COLOCK_ECORRUPT, colockp_report_fill(report, fd));
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_ptr_eq(colock_report_json(report), json);
  planted_generation(path, 1);
  close(owner);
  must(colockp_report_fill(report, fd));
  ck_assert_uint_eq(colock_report_count(report), 0);
  ck_assert_ptr_nonnull(strstr(colock_report_json(report), "\"holders\":[]"));
  colock_report_free(report);
  close(fd);
}
END_TEST

START_TEST(holder_is_judged_by_slot_generation_and_hold) {
  const char *path = planted_file("a.lock");
  int owner = planted(path, &writer), fd = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(colockp_report_holds(fd, 3, 1, 9, path), 1);
  ck_assert_int_eq(colockp_report_holds(fd, 3, 1, 8, path), 0);
  ck_assert_int_eq(colockp_report_holds(fd, 3, 2, 9, path), 0);
  ck_assert_int_eq(colockp_report_holds(fd, 4, 1, 9, path), 0);
  close(owner);
  ck_assert_int_eq(colockp_report_holds(fd, 3, 1, 9, path), 0);
  close(fd);
}
END_TEST

/* ---- with real processes ---- */

START_TEST(real_holder_and_real_waiters_are_shown) {
  const char *path = test_path("real.lock");
  test_make_lock(path);
  struct agent *holder = agent_open(path), *first = agent_open(path), *second = agent_open(path);
  ck_assert_int_eq(agent_call(holder, "acquire x 0 purpose=schema"), COLOCK_OK);
  agent_send(first, "acquire x 20000 purpose=first");
  test_await_waiters(path, 1);
  agent_send(second, "acquire s 20000 purpose=second");
  test_await_waiters(path, 2);
  static const char *const purposes[] = {"schema", "first", "second"};
  const struct agent *const agents[] = {holder, first, second};
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 3);
  for (size_t i = 0; i < 3; i++) {
    ck_assert_int_eq(number(report, i, COLOCK_ROLE), i == 0 ? COLOCK_HOLDER : COLOCK_WAITER);
    ck_assert_int_eq(number(report, i, COLOCK_PID), agents[i]->pid);
    ck_assert_str_eq(colock_entry_text(entry_at(report, i), COLOCK_PURPOSE), purposes[i]);
  }
  ck_assert_int_eq(number(report, 0, COLOCK_TOKEN), (int64_t)holder->token);
  colock_report_free(report);
  agent_kill(second); /* gone at once, though its rank is still published */
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 2);
  colock_report_free(report);
  agent_kill(holder);
  ck_assert_int_eq(agent_answer(first), COLOCK_OK);
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 1);
  ck_assert_int_eq(number(report, 0, COLOCK_PID), first->pid);
  ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_HOLDER);
  ck_assert_int_eq(colock_report_stat(report, "abandoned"), (int64_t)holder->token);
  colock_report_free(report);
}
END_TEST

START_TEST(line_follows_priorities) {
  const char *path = test_path("real.lock");
  static const struct { const char *command; size_t position; } c[] = {
    {"acquire x 20000 priority=1 purpose=one", 2}, {"acquire s 20000 priority=2 purpose=two", 1},
    {"acquire x 20000 purpose=none", 3}, {"acquire s 20000 priority=-1 purpose=less", 4}};
  test_make_lock(path);
  struct agent *holder = agent_open(path), *agents[4];
  ck_assert_int_eq(agent_call(holder, "acquire x 0"), COLOCK_OK);
  for (unsigned i = 0; i < 4; i++) {
    agents[i] = agent_open(path);
    agent_send(agents[i], "%s", c[i].command);
    test_await_waiters(path, i + 1);
  }
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 5);
  for (size_t i = 0; i < 4; i++) {
    ck_assert_int_eq(number(report, c[i].position, COLOCK_PID), agents[i]->pid);
    ck_assert_int_eq(number(report, c[i].position, COLOCK_POSITION), (int64_t)c[i].position);
  }
  colock_report_free(report);
}
END_TEST

/* The one waiter with that pid, looked for again until it is, or is not, passed over: it takes its time to wake up. */
static colock_report *await_passed(const char *path, pid_t pid, int64_t passed) {
  for (int64_t limit = test_now_ms() + 20000; test_now_ms() < limit;) {
    colock_report *report = read_report(path);
    for (size_t i = 0; i < colock_report_count(report); i++)
      if (number(report, i, COLOCK_ROLE) == COLOCK_WAITER && number(report, i, COLOCK_PID) == pid &&
          number(report, i, COLOCK_PASSED) == passed)
        return report;
    colock_report_free(report);
  }
  ck_abort_msg("never passed over, or for ever");
}

START_TEST(stopped_waiter_is_passed_over_and_gets_its_place_back) {
  const char *path = test_path("real.lock");
  test_make_lock(path);
  struct agent *holder = agent_open(path), *agents[3] = {agent_open(path), agent_start(), agent_open(path)};
  ck_assert_int_eq(agent_call(agents[1], "open %s retry_delay=1ms", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "acquire x 0"), COLOCK_OK);
  for (unsigned i = 0; i < 2; i++) {
    agent_send(agents[i], "acquire x 30000");
    test_await_waiters(path, i + 1);
  }
  ck_assert_int_eq(kill(agents[0]->pid, SIGSTOP), 0);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(agents[1]), COLOCK_OK);
  agent_send(agents[2], "acquire x 30000");
  test_await_waiters(path, 2);
  colock_report *report = await_passed(path, agents[0]->pid, 1);
  ck_assert_uint_eq(colock_report_count(report), 3);
  ck_assert_int_eq(number(report, 0, COLOCK_PID), agents[1]->pid);
  ck_assert_int_eq(number(report, 1, COLOCK_PID), agents[2]->pid);
  ck_assert_int_eq(number(report, 1, COLOCK_POSITION), 1);
  ck_assert_int_eq(number(report, 2, COLOCK_PID), agents[0]->pid);
  ck_assert_int_eq(number(report, 2, COLOCK_POSITION), -1);
  colock_report_free(report);
  ck_assert_int_eq(kill(agents[0]->pid, SIGCONT), 0);
  report = await_passed(path, agents[0]->pid, 0);
  ck_assert_int_eq(number(report, 1, COLOCK_PID), agents[0]->pid);
  ck_assert_int_eq(number(report, 1, COLOCK_POSITION), 1);
  ck_assert_int_eq(number(report, 2, COLOCK_POSITION), 2);
  colock_report_free(report);
  ck_assert_int_eq(agent_call(agents[1], "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(agents[0]), COLOCK_OK);
}
END_TEST

static void *upgrade_hold(void *hold) { return (void *)(intptr_t)colock_upgrade(hold, 20000); }

START_TEST(real_upgrade_is_shown_on_both_sides) {
  const char *path = test_path("real.lock");
  colock *lock = test_open(path);
  colock_hold *upgraded = NULL, *other = NULL;
  pthread_t thread;
  void *code;
  must(colock_try_acquire(lock, COLOCK_SHARED, &upgraded));
  must(colock_try_acquire(lock, COLOCK_SHARED, &other));
  ck_assert_int_eq(pthread_create(&thread, NULL, upgrade_hold, upgraded), 0);
  test_await_waiters(path, 1);
  struct agent *behind = agent_open(path);
  agent_send(behind, "acquire s 20000 priority=100");
  test_await_waiters(path, 2);
  colock_report *report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 4);
  size_t holder = number(report, 0, COLOCK_UPGRADING) ? 0 : 1;
  ck_assert_int_eq(number(report, holder, COLOCK_UPGRADING), 1);
  ck_assert_int_eq(number(report, 1 - holder, COLOCK_UPGRADING), 0);
  ck_assert_int_eq(number(report, holder, COLOCK_MODE), COLOCK_SHARED);
  ck_assert_int_eq(number(report, 2, COLOCK_UPGRADING), 1);
  ck_assert_int_eq(number(report, 2, COLOCK_ROLE), COLOCK_WAITER);
  ck_assert_int_eq(number(report, 2, COLOCK_MODE), COLOCK_EXCLUSIVE);
  ck_assert_int_eq(number(report, 2, COLOCK_POSITION), 1);
  ck_assert_int_eq(number(report, 2, COLOCK_SLOT), number(report, holder, COLOCK_SLOT));
  ck_assert_int_eq(number(report, 3, COLOCK_PID), behind->pid);
  colock_report_free(report);
  must(colock_release(other));
  ck_assert_int_eq(pthread_join(thread, &code), 0);
  ck_assert_int_eq((int)(intptr_t)code, COLOCK_OK);
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 2);
  ck_assert_int_eq(number(report, 0, COLOCK_MODE), COLOCK_EXCLUSIVE);
  ck_assert_int_eq(number(report, 0, COLOCK_UPGRADING), 0);
  ck_assert_int_eq(number(report, 0, COLOCK_TOKEN), (int64_t)colock_token(upgraded));
  colock_report_free(report);
  must(colock_release(upgraded));
  ck_assert_int_eq(agent_answer(behind), COLOCK_OK);
  colock_close(lock);
}
END_TEST

START_TEST(released_hold_is_shown_no_more) {
  const char *path = test_path("real.lock");
  colock *lock = test_open(path);
  colock_hold *hold = NULL;
  for (int mode = COLOCK_SHARED; mode <= COLOCK_EXCLUSIVE; mode++) {
    must(colock_acquire(lock, mode, &hold));
    colock_report *report = read_report(path);
    ck_assert_uint_eq(colock_report_count(report), 1);
    ck_assert_int_eq(number(report, 0, COLOCK_MODE), mode);
    ck_assert_int_eq(number(report, 0, COLOCK_PID), getpid());
    colock_report_free(report);
    must(colock_release(hold));
    report = read_report(path);
    ck_assert_uint_eq(colock_report_count(report), 0);
    colock_report_free(report);
  }
  colock_close(lock);
}
END_TEST

START_TEST(dead_writer_is_told_of_before_anybody_takes_the_lock) {
  const char *path = test_path("real.lock");
  struct agent *dying = agent_open(path);
  ck_assert_int_eq(agent_call(dying, "acquire x 0"), COLOCK_OK);
  int64_t token = (int64_t)dying->token;
  colock_report *report = read_report(path);
  ck_assert_int_eq(colock_report_stat(report, "abandoned"), 0);
  colock_report_free(report);
  agent_kill(dying);
  report = read_report(path);
  ck_assert_uint_eq(colock_report_count(report), 0);
  ck_assert_int_eq(colock_report_stat(report, "abandoned"), token);
  colock_report_free(report);
}
END_TEST

/* A reader that may not write the file has no slot to write its name into. */
static int read_only_reader(void *arg) {
  int *pipes = arg;
  colock *lock = NULL;
  colock_hold *hold = NULL;
  char byte = 0;
  if (test_become_nobody() != 0) byte = 's';
  else if (chdir(test_dir()) != 0 || colock_open(&lock, "real.lock", NULL) != 0 ||
           colock_acquire(lock, COLOCK_SHARED, &hold) != 0)
    byte = 'f';
  else byte = 'h';
  if (write(pipes[1], &byte, 1) != 1 || read(pipes[2], &byte, 1) != 1) return 1;
  return hold ? colock_release(hold) : 0;
}

START_TEST(reader_that_may_not_write_is_anonymous) {
  const char *path = test_path("real.lock");
  int up[2], down[2];
  char byte = 0;
  test_make_lock(path);
  ck_assert_int_eq(chmod(path, 0644), 0);
  ck_assert_int_eq(pipe(up), 0);
  ck_assert_int_eq(pipe(down), 0);
  pid_t child = test_fork(read_only_reader, (int[]){up[0], up[1], down[0]});
  ck_assert_int_eq(read(up[0], &byte, 1), 1);
  ck_assert_int_ne(byte, 'f');
  if (byte == 'h') {
    colock_report *report = read_report(path);
    ck_assert_uint_eq(colock_report_count(report), 1);
    ck_assert_int_eq(number(report, 0, COLOCK_ROLE), COLOCK_ANONYMOUS);
    ck_assert_int_eq(number(report, 0, COLOCK_MODE), COLOCK_SHARED);
    colock_report_free(report);
  }
  ck_assert_int_eq(write(down[1], "x", 1), 1);
  ck_assert_int_eq(test_wait(child), 0);
  for (int i = 0; i < 2; i++) {
    close(up[i]);
    close(down[i]);
  }
}
END_TEST

/* While others take and give back the lock as fast as they can, no report fails, or shows two who cannot be at once. */
struct busy {
  colock *lock;
  atomic_bool stop;
  long rounds;
};
static void *take_and_give(void *arg) {
  struct busy *busy = arg;
  while (!busy->stop) {
    colock_hold *hold = NULL;
    if (colock_acquire(busy->lock, busy->rounds % 4 == 0 ? COLOCK_SHARED : COLOCK_EXCLUSIVE, &hold) != COLOCK_OK) break;
    colock_release(hold);
    busy->rounds++;
  }
  return NULL;
}

START_TEST(reports_of_a_busy_lock_are_sound) {
  const char *path = test_path("real.lock");
  struct busy busy[2] = {{.lock = test_open(path)}, {.lock = test_open(path)}};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give, &busy[i]), 0);
  for (int round = 0; round < 100 * test_seconds(20); round++) {
    colock_report *report = read_report(path);
    size_t exclusive = 0, shared = 0;
    for (size_t i = 0; i < colock_report_count(report); i++) {
      int64_t role = number(report, i, COLOCK_ROLE), mode = number(report, i, COLOCK_MODE);
      ck_assert(role == COLOCK_HOLDER || role == COLOCK_WAITER || role == COLOCK_ANONYMOUS);
      exclusive += role != COLOCK_WAITER && mode == COLOCK_EXCLUSIVE;
      shared += role != COLOCK_WAITER && mode == COLOCK_SHARED;
    }
    ck_assert(exclusive + (shared > 0) <= 1);
    colock_report_free(report);
  }
  for (int i = 0; i < 2; i++) {
    busy[i].stop = true;
    pthread_join(threads[i], NULL);
    ck_assert_int_gt(busy[i].rounds, 0);
    colock_close(busy[i].lock);
  }
}
END_TEST

START_TEST(null_is_nobody) {
  colock_report_free(NULL);
  ck_assert_uint_eq(colock_report_count(NULL), 0);
  ck_assert_ptr_null(colock_report_entry(NULL, 0));
  ck_assert_int_eq(colock_entry_number(NULL, COLOCK_PID), -1);
  ck_assert_ptr_null(colock_entry_text(NULL, COLOCK_LABEL));
  ck_assert_int_eq(colock_report_stat(NULL, "holders"), -1);
  ck_assert_ptr_null(colock_report_json(NULL));
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "report", 60);
  tcase_add_test(tcase, unused_lock_is_free);
  tcase_add_test(tcase, writer_is_named_with_all_it_said);
  tcase_add_test(tcase, dead_owner_is_not_shown);
  tcase_add_test(tcase, words_alone_make_no_holder);
  tcase_add_test(tcase, idle_and_unmarked_seats_are_not_shown);
  tcase_add_test(tcase, readers_come_oldest_first);
  tcase_add_test(tcase, waiters_come_in_the_order_of_their_ranks);
  tcase_add_test(tcase, readers_of_the_past_phase_have_moved_up);
  tcase_add_test(tcase, waiter_that_is_passed_over_stands_in_no_line);
  tcase_add_test(tcase, upgrading_hold_holds_and_waits);
  tcase_add_test(tcase, upgraded_hold_is_an_exclusive_one);
  tcase_add_test(tcase, slots_far_apart_are_all_seen);
  tcase_add_test(tcase, revoked_holder_is_listed_while_it_lives);
  tcase_add_test(tcase, mode_that_is_none_is_unknown);
  tcase_add_test(tcase, last_forced_unlock_is_told);
  tcase_add_test(tcase, holder_without_a_slot_is_anonymous);
  tcase_add_test(tcase, other_lanes_do_not_matter);
  tcase_add_test(tcase, stale_is_who_has_not_renewed);
  tcase_add_test(tcase, other_boots_are_dated_by_the_wall_clock);
  tcase_add_test(tcase, ages_are_never_negative);
  tcase_add_test(tcase, slot_that_is_being_written_is_read_again);
  tcase_add_test(tcase, owner_stopped_in_the_middle_is_named_still);
  tcase_add_test(tcase, owner_that_never_reads_the_same_keeps_its_entry_without_a_name);
  tcase_add_test(tcase, texts_without_an_end_are_ended);
  tcase_add_test(tcase, nonsense_in_a_slot_is_survived);
  tcase_add_test(tcase, descriptions_are_for_people);
  tcase_add_test(tcase, who_is_in_the_way_is_said);
  tcase_add_test(tcase, ages_have_two_units);
  tcase_add_test(tcase, json_has_the_schema_of_the_manual);
  tcase_add_test(tcase, what_is_no_lock_file_is_refused_and_left_alone);
  tcase_add_test(tcase, newer_and_damaged_files_are_told_apart);
  tcase_add_test(tcase, file_in_use_through_another_device_is_refused);
  tcase_add_test(tcase, permission_to_read_is_needed_and_is_enough);
  tcase_add_test(tcase, nothing_is_written_and_nothing_is_locked);
  tcase_add_test(tcase, each_failing_call_is_told_and_leaves_nothing_behind);
  tcase_add_test(tcase, failed_refill_keeps_the_content);
  tcase_add_test(tcase, holder_is_judged_by_slot_generation_and_hold);
  tcase_add_test(tcase, null_is_nobody);
  tcase = test_case(suite, "report of real processes", 60);
  tcase_add_test(tcase, real_holder_and_real_waiters_are_shown);
  tcase_add_test(tcase, line_follows_priorities);
  tcase_add_test(tcase, stopped_waiter_is_passed_over_and_gets_its_place_back);
  tcase_add_test(tcase, real_upgrade_is_shown_on_both_sides);
  tcase_add_test(tcase, released_hold_is_shown_no_more);
  tcase_add_test(tcase, dead_writer_is_told_of_before_anybody_takes_the_lock);
  tcase_add_test(tcase, reader_that_may_not_write_is_anonymous);
  tcase_add_test(tcase, reports_of_a_busy_lock_are_sound);
}

int main(int argc, char **argv) { return test_main(argc, argv, "report", fill); }

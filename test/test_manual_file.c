/* test_manual_file.c - colock-file(5) gives every offset as layout.h has it, and none that is not there. */
#define _GNU_SOURCE
#include "layout.h"
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct member {
  const char *name;
  size_t at;
};

#define HEADER(member) { #member, offsetof(struct colockp_header, member) }
#define ACTIVITY(member)                                                                                               \
  { #member, offsetof(struct colockp_slot, activity) + offsetof(struct colockp_activity, member) }
#define IDENTITY(member)                                                                                               \
  { #member, offsetof(struct colockp_slot, identity) + offsetof(struct colockp_identity, member) }

static const struct member header[] = {
  HEADER(magic), HEADER(version), HEADER(fingerprint), HEADER(carrier), HEADER(created_wall_ns), HEADER(device),
  HEADER(boot_id), HEADER(generation), HEADER(statistics_epoch), HEADER(fence), HEADER(ceiling), HEADER(ticket),
  HEADER(flag), HEADER(turn), HEADER(phase), HEADER(recall), HEADER(capacity), HEADER(slots_in_use),
  HEADER(guard_slot), HEADER(guard_pid), HEADER(writer), HEADER(abandoned), HEADER(forced), HEADER(deaths),
  HEADER(forced_unlocks), HEADER(forced_token), HEADER(statistics_since_wall_ns), { NULL, 0 }
};
static const struct member slot[] = {
  { "sequence", offsetof(struct colockp_slot, sequence) },
  ACTIVITY(state), ACTIVITY(mode), ACTIVITY(priority), ACTIVITY(tid), ACTIVITY(generation), ACTIVITY(hold_id),
  ACTIVITY(token), ACTIVITY(since_wall_ns), ACTIVITY(since_ns), ACTIVITY(renewed_ns), ACTIVITY(stale_timeout_ns),
  { "purpose", offsetof(struct colockp_slot, purpose) },
  IDENTITY(pid), IDENTITY(uid), IDENTITY(pid_namespace), IDENTITY(start_ticks), IDENTITY(host), IDENTITY(boot_id),
  IDENTITY(program), IDENTITY(label), { "inherited_pid", offsetof(struct colockp_slot, inherited_pid) },
  { "longest", offsetof(struct colockp_slot, statistics.longest) },
  { "counters", offsetof(struct colockp_slot, statistics.counters) }, { NULL, 0 }
};
#define COUNT(what, word) { what, 8 * (word) }
#define TIMES(which) (offsetof(struct colockp_counters, times) + (which) * sizeof(struct colockp_times))
static const struct member statistics[] = {
  COUNT("grants", COLOCKP_N_GRANTS), COUNT("hits", COLOCKP_N_HITS), COUNT("deaths", COLOCKP_N_DEATHS),
  COUNT("busy", COLOCKP_N_BUSY), COUNT("timeouts", COLOCKP_N_TIMEOUTS), COUNT("cancels", COLOCKP_N_CANCELS),
  COUNT("deadlocks", COLOCKP_N_DEADLOCKS), COUNT("upgrades", COLOCKP_N_UPGRADES),
  COUNT("downgrades", COLOCKP_N_DOWNGRADES), COUNT("recalls", COLOCKP_N_RECALLS),
  { "hold_shared", TIMES(COLOCKP_T_HOLDS) }, { "hold_exclusive", TIMES(COLOCKP_T_HOLDS + 1) },
  { "wait_shared", TIMES(COLOCKP_T_WAITS) }, { "wait_exclusive", TIMES(COLOCKP_T_WAITS + 1) }, { NULL, 0 }
};
#define OF_LONGEST(member) { #member, offsetof(struct colockp_longest, member) }
static const struct member longest[] = {
  OF_LONGEST(sequence), OF_LONGEST(epoch), OF_LONGEST(ns), OF_LONGEST(wall_ns), { "pid", 32 }, { "tid", 36 },
  OF_LONGEST(program), { NULL, 0 }
};

static char *read_page(void) {
  char *path = NULL, *page = NULL;
  size_t size = 0;
  ck_assert_int_gt(asprintf(&path, "%s/man/colock-file.5", getenv("abs_top_srcdir")), 0);
  FILE *file = fopen(path, "r");
  ck_assert_msg(file != NULL, "cannot open %s", path);
  ck_assert_int_gt(getdelim(&page, &size, '\0', file), 0);
  fclose(file);
  free(path);
  return page;
}

/* Each ".It OFFSET Ta TYPE Ta Va NAME" between two headings is a member, and each member is there. */
static void check_table(char *page, const char *from, const char *to, const struct member *members) {
  char *at = strstr(page, from), *end = at ? strstr(at, to) : NULL;
  size_t seen = 0, wanted = 0;
  ck_assert_ptr_nonnull(end);
  *end = '\0';
  for (char *line = strtok(at, "\n"); line; line = strtok(NULL, "\n")) {
    size_t offset;
    char name[64];
    const char *va = strstr(line, " Ta Va ");
    if (!va || sscanf(line, ".It %zu Ta", &offset) != 1 || sscanf(va, " Ta Va %63s", name) != 1)
      continue;
    const struct member *member = members;
    while (member->name && strcmp(member->name, name) != 0)
      member++;
    ck_assert_msg(member->name != NULL, "the page has %s, layout.h has not", name);
    ck_assert_msg(member->at == offset, "%s is at %zu, the page says %zu", name, member->at, offset);
    seen++;
  }
  for (const struct member *member = members; member->name; member++)
    wanted++;
  ck_assert_uint_eq(seen, wanted);
}

START_TEST(header_is_where_the_page_says) {
  char *page = read_page();
  check_table(page, ".Ss Header", ".Ss Queue", header);
  free(page);
}
END_TEST

START_TEST(slots_are_where_the_page_says) {
  char *page = read_page();
  check_table(page, ".Ss Slots", ".Ss Statistics", slot);
  free(page);
}
END_TEST

START_TEST(statistics_are_where_the_page_says) {
  char *page = read_page();
  check_table(page, ".Ss Statistics", "Each longest of", statistics);
  free(page);
  page = read_page();
  check_table(page, "Each longest of", ".Sh RECORD LOCKS", longest);
  free(page);
}
END_TEST

/* Numbers that stand in sentences. */
START_TEST(other_numbers_are_those_of_the_code) {
  char *page = read_page(), expected[20][100];
  int n = 0;
  snprintf(expected[n++], sizeof *expected, "format version %u, layout %x,", COLOCKP_VERSION, COLOCKP_FINGERPRINT);
  snprintf(expected[n++], sizeof *expected, "Va fingerprint : No 0x%x;", COLOCKP_FINGERPRINT);
  snprintf(expected[n++], sizeof *expected, "numbers[1] != 0x%x ", COLOCKP_FINGERPRINT);
  snprintf(expected[n++], sizeof *expected, ".It %d Ta %zu a slot Ta queue", COLOCKP_AT_QUEUE,
           sizeof(struct colockp_queue_entry));
  snprintf(expected[n++], sizeof *expected, ".It %lld Ta 4 a slot Ta bells", (long long)COLOCKP_AT_BELLS);
  snprintf(expected[n++], sizeof *expected, ".It %lld Ta 2 x %d Ta bases", (long long)COLOCKP_AT_BASES,
           COLOCKP_BASE_SIZE);
  snprintf(expected[n++], sizeof *expected, ".It %lld Ta %d a slot Ta slots", (long long)COLOCKP_AT_SLOTS,
           COLOCKP_SLOT_SIZE);
  snprintf(expected[n++], sizeof *expected, "at least %lld + %d x\n", (long long)COLOCKP_AT_SLOTS, COLOCKP_SLOT_SIZE);
  snprintf(expected[n++], sizeof *expected, "a power of 2 from %u to %u", COLOCKP_SLOTS_MIN, COLOCKP_SLOTS_MAX);
  snprintf(expected[n++], sizeof *expected, "\n%d counts each", COLOCKP_BUCKETS);
  snprintf(expected[n++], sizeof *expected, "below 2^%d ns", COLOCKP_BUCKET_FIRST);
  snprintf(expected[n++], sizeof *expected, "described by %zu bytes", sizeof(struct colockp_longest));
  snprintf(expected[n++], sizeof *expected, "of 2^%d ns and more", COLOCKP_BUCKET_LAST);
  snprintf(expected[n++], sizeof *expected, "is at %lld + 4 x\n", (long long)COLOCKP_AT_BELLS);
  snprintf(expected[n++], sizeof *expected, "is at %lld + %d x\n", (long long)COLOCKP_AT_SLOTS, COLOCKP_SLOT_SIZE);
  snprintf(expected[n++], sizeof *expected, "\n%d x priority", COLOCKP_PRIORITY_PLACES);
  snprintf(expected[n++], sizeof *expected, "\n%d for a hold that is being upgraded", (int)COLOCKP_KEY_UPGRADE);
  snprintf(expected[n++], sizeof *expected, "with a key above %d\nand below", COLOCKP_PRIORITY_PLACES);
  snprintf(expected[n++], sizeof *expected, "The key is 2^%d +", __builtin_ctzll(COLOCKP_KEY_BASE));
  for (int i = 0; i < n; i++) ck_assert_msg(strstr(page, expected[i]) != NULL, "the page lacks \"%s\"", expected[i]);
  ck_assert_int_eq(COLOCKP_RANK_KEY_SHIFT, 2); /* these are told as "bits" */
  ck_assert_int_eq(COLOCKP_RANK_PASSED, 1 << 1);
  ck_assert_int_eq(COLOCKP_RANK_EXCLUSIVE, 1 << 0);
  ck_assert_int_eq(COLOCKP_BELL_RUNG, 1 << 0);
  ck_assert_int_eq(COLOCKP_BELL_ASLEEP, 1 << 1);
  ck_assert_int_eq(COLOCKP_BELL_WATCH, 1 << 2);
  ck_assert_int_eq(COLOCKP_FLAG_SET, 1 << 0);
  free(page);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "colock-file", 10);
  tcase_add_test(tcase, header_is_where_the_page_says);
  tcase_add_test(tcase, slots_are_where_the_page_says);
  tcase_add_test(tcase, statistics_are_where_the_page_says);
  tcase_add_test(tcase, other_numbers_are_those_of_the_code);
}

int main(int argc, char **argv) { return test_main(argc, argv, "manual", fill); }

/* test_region.c - one lock file: made, found, grown, reset after a reboot; by many at once. */
#define _GNU_SOURCE
#include "region.h"
#include "agent.h"
#include "clock.h"
#include "fault.h"
#include "scenario.h"
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a new file ---- */

START_TEST(new_file_has_the_configured_mode_and_is_allocated) {
  struct stat st;
  mode_t mask = umask(0);
  test_make_lock(test_path("a.lock"));
  ck_assert_int_eq(stat(test_path("a.lock"), &st), 0);
  ck_assert_uint_eq(st.st_mode & 07777, 0600);
  ck_assert_int_eq(st.st_size, colockp_file_size(COLOCKP_SLOTS_MIN));
  ck_assert_int_lt(st.st_blocks * 512, 512 * 1024);
  /* header, queue, bells, slots: no store meets a full disk */
  ck_assert_int_ge(st.st_blocks * 512, (COLOCKP_SLOTS_MIN + 3) * COLOCKP_PAGE);
  colock_close(test_open_set(test_path("b.lock"), "file_mode", "0664"));
  ck_assert_int_eq(stat(test_path("b.lock"), &st), 0);
  ck_assert_uint_eq(st.st_mode & 07777, 0664);
  umask(027);
  colock_close(test_open_set(test_path("c.lock"), "file_mode", "0666"));
  ck_assert_int_eq(stat(test_path("c.lock"), &st), 0);
  ck_assert_uint_eq(st.st_mode & 07777, 0640);
  umask(mask);
}
END_TEST

START_TEST(lock_file_lies_beside_its_target) {
  colock *lock = NULL;
  colock_config *config = test_config(NULL);
  must(colock_open_for(&lock, test_path("data.db"), config));
  ck_assert_int_eq(access(test_path("data.db.lock"), F_OK), 0);
  ck_assert_int_ne(access(test_path("data.db"), F_OK), 0);
  colock_close(lock);
  ck_assert_int_eq(mkdir(test_path("dir"), 0755), 0);
  must(colock_open_for(&lock, test_path("dir///"), config));
  ck_assert_int_eq(access(test_path("dir.lock"), F_OK), 0);
  colock_close(lock);
  must_be(COLOCK_EINVAL, colock_open_for(&lock, "", config));
  must_be(COLOCK_EINVAL, colock_open_for(&lock, NULL, config));
  colock_config_free(config);
}
END_TEST

START_TEST(both_ways_to_make_a_file_make_the_same) {
  fault_install();
  fault_no_tmpfile(true);
  test_make_lock(test_path("bare.lock"));
  fault_no_tmpfile(false);
  test_make_lock(test_path("whole.lock"));
  fault_remove();
  struct colockp_header bare = test_header(test_path("bare.lock")), whole = test_header(test_path("whole.lock"));
  bare.created_wall_ns = whole.created_wall_ns;
  bare.fence = whole.fence;
  bare.ceiling = whole.ceiling;
  ck_assert_mem_eq(&bare, &whole, sizeof bare);
}
END_TEST

/* ---- many at once ---- */

struct crowd {
  const char *path;
  int gate;    /* all begin when it is closed */
  int counted; /* a byte for each that is inside */
  int leave;   /* all go when it is closed */
  bool no_tmpfile;
};

static int come_at_once(void *arg) {
  const struct crowd *crowd = arg;
  char byte = 1;
  colock *lock = NULL;
  colock_hold *hold = NULL;
  if (crowd->no_tmpfile) {
    fault_install();
    fault_no_tmpfile(true);
  }
  colock_config *config = test_config("timeout", "30s", NULL);
  if (read(crowd->gate, &byte, 1) != 0) return 1;
  if (colock_open(&lock, crowd->path, config) != COLOCK_OK) {
    fprintf(stderr, "open: %s\n", colock_last_message());
    return 2;
  }
  if (colock_acquire(lock, COLOCK_SHARED, &hold) != COLOCK_OK) {
    fprintf(stderr, "acquire: %s\n", colock_last_message());
    return 3;
  }
  if (write(crowd->counted, &byte, 1) != 1) return 4;
  if (read(crowd->leave, &byte, 1) != 0) return 5;
  if (colock_release(hold) != COLOCK_OK) return 6;
  colock_close(lock);
  colock_config_free(config);
  return 0;
}

/* So many processes open the file at once and are all inside at once. */
static void gather(const char *path, int count, bool no_tmpfile) {
  static pid_t pids[512];
  int gate[2], counted[2], leave[2];
  char byte;
  ck_assert(pipe2(gate, O_CLOEXEC) == 0 && pipe2(counted, O_CLOEXEC) == 0 && pipe2(leave, O_CLOEXEC) == 0);
  struct crowd crowd = {path, gate[0], counted[1], leave[0], no_tmpfile};
  fflush(NULL);
  for (int i = 0; i < count; i++) {
    pids[i] = fork();
    ck_assert_int_ge(pids[i], 0);
    if (pids[i] != 0) continue;
    close(gate[1]);
    close(leave[1]);
    _exit(come_at_once(&crowd));
  }
  close(gate[1]);
  close(counted[1]);
  for (int i = 0; i < count; i++)
    ck_assert_int_eq((int)read(counted[0], &byte, 1), 1); /* fails, not hangs, when one gave up */
  close(leave[1]);
  for (int i = 0; i < count; i++) ck_assert_int_eq(test_wait(pids[i]), 0);
  close(gate[0]);
  close(counted[0]);
  close(leave[0]);
}

START_TEST(two_who_create_at_once_meet_on_one_file) {
  const char *path = test_path("a.lock");
  for (int round = 0; round < 25; round++) {
    gather(path, 2, _i == 1);
    scenario_successor(path, NULL);
    unlink(path);
  }
}
END_TEST

START_TEST(three_hundred_processes_open_at_once) {
  const char *path = test_path("a.lock");
  gather(path, 300, false);
  struct colockp_header header = test_header(path);
  ck_assert_uint_eq(header.capacity, 512);
  ck_assert_uint_ge(header.slots_in_use, 300);
  scenario_successor(path, NULL);
}
END_TEST

/* ---- another boot, another device ---- */

START_TEST(after_a_reboot_the_file_is_reset) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  uint64_t token = a->token;
  agent_kill(a);
  struct colockp_header before = test_header(path);
  uint64_t old_device = before.device + 1;
  test_poke(path, offsetof(struct colockp_header, boot_id), "00000000-another-boot", 22);
  /* device numbers change over a reboot */
  test_poke(path, offsetof(struct colockp_header, device), &old_device, sizeof old_device);
  a = agent_open(path);
  struct colockp_header after = test_header(path);
  ck_assert_str_ne(after.boot_id, "00000000-another-boot");
  ck_assert_uint_eq(after.device, before.device);
  ck_assert_uint_gt((uint32_t)after.generation, (uint32_t)before.generation);
  ck_assert_uint_ge(after.fence, before.ceiling); /* whatever was handed out, synced or not */
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_uint_gt(a->token, token);
  ck_assert_int_eq(a->abandoned, 1);
}
END_TEST

/* The boot id is a hint to try: whoever lives proves that it lies. */
START_TEST(other_boot_id_under_a_holder_changes_nothing) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  test_poke(path, offsetof(struct colockp_header, boot_id), "00000000-another-boot", 22);
  struct agent *b = agent_open(path);
  ck_assert_int_eq(agent_call(b, "try s"), COLOCK_EBUSY);
  ck_assert_int_eq(agent_call(a, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(b, "try x"), COLOCK_OK);
  ck_assert_uint_gt(b->token, a->token);
}
END_TEST

/* One file through an overlay and through its upper directory has two lock tables, so two writers. */
START_TEST(other_device_is_refused_while_a_slot_is_in_use) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  struct colockp_header header = test_header(path);
  uint64_t other = header.device + 1;
  test_poke(path, offsetof(struct colockp_header, device), &other, sizeof other);
  colock *lock = NULL;
  colock_config *config = test_config("timeout", "200ms", NULL);
  int code = colock_open(&lock, path, config);
  ck_assert_msg(code == COLOCK_ECORRUPT || code == COLOCK_ENOLOCKS, "code %d", code);
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "device"));
  agent_call(a, "close");
  must(colock_open(&lock, path, config));
  colock_close(lock);
  colock_config_free(config);
  header = test_header(path);
  ck_assert_uint_eq(header.device, other - 1);
}
END_TEST

/* ---- growing ---- */

#define MORE_SEATS (COLOCKP_SLOTS_MIN + 6)

START_TEST(growth_moves_nothing_and_all_see_it) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path), *b = agent_open(path);
  struct colockp_header before = test_header(path);
  for (unsigned i = 0; i < MORE_SEATS; i++) ck_assert_int_eq(agent_call(a, "try s"), COLOCK_OK);
  struct colockp_header after = test_header(path);
  ck_assert_uint_eq(after.capacity, 2 * COLOCKP_SLOTS_MIN);
  ck_assert_uint_eq(after.generation, before.generation);
  ck_assert_uint_eq(after.guard_slot, 0);
  struct stat st;
  stat(path, &st);
  ck_assert_int_ge(st.st_size, colockp_file_size(after.capacity));
  for (unsigned i = 0; i < MORE_SEATS; i++) ck_assert_int_eq(agent_call(b, "try s"), COLOCK_OK);
  ck_assert_int_eq(agent_call(b, "report %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq((int)b->number, 2 * MORE_SEATS);
}
END_TEST

/* A process that was stopped amid growing has GUARD: who needs it waits no longer than it may, and hears who has it. */
START_TEST(stuck_guard_is_named_within_the_deadline) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  for (unsigned i = 0; i < COLOCKP_SLOTS_MIN; i++) ck_assert_int_eq(agent_call(a, "try s"), COLOCK_OK);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct flock guard = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = COLOCKP_BYTE_GUARD, .l_len = 1};
  ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &guard), 0);
  int64_t owner = 4711, before = test_now_ms();
  test_poke(path, offsetof(struct colockp_header, guard_pid), &owner, sizeof owner);
  ck_assert_int_eq(agent_call(a, "acquire s 300"), COLOCK_ETIMEDOUT);
  ck_assert_ptr_nonnull(strstr(a->text, "4711"));
  ck_assert_int_ge(test_now_ms() - before, 290);
  ck_assert_int_lt(test_now_ms() - before, 5000);
  close(fd);
  ck_assert_int_eq(agent_call(a, "acquire s 5000"), COLOCK_OK);
}
END_TEST

/* The deadline alone bounds it, too: it was not looked at while a seat was claimed, so this waited for ever. */
START_TEST(stuck_guard_does_not_outlast_a_deadline) {
  const char *path = test_path("a.lock");
  static colock_hold *holds[COLOCKP_SLOTS_MIN];
  colock *lock = test_open(path);
  for (unsigned i = 0; i < COLOCKP_SLOTS_MIN; i++) must(colock_try_acquire(lock, COLOCK_SHARED, &holds[i]));
  int fd = open(path, O_RDWR | O_CLOEXEC);
  struct flock guard = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = COLOCKP_BYTE_GUARD, .l_len = 1};
  ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &guard), 0);
  colock_hold *more = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_SHARED);
  request.timeout_ms = COLOCK_FOREVER;
  request.deadline_ns = colockp_now_ns() + 200000000;
  must_be(COLOCK_ETIMEDOUT, colock_acquire_with(lock, &request, &more));
  ck_assert_int_ge(colockp_now_ns(), request.deadline_ns);
  close(fd);
  for (unsigned i = 0; i < COLOCKP_SLOTS_MIN; i++) must(colock_release(holds[i]));
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "making", 60);
  tcase_add_test(tcase, new_file_has_the_configured_mode_and_is_allocated);
  tcase_add_test(tcase, lock_file_lies_beside_its_target);
  tcase_add_test(tcase, both_ways_to_make_a_file_make_the_same);
  tcase_add_loop_test(tcase, two_who_create_at_once_meet_on_one_file, 0, 2);
  tcase = test_case(suite, "crowd", 60);
  tcase_set_tags(tcase, "native"); /* hundreds of processes under memcheck take minutes */
  tcase_add_test(tcase, three_hundred_processes_open_at_once);
  tcase = test_case(suite, "elsewhere", 30);
  tcase_add_test(tcase, after_a_reboot_the_file_is_reset);
  tcase_add_test(tcase, other_boot_id_under_a_holder_changes_nothing);
  tcase_add_test(tcase, other_device_is_refused_while_a_slot_is_in_use);
  tcase = test_case(suite, "growing", 60);
  tcase_add_test(tcase, growth_moves_nothing_and_all_see_it);
  tcase_add_test(tcase, stuck_guard_is_named_within_the_deadline);
  tcase_add_test(tcase, stuck_guard_does_not_outlast_a_deadline);
}

int main(int argc, char **argv) { return test_main(argc, argv, "region", fill); }

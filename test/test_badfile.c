/* test_badfile.c - what is no lock file, or may not be used, or is damaged: a clear code, and nothing lost. */
#define _GNU_SOURCE
#include "agent.h"
#include "scenario.h"
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Opening fails with that code, the message names the file, and the output is left alone. */
static void must_refuse(const char *path, int code, const char *says) {
  colock *lock = (colock *)&lock;
  colock_config *config = test_config("timeout", "200ms", NULL);
  int result = colock_open(&lock, path, config);
  colock_config_free(config);
  ck_assert_msg(result == code, "%s: code %d instead of %d, \"%s\"", path, result, code,
                result ? colock_last_message() : "");
  ck_assert_ptr_eq(lock, (colock *)&lock);
  const char *message = colock_last_message();
  ck_assert_msg(strstr(message, says) != NULL, "\"%s\" does not say \"%s\"", message, says);
  ck_assert_ptr_null(strchr(message, '\n'));
}

static void must_work(const char *path) {
  scenario_successor(path, NULL);
}

/* ---- no lock files ---- */

static const struct {
  const char *name;
  const char *bytes;
  size_t size;
} foreign[] = {
    {"text.lock", "dear diary\n", 11},
    {"sqlite.db", "SQLite format 3\0\020\0\1\1\0", 21},
    {"pid.lock", "12345\n", 6},
    {"one.lck", "x", 1},
    {"late.lock", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x", 17},
    {"almost.lock", "COLOCK\n\n\1\0\0\0", 12},
};

START_TEST(foreign_file_is_untouched) {
  char after[64];
  struct stat before, now;
  const char *path = test_path(foreign[_i].name);
  test_write(path, foreign[_i].bytes, foreign[_i].size);
  stat(path, &before);
  must_refuse(path, COLOCK_EFOREIGN, foreign[_i].name);
  stat(path, &now);
  ck_assert_uint_eq(test_read(path, after, sizeof after), foreign[_i].size);
  ck_assert_mem_eq(after, foreign[_i].bytes, foreign[_i].size);
  ck_assert_int_eq(before.st_mtim.tv_nsec, now.st_mtim.tv_nsec);
  ck_assert_uint_eq(before.st_ino, now.st_ino);
}
END_TEST

START_TEST(empty_data_file_is_untouched) {
  static const char zeros[8192];
  for (size_t size = 0; size <= sizeof zeros; size += 4096) {
    const char *path = test_path("data.db");
    test_write(path, zeros, size);
    must_refuse(path, COLOCK_EFOREIGN, "data.db");
    struct stat st;
    stat(path, &st);
    ck_assert_int_eq(st.st_size, (off_t)size);
  }
}
END_TEST

START_TEST(empty_file_with_the_name_of_a_lock_is_laid_out) {
  static const char zeros[8192];
  static const char *const names[] = {"a.lock", "a.lck", "lock", "db-lock"};
  for (size_t i = 0; i < 4; i++) {
    test_write(test_path(names[i]), zeros, i * 2730);
    must_work(test_path(names[i]));
  }
}
END_TEST

START_TEST(directory_and_its_names_are_refused) {
  const char *path = test_path("d.lock");
  ck_assert_int_eq(mkdir(path, 0755), 0);
  must_refuse(path, COLOCK_EFOREIGN, "directory");
  must_refuse("/", COLOCK_EFOREIGN, "directory");
  must_refuse(".", COLOCK_EFOREIGN, "directory");
  must_refuse("..", COLOCK_EFOREIGN, "directory");
  must_refuse(test_path("d.lock/"), COLOCK_EFOREIGN, "directory");
}
END_TEST

START_TEST(fifo_does_not_hang) {
  const char *path = test_path("f.lock");
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  must_refuse(path, COLOCK_EFOREIGN, "FIFO");
}
END_TEST

START_TEST(socket_and_device_are_refused) {
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  const char *path = test_path("s.lock");
  ck_assert_uint_lt(strlen(path), sizeof name.sun_path);
  strcpy(name.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_eq(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
  must_refuse(path, COLOCK_EFOREIGN, "socket");
  must_refuse("/dev/null", COLOCK_EFOREIGN, "device");
  close(fd);
}
END_TEST

START_TEST(symlink_is_refused_and_its_target_untouched) {
  const char *target = test_path("real.lock"), *link = test_path("link.lock"), *dangling = test_path("dangling.lock");
  test_make_lock(target);
  ck_assert_int_eq(symlink("real.lock", link), 0);
  must_refuse(link, COLOCK_EFOREIGN, "link.lock");
  ck_assert_int_eq(symlink("nowhere.lock", dangling), 0);
  must_refuse(dangling, COLOCK_EFOREIGN, "dangling.lock");
  ck_assert_int_ne(access(test_path("nowhere.lock"), F_OK), 0);
  must_work(target);
}
END_TEST

START_TEST(names_that_lead_nowhere) {
  char longer[400];
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = '\0';
  test_write(test_path("file"), "x", 1);
  must_refuse(test_path("none/a.lock"), COLOCK_ENOENT, "none/a.lock");
  must_refuse(test_path("file/a.lock"), COLOCK_ENOENT, "file/a.lock");
  must_refuse(test_path(longer), COLOCK_ESYSTEM, "xxx");
  ck_assert_int_eq(colock_last_errno(), ENAMETOOLONG);
  must_refuse("", COLOCK_EINVAL, "path");
  colock *lock = NULL;
  must_be(COLOCK_EINVAL, colock_open(&lock, NULL, NULL));
  must_be(COLOCK_EINVAL, colock_open(NULL, "x", NULL));
}
END_TEST

START_TEST(names_of_any_bytes_work_and_messages_stay_printable) {
  static const char *const names[] = {"with space.lock", "new\nline.lock", "tab\t\001.lock", "\377\376bytes.lock",
                                      "\303\251.lock"};
  for (size_t i = 0; i < 5; i++) must_work(test_path(names[i]));
  for (size_t i = 0; i < 5; i++) {
    colock *lock = test_open(test_path(names[i])); /* and the names are those that were made */
    struct stat st;
    ck_assert_int_eq(stat(test_path(names[i]), &st), 0);
    colock_close(lock);
  }
  test_write(test_path("no\n\377.lock"), "no", 2);
  must_refuse(test_path("no\n\377.lock"), COLOCK_EFOREIGN, "no\\n\\xff.lock");
}
END_TEST

/* ---- versions ---- */

START_TEST(other_formats_are_refused_untouched) {
  static const struct {
    size_t at;
    uint32_t value;
  } others[] = {{offsetof(struct colockp_header, version), 2},
                {offsetof(struct colockp_header, version), 77777},
                {offsetof(struct colockp_header, fingerprint), 0x10c49999},
                {offsetof(struct colockp_header, carrier), COLOCKP_CARRIER_FILE}};
  const char *path = test_path("a.lock");
  for (size_t i = 0; i < 4; i++) {
    unlink(path);
    test_make_lock(path);
    test_poke(path, others[i].at, &others[i].value, sizeof others[i].value);
    struct colockp_header before = test_header(path);
    must_refuse(path, COLOCK_EVERSION, "a.lock");
    struct colockp_header after = test_header(path);
    ck_assert_mem_eq(&before, &after, sizeof before);
  }
}
END_TEST

/* It was reset as after any reboot, and became a mapped one beside the hosts that use it as the other. */
START_TEST(file_of_the_other_carrier_is_left_alone_after_a_reboot_too) {
  const char *path = test_path("a.lock");
  uint32_t carrier = COLOCKP_CARRIER_FILE;
  test_make_lock(path);
  test_poke(path, offsetof(struct colockp_header, carrier), &carrier, sizeof carrier);
  test_poke(path, offsetof(struct colockp_header, boot_id), "00000000-another-boot", 22);
  struct colockp_header before = test_header(path);
  must_refuse(path, COLOCK_EVERSION, "carrier");
  struct colockp_header after = test_header(path);
  ck_assert_mem_eq(&before, &after, sizeof before);
}
END_TEST

/* ---- truncation and damage ---- */

START_TEST(truncated_file_without_users_is_rebuilt) {
  static const off_t sizes[] = {
      1, 7, 8, 12, 100, 128, 192, 512, 4095, 4096, 8192, COLOCKP_AT_SLOTS, COLOCKP_AT_SLOTS + 4096 * 63};
  const char *path = test_path("a.lock");
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    unlink(path);
    test_make_lock(path);
    ck_assert_int_eq(truncate(path, sizes[i]), 0);
    /* Fewer bytes than the magic tell nothing of whose they were. */
    if (sizes[i] < COLOCKP_MAGIC_SIZE) must_refuse(path, COLOCK_EFOREIGN, "a.lock");
    else must_work(path);
  }
}
END_TEST

START_TEST(truncated_file_with_a_holder_is_corrupt) {
  static const off_t sizes[] = {0, 8, 100, 4096, COLOCKP_AT_SLOTS};
  const char *path = test_path("a.lock");
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    unlink(path);
    struct agent *a = agent_open(path);
    ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
    ck_assert_int_eq(truncate(path, sizes[i]), 0);
    must_refuse(path, COLOCK_ECORRUPT, "a.lock");
    agent_kill(a);
    must_work(path);
  }
}
END_TEST

START_TEST(rebuild_keeps_tokens_and_generation_growing) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  uint64_t token = a->token;
  agent_kill(a);
  struct colockp_header before = test_header(path);
  uint32_t capacity = 99;
  test_poke(path, offsetof(struct colockp_header, capacity), &capacity, sizeof capacity);
  a = agent_open(path);
  struct colockp_header after = test_header(path);
  ck_assert_uint_eq(after.capacity, COLOCKP_SLOTS_MIN);
  ck_assert_uint_gt((uint32_t)after.generation, (uint32_t)before.generation);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_uint_gt(a->token, token);
  ck_assert_int_eq(a->abandoned, 1); /* the mark survives the rebuild */
}
END_TEST

struct damage {
  const char *name;
  off_t from;
  uint32_t length, most;
};

static const struct damage damages[] = {
    {"a few bytes of the header", 0, 600, 4},
    {"much of the header", 0, 1024, 300},
    {"a few bits of its words", 128, 480, 2},
    {"the queue", COLOCKP_AT_QUEUE, 64 * 16, 200},
    {"the bells", COLOCKP_AT_BELLS, 64 * 4, 50},
    {"the slots", COLOCKP_AT_SLOTS, 64 * 1024, 400},
};

static void damage(const char *path, const struct damage *what, uint64_t *random) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
  uint32_t count = 1 + test_random(random) % what->most;
  for (uint32_t i = 0; i < count; i++) {
    off_t at = what->from + (off_t)(test_random(random) % what->length);
    unsigned char byte = 0;
    ck_assert_int_ge(pread(fd, &byte, 1, at), 0);
    unsigned changed = test_random(random) % 3 == 0 ? byte ^ 1u << test_random(random) % 8 : test_random(random);
    byte = (unsigned char)changed;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
  }
  close(fd);
}

/* A working lock or a clear code; reports come out whole or as a code. */
static int open_damaged(const char *path, colock **lock) {
  colock_report *report = NULL;
  int code = colock_report_read(path, &report);
  ck_assert_int_le(code, COLOCK_ESYSTEM);
  if (code == COLOCK_OK) ck_assert_ptr_nonnull(colock_report_json(report));
  colock_report_free(report);
  colock_config *config = test_config("timeout", "20ms", "verbosity", "quiet", NULL);
  code = colock_open(lock, path, config);
  colock_config_free(config);
  bool clear = code == COLOCK_OK || code == COLOCK_EFOREIGN || code == COLOCK_EVERSION || code == COLOCK_ECORRUPT;
  ck_assert_msg(clear, "code %d, \"%s\"", code, colock_last_message());
  return code;
}

START_TEST(random_damage_without_users_ends_in_a_lock_or_a_code) {
  const char *path = test_path("a.lock");
  uint64_t random = test_seed() + (uint64_t)_i;
  unsigned worked = 0;
  for (int round = 0; round < 20 * test_seconds(2); round++) {
    unlink(path);
    test_make_lock(path);
    damage(path, &damages[_i], &random);
    colock *lock = NULL;
    if (open_damaged(path, &lock) != COLOCK_OK) continue;
    colock_hold *hold = NULL, *second = NULL;
    must(colock_acquire(lock, COLOCK_EXCLUSIVE, &hold));
    must_be(COLOCK_EBUSY, colock_try_acquire(lock, COLOCK_SHARED, &second));
    must(colock_release(hold));
    colock_close(lock);
    worked++;
  }
  ck_assert_uint_gt(worked, 0);
}
END_TEST

START_TEST(random_damage_under_a_holder_never_makes_two_writers) {
  const char *path = test_path("a.lock");
  uint64_t random = test_seed() + 100 + (uint64_t)_i;
  for (int round = 0; round < 8 * test_seconds(2); round++) {
    unlink(path);
    struct agent *a = agent_open(path);
    ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
    damage(path, &damages[_i], &random);
    colock *lock = NULL;
    if (open_damaged(path, &lock) == COLOCK_OK) {
      colock_hold *hold = NULL;
      int code = colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold);
      ck_assert_msg(code != COLOCK_OK, "two writers; the seed is %llu, damage %d, round %d",
                    (unsigned long long)test_seed(), _i, round);
      colock_close(lock);
    }
    agent_call(a, "release 0"); /* any code, but an answer */
    agent_send(a, "exit 0");
    ck_assert_int_eq(agent_wait(a), 0);
    if (open_damaged(path, &lock) != COLOCK_OK) continue;
    colock_close(lock);
    must_work(path);
  }
}
END_TEST

/* A capacity that promises more than the file has must not lead beyond its end. */
START_TEST(damaged_capacity_under_users_kills_nobody) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  for (unsigned i = 0; i < COLOCKP_SLOTS_MIN; i++) ck_assert_int_eq(agent_call(a, "try s"), COLOCK_OK);
  uint32_t capacity = COLOCKP_SLOTS_MIN * 2;
  test_poke(path, offsetof(struct colockp_header, capacity), &capacity, sizeof capacity);
  agent_send(a, "try s");
  agent_answer(a); /* any code, but an answer */
  agent_send(a, "exit 0");
  ck_assert_int_eq(agent_wait(a), 0);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "foreign", 20);
  tcase_add_loop_test(tcase, foreign_file_is_untouched, 0, (int)(sizeof foreign / sizeof foreign[0]));
  tcase_add_test(tcase, empty_data_file_is_untouched);
  tcase_add_test(tcase, empty_file_with_the_name_of_a_lock_is_laid_out);
  tcase_add_test(tcase, directory_and_its_names_are_refused);
  tcase_add_test(tcase, fifo_does_not_hang);
  tcase_add_test(tcase, socket_and_device_are_refused);
  tcase_add_test(tcase, symlink_is_refused_and_its_target_untouched);
  tcase_add_test(tcase, names_that_lead_nowhere);
  tcase_add_test(tcase, names_of_any_bytes_work_and_messages_stay_printable);
  tcase_add_test(tcase, other_formats_are_refused_untouched);
  tcase = test_case(suite, "damage", 60);
  tcase_add_test(tcase, file_of_the_other_carrier_is_left_alone_after_a_reboot_too);
  tcase_add_test(tcase, truncated_file_without_users_is_rebuilt);
  tcase_add_test(tcase, truncated_file_with_a_holder_is_corrupt);
  tcase_add_test(tcase, rebuild_keeps_tokens_and_generation_growing);
  tcase_add_loop_test(tcase, random_damage_without_users_ends_in_a_lock_or_a_code, 0,
                      (int)(sizeof damages / sizeof damages[0]));
  tcase_add_loop_test(tcase, random_damage_under_a_holder_never_makes_two_writers, 0,
                      (int)(sizeof damages / sizeof damages[0]));
  tcase_add_test(tcase, damaged_capacity_under_users_kills_nobody);
}

int main(int argc, char **argv) { return test_main(argc, argv, "badfile", fill); }

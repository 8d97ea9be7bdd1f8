/* test_scarce.c - without permission, on a read-only or full file system, at the limit of descriptors: a code, or a
 * lock that can do less; what is held already stays held.
 */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "support.h"
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static colock_config *config_of_child;

static int open_code(const char *path) {
  colock *lock = NULL;
  int code = colock_open(&lock, path, config_of_child);
  colock_close(lock);
  return code;
}

static int use_reader_only(const char *path) {
  colock *lock = NULL;
  colock_hold *hold = NULL, *second = NULL;
  if (colock_open(&lock, path, config_of_child) != COLOCK_OK) return 11;
  if (colock_acquire(lock, COLOCK_EXCLUSIVE, &hold) != COLOCK_EACCES) return 12;
  if (colock_acquire(lock, COLOCK_SHARED, &hold) != COLOCK_OK) return 13;
  if (colock_check(hold) != COLOCK_OK || colock_token(hold) != 0) return 14;
  if (colock_try_acquire(lock, COLOCK_SHARED, &second) != COLOCK_OK) return 15;
  if (colock_release(second) != COLOCK_OK || colock_release(hold) != COLOCK_OK) return 16;
  colock_close(lock);
  return 0;
}

static int without_permission(void *arg) {
  (void)arg;
  if (geteuid() == 0 && test_become_nobody() != 0) return 9;
  if (open_code(test_path("closed.lock")) != COLOCK_EACCES) return 1;
  if (strstr(colock_last_message(), "closed.lock") == NULL) return 2;
  if (open_code(test_path("fixed/new.lock")) != COLOCK_EACCES) return 3;
  if (open_code(test_path("shut/a.lock")) != COLOCK_EACCES) return 4;
  return use_reader_only(test_path("readable.lock"));
}

START_TEST(without_permission_a_code_or_a_reader_only_lock) {
  test_make_lock(test_path("closed.lock"));
  test_make_lock(test_path("readable.lock"));
  ck_assert_int_eq(mkdir(test_path("fixed"), 0755), 0);
  ck_assert_int_eq(mkdir(test_path("shut"), 0755), 0);
  test_make_lock(test_path("shut/a.lock"));
  ck_assert_int_eq(chmod(test_path("closed.lock"), 0), 0);
  ck_assert_int_eq(chmod(test_path("readable.lock"), 0444), 0);
  ck_assert_int_eq(chmod(test_path("fixed"), 0555), 0);
  ck_assert_int_eq(chmod(test_path("shut"), 0), 0);
  config_of_child = test_config("timeout", "200ms", NULL);
  ck_assert_int_eq(test_in_child(without_permission, NULL), 0);
  colock_config_free(config_of_child);
  ck_assert_int_eq(access(test_path("fixed/new.lock"), F_OK), -1);
  ck_assert_int_eq(chmod(test_path("shut"), 0755), 0);
  ck_assert_int_eq(chmod(test_path("fixed"), 0755), 0);
  ck_assert_int_eq(chmod(test_path("closed.lock"), 0600), 0);
}
END_TEST

/* An anonymous reader keeps writers out and is kept out by them. */
START_TEST(reader_only_lock_excludes_writers) {
  const char *path = test_path("a.lock");
  struct agent *writer = agent_open(path), *reader = agent_start();
  ck_assert_int_eq(chmod(path, 0444), 0);
  if (geteuid() == 0) ck_assert_int_eq(agent_call(reader, "nobody"), 0);
  ck_assert_int_eq(agent_call(reader, "open %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(reader, "acquire s 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(writer, "try x"), COLOCK_EBUSY);
  ck_assert_int_eq(agent_call(writer, "report %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq((int)writer->number, 1);
  ck_assert_int_eq(writer->text[0] - '0', COLOCK_ANONYMOUS);
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  ck_assert_int_eq(chmod(path, 0644), 0);
  ck_assert_int_eq(agent_call(writer, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(reader, "try s"), COLOCK_EBUSY);
  agent_kill(writer);
  ck_assert_int_eq(agent_call(reader, "acquire s 5000"), COLOCK_OK);
  ck_assert_int_eq(reader->abandoned, 1); /* which it reads, though it cannot write it down */
}
END_TEST

/* ---- file systems of our own, where the kernel lets us have them ---- */

/* 0: mounted at the directory, in a mount namespace that ends with this process. */
static int mount_own(const char *at, const char *options) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, "") != 0) return errno;
  return mount("colock-test", at, "tmpfs", 0, options) == 0 ? 0 : errno;
}

enum { SKIPPED = 77 };

static int on_read_only(void *arg) {
  (void)arg;
  if (mount_own(test_path("fs"), "size=8m") != 0) return SKIPPED;
  if (open_code(test_path("fs/a.lock")) != COLOCK_OK) return 1;
  if (mount("colock-test", test_path("fs"), "", MS_REMOUNT | MS_RDONLY, "") != 0) return SKIPPED;
  if (open_code(test_path("fs/new.lock")) != COLOCK_EACCES) return 2;
  if (strstr(colock_last_message(), "new.lock") == NULL) return 3;
  return use_reader_only(test_path("fs/a.lock"));
}

static int on_full_disk(void *arg) {
  (void)arg;
  if (mount_own(test_path("fs"), "size=64k") != 0) return SKIPPED;
  if (open_code(test_path("fs/a.lock")) != COLOCK_ENOSPC) return 1;
  if (strstr(colock_last_message(), "a.lock") == NULL) return 2;
  if (access(test_path("fs/a.lock"), F_OK) == 0) return 3; /* nothing half made is left */
  fault_install();
  fault_no_tmpfile(true);
  if (open_code(test_path("fs/a.lock")) != COLOCK_ENOSPC) return 4;
  fault_remove();
  if (mount("colock-test", test_path("fs"), "", MS_REMOUNT, "size=8m") != 0) return SKIPPED;
  return open_code(test_path("fs/a.lock")) == COLOCK_OK ? 0 : 5;
}

/* The disk is full when the file must grow: those who hold go on holding, the one more gets a code. */
static int grow_on_full_disk(void *arg) {
  (void)arg;
  static colock_hold *holds[COLOCKP_SLOTS_MIN];
  colock *lock = NULL;
  colock_hold *more = NULL;
  if (mount_own(test_path("fs"), "size=400k") != 0) return SKIPPED;
  if (colock_open(&lock, test_path("fs/a.lock"), config_of_child) != COLOCK_OK) return 1;
  for (unsigned i = 0; i < COLOCKP_SLOTS_MIN; i++) {
    if (colock_try_acquire(lock, COLOCK_SHARED, &holds[i]) != COLOCK_OK) return 2;
  }
  if (colock_try_acquire(lock, COLOCK_SHARED, &more) != COLOCK_ENOSPC) return 3;
  for (unsigned i = 0; i < COLOCKP_SLOTS_MIN; i++) {
    if (colock_check(holds[i]) != COLOCK_OK) return 4;
    if (colock_release(holds[i]) != COLOCK_OK) return 5;
  }
  if (colock_try_acquire(lock, COLOCK_EXCLUSIVE, &more) != COLOCK_OK) return 6;
  if (colock_release(more) != COLOCK_OK) return 7;
  colock_close(lock);
  return 0;
}

START_TEST(read_only_and_full_file_systems) {
  static int (*const bodies[])(void *) = {on_read_only, on_full_disk, grow_on_full_disk};
  ck_assert_int_eq(mkdir(test_path("fs"), 0755), 0);
  config_of_child = test_config("timeout", "200ms", "verbosity", "quiet", NULL);
  int status = test_in_child(bodies[_i], NULL);
  colock_config_free(config_of_child);
  if (status == SKIPPED) test_skip("no file system could be mounted (needs root and mount namespaces)");
  else ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- descriptors ---- */

static int with_few_descriptors(void *arg) {
  (void)arg;
  int refused = 0;
  struct rlimit limit;
  unsigned base = test_descriptors();
  for (unsigned more = 0; more < 8; more++) {
    colock *lock = NULL;
    colock_hold *holds[8] = {NULL};
    limit.rlim_cur = limit.rlim_max = base + more;
    limit.rlim_max = 1024;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    int code = colock_open(&lock, test_path("a.lock"), config_of_child);
    for (int i = 0; code == COLOCK_OK && i < 8; i++) code = colock_try_acquire(lock, COLOCK_SHARED, &holds[i]);
    if (code != COLOCK_EMFILE || colock_last_errno() != EMFILE) return 2;
    refused++;
    for (int i = 0; i < 8; i++) {
      if (holds[i] != NULL && colock_release(holds[i]) != COLOCK_OK) return 3;
    }
    colock_close(lock);
    limit.rlim_cur = 1024;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (test_descriptors() != base) return 4;
  }
  return refused == 8 ? 0 : 5;
}

/* The kernel's answer to a store beyond the limit would be a signal that ends the program. */
static int with_a_file_size_limit(void *arg) {
  (void)arg;
  struct rlimit limit = {.rlim_cur = 64 * 1024, .rlim_max = RLIM_INFINITY};
  colock *lock = NULL;
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
  if (colock_open(&lock, test_path("a.lock"), config_of_child) != COLOCK_ESYSTEM) return 2;
  if (colock_last_errno() != EFBIG || access(test_path("a.lock"), F_OK) == 0) return 3;
  limit.rlim_cur = RLIM_INFINITY;
  if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 4;
  if (colock_open(&lock, test_path("a.lock"), config_of_child) != COLOCK_OK) return 5;
  colock_close(lock);
  return 0;
}

START_TEST(file_size_limit_is_a_code_and_no_signal) {
  config_of_child = test_config("verbosity", "quiet", NULL);
  ck_assert_int_eq(test_in_child(with_a_file_size_limit, NULL), 0);
  colock_config_free(config_of_child);
}
END_TEST

START_TEST(descriptor_limit_is_a_code_and_leaks_none) {
  test_make_lock(test_path("a.lock"));
  config_of_child = test_config("timeout", "200ms", NULL);
  ck_assert_int_eq(test_in_child(with_few_descriptors, NULL), 0);
  colock_config_free(config_of_child);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "scarce", 30);
  tcase_add_test(tcase, without_permission_a_code_or_a_reader_only_lock);
  tcase_add_test(tcase, reader_only_lock_excludes_writers);
  tcase_add_loop_test(tcase, read_only_and_full_file_systems, 0, 3);
  tcase_add_test(tcase, file_size_limit_is_a_code_and_no_signal);
  tcase = test_case(suite, "descriptors", 60);
  tcase_set_tags(tcase, "native"); /* memcheck has descriptors of its own below the limit */
  tcase_add_test(tcase, descriptor_limit_is_a_code_and_leaks_none);
}

int main(int argc, char **argv) { return test_main(argc, argv, "scarce", fill); }

/* test_filesystem.c - which file systems carry a lock file, told by the type from statfs, which the test makes up. */
#define _GNU_SOURCE
#include "support.h"
#include "system.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

#define BTRFS 0x9123683e

static long type, flags;
static int flag_errno;

static int fake_fstatfs(int fd, struct statfs *st) {
  int result = colockp_system_default.fstatfs(fd, st);
  st->f_type = type;
  return result;
}

static int fake_ioctl(int fd, unsigned long request, long *argument) {
  (void)fd;
  if (flag_errno) {
    errno = flag_errno;
    return -1;
  }
  if (request == FS_IOC_GETFLAGS)
    *argument = flags;
  else
    flags = *argument;
  return 0;
}

static void pretend(long new_type) {
  type = new_type;
  flags = 0;
  flag_errno = 0;
  colockp_system.fstatfs = fake_fstatfs;
  colockp_system.ioctl_long = fake_ioctl;
}

static void teardown(void) {
  colockp_system = colockp_system_default;
}

static const long local[] = { 0xef53, 0x58465342, 0x01021994, 0xf2f52010, 0x794c7630 };
static const struct {
  long type;
  const char *name;
} remote[] = { { 0x6969, "nfs" }, { 0xff534d42, "cifs" }, { 0x00c36400, "ceph" }, { 0x65735546, "fuse" },
               { 0x01021997, "9p" } };

START_TEST(local_file_systems_serve) {
  pretend(local[_i]);
  colock_close(test_open(test_path("a.lock")));
  ck_assert_int_eq(flags, 0);
}
END_TEST

/* By its name, whatever the configuration says, and before anything is made on it. */
START_TEST(remote_file_systems_are_refused_and_nothing_is_created) {
  colock *lock = NULL;
  colock_config *config = test_config("carrier", "mapped", NULL);
  pretend(remote[_i].type);
  must_be(COLOCK_ENOLOCKS, colock_open(&lock, test_path("a.lock"), config));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), remote[_i].name));
  ck_assert_int_ne(access(test_path("a.lock"), F_OK), 0);
  colock_config_free(config);
}
END_TEST

START_TEST(unknown_file_systems_need_the_word_of_the_configuration) {
  colock *lock = NULL;
  colock_config *plain = test_config(NULL), *vouched = test_config("carrier", "mapped", NULL);
  pretend(0x1234567);
  must_be(COLOCK_ENOLOCKS, colock_open(&lock, test_path("a.lock"), plain));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "carrier: mapped"));
  ck_assert_int_ne(access(test_path("a.lock"), F_OK), 0);
  must(colock_open(&lock, test_path("a.lock"), vouched));
  colock_close(lock);
  colock_config_free(plain);
  colock_config_free(vouched);
}
END_TEST

START_TEST(new_files_on_btrfs_are_made_without_copy_on_write) {
  pretend(BTRFS);
  colock_close(test_open(test_path("a.lock")));
  ck_assert_int_ne(flags & FS_NOCOW_FL, 0);
  colock_close(test_open(test_path("a.lock")));
}
END_TEST

START_TEST(empty_lock_file_on_btrfs_is_laid_out_without_copy_on_write) {
  pretend(BTRFS);
  test_write(test_path("a.lock"), "", 0);
  colock_close(test_open(test_path("a.lock")));
  ck_assert_int_ne(flags & FS_NOCOW_FL, 0);
}
END_TEST

START_TEST(lock_file_copied_on_btrfs_is_refused) {
  colock *lock = NULL;
  colock_config *config = test_config(NULL);
  colock_close(test_open(test_path("a.lock")));
  pretend(BTRFS);
  must_be(COLOCK_ENOLOCKS, colock_open(&lock, test_path("a.lock"), config));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "copy on write"));
  flag_errno = EIO;
  must_be(COLOCK_ESYSTEM, colock_open(&lock, test_path("a.lock"), config));
  must_be(COLOCK_ESYSTEM, colock_open(&lock, test_path("b.lock"), config));
  ck_assert_int_ne(access(test_path("b.lock"), F_OK), 0);
  colock_config_free(config);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "file systems", 30);
  tcase_add_checked_fixture(tcase, NULL, teardown);
  tcase_add_loop_test(tcase, local_file_systems_serve, 0, (int)(sizeof local / sizeof *local));
  tcase_add_loop_test(tcase, remote_file_systems_are_refused_and_nothing_is_created, 0,
                      (int)(sizeof remote / sizeof *remote));
  tcase_add_test(tcase, unknown_file_systems_need_the_word_of_the_configuration);
  tcase_add_test(tcase, new_files_on_btrfs_are_made_without_copy_on_write);
  tcase_add_test(tcase, empty_lock_file_on_btrfs_is_laid_out_without_copy_on_write);
  tcase_add_test(tcase, lock_file_copied_on_btrfs_is_refused);
}

int main(int argc, char **argv) { return test_main(argc, argv, "filesystem", fill); }

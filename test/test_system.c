/* test_system.c - the table of system calls: whole, replaceable, and the only way out of the library. */
#define _GNU_SOURCE
#include "fault.h"
#include "support.h"
#include "system.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

START_TEST(table_is_complete_and_wrapped_by_the_tests) {
  const size_t entries = sizeof(struct colockp_system) / sizeof(void (*)(void));
  ck_assert_uint_eq(entries, FAULT_COUNT);
  for (size_t i = 0; i < entries; i++) {
    void (*entry)(void);
    memcpy(&entry, (const char *)&colockp_system_default + i * sizeof entry, sizeof entry);
    ck_assert_msg(entry != NULL, "entry %zu is empty", i);
  }
  fault_install();
  for (size_t i = 0; i < entries; i++) {
    const char *now = (const char *)&colockp_system + i * sizeof(void (*)(void));
    const char *standard = (const char *)&colockp_system_default + i * sizeof(void (*)(void));
    ck_assert_msg(memcmp(now, standard, sizeof(void (*)(void))) != 0, "entry %zu is not wrapped", i);
  }
  fault_remove();
  ck_assert_mem_eq(&colockp_system, &colockp_system_default, sizeof colockp_system);
}
END_TEST

START_TEST(calls_set_errno_as_libc_does) {
  struct stat st;
  char byte;
  errno = 0;
  ck_assert_int_eq(colockp_system.openat(AT_FDCWD, test_path("none"), O_RDONLY, 0), -1);
  ck_assert_int_eq(errno, ENOENT);
  ck_assert_int_eq(colockp_system.fstat(-1, &st), -1);
  ck_assert_int_eq(errno, EBADF);
  ck_assert_int_eq((int)colockp_system.pread(-1, &byte, 1, 0), -1);
  ck_assert_int_eq(errno, EBADF);
  ck_assert_ptr_eq(colockp_system.mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
  ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(futex_waits_until_its_time_and_not_for_another_value) {
  uint32_t word = 5;
  struct timespec relative = {.tv_nsec = 2000000};
  int64_t before = test_now_ms();
  ck_assert_int_eq(colockp_system.futex_wait(&word, 5, &relative), -1);
  ck_assert_int_eq(errno, ETIMEDOUT);
  ck_assert_int_ge(test_now_ms() - before, 1);
  relative.tv_sec = 60;
  ck_assert_int_eq(colockp_system.futex_wait(&word, 4, &relative), -1);
  ck_assert_int_eq(errno, EAGAIN);
  ck_assert_int_eq(colockp_system.futex_wake(&word, 1), 0);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "system", 20);
  tcase_add_test(tcase, table_is_complete_and_wrapped_by_the_tests);
  tcase_add_test(tcase, calls_set_errno_as_libc_does);
  tcase_add_test(tcase, futex_waits_until_its_time_and_not_for_another_value);
}

int main(int argc, char **argv) { return test_main(argc, argv, "system", fill); }

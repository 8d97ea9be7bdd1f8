/* test_link.c - a program as a user writes it: on the installed header and library, found by pkg-config.
 *
 * PROGRAM VERSION LOCK-FILE: takes the lock once in each mode, and says what went wrong. Touches enough of the library
 * that a static link pulls in all it needs. */
#include <colock.h>
#include <stdio.h>
#include <string.h>

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, colock_last_message());
  return 1;
}

int main(int argc, char **argv) {
  static const int modes[] = {COLOCK_SHARED, COLOCK_EXCLUSIVE};
  if (argc != 3) return 2;
  int number = colock_version();
  char version[64];
  snprintf(version, sizeof version, "%d.%d.%d", number / 10000, number / 100 % 100, number % 100);
  if (strcmp(version, argv[1]) != 0) {
    fprintf(stderr, "colock_version: %s, expected %s\n", version, argv[1]);
    return 1;
  }
  colock_config *config;
  if (colock_config_new(&config) != COLOCK_OK) return failed("colock_config_new");
  colock *lock;
  if (colock_open(&lock, argv[2], config) != COLOCK_OK) return failed("colock_open");
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    colock_hold *hold;
    if (colock_acquire(lock, modes[i], &hold) != COLOCK_OK) return failed("colock_acquire");
    if (colock_check(hold) != COLOCK_OK) return failed("colock_check");
    if (colock_release(hold) != COLOCK_OK) return failed("colock_release");
  }
  colock_close(lock);
  if (colock_config_load(config, argv[2]) != COLOCK_ECONFIG) return failed("colock_config_load of what is no YAML");
  colock_config_free(config);
  return 0;
}

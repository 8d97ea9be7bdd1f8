/* support.h - what every suite shares: a fresh directory a test, baselines that must come back, seeds, small helpers.
 *
 * Each test runs in a process of its own between two checked fixtures. After it, descriptors, threads and record locks
 * are what they were before it, and no error came through the log hook that the test did not expect; else the test
 * fails.
 */
#ifndef COLOCK_TEST_SUPPORT_H
#define COLOCK_TEST_SUPPORT_H

#include "colock.h"
#include "layout.h"
#include <check.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Success of a colock call, or the test fails and says what the library said. */
#define must(call) \
  do { \
    int must_code = (call); \
    ck_assert_msg(must_code == COLOCK_OK, "%s: code %d, \"%s\"", #call, must_code, colock_last_message()); \
  } while (0)

/* That very code, and a message with it. */
#define must_be(code, call) \
  do { \
    int must_code = (call); \
    ck_assert_msg(must_code == (code), "%s: code %d instead of " #code ", \"%s\"", #call, must_code, \
                  must_code ? colock_last_message() : "success"); \
    ck_assert_msg(colock_last_message()[0] != '\0', "%s: failed without a message", #call); \
  } while (0)

/* What has to come true by itself, in other threads and processes. */
#define await_that(condition) \
  do { \
    for (int64_t limit = test_now_ms() + 20000; !(condition); sched_yield()) \
      ck_assert_msg(test_now_ms() < limit, "never: %s", #condition); \
  } while (0)

/* The suite's main: `fill` adds its cases. Returns the exit status for automake. Also runs agents (agent.h). */
int test_main(int argc, char **argv, const char *name, void (*fill)(Suite *suite));

/* A case of that suite with the fixtures of the file's top, and a limit for each of its tests. */
TCase *test_case(Suite *suite, const char *name, int limit_s);

const char *test_dir(void);                   /* of the running test, absolute, empty when the test begins */
const char *test_path(const char *name);      /* below it; good for the next 15 calls */
void test_expect_errors(void);                /* from here on the log hook may say errors */
const char *test_log(void);                   /* every line of the log hook so far */

void test_skip(const char *why);              /* this test cannot run here: print the reason; then return */
uint64_t test_seed(void);                     /* of this run: COLOCK_TEST_SEED, or new; printed */
uint32_t test_random(uint64_t *state);        /* splitmix; state may be any number */
int64_t test_now_ms(void);
int test_seconds(int usual); /* how long a random test runs, more or less: COLOCK_TEST_SECONDS, or usual */

/* Key and value, ..., NULL: a configuration of defaults and these. The caller frees it. */
colock_config *test_config(const char *key, ...);
/* Open with such a configuration. */
colock *test_open(const char *path);
colock *test_open_set(const char *path, const char *key, const char *value);

/* Whole files. Writing replaces the content in place. */
void test_write(const char *path, const void *bytes, size_t size);
size_t test_read(const char *path, void *bytes, size_t size);
struct colockp_header test_header(const char *path); /* as it is in the file now */
void test_poke(const char *path, size_t at, const void *bytes, size_t size); /* overwrite a part */
ino_t test_inode(const char *path);
void test_make_lock(const char *path);               /* a laid out lock file that nobody has open */

unsigned test_waiters(const char *path);                   /* ranks that are published in the file */
void test_await_waiters(const char *path, unsigned count); /* until so many are; fails after 20 s */
void test_end_turn(const char *path); /* whoever comes now stands behind those who wait, all of whom sleep by then */
bool test_free(const char *path);       /* nobody has a record lock anywhere in the file */
bool test_lane_taken(const char *path); /* somebody holds the present lane, in either mode */

/* Run body in a forked child and return what it returned; 256 + signal if it was killed. */
int test_in_child(int (*body)(void *arg), void *arg);
pid_t test_fork(int (*body)(void *arg), void *arg);
int test_wait(pid_t child);
int test_become_nobody(void); /* in a child: give up every privilege; 0, or -1 when it has none to give up */

unsigned test_descriptors(void); /* that are open now */
unsigned test_threads(void);
unsigned test_mappings(const char *part); /* lines of /proc/self/maps that contain part */

#endif

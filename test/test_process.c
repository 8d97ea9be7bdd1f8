/* test_process.c - forks of every kind: whose holds are whose, and that no child keeps a dead parent's lock. */
#define _GNU_SOURCE
#include "process.h"
#include "agent.h"
#include "scenario.h"
#include "support.h"
#include "system.h"
#include "tracker.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static colock *lock;
static colock_hold *hold;

static void have(int mode) {
  lock = test_open(test_path("a.lock"));
  must(colock_acquire(lock, mode, &hold));
}

static void drop(void) {
  must(colock_release(hold));
  colock_close(lock);
}

static int use_parents_hold(void *arg) {
  (void)arg;
  if (colock_check(hold) != COLOCK_EFORKED) return 1;
  if (colock_renew(hold) != COLOCK_EFORKED) return 2;
  if (colock_recovered(hold) != COLOCK_EFORKED) return 3;
  if (colock_inherit(hold, 1) != COLOCK_EFORKED) return 4;
  if (colock_detach(hold) != COLOCK_EFORKED) return 5;
  if (strstr(colock_last_message(), "parent") == NULL) return 6;
  if (colock_release(hold) != COLOCK_EFORKED) return 7;
  colock_close(lock);
  return 0;
}

START_TEST(parents_hold_answers_eforked_in_the_child) {
  have(COLOCK_EXCLUSIVE);
  ck_assert_int_eq(test_in_child(use_parents_hold, NULL), 0);
  must(colock_check(hold)); /* and is whole in the parent */
  ck_assert(test_lane_taken(test_path("a.lock")));
  drop();
}
END_TEST

static int have_own_holds(void *arg) {
  (void)arg;
  colock_hold *own = NULL, *other = NULL;
  if (colock_acquire(lock, COLOCK_SHARED, &own) != COLOCK_OK) return 1;
  if (colock_check(own) != COLOCK_OK) return 2;
  if (colock_try_acquire(lock, COLOCK_EXCLUSIVE, &other) != COLOCK_EBUSY) return 3;
  if (colock_release(own) != COLOCK_OK) return 4;
  if (colock_try_acquire(lock, COLOCK_EXCLUSIVE, &other) != COLOCK_EBUSY) return 5; /* the parent's */
  colock_release(hold);
  colock_close(lock);
  return 0;
}

START_TEST(child_has_holds_of_its_own) {
  have(COLOCK_SHARED);
  ck_assert_int_eq(test_in_child(have_own_holds, NULL), 0);
  must(colock_check(hold));
  drop();
}
END_TEST

static int only_seats_are_closed(void *arg) {
  (void)arg;
  char link[64], target[512];
  int open_files = 0;
  for (int fd = 0; fd < 64; fd++) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n > 0) target[n] = '\0';
    open_files += n > 0 && strstr(target, "a.lock") != NULL;
  }
  return open_files; /* the region's, which never has a lock */
}

START_TEST(child_closes_copies_of_seats_at_once) {
  have(COLOCK_SHARED);
  ck_assert_int_eq(test_in_child(only_seats_are_closed, NULL), 1);
  drop();
}
END_TEST

START_TEST(killed_parent_with_a_living_child_leaves_no_lock) {
  const char *path = test_path("a.lock");
  struct agent *a = agent_open(path);
  ck_assert_int_eq(agent_call(a, "acquire x 5000"), COLOCK_OK);
  ck_assert_int_eq(agent_call(a, "fork_live"), COLOCK_OK);
  pid_t orphan = (pid_t)a->number;
  agent_kill(a);
  ck_assert_int_eq(kill(orphan, 0), 0);
  bool abandoned = false;
  scenario_successor(path, &abandoned);
  ck_assert(abandoned);
  kill(orphan, SIGKILL);
}
END_TEST

/* A child that fork's handlers never saw, as container runtimes make them. */
static int in_raw_clone(int (*body)(void *arg)) {
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(body(NULL));
  ck_assert_int_gt(child, 0);
  return test_wait(child);
}

START_TEST(raw_clone_is_noticed_too) {
  have(COLOCK_EXCLUSIVE);
  ck_assert_int_eq(in_raw_clone(use_parents_hold), 0);
  must(colock_check(hold));
  drop();
  have(COLOCK_SHARED);
  ck_assert_int_eq(in_raw_clone(have_own_holds), 0);
  drop();
}
END_TEST

static int grandchild(void *arg) {
  uint32_t *before = arg, here = colockp_fork_count();
  if (here == *before) return 1;
  pid_t child = fork();
  if (child == 0) _exit(colockp_fork_count() != here ? 0 : 1);
  return test_wait(child) == 0 && colockp_fork_count() == here ? 0 : 2;
}

START_TEST(every_generation_of_children_counts) {
  uint32_t count = colockp_fork_count();
  ck_assert_int_eq(test_in_child(grandchild, &count), 0);
  ck_assert_uint_eq(colockp_fork_count(), count);
}
END_TEST

static int without_standard_descriptors(void *arg) {
  (void)arg;
  for (int fd = 0; fd < 3; fd++) close(fd);
  colock *own = test_open(test_path("a.lock"));
  colock_hold *taken = NULL;
  if (colock_acquire(own, COLOCK_EXCLUSIVE, &taken) != COLOCK_OK) return 1;
  for (int fd = 0; fd < 3; fd++) {
    if (fcntl(fd, F_GETFD) != -1) return 2; /* a program's next printf would go into our file */
  }
  if (colock_release(taken) != COLOCK_OK) return 3;
  colock_close(own);
  return 0;
}

START_TEST(descriptors_are_above_the_standard_ones) {
  ck_assert_int_eq(test_in_child(without_standard_descriptors, NULL), 0);
}
END_TEST

START_TEST(descriptors_close_on_exec) {
  unsigned before = test_descriptors();
  have(COLOCK_SHARED);
  ck_assert_uint_gt(test_descriptors(), before);
  for (int fd = 3; fd < 64; fd++) {
    int flags = fcntl(fd, F_GETFD);
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = flags < 0 ? -1 : readlink(link, target, sizeof target - 1);
    if (n < 0) continue;
    target[n] = '\0';
    if (strstr(target, test_dir()) != NULL) ck_assert_msg((flags & FD_CLOEXEC) != 0, "%d, %s", fd, target);
  }
  drop();
}
END_TEST

static _Atomic bool stop;

static void *hammer(void *arg) {
  while (!stop) {
    colock_hold *h = NULL;
    int code = colock_acquire(arg, stop ? COLOCK_SHARED : COLOCK_EXCLUSIVE, &h);
    if (code == COLOCK_OK) code = colock_release(h);
    if (code != COLOCK_OK) return "a thread failed";
  }
  return NULL;
}

static int use_lock_in_child(void *arg) {
  colock_hold *h = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = 20000;
  if (colock_acquire_with(arg, &request, &h) != COLOCK_OK) return 1;
  if (colock_release(h) != COLOCK_OK) return 2;
  colock_close(arg);
  return 0;
}

/* fork copies one thread alone: a mutex that another had at that moment would stay locked in the child for ever. */
START_TEST(fork_amid_busy_threads_leaves_the_child_a_working_lock) {
  pthread_t threads[3];
  lock = test_open(test_path("a.lock"));
  stop = false;
  for (int i = 0; i < 3; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, hammer, lock), 0);
  for (int i = 0; i < 60; i++) ck_assert_int_eq(test_in_child(use_lock_in_child, lock), 0);
  stop = true;
  for (int i = 0; i < 3; i++) {
    void *said = NULL;
    pthread_join(threads[i], &said);
    ck_assert_msg(said == NULL, "%s", (char *)said);
  }
  colock_close(lock);
}
END_TEST

static int do_nothing(void *arg) {
  (void)arg;
  return 0;
}

#define CREATOR_STACK (256 * 1024)
static char *creators_frame; /* all of its stack that lies deeper is scribbled over in the child */
static char *creators_stack;
static int inside[2], go_on[2];

/* The creator stops here, with a descriptor registered that lies on its stack. */
static int stopping_fsync(int fd) {
  char byte = 0;
  colockp_system.fsync = colockp_system_default.fsync;
  if (write(inside[1], &byte, 1) != 1 || read(go_on[0], &byte, 1) != 1) return -1;
  return colockp_system_default.fsync(fd);
}

static void *create_slowly(void *path) {
  colock *made = NULL;
  colock_config *config = test_config(NULL);
  creators_frame = __builtin_frame_address(0); /* not that of a variable, which a sanitizer may keep elsewhere */
  int code = colock_open(&made, path, config);
  if (code == 0) colock_close(made);
  colock_config_free(config);
  return (void *)(intptr_t)code;
}

/* As a new thread in the child would that gets this memory for its stack. To a sanitizer it is still the old one's. */
__attribute__((no_sanitize("address"))) static void scribble(void) {
  for (volatile char *at = creators_stack; at < creators_frame - 4096; at++) *at = 0x55;
}

__attribute__((no_sanitize("address"))) static bool still_scribbled(void) {
  for (const volatile char *at = creators_stack; at < creators_frame - 4096; at++)
    if (*at != 0x55) return false;
  return true;
}

static int scribble_and_use_locks(void *path) {
  scribble();
  colock_close(lock); /* one of its descriptors may be the neighbour of the one on that stack */
  if (!still_scribbled()) return 2;
  colock *mine = NULL;
  colock_config *config = test_config(NULL);
  if (colock_open(&mine, path, config) != 0) return 1;
  colock_close(mine);
  colock_config_free(config);
  return test_in_child(do_nothing, NULL);
}

/* The list of descriptors led through the stack of a thread that the child does not have. */
START_TEST(child_does_not_walk_the_stacks_of_threads_that_it_lacks) {
  pthread_t creator;
  pthread_attr_t attributes;
  char byte = 0;
  void *said = NULL;
  creators_stack = mmap(NULL, CREATOR_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(creators_stack, MAP_FAILED);
  ck_assert(pipe2(inside, O_CLOEXEC) == 0 && pipe2(go_on, O_CLOEXEC) == 0);
  if (_i == 0) lock = test_open(test_path("a.lock"));
  pthread_attr_init(&attributes);
  ck_assert_int_eq(pthread_attr_setstack(&attributes, creators_stack, CREATOR_STACK), 0);
  colockp_system.fsync = stopping_fsync;
  ck_assert_int_eq(pthread_create(&creator, &attributes, create_slowly, (void *)(uintptr_t)test_path("slow.lock")), 0);
  ck_assert_int_eq(read(inside[0], &byte, 1), 1);
  if (_i == 1) lock = test_open(test_path("a.lock")); /* else it is the list's head */
  int status = test_in_child(scribble_and_use_locks, (void *)(uintptr_t)test_path("other.lock"));
  ck_assert_int_eq(write(go_on[1], &byte, 1), 1);
  pthread_join(creator, &said);
  ck_assert_int_eq((intptr_t)said, 0);
  ck_assert_int_eq(status, 0);
  colock_close(lock);
  pthread_attr_destroy(&attributes);
  munmap(creators_stack, CREATOR_STACK);
  for (int i = 0; i < 2; i++) ck_assert(close(inside[i]) == 0 && close(go_on[i]) == 0);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "process", 60);
  tcase_add_test(tcase, parents_hold_answers_eforked_in_the_child);
  tcase_add_test(tcase, child_has_holds_of_its_own);
  tcase_add_test(tcase, child_closes_copies_of_seats_at_once);
  tcase_add_test(tcase, killed_parent_with_a_living_child_leaves_no_lock);
  tcase_add_test(tcase, raw_clone_is_noticed_too);
  tcase_add_test(tcase, every_generation_of_children_counts);
  tcase_add_test(tcase, descriptors_are_above_the_standard_ones);
  tcase_add_test(tcase, descriptors_close_on_exec);
  tcase = test_case(suite, "fork", 60);
  tcase_set_tags(tcase, "native child_threads"); /* memcheck: what only another thread knew of is lost in the child */
  tcase_add_test(tcase, fork_amid_busy_threads_leaves_the_child_a_working_lock);
  tcase = test_case(suite, "stacks", 60);
  tcase_set_tags(tcase, "native"); /* it writes to a stack that memcheck knows to be unused */
  tcase_add_loop_test(tcase, child_does_not_walk_the_stacks_of_threads_that_it_lacks, 0, 2);
}

int main(int argc, char **argv) { return test_main(argc, argv, "process", fill); }

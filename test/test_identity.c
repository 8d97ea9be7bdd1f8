/* test_identity.c - who we are, against what /proc says; threads that ask first at once; forked children. */
#define _GNU_SOURCE
#include "identity.h"
#include "fault.h"
#include "support.h"
#include "system.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* Field 22, found another way than the library does: from the closing bracket, by sscanf. */
static uint64_t start_of(pid_t pid) {
  char path[64], text[2048];
  unsigned long long ticks = 0;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  text[test_read(path, text, sizeof text - 1)] = '\0';
  ck_assert_int_eq(sscanf(strrchr(text, ')') + 2,
                          "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks),
                   1);
  return ticks;
}

START_TEST(identity_is_what_the_system_says) {
  struct colockp_identity who;
  struct utsname host;
  struct stat st;
  memset(&who, 0xff, sizeof who);
  colockp_identity_forget();
  colockp_identity_get(&who);
  ck_assert_int_eq(who.pid, getpid());
  ck_assert_uint_eq(who.uid, geteuid());
  ck_assert_int_eq(stat("/proc/self/ns/pid", &st), 0);
  ck_assert_uint_eq(who.pid_namespace, st.st_ino);
  ck_assert_uint_eq(who.start_ticks, start_of(getpid()));
  ck_assert_int_eq(uname(&host), 0);
  ck_assert_str_eq(who.host, host.nodename);
  ck_assert_str_eq(who.program, program_invocation_short_name);
  ck_assert_str_eq(who.label, "");
  char boot[64] = "";
  boot[test_read("/proc/sys/kernel/random/boot_id", boot, sizeof boot - 1)] = '\0';
  boot[strcspn(boot, "\n")] = '\0';
  ck_assert_uint_eq(strlen(boot), 36);
  ck_assert_str_eq(who.boot_id, boot);
  ck_assert_str_eq(colockp_boot_id(), boot);
}
END_TEST

START_TEST(name_with_brackets_and_blanks_misleads_nobody) {
  struct colockp_identity who;
  ck_assert_int_eq(prctl(PR_SET_NAME, "a) b 1 2 (c"), 0);
  colockp_identity_forget();
  colockp_identity_get(&who);
  ck_assert_uint_gt(who.start_ticks, 0);
  ck_assert_uint_eq(who.start_ticks, start_of(getpid()));
}
END_TEST

START_TEST(user_is_asked_each_time) {
  struct colockp_identity who;
  colockp_identity_get(&who);
  if (geteuid() != 0) return; /* has no other user to become */
  ck_assert_int_eq(seteuid(65534), 0);
  colockp_identity_get(&who);
  ck_assert_int_eq(seteuid(0), 0);
  ck_assert_uint_eq(who.uid, 65534);
}
END_TEST

static int openat_fails(int directory, const char *path, int flags, mode_t mode) {
  (void)directory, (void)path, (void)flags, (void)mode;
  errno = ENOENT;
  return -1;
}
static int fstatat_fails(int directory, const char *path, struct stat *st, int flags) {
  (void)directory, (void)path, (void)st, (void)flags;
  errno = ENOENT;
  return -1;
}

START_TEST(without_proc_the_rest_is_known) {
  struct colockp_identity who;
  colockp_identity_forget();
  colockp_system.openat = openat_fails;
  colockp_system.fstatat = fstatat_fails;
  errno = 5;
  colockp_identity_get(&who);
  ck_assert_int_eq(errno, 5);
  colockp_system = colockp_system_default;
  ck_assert_int_eq(who.pid, getpid());
  ck_assert_uint_eq(who.start_ticks, 0);
  ck_assert_uint_eq(who.pid_namespace, 0);
  ck_assert_str_eq(who.program, program_invocation_short_name);
  colockp_identity_forget();
}
END_TEST

START_TEST(facts_are_read_once) {
  struct colockp_identity first, second;
  colockp_identity_forget();
  colockp_identity_get(&first);
  fault_install();
  fault_die_at(0); /* count */
  colockp_identity_get(&second);
  colockp_boot_id();
  ck_assert_int_eq(fault_calls(), 0);
  fault_remove();
  ck_assert_mem_eq(&first, &second, sizeof first);
}
END_TEST

/* ---- who is stopped ---- */

static int sleep_until_killed(void *arg) {
  while (pause() != 0) (void)arg;
  return 0;
}

/* What the slot of that process says. */
static struct colockp_identity identity_of(pid_t pid) {
  struct colockp_identity who;
  colockp_identity_get(&who);
  who.pid = pid;
  who.start_ticks = start_of(pid);
  return who;
}

START_TEST(stopped_process_is_known_until_it_is_continued) {
  struct colockp_identity self = identity_of(getpid());
  ck_assert_int_eq(colockp_process_stopped(&self), 0);
  pid_t child = test_fork(sleep_until_killed, NULL);
  struct colockp_identity who = identity_of(child);
  int status;
  ck_assert_int_eq(colockp_process_stopped(&who), 0);
  for (int round = 0; round < 2; round++) {
    ck_assert_int_eq(kill(child, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    ck_assert_int_eq(colockp_process_stopped(&who), 1);
    ck_assert_int_eq(kill(child, SIGCONT), 0);
    ck_assert_int_eq(waitpid(child, &status, WCONTINUED), child);
    ck_assert_int_eq(colockp_process_stopped(&who), 0);
  }
  ck_assert_int_eq(kill(child, SIGKILL), 0);
  siginfo_t info;
  ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
  ck_assert_int_eq(colockp_process_stopped(&who), -1); /* dead, but not buried */
  ck_assert_int_eq(test_wait(child), 256 + SIGKILL);
  errno = 5;
  ck_assert_int_eq(colockp_process_stopped(&who), -1);
  ck_assert_int_eq(errno, 5);
}
END_TEST

START_TEST(whose_process_is_not_to_be_seen_is_unknown) {
  struct colockp_identity self = identity_of(getpid()), who;
  who = self, who.pid_namespace++;
  ck_assert_int_eq(colockp_process_stopped(&who), -1);
  who = self, who.boot_id[0] ^= 1;
  ck_assert_int_eq(colockp_process_stopped(&who), -1);
  who = self, who.start_ticks++; /* the number is somebody else's by now */
  ck_assert_int_eq(colockp_process_stopped(&who), -1);
  who = self, who.start_ticks = 0;
  ck_assert_int_eq(colockp_process_stopped(&who), -1);
  who = self, who.pid = 0;
  ck_assert_int_eq(colockp_process_stopped(&who), -1);
  memset(&who, 0, sizeof who);
  ck_assert_int_eq(colockp_process_stopped(&who), -1);
  colockp_system.openat = openat_fails;
  ck_assert_int_eq(colockp_process_stopped(&self), -1);
  colockp_system = colockp_system_default;
  ck_assert_int_eq(colockp_process_stopped(&self), 0);
}
END_TEST

/* ---- threads ---- */

#define THREADS 8
static pthread_barrier_t together;
struct seen {
  struct colockp_identity who;
  int32_t tid, kernel_tid, again;
  uint64_t thread, thread_again;
  char boot_id[40];
};

static void *ask(void *arg) {
  struct seen *seen = arg;
  pthread_barrier_wait(&together);
  colockp_identity_get(&seen->who);
  seen->tid = colockp_tid();
  seen->again = colockp_tid();
  seen->kernel_tid = (int32_t)syscall(SYS_gettid);
  seen->thread = colockp_thread();
  seen->thread_again = colockp_thread();
  strcpy(seen->boot_id, colockp_boot_id());
  return NULL;
}

START_TEST(threads_may_come_first_all_at_once) {
  for (int round = 0; round < 50; round++) {
    pthread_t threads[THREADS];
    struct seen seen[THREADS];
    colockp_identity_forget();
    ck_assert_int_eq(pthread_barrier_init(&together, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, ask, &seen[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&together);
    for (int i = 0; i < THREADS; i++) {
      ck_assert_mem_eq(&seen[i].who, &seen[0].who, sizeof seen[0].who);
      ck_assert_str_eq(seen[i].boot_id, seen[0].boot_id);
      ck_assert_int_eq(seen[i].tid, seen[i].kernel_tid);
      ck_assert_int_eq(seen[i].again, seen[i].kernel_tid);
      ck_assert_uint_eq(seen[i].thread, seen[i].thread_again);
      ck_assert_uint_ne(seen[i].thread, 0);
      for (int k = 0; k < i; k++) ck_assert_uint_ne(seen[i].thread, seen[k].thread);
    }
    ck_assert_uint_gt(seen[0].who.start_ticks, 0);
  }
}
END_TEST

START_TEST(thread_numbers_are_never_used_again) {
  uint64_t last = colockp_thread();
  ck_assert_int_eq(pthread_barrier_init(&together, NULL, 1), 0);
  for (int i = 0; i < 20; i++) { /* the system gives the same thread ids and stacks again */
    pthread_t thread;
    struct seen seen;
    ck_assert_int_eq(pthread_create(&thread, NULL, ask, &seen), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_gt(seen.thread, last);
    last = seen.thread;
  }
  pthread_barrier_destroy(&together);
}
END_TEST

/* ---- forked children ---- */

static int child_knows_itself(void *arg) {
  const struct colockp_identity *parent = arg;
  struct colockp_identity who;
  colockp_identity_forget();
  colockp_identity_get(&who);
  if (who.pid != getpid() || who.pid == parent->pid) return 1;
  if (who.start_ticks < parent->start_ticks || who.start_ticks != start_of(getpid())) return 2;
  if (colockp_tid() != getpid()) return 3;
  if (strcmp(who.boot_id, parent->boot_id) != 0) return 4;
  return 0;
}

START_TEST(forked_child_is_somebody_else) {
  struct colockp_identity who;
  colockp_identity_get(&who);
  ck_assert_int_eq(colockp_tid(), (int32_t)syscall(SYS_gettid));
  ck_assert_int_eq(test_in_child(child_knows_itself, &who), 0);
  ck_assert_int_eq(colockp_tid(), getpid());
}
END_TEST

/* A thread of the parent is in the middle of reading /proc when another one forks: the child must not wait for it. */
static int gate_in[2], gate_out[2];
static int openat_waits(int directory, const char *path, int flags, mode_t mode) {
  char byte = 'x';
  colockp_system.openat = colockp_system_default.openat;
  if (write(gate_in[1], &byte, 1) != 1 || read(gate_out[0], &byte, 1) != 1) abort();
  return colockp_system_default.openat(directory, path, flags, mode);
}
static void *ask_slowly(void *arg) {
  colockp_identity_get(arg);
  return NULL;
}

START_TEST(child_of_a_fork_in_the_middle_is_not_stuck) {
  struct colockp_identity who, slow;
  pthread_t thread;
  char byte = 'x';
  colockp_identity_get(&who);
  colockp_identity_forget();
  ck_assert_int_eq(pipe2(gate_in, O_CLOEXEC), 0);
  ck_assert_int_eq(pipe2(gate_out, O_CLOEXEC), 0);
  colockp_system.openat = openat_waits;
  ck_assert_int_eq(pthread_create(&thread, NULL, ask_slowly, &slow), 0);
  ck_assert_int_eq(read(gate_in[0], &byte, 1), 1);
  ck_assert_int_eq(test_in_child(child_knows_itself, &who), 0);
  ck_assert_int_eq(write(gate_out[1], &byte, 1), 1);
  pthread_join(thread, NULL);
  ck_assert_mem_eq(&slow, &who, sizeof who);
  close(gate_in[0]);
  close(gate_in[1]);
  close(gate_out[0]);
  close(gate_out[1]);
}
END_TEST

/* ---- texts ---- */

START_TEST(texts_are_cut_at_whole_characters) {
  static const struct { const char *text, *expected; } c[] = {
    {"", ""}, {"abc", "abc"}, {"abcdefg", "abcdefg"}, {"abcdefgh", "abcdefg"}, {"abcdefghi", "abcdefg"},
    {"abcdef\xC3\xBC", "abcdef"}, {"abcde\xC3\xBC", "abcde\xC3\xBC"}, {"abcde\xE2\x82\xAC", "abcde"},
    {"abcd\xF0\x9F\x94\x92", "abcd"}, {"abc\xF0\x9F\x94\x92", "abc\xF0\x9F\x94\x92"},
    {"abc\xF0\x9F\x94\x92z", "abc\xF0\x9F\x94\x92"}};
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    char field[10];
    memset(field, 'X', sizeof field);
    colockp_text_copy(field, 8, c[i].text);
    ck_assert_str_eq(field, c[i].expected);
    for (size_t k = strlen(field); k < 8; k++) ck_assert_int_eq(field[k], 0);
    ck_assert_int_eq(field[8], 'X');
  }
}
END_TEST

START_TEST(any_bytes_are_copied_within_bounds) {
  char field[10];
  memset(field, 'X', sizeof field);
  colockp_text_copy(field, 8, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80");
  ck_assert_int_eq(field[7], 0);
  ck_assert_int_eq(field[8], 'X');
  colockp_text_copy(field, 8, NULL);
  ck_assert_int_eq(field[0], 0);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "identity", 20);
  tcase_add_test(tcase, identity_is_what_the_system_says);
  tcase_add_test(tcase, name_with_brackets_and_blanks_misleads_nobody);
  tcase_add_test(tcase, user_is_asked_each_time);
  tcase_add_test(tcase, without_proc_the_rest_is_known);
  tcase_add_test(tcase, facts_are_read_once);
  tcase_add_test(tcase, stopped_process_is_known_until_it_is_continued);
  tcase_add_test(tcase, whose_process_is_not_to_be_seen_is_unknown);
  tcase_add_test(tcase, threads_may_come_first_all_at_once);
  tcase_add_test(tcase, thread_numbers_are_never_used_again);
  tcase_add_test(tcase, forked_child_is_somebody_else);
  tcase_add_test(tcase, child_of_a_fork_in_the_middle_is_not_stuck);
  tcase_add_test(tcase, texts_are_cut_at_whole_characters);
  tcase_add_test(tcase, any_bytes_are_copied_within_bounds);
}

int main(int argc, char **argv) { return test_main(argc, argv, "identity", fill); }

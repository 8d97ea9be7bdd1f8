/* test_queue_read.c - the queue as a reader-only lock sees it, by pread: which writers it waits for, and which not. */
#define _GNU_SOURCE
#include "agent.h"
#include "line.h"
#include "queue_read.h"
#include "support.h"
#include "system.h"
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *path;
static colock *lock;
static struct colockp_region *region;
static int fd; /* to ask for SLOT bytes with */

static void have_region(void) {
  path = test_path("a.lock");
  lock = test_open(path);
  region = lock->region;
  fd = open(path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(fd, 0);
}

static void leave_region(struct line *line) {
  colockp_system = colockp_system_default;
  if (line) line_end(line);
  close(fd);
  colock_close(lock);
}

START_TEST(key_is_that_of_who_comes_now_and_takes_no_ticket) {
  have_region();
  atomic_store(&region->header->ticket, 70);
  ck_assert_uint_eq(colockp_queue_read_key(region, 0), line_key(70));
  ck_assert_uint_eq(colockp_queue_read_key(region, 1), line_key(70 - 64));
  ck_assert_uint_eq(colockp_queue_read_key(region, -100), line_key(70 + 6400));
  ck_assert_uint_eq(atomic_load(&region->header->ticket), 70);
  leave_region(NULL);
}
END_TEST

#define ANY LONG_MAX /* does any writer wait? */

static const struct {
  const char *line;
  long ticket, phase;
  bool writer;
} sights[] = {
    {"", 5, 0, false},
    {"", ANY, 0, false},
    {"w1", 5, 0, true},
    {"w1", ANY, 0, true},
    {"w9", 5, 0, false},
    {"w9", ANY, 0, true},
    {"w5", 5, 0, false}, /* a tie: who came when it had taken its ticket already has a later one */
    {"w4", 5, 0, true},
    {"r1 r2", 5, 0, false},
    {"r1 r2", ANY, 0, false},
    {"w9 w1 r2", 5, 0, true},
    {"pw1", 5, 0, false},
    {"pw1", ANY, 0, false},
    {"!w1", 5, 0, false}, /* dead */
    {"!w1", ANY, 0, false},
    {"!w1 w2", 5, 0, true},
    {"!w1 w9", 5, 0, false},
    {"u", -6400, 0, true},
    /* one that has waited for a writer is 64 places further ahead */
    {"w10", 50, 100, false},
    {"w10", 74, 100, false},
    {"w10", 75, 100, true},
    {"w10", 50, 50, true},
    {"w10", ANY, 100, true},
    {"u", 5, 100, true},
};

START_TEST(writers_that_live_and_stand_before_are_waited_for) {
  have_region();
  struct line line = line_of(region, 1, sights[_i].line);
  if (sights[_i].phase) atomic_store(&region->header->phase, line_key(sights[_i].phase));
  uint64_t key = sights[_i].ticket == ANY ? UINT64_MAX : line_key(sights[_i].ticket);
  ck_assert_msg(colockp_queue_read_writer(region, fd, key) == sights[_i].writer, "\"%s\", seen from %ld",
                sights[_i].line, sights[_i].ticket);
  leave_region(&line);
}
END_TEST

START_TEST(nobody_is_looked_for_while_the_flag_is_clear) {
  have_region();
  struct line line = line_of(region, 1, "w1");
  ck_assert(colockp_queue_read_flag(region));
  region->header->flag = 8;
  ck_assert(!colockp_queue_read_flag(region));
  ck_assert(!colockp_queue_read_writer(region, fd, UINT64_MAX));
  leave_region(&line);
}
END_TEST

/* The words are read in pieces of 256. */
START_TEST(last_of_many_slots_is_seen) {
  have_region();
  /* Words above the capacity have no slots yet; they are words of the file all the same. */
  for (uint32_t i = 0; i < 300; i++) atomic_store(&region->queue[i].rank, 0);
  region->header->slots_in_use = 300;
  region->header->flag |= COLOCKP_FLAG_SET;
  static const uint32_t slots[] = {1, 255, 256, 257, 299};
  for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
    int owner = line_owner(path, slots[i]);
    atomic_store(&region->queue[slots[i]].rank, line_word("w1"));
    ck_assert_msg(colockp_queue_read_writer(region, fd, line_key(5)), "slot %u", slots[i]);
    region->header->slots_in_use = slots[i]; /* it was never claimed: not looked at */
    ck_assert(!colockp_queue_read_writer(region, fd, line_key(5)));
    region->header->slots_in_use = 300;
    atomic_store(&region->queue[slots[i]].rank, 0);
    close(owner);
  }
  region->header->slots_in_use = 1;
  region->header->flag = 8;
  leave_region(NULL);
}
END_TEST

static long failing; /* the next pread that fails; 0: none */

static ssize_t failing_pread(int file, void *buffer, size_t size, off_t offset) {
  if (failing == 0 || --failing > 0) return colockp_system_default.pread(file, buffer, size, offset);
  errno = EIO;
  return -1;
}

START_TEST(what_cannot_be_read_counts_as_no) {
  have_region();
  struct line line = line_of(region, 1, "w1");
  colockp_system.pread = failing_pread;
  ck_assert(colockp_queue_read_writer(region, fd, line_key(5)));
  for (long at = 1; at <= 4; at++) { /* flag, phase, slots in use, ranks */
    failing = at;
    bool seen = colockp_queue_read_writer(region, fd, line_key(5));
    ck_assert_int_eq(failing, 0);
    ck_assert_msg(seen == (at == 2), "read %ld", at); /* without the phase one stands where one's key is */
  }
  failing = 1;
  ck_assert(!colockp_queue_read_flag(region));
  failing = 1;
  ck_assert_uint_eq(colockp_queue_read_key(region, 0), COLOCKP_KEY_BASE);
  leave_region(&line);
}
END_TEST

/* ---- processes that may only read the file ---- */

static struct agent *reader_only(void) {
  struct agent *agent = agent_start();
  ck_assert_int_eq(agent_call(agent, "nobody"), COLOCK_OK);
  ck_assert_int_eq(agent_call(agent, "open %s retry_delay=20ms", agent_word(path)), COLOCK_OK);
  return agent;
}

/* A file that everybody may read, and an agent that holds it. False: only root can play this. */
static bool have_public_file(struct agent **holder, const char *mode) {
  path = test_path("a.lock");
  if (geteuid() != 0) {
    test_skip("only root can become somebody who may only read");
    return false;
  }
  colock_close(test_open_set(path, "file_mode", "0644"));
  *holder = agent_open(path);
  ck_assert_int_eq(agent_call(*holder, "acquire %s 5000", mode), COLOCK_OK);
  return true;
}

/* It is in no queue that could be looked at: it waits once it sleeps. */
static bool in_futex(pid_t pid) {
  char name[64], text[256] = "";
  snprintf(name, sizeof name, "/proc/%d/syscall", (int)pid);
  FILE *file = fopen(name, "re");
  if (file == NULL) return true;
  bool read = fgets(text, sizeof text, file) != NULL;
  fclose(file);
  return !read || atol(text) == SYS_futex;
}

START_TEST(reader_only_waits_for_the_writer_and_gets_the_lock) {
  struct agent *holder;
  if (!have_public_file(&holder, "x")) return;
  struct agent *reader = reader_only();
  ck_assert_int_eq(agent_call(reader, "try s"), COLOCK_EBUSY);
  ck_assert_int_eq(agent_call(reader, "acquire s 60"), COLOCK_ETIMEDOUT);
  ck_assert_int_eq(agent_call(reader, "acquire x 5000"), COLOCK_EACCES);
  agent_send(reader, "acquire s 20000");
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(reader), COLOCK_OK);
  ck_assert_uint_eq(test_waiters(path), 0); /* it is in no queue */
  ck_assert(test_lane_taken(path));
}
END_TEST

START_TEST(reader_only_does_not_go_before_a_writer_that_waits) {
  struct agent *holder;
  if (!have_public_file(&holder, "s")) return;
  struct agent *reader = reader_only(), *writer = agent_open(path), *second = reader_only();
  ck_assert_int_eq(agent_call(reader, "try s"), COLOCK_OK); /* nobody waits */
  ck_assert_int_eq(agent_call(reader, "contended 0"), COLOCK_OK);
  ck_assert_int_eq((int)reader->number, 0);
  agent_send(writer, "acquire x 20000");
  test_await_waiters(path, 1);
  test_end_turn(path);
  ck_assert_int_eq(agent_call(reader, "contended 0"), COLOCK_OK);
  ck_assert_int_eq((int)reader->number, 1);
  ck_assert_int_eq(agent_call(second, "try s"), COLOCK_EBUSY);
  ck_assert_int_eq(agent_call(second, "acquire s 60"), COLOCK_ETIMEDOUT);
  agent_send(second, "acquire s 20000");
  ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
  ck_assert(!agent_answered(second));
  ck_assert_int_eq(agent_call(writer, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_answer(second), COLOCK_OK);
}
END_TEST

START_TEST(dead_writer_in_line_does_not_hold_up_a_reader_only) {
  struct agent *holder;
  if (!have_public_file(&holder, "s")) return;
  struct agent *writer = agent_open(path), *reader = reader_only();
  agent_send(writer, "acquire x 20000");
  test_await_waiters(path, 1);
  agent_kill(writer);
  ck_assert_uint_eq(test_waiters(path), 1);
  ck_assert_int_eq(agent_call(reader, "acquire s 5000"), COLOCK_OK);
}
END_TEST

START_TEST(reader_only_does_not_wait_for_a_writer_that_came_later) {
  struct agent *holder;
  if (!have_public_file(&holder, "x")) return;
  struct agent *reader = reader_only(), *writer = agent_open(path);
  for (int i = 0; i < 2; i++) { /* stopped before it can take the lock */
    if (i == 0) agent_send(reader, "acquire s 20000");
    while (i == 0 && !in_futex(reader->pid)) sched_yield();
    agent_send(writer, "acquire x 20000");
    test_await_waiters(path, 1);
    kill(writer->pid, SIGSTOP);
    if (i == 1) agent_send(reader, "acquire s 300"); /* this one comes later: nobody who may mark it passes it over */
    ck_assert_int_eq(agent_call(holder, "release 0"), COLOCK_OK);
    ck_assert_int_eq(agent_answer(reader), i == 0 ? COLOCK_OK : COLOCK_ETIMEDOUT);
    if (i == 0) ck_assert_int_eq(agent_call(reader, "release 0"), COLOCK_OK);
    kill(writer->pid, SIGCONT);
    ck_assert_int_eq(agent_answer(writer), COLOCK_OK);
    ck_assert_int_eq(agent_call(writer, "release 0"), COLOCK_OK);
    if (i == 0) ck_assert_int_eq(agent_call(holder, "acquire x 5000"), COLOCK_OK);
  }
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "words", 30);
  tcase_add_test(tcase, key_is_that_of_who_comes_now_and_takes_no_ticket);
  tcase_add_loop_test(tcase, writers_that_live_and_stand_before_are_waited_for, 0,
                      (int)(sizeof sights / sizeof sights[0]));
  tcase_add_test(tcase, nobody_is_looked_for_while_the_flag_is_clear);
  tcase_add_test(tcase, last_of_many_slots_is_seen);
  tcase_add_test(tcase, what_cannot_be_read_counts_as_no);
  tcase = test_case(suite, "reader_only", 60);
  tcase_add_test(tcase, reader_only_waits_for_the_writer_and_gets_the_lock);
  tcase_add_test(tcase, reader_only_does_not_go_before_a_writer_that_waits);
  tcase_add_test(tcase, dead_writer_in_line_does_not_hold_up_a_reader_only);
  tcase_add_test(tcase, reader_only_does_not_wait_for_a_writer_that_came_later);
}

int main(int argc, char **argv) { return test_main(argc, argv, "queue_read", fill); }

/* test_store_share.c - a database behind the lock, with several who use it: threads, processes, a lock that is kept.
 * See notes.h for the letters. */
#define _GNU_SOURCE
#include "agent.h"
#include "fault.h"
#include "lock.h"
#include "notes.h"
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- threads of one process ---- */

struct caller { /* a thread that calls a store once */
  pthread_t thread;
  colock_store *store;
  bool writes;
  int code, result;
};

static void *call_main(void *arg) {
  struct caller *caller = arg;
  caller->code = caller->writes ? colock_store_write(caller->store, op_write, NULL, &caller->result)
                                : colock_store_read(caller->store, op_read, NULL, &caller->result);
  return NULL;
}

static void start_caller(struct caller *caller, colock_store *store, bool writes) {
  caller->store = store;
  caller->writes = writes;
  ck_assert_int_eq(pthread_create(&caller->thread, NULL, call_main, caller), 0);
}

static int join_caller(struct caller *caller) {
  pthread_join(caller->thread, NULL);
  return caller->code;
}

struct door { /* who comes in waits until he is let out */
  sem_t entered, leave;
};

static void wait_at_door(struct notes *notes) {
  struct door *door = notes->act_arg;
  sem_post(&door->entered);
  while (sem_wait(&door->leave) != 0) continue;
}

static void open_door(struct door *door) {
  sem_init(&door->entered, 0, 0);
  sem_init(&door->leave, 0, 0);
}

/* Who calls back with that event comes in there. */
static void stop_at(struct notes *notes, struct door *door, char event) {
  notes->act = wait_at_door;
  notes->act_arg = door;
  notes->acting = event;
}

static void await_entered(struct door *door) {
  while (sem_wait(&door->entered) != 0) continue;
}

/* So many have the lock, in use or kept. */
static void await_holders(const char *path, int64_t count) {
  int64_t limit = test_now_ms() + 20000, found = -1;
  while (found != count) {
    colock_report *report = NULL;
    must(colock_report_read(path, &report));
    found = colock_report_stat(report, "holders") + colock_report_stat(report, "cached");
    colock_report_free(report);
    ck_assert_msg(test_now_ms() < limit, "%d holders", (int)found);
  }
}

static void meet(struct notes *notes) { pthread_barrier_wait(notes->act_arg); }

START_TEST(readers_of_one_process_read_together) {
  struct notes notes = NOTES;
  colock *lock = test_open(test_path("a.lock"));
  colock_store *store = NULL;
  struct caller callers[4];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, 4);
  store = begin_store(lock, &all, &notes, "OMS");
  notes.act = meet;
  notes.act_arg = &barrier;
  notes.acting = 'r';
  for (int i = 0; i < 4; i++) start_caller(&callers[i], store, false);
  for (int i = 0; i < 4; i++) must(join_caller(&callers[i]));
  expect(&notes, "FrrrrS"); /* one refresh, one suspend */
  must(colock_store_close(store, NULL));
  pthread_barrier_destroy(&barrier);
  colock_close(lock);
}
END_TEST

/* The last reader's suspend is under way, with LANE still shared, when another reader gets LANE. */
START_TEST(reader_that_comes_during_a_suspend_waits_for_it_and_refreshes) {
  struct notes notes = NOTES;
  struct door door;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = NULL;
  struct caller first, second;
  open_door(&door);
  store = begin_store(lock, &all, &notes, "OMS");
  stop_at(&notes, &door, 'S');
  start_caller(&first, store, false);
  await_entered(&door);
  start_caller(&second, store, false);
  await_holders(path, 2);
  expect(&notes, "FrS");
  notes.acting = 0;
  sem_post(&door.leave);
  must(join_caller(&first));
  must(join_caller(&second));
  expect(&notes, "FrS");
  end_store(store, lock);
}
END_TEST

/* The lock says that the last hold goes, when another reader is in already: its hold came in between. */
static void *suspend_main(void *arg) {
  colock *lock = arg;
  ck_assert_int_eq(lock->suspend(lock->suspend_arg), 0);
  return NULL;
}

START_TEST(suspend_waits_for_readers) {
  struct notes notes = NOTES;
  struct door door;
  colock *lock = test_open(test_path("a.lock"));
  colock_store *store = NULL;
  struct caller reader;
  pthread_t thread;
  open_door(&door);
  store = begin_store(lock, &all, &notes, "OMS");
  stop_at(&notes, &door, 'r');
  start_caller(&reader, store, false);
  await_entered(&door);
  ck_assert_int_eq(pthread_create(&thread, NULL, suspend_main, lock), 0);
  for (int i = 0; i < 1000; i++) sched_yield(); /* for it to go wrong */
  expect(&notes, "Fr");
  sem_post(&door.leave);
  must(join_caller(&reader));
  pthread_join(thread, NULL);
  expect(&notes, "S"); /* once: there was nothing left for the second */
  end_store(store, lock);
}
END_TEST

struct suspender {
  colock *lock;
  pthread_t thread;
};

static void suspend_soon(struct notes *notes) {
  struct suspender *suspender = notes->act_arg;
  if (notes->acted++ > 0) return;
  ck_assert_int_eq(pthread_create(&suspender->thread, NULL, suspend_main, suspender->lock), 0);
  for (int i = 0; i < 1000; i++) sched_yield(); /* until it waits for the refresh to end */
}

/* It goes on as a reader after it has refreshed alone. */
START_TEST(reader_refreshes_again_when_a_suspend_comes_between_refresh_and_reading) {
  struct notes notes = NOTES;
  colock *lock = test_open(test_path("a.lock"));
  struct suspender suspender = {.lock = lock};
  colock_store *store = begin_store(lock, &all, &notes, "OMS");
  notes.act = suspend_soon;
  notes.act_arg = &suspender;
  notes.acting = 'F';
  must(colock_store_read(store, op_read, NULL, NULL));
  pthread_join(suspender.thread, NULL);
  ck_assert_msg(noted(&notes, "FSFrS") || noted(&notes, "FrS"), "%s", notes.events); /* as who was the faster */
  end_store(store, lock);
}
END_TEST

/* Both have the lock: the first was forced out, and runs on. */
START_TEST(writer_waits_for_a_reader_of_its_process_that_was_forced_out) {
  struct notes notes = NOTES;
  struct door door;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = NULL;
  struct caller reader, writer;
  open_door(&door);
  store = begin_store(lock, &unsuspended, &notes, "OM");
  stop_at(&notes, &door, 'r');
  start_caller(&reader, store, false);
  await_entered(&door);
  must(colock_force_unlock(path, "test", NULL));
  start_caller(&writer, store, true);
  await_holders(path, 1);
  for (int i = 0; i < 100; i++) sched_yield(); /* for it to go wrong */
  sem_post(&door.leave);
  ck_assert_int_eq(join_caller(&reader), COLOCK_EREVOKED);
  must(join_caller(&writer));
  expect(&notes, "rFw");
  notes.acting = 0;
  must(colock_store_read(store, op_read, NULL, NULL)); /* right for the newer hold, whoever came last */
  expect(&notes, "r");
  end_store(store, lock);
}
END_TEST

/* Its hold is over before it has begun to read: memory may belong to a newer hold by now. */
START_TEST(reader_that_was_forced_out_before_it_read_begins_anew) {
  struct notes notes = NOTES;
  struct door door;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  colock_store *store = NULL;
  struct caller first, second;
  open_door(&door);
  store = begin_store(lock, &all, &notes, "OMS");
  notes.act = wait_at_door;
  notes.act_arg = &door;
  notes.acting = notes.failing = 'F';
  start_caller(&first, store, false);
  await_entered(&door);
  start_caller(&second, store, false);
  await_holders(path, 2);
  must(colock_force_unlock(path, "test", NULL));
  sem_post(&door.leave);
  ck_assert_int_eq(join_caller(&first), COLOCK_ESTORE);
  await_entered(&door); /* the second one's */
  notes.failing = 0;
  sem_post(&door.leave);
  must(join_caller(&second));
  expect(&notes, "FFrS");
  end_store(store, lock);
}
END_TEST

/* ---- turns: a small database in a file, of which everybody keeps a copy in memory ---- */

#define CELLS 16

struct table {
  int64_t version, cells[CELLS]; /* all the same; -1: it is being written */
};

struct shared { /* between the processes */
  _Atomic int64_t writes, faults;
  _Atomic int32_t turns;
};

struct database {
  int fd;
  struct table memory;
  int64_t base; /* the version that was read, on which memory builds */
  bool open;
  struct shared *shared;
  _Atomic int running;
};

static void must_hold(struct database *db, bool condition) {
  if (!condition) db->shared->faults++;
}

static int64_t version_in_file(struct database *db) {
  int64_t version = -2;
  must_hold(db, pread(db->fd, &version, sizeof version, 0) == sizeof version);
  return version;
}

static int db_load(void *context) {
  struct database *db = context;
  must_hold(db, atomic_fetch_add(&db->running, 1) == 0 && !db->open);
  must_hold(db, pread(db->fd, &db->memory, sizeof db->memory, 0) == sizeof db->memory);
  for (int i = 0; i < CELLS; i++) must_hold(db, db->memory.cells[i] == db->memory.version);
  db->base = db->memory.version;
  db->open = true;
  atomic_fetch_sub(&db->running, 1);
  return 0;
}

static int db_flush(void *context) {
  struct database *db = context;
  must_hold(db, atomic_fetch_add(&db->running, 1) == 0 && db->open);
  must_hold(db, version_in_file(db) == db->base);
  if (db->memory.version != db->base) {
    int64_t half = -1;
    must_hold(db, pwrite(db->fd, &half, sizeof half, 0) == sizeof half);
    for (int i = CELLS - 1; i >= 0; i--) {
      off_t at = (off_t)offsetof(struct table, cells[i]);
      must_hold(db, pwrite(db->fd, &db->memory.cells[i], sizeof half, at) == sizeof half);
    }
    must_hold(db, pwrite(db->fd, &db->memory.version, sizeof half, 0) == sizeof half);
  }
  db->open = false;
  atomic_fetch_sub(&db->running, 1);
  return 0;
}

static int db_close(void *context) {
  struct database *db = context;
  if (db->open) db_flush(db);
  return 0;
}

static int db_read(void *context, void *arg) {
  struct database *db = context;
  (void)arg;
  int64_t version = db->memory.version;
  atomic_fetch_add(&db->running, 1);
  must_hold(db, db->open && version_in_file(db) == db->base);
  for (int i = 0; i < CELLS; i++) must_hold(db, db->memory.cells[i] == version);
  must_hold(db, version == db->memory.version);
  atomic_fetch_sub(&db->running, 1);
  return 0;
}

static int db_write(void *context, void *arg) {
  struct database *db = context;
  (void)arg;
  must_hold(db, atomic_fetch_add(&db->running, 1) == 0);
  must_hold(db, db->open && version_in_file(db) == db->base);
  for (int i = 0; i < CELLS; i++) db->memory.cells[i]++;
  db->memory.version++;
  db->shared->writes++;
  atomic_fetch_sub(&db->running, 1);
  return 0;
}

struct worker {
  colock_store *store;
  struct shared *shared;
  uint64_t random;
  int turns;
};

/* Now and then it stops to think, so that others get the lock by way of its being unused, too. */
static void *work(void *arg) {
  struct worker *worker = arg;
  for (int i = 0; i < worker->turns; i++) {
    uint32_t random = test_random(&worker->random);
    int code = random % 4 == 0 ? colock_store_write(worker->store, db_write, NULL, NULL)
                               : colock_store_read(worker->store, db_read, NULL, NULL);
    if (code) worker->shared->faults++;
    if (random % 32 < 8) sched_yield();
  }
  return NULL;
}

struct party {
  const char *path, *file, *keep;
  struct shared *shared;
  int number, turns;
};

static int take_part(void *arg) {
  static const colock_store_ops ops = {.size = sizeof ops, .open = db_load, .refresh = db_load, .suspend = db_flush,
                                       .close = db_close};
  struct party *party = arg;
  struct database db = {.fd = open(party->file, O_RDWR | O_CLOEXEC), .shared = party->shared};
  struct worker workers[2];
  pthread_t thread;
  colock *lock = NULL;
  colock_config *config = test_config("timeout", "30s", "auto_release", party->keep, "idle_timeout", "5ms", NULL);
  if (db.fd < 0 || colock_open(&lock, party->path, config) != 0 ||
      colock_store_open(&workers[0].store, lock, &ops, &db, NULL) != 0)
    return 1;
  for (int i = 0; i < 2; i++)
    workers[i] = (struct worker){.store = workers[0].store, .shared = party->shared, .turns = party->turns,
                                 .random = test_seed() + (uint64_t)(2 * party->number + i)};
  if (pthread_create(&thread, NULL, work, &workers[1]) != 0) return 2;
  work(&workers[0]);
  pthread_join(thread, NULL);
  if (colock_store_close(workers[0].store, NULL) != 0) return 3;
  colock_close(lock);
  colock_config_free(config);
  close(db.fd);
  return 0;
}

static void share_database(const char *keep, int turns) {
  struct table table = {0};
  struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ck_assert(shared != MAP_FAILED);
  const char *file = test_path("db");
  pid_t children[3];
  test_write(file, &table, sizeof table);
  for (int i = 0; i < 3; i++) {
    struct party party = {.path = test_path("db.lock"), .file = file, .keep = keep, .shared = shared, .number = i,
                          .turns = turns};
    children[i] = test_fork(take_part, &party);
  }
  for (int i = 0; i < 3; i++) ck_assert_int_eq(test_wait(children[i]), 0);
  test_read(file, &table, sizeof table);
  ck_assert_int_eq(shared->faults, 0);
  ck_assert_int_gt(shared->writes, 0);
  ck_assert_int_eq(table.version, shared->writes);
  for (int i = 0; i < CELLS; i++) ck_assert_int_eq(table.cells[i], table.version);
  munmap(shared, sizeof *shared);
}

START_TEST(processes_take_turns_with_a_database_that_they_keep_in_memory) { share_database("false", 150); }
END_TEST

START_TEST(processes_take_turns_with_a_database_that_they_keep_open) { share_database("true", 1500); }
END_TEST

/* ---- a lock that is kept: the database stays open ---- */

START_TEST(database_stays_open_while_nobody_waits) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = open_kept(path, "1h");
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  for (int i = 0; i < 3; i++) {
    must(colock_store_write(store, op_write, NULL, NULL));
    must(colock_store_read(store, op_read, NULL, NULL));
    must(colock_store_read(store, op_read, NULL, NULL));
  }
  expect(&notes, "OMwrrwrrwrr");
  write_elsewhere(other); /* which has the lock only after the suspend */
  expect(&notes, "S");
  must(colock_store_read(store, op_read, NULL, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "Frw");
  must(colock_release_idle(lock));
  expect(&notes, "S");
  must(colock_store_read(store, op_read, NULL, NULL));
  must(colock_store_close(store, NULL));
  expect(&notes, "FrC");
  ck_assert_int_eq(agent_call(other, "try x"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

START_TEST(without_a_suspend_the_lock_alone_is_kept) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = open_kept(path, "1h");
  struct agent *other = agent_open(path);
  colock_store *store = NULL, *second = NULL;
  must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
  must_be(COLOCK_EINVAL, colock_store_open(&second, lock, &unsuspended, &notes, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  must(colock_store_read(store, op_read, NULL, NULL));
  ck_assert_int_eq(agent_call(other, "try s"), COLOCK_OK); /* beside it: nothing is held back in memory */
  must(colock_store_read(store, op_read, NULL, NULL));
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "OMwrrw");
  write_elsewhere(other);
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "Fr");
  must(colock_store_close(store, NULL));
  must(colock_store_open(&store, lock, &unsuspended, &notes, NULL));
  must(colock_store_close(store, NULL));
  expect(&notes, "COMC");
  colock_close(lock);
}
END_TEST

/* What was written is in memory until the suspend: who comes next, reader or writer, has to find it. */
START_TEST(what_was_written_is_suspended_before_readers_elsewhere_come) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = open_kept(path, "1h");
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "OMwr");
  ck_assert_int_eq(agent_call(other, "acquire s 10000"), COLOCK_OK);
  expect(&notes, "S");
  must(colock_store_read(store, op_read, NULL, NULL)); /* beside it */
  expect(&notes, "Fr");
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  end_store(store, lock);
}
END_TEST

START_TEST(database_is_suspended_when_it_idles) {
  struct notes notes = NOTES;
  colock *lock = open_kept(test_path("a.lock"), "20ms");
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  await(&notes, "OMS");
  must(colock_store_write(store, op_write, NULL, NULL));
  await(&notes, "FwS");
  must(colock_store_close(store, NULL));
  expect(&notes, "C");
  colock_close(lock);
}
END_TEST

START_TEST(close_lets_go_of_what_is_kept) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = open_kept(path, "1h");
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  for (int i = 0; i < 3; i++) {
    must(colock_store_open(&store, lock, &all, &notes, NULL));
    must(colock_store_write(store, op_write, NULL, NULL));
    must(colock_store_close(store, NULL));
    expect(&notes, "OMwC");
    ck_assert(!test_lane_taken(path));
    ck_assert_int_eq(agent_call(other, "try x"), COLOCK_OK);
    ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  }
  colock_close(lock);
}
END_TEST

START_TEST(open_that_fails_lets_go_of_what_is_kept) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = open_kept(path, "1h");
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  notes.failing = 'M';
  must_be(COLOCK_ESTORE, colock_store_open(&store, lock, &all, &notes, NULL));
  expect(&notes, "OMC");
  ck_assert_int_eq(agent_call(other, "try x"), COLOCK_OK);
  colock_close(lock);
}
END_TEST

START_TEST(lock_that_was_kept_before_is_let_go_for_the_store) {
  struct notes notes = NOTES;
  colock *lock = open_kept(test_path("a.lock"), "1h");
  colock_store *store = NULL;
  colock_hold *hold = NULL;
  must(colock_acquire(lock, COLOCK_SHARED, &hold));
  must(colock_release(hold));
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  must(colock_store_close(store, NULL));
  expect(&notes, "OMC");
  colock_close(lock);
}
END_TEST

/* Nothing that was in memory only may be written: the lock was another's in between. */
START_TEST(kept_lock_that_was_forced_out_is_not_suspended_but_refreshed) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = open_kept(path, "1h");
  struct agent *other = agent_open(path);
  colock_store *store = NULL;
  must(colock_store_open(&store, lock, &all, &notes, NULL));
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "OMw");
  must(colock_force_unlock(path, "test", NULL));
  ck_assert_int_eq(agent_call(other, "acquire s 10000"), COLOCK_OK); /* it does not write, but it saw the old state */
  ck_assert_int_eq(agent_call(other, "release 0"), COLOCK_OK);
  must(colock_store_read(store, op_read, NULL, NULL));
  expect(&notes, "Fr");
  write_elsewhere(other);
  expect(&notes, "S");
  must(colock_store_write(store, op_write, NULL, NULL));
  expect(&notes, "Fw");
  must(colock_force_unlock(path, "test", NULL));
  must(colock_store_close(store, NULL));
  expect(&notes, "FC");
  colock_close(lock);
}
END_TEST

struct within {
  colock_store *store, *other;
};

static int op_call_first(void *context, void *arg) {
  struct within *within = arg;
  (void)context;
  return colock_store_read(within->store, op_read, NULL, NULL);
}

static void call_from_suspend(struct notes *notes) {
  struct within *within = notes->act_arg;
  int result = 0;
  refuses_every_call(within->store);
  must(colock_store_read(within->other, op_call_first, within, &result));
  ck_assert_int_eq(result, COLOCK_EDEADLK);
  notes->acted++;
}

/* It has no hold, by which an acquire could tell that it would wait for itself. */
START_TEST(suspend_in_the_thread_of_the_library_may_not_call_the_store) {
  struct notes notes = NOTES, other_notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = open_kept(path, "1h"), *other_lock = test_open(test_path("b.lock"));
  struct agent *other = agent_open(path);
  struct within within = {0};
  must(colock_store_open(&within.store, lock, &all, &notes, NULL));
  must(colock_store_open(&within.other, other_lock, &all, &other_notes, NULL));
  notes.act = call_from_suspend;
  notes.act_arg = &within;
  notes.acting = 'S';
  write_elsewhere(other);
  ck_assert_int_eq(notes.acted, 1);
  expect(&notes, "OMS");
  must(colock_store_close(within.store, NULL));
  must(colock_store_close(within.other, NULL));
  colock_close(lock);
  colock_close(other_lock);
}
END_TEST

START_TEST(without_a_thread_to_be_had_nothing_is_opened) {
  struct notes notes = NOTES;
  colock *lock = open_kept(test_path("a.lock"), "1h");
  colock_store *store = NULL;
  fault_install();
  fault_fail_at(FAULT_pthread_create, 1, EAGAIN);
  int code = colock_store_open(&store, lock, &all, &notes, NULL);
  ck_assert(fault_hit());
  fault_remove();
  ck_assert_int_eq(code, COLOCK_ESYSTEM);
  expect(&notes, "");
  int64_t limit = test_now_ms() + 20000; /* it is not tried all the time */
  while ((code = colock_store_open(&store, lock, &all, &notes, NULL)) != COLOCK_OK && test_now_ms() < limit)
    sched_yield();
  must(code);
  end_store(store, lock);
}
END_TEST

/* ---- fork ---- */

struct inherited {
  colock *lock;
  colock_store *store;
};

/* The line at which it is not as it should be, or 0. */
static int use_in_child(void *arg) {
  struct inherited *inherited = arg;
  struct notes notes = NOTES;
  colock_store *own = NULL;
  int result = -1;
  if (colock_store_read(inherited->store, op_read, NULL, &result) != COLOCK_EFORKED) return __LINE__ % 256;
  if (colock_store_write(inherited->store, op_write, NULL, &result) != COLOCK_EFORKED) return __LINE__ % 256;
  if (colock_store_close(inherited->store, &result) != COLOCK_EFORKED || result != -1) return __LINE__ % 256;
  if (colock_store_open(&own, inherited->lock, &all, &notes, NULL) != COLOCK_OK) return __LINE__ % 256;
  if (colock_store_write(own, op_write, NULL, NULL) != COLOCK_OK) return __LINE__ % 256;
  if (!noted(&notes, "OMSFwS")) return __LINE__ % 256;
  if (colock_store_close(own, NULL) != COLOCK_OK) return __LINE__ % 256;
  colock_close(inherited->lock);
  return 0;
}

START_TEST(store_is_not_for_children) {
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  struct inherited inherited = {.lock = test_open(path)};
  must(colock_store_open(&inherited.store, inherited.lock, &all, &notes, NULL));
  ck_assert_int_eq(test_in_child(use_in_child, &inherited), 0);
  expect(&notes, "OMS");
  must(colock_store_read(inherited.store, op_read, NULL, NULL));
  expect(&notes, "FrS");
  must(colock_store_close(inherited.store, NULL));
  colock_close(inherited.lock);
}
END_TEST

static int use_elsewhere_in_child(void *arg) {
  struct inherited *inherited = arg;
  struct notes notes = NOTES;
  colock_store *own = NULL;
  if (colock_store_close(inherited->store, NULL) != COLOCK_EFORKED) return __LINE__ % 256;
  if (colock_store_open(&own, inherited->lock, &all, &notes, NULL) != COLOCK_OK) return __LINE__ % 256;
  if (colock_store_write(own, op_write, NULL, NULL) != COLOCK_OK || !noted(&notes, "OMw")) return __LINE__ % 256;
  if (colock_release_idle(inherited->lock) != COLOCK_OK || !noted(&notes, "OMwS")) return __LINE__ % 256;
  if (colock_store_close(own, NULL) != COLOCK_OK) return __LINE__ % 256;
  colock_close(inherited->lock);
  return 0;
}

/* What the parent keeps is the parent's, and makes way for the child as for anybody else. */
START_TEST(child_has_a_store_of_its_own_beside_what_the_parent_keeps) {
  struct notes notes = NOTES;
  struct inherited inherited = {.lock = open_kept(test_path("a.lock"), "1h")};
  must(colock_store_open(&inherited.store, inherited.lock, &all, &notes, NULL));
  must(colock_store_write(inherited.store, op_write, NULL, NULL));
  expect(&notes, "OMw");
  ck_assert_int_eq(test_in_child(use_elsewhere_in_child, &inherited), 0);
  expect(&notes, "S");
  must(colock_store_read(inherited.store, op_read, NULL, NULL));
  expect(&notes, "Fr");
  must(colock_store_close(inherited.store, NULL));
  colock_close(inherited.lock);
}
END_TEST

/* Its copy is locked for ever: the thread that would unlock it is not there. */
START_TEST(child_can_close_its_copy_of_a_store_that_is_in_use) {
  struct notes notes = NOTES;
  struct door door;
  const char *path = test_path("a.lock");
  struct inherited inherited = {.lock = test_open(path)};
  struct caller caller;
  open_door(&door);
  must(colock_store_open(&inherited.store, inherited.lock, &unsuspended, &notes, NULL));
  stop_at(&notes, &door, 'w');
  start_caller(&caller, inherited.store, true);
  await_entered(&door);
  pid_t child = fork();
  if (child == 0) {
    bool good = colock_store_read(inherited.store, op_read, NULL, NULL) == COLOCK_EFORKED &&
                colock_store_close(inherited.store, NULL) == COLOCK_EFORKED && !inherited.lock->suspend_arg;
    colock_close(inherited.lock);
    _exit(good ? 0 : 1);
  }
  ck_assert_int_eq(test_wait(child), 0);
  sem_post(&door.leave);
  must(join_caller(&caller));
  must(colock_store_close(inherited.store, NULL));
  colock_close(inherited.lock);
}
END_TEST

static void fork_here(struct notes *notes) {
  pid_t child = fork();
  if (child == 0)
    notes->acted = -1;
  else
    notes->acted = test_wait(child);
}

START_TEST(operation_or_callback_that_forks_ends_in_the_child_with_a_code) {
  static const char places[] = "OMFSrwC";
  struct notes notes = NOTES;
  const char *path = test_path("a.lock");
  colock *lock = test_open(path);
  for (const char *place = places; *place != '\0'; place++) {
    colock_store *store = NULL;
    notes.act = fork_here;
    notes.acting = *place;
    notes.acted = 1;
    int code = colock_store_open(&store, lock, &all, &notes, NULL);
    if (code == COLOCK_OK && notes.acted != -1) code = colock_store_read(store, op_read, NULL, NULL);
    if (code == COLOCK_OK && notes.acted != -1) code = colock_store_write(store, op_write, NULL, NULL);
    if (code == COLOCK_OK && notes.acted != -1) code = colock_store_close(store, NULL);
    if (notes.acted == -1) _exit(code == COLOCK_EFORKED || *place == 'S' ? 0 : 2); /* after the operation it is well */
    must(code);
    ck_assert_msg(notes.acted == 0, "%c: %d", *place, notes.acted);
    notes.used = 0;
  }
  colock_close(lock);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "threads", 60);
  tcase_add_test(tcase, readers_of_one_process_read_together);
  tcase_add_test(tcase, reader_that_comes_during_a_suspend_waits_for_it_and_refreshes);
  tcase_add_test(tcase, suspend_waits_for_readers);
  tcase_add_test(tcase, reader_refreshes_again_when_a_suspend_comes_between_refresh_and_reading);
  tcase_add_test(tcase, writer_waits_for_a_reader_of_its_process_that_was_forced_out);
  tcase_add_test(tcase, reader_that_was_forced_out_before_it_read_begins_anew);

  tcase = test_case(suite, "turns", 120);
  tcase_add_test(tcase, processes_take_turns_with_a_database_that_they_keep_in_memory);
  tcase_add_test(tcase, processes_take_turns_with_a_database_that_they_keep_open);

  tcase = test_case(suite, "kept", 60);
  tcase_add_test(tcase, database_stays_open_while_nobody_waits);
  tcase_add_test(tcase, without_a_suspend_the_lock_alone_is_kept);
  tcase_add_test(tcase, what_was_written_is_suspended_before_readers_elsewhere_come);
  tcase_add_test(tcase, database_is_suspended_when_it_idles);
  tcase_add_test(tcase, close_lets_go_of_what_is_kept);
  tcase_add_test(tcase, open_that_fails_lets_go_of_what_is_kept);
  tcase_add_test(tcase, lock_that_was_kept_before_is_let_go_for_the_store);
  tcase_add_test(tcase, kept_lock_that_was_forced_out_is_not_suspended_but_refreshed);
  tcase_add_test(tcase, suspend_in_the_thread_of_the_library_may_not_call_the_store);
  tcase_add_test(tcase, without_a_thread_to_be_had_nothing_is_opened);

  tcase = test_case(suite, "fork", 60);
  tcase_add_test(tcase, store_is_not_for_children);
  tcase_add_test(tcase, child_can_close_its_copy_of_a_store_that_is_in_use);
  tcase_add_test(tcase, operation_or_callback_that_forks_ends_in_the_child_with_a_code);

  tcase = test_case(suite, "fork_kept", 60);
  tcase_set_tags(tcase, "native child_threads");
  tcase_add_test(tcase, child_has_a_store_of_its_own_beside_what_the_parent_keeps);
}

int main(int argc, char **argv) { return test_main(argc, argv, "store_share", fill); }

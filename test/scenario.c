/* scenario.c - the operations that have to survive a kill and a failure at every system call. See scenario.h. */
#define _GNU_SOURCE
#include "scenario.h"

#include "agent.h"
#include "support.h"
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static colock *lock;
static colock_hold *hold;
static struct agent *other;
static struct {
  colock *lock;
  colock_hold *hold;
} begun;

/* ---- where the operation begins ---- */

static void absent(const char *path) { unlink(path); }

static void blank(const char *path) {
  static const char zeros[COLOCKP_PAGE];
  unlink(path);
  test_write(path, zeros, sizeof zeros);
}

/* One that a former play left behind is as good as a new one: its successor has used it. */
static void existing(const char *path) {
  if (access(path, F_OK) != 0) test_make_lock(path);
}

static void damaged(const char *path) {
  existing(path);
  uint64_t nonsense = UINT64_C(0x5555555555555555);
  test_poke(path, offsetof(struct colockp_header, generation), &nonsense, sizeof nonsense);
}

static void rebooted(const char *path) {
  existing(path);
  test_poke(path, offsetof(struct colockp_header, boot_id), "another-boot", 13);
}

static void held_shared(const char *path) {
  existing(path);
  other = agent_open(path);
  ck_assert_int_eq(agent_call(other, "try s"), COLOCK_OK);
}

static void held_exclusive(const char *path) {
  existing(path);
  other = agent_open(path);
  ck_assert_int_eq(agent_call(other, "try x"), COLOCK_OK);
}

static void full(const char *path) {
  unlink(path);
  existing(path);
  other = agent_open(path);
  for (unsigned i = 0; i < COLOCKP_SLOTS_MIN; i++) {
    ck_assert_msg(agent_call(other, "try s") == COLOCK_OK, "seat %u: %s", i, other->text);
  }
}

/* In line for good: a writer that waits behind a reader. */
static void waited_for(const char *path) {
  held_shared(path);
  struct agent *writer = agent_open(path);
  agent_send(writer, "acquire x 20000");
  test_await_waiters(path, 1);
}

/* A dead writer in line, and one who holds, shared: a newcomer has to go through the queue. */
static void left_in_line(const char *path) {
  held_shared(path);
  struct agent *writer = agent_open(path);
  agent_send(writer, "acquire x 20000");
  test_await_waiters(path, 1);
  test_end_turn(path);
  agent_kill(writer);
}

static void abandoned(const char *path) {
  held_exclusive(path);
  agent_kill(other);
}

/* ---- before the operation, in the victim ---- */

static colock_config *settings(void) {
  colock_config *config = NULL;
  bool made = colock_config_new(&config) == COLOCK_OK && colock_config_set(config, "timeout", "2s") == COLOCK_OK &&
              colock_config_set(config, "verbosity", "quiet") == COLOCK_OK;
  return made ? config : NULL;
}

/* The configuration is made before the operation, so that what fails is the opening. */
static colock_config *config;

static int have_config(const char *path) {
  (void)path;
  if (config == NULL) config = settings();
  return config == NULL;
}

static int operate_open(const char *path) { return colock_open(&lock, path, config); }

static int have_open(const char *path) { return have_config(path) != 0 ? -1 : operate_open(path); }

static int acquire(int mode, int64_t timeout_ms) {
  colock_request request;
  colock_request_init(&request, sizeof request, mode);
  request.timeout_ms = timeout_ms;
  request.purpose = "to be hurt";
  return colock_acquire_with(lock, &request, &hold);
}

static int have_shared(const char *path) {
  int code = have_open(path);
  return code != COLOCK_OK ? code : acquire(COLOCK_SHARED, 2000);
}

static int have_exclusive(const char *path) {
  int code = have_open(path);
  return code != COLOCK_OK ? code : acquire(COLOCK_EXCLUSIVE, 2000);
}

/* Somebody waits for it: a writer, once we have it. */
static int have_contended(const char *path) {
  int code = have_exclusive(path);
  if (code != COLOCK_OK) return code;
  struct colockp_header header = test_header(path);
  uint64_t rank = COLOCKP_KEY_BASE << COLOCKP_RANK_KEY_SHIFT | COLOCKP_RANK_EXCLUSIVE;
  uint64_t flag = header.flag | COLOCKP_FLAG_SET;
  uint32_t slot = COLOCKP_SLOTS_MIN - 1, in_use = slot + 1; /* nobody's: a dead one's, that has to be cleared away */
  test_poke(path, COLOCKP_AT_QUEUE + slot * sizeof(struct colockp_queue_entry), &rank, sizeof rank);
  test_poke(path, offsetof(struct colockp_header, slots_in_use), &in_use, sizeof in_use);
  test_poke(path, offsetof(struct colockp_header, flag), &flag, sizeof flag);
  return COLOCK_OK;
}

/* ---- the operations ---- */

static int operate_shared(const char *path) {
  (void)path;
  return acquire(COLOCK_SHARED, 2000);
}

static int operate_exclusive(const char *path) {
  (void)path;
  return acquire(COLOCK_EXCLUSIVE, 2000);
}

static int operate_wait(const char *path) {
  (void)path;
  return acquire(COLOCK_EXCLUSIVE, 12);
}

static int operate_release(const char *path) {
  (void)path;
  colock_hold *released = hold;
  hold = NULL;
  return colock_release(released);
}

static int operate_upgrade(const char *path) {
  (void)path;
  return colock_upgrade(hold, 12);
}

static int operate_downgrade(const char *path) {
  (void)path;
  return colock_downgrade(hold);
}

static int operate_yield(const char *path) {
  (void)path;
  return colock_yield(hold, 1000);
}

static int operate_check(const char *path) {
  (void)path;
  int code = colock_check(hold);
  return code != COLOCK_OK ? code : colock_renew(hold);
}

static int operate_inherit(const char *path) {
  (void)path;
  int code = colock_inherit(hold, 1);
  return code != COLOCK_OK ? code : colock_inherit(hold, 0);
}

static int operate_force(const char *path) { return colock_force_unlock(path, "for the test", NULL); }

static int operate_report(const char *path) {
  colock_report *report = NULL;
  int code = colock_report_read(path, &report);
  if (code == COLOCK_OK && colock_report_json(report) == NULL) code = COLOCK_ENOMEM;
  colock_report_free(report);
  return code;
}

static int operate_stats(const char *path) {
  colock_stats *stats = NULL;
  int code = colock_stats_read(path, &stats);
  if (code == COLOCK_OK && colock_stats_json(stats) == NULL) code = COLOCK_ENOMEM;
  colock_stats_free(stats);
  return code;
}

static int operate_reset(const char *path) { return colock_stats_reset(path); }

static int operate_close(const char *path) {
  (void)path;
  colock_close(lock);
  lock = NULL;
  return COLOCK_OK;
}

const struct scenario scenarios[] = {
    {.name = "open an existing file", .prepare = existing, .begin = have_config, .operate = operate_open},
    {.name = "open an absent file", .prepare = absent, .begin = have_config, .operate = operate_open},
    {.name = "open an absent file without O_TMPFILE",
     .prepare = absent,
     .begin = have_config,
     .operate = operate_open,
     .no_tmpfile = true},
    {.name = "open a blank file", .prepare = blank, .begin = have_config, .operate = operate_open},
    {.name = "open a damaged file", .prepare = damaged, .begin = have_config, .operate = operate_open},
    {.name = "open a file from before a reboot", .prepare = rebooted, .begin = have_config, .operate = operate_open},
    {.name = "acquire shared", .prepare = existing, .begin = have_open, .operate = operate_shared},
    {.name = "acquire exclusive", .prepare = existing, .begin = have_open, .operate = operate_exclusive},
    {.name = "acquire shared beside a reader", .prepare = held_shared, .begin = have_open, .operate = operate_shared},
    {.name = "wait in vain", .prepare = held_exclusive, .begin = have_open, .operate = operate_wait},
    {.name = "acquire after an abandoned writer",
     .prepare = abandoned,
     .begin = have_open,
     .operate = operate_exclusive},
    {.name = "wait in vain behind others", .prepare = waited_for, .begin = have_open, .operate = operate_wait},
    {.name = "acquire shared behind the dead", .prepare = left_in_line, .begin = have_open, .operate = operate_shared},
    {.name = "upgrade", .prepare = existing, .begin = have_shared, .operate = operate_upgrade},
    {.name = "upgrade in vain", .prepare = held_shared, .begin = have_shared, .operate = operate_upgrade},
    {.name = "downgrade", .prepare = existing, .begin = have_exclusive, .operate = operate_downgrade},
    {.name = "yield", .prepare = existing, .begin = have_contended, .operate = operate_yield},
    {.name = "grow", .prepare = full, .begin = have_open, .operate = operate_shared},
    {.name = "release shared",
     .prepare = existing,
     .begin = have_shared,
     .operate = operate_release,
     .ends_hold = true},
    {.name = "release exclusive",
     .prepare = existing,
     .begin = have_exclusive,
     .operate = operate_release,
     .ends_hold = true},
    {.name = "check and renew", .prepare = existing, .begin = have_exclusive, .operate = operate_check},
    {.name = "inherit", .prepare = existing, .begin = have_exclusive, .operate = operate_inherit, .inherits = true},
    {.name = "force", .prepare = held_exclusive, .begin = have_config, .operate = operate_force},
    {.name = "report", .prepare = held_exclusive, .begin = have_config, .operate = operate_report},
    {.name = "read statistics", .prepare = held_exclusive, .begin = have_config, .operate = operate_stats},
    {.name = "reset statistics", .prepare = held_exclusive, .begin = have_config, .operate = operate_reset},
    {.name = "close", .prepare = existing, .begin = have_open, .operate = operate_close, .ends_hold = true},
};
const int scenario_count = (int)(sizeof scenarios / sizeof scenarios[0]);

/* ---- afterwards ---- */

void scenario_clean(void) {
  if (hold != NULL) colock_release(hold);
  colock_close(lock);
  colock_config_free(config);
  hold = NULL;
  lock = NULL;
  config = NULL;
}

int scenario_begin(const struct scenario *scenario, const char *path) {
  int code = scenario->begin(path);
  begun.lock = lock;
  begun.hold = hold;
  return code;
}

bool scenario_untouched(void) { return lock == begun.lock && hold == begun.hold; }

void scenario_end_others(void) {
  agent_end_all();
  other = NULL;
}

int64_t scenario_successor(const char *path, bool *was_abandoned) {
  colock *mine = NULL;
  colock_hold *taken = NULL;
  colock_config *own = settings();
  must(colock_config_set(own, "timeout", "20s"));
  int64_t before = test_now_ms();
  must(colock_open(&mine, path, own));
  must(colock_acquire(mine, COLOCK_EXCLUSIVE, &taken));
  int64_t took = test_now_ms() - before;
  if (was_abandoned != NULL) *was_abandoned = colock_abandoned(taken) != 0;
  must(colock_recovered(taken));
  must(colock_release(taken));
  colock_close(mine);
  colock_config_free(own);
  return took;
}

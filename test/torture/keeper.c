/* keeper.c - locks that are kept after their release, and the suspend before one leaves its process.
 *
 * In a plan that keeps, both handles of each process do so with auto_release, but for one: the second handle of every
 * other process lets go at once. The second handle has a suspend. What is written under it is dirty until then: nobody
 * else may come in before. A word of a generation that is over means nothing, nor one of a process that is doomed.
 */
#define _GNU_SOURCE
#include "broken.h"
#include "cache.h"
#include "torture.h"
#include <time.h>
#include <unistd.h>

#define HOOKED (HANDLES - 1)

bool keeper_hooks(int handle) { return torture->plan->keeps && handle == HOOKED; }

int keeper_configure(colock_config *config, int process, int handle) {
  if (!torture->plan->keeps) return COLOCK_OK;
  bool keeps = handle != HOOKED || process % 2 == 0;
  /* Without polling only a recall may let go what is kept. */
  const char *idle = COLOCKP_POLLS && process % 2 == 0 ? "2ms" : "forever";
  int code = colock_config_set(config, "auto_release", keeps ? "true" : "false");
  return code == COLOCK_OK ? colock_config_set(config, "idle_timeout", idle) : code;
}

static int suspend(void *arg) {
  struct hook *hook = arg;
  static _Thread_local uint64_t dice = 1;
  unsigned kind = (unsigned)(random_next(&dice) % 16);
  struct timespec time = {.tv_nsec = kind == 0 ? 1000000 : 20000};
  if (atomic_fetch_add(&hook->suspending, 1) != 0) failure("two suspends at once in process %d", hook->process);
  if (kind < 4) nanosleep(&time, NULL);
  if (hook->writers != 0 && !torture->plan->forces)
    failure("a suspend beside a writer of the same process, %d", hook->process);
  hook->dirty = 0;
  count(COUNT_SUSPENDED);
  atomic_fetch_sub(&hook->suspending, 1);
  return 0;
}

int keeper_hook(colock *lock, int process, int handle) {
  if (!keeper_hooks(handle)) return COLOCK_OK;
  struct hook *hook = &torture->hooks[process];
  hook->process = process;
  hook->writers = hook->suspending = 0;
  hook->dirty = 0;
  return colock_set_suspend(lock, suspend, hook);
}

static uint64_t word_of(const struct actor *actor) { return actor->inside >> 2; } /* without the mode */

static void see_nothing_dirty(const struct actor *actor, int handle) {
  const uint64_t generation = (UINT64_C(1) << 32) - 1;
  for (int p = 0; p < torture->processes; p++) {
    uint64_t dirty = torture->hooks[p].dirty;
    if (dirty == 0 || (keeper_hooks(handle) && p == actor->process)) continue;
    if (((dirty ^ word_of(actor)) & generation) != 0 || ledger_doomed(p, dirty >> 38)) continue;
    failure("process %d has written, and its lock left it without a suspend: actor %d.%d is inside", p,
            actor->process, actor->thread);
  }
}

void keeper_enter(const struct actor *actor, int handle, int mode) {
  struct hook *hook = &torture->hooks[actor->process];
  if (!torture->plan->keeps) return;
  see_nothing_dirty(actor, handle);
  if (!keeper_hooks(handle) || mode != COLOCK_EXCLUSIVE) return;
  hook->writers |= 1u << actor->thread;
  hook->dirty = word_of(actor);
  if (hook->suspending != 0 && !torture->plan->forces)
    failure("actor %d.%d writes beside a suspend of its process", actor->process, actor->thread);
}

void keeper_leave(const struct actor *actor, int handle) {
  if (keeper_hooks(handle)) torture->hooks[actor->process].writers &= ~(1u << actor->thread);
}

void keeper_downgrade(const struct actor *actor, int handle) {
  keeper_leave(actor, handle);
  if (keeper_hooks(handle)) torture->hooks[actor->process].dirty = 0; /* no suspend is called: it is the caller's */
}

bool keeper_only_kept(int fd) {
  struct colockp_header header;
  bool kept = false;
  if (pread(fd, &header, sizeof header, 0) != sizeof header) return false;
  for (uint32_t slot = 0; slot < header.slots_in_use; slot++) {
    struct colockp_activity activity;
    off_t at = colockp_at_slot(slot) + (off_t)offsetof(struct colockp_slot, activity);
    if (pread(fd, &activity, sizeof activity, at) != sizeof activity) return false;
    if (activity.generation != (uint32_t)header.generation) continue;
    kept |= activity.state == COLOCKP_CACHED;
    if (activity.state == COLOCKP_HELD || activity.state == COLOCKP_RECALLED) return false; /* an upgrader waits, too */
  }
  return kept;
}

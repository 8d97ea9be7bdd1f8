/* deadlock.c - who would wait for itself: a thread that has a hold already, a COMMAND below its `colock run`. */
#define _GNU_SOURCE
#include "lock.h"
#include "error.h"
#include "report.h"
#include "system.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

COLOCKP_FAST_LOCAL uint32_t colockp_blocking_holds;

struct colockp_parent colockp_parent_find(void) {
  struct colockp_parent parent = { .slot = COLOCKP_NO_PARENT }, found;
  const char *file = secure_getenv("COLOCK_FILE"), *hold = secure_getenv("COLOCK_HOLD");
  struct stat st;
  if (!file || !hold ||
      sscanf(hold, "%" SCNu32 ":%" SCNu64 ":%" SCNu32, &found.slot, &found.hold_id, &found.generation) != 3 ||
      colockp_system.fstatat(AT_FDCWD, file, &st, 0) != 0)
    return parent;
  found.device = st.st_dev;
  found.inode = st.st_ino;
  return found;
}

struct search {
  const struct colockp_region *region;
  uint64_t thread;
  uint32_t forks, held; /* held: how many blocking holds of any file this thread has */
  bool found;
};

static bool search_lock(struct colockp_member *member, void *arg) {
  struct search *search = arg;
  colock *lock = colockp_lock_of(member);
  if (!lock)
    return false;
  pthread_mutex_lock(&member->mutex);
  for (colock_hold *hold = lock->used; hold; hold = hold->next)
    if (atomic_load_explicit(&hold->thread, memory_order_relaxed) == search->thread && hold->forks == search->forks &&
        hold->region) {
      search->held++;
      search->found |= hold->region->device == search->region->device && hold->region->inode == search->region->inode;
    }
  pthread_mutex_unlock(&member->mutex);
  return false;
}

static int fail_parent(const colock *lock, const struct colockp_region *region) {
  char who[COLOCKP_DESCRIBED] = "a process without a name";
  colock_report *report = NULL;
  if (colockp_report_new(&report, lock->path) == 0 && colockp_report_fill(report, region->file.fd) == 0)
    for (size_t i = 0; i < report->now.count; i++)
      if (report->now.entries[i].slot == lock->parent.slot)
        colockp_describe(&report->now.entries[i], who, sizeof who);
  colock_report_free(report);
  return colockp_fail(COLOCK_EDEADLK, 0,
                      "%s: held by %s, the colock run that started this command (COLOCK_FILE); the wait would "
                      "never end", region->escaped, who);
}

int colockp_lock_deadlock_find(colock *lock, const colock_hold *seat) {
  const struct colockp_region *region = seat->region;
  if (colockp_blocking_holds > 0) {
    struct search search = { .region = region, .thread = colockp_thread(), .forks = colockp_fork_count() };
    colockp_member_any(search_lock, &search);
    colockp_blocking_holds = search.held;
    if (search.found)
      return colockp_fail(COLOCK_EDEADLK, 0,
                          "%s: this thread holds it already, and would wait for itself (colock_detach a hold that "
                          "another thread releases)",
                          region->escaped);
  }
  const struct colockp_parent *parent = &lock->parent;
  if (parent->slot != COLOCKP_NO_PARENT && parent->device == region->device && parent->inode == region->inode &&
      parent->generation == colockp_region_generation(region) &&
      colockp_report_holds(region->file.fd, parent->slot, parent->generation, parent->hold_id, region->escaped) == 1)
    return fail_parent(lock, region);
  return 0;
}

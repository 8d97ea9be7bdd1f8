/* force.c - forced unlock.
 *
 * Its one deed is a compare-and-swap of the generation word from the generation that was judged. GUARD is not taken:
 * its owner may be the very process that is stopped. All that follows (who did it, waking helpers) is advice.
 */
#include "force.h"
#include "clock.h"
#include "error.h"
#include "identity.h"
#include "log.h"
#include "probe.h"
#include "queue.h"
#include "range.h"
#include "recall.h"
#include "report.h"
#include "stats.h"
#include <errno.h>
#include <string.h>

#define JUDGE_TRIES 100
#define OPEN_NS INT64_C(5000000000) /* for another process that is creating the file */

/* Does the judged hold last? 1, 0, or -COLOCK_ code. */
static int lasts(const struct colockp_region *region, uint32_t generation, uint32_t slot, uint64_t hold_id) {
  if (slot != COLOCKP_NO_SLOT)
    return colockp_report_holds(region->file.fd, slot, generation, hold_id, region->escaped);
  int taken = colockp_range_taken(region->file.fd, COLOCKP_RANGE_EXCLUSIVE, colockp_lane(generation), 1);
  if (taken < 0)
    return -colockp_fail(colockp_code_of_errno(-taken), -taken, "%s: cannot look at its record locks: %s",
                         region->escaped, strerror(-taken));
  return taken;
}

static void note(struct colockp_region *region, uint32_t generation, uint32_t slot, const char *reason) {
  struct colockp_identity self;
  struct colockp_forced forced;
  colockp_identity_get(&self);
  memset(&forced, 0, sizeof forced);
  forced.when_wall_ns = colockp_wall_ns();
  forced.pid = self.pid;
  forced.uid = self.uid;
  forced.generation = generation;
  forced.slot = slot;
  colockp_text_copy(forced.program, sizeof forced.program, self.program);
  colockp_text_copy(forced.host, sizeof forced.host, self.host);
  colockp_text_copy(forced.reason, sizeof forced.reason, reason);
  memcpy(&region->header->forced, &forced, sizeof forced);
}

int colockp_force_break(struct colockp_region *region, uint32_t generation, uint32_t slot, uint64_t hold_id,
                        const char *reason) {
  struct colockp_header *header = region->header;
  if (!header)
    return colockp_fail(COLOCK_EACCES, EACCES, "%s: may only be read; forcing the lock needs write permission",
                        region->escaped);
  uint64_t word = colockp_generation_word(generation);
  uint64_t present = atomic_load(&header->generation);
  if (!colockp_generation_valid(present))
    return colockp_fail(COLOCK_ECORRUPT, 0, "%s: damaged: its generation contradicts itself", region->escaped);
  if (present != word)
    return COLOCKP_FORCED_BEFORE;
  int still = lasts(region, generation, slot, hold_id);
  if (still < 0)
    return -still;
  if (!still)
    return COLOCKP_FORCED_NOBODY;
  colockp_stats_forcing(region);
  if (!atomic_compare_exchange_strong(&header->generation, &word,
                                      colockp_generation_word(colockp_generation_next(generation))))
    return COLOCKP_FORCED_BEFORE;
  colockp_queue_ring_all(region); /* everyone meets on the next lane */
  colockp_stats_forced(region);
  note(region, generation, slot, reason);
  colockp_recall(region); /* who keeps the lock unused, and who wants to be told */
  char why[COLOCKP_QUOTED];
  COLOCKP_PROBE2(force, region->path, generation);
  colockp_log(region->verbosity, COLOCKP_WARNING, region->path, "forced",
              "generation=%u reason=%s message=\"every hold of this generation is revoked, and may still write\"",
              (unsigned)generation, colockp_quote(why, sizeof why, reason));
  return COLOCK_OK;
}

/* Look, judge whoever is first, force that hold out; again if it was over by then. */
static int judge(struct colockp_region *region, colock_report *report, const char *reason) {
  for (int i = 0; i < JUDGE_TRIES; i++) {
    struct colockp_holder holder;
    int code = colockp_report_fill(report, region->file.fd);
    if (code != COLOCK_OK)
      return code;
    if (!colockp_report_holder(report, COLOCK_EXCLUSIVE, &holder))
      return COLOCK_OK;
    code = colockp_force_break(region, holder.generation, holder.slot, holder.hold_id, reason);
    if (code != COLOCKP_FORCED_NOBODY)
      return code == COLOCKP_FORCED_BEFORE ? COLOCK_OK : code;
  }
  return colockp_fail(COLOCK_EBUSY, 0,
                      "%s: holders come and go faster than one can be judged, so nobody is stuck; nothing was done",
                      region->escaped);
}

int colock_force_unlock(const char *path, const char *reason, colock_report **before) {
  struct colockp_region *region = NULL;
  struct colockp_settings settings;
  colock_report *report = NULL;
  colockp_fork_count();
  if (!path)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_force_unlock: path is needed");
  int code = colockp_config_ambient(&settings);
  if (code == COLOCK_OK)
    code = colockp_region_open(&region, path, NULL, &settings, colockp_time_add(colockp_now_ns(), OPEN_NS), 0);
  if (code != COLOCK_OK)
    return code;
  if (region->read_only)
    code = colockp_fail(COLOCK_EACCES, EACCES, "%s: may only be read; forcing the lock needs write permission",
                        region->escaped);
  else
    code = colockp_report_new(&report, path);
  if (code == COLOCK_OK)
    code = judge(region, report, reason);
  colockp_region_unref(region);
  if (code == COLOCK_OK && before)
    *before = report;
  else
    colock_report_free(report);
  return code;
}

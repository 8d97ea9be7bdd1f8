/* stats_reset.c - from now on statistics begin anew. What was counted stays where it is (totals.h). */
#include "clock.h"
#include "config.h"
#include "error.h"
#include "system.h"
#include "totals.h"

#include <errno.h>

#define RESET_NS INT64_C(5000000000) /* for another process that is creating the file, and for GUARD */

/* GUARD needs a descriptor of its own: the region's carries no record lock. */
static int reset_guarded(struct colockp_region *region, int64_t deadline_ns) {
  struct colockp_fd file;
  struct stat st;
  int error = colockp_fd_open(&file, true, region->directory.fd, region->name,
                              O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0);
  if (error)
    return colockp_region_fail(region, error, "open it");
  int code = 0;
  if (colockp_system.fstat(file.fd, &st) != 0)
    code = colockp_region_fail(region, errno, "look at it");
  else if (st.st_dev != region->device || st.st_ino != region->inode)
    code = colockp_fail(COLOCK_ELOST, 0, "%s: the lock file was replaced by another", region->escaped);
  if (code == 0)
    code = colockp_region_guard(region, file.fd, UINT32_MAX, deadline_ns);
  if (code == 0) {
    code = colockp_totals_reset(region);
    colockp_region_unguard(region, file.fd);
  }
  colockp_fd_close(&file);
  return code;
}

int colock_stats_reset(const char *path) {
  struct colockp_region *region = NULL;
  struct colockp_settings settings;
  colockp_fork_count();
  if (!path)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_stats_reset: path is needed");
  int64_t deadline_ns = colockp_time_add(colockp_now_ns(), RESET_NS);
  int code = colockp_config_ambient(&settings);
  if (code == 0)
    code = colockp_region_open(&region, path, NULL, &settings, deadline_ns, 0);
  if (code)
    return code;
  if (region->read_only)
    code = colockp_fail(COLOCK_EACCES, EACCES, "%s: may only be read; to reset its statistics needs write permission",
                        region->escaped);
  else
    code = reset_guarded(region, deadline_ns);
  colockp_region_unref(region);
  return code;
}

/* region.h - one lock file, opened: found or created, checked, mapped; growing it; noticing that the name now leads
 * elsewhere.
 *
 * A region is shared by the lock and its seats and freed with the last of them. Its descriptor never carries a record
 * lock: a mapping keeps its open file description alive (in a forked child too), and a lock on it would live on with
 * it.
 */
#ifndef COLOCKP_REGION_H
#define COLOCKP_REGION_H

#include "config.h"
#include "layout.h"
#include "process.h"
#include <stdbool.h>
#include <sys/stat.h>

/* What the watch (watch.h) keeps of a region; all zero: nothing yet. Stores under its mutex, save those that say so. */
struct colockp_watched {
  _Atomic uint32_t waiters; /* of this process, between begin and end. By anybody */
  _Atomic bool idle;        /* nobody began in the last second. Cleared by anybody */
  _Atomic int descriptor;   /* inotify's number for the inode; 0: not watched now */
  bool changed;             /* the file was renamed, or lost a name */
  _Atomic unsigned rounds;  /* of ringing that are still due after the last event */
  int64_t due_ns;           /* when the next one is */
  struct colockp_region *next;
};

struct colockp_region {
  _Atomic int references;
  struct colockp_fd file;      /* registered; never locked */
  struct colockp_fd directory; /* O_PATH, of the directory that has the name */
  char *path;                  /* as the caller gave it */
  char *escaped;               /* path, safe to print: for messages */
  const char *name;            /* last component, within path */
  dev_t device;
  ino_t inode;
  bool read_only;              /* opened for reading alone: no mapping, header is NULL */
  int verbosity;
  struct colockp_header *header;     /* mapped, with queue and bells behind it */
  struct colockp_queue_entry *queue;
  _Atomic uint32_t *bells;
  _Atomic uint64_t lanes;            /* of a lock with a suspend: how many seats have LANE, below its generation */
  struct colockp_watched watch;
  void (*_Atomic gone)(struct colockp_region *region); /* NULL, or called before it is unmapped: for watch.c */
};

enum { COLOCKP_CREATE = 1 }; /* lay out a file that is absent, empty or damaged; without it nothing is written */

/* Opens path; before: the region of the same path that this one replaces, or NULL. May wait, until deadline_ns
 * (CLOCK_MONOTONIC), for another process that is creating the file. The caller gets one reference. Codes: EINVAL EACCES
 * ENOENT EFOREIGN EVERSION ECORRUPT ENOLOCKS ENOSPC EMFILE ENOMEM ETIMEDOUT ESYSTEM. */
int colockp_region_open(struct colockp_region **region, const char *path, const struct colockp_region *before,
                        const struct colockp_settings *settings, int64_t deadline_ns, unsigned flags);
struct colockp_region *colockp_region_ref(struct colockp_region *region);
void colockp_region_unref(struct colockp_region *region);

/* The steps of opening that open.c puts together: an object for path with its directory opened; the map of its file. */
int colockp_region_new(struct colockp_region **region, const char *path, const struct colockp_region *before,
                       int verbosity);
int colockp_region_map(struct colockp_region *region);
/* Is everybody who has a seat using the file through our device? If nobody has one, it becomes ours. 0; ECORRUPT. */
int colockp_region_claim_device(struct colockp_region *region, unsigned flags, const struct colockp_header *header);
/* The same once more after a seat was taken. */
int colockp_region_device(const struct colockp_region *region);

/* Does the name still lead to this file? 0 yes; ELOST: it is gone or another file is there. */
int colockp_region_named(const struct colockp_region *region);

/* The present generation: from the mapping, or by pread. 0 if the word is damaged or cannot be read. */
uint32_t colockp_region_generation_read(const struct colockp_region *region);
static inline uint32_t colockp_region_generation(const struct colockp_region *region) {
  if (!region->header)
    return colockp_region_generation_read(region);
  uint64_t word = atomic_load_explicit(&region->header->generation, memory_order_acquire);
  return colockp_generation_valid(word) ? (uint32_t)word : 0;
}

/* Take GUARD through `fd`, within the deadline. COLOCKP_GROWN: it was not needed, as capacity is above that by now;
 * ETIMEDOUT: it is stuck, the message names its owner; ENOLOCKS; ESYSTEM. */
int colockp_region_guard(struct colockp_region *region, int fd, uint32_t capacity, int64_t deadline_ns);
enum { COLOCKP_GROWN = -1 };
void colockp_region_unguard(struct colockp_region *region, int fd);

/* Allocate more slots, under GUARD taken through `fd`, within the deadline. 0 when capacity is then above `capacity`,
 * whoever did it; ENOSPC, EMFILE (65,536 seats), ETIMEDOUT (GUARD is stuck: the message names its owner), ENOLOCKS,
 * ESYSTEM. */
int colockp_region_grow(struct colockp_region *region, int fd, uint32_t capacity, int64_t deadline_ns);

/* "PATH: cannot WHAT: strerror", with the code that fits the errno. */
int colockp_region_fail(const struct colockp_region *region, int error, const char *what);

/* Sleep a little, longer each time (1 ms up), not past the deadline; false when it has passed. For the rare waits of
 * opening. */
bool colockp_region_pause(int64_t *delay_ns, int64_t deadline_ns);

#endif

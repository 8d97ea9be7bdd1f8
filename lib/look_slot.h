/* look_slot.h - what one slot says, as an entry of a report. For look.c and totals.c.
 *
 * Slots are copied under their sequence word with a bounded retry, and believed as far as the look that is under way
 * has seen the record locks.
 */
#ifndef COLOCKP_LOOK_SLOT_H
#define COLOCKP_LOOK_SLOT_H

#include "report.h"

struct colockp_look { /* one look at the file */
  int fd;
  const char *path; /* safe to print */
  int64_t wall_ns;
  int64_t now_ns;
  struct colockp_header header;
  uint64_t device;
  bool other_device;   /* than that of the processes that use the file */
  bool lane_taken;     /* somebody holds */
  bool lane_exclusive; /* and exclusively */
  uint64_t phase;      /* decides where waiters stand, see colockp_rank_place */
  uint64_t pulse;      /* of all sequence words: another one says that some owner has written */
  uint32_t converting; /* a slot that says it has LANE, in the mode that it is not in; COLOCKP_NO_SLOT */
  size_t expected; /* entries, as far as it can be told: a hint, so that a thousand are not copied ten times */
  struct colockp_snapshot *into;
};

int colockp_look_fail(const struct colockp_look *look, int error, const char *what);
/* 0, or the code of a failure. A file that ends early is damaged: the header promised more. */
int colockp_look_read(const struct colockp_look *look, void *buffer, size_t size, int64_t offset);
/* Into look->header, checked; EFOREIGN EVERSION ECORRUPT ESYSTEM. */
int colockp_look_header(struct colockp_look *look);
int colockp_look_taken(const struct colockp_look *look, int mode, int64_t byte); /* 1 taken, 0 free, or -code */

/* Adds what the slot is, if it is anything that a report shows. 0 or a code, here and below. */
int colockp_look_slot(struct colockp_look *look, uint32_t slot, const struct colockp_queue_entry *queue);
/* Nobody has LANE by his words, but look->converting nearly: LANE is converted first and the words follow, and a lock
 * that is kept may be converted at each use. Adds that one. */
int colockp_look_converting(struct colockp_look *look);
/* Adds one who has LANE and no slot. */
int colockp_look_anonymous(const struct colockp_look *look);

#endif

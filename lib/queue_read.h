/* queue_read.h - the queue as somebody sees it who may not map it: by pread. For reader-only locks. */
#ifndef COLOCKP_QUEUE_READ_H
#define COLOCKP_QUEUE_READ_H

#include "region.h"

/* The key of somebody who comes now; it takes no ticket. */
uint64_t colockp_queue_read_key(const struct colockp_region *region, int priority);
/* Does a live writer stand before a reader with that key, who is in no slot? UINT64_MAX: does any wait? fd: to ask for
 * SLOT bytes. What cannot be read counts as no. */
bool colockp_queue_read_writer(const struct colockp_region *region, int fd, uint64_t key);
/* Does anybody wait at all? */
bool colockp_queue_read_flag(const struct colockp_region *region);

#endif

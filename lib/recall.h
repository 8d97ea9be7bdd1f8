/* recall.h - asking all who keep the lock without using it to look whether somebody waits.
 *
 * One word of the header, a futex. It changes at each recall; its lowest bit says that somebody sleeps on it, so that a
 * recall wakes only where there is one. Who died in his sleep costs the next recall one needless system call.
 */
#ifndef COLOCKP_RECALL_H
#define COLOCKP_RECALL_H

#include "region.h"

/* After what the others are to see, and a fence. */
void colockp_recall(struct colockp_region *region);
/* The same, and wake whoever sleeps there: who recalled before may have died between the change and the wake-up. */
void colockp_recall_again(struct colockp_region *region);
/* Read the word, *then* look; sleep if it has not changed since, for ns at most. */
uint32_t colockp_recall_read(const struct colockp_region *region);
void colockp_recall_sleep(struct colockp_region *region, uint32_t seen, int64_t ns);

#endif

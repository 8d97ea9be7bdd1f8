/* look.h - one look at a lock file from outside, as a list of holders, waiters and revoked. */
#ifndef COLOCKP_LOOK_H
#define COLOCKP_LOOK_H

#include "report.h"

/* Fill *into, whose members are all zero, with what fd shows now, in no order. Who holds shared and is being upgraded
 * is there twice: as holder and as waiter. Entries are the caller's to free, on failure too. 0 or a code. */
int colockp_look(struct colockp_snapshot *into, int fd, const char *escaped_path);

#endif

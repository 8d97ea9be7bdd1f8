/* create.h - bytes onto the disk: a new lock file, an empty one, a damaged one, one from before a reboot.
 *
 * Who writes to a file that others may have open holds one exclusive lock over the whole SLOT..UPGRADE range, through a
 * descriptor of its own: that nobody else has any byte there proves that nobody lives in the file, anonymous readers
 * included.
 */
#ifndef COLOCKP_CREATE_H
#define COLOCKP_CREATE_H

#include "region.h"

enum colockp_condition {
  COLOCKP_SOUND,    /* ours and whole */
  COLOCKP_REBOOTED, /* ours and whole, but last used before this boot */
  COLOCKP_BLANK,    /* absent or all zero */
  COLOCKP_DAMAGED,  /* ours, and not whole: cut short, half laid out, impossible values */
  COLOCKP_FOREIGN,  /* somebody else's content */
  COLOCKP_NEWER     /* ours, in a format that this build does not know */
};

/* What the first page and the size say. `header` is the page as read, zero-filled. 0 or an errno. */
int colockp_inspect(int fd, off_t size, struct colockp_header *header, enum colockp_condition *condition);

/* Make the file region->name, laid out, without a moment in which others see half of it. EEXIST: somebody was faster.
 * EOPNOTSUPP: no O_TMPFILE here. Else an errno. */
int colockp_create_whole(struct colockp_region *region, unsigned mode);

/* The same in the open, where there is no O_TMPFILE: O_EXCL, then laid out in place. Errno as above. */
int colockp_create_bare(struct colockp_region *region, unsigned mode);

/* Bring a blank, damaged or rebooted file in order. 0 done, or no longer needed; EAGAIN: somebody lives in it, or is at
 * it; ESTALE: the name leads elsewhere by now. Else an errno. */
int colockp_settle(struct colockp_region *region);

#endif

/* nearest.h - guessing which word a mistyped one was meant to be. */
#ifndef COLOCKP_NEAREST_H
#define COLOCKP_NEAREST_H

/* The word of the list (which ends in NULL) that `text` was probably meant to be; NULL if none is near. Case and the
 * difference between - and _ do not count. */
const char *colockp_nearest(const char *text, const char *const *words);

#endif

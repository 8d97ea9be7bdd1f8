/* log.h - what the library has to say while it works: one line an event, through the caller's hook alone.
 *
 * Without a hook nothing is formatted. The hook may be set at any time by any thread; it is called with no internal
 * lock held. colock(3) lists the events: who adds one adds it there.
 */
#ifndef COLOCKP_LOG_H
#define COLOCKP_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COLOCKP_QUIET = 0, COLOCKP_ERROR = 1, COLOCKP_WARNING = 2, COLOCKP_INFO = 3, COLOCKP_DEBUG = 4 };

/* event=EVENT file=PATH and the pairs of the format behind it: key=value, one space between two. verbosity: the lock's
 * own (settings.verbosity); a line above it is dropped. path: as the caller gave it, not escaped. Texts among the pairs
 * go through colockp_quote. */
void colockp_log(int verbosity, int level, const char *path, const char *event, const char *pairs, ...)
  __attribute__((format(printf, 5, 6)));

/* The text as the value of a pair: as it is, or, if that could be taken for something else, in double quotes with
 * escapes within. Cut to fit. NULL is "". Returns out. */
char *colockp_quote(char *out, size_t size, const char *text);
#define COLOCKP_QUOTED 640 /* room for one; two of them fit into a line beside the path and some numbers */

/* May a line of that kind be written now? A kind gets 10 a second. True: *suppressed is how many of it were not, since
 * the last one that was. Kinds are told apart by any number. */
bool colockp_log_passes(uint64_t kind, int64_t now_ns, uint64_t *suppressed);

#endif

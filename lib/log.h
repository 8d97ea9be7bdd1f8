/* log.h - what the library has to say while it works: one line an event, through the caller's hook alone.
 *
 * Without a hook nothing is formatted. The hook may be set at any time by any thread; it is called with no internal
 * lock held. */
#ifndef COLOCKP_LOG_H
#define COLOCKP_LOG_H

enum { COLOCKP_QUIET = 0, COLOCKP_ERROR = 1, COLOCKP_WARNING = 2, COLOCKP_INFO = 3, COLOCKP_DEBUG = 4 };

/* verbosity: the lock's own (settings.verbosity); a line above it is dropped. */
void colockp_log(int verbosity, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif

/* cast.h - what a schedule says of its sessions and steps, beyond its syntax (spec.h): play.h tells the words. */
#ifndef COLOCK_TEST_CAST_H
#define COLOCK_TEST_CAST_H

#include "spec.h"

bool cast_has(const struct spec_session *session, const char *word); /* this setting */
/* Does it, or a thread of it, take a step? */
bool cast_takes_part(const struct spec *spec, const struct spec_permutation *permutation, int session);
/* `open` with the session's settings, in the agent's words. */
void cast_open(char *command, size_t size, const struct spec_session *session, const char *path);
/* Is it a step that stops somebody somewhere: when, at what, the how manieth time? */
bool cast_pause(const char *command, char when[16], char what[24], long *n);

#endif

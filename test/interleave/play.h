/* play.h - plays one permutation of a schedule with agents, as far as it goes as written.
 *
 * Beside the commands of agent.h (open, force and kept get the path; the first hold is meant where none is named) a
 * step can be, of a session:
 *   pause before|after WORD [N]   it stops at its Nth store from now on that changes this word of the file (trace.h)
 *   pause before|after CALL [N]   the same at a call (pause.h)
 *   helper before|after WORD [N]  the same of the library's thread in its process, which stops alone
 *   helper there|go               wait until it stands there; it goes on
 *   stop          SIGSTOP, wherever it is
 *   go            on from a pause or a stop
 *   kill          SIGKILL
 *   call_off      SIGUSR1, while it waits: colock_cancel
 *   interrupt     SIGUSR2, while it waits
 * and of the file:
 *   ticket N      the ticket counter goes on by N, as if N more had queued
 *   recall        everybody's helper is to look at what is kept
 *   damage        another generation word than there can be
 * Settings of a session, beside those of the configuration: `later`: it opens the lock by a step of its own; `nobody`:
 * it gives up its privileges first; `unwatched`: it can have no inotify instance, so that no other descriptor's closing
 * wakes it; `unticked`: what it keeps is let go when it is recalled, and neither idles out nor is looked at now and
 * then. All others have the lock open when the first step is taken. All have `retry_delay: 10s` unless they say
 * otherwise: then nobody polls within the 3 s that an expected outcome may take, and what gets on was woken.
 *
 * After each step nothing more than what was expected may have got on; that is asked when all have been asleep for
 * some ms. What comes later still is seen at the next step. After each grant: nobody holds beside an exclusive hold of
 * the same generation, and tokens grow in the order of grants and of generations. At the end: nobody is under way, and
 * unless somebody died, no rank is left and the flag is clear.
 */
#ifndef COLOCK_TEST_PLAY_H
#define COLOCK_TEST_PLAY_H

#include "spec.h"

/* Has it a step that is found instruction by instruction? */
bool play_traces(const struct spec *spec);
/* NULL, or why it cannot be played here. */
const char *play_lacks(const struct spec *spec, const struct spec_permutation *permutation);
/* NULL, or how it went another way than written: FILE:LINE, why, and the steps until then. Once a test. */
const char *play(const struct spec *spec, const struct spec_permutation *permutation);

#endif

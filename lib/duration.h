/* duration.h - times as people write them: "250ms", "1.5s", "2min", "forever". In ns; INT64_MAX is for ever. */
#ifndef COLOCKP_DURATION_H
#define COLOCKP_DURATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the whole of `text`: digits, perhaps a point and up to 9 more digits, and a unit (ns us ms s min h); 0 alone;
 * or "forever", where that is allowed. Returns 0, or -1 with `reason` saying what is wrong and what to write instead.
 */
int colockp_duration_parse(int64_t *ns, const char *text, bool forever, char *reason, size_t reason_size);

#define COLOCKP_DURATION_SIZE 24 /* room for the longest one written */

/* Writes `ns`, not negative, in the largest unit that needs no fraction; colockp_duration_parse reads it back exactly.
 * Returns out. */
char *colockp_duration_format(char out[COLOCKP_DURATION_SIZE], int64_t ns);

#endif

/* force.h - forced unlock: everyone moves to the lane of the next generation, whoever still has the old one. */
#ifndef COLOCKP_FORCE_H
#define COLOCKP_FORCE_H

#include "region.h"

enum {                          /* colockp_force_break, beside COLOCK_ codes */
  COLOCKP_FORCED_BEFORE = -1,   /* that generation is over already: somebody else was faster */
  COLOCKP_FORCED_NOBODY = -2    /* the judged hold is over: nothing was done, look again */
};

/* Force out hold `hold_id` of slot `slot`, and with it every hold of `generation`. COLOCKP_NO_SLOT: whoever holds in
 * that generation without a name. Nothing is done unless that very hold still lasts; two who judge the same hold break
 * once. Takes no lock. 0: done, by us; the two above; EACCES (the region is read-only), ECORRUPT, ESYSTEM. reason may
 * be NULL. */
int colockp_force_break(struct colockp_region *region, uint32_t generation, uint32_t slot, uint64_t hold_id,
                        const char *reason);

#endif

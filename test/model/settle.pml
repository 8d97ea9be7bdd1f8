/* settle.pml - laying out a file anew: create.c colockp_settle(), against processes that take a seat or LANE
 * meanwhile.
 *
 * A header is damaged, or of another boot. Two processes want to settle it; two take a seat and then LANE exclusively;
 * one has a reader-only lock: LANE shared, no seat. All have passed the check of the header before: they go by the
 * generation that they read. Who settles locks the whole of SLOT..UPGRADE without waiting, looks again, writes the
 * header with the next generation, and unlocks. Checked: no writer beside anybody else, whatever lane each is on.
 *
 * Broken on purpose:
 *   SETTLE_SEATS     who settles only looks whether a SLOT byte is taken
 *   SETTLE_UNLOCKED  the range is unlocked before the header is written */
#define GENERATIONS 4

/* the kernel */
byte slots;  /* SLOT bytes that are taken */
bit range;   /* SLOT..UPGRADE is locked whole */
bit lane_exclusive[GENERATIONS];
byte lane_shared[GENERATIONS];
/* the file */
byte generation = 1;
bit sound;
/* who believes to hold */
byte writers, readers;

#define FREE(g)    (!lane_exclusive[g] && lane_shared[g] == 0)
#define LANES_FREE (FREE(1) && FREE(2) && FREE(3))

proctype Settle() {
  byte g;
  if
  :: sound -> goto out
  :: else
  fi;
  atomic {
    if
#ifdef SETTLE_SEATS
    :: slots == 0
#else
    :: !range && slots == 0 && LANES_FREE -> range = 1
#endif
    :: else -> goto out
    fi }
  if
  :: sound -> goto unlock
  :: else
  fi;
  g = generation;
#ifdef SETTLE_UNLOCKED
  range = 0;
#endif
  generation = g + 1;
  sound = 1;
unlock:
#if !defined(SETTLE_SEATS) && !defined(SETTLE_UNLOCKED)
  range = 0;
#endif
out:
  skip
}

proctype Writer() {
  byte g;
  atomic {
    if
    :: !range -> slots++
    :: else -> goto out
    fi }
again:
  g = generation;
  atomic {
    if
    :: !range && !lane_exclusive[g] && lane_shared[g] == 0 -> lane_exclusive[g] = 1
    :: else -> goto leave
    fi }
  if
  :: generation != g -> lane_exclusive[g] = 0; goto again
  :: else
  fi;
  writers++;
  assert(writers == 1 && readers == 0);
  writers--;
  lane_exclusive[g] = 0;
leave:
  slots--;
out:
  skip
}

proctype Reader() {
  byte g;
again:
  g = generation;
  atomic {
    if
    :: !range && !lane_exclusive[g] -> lane_shared[g]++
    :: else -> goto out
    fi }
  if
  :: generation != g -> lane_shared[g]--; goto again
  :: else
  fi;
  readers++;
  assert(writers == 0);
  readers--;
  lane_shared[g]--;
out:
  skip
}

init {
  atomic { run Settle(); run Settle(); run Writer(); run Writer(); run Reader() }
}

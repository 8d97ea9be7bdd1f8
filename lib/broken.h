/* broken.h - the protocol broken on purpose, in one way at a time, so that it can be seen which test notices.
 *
 * A build with -DCOLOCKP_BREAK=N has the Nth of these faults; every other build has none, and the compiler drops the
 * questions. test/broken builds each and runs the tests beside it.
 */
#ifndef COLOCKP_BROKEN_H
#define COLOCKP_BROKEN_H

#ifndef COLOCKP_BREAK
#define COLOCKP_BREAK 0
#endif

enum {
  COLOCKP_BREAK_NOTHING,
  COLOCKP_BREAK_PUBLISH_FENCE,   /* 1: no fence between rank and flag, and the scan */
  COLOCKP_BREAK_RELEASE_FENCE,   /* 2: no fence between unlock and the look at the flag */
  COLOCKP_BREAK_FLAG_EARLY,      /* 3: release looks at the flag before it unlocks */
  COLOCKP_BREAK_RING_EARLY,      /* 4: who leaves the queue rings before its rank is gone */
  COLOCKP_BREAK_BLIND_CLEAR,     /* 5: the flag is cleared whatever its version is by now */
  COLOCKP_BREAK_BELL_LATE,       /* 6: the bell is read after the look at the queue, not before */
  COLOCKP_BREAK_RING_ONE,        /* 7: one reader is rung, not all that may go */
  COLOCKP_BREAK_REAP_UNLOCKED,   /* 8: a waiter's rank is cleared without its SLOT byte */
  COLOCKP_BREAK_NO_PASS,         /* 9: a stopped waiter is never passed over */
  COLOCKP_BREAK_GENERATION,      /* 10: the generation is not read again once the lane is locked */
  COLOCKP_BREAK_TOKEN_LATE,      /* 11: the fencing token is taken after the look at the generation */
  COLOCKP_BREAK_LEAVE_SILENT,    /* 12: who gives up waiting rings nobody */
  COLOCKP_BREAK_BARGE,           /* 13: newcomers go before the queue however long its head has waited */
  COLOCKP_BREAK_KEEP_BLIND,      /* 14: who keeps a seat does not look whether the helper saw a waiter meanwhile */
  COLOCKP_BREAK_WANTED_LATE,     /* 15: the helper says whom it saw after the look at what is kept, not before */
  COLOCKP_BREAK_RECALL_LATE,     /* 16: the helper reads the recall word after it has looked */
  COLOCKP_BREAK_PARK_BLIND,      /* 17: the helper parks without another look at what is kept */
  COLOCKP_BREAK_RECALL_NOT,      /* 18: who joins the queue does not ask for what is only kept */
  COLOCKP_BREAK_COUNT
};
#define COLOCKP_BROKEN(way) (COLOCKP_BREAK == COLOCKP_BREAK_##way)

/* -DCOLOCKP_NO_POLLING: waiters sleep until they are rung, so that a wake-up that is lost is lost for good; and helpers
 * until they are recalled, but for what idles. */
#ifdef COLOCKP_NO_POLLING
#define COLOCKP_POLLS 0
#else
#define COLOCKP_POLLS 1
#endif

/* -DCOLOCKP_NO_WATCH: nor do they wake once to begin the watch, or to judge those ahead, which would save a wake-up
 * that was lost just before. For runs in which nobody dies or stops. */
#ifdef COLOCKP_NO_WATCH
#define COLOCKP_WATCHES 0
#else
#define COLOCKP_WATCHES 1
#endif

#endif

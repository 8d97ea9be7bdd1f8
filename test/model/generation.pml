/* generation.pml - forced unlock, fencing tokens, the mark of a writer that died: acquire.c, token.c, force.c, hold.c.
 *
 * Processes acquire LANE of the present generation and release it, as colockp_lane_try, colockp_lane_words and
 * colockp_hold_end do, one access to a shared word a step; they may be killed at any step (CRASHES in all). Breakers
 * judge a hold that lasts and force it out (colockp_force_break).
 *
 * Checked: within a generation one writer or many readers (the kernel's doing). Nobody is granted a hold of a
 * generation that was over when it locked LANE. A fencing token of a later generation is larger than any of an earlier
 * one, and tokens grow in the order of grants. A forced unlock revokes the generation that was judged, no other. What
 * is buried as abandoned was never the mark of a live writer of the present generation, and nobody takes such a mark
 * away; and a writer that died or was forced out is not forgotten: when the next hold of the present generation is
 * granted, `abandoned` says so.
 *
 * Abstractions: memory is sequentially consistent; generations do not wrap; nobody waits; the file keeps its name;
 * tokens are always synced; nobody says `recovered`; after the burial of a larger token a smaller one counts as
 * remembered.
 *
 * Switches:  N processes  BREAKERS  ROUNDS acquires a process  CRASHES  CHANGE: downgrade and upgrade too
 *   KEEP: LANE may be kept after a hold, and used for another one of the same mode (words_again)
 *
 * Broken on purpose, named as in lib/broken.h where it has them:
 *   GENERATION     the generation is not read again once the lane is locked
 *   TOKEN_LATE     the fencing token is taken after the look at the generation
 *   MARK_LATE      the writer's mark is read after the look at the generation
 *   CLEAR_BLIND    a holder stores 0 into the writer word instead of comparing
 *   CLEAR_LATE     the mark is cleared after the unlock
 *   BREAK_BLIND    who forces adds one to whatever the generation is by then
 *   FENCE_LOST     the token is read, then written, by itself no atomic step
 *   KEPT_BLIND     what was kept is used again without a look at the generation (needs KEEP, as:)
 *   KEPT_LATE      its token is taken after that look
 *   KEPT_MARKED    the mark stays while LANE is only kept */
#ifndef N
#define N 2
#endif
#ifndef BREAKERS
#define BREAKERS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#define GENERATIONS (BREAKERS + 1)
#define SHARED    0
#define EXCLUSIVE 1

/* the kernel: LANE of each generation, and who has which */
bit lane_exclusive[GENERATIONS];
byte lane_shared[GENERATIONS];
bit locked[N], locked_exclusive[N];
byte lane_of[N];
/* the file */
byte generation;
byte fence, writer, abandoned;
/* what we know */
bit killed[N], holds[N], ending[N];  /* ending: its release has found it whole */
bit kept[N];
byte hold_id[N];
byte token_of[N], token_lane[N];     /* of the last mark that it made */
byte token_least[GENERATIONS], token_most[GENERATIONS];
byte mourned;                        /* the largest token whose holder was killed or forced out while it held */
byte crashes = CRASHES;

/* The mark t is that of a writer who lives, and whose generation lasts. */
#define LIVE(p, t)  (token_of[p] == t && token_lane[p] == generation && !killed[p])
#define WRITES(p)   (holds[p] && locked_exclusive[p] && !ending[p] && !killed[p])
#if N == 2
#define ANY_LIVE(t) (LIVE(0, t) || LIVE(1, t))
#else
#define ANY_LIVE(t) (LIVE(0, t) || LIVE(1, t) || LIVE(2, t))
#endif

inline unlock() {
  atomic {
    if
    :: locked_exclusive[me] -> lane_exclusive[g] = 0
    :: else -> lane_shared[g]--
    fi;
    locked[me] = 0; locked_exclusive[me] = 0 }
}

inline take_token() {
  if
  :: exclusive ->
#ifdef FENCE_LOST
     token = fence;
     token = token + 1; fence = token
#else
     atomic { fence++; token = fence }
#endif
  :: else
  fi
}

inline read_mark() {
  atomic { found = writer; owed = mourned }
}

inline bury(t) {
  atomic {
    assert(!ANY_LIVE(t));
    if
    :: abandoned < t -> abandoned = t
    :: else
    fi }
  atomic {
    if
    :: writer == t -> writer = 0
    :: else
    fi }
}

/* Tokens in the order of generations, and of grants within one. */
inline check_token() {
  d_step {
    i = 0;
    do
    :: i < GENERATIONS ->
       assert(i < g && token_most[i] < token || i == g && token_most[i] < token ||
              i > g && (token_least[i] == 0 || token_least[i] > token));
       i++
    :: else -> break
    od;
    i = 0; token_most[g] = token;
    if
    :: token_least[g] == 0 -> token_least[g] = token
    :: else
    fi }
}

proctype Process(byte me) provided (!killed[me]) {
  bit exclusive, late, again;
  byte g, token, found, owed, present, i, round;
  do
  :: round < ROUNDS ->
     round++;
     if
     :: exclusive = 0
     :: exclusive = 1
     fi;
anew:
     atomic { token = 0; found = 0; owed = 0; present = 0; g = generation }
     atomic {
       if
       :: exclusive && !lane_exclusive[g] && lane_shared[g] == 0 -> lane_exclusive[g] = 1; locked_exclusive[me] = 1
       :: !exclusive && !lane_exclusive[g] -> lane_shared[g]++
       :: else -> goto next
       fi;
       locked[me] = 1; lane_of[me] = g; late = generation != g }
words:
#ifndef MARK_LATE
     read_mark();
#endif
#ifndef TOKEN_LATE
     take_token();
#endif
#ifndef GENERATION
     if
     :: generation != g -> goto undo
     :: else
     fi;
#endif
#ifdef TOKEN_LATE
     take_token();
#endif
#ifdef MARK_LATE
     read_mark();
#endif
     if
     :: found != 0 -> bury(found)
     :: else
     fi;
mark:
     /* colockp_writer_mark */
     do
     :: !exclusive -> break
     :: exclusive ->
        atomic {
          present = writer;
          if
          :: present == 0 -> writer = token; token_of[me] = token; token_lane[me] = g; holds[me] = 1; break
          :: else
          fi }
        if
        :: present < token -> bury(present)
        :: present >= token ->
           if
           :: generation != g -> goto undo
           :: else ->
              atomic {
                if
                :: writer == present -> writer = 0
                :: else
                fi }
           fi
        fi
     od;
     atomic {
       holds[me] = 1; hold_id[me]++;
       assert(!late);
       assert(!lane_exclusive[g] || lane_shared[g] == 0);
       assert(g != generation || abandoned >= owed) }
     if
     :: exclusive -> check_token()
     :: else
     fi;
     atomic { token = 0; found = 0; owed = 0; present = 0 }
#ifdef CHANGE
     if
     :: exclusive -> /* downgrade */
        atomic {
          if
          :: generation == g -> ending[me] = 1
          :: else -> goto release
          fi }
        atomic {
          if
          :: writer == token_of[me] -> writer = 0
          :: else
          fi }
        atomic { lane_exclusive[g] = 0; lane_shared[g] = 1; locked_exclusive[me] = 0; ending[me] = 0; exclusive = 0 }
     :: !exclusive -> /* upgrade */
        if
        :: generation != g -> goto release
        :: else
        fi;
        atomic {
          if
          :: lane_shared[g] == 1 ->
             lane_shared[g] = 0; lane_exclusive[g] = 1; locked_exclusive[me] = 1; exclusive = 1; holds[me] = 0
          :: else -> goto release
          fi }
        goto words
     :: true
     fi;
#endif
#ifdef KEEP
     if
     :: atomic {
          if
          :: generation == g -> ending[me] = 1
          :: else -> goto release
          fi }
#ifndef KEPT_MARKED
        if
        :: exclusive ->
           atomic {
             if
             :: writer == token_of[me] -> writer = 0
             :: else
             fi }
        :: else
        fi;
#endif
        atomic { holds[me] = 0; ending[me] = 0; kept[me] = 1 }
        if
        :: atomic { again < 1 -> again = 1; kept[me] = 0; late = generation != g }
#ifndef KEPT_LATE
           take_token();
#endif
#ifndef KEPT_BLIND
           if
           :: generation != g -> goto undo
           :: else
           fi;
#endif
#ifdef KEPT_LATE
           take_token();
#endif
           goto mark
        :: atomic { kept[me] = 0; unlock(); goto next }
        fi
     :: true
     fi;
#endif
release:
     /* colockp_hold_end, colockp_lane_unlock */
     atomic {
       if
       :: generation == g -> ending[me] = 1
       :: else
       fi }
#ifndef CLEAR_LATE
     if
     :: ending[me] && exclusive ->
        atomic {
          if
#ifdef CLEAR_BLIND
          :: true -> assert(writer == token_of[me] || !ANY_LIVE(writer)); writer = 0
#else
          :: writer == token_of[me] -> writer = 0
          :: else
#endif
          fi }
     :: else
     fi;
     atomic { unlock(); holds[me] = 0; ending[me] = 0 }
#else
     atomic { unlock(); holds[me] = 0 }
     if
     :: ending[me] && exclusive ->
        atomic {
          if
          :: writer == token_of[me] -> writer = 0
          :: else
          fi }
     :: else
     fi;
     ending[me] = 0;
#endif
     goto next;
undo:
     atomic { unlock(); holds[me] = 0 }
     goto anew;
next:
     atomic { token = 0; found = 0; owed = 0; present = 0; g = 0; exclusive = 0; late = 0; again = 0 }
  :: break
  od
}

inline mourn(p) {
  if
  :: WRITES(p) && mourned < token_of[p] -> mourned = token_of[p]
  :: else
  fi
}

/* colockp_force_break: the generation that was judged, by compare-and-swap */
proctype Breaker() {
  byte p, g, id;
  atomic {
    if
    :: p = 0
    :: p = 1
#if N > 2
    :: p = 2
#endif
    fi;
    if
    :: (holds[p] || kept[p]) && lane_of[p] == generation -> g = generation; id = hold_id[p]
    :: else -> goto out
    fi }
  if
  :: (holds[p] || kept[p]) && hold_id[p] == id && lane_of[p] == g /* it lasts */
  :: else -> goto out
  fi;
  atomic {
#ifdef BREAK_BLIND
    assert(generation == g);
#endif
    if
    :: generation == g ->
       p = 0;
       do
       :: p < N ->
          if
          :: lane_of[p] == g -> mourn(p)
          :: else
          fi;
          p++
       :: else -> break
       od;
       generation = g + 1
    :: else
    fi }
out:
  skip
}

proctype Fate() {
  byte p;
  do
  :: atomic {
       crashes > 0 -> crashes--;
       if
       :: p = 0
       :: p = 1
#if N > 2
       :: p = 2
#endif
       fi;
       if
       :: killed[p]
       :: else ->
          mourn(p);
          if
          :: locked[p] && locked_exclusive[p] -> lane_exclusive[lane_of[p]] = 0
          :: locked[p] && !locked_exclusive[p] -> lane_shared[lane_of[p]]--
          :: else
          fi;
          killed[p] = 1; locked[p] = 0; locked_exclusive[p] = 0; holds[p] = 0; ending[p] = 0
       fi;
       p = 0 }
  :: break
  od
}

init {
  atomic {
    byte k = 0;
    do
    :: k < N -> run Process(k); k++
    :: else -> break
    od;
    k = 0;
    do
    :: k < BREAKERS -> run Breaker(); k++
    :: else -> break
    od;
#if CRASHES > 0
    run Fate()
#endif
  }
}

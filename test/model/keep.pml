/* keep.pml - locks that are kept after their release, and their recall: cache.c, helper.c, recall.c, leave.c, lane.c.
 *
 * With `auto_release` a seat whose hold has ended keeps LANE and lies in a cell; who takes it out, by compare-and-swap,
 * owns it: a thread to use it again, or the helper thread of the process to let LANE go. No recall is lost: a waiter
 * joins the queue, then changes the recall word; the helper reads that word, says whether it saw a waiter (WANTED),
 * then looks into the cells; who keeps a seat looks at the queue, fills the cell, then looks at WANTED.
 *
 * Modelled: cells by compare-and-swap, RESERVED while a seat is in use; the look at the queue before a seat is kept,
 * and before one that was kept is used; conversion in place, to shared and to exclusive, and letting go of one's own;
 * `attention` (WANTED, by mode, and PARKED, in one word); `look_ns`, the end of a minimum before the look already; the
 * recall word with its ASLEEP bit; the helper's sleep on that word, with or without a timer, once also while what was
 * kept is in use; its park; kicks; unlocking, then ringing.
 *
 * Time: a seat is young for a while after it got LANE (COLOCKP_MINIMUM_NS); that ends at any time, and is over for all
 * once somebody has seen it. Nothing idles out, and there is no tick: who sleeps when nobody can move any more has lost
 * its wake-up or its recall, an invalid end state. Helpers may sleep then, but parked only if nothing is kept.
 *
 * Abstractions: memory is sequentially consistent; the queue is one step to join, to look at, to try and to leave
 * (queue.pml takes it apart, with the flag and the bells); the recall word's version is "changed since I read it";
 * look_ns is "the end of somebody's minimum" or later, and who keeps a seat takes the former for late or not. Without
 * FINE some steps are one: a word that is changed and the wake-up; the words of a cell and its seat; the helper's look
 * at one cell; its going to sleep.
 *
 * Switches:  N threads, P processes (the first has all the others)  S seats a process  LEAVES
 *   ROUNDS acquires of the first thread, OTHERS of each other one (default: ROUNDS; without both: without bound)
 *   K       how many processes have `auto_release` on (default: all); the others keep nothing and have no helper
 *   FINE    smaller steps, see above
 *   EVENTS  a hold of each process has a descriptor for events: the helper looks at them, and never parks
 *   HOOK    with a suspend: only the helper lets the last LANE go; what was written is dirty until then
 *   IDLES   how often colock_release_idle is called
 *   DIES    a process that keeps nothing may die as it recalls, after the change of the word and before the wake-up,
 *           and is forgotten in the queue; each waiter then polls once, when nothing else can move
 * Broken on purpose, named as in lib/broken.h where it has them. A recall is lost, unless said:
 *   KEEP_BLIND      who keeps a seat looks at the queue alone, not at WANTED
 *   KEEP_LATE       ... looks at WANTED and PARKED, then fills the cell (the helper parks while something is kept: an
 *                   assertion)
 *   WANTED_LATE     the helper says WANTED after its look into the cells
 *   RECALL_LATE     the helper reads the recall word after it has looked
 *   RECALL_NOT      who joins the queue does not recall
 *   RECALL_EARLY    ... recalls before it can be seen in the queue
 *   RECALL_SILENT   ... changes the recall word and wakes nobody
 *   RECALL_ONCE     who polls does not recall again (needs DIES)
 *   PARK_BLIND      the helper parks without another look into the cells (an assertion)
 *   LOOK_STALE      look_ns is not set to MAX before a look
 *   YOUNG_LATER     the helper does not note when a minimum is over
 *   LET_GO_SILENT   the helper rings nobody
 *   KICK_PARKED     a kick wakes a helper that is parked, and no other
 *   CONVERT_DIRTY   with HOOK: an exclusive seat serves a shared request by conversion (an assertion)
 *   SUSPEND_TWO  with HOOK, IDLES: a suspend does not wait for the end of another one (an assertion) */
#ifndef N
#define N 2
#endif
#ifndef P
#define P N
#endif
#ifndef S
#define S 2
#endif
#ifndef K
#define K P
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#ifndef IDLES
#define IDLES 0
#endif
#ifdef FINE
#define MERGED
#else
#define MERGED atomic
#endif
#define SEATS      (P * S)
#define NOBODY     SEATS
#define NONE       0 /* no LANE */
#define SHARED     1
#define EXCLUSIVE  2
#define FREE       0 /* a cell: its seat is in the pool */
#define RESERVED   1
#define KEPT       2
#define PROCESS(t) (t > N - P -> t - (N - P) : 0)

/* the kernel: LANE, and which helper sleeps in FUTEX_WAIT on what */
bit lane_exclusive;
byte lane_shared;
bit in_recall[P], in_park[P];
/* the file; by seat, as each has its slot. waits: the mode that is waited for */
byte waits[SEATS];
bit rung[SEATS];
bit asleep;
/* each process's own */
byte cell[SEATS], cell_mode[SEATS];
byte wanted[P];           /* a writer waits, or only readers do: that mode */
bit parked[P];
bit soon[P];              /* look_ns is the end of a minimum; else later, or MAX */
byte has[SEATS];          /* the LANE that the seat has: private to who has the seat */
bit young[SEATS];
#ifdef HOOK
byte lanes[P];
bit dirty[P], suspending[P];
#endif
/* what we know */
bit recalled[P];          /* the recall word is not the one that this helper read */
byte leaves = LEAVES, idles = IDLES;
#ifdef DIES
bit dies = 1, polled[N];
#endif

#ifdef ROUNDS
#ifndef OTHERS
#define OTHERS ROUNDS
#endif
byte round[N];
#define ANOTHER_ROUND (round[me] < (me == 0 -> ROUNDS : OTHERS)) -> round[me]++
#else
#define ANOTHER_ROUND true
#endif
#if P == 1
#define RECALLED recalled[0] = 1
#define WAKE_ALL in_recall[0] = 0
#elif P == 2
#define RECALLED recalled[0] = 1; recalled[1] = 1
#define WAKE_ALL in_recall[0] = 0; in_recall[1] = 0
#else
#define RECALLED recalled[0] = 1; recalled[1] = 1; recalled[2] = 1
#define WAKE_ALL in_recall[0] = 0; in_recall[1] = 0; in_recall[2] = 0
#endif

/* ---- LANE ---- */

/* What is dirty does not leave this process: nor is it shown to readers elsewhere. */
#ifdef HOOK
#define CLEAN(s) assert(has[s] != EXCLUSIVE || !dirty[(s) / S])
#else
#define CLEAN(s) skip
#endif

/* Within an atomic. */
inline attempt(s, m) {
  if
  :: m == EXCLUSIVE && !lane_exclusive && lane_shared == (has[s] == SHARED) ->
     lane_shared = 0; lane_exclusive = 1; has[s] = EXCLUSIVE; got = 1
  :: m == SHARED && has[s] == NONE && !lane_exclusive -> lane_shared++; has[s] = SHARED; got = 1
  :: m == SHARED && has[s] == EXCLUSIVE ->
     CLEAN(s); lane_exclusive = 0; lane_shared = 1; has[s] = SHARED; got = 1
  :: else -> got = 0
  fi
}

inline unlock(s) {
  atomic {
    CLEAN(s);
    if
    :: has[s] == EXCLUSIVE -> lane_exclusive = 0
    :: has[s] == SHARED -> lane_shared--
    :: else
    fi;
    has[s] = NONE }
}

/* Waited for, and young no more: which it is from when somebody has seen that. Within an atomic. */
inline had_its_time(s) {
  if
  :: waited && young[s] -> waited = 0
  :: waited -> young[s] = 0
  :: else
  fi
}

/* ---- the queue ---- */

/* The first writer, and the readers before it. */
inline ring_next() {
  d_step {
    i = 0;
    do
    :: i < SEATS && waits[i] == EXCLUSIVE -> rung[i] = 1; break
    :: i < SEATS && waits[i] != EXCLUSIVE -> rung[i] = waits[i] == SHARED || rung[i]; i++
    :: else -> break
    od;
    i = 0 }
}

/* Does somebody wait whom that mode keeps waiting? Within an atomic. */
inline contended(m, own) {
  i = 0; waited = 0;
  do
  :: i < SEATS -> waited = waited || (i != own && waits[i] != NONE && (m == EXCLUSIVE || waits[i] == EXCLUSIVE)); i++
  :: else -> break
  od;
  i = 0
}

/* ---- recall.c, helper.c: calling the helpers ---- */

inline recall() {
  MERGED {
    atomic { was = asleep; asleep = 0; RECALLED }
    if
    :: was -> atomic { was = 0; WAKE_ALL }
    :: else
    fi }
}

inline kick(p) {
  atomic { was = parked[p]; parked[p] = 0 }
  if
  :: was -> atomic { was = 0; in_park[p] = 0 }
#ifdef KICK_PARKED
  :: else
#else
  :: else -> recall()
#endif
  fi
}

/* ---- cache.c ---- */

/* It may be another's from here on. */
inline put_in(s) { MERGED { cell_mode[s] = has[s]; cell[s] = KEPT } }

inline take_out(s) {
  atomic {
    if
    :: cell[s] == KEPT -> cell[s] = RESERVED; got = 1
    :: else -> got = 0
    fi }
}

inline tell_helper() {
  atomic {
    got = parked[p];
#ifndef KEEP_BLIND
    waited = waited || wanted[p] == EXCLUSIVE || wanted[p] == SHARED && mode == EXCLUSIVE
#endif
  }
  if
  :: got -> kick(p)
  :: !got && waited ->
     if
     :: soon[p]
     :: kick(p) /* look_ns is MAX, or after the end of our own minimum */
     fi
  :: else
  fi;
  atomic { got = 0; waited = 0 }
}

/* colockp_hold_end. */
inline end(s) {
#ifdef HOOK
  atomic {
    got = 0;
    if
    :: has[s] != NONE -> lanes[p]--; got = lanes[p] == 0
    :: else
    fi }
  if
  :: got ->
     atomic {
#ifdef SUSPEND_TWO
       assert(!suspending[p]);
#else
       !suspending[p];
#endif
       suspending[p] = 1 }
     atomic { suspending[p] = 0; dirty[p] = 0; got = 0 }
  :: else
  fi;
#endif
  unlock(s);
#ifndef LET_GO_SILENT
  ring_next()
#endif
}

/* colockp_cache_empty, but for one. */
inline let_all_go(but) {
  k = p * S;
  do
  :: k < (p + 1) * S ->
     if
     :: k != but && cell[k] == KEPT ->
        take_out(k);
        if
        :: got -> got = 0; end(k); cell[k] = FREE
        :: else
        fi
     :: else
     fi;
     k++
  :: else -> break
  od;
  k = 0
}

proctype Thread(byte me) {
  byte mode, s = NOBODY, i, k;
  bit got, waited, was;
  byte p = PROCESS(me);
idle:
  atomic {
    if
    :: goto quit
    :: idles > 0 -> idles--; mode = NONE
    :: ANOTHER_ROUND; mode = SHARED
    :: ANOTHER_ROUND; mode = EXCLUSIVE
    fi }
  if
  :: mode == NONE -> let_all_go(NOBODY); goto idle
  :: else
  fi;
  d_step { /* one of that mode, else any */
    i = p * S; k = NOBODY; s = NOBODY;
    do
    :: i < (p + 1) * S ->
       if
       :: cell[i] == KEPT && cell_mode[i] == mode -> s = i
       :: cell[i] == KEPT && cell_mode[i] != mode -> k = i
       :: else
       fi;
       i++
    :: else -> break
    od;
    s = (s == NOBODY -> k : s); i = 0; k = 0;
    if
    :: s != NOBODY -> cell[s] = RESERVED
    :: else
    fi }
  if
  :: s == NOBODY -> goto seatless
  :: else
  fi;
  atomic { contended(has[s], s); had_its_time(s) }
#if defined(HOOK) && !defined(CONVERT_DIRTY)
  mode = (has[s] == EXCLUSIVE -> EXCLUSIVE : mode);
#endif
  if
  :: waited -> waited = 0; goto cannot
  :: !waited && has[s] == mode -> goto held
  :: else
  fi;
  if
  :: mode == EXCLUSIVE -> let_all_go(s)
  :: else
  fi;
  atomic { attempt(s, mode) }
  if
  :: got && mode == SHARED -> ring_next(); goto held
  :: got && mode == EXCLUSIVE -> goto held
  :: else
  fi;
cannot:
#ifdef HOOK
  put_in(s);
  s = NOBODY;
  kick(p);
#else
  end(s);
#endif
seatless:
  if
  :: s == NOBODY ->
     atomic {
       i = p * S;
       do
       :: i < (p + 1) * S && cell[i] != FREE -> i++
       :: else -> break
       od;
       s = i; i = 0 }
     if
     :: s < (p + 1) * S ->
        atomic {
          if
          :: cell[s] == FREE -> cell[s] = RESERVED
          :: else -> s = NOBODY
          fi }
        if
        :: s == NOBODY -> goto seatless
        :: else
        fi
     :: else -> atomic { s = NOBODY; goto seatless }
     fi
  :: else
  fi;
  atomic {
    contended(EXCLUSIVE, NOBODY);
    if
    :: !waited -> attempt(s, mode)
    :: else -> waited = 0
    fi }
  if
  :: got -> goto granted
  :: else
  fi;
#ifdef RECALL_EARLY
  recall();
#endif
  waits[s] = mode;
#ifdef DIES
  if
  :: atomic { dies && p >= K -> dies = 0; asleep = 0; RECALLED; waits[s] = NONE; goto quit }
  :: true
  fi;
#endif
#ifdef RECALL_SILENT
  atomic { RECALLED }
#elif !defined(RECALL_NOT) && !defined(RECALL_EARLY)
  recall();
#endif
turn:
  atomic {
    rung[s] = 0;
    do /* those before us that conflict */
    :: i < s -> waited = waited || (waits[i] != NONE && (mode == EXCLUSIVE || waits[i] == EXCLUSIVE)); i++
    :: else -> break
    od;
    i = 0;
    if
    :: !waited -> attempt(s, mode)
    :: else -> waited = 0
    fi }
  if
  :: got -> waits[s] = NONE; goto granted
  :: else
  fi;
  if
  :: rung[s] -> goto turn
  :: atomic { leaves > 0 -> leaves-- }
#ifdef DIES
  :: atomic {
       timeout && !dies && !polled[me] -> polled[me] = 1;
#ifndef RECALL_ONCE
       RECALLED; asleep = 0; WAKE_ALL;
#endif
       goto turn }
#endif
  fi;
  waits[s] = NONE;
  ring_next();
  cell[s] = FREE;
  s = NOBODY;
  goto idle;
granted:
  atomic {
    got = 0; young[s] = 1;
#ifdef HOOK
    lanes[p]++
#endif
  }
held:
  atomic {
    got = 0;
    assert(!lane_exclusive || lane_shared == 0);
    assert(cell[s] == RESERVED && has[s] == mode);
    assert(mode == EXCLUSIVE && lane_exclusive || mode == SHARED && lane_shared > 0);
#ifdef HOOK
    assert(!suspending[p] || mode == SHARED); /* a suspend beside readers is allowed */
    dirty[p] = dirty[p] || mode == EXCLUSIVE
#endif
  }
  atomic { contended(mode, s) }
#ifndef HOOK
  if
  :: waited ->
     atomic { had_its_time(s) }
     if
     :: waited -> waited = 0; goto give_up
     :: else -> waited = 1
     fi
  :: else
  fi;
#endif
  if
  :: p >= K ->
     waited = 0;
give_up:
     end(s); cell[s] = FREE; s = NOBODY; goto idle
  :: else
  fi;
#ifdef KEEP_LATE
  tell_helper();
  put_in(s);
#else
  put_in(s);
  tell_helper();
#endif
  s = NOBODY;
  goto idle;
quit:
  skip
}

proctype Helper(byte p) {
  byte s, i, k, until; /* until: seats for the end of whose minimum it sleeps */
  bit got, waited, was, seen, later, idle;
  byte whom; /* who waits: as WANTED */
again:
#ifndef RECALL_LATE
  atomic { recalled[p] = 0; seen = asleep }
#endif
#ifndef LOOK_STALE
  soon[p] = 0;
#endif
  atomic {
    contended(SHARED, NOBODY);
    if
    :: waited -> whom = EXCLUSIVE
    :: else ->
       contended(EXCLUSIVE, NOBODY);
       if
       :: waited -> whom = SHARED
       :: else
       fi
    fi;
    waited = 0 }
#ifndef WANTED_LATE
  wanted[p] = whom;
#endif
  atomic { /* in use now, and perhaps kept when its minimum is over */
    s = p * S;
    do
    :: s < (p + 1) * S ->
       if
#ifndef YOUNG_LATER
       :: whom != NONE && young[s] -> until = until | (1 << (s - p * S))
       :: whom != NONE -> young[s] = 0
#endif
       :: else
       fi;
       s++
    :: else -> break
    od;
    s = p * S;
    if
    :: until != 0 -> soon[p] = 1
    :: else
    fi }
  do
  :: s < (p + 1) * S ->
     MERGED {
       if
       :: cell[s] == KEPT ->
          k = cell_mode[s];
          atomic { contended(k, s); k = 0; later = later || !waited }
          if
          :: waited ->
             atomic {
               had_its_time(s);
               if
               :: waited
#ifdef YOUNG_LATER
               :: else -> later = 1
#else
               :: else -> until = until | (1 << (s - p * S))
#endif
               fi }
          :: else
          fi
       :: else
       fi }
     if
     :: waited ->
        waited = 0;
        take_out(s);
        if
        :: got -> got = 0; end(s); cell[s] = FREE
        :: else
        fi
     :: else
     fi;
     s++
  :: else -> break
  od;
#ifdef WANTED_LATE
  wanted[p] = whom;
#endif
  atomic {
    s = 0; whom = NONE;
#ifdef EVENTS
    later = 1
#endif
  }
#ifdef RECALL_LATE
  atomic { recalled[p] = 0; seen = asleep }
#endif
  atomic { /* at one look only, and somebody has it in use: it will be kept again */
    i = p * S;
    do
    :: i < (p + 1) * S && cell[i] == FREE -> i++
    :: else -> break
    od;
    if
    :: until == 0 && !later && !idle && i < (p + 1) * S -> idle = 1; soon[p] = 0
    :: until == 0 && !later -> i = 0; goto park
    :: until != 0 || later -> idle = 0; soon[p] = until != 0
    fi;
    i = 0 }
  MERGED {
    atomic {
      later = 0;
      if
      :: recalled[p] || asleep && !seen -> seen = 0; until = 0; goto again
      :: else -> asleep = 1; seen = 0
      fi }
    atomic {
      if
      :: recalled[p] -> until = 0; goto again
      :: else -> in_recall[p] = 1
      fi } }
end_asleep:
  if
  :: atomic { !in_recall[p] -> until = 0; goto again }
  :: atomic {
       until != 0 -> in_recall[p] = 0; s = p * S;
       do
       :: s < (p + 1) * S && until & (1 << (s - p * S)) -> young[s] = 0; break
       :: s < (p + 1) * S -> s++
       :: else -> break
       od;
       s = 0; until = 0; goto again }
  fi;
park:
  atomic { seen = 0; idle = 0; parked[p] = 1 }
#ifndef PARK_BLIND
  d_step { i = p * S; do :: i < (p + 1) * S -> got = got || cell[i] == KEPT; i++ :: else -> break od; i = 0 }
#endif
  atomic {
    if
    :: !got && parked[p] -> in_park[p] = 1
    :: else -> got = 0
    fi }
end_parked:
  !in_park[p];
  parked[p] = 0;
  goto again
}

init {
  byte k = 0;
  atomic {
    do
    :: k < N -> run Thread(k); k++
    :: else -> break
    od;
    k = 0;
    do
    :: k < K -> run Helper(k); k++
    :: else -> break
    od;
    k = 0 }
end_watch:
  timeout;
  d_step { /* nothing can move: who is parked keeps nothing */
    do
    :: k < SEATS -> assert(!(in_park[k / S] && cell[k] == KEPT)); k++
    :: else -> break
    od }
}

/* crash.pml - the queue when processes are killed or stopped at any step: wait.c, queue.c, stuck.c, watch.c, seat.c.
 *
 * Modelled beyond queue.pml: slots and their SLOT bytes; a process that is killed at any step (the kernel drops its
 * LANE and SLOT bytes, its words stay) and perhaps comes back, in any free slot; one that is stopped at any step,
 * holding LANE too, and perhaps goes on later; bells as queue.c has them, so that a ringer may die between setting
 * RUNG and FUTEX_WAKE, and the next ringer then leaves the waking to it; clearing the dead, passing over the stopped
 * (stuck.c).
 *
 * How a failure is noticed, one of two:
 *   (default)  by polling. A waiter polls only when nothing else in the system can move, and once a failure: so the
 *              model shows that one poll interval after each failure is enough, and that without failures none is
 *              needed. A grace time ends then, too.
 *   WATCH      by the watch alone, for deaths: no waiter polls, as with COLOCKP_NO_POLLING. One that is near the front
 *              wakes once by itself, to begin watching and look again. If a process dies, each that watches by then
 *              rings, some time later and once, the first FRONT in line and whoever has been rung and still sleeps.
 *              Who is rung while others stand ahead looks whether they live. Who leaves rings those of the first two
 *              that do not watch yet.
 * Stuck is a waiter that runs, sleeps, may not poll any more, and waits for nobody who is stopped holding LANE: the
 * monitor looks for one whenever nothing can move.
 *
 * Abstractions: a scan of the queue is one step (queue.pml takes it apart); keys are freely chosen of two, ties as in
 * the code by slot; a phase that ends moves all readers that wait then to the very front; a flag's version is "changed
 * since I read it"; without WATCH a ring alone is no reason to look after the others, though the code does it: polls
 * have to be enough; there are no upgrades (queue.pml has them).
 *
 * Switches:  N processes  CRASHES  STOPS  ROUNDS acquires a life (default: without bound)  FRONT how many watch
 *   SLOTS (default: N)  PHASE: an exclusive hold that ends moves the readers up
 *
 * Broken on purpose, named as in lib/broken.h where it has them:
 *   REAP_UNLOCKED      a rank is cleared without the SLOT byte              -> a live waiter's rank vanishes
 *   REAP_UNLOCK_EARLY  the SLOT byte is given back before the rank is gone  -> a new owner's rank vanishes
 *   NO_PASS            a stopped waiter is never passed over                -> those behind it are stuck
 *   WATCH_HEAD         an event of the watch rings only who may go by the words: a dead head's bell, and none of those
 *                      behind
 *   WATCH_FREE         an event of the watch rings nobody while LANE is held exclusively
 *   WATCH_LAZY         who is rung and still has somebody ahead does not look whether that one lives
 *   RING_GROUP         after an exclusive hold the readers that moved up are rung, but not the writer behind them,
 *                      though all of them may be dead (needs PHASE, and SLOTS above N)
 * The last four need WATCH. The two REAP ones show with POLL_ANY: polls come at any time, once a failure, and there is
 * no monitor, only the assertions. */
#ifndef N
#define N 2
#endif
#ifndef SLOTS
#define SLOTS N
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef FRONT
#define FRONT 4
#endif

#ifdef POLL_ANY
#define POLL_WHEN true
#else
#define POLL_WHEN timeout
#endif

#define SHARED    0
#define EXCLUSIVE 1
#define KEY_MOVED 1 /* that of a reader that was there when a phase ended */
#define KEY_LOW   2
#define KEY_HIGH  3
#define RUNG      1
#define ASLEEP    2
#define WATCHES   4 /* COLOCKP_BELL_WATCH */

/* the kernel: LANE, SLOT bytes (the process + 1), who sleeps on the bell of a slot */
bit lane_exclusive;
byte lane_shared;
byte slot_byte[SLOTS];
bit sleeping[SLOTS];
/* the file */
byte key[SLOTS];
bit exclusive[SLOTS], passed[SLOTS];
bit flag;
byte bell[SLOTS];
/* what processes know, or what we know of them */
bit flag_moved[N]; /* the flag word is not the one that this process read last */
bit holds_shared[N], holds_exclusive[N];
bit waits[N]; /* in FUTEX_WAIT, or about to return from it */
bit killed[N], stopped[N], gone[N];
bit watching[N], event[N];
bit in_grace[N]; /* LANE was free, and those ahead have been rung: wakes when the grace time ends */
byte crashes = CRASHES, stops = STOPS, failures, polls[N];

#ifdef ROUNDS
byte round[N];
#define ANOTHER_ROUND (round[me] < ROUNDS) -> round[me]++
#else
#define ANOTHER_ROUND true
#endif

#define BEFORE(a, i, b, j) (a < b || (a == b && i < j))
#define STANDS_BEFORE(i, j) (key[i] != 0 && i != j && BEFORE(key[i], i, key[j], j))
#define WAITS(i)           (key[i] != 0 && !passed[i])
#define IS_WRITER(i)       (WAITS(i) && exclusive[i])
#define WRITES_BEFORE(i, j) (i != j && IS_WRITER(i) && BEFORE(key[i], i, key[j], j))
#define CONFLICTS(i, j)    (i != j && WAITS(i) && BEFORE(key[i], i, key[j], j) && (exclusive[j] || exclusive[i]))
#define HOLDS(p)           (holds_shared[p] || holds_exclusive[p])
#define SLEEPS(p)          (waits[p] && !stopped[p])
#ifdef WATCH
#define MAY_POLL(p)        false
#else
#define MAY_POLL(p)        (SLEEPS(p) && (in_grace[p] || polls[p] < failures))
#endif
#if SLOTS == 2
#define ANY(what, j)       (what(0, j) || what(1, j))
#define PLACE(j)           (STANDS_BEFORE(0, j) + STANDS_BEFORE(1, j))
#else
#define ANY(what, j)       (what(0, j) || what(1, j) || what(2, j))
#define PLACE(j)           (STANDS_BEFORE(0, j) + STANDS_BEFORE(1, j) + STANDS_BEFORE(2, j))
#endif
#define MAY_GO(j)          (WAITS(j) && !ANY(CONFLICTS, j))
#define FIRST_WRITER(j)    (IS_WRITER(j) && !ANY(WRITES_BEFORE, j))
#if N == 2
#define FLAG_MOVES         flag_moved[0] = 1; flag_moved[1] = 1
#define STOPPED_HOLDER     (stopped[0] && HOLDS(0) || stopped[1] && HOLDS(1))
#define SOMEBODY_STUCK     ((SLEEPS(0) || SLEEPS(1)) && !(MAY_POLL(0) || MAY_POLL(1)))
#else
#define FLAG_MOVES         flag_moved[0] = 1; flag_moved[1] = 1; flag_moved[2] = 1
#define STOPPED_HOLDER     (stopped[0] && HOLDS(0) || stopped[1] && HOLDS(1) || stopped[2] && HOLDS(2))
#define SOMEBODY_STUCK     ((SLEEPS(0) || SLEEPS(1) || SLEEPS(2)) && !(MAY_POLL(0) || MAY_POLL(1) || MAY_POLL(2)))
#endif

inline attempt() {
  atomic {
    if
    :: mode == EXCLUSIVE && !lane_exclusive && lane_shared == 0 ->
       lane_exclusive = 1; holds_exclusive[me] = 1; got = 1
    :: mode == SHARED && !lane_exclusive -> lane_shared++; holds_shared[me] = 1; got = 1
    :: else -> got = 0
    fi
  }
}

/* queue.c ring_next(), in two steps a waiter: its bell, then the wake-up. The owner of a bell that is not ASLEEP is
 * awake; if it is RUNG too, somebody is about to wake it, or has died over that. `both`: the first writer too. */
inline ring_next(both) {
  j = 0;
  do
  :: j < SLOTS ->
     if
     :: atomic { MAY_GO(j) || both && FIRST_WRITER(j) -> before = bell[j]; bell[j] = before | RUNG }
        if
        :: (before & (ASLEEP | RUNG)) == ASLEEP -> sleeping[j] = 0
        :: else
        fi;
        before = 0
     :: else
     fi;
     j++
  :: else -> break
  od;
  j = 0
}

/* queue.c colockp_queue_ring(): who may go, with a wake-up in any case. */
inline ring_hard() {
  d_step {
    i = 0;
    do
    :: i < SLOTS && MAY_GO(i) -> bell[i] = bell[i] | RUNG; sleeping[i] = 0; i++
    :: i < SLOTS && !MAY_GO(i) -> i++
    :: i >= SLOTS -> break
    od;
    i = 0 }
}

#ifdef WATCH
/* queue.c ring_who_should_watch(): who came behind many others, and is one of the first two by now. */
inline ring_who_should_watch() {
  d_step {
    i = 0;
    do
    :: i < SLOTS && WAITS(i) && PLACE(i) < 2 && !(bell[i] & WATCHES) -> bell[i] = bell[i] | RUNG; sleeping[i] = 0; i++
    :: i < SLOTS && !(WAITS(i) && PLACE(i) < 2 && !(bell[i] & WATCHES)) -> i++
    :: i >= SLOTS -> break
    od;
    i = 0 }
}
#define RING_WATCHERS ring_who_should_watch();
#define WATCH_BIT (watching[me] -> WATCHES : 0)
#else
#define RING_WATCHERS
#define WATCH_BIT 0
#endif

inline clear_flag_if_empty() {
  flag_moved[me] = 0;
  if
  :: flag ->
     d_step { i = 0; got = 0; do :: i < SLOTS -> got = got || key[i] != 0; i++ :: else -> break od; i = 0 }
     atomic {
       if
       :: !got && flag && !flag_moved[me] -> flag = 0; FLAG_MOVES
       :: else
       fi;
       got = 0; flag_moved[me] = 0 }
  :: else -> flag_moved[me] = 0
  fi
}

proctype Process(byte me) provided (!stopped[me]) {
  bit mode, got, blocked, check, changed, rung, front, graced;
  byte i, j, slot, before;
alive: {
  /* seat.c: try_slot, move_in */
  atomic {
    if
    :: slot_byte[0] == 0 -> slot = 0
    :: slot_byte[1] == 0 -> slot = 1
#if SLOTS > 2
    :: slot_byte[2] == 0 -> slot = 2
#endif
    :: else -> goto out
    fi;
    slot_byte[slot] = me + 1;
    changed = key[slot] != 0 }
  if
  :: changed ->
     atomic { key[slot] = 0; passed[slot] = 0; changed = 0 }
     ring_next(false); RING_WATCHERS clear_flag_if_empty()
  :: else
  fi;
idle:
  atomic {
    mode = 0; got = 0; check = 0;
    if
    :: goto quit
    :: ANOTHER_ROUND; mode = SHARED
    :: ANOTHER_ROUND; mode = EXCLUSIVE
    fi }
  /* a newcomer, barging or not */
  if
  :: attempt();
     if
     :: got -> goto held
     :: else
     fi
  :: true
  fi;
  /* queue.c: publish */
  atomic {
    if
    :: key[slot] = KEY_LOW
    :: key[slot] = KEY_HIGH
    fi;
    exclusive[slot] = mode; passed[slot] = 0 }
  atomic { flag = 1; FLAG_MOVES; polls[me] = 0; check = 1 } /* wait.c begin(): the first turn looks after the others */
turn:
#ifdef WATCH
  atomic { rung = bell[slot] & RUNG; bell[slot] = WATCH_BIT }
#else
  bell[slot] = 0;
#endif
  atomic { assert(key[slot] != 0); passed[slot] = 0 }
  if
  :: MAY_GO(slot) ->
     attempt();
     if
     :: got -> goto granted
     :: else
     fi
  :: else -> blocked = 1
  fi;
  /* look_is_due() */
  atomic {
#ifdef WATCH
    front = PLACE(slot) < FRONT;
    if
    :: rung && front && !watching[me] -> watching[me] = 1; rung = 0; blocked = 0; check = 1; goto turn
    :: else
    fi;
#ifndef WATCH_LAZY
    check = check || rung;
#endif
    rung = 0;
#endif
    if
    :: blocked && check -> check = 0; blocked = 0; goto stuck
    :: else -> check = 0; blocked = 0; graced = 0
    fi }
sleep:
  atomic {
    if
    :: bell[slot] == WATCH_BIT -> bell[slot] = WATCH_BIT | ASLEEP
    :: else -> goto turn
    fi }
  atomic {
    if
    :: bell[slot] == (WATCH_BIT | ASLEEP) -> sleeping[slot] = 1; waits[me] = 1
    :: else -> goto turn
    fi }
  if
  :: atomic { !sleeping[slot] -> waits[me] = 0 } goto turn
#ifdef WATCH
  :: atomic { !watching[me] && front -> watching[me] = 1; sleeping[slot] = 0; waits[me] = 0; check = 1 } goto turn
#else
  :: atomic {
       POLL_WHEN && in_grace[me] ->
       in_grace[me] = 0; graced = 1; sleeping[slot] = 0; waits[me] = 0; check = 1; goto turn }
  :: atomic {
       POLL_WHEN && !in_grace[me] && polls[me] < failures ->
       polls[me]++; sleeping[slot] = 0; waits[me] = 0; check = 1; goto turn }
#endif
  fi;
stuck:
  atomic { j = 0; blocked = 0 }
  do
  :: j < SLOTS ->
     if
     :: CONFLICTS(j, slot) ->
        if
#ifdef REAP_UNLOCKED
        :: slot_byte[j] == 0 -> atomic { key[j] = 0; passed[j] = 0; changed = 1 }
#else
        :: atomic { slot_byte[j] == 0 -> slot_byte[j] = me + 1 }
#ifdef REAP_UNLOCK_EARLY
           slot_byte[j] = 0;
           atomic { key[j] = 0; passed[j] = 0; changed = 1 }
#else
           atomic { key[j] = 0; passed[j] = 0; changed = 1 }
           slot_byte[j] = 0
#endif
#endif
#if STOPS > 0
#ifndef NO_PASS
        :: slot_byte[j] != 0 && !lane_exclusive && lane_shared == 0 ->
           atomic {
             in_grace[me] = !graced;
             if
             :: graced && CONFLICTS(j, slot) && (bell[j] & RUNG) -> passed[j] = 1; changed = 1
             :: else
             fi }
#endif
#endif
        :: else
        fi
     :: else
     fi;
     j++
  :: else -> break
  od;
  atomic { j = 0; graced = 0 }
  if
  :: changed -> atomic { changed = 0; in_grace[me] = 0 } ring_hard(); ring_next(false); RING_WATCHERS goto turn
  :: !changed && in_grace[me] -> ring_hard(); goto sleep
  :: else -> goto sleep
  fi;
granted:
  atomic {
    key[slot] = 0; passed[slot] = 0;
    check = 0; rung = 0; front = 0; blocked = 0; graced = 0; got = 0;
    in_grace[me] = 0; watching[me] = 0; event[me] = 0 }
#ifdef WATCH
  ring_who_should_watch();
#endif
  clear_flag_if_empty();
  bell[slot] = 0;
held:
  assert(!lane_exclusive || lane_shared == 0);
  assert(slot_byte[slot] == me + 1);
#ifdef PHASE
  d_step { /* end_phase */
    i = 0;
    do
    :: i < SLOTS && mode == EXCLUSIVE && flag && key[i] != 0 && !exclusive[i] -> key[i] = KEY_MOVED; i++
    :: i < SLOTS && !(mode == EXCLUSIVE && flag && key[i] != 0 && !exclusive[i]) -> i++
    :: i >= SLOTS -> break
    od;
    i = 0 }
#endif
  atomic {
    got = 0;
    if
    :: mode == EXCLUSIVE -> lane_exclusive = 0
    :: else -> lane_shared--
    fi;
    holds_exclusive[me] = 0; holds_shared[me] = 0 }
  if
#ifdef RING_GROUP
  :: flag -> ring_next(mode == SHARED)
#else
  :: flag -> ring_next(true)
#endif
  :: else
  fi;
  goto idle;
quit:
  atomic { gone[me] = 1; slot_byte[slot] = 0; watching[me] = 0; event[me] = 0 }
} unless {
  atomic {
    killed[me] -> killed[me] = 0;
    mode = 0; got = 0; blocked = 0; check = 0; changed = 0; rung = 0; front = 0; graced = 0;
    before = 0; i = 0; j = 0; slot = 0;
    if
    :: goto alive
    :: gone[me] = 1; goto out
    fi }
}
out:
  skip
}

/* Who is killed, stopped, continued, and when. */
proctype Fate() {
  byte p, k;
  do
  :: atomic {
       crashes > 0 -> crashes--; failures++;
       if
       :: p = 0
       :: p = 1
#if N > 2
       :: p = 2
#endif
       fi;
       if
       :: gone[p] || stopped[p] || killed[p]
       :: else ->
          if
          :: holds_exclusive[p] -> lane_exclusive = 0
          :: holds_shared[p] -> lane_shared--
          :: else
          fi;
          holds_exclusive[p] = 0; holds_shared[p] = 0;
          waits[p] = 0; watching[p] = 0; event[p] = 0; polls[p] = 0; in_grace[p] = 0;
          k = 0;
          do
          :: k < SLOTS ->
             if
             :: slot_byte[k] == p + 1 -> slot_byte[k] = 0; sleeping[k] = 0
             :: else
             fi;
             k++
          :: else -> break
          od;
          k = 0;
          do
          :: k < N -> event[k] = watching[k]; k++
          :: else -> break
          od;
#ifdef ROUNDS
          round[p] = 0;
#endif
          k = 0; killed[p] = 1
       fi;
       p = 0 }
#if STOPS > 0
  :: atomic {
       stops > 0 -> stops--; failures++;
       if
       :: p = 0
       :: p = 1
#if N > 2
       :: p = 2
#endif
       fi;
       if
       :: gone[p] || killed[p]
       :: else -> stopped[p] = 1
       fi;
       p = 0 }
  :: atomic { stopped[0] -> stopped[0] = 0; failures++ }
  :: atomic { stopped[1] -> stopped[1] = 0; failures++ }
#if N > 2
  :: atomic { stopped[2] -> stopped[2] = 0; failures++ }
#endif
#endif
  :: break
  od
}

#ifdef WATCH
/* watch.c, queue.c colockp_queue_ring_front(): one thread a process; all that it does for one event is one step. */
proctype Watch(byte me) {
  byte k;
end:
  do
  :: d_step {
       event[me] -> event[me] = 0; k = 0;
       do
       :: k < SLOTS ->
          if
#ifdef WATCH_FREE
          :: lane_exclusive
#endif
#ifdef WATCH_HEAD
          :: MAY_GO(k) -> bell[k] = bell[k] | RUNG; sleeping[k] = 0
#else
          :: WAITS(k) && PLACE(k) < FRONT -> bell[k] = bell[k] | RUNG; sleeping[k] = 0
          :: key[k] != 0 && (bell[k] & RUNG) && (bell[k] & ASLEEP) -> sleeping[k] = 0
#endif
          :: else
          fi;
          k++
       :: else -> break
       od;
       k = 0 }
  od
}
#endif

#ifndef POLL_ANY
active proctype Monitor() {
end:
  atomic { timeout && SOMEBODY_STUCK && !STOPPED_HOLDER -> assert(false) }
}
#endif

init {
  atomic {
    byte k = 0;
    do
    :: k < N -> run Process(k);
#ifdef WATCH
       run Watch(k);
#endif
       k++
    :: else -> break
    od;
    run Fate()
  }
}

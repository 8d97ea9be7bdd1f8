/* cache.pml - cached holds and their recall, as designed. lib/ has none yet: this is the protocol to build, checked
 * before.
 *
 * With `auto_release` a released hold keeps its LANE: held -> cached, and the next acquire of its process takes it
 * back (cached -> held) without a system call. Who has to wait asks everyone to let go: publish, flag, fence, one more
 * in the recall word. A helper thread of each process sleeps on that word; it reads it, then looks: if the flag is set
 * it drops what is cached (cached -> recalled, by compare-and-swap; the winner unlocks, then looks at the flag and
 * rings). A release itself stores `cached`, then looks at the flag, and drops the hold if it is set.
 *
 * Modelled: N processes with one seat and one helper each; the queue of queue.pml with its scans in one step.
 * Abstractions as there; the recall word is "changed since this helper read it". States are private memory of a
 * process. A waiter that sleeps when nothing can move any more has lost its wake-up (an invalid end state); helpers
 * may sleep.
 *
 * Switches:  N  LEAVES  ROUNDS acquires a process (default: without bound) Broken on purpose:
 *   CACHE_LATE      release looks at the flag, then stores `cached`
 *   HELPER_LATE     the helper looks, then reads the recall word
 *   HELPER_SILENT   the helper rings nobody after it dropped a hold */
#ifndef N
#define N 2
#endif
#ifndef LEAVES
#define LEAVES 0
#endif
#define SHARED    0
#define EXCLUSIVE 1
#define IDLE      0
#define HELD      1
#define CACHED    2
#define RECALLED  3

/* the kernel */
bit lane_exclusive;
byte lane_shared;
/* the file. Bells as in the abstract: rung since its owner read it last */
byte key[N];
bit exclusive[N], rung[N], flag;
/* each process's own */
byte state[N];
bit held_exclusive[N];
bit flag_moved[N], recalled[N]; /* since this process, this helper, read the word */
byte leaves = LEAVES;

#ifdef ROUNDS
byte round[N];
#define ANOTHER_ROUND (round[me] < ROUNDS) -> round[me]++
#else
#define ANOTHER_ROUND true
#endif
#if N == 2
#define FLAG_MOVES flag_moved[0] = 1; flag_moved[1] = 1
#define RECALL     recalled[0] = 1; recalled[1] = 1
#else
#define FLAG_MOVES flag_moved[0] = 1; flag_moved[1] = 1; flag_moved[2] = 1
#define RECALL     recalled[0] = 1; recalled[1] = 1; recalled[2] = 1
#endif
#define BEFORE(a, i, b, j) (a < b || (a == b && i < j))

inline attempt() {
  atomic {
    if
    :: mode == EXCLUSIVE && !lane_exclusive && lane_shared == 0 -> lane_exclusive = 1; got = 1
    :: mode == SHARED && !lane_exclusive -> lane_shared++; got = 1
    :: else -> got = 0
    fi
  }
}

inline unlock() {
  if
  :: held_exclusive[me] -> lane_exclusive = 0
  :: else -> lane_shared--
  fi
}

inline ring_next() {
  d_step {
    i = 0; place = 0; writer = 0; reader = 0;
    do
    :: i < N ->
       if
       :: key[i] != 0 && exclusive[i] && (place == 0 || BEFORE(key[i], i, place, writer)) -> place = key[i]; writer = i
       :: else
       fi;
       i++
    :: else -> break
    od;
    i = 0;
    do
    :: i < N ->
       if
       :: key[i] != 0 && !exclusive[i] && (place == 0 || BEFORE(key[i], i, place, writer)) -> reader = 1; rung[i] = 1
       :: else
       fi;
       i++
    :: else -> break
    od;
    if
    :: !reader && place != 0 -> rung[writer] = 1
    :: else
    fi;
    i = 0; place = 0; writer = 0; reader = 0 }
}

inline clear_flag_if_empty() {
  flag_moved[me] = 0;
  d_step { i = 0; got = 0; do :: i < N -> got = got || key[i] != 0; i++ :: else -> break od; i = 0 }
  atomic {
    if
    :: !got && flag && !flag_moved[me] -> flag = 0; FLAG_MOVES
    :: else
    fi;
    got = 0; flag_moved[me] = 0 }
}

/* cached -> recalled; the winner unlocks, and rings if asked to. */
inline drop(rings) {
  got = 0;
  atomic {
    if
    :: state[me] == CACHED -> state[me] = RECALLED; got = 1
    :: else
    fi }
  if
  :: got ->
     atomic { unlock(); got = 0 }
     atomic { state[me] = IDLE; held_exclusive[me] = 0 }
     if
     :: rings && flag -> ring_next()
     :: else
     fi
  :: else
  fi
}

proctype Process(byte me) {
  bit mode, got, blocked, reader;
  byte i, place, writer;
idle:
  atomic {
    mode = 0; got = 0; blocked = 0;
    if
    :: goto quit
    :: ANOTHER_ROUND; mode = SHARED
    :: ANOTHER_ROUND; mode = EXCLUSIVE
    fi }
  /* a cached hold of that mode, with the flag clear; else it is dropped */
  if
  :: !flag ->
     atomic {
       if
       :: state[me] == CACHED && held_exclusive[me] == mode -> state[me] = HELD; goto held
       :: else
       fi }
  :: else
  fi;
  drop(1);
  state[me] == IDLE; /* the helper may be about to unlock it */
  if
  :: !flag ->
     attempt();
     if
     :: got -> goto granted
     :: else
     fi
  :: else
  fi;
  atomic {
    if
    :: key[me] = 1
    :: key[me] = 2
    fi;
    exclusive[me] = mode; got = 0 }
  atomic { flag = 1; FLAG_MOVES }
  atomic { RECALL }
turn:
  rung[me] = 0;
  d_step {
    i = 0; blocked = 0;
    do
    :: i < N ->
       if
       :: i != me && key[i] != 0 && BEFORE(key[i], i, key[me], me) && (mode || exclusive[i]) -> blocked = 1
       :: else
       fi;
       i++
    :: else -> break
    od;
    i = 0 }
  if
  :: !blocked ->
     attempt();
     if
     :: got -> goto leave
     :: else
     fi
  :: else -> blocked = 0
  fi;
  if
  :: rung[me] -> goto turn
  :: atomic { leaves > 0 -> leaves-- }
  fi;
  key[me] = 0;
  ring_next();
  clear_flag_if_empty();
  goto idle;
leave:
  key[me] = 0;
  clear_flag_if_empty();
granted:
  atomic { got = 0; state[me] = HELD; held_exclusive[me] = mode }
held:
  assert(!lane_exclusive || lane_shared == 0);
  assert(state[me] == HELD);
  assert(held_exclusive[me] && lane_exclusive || !held_exclusive[me] && lane_shared > 0);
#ifdef CACHE_LATE
  if
  :: flag ->
     atomic { unlock() }
     atomic { state[me] = IDLE; held_exclusive[me] = 0 }
     if
     :: flag -> ring_next()
     :: else
     fi
  :: else -> state[me] = CACHED
  fi;
#else
  state[me] = CACHED;
  if
  :: flag -> drop(1)
  :: else
  fi;
#endif
  goto idle;
quit:
  skip
}

proctype Helper(byte me) {
  bit got, reader;
  byte i, place, writer;
again:
#ifndef HELPER_LATE
  recalled[me] = 0;
#endif
  if
  :: flag ->
#ifdef HELPER_SILENT
     drop(0)
#else
     drop(1)
#endif
  :: else
  fi;
#ifdef HELPER_LATE
  recalled[me] = 0;
#endif
end_asleep:
  recalled[me];
  goto again
}

init {
  atomic {
    byte k = 0;
    do
    :: k < N -> run Process(k); run Helper(k); k++
    :: else -> break
    od
  }
}

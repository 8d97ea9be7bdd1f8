/* queue.pml - the queue, when nobody dies: queue.c, wait.c, upgrade.c, and LANE as acquire.c and hold.c use it.
 *
 * Modelled, one access to what is shared a step: publish (the rank word, the flag); the own bell, the look at those
 * ahead, entry by entry; the try; going to sleep (bell 0 -> ASLEEP, then FUTEX_WAIT, which the kernel does in one
 * step); ring_next in its two passes, each bell in two steps (its word, the wake-up, which is left out when the bell
 * is rung already); leaving with and without a hold; the flag cleared by compare-and-swap; the unlock, then the look
 * at the flag. Newcomers try LANE at any time, which covers barging, a clear flag and COLOCK_NOWAIT alike. The rest of
 * a head that others were faster than twice (wait.c rest()): it sets its own bell to RUNG | ASLEEP and sleeps, and
 * ends that by itself, at any time. No waiter polls: who sleeps when nobody else can move any more has lost its
 * wake-up, an invalid end state.
 *
 * Abstractions: memory is sequentially consistent (what a fence is for is modelled by the swap that it prevents); a
 * wait's deadline comes at any time, LEAVES times in all; keys are KEY_LOW or KEY_HIGH, freely chosen, which covers
 * priorities, tickets that are published late, and ties; the version of the flag is "changed since I read it". The
 * phase is raised by an exclusive holder before its unlock. Keys do not grow here, so that it is not only raised: the
 * holder may store any of the values that matter, which is more than the code does.
 *
 * Switches:  N seats (2, 3)  LEAVES  ROUNDS acquires a seat (default: without bound)
 *   REST     heads may rest
 *   PHASE    with phases
 *   CHANGE   holds are upgraded and downgraded
 *   STAY     so too; a shared hold may last for ever, and then nobody sleeps who could have one beside it
 * Broken on purpose, named as in lib/broken.h where it has them; a wake-up is lost, unless said:
 *   PUBLISH_FENCE   the look and the try come before the rank and the flag can be seen
 *   FLAG_EARLY      release looks at the flag before it unlocks (what RELEASE_FENCE allows the processor to do, too)
 *   RING_EARLY      who leaves rings before its rank is gone
 *   BLIND_CLEAR     the flag is cleared whatever its version is by now
 *   BELL_LATE       the bell is read after the look, not before
 *   RING_ONE        one reader is rung, not all that may go (seen with STAY)
 *   LEAVE_SILENT    who gives up rings nobody
 *   FLAG_ONCE       a flag that is set already is left as it is, with its version
 *   TIE_WAIT        of two with the same key each waits for the other
 *   RUNG_ONLY       who may go tries only if it was rung
 *   WAKE_LOST       who goes to sleep does not look whether it was rung since: bell stored, not compared and swapped
 *   UNDO_SILENT     a try that got LANE and gives it up again (the generation has changed) rings nobody
 *   REST_DEAF       after its rest the head goes to sleep without a look
 *   PHASE_LATE      the phase is raised after the unlock
 *   UPGRADE_BOTH    nobody takes the UPGRADE byte: two upgraders wait for each other (a deadlock)
 *   DOWNGRADE_SILENT  who downgrades rings nobody (seen with STAY) */
#ifndef N
#define N 2
#endif
#ifndef LEAVES
#define LEAVES 0
#endif

#define SHARED      0
#define EXCLUSIVE   1
#define RUNG        1
#define ASLEEP      2
#define KEY_UPGRADE 1
#define PLACES      2 /* what a phase moves readers up by; a unit of priority in layout.h */
#define KEY_LOW     4
#define KEY_HIGH    5

/* the kernel: LANE, UPGRADE, who sleeps in FUTEX_WAIT on a seat's bell */
bit lane_exclusive, upgrade_byte;
byte lane_shared;
bit sleeping[N];
/* the file. Key and mode are one word: they change in one step */
byte key[N];
bit exclusive[N];
bit flag;
byte phase;
byte bell[N];
/* what we know of the seats */
bit flag_moved[N]; /* the flag word is not the one that this seat read last */
byte leaves = LEAVES;

#ifdef ROUNDS
byte round[N];
#define ANOTHER_ROUND (round[me] < ROUNDS) -> round[me]++
#else
#define ANOTHER_ROUND true
#endif
#if N == 2
#define FLAG_MOVES flag_moved[0] = 1; flag_moved[1] = 1
#else
#define FLAG_MOVES flag_moved[0] = 1; flag_moved[1] = 1; flag_moved[2] = 1
#endif
#ifdef TIE_WAIT
#define BEFORE(a, i, b, j) (a < b || (a == b && i != j))
#else
#define BEFORE(a, i, b, j) (a < b || (a == b && i < j))
#endif
/* layout.h colockp_rank_place, with the phase as this scan read it */
#define PLACE(i, p) ((exclusive[i] || key[i] >= p || key[i] <= PLACES) -> key[i] : key[i] - PLACES)

inline attempt() {
  atomic {
    if
    :: up && lane_shared == 1 -> lane_shared = 0; lane_exclusive = 1; got = 1 /* converted in place */
    :: !up && mode == EXCLUSIVE && !lane_exclusive && lane_shared == 0 -> lane_exclusive = 1; got = 1
    :: !up && mode == SHARED && !lane_exclusive -> lane_shared++; got = 1
    :: else -> got = 0
    fi
  }
}

inline publish(k) {
  atomic { key[me] = k; exclusive[me] = mode }
#ifdef FLAG_ONCE
  if
  :: !flag -> atomic { flag = 1; FLAG_MOVES }
  :: else
  fi
#else
  atomic { flag = 1; FLAG_MOVES }
#endif
}

/* queue.c look_ahead() */
inline look_ahead() {
  atomic { seen = phase; i = 0; blocked = 0; place = PLACE(me, seen) }
  do
  :: i < N ->
     atomic {
       if
       :: i != me && key[i] != 0 && BEFORE(PLACE(i, seen), i, place, me) && (mode == EXCLUSIVE || exclusive[i]) ->
          blocked = 1
       :: else
       fi;
       i++ }
  :: else -> break
  od;
  atomic { i = 0; seen = 0; place = 0 }
}

inline ring(k) {
  atomic { before = bell[k]; bell[k] = before | RUNG }
  if
  :: before == ASLEEP -> before = 0; sleeping[k] = 0
  :: else -> before = 0
  fi
}

/* queue.c ring_next(): the first of the writers and of the readers, then whoever of them goes first; `both`: that
 * writer too, after a release: those readers may be dead. */
inline ring_next(both) {
  atomic { seen = phase; i = 0; place = 0; writer = 0; reader_place = 0; reader = 0 }
  do
  :: i < N ->
     atomic {
       if
       :: key[i] != 0 && exclusive[i] && (place == 0 || key[i] < place) -> place = key[i]; writer = i
       :: key[i] != 0 && !exclusive[i] && (reader_place == 0 || PLACE(i, seen) < reader_place) ->
          reader_place = PLACE(i, seen); reader = i
       :: else
       fi;
       i++ }
  :: else -> break
  od;
  atomic { i = 0; first = reader_place == 0 || place != 0 && BEFORE(place, writer, reader_place, reader) }
  if
  :: place != 0 && (first || both) -> ring(writer)
  :: else
  fi;
  if
  :: !first ->
     do
     :: i < N ->
        if
        :: atomic {
             key[i] != 0 && !exclusive[i] && (place == 0 || BEFORE(PLACE(i, seen), i, place, writer)) ->
             before = bell[i]; bell[i] = before | RUNG }
           if
           :: (before & (ASLEEP | RUNG)) == ASLEEP -> sleeping[i] = 0
           :: else
           fi;
           before = 0;
#ifdef RING_ONE
           break
#endif
        :: else
        fi;
        i++
     :: else -> break
     od
  :: else
  fi;
  atomic { i = 0; seen = 0; place = 0; writer = 0; reader_place = 0; reader = 0; first = 0 }
}

inline clear_flag_if_empty() {
  flag_moved[me] = 0;
  if
  :: flag ->
     atomic { i = 0; blocked = 0 }
     do
     :: i < N -> atomic { blocked = blocked || key[i] != 0; i++ }
     :: else -> break
     od;
     atomic {
       if
#ifdef BLIND_CLEAR
       :: !blocked && flag -> flag = 0; FLAG_MOVES
#else
       :: !blocked && flag && !flag_moved[me] -> flag = 0; FLAG_MOVES
#endif
       :: else
       fi;
       i = 0; blocked = 0; flag_moved[me] = 0 }
  :: else -> flag_moved[me] = 0
  fi
}

/* queue.c colockp_queue_leave(), without a hold */
inline leave() {
#ifdef RING_EARLY
  ring_next(false);
  key[me] = 0;
#else
  key[me] = 0;
#ifndef LEAVE_SILENT
  ring_next(false);
#endif
#endif
  clear_flag_if_empty();
  bell[me] = 0
}

inline end_phase() {
  if
  :: true
  :: phase = 0
  :: phase = KEY_LOW + 1
  :: phase = KEY_HIGH + 1
  fi
}

inline released() {
  if
  :: flag -> ring_next(true)
  :: else
  fi
}

proctype Seat(byte me) {
  bit mode, got, blocked, up, rung, first;
  byte i, place, writer, reader_place, reader, seen, before;

idle:
  atomic {
    mode = SHARED; got = 0; up = 0;
    if
    :: goto quit
    :: ANOTHER_ROUND; mode = SHARED
    :: ANOTHER_ROUND; mode = EXCLUSIVE
    fi
  }
  if
  :: attempt();
     if
     :: got -> goto held
#ifdef UNDO_SILENT
     :: atomic { got -> got = 0;
          if
          :: mode == EXCLUSIVE -> lane_exclusive = 0
          :: else -> lane_shared--
          fi }
        goto idle
#endif
     :: else
     fi
  :: true
  fi;
#ifdef PUBLISH_FENCE
  bell[me] = 0;
  look_ahead();
  if
  :: !blocked ->
     attempt();
     if
     :: got -> goto held
     :: else
     fi
  :: else -> blocked = 0
  fi;
#endif
  if
  :: publish(KEY_LOW)
  :: publish(KEY_HIGH)
  fi;
#ifdef PUBLISH_FENCE
  goto sleep;
#endif

turn:
#ifdef RUNG_ONLY
  rung = bell[me] & RUNG;
#endif
#ifndef BELL_LATE
  bell[me] = 0;
#endif
  look_ahead();
  if
#ifdef RUNG_ONLY
  :: !blocked && rung ->
#else
  :: !blocked ->
#endif
     attempt();
     if
     :: got -> goto granted
     :: else
     fi;
#ifdef REST
     if
     :: bell[me] = RUNG | ASLEEP;
        true; /* rests; nothing but the end of the turn has to wake it */
#ifdef REST_DEAF
        bell[me] = 0
#else
        goto turn
#endif
     :: true
     fi
#endif
  :: else -> blocked = 0
  fi;
#ifdef BELL_LATE
  bell[me] = 0;
#endif

sleep:
#ifdef WAKE_LOST
  bell[me] = ASLEEP;
#else
  atomic {
    if
    :: bell[me] == 0 -> bell[me] = ASLEEP
    :: else -> goto turn
    fi }
#endif
  atomic {
    if
    :: bell[me] == ASLEEP -> sleeping[me] = 1
    :: else -> goto turn
    fi }
#ifdef STAY
end:
#endif
  if
  :: !sleeping[me] -> goto turn
  :: atomic { leaves > 0 -> leaves--; sleeping[me] = 0 }
  fi;
  leave();
  if
  :: up -> atomic { upgrade_byte = 0; up = 0; mode = SHARED } goto release
  :: else -> goto idle
  fi;

granted:
  key[me] = 0;
  clear_flag_if_empty();
  bell[me] = 0;
  if
  :: up -> atomic { upgrade_byte = 0; up = 0 }
  :: else
  fi;

held:
  assert(!lane_exclusive || lane_shared == 0);
#ifdef STAY
  if
  :: mode == SHARED -> goto quit /* and hold for ever */
  :: true
  fi;
#endif
#if defined(CHANGE) || defined(STAY)
  if
  :: mode == SHARED -> /* upgrade */
     atomic {
       if
#ifndef UPGRADE_BOTH
       :: upgrade_byte -> goto release /* EDEADLK */
#endif
       :: else -> upgrade_byte = 1; up = 1; got = 0; mode = EXCLUSIVE
       fi }
     attempt();
     if
     :: got -> atomic { upgrade_byte = 0; up = 0 } goto held
     :: else
     fi;
     publish(KEY_UPGRADE);
     goto turn
  :: mode == EXCLUSIVE -> /* downgrade */
#ifdef PHASE
     end_phase();
#endif
     atomic { lane_exclusive = 0; lane_shared = 1; mode = SHARED }
#ifndef DOWNGRADE_SILENT
     released();
#endif
#ifdef STAY
     if
     :: goto quit
     :: true
     fi
#endif
  :: true
  fi;
#endif

release:
#ifdef PHASE
#ifndef PHASE_LATE
  if
  :: mode == EXCLUSIVE -> end_phase()
  :: else
  fi;
#endif
#endif
#ifdef FLAG_EARLY
  blocked = flag;
#endif
  atomic {
    got = 0;
    if
    :: mode == EXCLUSIVE -> lane_exclusive = 0
    :: else -> lane_shared--
    fi
  }
#ifdef FLAG_EARLY
  if
  :: blocked -> blocked = 0; ring_next(true)
  :: else
  fi;
#else
  released();
#endif
#ifdef PHASE_LATE
  if
  :: mode == EXCLUSIVE -> end_phase()
  :: else
  fi;
#endif
  goto idle;

quit:
  skip
}

#ifdef STAY
/* Nobody sleeps who stands behind nobody, and whom nobody who holds keeps out. */
#define KEPT_OUT(i) (lane_exclusive || exclusive[i] && lane_shared > (key[i] == KEY_UPGRADE))
#define BEHIND(i, j) (i != j && key[j] != 0 && (exclusive[i] || exclusive[j]) && \
                      BEFORE(PLACE(j, phase), j, PLACE(i, phase), i))
#if N == 2
#define FIRST(i) (!BEHIND(i, 0) && !BEHIND(i, 1))
#else
#define FIRST(i) (!BEHIND(i, 0) && !BEHIND(i, 1) && !BEHIND(i, 2))
#endif
active proctype Monitor() {
  byte i;
end:
  atomic {
    timeout -> i = 0;
    do
    :: i < N -> assert(!sleeping[i] || KEPT_OUT(i) || !FIRST(i)); i++
    :: else -> break
    od;
    i = 0 }
}
#endif

init {
  atomic {
    byte k = 0;
    do
    :: k < N -> run Seat(k); k++
    :: else -> break
    od
  }
}

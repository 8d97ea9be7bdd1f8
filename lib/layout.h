/* layout.h - every byte of a lock file: offsets, structs, the assertions that hold them still.
 *
 * The file is a contract between processes built at different times. Integers are little-endian and of fixed width.
 * Whatever changes here changes COLOCKP_FINGERPRINT, so that builds that disagree refuse each other.
 * Discipline, said per field: *constant* after layout; *under GUARD*; *any seat* (atomic, any process with a seat);
 * *owner* (the process that has the slot's SLOT byte; all others only copy).
 */
#ifndef COLOCKP_LAYOUT_H
#define COLOCKP_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "colock maps its lock file: only little-endian machines are supported"
#endif
#if ATOMIC_LLONG_LOCK_FREE != 2
#error "colock needs lock-free 64-bit atomics: they are shared between processes"
#endif

#define COLOCKP_MAGIC       "COLOCK\r\n" /* 8 bytes, no NUL; a file mangled by a text-mode copy loses it */
#define COLOCKP_MAGIC_SIZE  8
#define COLOCKP_VERSION     1u
#define COLOCKP_FINGERPRINT 0x10c40003u
#define COLOCKP_PAGE        4096

#define COLOCKP_SLOT_SIZE   (2 * COLOCKP_PAGE)

#define COLOCKP_SLOTS_MIN 32u
#define COLOCKP_SLOTS_MAX 65536u

/* Where the parts of the content lie. Offsets are those of the largest capacity, so that growth moves nothing. */
#define COLOCKP_AT_HEADER 0
#define COLOCKP_AT_QUEUE  COLOCKP_PAGE
#define COLOCKP_AT_BELLS  (COLOCKP_AT_QUEUE + (int64_t)COLOCKP_SLOTS_MAX * 16)
#define COLOCKP_AT_BASES  (COLOCKP_AT_BELLS + (int64_t)COLOCKP_SLOTS_MAX * 4) /* a hole until statistics are reset */
#define COLOCKP_AT_SLOTS  (COLOCKP_AT_BASES + 2 * COLOCKP_BASE_SIZE)
#define COLOCKP_BASE_SIZE (2 * COLOCKP_PAGE)
#define COLOCKP_MAPPED    ((size_t)COLOCKP_AT_BASES) /* header, queue and bells: what every process maps */

/* Lock bytes: no byte of content is ever there. */
#define COLOCKP_BYTE_GUARD    INT64_C(0x40000000)
#define COLOCKP_BYTE_PROBE    INT64_C(0x40000010)
#define COLOCKP_BYTE_SLOT     INT64_C(0x40010000) /* + slot */
#define COLOCKP_BYTE_LANE     INT64_C(0x50000000) /* + generation mod COLOCKP_LANES */
#define COLOCKP_BYTE_UPGRADE  INT64_C(0x60000000) /* + generation mod COLOCKP_LANES */
#define COLOCKP_LANES         (UINT32_C(1) << 28)
#define COLOCKP_ALL_FROM      COLOCKP_BYTE_SLOT /* who has SLOT..UPGRADE whole knows that nobody lives in the file */
#define COLOCKP_ALL_LENGTH    (COLOCKP_BYTE_UPGRADE + (int64_t)COLOCKP_LANES - COLOCKP_ALL_FROM)

enum { COLOCKP_CARRIER_MAPPED = 1, COLOCKP_CARRIER_FILE = 2 };

/* generation word: gen in the low half, its complement in the high half; anything else is damage */
static inline uint64_t colockp_generation_word(uint32_t generation) {
  return (uint64_t)generation | (uint64_t)(uint32_t)~generation << 32;
}
static inline int colockp_generation_valid(uint64_t word) {
  return (uint32_t)word != 0 && (uint32_t)word == (uint32_t)~(uint32_t)(word >> 32);
}
static inline uint32_t colockp_generation_next(uint32_t generation) {
  return generation == UINT32_MAX ? 1 : generation + 1;
}
static inline int64_t colockp_lane(uint32_t generation) {
  return COLOCKP_BYTE_LANE + (int64_t)(generation % COLOCKP_LANES);
}

/* rank word: key << 2 | passed << 1 | exclusive; 0 is not waiting */
#define COLOCKP_RANK_EXCLUSIVE  UINT64_C(1)
#define COLOCKP_RANK_PASSED     UINT64_C(2)
#define COLOCKP_RANK_KEY_SHIFT  2
#define COLOCKP_KEY_BASE        (UINT64_C(1) << 61)
#define COLOCKP_KEY_UPGRADE     UINT64_C(1) /* before all others */
#define COLOCKP_PRIORITY_PLACES 64

/* Where a waiter stands: smaller goes first, equal ones in the order of their slots. Readers whose key is below the
 * phase word waited when an exclusive hold ended: they move up by one unit of priority, so that a reader waits for
 * one writer, not for all that came before it; and 64 places bound how many may overtake a writer that way. */
static inline uint64_t colockp_rank_place(uint64_t rank, uint64_t phase) {
  uint64_t key = rank >> COLOCKP_RANK_KEY_SHIFT;
  return rank & COLOCKP_RANK_EXCLUSIVE || key >= phase || key <= COLOCKP_PRIORITY_PLACES
             ? key
             : key - COLOCKP_PRIORITY_PLACES;
}
static inline int colockp_rank_waits(uint64_t rank) { return rank != 0 && !(rank & COLOCKP_RANK_PASSED); }

/* bell: futex word of one waiter */
#define COLOCKP_BELL_RUNG   1u /* set by who rings, cleared by the owner before it looks at the queue */
#define COLOCKP_BELL_ASLEEP 2u /* set by the owner before FUTEX_WAIT: who rings has to wake. With RUNG: let it rest */
#define COLOCKP_BELL_WATCH  4u /* set by the owner: its process watches the file (watch.h), or cannot */

/* recall: version << 1 | asleep */
#define COLOCKP_RECALL_ASLEEP 1u
#define COLOCKP_RECALL_STEP   2u

/* queue flag: version << 1 | set */
#define COLOCKP_FLAG_SET UINT64_C(1)

/* who forced the lock last: advice, written by the breaker after its break */
struct colockp_forced {
  int64_t  when_wall_ns;
  int32_t  pid;
  uint32_t uid;
  uint32_t generation; /* the one that was revoked */
  uint32_t slot;       /* the holder that was judged; UINT32_MAX: none was known */
  char     program[32];
  char     host[64];
  char     reason[136];
};

struct colockp_header {
  /* identity of the file: constant after layout; magic is stored last */
  char     magic[COLOCKP_MAGIC_SIZE];
  uint32_t version;
  uint32_t fingerprint;
  uint32_t carrier;
  uint32_t reserved0;
  int64_t  created_wall_ns;
  /* written by a layout, rebuild or reset: that is, with the whole SLOT..UPGRADE range locked */
  _Atomic uint64_t device; /* also by who opens the file through another device while no seat is taken */
  char     boot_id[40];
  char     reserved1[40];

  /* each word that many write has a cache line of its own */
  _Alignas(64) _Atomic uint64_t generation; /* any seat, by CAS */
  _Atomic uint64_t statistics_epoch;        /* under GUARD: how often statistics were reset; beside what all read */
  _Alignas(64) _Atomic uint64_t fence;      /* under an exclusive LANE: the last fencing token */
  _Atomic uint64_t ceiling;                 /* under an exclusive LANE: tokens up to here may be handed out; synced */
  _Alignas(64) _Atomic uint64_t ticket;     /* any seat, by fetch_add */
  _Alignas(64) _Atomic uint64_t flag;       /* any seat: COLOCKP_FLAG_SET while somebody may wait */
  _Atomic int64_t turn;                     /* any seat: monotonic ns when the queue's head became the head, about */
  _Atomic uint64_t phase;                   /* under an exclusive LANE, only upwards: see colockp_rank_place */
  _Alignas(64) _Atomic uint32_t recall;     /* any seat: futex of those who keep the lock without using it (recall.h) */
  _Alignas(64) _Atomic uint32_t capacity;   /* under GUARD: slots that are allocated */
  _Atomic uint32_t slots_in_use;            /* any seat, only upwards: no slot at or above this was ever claimed */
  _Alignas(64) _Atomic uint64_t guard_slot; /* under GUARD: slot + 1 of its owner, or COLOCKP_GUARD_NO_SLOT; 0 free */
  _Atomic int64_t guard_pid;                /* under GUARD */
  _Alignas(64) _Atomic uint64_t writer;     /* token of the live exclusive hold, 0 none */
  _Atomic uint64_t abandoned;               /* highest token whose holder died or was forced out; 0 none */

  _Alignas(64) struct colockp_forced forced;
  /* the statistics that belong to no slot (stats.h) */
  _Atomic uint64_t deaths;                  /* any seat: exclusive holders that died; also by a layout */
  _Atomic uint64_t forced_unlocks;          /* any seat */
  _Atomic uint64_t forced_token;            /* any seat: of the last one that was forced out: it did not die */
  _Atomic int64_t statistics_since_wall_ns; /* under GUARD: the last reset; 0: none */
  unsigned char reserved2[COLOCKP_PAGE - 928];
};

#define COLOCKP_GUARD_NO_SLOT UINT64_MAX

_Static_assert(sizeof(struct colockp_forced) == 256, "forced record");
_Static_assert(offsetof(struct colockp_header, version) == 8, "header");
_Static_assert(offsetof(struct colockp_header, device) == 32, "header");
_Static_assert(offsetof(struct colockp_header, boot_id) == 40, "header");
_Static_assert(offsetof(struct colockp_header, generation) == 128, "header");
_Static_assert(offsetof(struct colockp_header, statistics_epoch) == 136, "header");
_Static_assert(offsetof(struct colockp_header, fence) == 192, "header");
_Static_assert(offsetof(struct colockp_header, ceiling) == 200, "header");
_Static_assert(offsetof(struct colockp_header, ticket) == 256, "header");
_Static_assert(offsetof(struct colockp_header, flag) == 320, "header");
_Static_assert(offsetof(struct colockp_header, turn) == 328, "header");
_Static_assert(offsetof(struct colockp_header, phase) == 336, "header");
_Static_assert(offsetof(struct colockp_header, recall) == 384, "header");
_Static_assert(offsetof(struct colockp_header, capacity) == 448, "header");
_Static_assert(offsetof(struct colockp_header, slots_in_use) == 452, "header");
_Static_assert(offsetof(struct colockp_header, guard_slot) == 512, "header");
_Static_assert(offsetof(struct colockp_header, writer) == 576, "header");
_Static_assert(offsetof(struct colockp_header, abandoned) == 584, "header");
_Static_assert(offsetof(struct colockp_header, forced) == 640, "header");
_Static_assert(offsetof(struct colockp_header, deaths) == 896, "header");
_Static_assert(offsetof(struct colockp_header, forced_unlocks) == 904, "header");
_Static_assert(offsetof(struct colockp_header, forced_token) == 912, "header");
_Static_assert(offsetof(struct colockp_header, statistics_since_wall_ns) == 920, "header");
_Static_assert(sizeof(struct colockp_header) == COLOCKP_PAGE, "header");

/* One entry a slot. Owner writes; a dead owner's entry is cleared by whoever got its SLOT byte. */
struct colockp_queue_entry {
  _Atomic uint64_t rank;
  _Atomic int64_t  published; /* COLOCKP_SEAT_..., else wall ns since when it waits. A hint: the SLOT byte decides */
};
enum { COLOCKP_SEAT_FREE = 0, COLOCKP_SEAT_TAKEN = 1 };
_Static_assert(sizeof(struct colockp_queue_entry) == 16, "queue entry");

enum { /* colockp_activity.state */
  COLOCKP_IDLE = 0, COLOCKP_WAITING = 1, COLOCKP_HELD = 2, COLOCKP_CACHED = 3, COLOCKP_RECALLED = 4,
  COLOCKP_UPGRADING = 5
};

/* Who the owner is: written once, when the seat is claimed. Texts end in NUL, are UTF-8, cut at a character. */
struct colockp_identity {
  int32_t  pid;
  uint32_t uid;
  uint64_t pid_namespace; /* inode of /proc/self/ns/pid */
  uint64_t start_ticks;   /* field 22 of /proc/self/stat: tells a reused pid */
  char     host[64];
  char     boot_id[40];
  char     program[32];
  char     label[64];
};
_Static_assert(sizeof(struct colockp_identity) == 224, "identity");

/* What the owner does. Clocks: wall is CLOCK_REALTIME, the others CLOCK_MONOTONIC, which a suspended machine stops. */
struct colockp_activity {
  uint32_t state;
  uint32_t mode;       /* COLOCK_SHARED or COLOCK_EXCLUSIVE: held, or waited for */
  int32_t  priority;
  int32_t  tid;
  uint32_t generation; /* of the lane that is held */
  uint32_t purpose_length;
  uint64_t hold_id;    /* grows with every hold of this slot */
  uint64_t token;      /* fencing token; 0 for shared */
  int64_t  since_wall_ns;
  int64_t  since_ns;
  int64_t  renewed_ns; /* since_ns, or the last renew */
  int64_t  stale_timeout_ns;
};
_Static_assert(sizeof(struct colockp_activity) == 72, "activity");

#define COLOCKP_PURPOSE_SIZE 256

/* What is counted. Those of two modes are words side by side, the shared one first. */
enum {
  COLOCKP_N_GRANTS = 0, /* but for hits */
  COLOCKP_N_HITS = 2,   /* with a lock that was kept, without a system call */
  COLOCKP_N_DEATHS = 4, /* while holding. Exclusive: 0 in slots, the header has them */
  COLOCKP_N_BUSY = 6,
  COLOCKP_N_TIMEOUTS,
  COLOCKP_N_CANCELS,
  COLOCKP_N_DEADLOCKS,
  COLOCKP_N_UPGRADES,
  COLOCKP_N_DOWNGRADES,
  COLOCKP_N_RECALLS,
  COLOCKP_N_FORCED,     /* 0 in slots, the header has them */
  COLOCKP_NUMBERS = 16
};
/* What is timed, by mode in the same way. */
enum { COLOCKP_T_HOLDS = 0, COLOCKP_T_WAITS = 2, COLOCKP_TIMES = 4 };

/* Bucket 0 is what is shorter than 2^6 ns, the last one what takes 2^46 (20 hours) or longer; between them each octave
 * has four of equal width. */
#define COLOCKP_BUCKET_FIRST 6
#define COLOCKP_BUCKET_LAST  46
#define COLOCKP_BUCKETS      (4 * (COLOCKP_BUCKET_LAST - COLOCKP_BUCKET_FIRST) + 2)

static inline unsigned colockp_bucket(uint64_t ns) {
  if (ns < UINT64_C(1) << COLOCKP_BUCKET_FIRST)
    return 0;
  if (ns >= UINT64_C(1) << COLOCKP_BUCKET_LAST)
    return COLOCKP_BUCKETS - 1;
  unsigned octave = 63 - (unsigned)__builtin_clzll(ns);
  return 4 * (octave - COLOCKP_BUCKET_FIRST) + (unsigned)(ns >> (octave - 2) & 3) + 1;
}
/* The first ns that is above the bucket; INT64_MAX for the last. */
static inline int64_t colockp_bucket_end(unsigned bucket) {
  return bucket >= COLOCKP_BUCKETS - 1 ? INT64_MAX
                                       : (int64_t)(4 + bucket % 4) << (COLOCKP_BUCKET_FIRST + bucket / 4 - 2);
}

/* Words that only grow, from owner to owner; nobody sets them back. */
struct colockp_times {
  _Atomic uint64_t sum_ns;
  _Atomic uint64_t buckets[COLOCKP_BUCKETS];
};
struct colockp_counters {
  _Atomic uint64_t counts[COLOCKP_NUMBERS];
  struct colockp_times times[COLOCKP_TIMES];
};

/* The longest of its kind since the reset that the epoch names. Words, as in the slot. */
struct colockp_longest {
  _Atomic uint64_t sequence; /* odd while the owner writes */
  _Atomic uint64_t epoch;
  _Atomic int64_t  ns;
  _Atomic int64_t  wall_ns;  /* its end */
  _Atomic uint64_t pid_tid;  /* pid | tid << 32 */
  _Atomic uint64_t program[4];
};
/* In this order, because who never waits then touches the first page of his slot alone. */
struct colockp_statistics {
  struct colockp_longest longest[COLOCKP_TIMES];
  struct colockp_counters counters;
};
_Static_assert(sizeof(struct colockp_times) == 1304, "statistics");
_Static_assert(sizeof(struct colockp_counters) == 5344, "statistics");
_Static_assert(sizeof(struct colockp_longest) == 72, "statistics");
_Static_assert(sizeof(struct colockp_statistics) == 5632, "statistics");
_Static_assert(sizeof(struct colockp_counters) <= COLOCKP_BASE_SIZE, "a base is the counters of all slots");

/* Words so that a reader's copy never tears within one; the sequence is odd while the owner writes. */
struct colockp_slot {
  _Atomic uint64_t sequence;
  _Atomic uint64_t activity[sizeof(struct colockp_activity) / 8];
  _Atomic uint64_t purpose[COLOCKP_PURPOSE_SIZE / 8];
  _Atomic uint64_t identity[sizeof(struct colockp_identity) / 8];
  _Atomic int64_t  inherited_pid; /* outside the sequence: stored by the child itself before it execs; 0 none */
  unsigned char reserved0[1024 - 8 - sizeof(struct colockp_activity) - COLOCKP_PURPOSE_SIZE -
                          sizeof(struct colockp_identity) - 8];
  struct colockp_statistics statistics; /* owner; outside the sequence; what was counted stays for the next owner */
  unsigned char reserved1[COLOCKP_SLOT_SIZE - 1024 - sizeof(struct colockp_statistics)];
};
_Static_assert(offsetof(struct colockp_slot, activity) == 8, "slot");
_Static_assert(offsetof(struct colockp_slot, purpose) == 80, "slot");
_Static_assert(offsetof(struct colockp_slot, identity) == 336, "slot");
_Static_assert(offsetof(struct colockp_slot, inherited_pid) == 560, "slot");
_Static_assert(offsetof(struct colockp_slot, statistics) == 1024, "slot");
_Static_assert(offsetof(struct colockp_slot, statistics.counters.times[COLOCKP_T_WAITS]) <= COLOCKP_PAGE, "slot");
_Static_assert(sizeof(struct colockp_slot) == COLOCKP_SLOT_SIZE, "slot");

static inline int64_t colockp_at_slot(uint32_t slot) { return COLOCKP_AT_SLOTS + (int64_t)slot * COLOCKP_SLOT_SIZE; }
/* What a reset subtracts: of two, so that one is whole while the other is written, the one of the present epoch. */
static inline int64_t colockp_at_base(uint64_t epoch) {
  return COLOCKP_AT_BASES + (int64_t)(epoch % 2) * COLOCKP_BASE_SIZE;
}
static inline int64_t colockp_file_size(uint32_t capacity) { return colockp_at_slot(capacity); }

_Static_assert(COLOCKP_AT_SLOTS % COLOCKP_PAGE == 0, "slots are pages");
_Static_assert(COLOCKP_AT_SLOTS + (int64_t)COLOCKP_SLOTS_MAX * COLOCKP_SLOT_SIZE < COLOCKP_BYTE_GUARD,
               "content stays below the lock bytes");
_Static_assert(COLOCKP_ALL_FROM + COLOCKP_ALL_LENGTH <= INT64_C(0x80000000), "lock bytes stay below 2 GiB");

#endif

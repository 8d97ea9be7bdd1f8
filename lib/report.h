/* report.h - a snapshot of one lock: who holds, who waits, who was forced out and still runs.
 *
 * Taken with pread and F_OFD_GETLK alone, so it holds nobody up and a descriptor opened for reading is enough. It is
 * advice: names come from the slots, but that a hold exists at all is what the kernel says of its record locks. A
 * report belongs to one thread at a time.
 */
#ifndef COLOCKP_REPORT_H
#define COLOCKP_REPORT_H

#include "colock.h"
#include "layout.h"
#include "process.h"
#include <stdbool.h>

#define COLOCKP_NO_SLOT UINT32_MAX

/* The entries for which it was asked last whether their processes are stopped, by pid; in the low bits of each, the
 * answer + 1. Several threads may ask. */
#define COLOCKP_ASKED 32
struct colockp_asked {
  _Atomic uintptr_t last[COLOCKP_ASKED];
};

struct colock_entry {
  int role;
  int mode;               /* held, or waited for; 0: unknown */
  bool known;             /* identity, activity and purpose can be believed */
  bool stale;
  uint32_t slot;          /* COLOCKP_NO_SLOT: anonymous */
  bool passed;            /* a waiter that is passed over, because it is stopped */
  bool upgrading;         /* a shared hold that waits to be exclusive: in both of its entries */
  bool suspending;        /* a cached one whose suspend is under way */
  int64_t position;       /* of a waiter that is not passed over, 1 is the head; else 0 */
  int64_t age_ns;         /* since it holds, waits, is kept unused or suspends; -1: unknown */
  uint64_t place;         /* of a waiter, as colockp_rank_place says; else 0 */
  int64_t inherited_pid;  /* the process that a hold was passed on to; 0: none */
  struct colockp_activity activity;
  struct colockp_identity identity;
  struct colockp_asked *asked; /* the report's; NULL: none */
  char token_text[24];    /* of an exclusive hold; else "" */
  char purpose[COLOCKP_PURPOSE_SIZE];
};

struct colockp_snapshot {
  colock_entry *entries;
  size_t count;
  size_t room;
  size_t of_role[COLOCK_ANONYMOUS + 1];
  uint32_t generation;
  uint32_t capacity;
  uint32_t slots_in_use;
  uint64_t last_token;
  uint64_t abandoned;
  int64_t forced_age_ns; /* -1: never forced */
  int64_t usual_ns[2];   /* how long shared, exclusive holds last as a rule; -1: not known */
  struct colockp_forced forced;
};

struct colock_report {
  struct colockp_fd file; /* open in colock_report_read alone; here, because a forked child keeps what is registered */
  char *path;
  char *json; /* NULL until asked for */
  struct colockp_snapshot now;
  struct colockp_asked asked; /* of `now` */
};

/* The live holder that is in the way of a lock of some mode. */
struct colockp_holder {
  uint32_t slot;             /* COLOCKP_NO_SLOT: anonymous */
  uint32_t generation;
  uint64_t hold_id;
  int mode;
  bool stale;
  size_t conflicting;        /* how many are in the way in all */
  size_t conflicting_stale;  /* how many of those are stale */
  const colock_entry *entry; /* in the report, until it is filled again or freed */
};

/* An empty report for path. ENOMEM. */
int colockp_report_new(colock_report **report, const char *path);

/* Replace the content by what `fd`, a descriptor of the lock file that carries no record lock, shows now. Entries got
 * before are gone. On failure the content stays. EFOREIGN EVERSION ECORRUPT ENOLOCKS ENOMEM ESYSTEM. */
int colockp_report_fill(colock_report *report, int fd);

/* Open a lock file for looking at it, and make nothing: the caller closes file, on failure too if its fd is not -1. */
int colockp_report_open(struct colockp_fd *file, const char *path, const char *escaped);

/* The first live holder that conflicts with `mode`: exclusive before shared, the oldest first. False: nobody. Cached
 * holds count. */
bool colockp_report_holder(const colock_report *report, int mode, struct colockp_holder *holder);
/* The same but for the one with slot `own`: whom an upgrade of that one's hold has to wait for. */
bool colockp_report_other_holder(const colock_report *report, int mode, uint32_t own, struct colockp_holder *holder);

/* Is its process stopped? 1, 0, -1: not known. As of this moment, or of the moment when it was asked for another entry
 * of that process, before this one in the report. */
int colockp_entry_stopped(const colock_entry *entry);

/* Does slot `slot` hold, at this moment and in this generation, by hold `hold_id`? 1, 0, or -COLOCK_ code. */
int colockp_report_holds(int fd, uint32_t slot, uint32_t generation, uint64_t hold_id, const char *escaped_path);

/* For messages, safe to print: migrate[5120] (uid 1000, 2m5s, "schema 42"), server[123] (uid 1000, unused for 5s).
 * Always ends in NUL. Returns out. */
char *colockp_describe(const colock_entry *entry, char *out, size_t size);
#define COLOCKP_DESCRIBED 768 /* room for a description; a long purpose is cut */

/* What keeps the one with slot `own` (COLOCKP_NO_SLOT: somebody without) from a lock of that mode, for messages: "held
 * by migrate[5120] (...) and 2 others; usually under 40ms"; "free, but backup[5200] (...) waits ahead". False: nothing
 * is to be seen any more, and out is untouched. */
bool colockp_in_the_way(const colock_report *report, int mode, uint32_t own, char *out, size_t size);
#define COLOCKP_IN_THE_WAY (COLOCKP_DESCRIBED + 96)

/* An age for people, cut to two units: 2m5s, 41s, 340ms; "?" if negative. Returns out. */
char *colockp_age(char *out, size_t size, int64_t ns);
#define COLOCKP_AGE_SIZE 24

#endif

/* queue.h - the queue of waiters: ranks, who may go, whom to ring.
 *
 * One word a slot (layout.h). All of it is advice: a wrong word costs time or order, never exclusion. Who may go tries
 * LANE, and that decides. Discipline: a waiter writes its own rank; others may set PASSED in it, by CAS, or clear it
 * while they have its SLOT byte. Lost wake-ups: each of publish, release and leave is a store, a full fence, a look; of
 * two that race one sees the other.
 */
#ifndef COLOCKP_QUEUE_H
#define COLOCKP_QUEUE_H

#include "seat.h"

#define COLOCKP_TURN_NS INT64_C(1000000) /* for so long newcomers may go before the head of the queue */

/* Who stands before a waiter, or would before a newcomer. */
struct colockp_ahead {
  uint32_t place;     /* how many live words are before it, whether they conflict or not */
  uint32_t conflicts; /* how many it has to let go first */
  uint32_t nearest;   /* the last of those, if there are any */
  uint64_t word;      /* its rank word */
};

/* The key that goes with a ticket; the key of somebody who comes now. */
uint64_t colockp_queue_key(uint64_t ticket, int priority);
uint64_t colockp_queue_ticket(struct colockp_region *region, int priority);
/* A key behind all who wait now. */
uint64_t colockp_queue_end(const struct colockp_region *region);
/* Join: publish the seat's rank word with that key. Needs a seat with a slot. */
void colockp_queue_join(struct colock_hold *seat, int mode, uint64_t key);
/* One's own bell is read first, then the queue: what comes after the first is rung again. True: it had been rung. From
 * now on it says whether the owner watches. */
bool colockp_queue_listen(struct colock_hold *seat, bool watches);
/* Look at those ahead. If the own word is gone, or marked as passed, it is put right first. */
void colockp_queue_ahead(struct colock_hold *seat, int mode, uint64_t key, struct colockp_ahead *ahead);
/* The same for somebody who is not in the queue and would stand at its end. No fence. */
void colockp_queue_behind(struct colockp_region *region, int mode, struct colockp_ahead *ahead);
/* Leave. Without a hold: ring all who may go by that. See to it that two of the first COLOCKP_WATCHERS watch. */
void colockp_queue_leave(struct colock_hold *seat, bool granted);
/* After LANE was unlocked, or made shared: ring who may go; if those are readers, the writer behind them too, so that
 * it looks after them: they may be dead, and nobody else has them ahead. */
void colockp_queue_released(struct colockp_region *region);
/* Before an exclusive LANE is unlocked: the readers that wait now move up. */
void colockp_queue_end_phase(struct colockp_region *region);
/* Ring who may go, even those who have been rung and have not looked yet: whoever rang them may have died over it. */
void colockp_queue_ring(struct colockp_region *region);
/* Somebody may have died: ring who may go, and the first COLOCKP_FRONT in line, so that they look after one another. */
void colockp_queue_ring_front(struct colockp_region *region);
#define COLOCKP_FRONT 4
#define COLOCKP_WATCHERS 8 /* of the first so many in line two watch, if as many wait */
/* A slot that has a word, whatever its mode and mark; COLOCKP_SLOTS_MAX: none. */
uint32_t colockp_queue_any(const struct colockp_region *region);
/* Ring everybody: something about the lock has changed for all. */
void colockp_queue_ring_all(struct colockp_region *region);

/* May a newcomer try LANE now? With a clear flag yes; else within the first ms of a turn. */
bool colockp_queue_may_barge(const struct colockp_region *region);
/* Monotonic ns until which newcomers may; 0: they may not. */
int64_t colockp_queue_turn_ends(const struct colockp_region *region, int64_t now_ns);
/* May somebody wait? */
static inline bool colockp_queue_flag(const struct colockp_region *region) {
  return atomic_load_explicit(&region->header->flag, memory_order_acquire) & COLOCKP_FLAG_SET;
}
/* Does anybody wait whom a hold of that mode keeps waiting? */
bool colockp_queue_keeps_waiting(const struct colockp_region *region, int mode, uint32_t own_slot);
static inline bool colockp_queue_contended(const struct colockp_region *region, int mode, uint32_t own_slot) {
  return colockp_queue_flag(region) && colockp_queue_keeps_waiting(region, mode, own_slot);
}

/* Mark those ahead that conflict, and were rung and have not looked since, as passed over. False: there are none. */
bool colockp_queue_pass(struct colock_hold *seat, int mode, uint64_t key);
/* Under SLOT of that slot: forget a dead owner's rank, and ring whom that lets go. */
void colockp_queue_clear(struct colockp_region *region, uint32_t slot);

#endif

/* token.h - fencing tokens, and the mark of a writer that died.
 *
 * Order, and the race that each step closes: lock LANE, ++fence, then read the generation: a changed one discards both,
 * so no token is used on a lane that was left. Then the writer word is stored; before LANE is unlocked it is cleared
 * again, by CAS from the own token, and never by a revoked hold. Whoever gets LANE and finds another's token there
 * knows that its owner died (or was forced out) in between.
 */
#ifndef COLOCKP_TOKEN_H
#define COLOCKP_TOKEN_H

#include "region.h"

#define COLOCKP_TOKENS_AHEAD (UINT64_C(1) << 32) /* how far the ceiling runs ahead of the tokens */

/* The next token. It is not to be used before colockp_token_sync has answered 0. */
static inline uint64_t colockp_token_next(struct colockp_region *region) {
  return atomic_fetch_add(&region->header->fence, 1) + 1;
}
/* Under the exclusive LANE: make sure that `token` survives a power loss. ESYSTEM: it would not. */
int colockp_token_raise(struct colockp_region *region, uint64_t token);
static inline int colockp_token_sync(struct colockp_region *region, uint64_t token) {
  uint64_t ceiling = atomic_load_explicit(&region->header->ceiling, memory_order_relaxed);
  return token + COLOCKP_TOKENS_AHEAD / 2 <= ceiling ? 0 : colockp_token_raise(region, token);
}

/* Under LANE in either mode: the mark that is there, 0 none. It is a dead writer's, or one's who was forced out, if the
 * generation is found to be still ours *after* this: else it may be that of a live writer on the next lane. */
uint64_t colockp_writer_found(const struct colockp_region *region);
/* Not on a reader-only lock: move that mark to `abandoned`. */
void colockp_writer_bury(struct colockp_region *region, uint64_t token);
/* Under the exclusive LANE of `generation`: mark. False: a newer writer has its mark there, so this hold has been
 * revoked. */
bool colockp_writer_mark_over(struct colockp_region *region, uint32_t generation, uint64_t token);
static inline bool colockp_writer_mark(struct colockp_region *region, uint32_t generation, uint64_t token) {
  uint64_t nobody = 0;
  return atomic_compare_exchange_strong(&region->header->writer, &nobody, token) ||
         colockp_writer_mark_over(region, generation, token);
}
/* Before LANE is unlocked, by a hold that is not revoked. */
static inline void colockp_writer_clear(struct colockp_region *region, uint64_t token) {
  atomic_compare_exchange_strong(&region->header->writer, &token, 0);
}

/* The last token handed out, and what is abandoned: from the mapping, or by pread where there is none, and where a mark
 * that was found cannot be buried. */
uint64_t colockp_token_last(const struct colockp_region *region);
uint64_t colockp_abandoned_word(const struct colockp_region *region, uint64_t found);

#endif

/* usual.c - see usual.h. Of each slot only the histograms of holds are read: a report is to be quick. */
#include "usual.h"
#include "look_slot.h"
#include "totals.h"

#include <stddef.h>

#define FEW       20 /* holds that say nothing about what is usual */
#define AT_COUNTS offsetof(struct colockp_counters, times[COLOCKP_T_HOLDS])
#define AT_HOLDS  ((int64_t)(offsetof(struct colockp_slot, statistics.counters) + AT_COUNTS))

struct held {
  struct colockp_timed of[2];
};

static int read_held(const struct colockp_look *look, struct held *held, int64_t at) {
  return colockp_look_read(look, held, sizeof *held, at);
}

static int add(const struct colockp_look *look, uint32_t slot, struct held *sum) {
  struct held one;
  int code = read_held(look, &one, colockp_at_slot(slot) + AT_HOLDS);
  for (int mode = 0; code == 0 && mode < 2; mode++)
    for (unsigned i = 0; i < COLOCKP_BUCKETS; i++)
      sum->of[mode].buckets[i] += one.of[mode].buckets[i];
  return code;
}

/* A base of another epoch than the sum's: it was reset meanwhile. */
static int subtract_base(const struct colockp_look *look, struct held *sum) {
  uint64_t epoch = atomic_load(&look->header.statistics_epoch), again;
  struct held base;
  if (epoch == 0)
    return 0;
  int code = read_held(look, &base, colockp_at_base(epoch) + (int64_t)AT_COUNTS);
  if (code == 0)
    code = colockp_look_read(look, &again, sizeof again, offsetof(struct colockp_header, statistics_epoch));
  for (int mode = 0; code == 0 && mode < 2; mode++)
    for (unsigned i = 0; i < COLOCKP_BUCKETS; i++) {
      uint64_t before = base.of[mode].buckets[i], now = sum->of[mode].buckets[i];
      sum->of[mode].buckets[i] = now > before ? now - before : 0;
    }
  return code ? code : again == epoch ? 0 : COLOCK_EBUSY;
}

static int64_t usual(const struct colockp_timed *times) {
  uint64_t count = colockp_timed_count(times), seen = 0;
  unsigned bucket = 0;
  if (count < FEW)
    return -1;
  while ((seen += times->buckets[bucket]) < count - count / 10)
    bucket++;
  return bucket < COLOCKP_BUCKETS - 1 ? colockp_bucket_end(bucket) : -1;
}

void colockp_usual_read(int64_t usual_ns[2], int fd, const char *escaped_path) {
  struct colockp_look look = { .fd = fd, .path = escaped_path };
  struct held sum = { .of = { { .sum_ns = 0 } } };
  usual_ns[0] = usual_ns[1] = -1;
  int code = colockp_look_header(&look);
  uint32_t slots = code == 0 ? atomic_load(&look.header.slots_in_use) : 0;
  for (uint32_t slot = 0; code == 0 && slot < slots; slot++)
    code = add(&look, slot, &sum);
  if (code == 0)
    code = subtract_base(&look, &sum);
  for (int mode = 0; code == 0 && mode < 2; mode++)
    usual_ns[mode] = usual(&sum.of[mode]);
}

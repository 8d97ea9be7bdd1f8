/* bench.h - what the benches share: one run, its figures, the name of each bench.
 *
 * A bench is a function of a run that measures and prints its figures one by one. It works in an empty directory of its
 * own, with these files: OURS is colock's, KEPT too, with auto_release, THEIRS is what it is measured against. */
#ifndef COLOCK_BENCH_H
#define COLOCK_BENCH_H

#include <colock.h>
#include <stdbool.h>
#include <stddef.h>

#define OURS   "ours.lock"
#define KEPT   "kept.lock"
#define THEIRS "theirs"

struct run {
  bool json, quick;
  colock_config *config; /* the defaults, but that nothing times out */
  const char *section, *beside;
  size_t printed;
  int aims, met;
};

/* What a program consists of, and `all of it` means. */
struct bench {
  const char *name, *what;
  void (*measure)(struct run *run);
};
enum { MOST_BENCHES = 32 };
extern const struct bench benches[];
extern const int bench_count;

enum judged { RATIO, OURS_ALONE, DIFFERENCE }; /* ours / theirs; ours; ours - theirs */

struct figure {
  const char *name;
  const char *unit;     /* of ours and theirs */
  double ours, theirs;  /* theirs NAN: there is nothing to compare with */
  bool theirs_at_least; /* the run ended before they did */
  const char *remark;   /* or NULL: why there are none, or what is different about them */
  enum judged judged;   /* what the aim is about */
  double ratio;         /* 0: ours / theirs */
  double low, high;     /* quartiles of the ratio, if it is the median of many; else 0 */
  double aim;           /* 0: none, unless: */
  bool none;            /* the aim is 0 */
  bool at_least;        /* the aim is a lower bound */
};

/* Ours and theirs, in turns: a figure of these is their medians, and the median of the ratios. */
enum { MOST_ROUNDS = 401 };
struct series {
  double ours[MOST_ROUNDS], theirs[MOST_ROUNDS];
  int count;
};

/* A title over the figures to come, and what theirs is. */
void begin_section(struct run *run, const char *title, const char *beside);
void print_figure(struct run *run, struct figure figure);
void print_series(struct run *run, const struct series *series, struct figure figure);
/* Nothing is measured against it, and why. */
void print_missing(struct run *run, const char *name, const char *why);
void print_first(const struct run *run);
void print_last(const struct run *run);

void bench_pair(struct run *run);
void bench_open(struct run *run);
void bench_handover(struct run *run);
void bench_fairness(struct run *run);
void bench_throughput(struct run *run);
void bench_work(struct run *run);
void bench_death(struct run *run);
void bench_holders(struct run *run);
void bench_waiters(struct run *run);
void bench_idle(struct run *run);
void bench_report(struct run *run);
void bench_cached(struct run *run);
void bench_recall(struct run *run);
void bench_hammer(struct run *run);
void bench_store(struct run *run);
void bench_memory(struct run *run);
void bench_rest(struct run *run);

#endif

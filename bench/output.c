/* output.c - the figures as a table, or as JSON; each as soon as it is known. */
#define _GNU_SOURCE
#include "bench.h"
#include "measure.h"

#include <math.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

void begin_section(struct run *run, const char *title, const char *beside) {
  run->section = title;
  run->beside = beside;
  if (!run->json)
    printf("\n%s; beside: %s\n", title, beside);
}

static double ratio_of(const struct figure *f) { return f->ratio > 0 ? f->ratio : f->ours / f->theirs; }

static double judged_of(const struct figure *f) {
  switch (f->judged) {
  case OURS_ALONE: return f->ours;
  case DIFFERENCE: return f->ours - f->theirs;
  default: return ratio_of(f);
  }
}

static bool has_aim(const struct figure *f) { return f->aim > 0 || f->none; }

static bool is_met(const struct figure *f) {
  return f->at_least ? judged_of(f) >= f->aim : judged_of(f) <= f->aim;
}

static bool has_quartiles(const struct figure *f) { return f->high > 0 && isfinite(f->high); }

static int decimals(double value) { return value < 10 ? 2 : value < 1000 ? 1 : 0; }

static void print_row(const struct figure *f) {
  char theirs[32] = "", ratio[32] = "", quartiles[32] = "", aim[32] = "";
  if (!isnan(f->theirs))
    snprintf(theirs, sizeof theirs, "%s%.*f", f->theirs_at_least ? ">" : "", decimals(f->theirs), f->theirs);
  if (isfinite(ratio_of(f)))
    snprintf(ratio, sizeof ratio, "%s%.*f", f->theirs_at_least ? "<" : "", ratio_of(f) < 0.1 ? 4 : 2, ratio_of(f));
  if (has_quartiles(f))
    snprintf(quartiles, sizeof quartiles, "%.2f-%.2f", f->low, f->high);
  if (has_aim(f)) {
    const char *bound = f->at_least ? ">=" : "<=";
    if (f->judged == RATIO)
      snprintf(aim, sizeof aim, "%s %.2f", bound, f->aim);
    else
      snprintf(aim, sizeof aim, "%s %s%g %s", bound, f->judged == DIFFERENCE ? "theirs+" : "", f->aim, f->unit);
  }
  printf("  %-45s %9.*f %9s %-3s %7s %-10s %-15s %s%s\n", f->name, decimals(f->ours), f->ours, theirs, f->unit, ratio,
         quartiles, aim, has_aim(f) ? is_met(f) ? "met" : "MISSED" : "", f->remark ? f->remark : "");
}

static void print_object(const struct run *run, const struct figure *f) {
  printf("%s\n{\"bench\":\"%s\",\"name\":\"%s\",\"beside\":\"%s\",\"unit\":\"%s\",\"ours\":%.6g",
         run->printed ? "," : "", run->section, f->name, run->beside, f->unit, f->ours);
  if (!isnan(f->theirs))
    printf(",\"theirs\":%.6g,\"theirs_at_least\":%s", f->theirs, f->theirs_at_least ? "true" : "false");
  if (isfinite(ratio_of(f)))
    printf(",\"ratio\":%.6g", ratio_of(f));
  if (f->remark)
    printf(",\"remark\":\"%s\"", f->remark);
  if (has_quartiles(f))
    printf(",\"ratio_low\":%.6g,\"ratio_high\":%.6g", f->low, f->high);
  if (has_aim(f))
    printf(",\"aim\":{\"of\":\"%s\",\"%s\":%g,\"met\":%s}",
           f->judged == RATIO ? "ratio" : f->judged == OURS_ALONE ? "ours" : "ours-theirs",
           f->at_least ? "at_least" : "at_most", f->aim, is_met(f) ? "true" : "false");
  printf("}");
}

void print_figure(struct run *run, struct figure figure) {
  if (run->json)
    print_object(run, &figure);
  else
    print_row(&figure);
  run->printed++;
  if (has_aim(&figure)) {
    run->aims++;
    run->met += is_met(&figure);
  }
  fflush(stdout); /* before a fork, which would double it, and for those who watch */
}

void print_series(struct run *run, const struct series *series, struct figure figure) {
  double ours[MOST_ROUNDS], theirs[MOST_ROUNDS], ratios[MOST_ROUNDS];
  size_t count = (size_t)series->count;
  for (size_t i = 0; i < count; i++) {
    ours[i] = series->ours[i];
    theirs[i] = series->theirs[i];
    ratios[i] = ours[i] / theirs[i];
  }
  figure.ours = quantile(ours, count, 0.5);
  figure.theirs = quantile(theirs, count, 0.5);
  figure.ratio = quantile(ratios, count, 0.5);
  if (count >= 5) {
    figure.low = quantile(ratios, count, 0.25);
    figure.high = quantile(ratios, count, 0.75);
  }
  print_figure(run, figure);
}

void print_missing(struct run *run, const char *name, const char *why) {
  if (run->json)
    printf("%s\n{\"missing\":\"%s\",\"why\":\"%s\"}", run->printed ? "," : "", name, why);
  else
    printf("  %-45s missing: %s\n", name, why);
  run->printed++;
  fflush(stdout);
}

/* "Xeon, 2 processors, Linux 6.1 x86_64" */
static void describe_machine(char *text, size_t size) {
  char line[256], model[128] = "unknown processor";
  struct utsname system;
  FILE *file = fopen("/proc/cpuinfo", "re");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "model name : %127[^\n\"\\]", model) == 1)
      break;
  if (file)
    fclose(file);
  uname(&system);
  snprintf(text, size, "%s, %ld processors, %s %s %s", model, sysconf(_SC_NPROCESSORS_ONLN), system.sysname,
           system.release, system.machine);
}

void print_first(const struct run *run) {
  char machine[512];
  describe_machine(machine, sizeof machine);
  if (run->json)
    printf("{\"version\":3,\"quick\":%s,\"machine\":\"%s\",\"figures\":[", run->quick ? "true" : "false", machine);
  else
    printf("%-47s %9s %9s %-3s %7s %-10s %-15s%s\n", "", "colock", "beside", "", "ratio", "quartiles", "aim",
           run->quick ? " (quick: rough)" : "");
}

void print_last(const struct run *run) {
  if (run->json)
    printf("\n],\"aims\":%d,\"met\":%d}\n", run->aims, run->met);
  else
    printf("\n%d of %d aims met\n", run->met, run->aims);
}

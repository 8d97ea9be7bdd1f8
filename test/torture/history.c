/* history.c - what each actor did, in a ring of its own; all of it merged when something went wrong. */
#define _GNU_SOURCE
#include "torture.h"
#include "layout.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void history_note(struct actor *actor, const char *what, int64_t a, int64_t b) {
  struct event *event = &actor->ring[actor->used % RING];
  *event = (struct event){now_ns(), what, a, b};
  actor->used++;
  actor->beat++;
}

struct line {
  struct event event;
  int process, thread;
};

static int by_time(const void *x, const void *y) {
  const struct line *a = x, *b = y;
  return (a->event.at_ns > b->event.at_ns) - (a->event.at_ns < b->event.at_ns);
}

static size_t gather(struct line *lines) {
  size_t count = 0;
  for (int p = 0; p < torture->processes; p++) {
    for (int t = 0; t < torture->threads; t++) {
      const struct actor *a = &torture->actors[p][t];
      uint64_t used = a->used, first = used > RING ? used - RING : 0;
      for (uint64_t i = first; i < used; i++) lines[count++] = (struct line){a->ring[i % RING], p, t};
    }
  }
  qsort(lines, count, sizeof *lines, by_time);
  return count;
}

static void print(FILE *out, const struct line *line, int64_t end_ns) {
  if (line->event.what == NULL) return; /* killed while it wrote */
  fprintf(out, "%12.3f ms  %d.%d %*s%s %" PRId64 " %" PRId64 "\n", (double)(line->event.at_ns - end_ns) / 1e6,
          line->process, line->thread, (line->process * torture->threads + line->thread) * 2, "", line->event.what,
          line->event.a, line->event.b);
}

void history_write(const char *file, FILE *out, unsigned tail) {
  struct line *lines = malloc(sizeof *lines * PROCESSES_MAX * THREADS_MAX * RING);
  if (lines == NULL) return;
  size_t count = gather(lines);
  int64_t end = count > 0 ? lines[count - 1].event.at_ns : 0;
  for (size_t i = count > tail ? count - tail : 0; i < count; i++) print(out, &lines[i], end);
  FILE *whole = fopen(file, "we");
  if (whole != NULL) {
    fprintf(whole, "seed %" PRIu64 ", plan %s: %s\n", torture->seed, torture->plan->name, torture->said);
    for (size_t i = 0; i < count; i++) print(whole, &lines[i], end);
    history_status(whole, torture->path);
    fclose(whole);
    fprintf(out, "the last %zu events are in %s\n", count, file);
  } else {
    fprintf(out, "%s: %s\n", file, strerror(errno));
  }
  free(lines);
}

static void print_lane(FILE *out, int fd, uint32_t generation) {
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = colockp_lane(generation), .l_len = 1};
  if (fcntl(fd, F_OFD_GETLK, &range) != 0) return;
  fprintf(out, "generation %" PRIu32 ", LANE is %s\n", generation,
          range.l_type == F_UNLCK ? "free" : range.l_type == F_RDLCK ? "held by readers" : "held by a writer");
}

static void print_queue(FILE *out, int fd, const struct colockp_header *header) {
  for (uint32_t slot = 0; slot < header->slots_in_use && slot < COLOCKP_SLOTS_MAX; slot++) {
    struct colockp_queue_entry entry;
    uint32_t bell = 0;
    if (pread(fd, &entry, sizeof entry, COLOCKP_AT_QUEUE + (off_t)(slot * sizeof entry)) != sizeof entry) return;
    if (pread(fd, &bell, sizeof bell, COLOCKP_AT_BELLS + (off_t)(slot * sizeof bell)) != sizeof bell) return;
    if (entry.rank == 0) continue;
    fprintf(out, "  slot %" PRIu32 ": key base%+" PRId64 "%s%s, bell %" PRIu32 "\n", slot,
            (int64_t)((entry.rank >> COLOCKP_RANK_KEY_SHIFT) - COLOCKP_KEY_BASE),
            entry.rank & COLOCKP_RANK_EXCLUSIVE ? " exclusive" : " shared",
            entry.rank & COLOCKP_RANK_PASSED ? " passed" : "", bell);
  }
}

void history_status(FILE *out, const char *path) {
  struct colockp_header header;
  colock_report *report = NULL;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd >= 0 && pread(fd, &header, sizeof header, 0) == sizeof header) {
    print_lane(out, fd, (uint32_t)header.generation);
    fprintf(out, "flag %" PRIu64 "%s, ticket %" PRIu64 ", phase base%+" PRId64 ", fence %" PRIu64 ", writer %" PRIu64
            ", abandoned %" PRIu64 "\n", header.flag >> 1, header.flag & COLOCKP_FLAG_SET ? " set" : " clear",
            header.ticket, header.phase ? (int64_t)(header.phase - COLOCKP_KEY_BASE) : 0, header.fence, header.writer,
            header.abandoned);
    print_queue(out, fd, &header);
  }
  if (fd >= 0) close(fd);
  if (colock_report_read(path, &report) == COLOCK_OK) {
    const char *json = colock_report_json(report);
    fprintf(out, "%s\n", json != NULL ? json : "");
    colock_report_free(report);
  }
}

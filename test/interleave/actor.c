/* actor.c - see actor.h. */
#define _GNU_SOURCE
#include "actor.h"

#include "colock.h"
#include "layout.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRANTS 64

/* Every exclusive grant of this permutation, in order. */
static struct {
  long long generation;
  uint64_t token;
} grants[GRANTS];
static int grant_count;

/* ---- from outside ---- */

static char thread_state(pid_t pid, const char *tid, unsigned long long *switches) {
  char path[512], line[256], state = '?';
  unsigned long long n;
  snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, tid);
  FILE *file = fopen(path, "re");
  if (file == NULL) return 'X';
  while (fgets(line, sizeof line, file) != NULL) {
    sscanf(line, "State: %c", &state);
    if (sscanf(line, "voluntary_ctxt_switches: %llu", &n) == 1) *switches += n;
  }
  fclose(file);
  return state;
}

enum actor_state actor_look(const struct actor *actor, unsigned long long *switches) {
  char path[64];
  int asleep = 0, stopped = 0, gone = 0, threads = 0;
  snprintf(path, sizeof path, "/proc/%d/task", (int)actor->agent->pid);
  DIR *tasks = opendir(path);
  if (tasks == NULL) return ACTOR_ZOMBIE;
  for (struct dirent *e; (e = readdir(tasks)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    char state = thread_state(actor->agent->pid, e->d_name, switches);
    threads++;
    asleep += state == 'S' || state == 't';
    stopped += state == 'T';
    gone += state == 'Z' || state == 'X';
  }
  closedir(tasks);
  if (gone == threads) return ACTOR_ZOMBIE;
  if (stopped > 0 && stopped + gone == threads) return ACTOR_STOPPED;
  return asleep + gone == threads ? ACTOR_ASLEEP : ACTOR_RUNS;
}

enum actor_state actor_state(const struct actor *actor) {
  unsigned long long switches = 0;
  return actor_look(actor, &switches);
}

static bool is_stepped(const struct trace *trace) { return trace->tid != 0 && !trace->there; }

bool actor_is_stepped(const struct actor *actor) {
  return (is_stepped(&actor->trace) || is_stepped(&actor->helper)) && actor_state(actor) != ACTOR_ASLEEP;
}

pid_t actor_helper(const struct actor *actors, int count, const struct actor *actor) {
  char path[64];
  pid_t found = 0;
  snprintf(path, sizeof path, "/proc/%d/task", (int)actor->agent->pid);
  DIR *tasks = opendir(path);
  for (struct dirent *e; tasks != NULL && (e = readdir(tasks)) != NULL;) {
    pid_t tid = (pid_t)atoi(e->d_name);
    for (int i = 0; i < count && tid != 0; i++)
      if (actors[i].agent != NULL && actors[i].agent->tid == tid) tid = 0;
    found = tid != 0 ? tid : found;
  }
  if (tasks != NULL) closedir(tasks);
  return found;
}

static bool read_at(int fd, void *to, size_t size, int64_t at) { return pread(fd, to, size, at) == (ssize_t)size; }

bool actor_published(const struct actor *actor, int fd) {
  uint32_t in_use = 0;
  if (!read_at(fd, &in_use, sizeof in_use, offsetof(struct colockp_header, slots_in_use))) return false;
  for (uint32_t slot = 0; slot < in_use; slot++) {
    struct colockp_identity identity;
    struct colockp_activity activity;
    uint64_t rank = 0;
    int64_t at = colockp_at_slot(slot);
    if (!read_at(fd, &rank, sizeof rank, COLOCKP_AT_QUEUE + (int64_t)(slot * sizeof(struct colockp_queue_entry))) ||
        !read_at(fd, &identity, sizeof identity, at + (int64_t)offsetof(struct colockp_slot, identity)) ||
        !read_at(fd, &activity, sizeof activity, at + (int64_t)offsetof(struct colockp_slot, activity)))
      return false;
    if (rank != 0 && identity.pid == actor->agent->pid && activity.tid == actor->agent->tid) return true;
  }
  return false;
}

const char *actor_state_name(const struct actor *actor, int fd) {
  if (actor->trace.there) return "stands at its pause";
  switch (actor_state(actor)) {
    case ACTOR_STOPPED: return "is stopped";
    case ACTOR_ZOMBIE: return "has ended";
    case ACTOR_RUNS: return "runs";
    default: return actor_published(actor, fd) ? "waits in the queue" : "is asleep, not in the queue";
  }
}

/* ---- what it holds ---- */

void actors_begin(void) { grant_count = 0; }

void actor_begins(struct actor *actor, const char *command) {
  char mode = 's';
  int hold = 0;
  sscanf(command, "%15s %c", actor->command, &mode);
  sscanf(command, "%*s %d", &hold);
  actor->mode = mode == 'x' ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
  if (hold < 0 || hold >= ACTOR_HOLDS) return;
  struct held *held = &actor->held[hold];
  if (strcmp(actor->command, "yield") == 0) actor->mode = held->mode;
  if (strcmp(actor->command, "upgrade") == 0) actor->mode = COLOCK_EXCLUSIVE;
  if (strcmp(actor->command, "downgrade") == 0) held->mode = held->mode != 0 ? COLOCK_SHARED : 0;
  if (strcmp(actor->command, "release") == 0 || strcmp(actor->command, "yield") == 0) held->mode = 0;
}

static bool beside(const struct actor *actors, int count, const struct actor *actor, const struct held *held,
                   char *why, size_t size) {
  for (int i = 0; i < count; i++) {
    for (int h = 0; h < ACTOR_HOLDS; h++) {
      const struct held *other = &actors[i].held[h];
      if (other == held || other->mode == 0 || other->generation != held->generation) continue;
      if (other->mode != COLOCK_EXCLUSIVE && held->mode != COLOCK_EXCLUSIVE) continue;
      snprintf(why, size, "agents %d and %d hold generation %lld at once, one of them exclusively",
               (int)actor->agent->pid, (int)actors[i].agent->pid, held->generation);
      return false;
    }
  }
  return true;
}

static bool grows(const struct held *held, char *why, size_t size) {
  for (int i = 0; i < grant_count; i++) {
    bool later = grants[i].generation <= held->generation;
    if (later ? held->token > grants[i].token : held->token < grants[i].token) continue;
    snprintf(why, size, "generation %lld has token %llu, generation %lld before it had %llu", held->generation,
             (unsigned long long)held->token, grants[i].generation, (unsigned long long)grants[i].token);
    return false;
  }
  if (grant_count == GRANTS) return true;
  grants[grant_count].generation = held->generation;
  grants[grant_count++].token = held->token;
  return true;
}

bool actor_granted(const struct actor *actors, int count, struct actor *actor, char *why, size_t size) {
  static const char *const granting[] = {"acquire", "try", "upgrade", "downgrade", "yield"};
  const struct agent *agent = actor->agent;
  bool grants_it = false;
  for (size_t i = 0; i < sizeof granting / sizeof granting[0]; i++)
    if (strcmp(actor->command, granting[i]) == 0) grants_it = true;
  if (agent->code != COLOCK_OK || !grants_it || agent->hold < 0 || agent->hold >= ACTOR_HOLDS) return true;
  struct held *held = &actor->held[agent->hold];
  bool same = strcmp(actor->command, "yield") == 0 || strcmp(actor->command, "upgrade") == 0;
  same = same && grant_count > 0 && grants[grant_count - 1].token == agent->token; /* there was nothing to do */
  held->mode = strcmp(actor->command, "downgrade") == 0 ? COLOCK_SHARED : actor->mode;
  held->generation = agent->number;
  held->token = agent->token;
  if (!beside(actors, count, actor, held, why, size)) return false;
  return held->mode != COLOCK_EXCLUSIVE || same || grows(held, why, size);
}

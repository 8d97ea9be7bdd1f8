/* actor.h - one session of a schedule while it is played: what it does, as seen from outside, and what it holds. */
#ifndef COLOCK_TEST_ACTOR_H
#define COLOCK_TEST_ACTOR_H

#include "agent.h"
#include "trace.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ACTOR_HOLDS = 8 };
enum { ACTOR_IDLE = -1, ACTOR_ENDED = -2 }; /* instead of a step */

struct actor {
  struct agent *agent;
  int step; /* under way */
  char command[16];
  int mode; /* asked for, by that step */
  struct held {
    int mode; /* 0: none */
    long long generation;
    uint64_t token;
  } held[ACTOR_HOLDS];
  struct trace trace;
  struct trace helper; /* of the library's thread in its process (lib/helper.h) */
};

enum actor_state { ACTOR_RUNS, ACTOR_ASLEEP, ACTOR_STOPPED, ACTOR_ZOMBIE };

/* Of all threads of the process together, by /proc. */
enum actor_state actor_state(const struct actor *actor);
enum actor_state actor_look(const struct actor *actor, unsigned long long *switches); /* adds its context switches */
bool actor_published(const struct actor *actor, int fd); /* its thread has a rank in the file */
bool actor_is_stepped(const struct actor *actor);        /* instruction by instruction, now */
/* The library's thread: the one that is none of the actors'. 0: there is none. */
pid_t actor_helper(const struct actor *actors, int count, const struct actor *actor);
const char *actor_state_name(const struct actor *actor, int fd);

void actors_begin(void); /* before a permutation: nothing was ever granted */
/* A command was sent: what it gives up is no longer held from here on. */
void actor_begins(struct actor *actor, const char *command);
/* It was answered. False, and why: the grant contradicts what others hold, or held. */
bool actor_granted(const struct actor *actors, int count, struct actor *actor, char *why, size_t size);

#endif

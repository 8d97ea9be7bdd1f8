/* play.c - see play.h. One permutation at a time, in the process of its test. */
#define _GNU_SOURCE
#include "play.h"

#include "actor.h"
#include "cast.h"
#include "pause.h"
#include "support.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIMIT_MS 6000         /* for an outcome that is expected */
#define LIMIT_TRACED_MS 30000 /* the same of who goes instruction by instruction, in a build with sanitizers */
#define QUIET_MS 8            /* everybody has been asleep for so long: what a step has set off is over */
#define QUIET_WATCHED_MS 27   /* the same where somebody watches the file: watch.c rings repeatedly after an event */
#define RESTED_MS 650         /* when the watch that a wait has begun has rung for the last time, watch.c */
#define SETTLE_MS 300         /* who is never quiet for that long is not waited for */

static struct {
  const struct spec *spec;
  const struct spec_permutation *permutation;
  const struct spec_line *line;
  const char *path;
  int fd;
  unsigned char *map;
  bool anyone_died, anyone_watches;
  struct actor actors[SPEC_SESSIONS];
  char said[16384];
  size_t said_length;
  char why[20000];
  jmp_buf out;
} stage;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  int n = vsnprintf(stage.said + stage.said_length, sizeof stage.said - stage.said_length, format, list);
  va_end(list);
  if (n > 0 && (size_t)n < sizeof stage.said - stage.said_length) stage.said_length += (size_t)n;
}

/* The schedule went another way: play ends, and says how far it came. */
static void astray(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void astray(const char *format, ...) {
  static char why[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(why, sizeof why, format, list);
  va_end(list);
  snprintf(stage.why, sizeof stage.why, "%s:%d: permutation %s: %s; it went:\n%s", stage.spec->file,
           stage.line ? stage.line->line : 0, stage.permutation->name, why, stage.said);
  longjmp(stage.out, 1);
}

static const char *step_name(int step) { return stage.spec->steps[step].name; }

static struct actor *actor_of(int step) {
  int session = stage.spec->steps[step].session;
  return session < 0 ? NULL : &stage.actors[session];
}

static void everybody_traced_runs(void) {
  for (int i = 0; i < stage.spec->session_count; i++) {
    trace_run(&stage.actors[i].trace);
    trace_run(&stage.actors[i].helper);
  }
}

static void nobody_is_traced(struct actor *actor) {
  trace_end(&actor->trace);
  trace_end(&actor->helper);
}

/* ---- the beginning and the end ---- */

static void start_session(int number) {
  const struct spec_session *session = &stage.spec->sessions[number];
  struct actor *actor = &stage.actors[number];
  char command[1024];
  actor->step = ACTOR_IDLE;
  actor->trace.map = actor->helper.map = stage.map;
  if (session->process != number) {
    actor->agent = agent_thread(stage.actors[session->process].agent);
    return;
  }
  actor->agent = agent_start();
  if (cast_has(session, "unwatched")) pause_unwatched(actor->agent->page);
  else stage.anyone_watches = true;
  if (cast_has(session, "unticked")) pause_unticked(actor->agent->page);
  if (cast_has(session, "nobody") && agent_call(actor->agent, "nobody") != COLOCK_OK) astray("not root");
  if (cast_has(session, "later")) return;
  cast_open(command, sizeof command, session, stage.path);
  if (agent_call(actor->agent, "%s", command) != COLOCK_OK)
    astray("session %s: open: %s", session->name, actor->agent->text);
  agent_call(actor->agent, "where");
  actor->trace.lock = actor->helper.lock = (uint64_t)actor->agent->number;
}

/* Nobody of the test may close a descriptor of the file while a schedule runs: that alone would wake waiters. */
static void begin(void) {
  stage.path = test_path("a.lock");
  test_make_lock(stage.path);
  ck_assert_int_eq(chmod(stage.path, 0644), 0);
  stage.fd = open(stage.path, O_RDWR | O_CLOEXEC);
  ck_assert_int_ge(stage.fd, 0);
  stage.map = mmap(NULL, COLOCKP_MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, stage.fd, 0);
  ck_assert_ptr_ne(stage.map, MAP_FAILED);
  for (int i = 0; i < stage.spec->session_count; i++) {
    if (cast_takes_part(stage.spec, stage.permutation, i)) start_session(i);
    else stage.actors[i].step = ACTOR_ENDED;
  }
}

static void queue_is_clean(void) {
  const struct colockp_header *header = (const void *)stage.map;
  const struct colockp_queue_entry *queue = (const void *)(stage.map + COLOCKP_AT_QUEUE);
  uint32_t in_use = atomic_load(&header->slots_in_use);
  for (uint32_t slot = 0; slot < in_use; slot++)
    if (atomic_load(&queue[slot].rank) != 0) astray("at the end slot %u has a rank left", (unsigned)slot);
  if (atomic_load(&header->flag) & COLOCKP_FLAG_SET) astray("at the end the queue's flag is still set");
}

static void end(void) {
  for (int i = 0; i < stage.spec->session_count; i++) {
    const struct actor *actor = &stage.actors[i];
    if (actor->step >= 0) astray("step %s is still under way at the end", step_name(actor->step));
  }
  if (!stage.anyone_died) queue_is_clean();
}

/* ---- what a step does ---- */

static void ended(int process) {
  stage.anyone_died = true;
  for (int i = 0; i < stage.spec->session_count; i++) {
    if (stage.spec->sessions[i].process != process) continue;
    stage.actors[i].step = ACTOR_ENDED;
    memset(stage.actors[i].held, 0, sizeof stage.actors[i].held);
  }
}

static void pause_a_little(void) { poll(NULL, 0, 1); }

static void stop(struct actor *actor) {
  int64_t limit = test_now_ms() + LIMIT_MS;
  kill(actor->agent->pid, SIGSTOP);
  while (actor_state(actor) != ACTOR_STOPPED) {
    if (test_now_ms() >= limit) astray("it does not stop");
    pause_a_little();
  }
}

static void recall(struct colockp_header *header) {
  atomic_store(&header->recall, (atomic_load(&header->recall) + COLOCKP_RECALL_STEP) & ~COLOCKP_RECALL_ASLEEP);
  syscall(SYS_futex, &header->recall, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void change_file(const char *command) {
  struct colockp_header *header = (void *)stage.map;
  long n;
  if (sscanf(command, "ticket %ld", &n) == 1) atomic_fetch_add(&header->ticket, (uint64_t)n);
  else if (strcmp(command, "damage") == 0) atomic_store(&header->generation, 7);
  else if (strcmp(command, "recall") == 0) recall(header);
  else astray("nothing that can be done to the file: %s", command);
}

static void arm(struct actor *actor, const char *when, const char *what, long n) {
  bool after = strcmp(when, "after") == 0;
  pid_t pid = actor->agent->pid, tid = actor->agent->tid;
  if (!after && strcmp(when, "before") != 0) astray("pause before or after?");
  if (pause_knows(what)) pause_arm(actor->agent->page, tid, after, what, n);
  else if (!trace_knows(what)) astray("nothing to pause at: %s", what);
  else if (tid != pid) astray("only a process's first thread can be traced");
  else trace_begin(&actor->trace, pid, tid, !after, what, n);
}

static void settle(void);

/* The same of the library's own thread, once it sleeps; or wait until it is there, or let it go on. */
static void do_to_helper(struct actor *actor, const char *command) {
  char when[16], what[24];
  long n;
  int64_t limit = test_now_ms() + LIMIT_TRACED_MS;
  if (cast_pause(command, when, what, &n)) {
    settle();
    pid_t tid = actor_helper(stage.actors, stage.spec->session_count, actor);
    if (tid == 0 || !trace_knows(what)) astray("no helper, or nothing to stop it at: %s", command);
    trace_begin(&actor->helper, actor->agent->pid, tid, strcmp(when, "before") == 0, what, n);
  } else if (strcmp(command, "helper go") == 0) {
    trace_end(&actor->helper);
  } else {
    for (; !actor->helper.there; everybody_traced_runs())
      if (test_now_ms() >= limit) astray("its helper does not come to where it is to stop");
  }
}

/* What is done to a session, not by it: true. */
static bool done_to(struct actor *actor, const char *command) {
  char when[16], what[24];
  long n;
  pid_t pid = actor->agent->pid;
  if (strcmp(command, "stop") == 0) stop(actor);
  else if (strncmp(command, "helper ", 7) == 0) do_to_helper(actor, command);
  else if (strcmp(command, "call_off") == 0) kill(pid, SIGUSR1);
  else if (strcmp(command, "interrupt") == 0) kill(pid, SIGUSR2);
  else if (strcmp(command, "go") == 0) {
    trace_end(&actor->trace);
    kill(pid, SIGCONT);
  } else if (strcmp(command, "kill") == 0) {
    nobody_is_traced(actor);
    agent_kill(actor->agent);
  } else if (cast_pause(command, when, what, &n)) {
    arm(actor, when, what, n);
  } else return false;
  return true;
}

static void send_command(struct actor *actor, int step) {
  const char *command = stage.spec->steps[step].command;
  char open[1024];
  if (strcmp(command, "open") == 0) {
    cast_open(open, sizeof open, &stage.spec->sessions[stage.spec->steps[step].session], stage.path);
    agent_send(actor->agent, "%s", open);
  } else if (strcmp(command, "force") == 0) {
    agent_send(actor->agent, "force %s schedule", agent_word(stage.path));
  } else if (strcmp(command, "kept") == 0) {
    agent_send(actor->agent, "kept %s", agent_word(stage.path));
  } else {
    agent_send(actor->agent, "%s", command);
  }
  actor->step = step;
  actor_begins(actor, command);
}

/* Takes the step; SPEC_WAITS if its outcome is to come. */
static int take(int step) {
  const char *command = stage.spec->steps[step].command;
  struct actor *actor = actor_of(step);
  if (actor == NULL) {
    change_file(command);
    return COLOCK_OK;
  }
  if (actor->step == ACTOR_ENDED) astray("its session has ended");
  if (done_to(actor, command)) {
    if (strcmp(command, "kill") != 0) return COLOCK_OK;
    ended(stage.spec->sessions[stage.spec->steps[step].session].process);
    return SPEC_ENDS;
  }
  if (actor->step >= 0) astray("step %s is still under way", step_name(actor->step));
  send_command(actor, step);
  return SPEC_WAITS;
}

/* ---- what comes of it ---- */

static void check_grant(struct actor *actor) {
  char why[256];
  if (!actor_granted(stage.actors, stage.spec->session_count, actor, why, sizeof why)) astray("%s", why);
}

static void check_answer(const struct spec_outcome *outcome, struct actor *actor) {
  const struct agent *agent = actor->agent;
  char pid[32];
  if (agent->code != outcome->result)
    astray("%s is %s instead of %s (%s)", step_name(outcome->step), spec_result(agent->code),
         spec_result(outcome->result), agent->text);
  if (outcome->counted && agent->number != outcome->number)
    astray("%s says %lld instead of %lld", step_name(outcome->step), agent->number, outcome->number);
  if (outcome->names < 0) return;
  snprintf(pid, sizeof pid, "[%d", (int)stage.actors[outcome->names].agent->pid);
  const char *at = strstr(agent->text, pid);
  if (at == NULL || strchr("]/", at[strlen(pid)]) == NULL)
    astray("%s does not name session %s, %s]: %s", step_name(outcome->step), stage.spec->sessions[outcome->names].name,
         pid, agent->text);
}

/* True: it came. */
static bool has_come(const struct spec_outcome *outcome) {
  struct actor *actor = actor_of(outcome->step);
  everybody_traced_runs();
  if (outcome->result == SPEC_ENDS && actor_state(actor) == ACTOR_ZOMBIE) {
    agent_wait(actor->agent);
    ended(stage.spec->sessions[stage.spec->steps[outcome->step].session].process);
    return true;
  }
  if (agent_answered(actor->agent)) {
    agent_answer(actor->agent);
    actor->step = ACTOR_IDLE;
    check_answer(outcome, actor);
    check_grant(actor);
    return true;
  }
  if (outcome->result == SPEC_STOPS)
    return actor->trace.tid != 0 ? actor->trace.there : actor_state(actor) == ACTOR_STOPPED;
  return outcome->result == SPEC_WAITS && actor_published(actor, stage.fd) && actor_state(actor) == ACTOR_ASLEEP;
}

static void await(const struct spec_outcome *outcome) {
  struct actor *actor = actor_of(outcome->step);
  if (actor == NULL || actor->step != outcome->step) astray("%s is not under way", step_name(outcome->step));
  int limit_ms = outcome->result == SPEC_STOPS && actor->trace.tid != 0 ? LIMIT_TRACED_MS : LIMIT_MS;
  int64_t limit = test_now_ms() + limit_ms;
  while (!has_come(outcome)) {
    if (test_now_ms() >= limit)
      astray("%s: no %s within %d ms; it %s", step_name(outcome->step), spec_result(outcome->result), limit_ms,
           actor_state_name(actor, stage.fd));
    if (!actor_is_stepped(actor)) pause_a_little();
  }
}

static unsigned long long switches(bool *asleep) {
  unsigned long long sum = 0;
  *asleep = true;
  for (int i = 0; i < stage.spec->session_count; i++) {
    struct actor *actor = &stage.actors[i];
    if (actor->step == ACTOR_ENDED || stage.spec->sessions[i].process != i) continue;
    if (actor_look(actor, &sum) == ACTOR_RUNS) *asleep = false;
  }
  return sum;
}

static bool anybody_is_under_way(void) {
  for (int i = 0; i < stage.spec->session_count; i++)
    if (stage.actors[i].step >= 0) return true;
  return false;
}

static bool anybody_is_stepped(void) {
  for (int i = 0; i < stage.spec->session_count; i++)
    if (actor_is_stepped(&stage.actors[i])) return true;
  return false;
}

/* Who does not get the processor is waited for; who polls, or goes instruction by instruction, is never quiet. */
static void settle(void) {
  bool asleep;
  int64_t start = test_now_ms(), quiet_since = start, quiet_ms = stage.anyone_watches ? QUIET_WATCHED_MS : QUIET_MS;
  unsigned long long before = switches(&asleep);
  int64_t limit = start + (anybody_is_stepped() ? SETTLE_MS : LIMIT_MS);
  for (int64_t now = start; now < (asleep ? start + SETTLE_MS : limit) && now < quiet_since + quiet_ms;
       now = test_now_ms()) {
    pause_a_little();
    everybody_traced_runs();
    unsigned long long after = switches(&asleep);
    if (!asleep || after != before) quiet_since = test_now_ms();
    before = after;
  }
}

/* A ring of the watch that comes later than that would be taken for one of the protocol's, or for a poll. */
static void rest_if_asked(const struct spec_outcome *own) {
  int session = stage.spec->steps[own->step].session;
  if (own->result != SPEC_WAITS || session < 0 || !cast_has(&stage.spec->sessions[session], "rested")) return;
  for (int64_t end = test_now_ms() + RESTED_MS; test_now_ms() < end;) {
    pause_a_little();
    everybody_traced_runs();
  }
}

static void nothing_else_came(void) {
  for (int i = 0; i < stage.spec->session_count; i++) {
    struct actor *actor = &stage.actors[i];
    if (actor->step < 0) continue;
    if (agent_answered(actor->agent))
      astray("%s got on too: %s", step_name(actor->step), spec_result(agent_answer(actor->agent)));
  }
}

static void play_line(const struct spec_line *line) {
  const struct spec_outcome *own = &line->outcomes[0];
  stage.line = line;
  int result = take(own->step);
  say("  %s", step_name(own->step));
  if (result == SPEC_WAITS) await(own);
  else if (result != own->result)
    astray("%s is %s instead of %s", step_name(own->step), spec_result(result), spec_result(own->result));
  say(" %s", spec_result(own->result));
  for (int i = 1; i < line->count; i++) {
    await(&line->outcomes[i]);
    say(", %s %s", step_name(line->outcomes[i].step), spec_result(line->outcomes[i].result));
  }
  rest_if_asked(own);
  if (anybody_is_under_way() || actor_of(own->step) == NULL) settle();
  nothing_else_came();
  say("\n");
}

static void play_all(const struct spec_permutation *permutation) {
  begin();
  for (int i = 0; i < permutation->line_count; i++) play_line(&permutation->lines[i]);
  stage.line = NULL;
  end();
}

const char *play(const struct spec *spec, const struct spec_permutation *permutation) {
  memset(&stage, 0, sizeof stage);
  stage.spec = spec;
  stage.permutation = permutation;
  actors_begin();
  if (setjmp(stage.out) == 0) play_all(permutation);
  for (int i = 0; i < spec->session_count; i++) nobody_is_traced(&stage.actors[i]);
  munmap(stage.map, COLOCKP_MAPPED);
  close(stage.fd);
  return stage.why[0] != '\0' ? stage.why : NULL;
}

/* agent_main.c - the inside of an agent: reads a command, does it, answers. The commands are told in agent.h. */
#define _GNU_SOURCE
#include "agent.h"

#include "clock.h"
#include "colock.h"
#include "pause.h"
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOCKS 16
#define HOLDS 256
#define WORDS 16

static colock *locks[LOCKS];
/* Each thread that takes commands has its own. */
static _Thread_local colock_hold *holds[HOLDS];
static _Thread_local int current = -1;
static _Thread_local FILE *answers;
static _Thread_local bool leaving;

struct call {
  int count;
  char *word[WORDS];
};

static void answer(int code, int hold, long long number, const char *text) {
  uint64_t token = 0, last = 0;
  int abandoned = 0;
  if (hold >= 0 && holds[hold] != NULL) {
    token = colock_token(holds[hold]);
    last = colock_last_token(holds[hold]);
    abandoned = colock_abandoned(holds[hold]);
  }
  fprintf(answers, "%d %d %" PRIu64 " %" PRIu64 " %d %lld ", code, hold, token, last, abandoned, number);
  for (const char *c = text; *c != '\0'; c++) fputc(*c == '\n' ? ' ' : *c, answers);
  fputc('\n', answers);
  fflush(answers);
}

static long long generation_of(const colock_hold *hold) {
  char id[64] = "";
  colock_hold_id(hold, id, sizeof id);
  const char *last = strrchr(id, ':');
  return last != NULL ? atoll(last + 1) : 0;
}

/* What a call answers that got, or changed, a hold. */
static void answer_hold(int code, int hold) {
  bool got = code == COLOCK_OK;
  answer(code, holds[hold] != NULL ? hold : -1, got ? generation_of(holds[hold]) : 0, got ? "" : colock_last_message());
}

static void answer_code(int code) { answer(code, -1, 0, code == COLOCK_OK ? "" : colock_last_message()); }
static void misuse(const char *why) { answer(AGENT_MISUSE, -1, 0, why); }

static void decode(char *word) {
  char *to = word;
  for (const char *from = word; *from != '\0'; from++) {
    if (*from == '%' && from[1] != '\0' && from[2] != '\0') {
      char hex[3] = {from[1], from[2], '\0'};
      *to++ = (char)strtol(hex, NULL, 16);
      from += 2;
    } else *to++ = *from;
  }
  *to = '\0';
}

static const char *word(const struct call *call, int i) { return i < call->count ? call->word[i] : ""; }

static int hold_number(const struct call *call) {
  int hold = call->count > 1 ? atoi(call->word[1]) : 0;
  return hold >= 0 && hold < HOLDS && holds[hold] != NULL ? hold : -1;
}

/* ---- locks ---- */

static void do_open(const struct call *call) {
  int index = 0;
  while (index < LOCKS && locks[index] != NULL) index++;
  if (index == LOCKS) return misuse("too many locks");
  colock_config *config = NULL;
  int code = colock_config_new(&config);
  for (int i = 2; code == COLOCK_OK && i < call->count; i++) {
    char *value = strchr(call->word[i], '=');
    if (value == NULL) continue;
    *value++ = '\0';
    code = colock_config_set(config, call->word[i], value);
  }
  bool target = strcmp(call->word[0], "open_for") == 0;
  if (code == COLOCK_OK) code = (target ? colock_open_for : colock_open)(&locks[index], word(call, 1), config);
  if (code == COLOCK_OK) current = index;
  answer_code(code);
  colock_config_free(config);
}

static void do_use(const struct call *call) {
  int index = atoi(word(call, 1));
  if (index < 0 || index >= LOCKS || locks[index] == NULL) return misuse("no such lock");
  current = index;
  answer_code(COLOCK_OK);
}

static void do_close(const struct call *call) {
  (void)call;
  if (current < 0) return misuse("no lock");
  colock *lock = locks[current];
  locks[current] = NULL;
  current = -1;
  colock_close(lock);
  answer_code(COLOCK_OK);
}

static void do_acquire(const struct call *call) {
  int index = 0;
  while (index < HOLDS && holds[index] != NULL) index++;
  if (index == HOLDS || current < 0) return misuse("no lock, or too many holds");
  int mode = word(call, 1)[0] == 'x' ? COLOCK_EXCLUSIVE : COLOCK_SHARED;
  int code;
  if (strcmp(call->word[0], "try") == 0) {
    code = colock_try_acquire(locks[current], mode, &holds[index]);
  } else {
    colock_request request;
    colock_request_init(&request, sizeof request, mode);
    request.timeout_ms = strtoll(word(call, 2), NULL, 10);
    for (int i = 3; i < call->count; i++) {
      if (strncmp(call->word[i], "priority=", 9) == 0) request.priority = atoi(call->word[i] + 9);
      if (strncmp(call->word[i], "purpose=", 8) == 0) request.purpose = call->word[i] + 8;
      if (strncmp(call->word[i], "deadline=", 9) == 0)
        request.deadline_ns = colockp_now_ns() + strtoll(call->word[i] + 9, NULL, 10) * 1000000;
      if (strcmp(call->word[i], "interruptible") == 0) request.flags |= COLOCK_INTERRUPTIBLE;
    }
    code = colock_acquire_with(locks[current], &request, &holds[index]);
  }
  answer_hold(code, index);
}

static void do_idle(const struct call *call) {
  (void)call;
  if (current < 0) return misuse("no lock");
  answer_code(colock_release_idle(locks[current]));
}

/* For the test to look at it. */
static void do_where(const struct call *call) {
  (void)call;
  if (current < 0) return misuse("no lock");
  answer(COLOCK_OK, -1, (long long)(intptr_t)locks[current], "");
}

static void do_cancel(const struct call *call) {
  if (current < 0) return misuse("no lock");
  colock_cancel(locks[current], atoi(word(call, 1)));
  answer_code(COLOCK_OK);
}

/* ---- holds ---- */

static void do_hold(const struct call *call) {
  int hold = hold_number(call);
  const char *verb = call->word[0];
  if (hold < 0) return misuse("no such hold");
  if (strcmp(verb, "release") == 0) {
    colock_hold *released = holds[hold];
    holds[hold] = NULL;
    return answer_code(colock_release(released));
  }
  if (strcmp(verb, "upgrade") == 0) return answer_hold(colock_upgrade(holds[hold], atoll(word(call, 2))), hold);
  if (strcmp(verb, "downgrade") == 0) return answer_hold(colock_downgrade(holds[hold]), hold);
  if (strcmp(verb, "yield") == 0) return answer_hold(colock_yield(holds[hold], atoll(word(call, 2))), hold);
  int code = AGENT_MISUSE;
  long long number = 0;
  if (strcmp(verb, "check") == 0) code = colock_check(holds[hold]);
  else if (strcmp(verb, "renew") == 0) code = colock_renew(holds[hold]);
  else if (strcmp(verb, "inherit") == 0) code = colock_inherit(holds[hold], atoi(word(call, 2)));
  else if (strcmp(verb, "detach") == 0) code = colock_detach(holds[hold]);
  else if (strcmp(verb, "recovered") == 0) code = colock_recovered(holds[hold]);
  else if (strcmp(verb, "token") == 0 || strcmp(verb, "abandoned") == 0) {
    code = COLOCK_OK;
    number = colock_abandoned(holds[hold]);
  } else if (strcmp(verb, "contended") == 0) {
    code = COLOCK_OK;
    number = colock_contended(holds[hold]);
  }
  answer(code, hold, number, code == COLOCK_OK ? "" : colock_last_message());
}

/* ---- from outside ---- */

static void do_force(const struct call *call) { answer_code(colock_force_unlock(word(call, 1), word(call, 2), NULL)); }

static void do_report(const struct call *call) {
  colock_report *report = NULL;
  int code = colock_report_read(word(call, 1), &report);
  if (code != COLOCK_OK) return answer_code(code);
  static char text[AGENT_LINE / 2];
  size_t used = 0;
  text[0] = '\0';
  for (size_t i = 0; i < colock_report_count(report) && used < sizeof text - 512; i++) {
    const colock_entry *e = colock_report_entry(report, i);
    const char *label = colock_entry_text(e, COLOCK_LABEL);
    const char *purpose = colock_entry_text(e, COLOCK_PURPOSE);
    used += (size_t)snprintf(text + used, sizeof text - used, "%d:%d:%d:%d:%s:%s;",
                             (int)colock_entry_number(e, COLOCK_ROLE), (int)colock_entry_number(e, COLOCK_MODE),
                             (int)colock_entry_number(e, COLOCK_PID), (int)colock_entry_number(e, COLOCK_PRIORITY),
                             label ? label : "", purpose ? purpose : "");
  }
  answer(COLOCK_OK, -1, (long long)colock_report_count(report), text);
  colock_report_free(report);
}

static void do_kept(const struct call *call) {
  colock_report *report = NULL;
  int code = colock_report_read(word(call, 1), &report);
  if (code != COLOCK_OK) return answer_code(code);
  answer(COLOCK_OK, -1, colock_report_stat(report, "cached"), "");
  colock_report_free(report);
}

/* ---- the process ---- */

static void perform(const struct call *call);

static void do_fork(const struct call *call) {
  if (call->count < 2) return misuse("fork COMMAND");
  struct call rest = {.count = call->count - 1};
  memcpy(rest.word, call->word + 1, (size_t)rest.count * sizeof rest.word[0]);
  pid_t child = fork();
  if (child == 0) {
    perform(&rest);
    _exit(0);
  }
  if (child < 0) return misuse("fork failed");
  int status;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) misuse("the child was killed");
}

/* The child must not keep the agent's pipes open: its end would go unnoticed. */
static void leave_pipes(void) { fclose(answers); }

static void do_child(const struct call *call) {
  bool execute = strcmp(call->word[0], "exec") == 0;
  int ready[2];
  if (pipe(ready) != 0) return misuse("no pipe");
  pid_t child = fork();
  if (child == 0) {
    leave_pipes();
    close(ready[0]);
    if (!execute) {
      close(ready[1]);
      for (;;) pause();
    }
    fcntl(ready[1], F_SETFD, FD_CLOEXEC); /* so that the agent hears of the exec */
    execlp("tail", "tail", "-f", "/dev/null", (char *)NULL);
    _exit(127);
  }
  close(ready[1]);
  char byte;
  while (read(ready[0], &byte, 1) > 0) continue; /* ends when the child runs what it is to run */
  close(ready[0]);
  answer(child > 0 ? COLOCK_OK : AGENT_MISUSE, -1, child, "");
}

static void do_nobody(const struct call *call) {
  (void)call;
  bool done = geteuid() == 0 && setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0;
  if (done) answer_code(COLOCK_OK);
  else misuse("not root");
}

static void do_environment(const struct call *call) {
  setenv(word(call, 1), word(call, 2), 1);
  answer_code(COLOCK_OK);
}

static void do_exit(const struct call *call) { _exit(atoi(word(call, 1))); }

static void do_abort(const struct call *call) {
  (void)call;
  raise(SIGKILL);
}

/* ---- threads ---- */

struct start {
  int from, to, current;
};

static void serve(FILE *commands);

static void *thread_main(void *arg) {
  struct start start = *(struct start *)arg;
  free(arg);
  FILE *commands = fdopen(start.from, "re");
  answers = fdopen(start.to, "we");
  current = start.current;
  if (commands == NULL || answers == NULL) _exit(98);
  answer(COLOCK_OK, -1, (long long)gettid(), "");
  serve(commands);
  fclose(commands);
  fclose(answers);
  return NULL;
}

/* Signals are for the first thread. */
static void do_thread(const struct call *call) {
  struct start *start = malloc(sizeof *start);
  pthread_t thread;
  sigset_t ours, before;
  if (start == NULL) return misuse("no memory");
  start->from = open(word(call, 1), O_RDONLY | O_CLOEXEC);
  start->to = open(word(call, 2), O_WRONLY | O_CLOEXEC);
  start->current = current;
  sigemptyset(&ours);
  sigaddset(&ours, SIGUSR1);
  sigaddset(&ours, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &ours, &before);
  int error = pthread_create(&thread, NULL, thread_main, start);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) return misuse("no thread");
  pthread_detach(thread);
  answer_code(COLOCK_OK);
}

/* The thread ends, and what it holds stays held. */
static void do_leave(const struct call *call) {
  (void)call;
  leaving = true;
  answer_code(COLOCK_OK);
}

static void perform(const struct call *call) {
  static const struct {
    const char *name;
    void (*run)(const struct call *call);
  } verbs[] = {
      {"open", do_open}, {"open_for", do_open}, {"use", do_use}, {"close", do_close},
      {"acquire", do_acquire}, {"try", do_acquire}, {"release", do_hold}, {"check", do_hold},
      {"renew", do_hold}, {"inherit", do_hold}, {"detach", do_hold}, {"token", do_hold},
      {"abandoned", do_hold}, {"recovered", do_hold}, {"upgrade", do_hold}, {"downgrade", do_hold},
      {"contended", do_hold}, {"yield", do_hold}, {"force", do_force}, {"report", do_report},
      {"idle", do_idle}, {"kept", do_kept}, {"where", do_where}, {"thread", do_thread}, {"leave", do_leave},
      {"cancel", do_cancel}, {"fork", do_fork}, {"fork_live", do_child}, {"exec", do_child},
      {"nobody", do_nobody}, {"exit", do_exit}, {"abort", do_abort}, {"environment", do_environment},
  };
  for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
    if (strcmp(call->word[0], verbs[i].name) == 0) return verbs[i].run(call);
  }
  misuse("no such command");
}

static void on_cancel(int signal_number) {
  (void)signal_number;
  if (current >= 0) colock_cancel(locks[current], 1);
}

static void on_interrupt(int signal_number) { (void)signal_number; }

static void serve(FILE *commands) {
  char line[AGENT_LINE];
  while (!leaving) {
    clearerr(commands);
    if (fgets(line, sizeof line, commands) == NULL) {
      if (ferror(commands)) continue; /* a signal between two commands */
      return;                         /* the test is gone */
    }
    struct call call = {0};
    char *rest = line;
    for (char *w; call.count < WORDS && (w = strsep(&rest, " \n")) != NULL;) {
      if (*w == '\0') continue;
      decode(w);
      call.word[call.count++] = w;
    }
    if (call.count > 0) perform(&call);
  }
}

int agent_main(int from, int to) {
  FILE *commands = fdopen(from, "re");
  answers = fdopen(to, "we");
  if (commands == NULL || answers == NULL) return 98;
  struct sigaction cancel = {.sa_handler = on_cancel}; /* no SA_RESTART: as a caller who wants EINTR sets it up */
  struct sigaction interrupt = {.sa_handler = on_interrupt};
  sigaction(SIGUSR1, &cancel, NULL);
  sigaction(SIGUSR2, &interrupt, NULL);
  const char *page = getenv(AGENT_PAUSE);
  if (page != NULL) pause_install(atoi(page));
  unsetenv(AGENT_PAUSE);
  serve(commands);
  if (leaving) pthread_exit(NULL);
  return 0;
}

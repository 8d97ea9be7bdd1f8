/* agent.c - the test's side of an agent: start it, ask it, end it. See agent.h. */
#define _GNU_SOURCE
#include "agent.h"

#include "pause.h"
#include "support.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGENTS_MAX 320
#define ANSWER_MS 30000

static struct agent *agents[AGENTS_MAX];

static void execute_agent(int from, int to, int pause) {
  char program[4096], in[16], out[16], page[16];
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  if (n < 0) _exit(99);
  program[n] = '\0';
  snprintf(in, sizeof in, "%d", from);
  snprintf(out, sizeof out, "%d", to);
  fcntl(from, F_SETFD, 0);
  fcntl(to, F_SETFD, 0);
  fcntl(pause, F_SETFD, 0);
  snprintf(page, sizeof page, "%d", pause);
  setenv(AGENT_PAUSE, page, 1);
  setenv("LD_BIND_NOW", "1", 1); /* looking up symbols takes most of the instructions of a first call, see trace.h */
  execl(program, program, AGENT_ARGUMENT, in, out, (char *)NULL);
  _exit(99);
}

static struct agent *new_agent(void) {
  size_t place = 0;
  while (place < AGENTS_MAX && agents[place] != NULL) place++;
  ck_assert_msg(place < AGENTS_MAX, "too many agents");
  struct agent *agent = calloc(1, sizeof *agent);
  ck_assert_ptr_nonnull(agent);
  agents[place] = agent;
  return agent;
}

struct agent *agent_start(void) {
  struct agent *agent = new_agent();
  int commands[2], answers[2], pause;
  ck_assert_int_eq(pipe2(commands, O_CLOEXEC), 0);
  ck_assert_int_eq(pipe2(answers, O_CLOEXEC), 0);
  agent->page = pause_new(&pause);
  ck_assert_ptr_nonnull(agent->page);
  fflush(NULL);
  agent->pid = fork();
  ck_assert_int_ge(agent->pid, 0);
  if (agent->pid == 0) execute_agent(commands[0], answers[1], pause);
  agent->tid = agent->pid;
  close(commands[0]);
  close(answers[1]);
  close(pause);
  agent->to = commands[1];
  agent->from = answers[0];
  return agent;
}

static int open_fifo(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC);
  ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
  return fd;
}

struct agent *agent_thread(struct agent *first) {
  char in[512], out[512];
  static unsigned number;
  struct agent *agent = new_agent();
  snprintf(in, sizeof in, "%s/thread.%u.in", test_dir(), ++number);
  snprintf(out, sizeof out, "%s/thread.%u.out", test_dir(), number);
  ck_assert_int_eq(mkfifo(in, 0600), 0);
  ck_assert_int_eq(mkfifo(out, 0600), 0);
  int both[2] = {open_fifo(in, O_RDWR), open_fifo(out, O_RDWR)}; /* so that no open waits for the other side */
  agent->to = open_fifo(in, O_WRONLY);
  agent->from = open_fifo(out, O_RDONLY);
  int code = agent_call(first, "thread %s %s", agent_word(in), agent_word(out));
  ck_assert_msg(code == COLOCK_OK, "agent %d: no thread", (int)first->pid);
  agent->pid = first->pid;
  agent->page = first->page;
  agent->asked = true;
  agent_answer(agent);
  agent->tid = (pid_t)agent->number;
  close(both[0]);
  close(both[1]);
  unlink(in);
  unlink(out);
  return agent;
}

struct agent *agent_open(const char *path) {
  struct agent *agent = agent_start();
  int code = agent_call(agent, "open %s", agent_word(path));
  ck_assert_msg(code == COLOCK_OK, "agent: open %s: %d, %s", path, code, agent->text);
  return agent;
}

static void send_line(struct agent *agent, const char *format, va_list list) {
  ck_assert_msg(!agent->asked, "agent %d still owes an answer", (int)agent->pid);
  char line[AGENT_LINE];
  int n = vsnprintf(line, sizeof line - 1, format, list);
  ck_assert(n > 0 && (size_t)n < sizeof line - 1);
  line[n] = '\n';
  ck_assert_int_eq(write(agent->to, line, (size_t)n + 1), n + 1);
  agent->asked = true;
}

void agent_send(struct agent *agent, const char *format, ...) {
  va_list list;
  va_start(list, format);
  send_line(agent, format, list);
  va_end(list);
}

bool agent_answered(struct agent *agent) {
  struct pollfd p = {.fd = agent->from, .events = POLLIN};
  return poll(&p, 1, 0) == 1 && (p.revents & POLLIN); /* not the mere end of it */
}

static void read_line(struct agent *agent, char *line, size_t size) {
  size_t used = 0;
  int64_t limit = test_now_ms() + ANSWER_MS;
  while (used == 0 || line[used - 1] != '\n') {
    int64_t left = limit - test_now_ms();
    struct pollfd p = {.fd = agent->from, .events = POLLIN};
    if (left <= 0 || poll(&p, 1, (int)left) == 0)
      ck_abort_msg("agent %d: no answer in %d ms", (int)agent->pid, ANSWER_MS);
    ssize_t n = read(agent->from, line + used, size - 1 - used);
    if (n < 0 && errno == EINTR) continue;
    ck_assert_msg(n > 0, "agent %d ended without an answer", (int)agent->pid);
    used += (size_t)n;
  }
  line[used - 1] = '\0';
}

int agent_answer(struct agent *agent) {
  ck_assert_msg(agent->asked, "agent %d was not asked", (int)agent->pid);
  static char line[AGENT_LINE];
  read_line(agent, line, sizeof line);
  agent->asked = false;
  int text = 0;
  int n = sscanf(line, "%d %d %" SCNu64 " %" SCNu64 " %d %lld %n", &agent->code, &agent->hold, &agent->token,
                 &agent->last_token, &agent->abandoned, &agent->number, &text);
  ck_assert_msg(n == 6, "agent %d said \"%s\"", (int)agent->pid, line);
  snprintf(agent->text, sizeof agent->text, "%s", line + text);
  ck_assert_msg(agent->code != AGENT_MISUSE, "agent %d: %s", (int)agent->pid, agent->text);
  return agent->code;
}

int agent_call(struct agent *agent, const char *format, ...) {
  va_list list;
  va_start(list, format);
  send_line(agent, format, list);
  va_end(list);
  return agent_answer(agent);
}

static int reap(struct agent *agent) {
  pid_t pid = agent->pid;
  int status = test_wait(pid);
  pause_free(agent->page);
  for (size_t i = 0; i < AGENTS_MAX; i++) { /* it and its threads */
    if (agents[i] == NULL || agents[i]->pid != pid) continue;
    agents[i]->pid = 0;
    agents[i]->page = NULL;
    close(agents[i]->to);
    close(agents[i]->from);
  }
  return status;
}

void agent_kill(struct agent *agent) {
  kill(agent->pid, SIGKILL);
  reap(agent);
}

int agent_wait(struct agent *agent) { return reap(agent); }

void agent_end_all(void) {
  for (size_t i = 0; i < AGENTS_MAX; i++) {
    if (agents[i] == NULL) continue;
    if (agents[i]->pid != 0) agent_kill(agents[i]);
    free(agents[i]);
    agents[i] = NULL;
  }
}

const char *agent_word(const char *text) {
  static char words[8][2048];
  static unsigned next;
  char *word = words[next++ % 8];
  size_t used = 0;
  for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
    bool plain = (*c > ' ' && *c < 127 && *c != '%');
    ck_assert_uint_lt(used + 4, sizeof words[0]);
    used += (size_t)sprintf(word + used, plain ? "%c" : "%%%02x", *c);
  }
  word[used] = '\0';
  return word;
}

/* trace.c - single steps and the words that are watched. See trace.h. */
#define _GNU_SOURCE
#include "trace.h"

#include "lock.h"
#include "support.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define BURST 20000 /* instructions, before the others are looked at again */
#define IDLE_TURNS 1000 /* about as long as the host may take to wake its processor */

static const struct {
  const char *name;
  size_t at, size, stride;
  int count;
  bool own; /* in the agent's memory */
} words[] = {
    {"rank", COLOCKP_AT_QUEUE, 8, sizeof(struct colockp_queue_entry), TRACE_QUEUE, false},
    {"bell", COLOCKP_AT_BELLS, 4, 4, TRACE_QUEUE, false},
    {"flag", offsetof(struct colockp_header, flag), 8, 0, 1, false},
    {"turn", offsetof(struct colockp_header, turn), 8, 0, 1, false},
    {"phase", offsetof(struct colockp_header, phase), 8, 0, 1, false},
    {"recall", offsetof(struct colockp_header, recall), 4, 0, 1, false},
    {"fence", offsetof(struct colockp_header, fence), 8, 0, 1, false},
    {"writer", offsetof(struct colockp_header, writer), 8, 0, 1, false},
    {"generation", offsetof(struct colockp_header, generation), 8, 0, 1, false},
    {"cell", offsetof(struct colock, cache.cells[0].seat), 8, sizeof(struct colockp_cell), COLOCKP_CELLS, true},
    {"attention", offsetof(struct colock, cache.attention), 4, 0, 1, true},
    {"look", offsetof(struct colock, cache.look_ns), 8, 0, 1, true},
};

static int find(const char *word) {
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp(words[i].name, word) == 0) return (int)i;
  return -1;
}

bool trace_knows(const char *word) { return find(word) >= 0; }

static int be_traced(void *arg) {
  (void)arg;
  return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 77;
}

/* Elsewhere an atomic operation may be a loop of a reserving load and a conditional store, and a step in between always
 * loses the reservation: it would never end. */
bool trace_allowed(void) {
#if defined(__x86_64__) || defined(__i386__)
  return test_in_child(be_traced, NULL) == 0;
#else
  (void)be_traced;
  return false;
#endif
}

static void look(const struct trace *trace, uint64_t seen[TRACE_QUEUE]) {
  size_t at = words[trace->word].at, stride = words[trace->word].stride, size = words[trace->word].size;
  unsigned char own[TRACE_QUEUE * sizeof(struct colockp_cell)];
  const unsigned char *from = trace->map + at;
  if (words[trace->word].own) {
    size_t whole = (size_t)(words[trace->word].count - 1) * stride + size;
    ck_assert(pread(trace->memory, own, whole, (off_t)(trace->lock + at)) == (ssize_t)whole);
    from = own;
  }
  for (int i = 0; i < words[trace->word].count; i++) {
    seen[i] = 0;
    memcpy(&seen[i], from + (size_t)i * stride, size);
  }
}

static bool changed(const struct trace *trace) {
  uint64_t now[TRACE_QUEUE];
  look(trace, now);
  return memcmp(now, trace->seen, (size_t)words[trace->word].count * sizeof now[0]) != 0;
}

static void undo(struct trace *trace) {
  struct iovec registers = {.iov_base = trace->registers, .iov_len = trace->registers_size};
  for (int i = 0; i < words[trace->word].count; i++) {
    size_t at = words[trace->word].at + (size_t)i * words[trace->word].stride, size = words[trace->word].size;
    if (!words[trace->word].own) memcpy(trace->map + at, &trace->seen[i], size);
    else ck_assert(pwrite(trace->memory, &trace->seen[i], size, (off_t)(trace->lock + at)) == (ssize_t)size);
  }
  ck_assert_int_eq(ptrace(PTRACE_SETREGSET, trace->tid, NT_PRSTATUS, &registers), 0);
}

/* The thread is stopped: remember how all is, let it make one step. */
static void step(struct trace *trace, int signal_number) {
  struct iovec registers = {.iov_base = trace->registers, .iov_len = sizeof trace->registers};
  look(trace, trace->seen);
  ck_assert_int_eq(ptrace(PTRACE_GETREGSET, trace->tid, NT_PRSTATUS, &registers), 0);
  trace->registers_size = registers.iov_len;
  ck_assert_int_eq(ptrace(PTRACE_SINGLESTEP, trace->tid, NULL, (void *)(intptr_t)signal_number), 0);
}

void trace_begin(struct trace *trace, pid_t pid, pid_t tid, bool before, const char *word, long n) {
  int status;
  char path[64];
  trace->tid = tid;
  trace->before = before;
  trace->there = false;
  trace->word = find(word);
  trace->left = n;
  snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
  trace->memory = open(path, O_RDWR | O_CLOEXEC);
  ck_assert_int_ge(trace->memory, 0);
  ck_assert_msg(ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0, "cannot trace %d: %s", (int)tid, strerror(errno));
  ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), 0);
  ck_assert_int_eq(waitpid(tid, &status, __WALL), tid);
  ck_assert(WIFSTOPPED(status));
  step(trace, 0); /* on, even where it had been stopped */
}

/* It made a step, or a signal came. */
static void stopped(struct trace *trace, int status) {
  int signal_number = status >> 16 != 0 ? SIGTRAP : WSTOPSIG(status); /* an event is no signal */
  if (changed(trace) && --trace->left == 0) {
    if (trace->before) undo(trace);
    trace->there = true;
  } else {
    step(trace, signal_number == SIGTRAP ? 0 : signal_number);
  }
}

bool trace_run(struct trace *trace) {
  for (int steps = 0, idle = 0; trace->tid != 0 && !trace->there && steps < BURST && idle < IDLE_TURNS;) {
    int status;
    pid_t pid = waitpid(trace->tid, &status, WNOHANG | __WALL);
    if (pid == 0) {
      sched_yield();
      idle++;
      continue;
    }
    ck_assert_msg(pid == trace->tid && WIFSTOPPED(status), "the traced agent ended");
    idle = 0;
    steps++;
    stopped(trace, status);
  }
  return trace->there;
}

void trace_end(struct trace *trace) {
  if (trace->tid == 0) return;
  ptrace(PTRACE_DETACH, trace->tid, NULL, NULL);
  close(trace->memory);
  trace->tid = 0;
  trace->there = false;
}

/* identity.c - who this process and thread are, as the lock file shows it.
 *
 * What the process keeps for life (host, boot, program, namespace, start time) is read once, under a mutex of its own
 * that nests inside no other and outside no other; pid and user id are asked each time, because daemons drop
 * privileges. A forked child calls colockp_identity_forget: it makes the mutex anew, whose owner may have been a thread
 * of the parent.
 */
#define _GNU_SOURCE
#include "identity.h"
#include "process.h"
#include "system.h"
#include "utf8.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static pthread_mutex_t facts_mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool boot_known;    /* under facts_mutex; boot_id is constant once it is set */
static atomic_bool facts_known;   /* under facts_mutex; facts is constant once it is set, until a fork */
static char boot_id[40];
static struct colockp_identity facts;

_Atomic uint32_t colockp_tid_epoch = 1;
static atomic_uint_least64_t last_thread;
COLOCKP_FAST_LOCAL struct colockp_tid colockp_tid_cached;
COLOCKP_FAST_LOCAL uint64_t colockp_thread_number;

/* The start of a small file, ended with NUL; "" if it cannot be read. */
static void read_text(const char *path, char *out, size_t size) {
  ssize_t length = -1;
  int fd = colockp_system.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
  if (fd >= 0) {
    do
      length = colockp_system.pread(fd, out, size - 1, 0);
    while (length < 0 && errno == EINTR);
    colockp_system.close(fd);
  }
  out[length > 0 ? length : 0] = '\0';
}

/* Field 3 of /proc/PID/stat, the letter of its state, and field 22. The second field is a program's name in brackets,
 * which may itself hold blanks and brackets. */
static uint64_t start_ticks(const char *stat, char *state) {
  const char *at = strrchr(stat, ')');
  *state = at && at[1] == ' ' ? at[2] : '\0';
  for (int field = 2; at && field < 22; field++)
    at = strchr(at + 1, ' ');
  return at ? strtoull(at + 1, NULL, 10) : 0;
}

static uint64_t own_start_ticks(void) {
  char text[1024], state;
  read_text("/proc/self/stat", text, sizeof text);
  return start_ticks(text, &state);
}

void colockp_text_copy(char *field, size_t size, const char *text) {
  size_t length = text ? strnlen(text, size) : 0;
  if (length == size)
    length = colockp_utf8_whole(text, size - 1);
  if (length > 0)
    memcpy(field, text, length);
  memset(field + length, 0, size - length);
}

static void learn_boot_id(void) { /* under facts_mutex */
  if (atomic_load_explicit(&boot_known, memory_order_relaxed))
    return;
  char text[64];
  read_text("/proc/sys/kernel/random/boot_id", text, sizeof text);
  text[strcspn(text, "\n")] = '\0';
  colockp_text_copy(boot_id, sizeof boot_id, text);
  atomic_store_explicit(&boot_known, true, memory_order_release);
}

const char *colockp_boot_id(void) {
  if (!atomic_load_explicit(&boot_known, memory_order_acquire)) {
    int kept = errno;
    pthread_mutex_lock(&facts_mutex);
    learn_boot_id();
    pthread_mutex_unlock(&facts_mutex);
    errno = kept;
  }
  return boot_id;
}

static void learn_facts(void) { /* under facts_mutex */
  if (atomic_load_explicit(&facts_known, memory_order_relaxed))
    return;
  int kept = errno;
  learn_boot_id();
  memset(&facts, 0, sizeof facts);
  struct stat st;
  if (colockp_system.fstatat(AT_FDCWD, "/proc/self/ns/pid", &st, 0) == 0)
    facts.pid_namespace = st.st_ino;
  facts.start_ticks = own_start_ticks();
  struct utsname name;
  if (uname(&name) == 0)
    colockp_text_copy(facts.host, sizeof facts.host, name.nodename);
  colockp_text_copy(facts.boot_id, sizeof facts.boot_id, boot_id);
  colockp_text_copy(facts.program, sizeof facts.program, program_invocation_short_name);
  errno = kept;
  atomic_store_explicit(&facts_known, true, memory_order_release);
}

static const struct colockp_identity *get_facts(void) {
  if (!atomic_load_explicit(&facts_known, memory_order_acquire)) {
    pthread_mutex_lock(&facts_mutex);
    learn_facts();
    pthread_mutex_unlock(&facts_mutex);
  }
  return &facts;
}

void colockp_identity_get(struct colockp_identity *identity) {
  *identity = *get_facts();
  identity->pid = (int32_t)getpid();
  identity->uid = (uint32_t)geteuid();
}

static bool seen_from_here(const struct colockp_identity *identity) {
  const struct colockp_identity *here = get_facts();
  return identity->pid > 0 && identity->start_ticks != 0 && identity->boot_id[0] != '\0' &&
         identity->pid_namespace == here->pid_namespace && strcmp(identity->boot_id, here->boot_id) == 0;
}

bool colockp_process_numbered(const struct colockp_identity *identity) {
  int kept = errno;
  bool there = seen_from_here(identity) && (kill(identity->pid, 0) == 0 || errno == EPERM);
  errno = kept;
  return there;
}

int colockp_process_stopped(const struct colockp_identity *identity) {
  char path[40], text[1024], state;
  int kept = errno;
  if (!seen_from_here(identity))
    return -1;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)identity->pid);
  colockp_read_unshared(path, text, sizeof text);
  errno = kept;
  if (start_ticks(text, &state) != identity->start_ticks || strchr("ZXx", state)) /* these are gone but for the pid */
    return -1;
  return state == 'T' || state == 't';
}

int32_t colockp_tid_find(void) {
  colockp_tid_cached.epoch = atomic_load_explicit(&colockp_tid_epoch, memory_order_relaxed);
  return colockp_tid_cached.tid = (int32_t)syscall(SYS_gettid);
}

uint64_t colockp_thread_new(void) {
  return colockp_thread_number = atomic_fetch_add_explicit(&last_thread, 1, memory_order_relaxed) + 1;
}

void colockp_identity_forget(void) {
  pthread_mutex_init(&facts_mutex, NULL); /* this child has one thread: nobody is inside */
  atomic_store_explicit(&facts_known, false, memory_order_relaxed);
  atomic_fetch_add_explicit(&colockp_tid_epoch, 1, memory_order_relaxed);
}

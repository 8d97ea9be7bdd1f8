/* pump.c - one thread that sleeps on the descriptors of waits and of contention events.
 *
 * Node-API has no poll, hence epoll and a thread. A descriptor tells once (EPOLLONESHOT) and is silent until it is
 * asked for again: they stay readable until the JS thread has looked, and it may be busy.
 */
#include "addon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { AT_ONCE = 32 };
#define STOP UINT64_MAX

static void *pump(void *argument) {
  struct addon *addon = argument;
  struct epoll_event events[AT_ONCE];
  for (;;) {
    int count = epoll_wait(addon->epoll, events, AT_ONCE, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.u64 == STOP)
        return NULL;
      post_ready(addon, events[i].data.u64);
    }
    if (count < 0 && errno != EINTR)
      return NULL; /* cannot be: the descriptor is our own */
  }
}

static int fail(struct addon *addon) {
  int code = errno == EMFILE || errno == ENFILE ? COLOCK_EMFILE : errno == ENOMEM ? COLOCK_ENOMEM : COLOCK_ESYSTEM;
  if (addon->epoll >= 0)
    close(addon->epoll);
  if (addon->stop >= 0)
    close(addon->stop);
  addon->epoll = addon->stop = -1;
  return code;
}

static int begin(struct addon *addon) {
  addon->epoll = epoll_create1(EPOLL_CLOEXEC);
  addon->stop = addon->epoll < 0 ? -1 : eventfd(0, EFD_CLOEXEC);
  struct epoll_event stop = { .events = EPOLLIN, .data.u64 = STOP };
  if (addon->stop < 0 || epoll_ctl(addon->epoll, EPOLL_CTL_ADD, addon->stop, &stop) != 0)
    return fail(addon);
  sigset_t all, before; /* signals are the JS thread's */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&addon->pump, NULL, pump, addon);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error) {
    errno = error;
    return fail(addon);
  }
  return 0;
}

/* Room for one event of each descriptor, and for those that wait to be told of descriptors which are gone. */
static bool make_room(struct addon *addon) {
  pthread_mutex_lock(&addon->mutex);
  size_t size = addon->watched + 1 + addon->ready_used;
  bool enough = size <= addon->ready_size;
  if (!enough) {
    uint64_t *ready = realloc(addon->ready, 2 * size * sizeof *ready);
    if (ready) {
      addon->ready = ready;
      addon->ready_size = 2 * size;
      enough = true;
    }
  }
  pthread_mutex_unlock(&addon->mutex);
  return enough;
}

int pump_add(struct addon *addon, int fd, int64_t id, int kind) {
  int code = addon->epoll < 0 ? begin(addon) : 0;
  if (code)
    return code;
  if (!make_room(addon))
    return COLOCK_ENOMEM;
  struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = (uint64_t)id << 1 | (uint64_t)kind };
  if (epoll_ctl(addon->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
    return errno == ENOMEM || errno == ENOSPC ? COLOCK_ENOMEM : COLOCK_ESYSTEM;
  addon->watched++;
  return 0;
}

void pump_again(struct addon *addon, int fd, int64_t id, int kind) {
  struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = (uint64_t)id << 1 | (uint64_t)kind };
  epoll_ctl(addon->epoll, EPOLL_CTL_MOD, fd, &event);
}

void pump_remove(struct addon *addon, int fd) {
  if (epoll_ctl(addon->epoll, EPOLL_CTL_DEL, fd, NULL) == 0)
    addon->watched--;
}

void pump_end(struct addon *addon) {
  if (addon->epoll < 0)
    return;
  uint64_t one = 1;
  while (write(addon->stop, &one, sizeof one) < 0 && errno == EINTR)
    ;
  pthread_join(addon->pump, NULL);
  close(addon->epoll);
  close(addon->stop);
  addon->epoll = addon->stop = -1;
}

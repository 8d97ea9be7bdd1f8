/* thread.c - see thread.h. */
#include "thread.h"
#include "system.h"

#include <errno.h>
#include <signal.h>

static int create(pthread_t *thread, size_t stack, void *(*body)(void *), void *arg) {
  pthread_attr_t small;
  if (stack == 0)
    return colockp_system.pthread_create(thread, NULL, body, arg);
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, stack);
  int error = colockp_system.pthread_create(thread, &small, body, arg);
  pthread_attr_destroy(&small);
  if (error == EINVAL) /* a program with much thread-local memory: too small */
    error = colockp_system.pthread_create(thread, NULL, body, arg);
  return error;
}

int colockp_thread_start(pthread_t *thread, size_t stack, void *(*body)(void *), void *arg) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it */
  int error = create(thread, stack, body, arg);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

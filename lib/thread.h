/* thread.h - threads of the library's own. All signals are blocked in them, so that no handler of the program's ever
 * runs there. */
#ifndef COLOCKP_THREAD_H
#define COLOCKP_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Start one. stack: how much it needs, in bytes; 0: the default size, for threads that may call back into the program.
 * 0 or an errno. */
int colockp_thread_start(pthread_t *thread, size_t stack, void *(*body)(void *), void *arg);

#endif

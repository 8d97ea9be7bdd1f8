/* pause.h - the table of system calls of an agent, with a stop in it.
 *
 * A thread for which a pause is armed stops its whole process (SIGSTOP) before or after its Nth call of one kind, as
 * if it had been preempted there; other threads pass. The test arms it through a page that it shares with the agent, so
 * also while the agent waits. Calls are named after what the library does, not after the kernel's call:
 *   lock_P unlock_P ask_P, where P is lane, slot, upgrade, guard or all: taking, giving back and looking at those lock
 *   bytes, whether it succeeds or not; futex_wait futex_wake fstat fstatat fdatasync pread openat close
 */
#ifndef COLOCK_TEST_PAUSE_H
#define COLOCK_TEST_PAUSE_H

#include <stdbool.h>
#include <sys/types.h>

struct pause_page;

/* The test's side. */
struct pause_page *pause_new(int *fd); /* fd is for the agent, which maps it and closes it */
void pause_free(struct pause_page *page);
bool pause_knows(const char *call);
void pause_arm(struct pause_page *page, pid_t tid, bool after, const char *call, long n); /* the agent is asleep */

void pause_unwatched(struct pause_page *page); /* from now on the agent can have no inotify instance */
void pause_unticked(struct pause_page *page);  /* who sleeps on the recall word for long does so until it is recalled */

void pause_install(int fd); /* the agent's, before any other thread runs */

#endif

/* 07_epoll FILE: append what comes on standard input, a pipe or a terminal, to FILE, in a loop that never blocks. It
 * reads and ticks on while it waits for the lock, and keeps the lock until somebody else wants it. */
#include <colock.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { INPUT, TICK, WAIT, HOLD };

static int loop, input_ended;
static const char *name;
static char text[4096]; /* read, and not yet in the file */
static size_t size;
static colock *lock;
static colock_wait *wait; /* in line */
static colock_hold *hold; /* ours */

static int watch(int fd, uint32_t what) {
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = what};
  return epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
}

static int begin_to_wait(void) {
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = COLOCK_FOREVER;
  request.purpose = "append";
  int code = colock_wait_start(lock, &request, &wait);
  if (code == COLOCK_OK) watch(colock_wait_fd(wait), WAIT);
  return code;
}

static int step(void) {
  int code = colock_wait_step(wait, &hold);
  if (code == COLOCK_EBUSY) return COLOCK_OK; /* not yet */
  colock_wait_free(wait); /* closes its descriptor, so it is out of the loop */
  wait = NULL;
  if (code == COLOCK_OK && colock_hold_fd(hold) >= 0) watch(colock_hold_fd(hold), HOLD);
  return code;
}

static int append(void) {
  FILE *file = fopen(name, "a");
  int failed = !file || fwrite(text, 1, size, file) != size;
  if (file && fclose(file) != 0) failed = 1;
  if (failed) perror(name);
  size = 0;
  return failed ? -1 : COLOCK_OK;
}

static int let_go(const char *why) {
  int code = colock_release(hold); /* closes the hold's descriptor too */
  hold = NULL;
  printf("let go: %s\n", why);
  return code;
}

static int tick(int timer) {
  uint64_t times;
  if (read(timer, &times, sizeof times) < 0) return COLOCK_OK;
  printf("tick: %s, %zu bytes to write\n", hold ? "have the lock" : wait ? "in line" : "idle", size);
  return hold ? colock_renew(hold) : COLOCK_OK; /* kept for long, but alive */
}

static void read_input(void) {
  ssize_t n = read(STDIN_FILENO, text + size, sizeof text - size);
  if (n > 0) size += (size_t)n;
  else input_ended = 1;
  if (input_ended || size == sizeof text) epoll_ctl(loop, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

static int serve(int timer) {
  for (int code;;) {
    if (hold && size > 0) {
      int full = size == sizeof text;
      if ((code = append()) != COLOCK_OK) return code;
      if (full) watch(STDIN_FILENO, INPUT);
    }
    if (input_ended && size == 0 && !wait) return hold ? let_go("done") : COLOCK_OK;
    if (size > 0 && !wait && (code = begin_to_wait()) != COLOCK_OK) return code;
    struct epoll_event event;
    if (epoll_wait(loop, &event, 1, -1) < 1) continue;
    code = COLOCK_OK;
    if (event.data.u32 == INPUT) read_input();
    if (event.data.u32 == TICK) code = tick(timer);
    if (event.data.u32 == WAIT) code = step();
    if (event.data.u32 == HOLD) code = let_go("somebody waits");
    if (code != COLOCK_OK) return code;
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: 07_epoll FILE < PIPE\n"), 64;
  name = argv[1];
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct itimerspec each = {.it_interval.tv_nsec = 100000000, .it_value.tv_nsec = 100000000};
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  loop = epoll_create1(EPOLL_CLOEXEC);
  if (timerfd_settime(timer, 0, &each, NULL) != 0 || watch(timer, TICK) != 0 || watch(STDIN_FILENO, INPUT) != 0) {
    if (errno == EPERM) return fprintf(stderr, "07_epoll: standard input has to be a pipe or a terminal\n"), 64;
    return perror("07_epoll"), 71;
  }
  int code = colock_open_for(&lock, name, NULL);
  if (code == COLOCK_OK) code = serve(timer);
  if (code > COLOCK_OK) fprintf(stderr, "%s\n", colock_last_message());
  if (hold) colock_release(hold);
  colock_wait_free(wait); /* before the lock */
  colock_close(lock);
  return code == COLOCK_OK ? 0 : 75;
}

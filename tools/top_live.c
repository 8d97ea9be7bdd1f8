/* top_live.c - the loop: keys, signals and the clock, one after another.
 *
 * Signals are blocked and read from a descriptor, so there is no handler, and every way out goes through
 * top_screen_end. The handlers of ncurses never run.
 */
#include "top.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};

struct loop {
  struct top_view view;
  int64_t interval_ms, next_ms; /* when to look again */
  int signals;                  /* descriptor */
  int status;                   /* of the command, once it is to end */
  bool over;
  sigset_t mask, before;
};

static bool ignored(int number) {
  struct sigaction now;
  return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static int watch_signals(struct loop *loop) {
  sigemptyset(&loop->mask);
  for (size_t i = 0; i < sizeof watched / sizeof *watched; i++)
    if (!ignored(watched[i])) /* as under nohup; while blocked it would come all the same */
      sigaddset(&loop->mask, watched[i]);
  loop->signals = signalfd(-1, &loop->mask, SFD_CLOEXEC | SFD_NONBLOCK);
  if (loop->signals < 0) {
    tool_tell("no descriptor for signals: %s", strerror(errno));
    return TOOL_SYSTEM;
  }
  sigprocmask(SIG_BLOCK, &loop->mask, &loop->before);
  return TOOL_OK;
}

/* Ctrl-Z: the shell gets the terminal as it was, and we go on when it continues us. */
static void stop(void) {
  struct sigaction plain = {.sa_handler = SIG_DFL}, kept;
  sigset_t one, before;
  sigemptyset(&plain.sa_mask);
  sigemptyset(&one);
  sigaddset(&one, SIGTSTP);
  top_screen_end();
  sigaction(SIGTSTP, &plain, &kept);
  raise(SIGTSTP); /* pending while blocked; acts on the next line */
  sigprocmask(SIG_UNBLOCK, &one, &before);
  sigprocmask(SIG_SETMASK, &before, NULL);
  sigaction(SIGTSTP, &kept, NULL);
  top_screen_again();
}

static void take_signal(struct loop *loop) {
  struct signalfd_siginfo info;
  while (read(loop->signals, &info, sizeof info) == (ssize_t)sizeof info) {
    if (info.ssi_signo == SIGWINCH) {
      top_screen_again();
    } else if (info.ssi_signo == SIGTSTP) {
      stop();
    } else {
      loop->status = TOOL_SIGNAL + (int)info.ssi_signo;
      loop->over = true;
    }
  }
}

/* The terminal is gone if it is readable and has no key. */
static void take_keys(struct loop *loop, bool hung_up) {
  int key;
  bool any = false;
  while (!loop->view.quit && (key = top_screen_key()) != TOP_KEY_NONE) {
    any = true;
    top_key(&loop->view, key);
  }
  if (!any && hung_up) {
    loop->status = TOOL_SIGNAL + SIGHUP;
    loop->over = true;
  }
  loop->over = loop->over || loop->view.quit;
}

static void look(struct loop *loop) {
  top_look(loop->view.top);
  top_view_settle(&loop->view);
  loop->view.look = false;
  loop->next_ms = tool_now_ms() + loop->interval_ms;
}

static void turn(struct loop *loop) {
  struct pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = loop->signals, .events = POLLIN},
                           {.fd = loop->view.unlock.fd, .events = POLLIN}};
  int64_t left_ms = loop->next_ms - tool_now_ms();
  left_ms = left_ms < 0 ? 0 : left_ms > 3600000 ? 3600000 : left_ms;
  if (poll(ready, 3, (int)left_ms) < 0)
    return; /* EINTR: a signal that is not ours to care about */
  if (ready[1].revents != 0)
    take_signal(loop);
  if (ready[0].revents != 0)
    take_keys(loop, (ready[0].revents & (POLLHUP | POLLERR)) != 0);
  if (ready[2].revents != 0 && top_unlock_hear(&loop->view.unlock))
    top_view_result(&loop->view);
  if (!loop->over && (loop->view.look || tool_now_ms() >= loop->next_ms))
    look(loop);
  if (!loop->over)
    top_draw(&loop->view, loop->interval_ms);
}

int top_live(struct top *top, int64_t interval_ms) {
  struct loop loop = {.interval_ms = interval_ms, .next_ms = tool_now_ms() + interval_ms};
  if ((loop.status = watch_signals(&loop)) != TOOL_OK)
    return loop.status;
  tool_before_dying = top_screen_end;
  top_view_begin(&loop.view, top);
  loop.status = top_screen_begin();
  if (loop.status == TOOL_OK) {
    top_draw(&loop.view, interval_ms);
    while (!loop.over)
      turn(&loop);
    top_screen_end();
  }
  tool_before_dying = NULL;
  top_view_end(&loop.view);
  close(loop.signals);
  if (loop.status < TOOL_SIGNAL) /* else one that came late, as SIGHUP behind the end of its terminal, would end us */
    sigprocmask(SIG_SETMASK, &loop.before, NULL);
  return loop.status;
}

/* screen.c - a small terminal. See screen.h. */
#define _GNU_SOURCE
#include "screen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- what is drawn ---- */

static void clear(struct screen *screen, int row, int from, int to) {
  for (int column = from; column < to; column++) strcpy(screen->cell[row][column], " ");
}

static void clear_rows(struct screen *screen, int from, int to) {
  for (int row = from; row < to; row++) clear(screen, row, 0, screen->columns);
}

static void place(struct screen *screen, int row, int column) {
  screen->row = row < 0 ? 0 : row < screen->rows ? row : screen->rows - 1;
  screen->column = column < 0 ? 0 : column < screen->columns ? column : screen->columns - 1;
  screen->past = false;
}

/* Moves the rows from `from` to the end of those that scroll, by `count`, up if it is negative. */
static void scroll(struct screen *screen, int from, int count) {
  int rows = screen->bottom - from, moved = count < 0 ? -count : count;
  moved = moved < rows ? moved : rows;
  if (rows <= 0) return;
  if (count < 0) {
    memmove(screen->cell[from], screen->cell[from + moved], (size_t)(rows - moved) * sizeof *screen->cell);
    clear_rows(screen, screen->bottom - moved, screen->bottom);
  } else {
    memmove(screen->cell[from + moved], screen->cell[from], (size_t)(rows - moved) * sizeof *screen->cell);
    clear_rows(screen, from, from + moved);
  }
}

static void line_feed(struct screen *screen) {
  if (screen->row == screen->bottom - 1) scroll(screen, screen->top, -1);
  else place(screen, screen->row + 1, screen->column);
}

static void put(struct screen *screen, const char *text, size_t length) {
  if (screen->past) {
    screen->wrapped = true;
    line_feed(screen);
    place(screen, screen->row, 0);
  }
  char *cell = screen->cell[screen->row][screen->column];
  memcpy(cell, text, length);
  cell[length] = '\0';
  screen->past = screen->column == screen->columns - 1;
  screen->column += !screen->past;
}

/* Moves the rest of the row by `count` columns, to the left if it is negative. */
static void shift(struct screen *screen, int count) {
  char (*row)[5] = screen->cell[screen->row];
  int at = screen->column, rest = screen->columns - at, moved = count < 0 ? -count : count;
  moved = moved < rest ? moved : rest;
  if (count < 0) {
    memmove(row[at], row[at + moved], (size_t)(rest - moved) * sizeof *row);
    clear(screen, screen->row, screen->columns - moved, screen->columns);
  } else {
    memmove(row[at + moved], row[at], (size_t)(rest - moved) * sizeof *row);
    clear(screen, screen->row, at, at + moved);
  }
}

static void set_mode(struct screen *screen, int mode, bool on) {
  if (mode == 25) screen->hidden = !on;
  if (mode == 1049) screen->alternate = on;
  if (mode == 1049 && on) clear_rows(screen, 0, screen->rows);
}

static void erase(struct screen *screen, bool whole_screen, int what) {
  if (whole_screen) {
    screen->wrapped = screen->wrapped && what == 0;
    if (what == 0) clear_rows(screen, screen->row + 1, screen->rows);
    else clear_rows(screen, 0, screen->rows);
  }
  if (!whole_screen || what == 0)
    clear(screen, screen->row, what == 0 ? screen->column : 0,
          what == 1 ? screen->column + 1 : screen->columns);
}

static void repeat(struct screen *screen, int count) {
  char last[5];
  strcpy(last, screen->cell[screen->row][screen->past ? screen->column : screen->column - 1]);
  while (count-- > 0) put(screen, last, strlen(last));
}

/* ESC [ PARAMETERS FINAL */
static void control(struct screen *screen, const char *parameters, char final) {
  bool private = *parameters == '?';
  int number[4] = {0}, count = 0;
  for (const char *at = parameters + private; *at != '\0' && count < 4; count++) {
    number[count] = (int)strtol(at, NULL, 10);
    at += strcspn(at, ";");
    at += *at == ';';
  }
  int first = number[0] > 0 ? number[0] : 1;
  switch (final) {
  case 'H': place(screen, first - 1, number[1] > 0 ? number[1] - 1 : 0); break;
  case 'A': place(screen, screen->row - first, screen->column); break;
  case 'B': place(screen, screen->row + first, screen->column); break;
  case 'C': place(screen, screen->row, screen->column + first); break;
  case 'D': place(screen, screen->row, screen->column - first); break;
  case 'G': place(screen, screen->row, first - 1); break;
  case 'd': place(screen, first - 1, screen->column); break;
  case 'J': erase(screen, true, number[0]); break;
  case 'K': erase(screen, false, number[0]); break;
  case 'X': clear(screen, screen->row, screen->column,
                  screen->column + first < screen->columns ? screen->column + first : screen->columns); break;
  case 'P': shift(screen, -first); break;
  case '@': shift(screen, first); break;
  case 'b': repeat(screen, first); break;
  case 'h': case 'l':
    for (int i = 0; i < count; i++)
      if (private) set_mode(screen, number[i], final == 'h');
    break;
  case 'm':
    for (int i = 0; i < count; i++)
      screen->coloured = screen->coloured || (number[i] >= 30 && number[i] < 49 && number[i] % 10 != 9);
    break;
  case 'L': scroll(screen, screen->row, first); break;
  case 'M': scroll(screen, screen->row, -first); break;
  case 'S': scroll(screen, screen->top, -first); break;
  case 'T': scroll(screen, screen->top, first); break;
  case 'r':
    screen->top = first - 1;
    screen->bottom = number[1] > 0 && number[1] <= screen->rows ? number[1] : screen->rows;
    place(screen, 0, 0);
    break;
  case 't': break; /* titles of windows */
  default: ck_abort_msg("ESC [ %s %c: not known to the screen of this test", parameters, final);
  }
}

/* The bytes that one item takes; 0: it is not there as a whole. */
static size_t take(struct screen *screen, const char *text, size_t size) {
  unsigned char c = (unsigned char)*text;
  if (c == 0x1b && size < 2) return 0;
  if (c == 0x1b && text[1] == '[') {
    size_t length = 2;
    while (length < size && (text[length] < '@' || text[length] > '~')) length++;
    if (length == size) return 0;
    char parameters[32];
    snprintf(parameters, sizeof parameters, "%.*s", (int)(length - 2), text + 2);
    control(screen, parameters, text[length]);
    return length + 1;
  }
  if (c == 0x1b && strchr("()", text[1]) != NULL) return size < 3 ? 0 : 3; /* a set of characters */
  if (c == 0x1b) {
    if (text[1] == 'M' && screen->row == screen->top) scroll(screen, screen->top, 1);
    else if (text[1] == 'M') place(screen, screen->row - 1, screen->column);
    ck_assert_msg(strchr("=>78M", text[1]) != NULL, "ESC %c: not known to the screen of this test", text[1]);
    return 2;
  }
  if (c == '\r') place(screen, screen->row, 0);
  else if (c == '\n') line_feed(screen);
  else if (c == '\b') place(screen, screen->row, screen->column - 1);
  else if (c == '\t') place(screen, screen->row, screen->column / 8 * 8 + 8);
  if (c < 0x20) return 1;
  size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
  if (size < length) return 0;
  put(screen, text, length);
  return length;
}

static void draw(struct screen *screen, const char *text, size_t size) {
  char whole[8192 + sizeof screen->pending];
  size_t used = strlen(screen->pending), taken, at = 0;
  memcpy(whole, screen->pending, used);
  memcpy(whole + used, text, size);
  used += size;
  while (at < used && (taken = take(screen, whole + at, used - at)) > 0) at += taken;
  ck_assert_uint_lt(used - at, sizeof screen->pending);
  memcpy(screen->pending, whole + at, used - at);
  screen->pending[used - at] = '\0';
}

/* ---- the command ---- */

struct screen *screen_of(struct command *command, int columns) {
  char name[64];
  struct screen *screen = calloc(1, sizeof *screen);
  ck_assert_ptr_nonnull(screen);
  screen->command = command;
  screen->rows = screen->bottom = 24;
  screen->columns = columns;
  ck_assert_int_eq(ptsname_r(command->in, name, sizeof name), 0);
  screen->terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  ck_assert_int_ge(screen->terminal, 0);
  clear_rows(screen, 0, screen->rows);
  return screen;
}

void screen_resize(struct screen *screen, int rows, int columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  screen->rows = screen->bottom = rows;
  screen->top = 0;
  screen->columns = columns;
  clear_rows(screen, 0, rows);
  place(screen, 0, 0);
  ck_assert_int_eq(ioctl(screen->command->in, TIOCSWINSZ, &size), 0);
}

void screen_send(struct screen *screen, const char *keys) { command_send(screen->command, keys); }

bool screen_hear(struct screen *screen, bool wait) {
  char text[8192];
  struct pollfd ready = {.fd = screen->command->in, .events = POLLIN};
  int got = poll(&ready, 1, wait ? 100 : 0);
  if (got <= 0) return false;
  ssize_t size = read(screen->command->in, text, sizeof text);
  if (size <= 0) return false;
  draw(screen, text, (size_t)size);
  return true;
}

static bool ended(struct screen *screen) {
  siginfo_t info = {.si_pid = 0};
  return waitid(P_PID, (id_t)screen->command->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

const char *screen_row(struct screen *screen, int row) {
  size_t used = 0;
  for (int column = 0; column < screen->columns; column++)
    used += (size_t)snprintf(screen->text + used, sizeof screen->text - used, "%s", screen->cell[row][column]);
  while (used > 0 && screen->text[used - 1] == ' ') used--;
  screen->text[used] = '\0';
  return screen->text;
}

bool screen_has(struct screen *screen, const char *text) {
  for (int row = 0; row < screen->rows; row++)
    if (strstr(screen_row(screen, row), text) != NULL) return true;
  return false;
}

const char *screen_text(struct screen *screen) {
  static char text[SCREEN_ROWS * (SCREEN_COLUMNS + 1) * 4];
  size_t used = 0;
  for (int row = 0; row < screen->rows; row++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", screen_row(screen, row));
  return text;
}

static void expect(struct screen *screen, const char *text, bool there) {
  for (int64_t limit = test_now_ms() + 20000; screen_has(screen, text) != there;) {
    bool over = ended(screen);
    if (!screen_hear(screen, true))
      ck_assert_msg(!over && test_now_ms() < limit, "%s: \"%s\"; the screen:\n%s",
                    there ? "never seen" : "never gone", text, screen_text(screen));
  }
}

void screen_expect(struct screen *screen, const char *text) { expect(screen, text, true); }
void screen_expect_not(struct screen *screen, const char *text) { expect(screen, text, false); }

int screen_end(struct screen *screen) {
  int64_t limit = test_now_ms() + 20000;
  while (!ended(screen)) {
    screen_hear(screen, true);
    ck_assert_msg(test_now_ms() < limit, "it does not end; the screen:\n%s", screen_text(screen));
  }
  while (screen_hear(screen, false)) continue;
  return test_wait(screen->command->pid);
}

bool screen_is_as_it_was(struct screen *screen) {
  struct termios now, fresh;
  memset(&now, 0, sizeof now); /* padding is compared too */
  memset(&fresh, 0, sizeof fresh);
  char name[64];
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  ck_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
  ck_assert_int_eq(ptsname_r(master, name, sizeof name), 0);
  int terminal = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
  ck_assert(terminal >= 0 && tcgetattr(terminal, &fresh) == 0 && tcgetattr(screen->terminal, &now) == 0);
  close(terminal);
  close(master);
  return memcmp(&now, &fresh, sizeof now) == 0 && !screen->alternate && !screen->hidden;
}

void screen_free(struct screen *screen) {
  close(screen->terminal);
  close(screen->command->in);
  command_free(screen->command);
  free(screen);
}

/* top_screen.c - the terminal, by ncurses. Nothing else knows it. */
#include "top.h"

#include <ncurses.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include <term.h> /* has macros of all names */
#undef columns
#undef lines

static SCREEN *screen;
static bool shown; /* the terminal is ours */
static bool colours;
static int cursor_row = -1, cursor_column;

bool top_screen_present(void) { return true; }

/* What the terminal says, whatever COLUMNS and LINES say. */
static void measure(void) {
  struct winsize window;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_row > 0 && window.ws_col > 0)
    resizeterm(window.ws_row, window.ws_col);
}

/* Asked first, because newterm takes terminals whose cursor it cannot move, and leaks memory where it fails. */
static bool known_type(void) {
  int error;
  if (setupterm(NULL, STDOUT_FILENO, &error) != OK)
    return false;
  bool fit = tigetstr("cup") != NULL;
  del_curterm(set_curterm(NULL));
  return fit;
}

static int unknown_type(void) {
  const char *type = getenv("TERM");
  char *name = tool_escaped(type != NULL ? type : "");
  tool_tell("top: the terminal type '%s' is not known, or cannot do it; set TERM, or: colock top --once", name);
  free(name);
  return TOOL_SYSTEM;
}

int top_screen_begin(void) {
  const char *no = getenv("NO_COLOR");
  screen = known_type() ? newterm(NULL, stdout, stdin) : NULL;
  if (screen == NULL)
    return unknown_type();
  shown = true;
  colours = (no == NULL || *no == '\0') && has_colors() && start_color() == OK && use_default_colors() == OK;
  if (colours)
    init_pair(TOP_STYLE_BAD, COLOR_RED, -1);
  cbreak();
  noecho();
  nonl();
  intrflush(stdscr, FALSE);
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  set_escdelay(25); /* ms: Esc itself, or the beginning of a key's sequence? */
  measure();
  return TOOL_OK;
}

void top_screen_end(void) {
  if (!shown)
    return;
  shown = false;
  curs_set(1);
  endwin();
}

void top_screen_again(void) {
  shown = true;
  measure();
  clearok(curscr, TRUE);
  refresh();
}

void top_screen_size(int *rows, int *columns) { getmaxyx(stdscr, *rows, *columns); }

static attr_t attributes(int style) {
  switch (style) {
  case TOP_STYLE_TITLE: return A_BOLD;
  case TOP_STYLE_CHOSEN: return A_REVERSE;
  case TOP_STYLE_BAD: return A_BOLD | (colours ? (attr_t)COLOR_PAIR(TOP_STYLE_BAD) : 0);
  case TOP_STYLE_FAINT: return A_DIM;
  default: return A_NORMAL;
  }
}

void top_screen_line(int row, int style, const char *text) {
  int rows, columns;
  top_screen_size(&rows, &columns);
  if (row < 0 || row >= rows)
    return;
  attrset((int)attributes(style));
  move(row, 0);
  clrtoeol();
  addnstr(text, (int)tool_fitting(text, row == rows - 1 ? columns - 1 : columns));
  if (style == TOP_STYLE_CHOSEN)
    chgat(-1, A_REVERSE, 0, NULL);
  attrset(A_NORMAL);
}

void top_screen_cursor(int row, int column) {
  cursor_row = row;
  cursor_column = column;
}

void top_screen_show(void) {
  int rows, columns;
  top_screen_size(&rows, &columns);
  curs_set(cursor_row >= 0);
  if (cursor_row >= 0)
    move(cursor_row, cursor_column < columns ? cursor_column : columns - 1);
  refresh();
}

int top_screen_key(void) {
  static const struct { int theirs, ours; } keys[] = {
    {KEY_UP, TOP_KEY_UP},     {KEY_DOWN, TOP_KEY_DOWN}, {KEY_PPAGE, TOP_KEY_PAGE_UP}, {KEY_NPAGE, TOP_KEY_PAGE_DOWN},
    {KEY_HOME, TOP_KEY_HOME}, {KEY_END, TOP_KEY_END},   {KEY_BACKSPACE, TOP_KEY_BACK}, {KEY_ENTER, '\n'},
    {KEY_F(1), 'h'}};
  wint_t key = 0;
  for (int got; (got = get_wch(&key)) != ERR;) {
    if (got != KEY_CODE_YES)
      return key == 0x7f || key == '\b' ? TOP_KEY_BACK : key == 0 ? ' ' : (int)key;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
      if ((int)key == keys[i].theirs)
        return keys[i].ours;
  }
  return TOP_KEY_NONE;
}

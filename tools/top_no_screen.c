/* top_no_screen.c - in place of top_screen.c where there is no ncurses. */
#include "top.h"

bool top_screen_present(void) { return false; }

int top_screen_begin(void) {
  tool_tell("top: built without ncurses, so there is only: colock top --once. For the live view install it (Debian, "
            "Ubuntu: libncurses-dev; Fedora: ncurses-devel), then configure and build colock again");
  return TOOL_SYSTEM;
}

void top_screen_end(void) {}
void top_screen_again(void) {}

void top_screen_size(int *rows, int *columns) {
  *rows = 24;
  *columns = 80;
}

void top_screen_line(int row, int style, const char *text) {
  (void)row;
  (void)style;
  (void)text;
}

void top_screen_cursor(int row, int column) {
  (void)row;
  (void)column;
}

void top_screen_show(void) {}
int top_screen_key(void) { return TOP_KEY_NONE; }

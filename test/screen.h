/* screen.h - a command on a terminal that is really drawn: what people would see, row by row.
 *
 * Knows what ncurses sends to a terminal of type xterm; a sequence that it does not know fails the test.
 */
#ifndef COLOCK_TEST_SCREEN_H
#define COLOCK_TEST_SCREEN_H

#include "command.h"
#include <termios.h>

enum { SCREEN_ROWS = 60, SCREEN_COLUMNS = 200 };

struct screen {
  struct command *command;
  int terminal;        /* the command's side of it, so that its modes outlive the command */
  int rows, columns;
  char cell[SCREEN_ROWS][SCREEN_COLUMNS][5]; /* one character each */
  int row, column;     /* of the cursor */
  int top, bottom;     /* the rows that scroll: from one, to before the other */
  bool past;           /* it stands behind the last column: the next character wraps */
  bool wrapped;        /* a character did, since the screen was last cleared */
  bool alternate;      /* the second screen, which programs leave at their end */
  bool hidden;         /* the cursor */
  bool coloured;       /* colours were asked for */
  char pending[64];    /* the beginning of a sequence */
  char text[1024];     /* of screen_row */
};

/* The command, on 24 rows and so many columns, TERM=xterm. The arguments end with NULL. */
#define screen_start(columns, ...) screen_of(command_on_terminal(columns, __VA_ARGS__), columns)
struct screen *screen_of(struct command *command, int columns);
void screen_resize(struct screen *screen, int rows, int columns); /* clears; the command is told */
void screen_send(struct screen *screen, const char *keys);

/* Reads until some row has `text` in it, or none has. The test fails if the command ends before. */
void screen_expect(struct screen *screen, const char *text);
void screen_expect_not(struct screen *screen, const char *text);
/* Draws what has been said; `wait`: for a moment, if nothing has. False: nothing. The frame may be half of one. */
bool screen_hear(struct screen *screen, bool wait);
bool screen_has(struct screen *screen, const char *text);
const char *screen_row(struct screen *screen, int row); /* without blanks at its end; until the next call */
const char *screen_text(struct screen *screen);         /* all rows */

/* Its exit status, 256 + signal if it was killed; what it said until then is drawn. */
int screen_end(struct screen *screen);
/* The terminal as it is now, beside a new one: the same modes, the first screen, a cursor. Before screen_free. */
bool screen_is_as_it_was(struct screen *screen);
void screen_free(struct screen *screen);

#endif

/* top.h - the rooms of colock top.
 *
 *   top.c         the command line; --once
 *   top_main.c    the program colock-top, which top_program.c has colock become
 *   top_rates.c   numbers that only grow, and what they say of the time between two looks
 *   top_model.c   the files, looked at again and again; which rows are shown, in which order
 *   top_text.c    rows and tables as plain text
 *   top_detail.c  one lock or one person with all that is known
 *   top_keys.c    what keys do: selecting, typing, asking
 *   top_draw.c    a frame
 *   top_live.c    the loop: keys, signals, the clock
 *   top_unlock.c  colock unlock, in a child
 *   top_screen.c  ncurses, which nothing else knows; where there is none, top_no_screen.c stands in its place
 *
 * One thread. An entry lives as long as its lock's report: until the next top_look.
 */
#ifndef COLOCK_TOP_H
#define COLOCK_TOP_H

#include "tool.h"

int top_run(int argc, char **argv); /* an exit status */

/* ---- top_rates.c ---- */

enum { TOP_HISTORY = 120, TOP_LEAST_MS = 100 };

struct top_sample {
  int64_t at_ms;  /* on the clock of tool_now_ms */
  int64_t age_ms; /* of the counting */
  int64_t acquisitions, waits, failures, waiting; /* waits: that have ended; waiting: now */
};
struct top_rates { /* all 0 at first */
  struct top_sample last;
  bool begun;                 /* there is a last */
  bool average;               /* of all that was counted: there has been one sample only */
  double acquisitions, waits; /* a second */
  double share;               /* how many of those who asked had to wait: 0 to 1 */
  double history[TOP_HISTORY];
  size_t count; /* of the history, the oldest first */
};
void top_rates_step(struct top_rates *rates, const struct top_sample *now); /* closer than TOP_LEAST_MS: ignored */
void top_rates_forget(struct top_rates *rates);

/* ---- top_model.c ---- */

struct top_lock {
  const char *path;
  colock_report *report; /* NULL: could not be read, and `error` says why */
  colock_stats *stats;   /* NULL: none to be had */
  int code;
  char *error;
  struct top_rates rates;
};

enum { TOP_BY_GIVEN, TOP_BY_WAITERS, TOP_BY_HOLDERS, TOP_BY_ACQUISITIONS, TOP_BY_WAITS, TOP_BY_PATH, TOP_LOCK_ORDERS };
enum { TOP_BY_LINE, TOP_BY_AGE, TOP_BY_NAME, TOP_BY_USER, TOP_PERSON_ORDERS };
enum { TOP_LOCKS, TOP_PEOPLE, TOP_TABLES, TOP_FILTER = 64 };

struct top {
  struct top_lock *locks; /* as they were given */
  size_t lock_count;
  struct top_lock **shown; /* those that the filter leaves, in order */
  size_t shown_count;
  const struct top_lock *subject; /* whose people are shown; NULL: nobody's */
  const colock_entry **people;
  size_t people_count;
  int order[TOP_TABLES];
  bool reversed[TOP_TABLES];
  char filter[TOP_FILTER];
};
void top_begin(struct top *top, char **paths, size_t count);
void top_end(struct top *top);
void top_look(struct top *top); /* at all files; then arranges */
/* `shown` and `people` anew. A subject that is no longer shown gives way to the first that is. */
void top_arrange(struct top *top);
const char *top_order_name(const struct top *top, int table);

/* ---- top_text.c ---- */

struct top_column {
  const char *title;
  int least;   /* its width */
  bool right;  /* set to the right */
  bool ending; /* what is too long loses its beginning, not its end */
};
enum { TOP_COLUMNS = 8 };
struct top_table {
  const struct top_column *columns;
  size_t count;
  size_t elastic; /* the column that gives way where room is scarce */
  int width[TOP_COLUMNS];
};
extern const struct top_table top_locks_table, top_people_table; /* with the least widths */

char *top_lock_cells(const struct top_lock *lock); /* a row: a tab behind each cell but the last; free() it */
/* full: with what has to be asked of the kernel for each */
char *top_person_cells(const colock_entry *entry, bool full);
void top_fit(struct top_table *table, const char *cells); /* makes columns wide enough for that row */
/* The elastic column gives way, until all but the last column has left it `rest` of so many columns. */
void top_squeeze(struct top_table *table, int columns, int rest);
int top_table_width(const struct top_table *table); /* of all but the last column */
void top_put_row(FILE *to, const struct top_table *table, const char *cells); /* NULL: the titles */
void top_put_history(FILE *to, const struct top_rates *rates, int columns);   /* the newest at the right */
bool top_alarming(const struct top_lock *lock);    /* abandoned, revoked, stale */
void top_put_state(FILE *to, const struct top_lock *lock); /* in one line, without its end */

/* ---- top_detail.c ---- */

void top_put_lock(FILE *to, const struct top_lock *lock, int columns);
void top_put_person(FILE *to, const struct top_lock *lock, const colock_entry *entry);

/* ---- top_screen.c: the terminal ---- */

enum { TOP_STYLE_PLAIN, TOP_STYLE_TITLE, TOP_STYLE_CHOSEN, TOP_STYLE_BAD, TOP_STYLE_FAINT };
enum { /* keys that are no characters */
  TOP_KEY_NONE = 0,
  TOP_KEY_UP = 0x110000,
  TOP_KEY_DOWN,
  TOP_KEY_PAGE_UP,
  TOP_KEY_PAGE_DOWN,
  TOP_KEY_HOME,
  TOP_KEY_END,
  TOP_KEY_BACK /* backspace */
};
bool top_screen_present(void);   /* false: built without */
int top_screen_begin(void);      /* TOOL_OK, or an exit status: it has been said why */
void top_screen_end(void);       /* the terminal is as it was; any number of times */
void top_screen_again(void);     /* after top_screen_end, or when the size has changed: all anew */
void top_screen_size(int *rows, int *columns);
void top_screen_line(int row, int style, const char *text); /* cut at the right edge */
void top_screen_cursor(int row, int column);                /* shown there by top_screen_show; row -1: hidden */
void top_screen_show(void);
int top_screen_key(void); /* TOP_KEY_, or a character; TOP_KEY_NONE: none is there */

/* ---- top_unlock.c: colock unlock, in a child ---- */

enum { TOP_ASK, TOP_KILL, TOP_FORCE };
struct top_unlock {
  int fd; /* what it says; -1: none is under way */
  pid_t pid;
  char *text; /* what it has said; a text of ours where it could not start */
  size_t size;
};
/* Who has the lock, to be compared: the same text as long as they are the same; free() it. */
char *top_owners(const colock_report *report);
/* way TOP_KILL, TOP_FORCE: does nothing if `owners` are not those who have the lock any more. */
void top_unlock_start(struct top_unlock *unlock, const char *path, int way, const char *owners);
bool top_unlock_hear(struct top_unlock *unlock); /* when fd is readable; true: it has ended, `text` is whole */
void top_unlock_end(struct top_unlock *unlock);  /* ends it if it is under way; frees */

/* ---- top_keys.c ---- */

enum top_mode { TOP_LIST, TOP_HELP, TOP_DETAIL, TOP_TYPE_FILTER, TOP_CHOOSE, TOP_CONFIRM, TOP_TYPE_FORCE, TOP_RESULT };
struct top_who { /* a person, or the lock itself: role 0 */
  int64_t role, slot;
};
struct top_view {
  struct top *top;
  enum top_mode mode;
  int table;                 /* which one has the cursor */
  size_t chosen[TOP_TABLES]; /* row */
  size_t first[TOP_TABLES];  /* row that is the first on the screen */
  size_t rows[TOP_TABLES];   /* that fit; top_draw sets it */
  struct top_who who;        /* in the chosen row of the people */
  struct top_who detail;     /* of whom */
  size_t scroll, page;       /* of a text: lines above the screen; lines that fit, which top_draw sets */
  int way;                   /* of unlocking */
  char typed[TOP_FILTER];    /* so far: a filter, or the word that confirms */
  char *path, *names, *owners; /* what is to be unlocked, and who had it when that was asked for, in two ways */
  struct top_unlock unlock;
  bool quit, look;           /* look: now, not only at the next tick */
};
void top_view_begin(struct top_view *view, struct top *top);
void top_view_end(struct top_view *view);
void top_view_settle(struct top_view *view);         /* after a look: what was chosen stays chosen */
void top_view_result(struct top_view *view);         /* colock unlock has ended */
void top_key(struct top_view *view, int key);
/* NULL: gone by now, or the lock itself */
const colock_entry *top_find(const struct top *top, struct top_who who);

/* ---- top_draw.c, top_live.c ---- */

void top_draw(struct top_view *view, int64_t interval_ms);
int top_live(struct top *top, int64_t interval_ms); /* an exit status */

#endif

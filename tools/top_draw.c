/* top_draw.c - a frame, line by line: the title; the locks; the people of one of them; keys or a question.
 *
 *   colock top  2 locks: 1 hold, 0 keep, 2 wait                  every 1s 16:07:01
 *   LOCK         STATE     HOLD KEEP WAIT  ACQ/S WAITS/S WAITED
 *   ...
 *   db.lock: exclusive
 *   ROLE    PLACE MODE      NAME             USER          AGE NOTE
 *   ...
 *   q quit  h help ...
 */
#include "top.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OTHER_LINES = 5, HISTORY_LEAST = 10, NOTE_LEAST = 16 };

static const char help[] =
  "colock top: who holds locks and who waits for them\n"
  "\n"
  "  up, down, page up, page down, home, end (k j g G)   choose a row\n"
  "  Tab     the other table: the locks, or the people of the chosen lock\n"
  "  Enter   all that is known of what is chosen\n"
  "  s, S    sort the table by something else: the next, the one before\n"
  "  r       the other way round\n"
  "  /       show only what has this text in it: paths, names, users, purposes, modes;\n"
  "          Esc takes that away\n"
  "  u       unlock the chosen lock: asks how, and whether\n"
  "  Space   look now\n"
  "  q       quit\n"
  "\n"
  "  HOLD KEEP WAIT  how many hold it, keep it for their next use, wait for it\n"
  "  ACQ/S WAITS/S   how often per second it was got; waits that ended\n"
  "  WAITED          of those who asked in that time, how many had to wait; then the\n"
  "                  same as bars, one a look, the newest at the right\n"
  "  STATE!          abandoned, forced out, or stale: Enter says more\n";

/* ---- small things ---- */

struct text { /* grows by FILE *to, until it is taken */
  FILE *to;
  char *text;
  size_t size;
};

static FILE *begin(struct text *text) { return text->to = tool_memory(&text->text, &text->size); }

static void put_line(struct text *text, int row, int style) {
  fclose(text->to);
  top_screen_line(row, style, text->text);
  free(text->text);
}

/* ---- title and bottom ---- */

static int64_t sum(const struct top *top, const char *name) {
  int64_t all = 0;
  for (size_t i = 0; i < top->lock_count; i++)
    if (top->locks[i].report != NULL)
      all += colock_report_stat(top->locks[i].report, name);
  return all;
}

static void put_order(FILE *to, const struct top *top, int table, const char *what) {
  if (top->order[table] != 0 || top->reversed[table])
    fprintf(to, "; %s by %s%s", what, top_order_name(top, table), top->reversed[table] ? ", reversed" : "");
}

static void draw_title(const struct top_view *view, int64_t interval_ms, int columns) {
  const struct top *top = view->top;
  struct text left, right;
  char clock[16] = "";
  time_t now = time(NULL);
  struct tm parts;
  FILE *to = begin(&left);
  fprintf(to, "colock top  %zu lock%s: %" PRId64 " hold, %" PRId64 " keep, %" PRId64 " wait", top->lock_count,
          top->lock_count == 1 ? "" : "s", sum(top, "holders"), sum(top, "cached"), sum(top, "waiters"));
  if (*top->filter != '\0')
    fprintf(to, "; filter \"%s\"", top->filter);
  put_order(to, top, TOP_LOCKS, "locks");
  put_order(to, top, TOP_PEOPLE, "people");
  fclose(to);
  if (localtime_r(&now, &parts) != NULL)
    strftime(clock, sizeof clock, "%H:%M:%S", &parts);
  to = begin(&right);
  fputs("every ", to);
  tool_span(to, interval_ms);
  fprintf(to, " %s", clock);
  fclose(to);
  int between = columns - tool_width(left.text) - tool_width(right.text);
  struct text line;
  to = begin(&line);
  fprintf(to, "%s%*s%s", left.text, between > 2 ? between : 2, "", right.text);
  put_line(&line, 0, TOP_STYLE_TITLE);
  free(left.text);
  free(right.text);
}

static void put_question(FILE *to, const struct top_view *view) {
  fprintf(to, "%s %s? y: yes, other keys: no ", view->way == TOP_KILL ? "Kill" : "Take it away from",
          *view->names != '\0' ? view->names : "nobody");
}

static void draw_bottom(const struct top_view *view, int row) {
  struct text text;
  FILE *to = begin(&text);
  bool typing = view->mode == TOP_TYPE_FILTER || view->mode == TOP_TYPE_FORCE;
  switch (view->mode) {
  case TOP_LIST:
    if (view->unlock.fd >= 0)
      fputs("colock unlock is at work ...", to);
    else
      fputs("q quit  h help  Tab table  Enter details  s sort  r reverse  / filter  u unlock", to);
    break;
  case TOP_TYPE_FILTER: fprintf(to, "/%s", view->typed); break;
  case TOP_CHOOSE: fputs("How? a, k, f, or Esc: not at all ", to); break;
  case TOP_CONFIRM: put_question(to, view); break;
  case TOP_TYPE_FORCE:
    fprintf(to, "They run on and may still write. To do it all the same type force, then Enter: %s", view->typed);
    break;
  default: fputs("q back  up, down, page up, page down", to);
  }
  fflush(to);
  if (typing)
    top_screen_cursor(row, tool_width(text.text));
  put_line(&text, row, TOP_STYLE_TITLE);
}

/* ---- tables ---- */

/* Which rows are seen: the chosen one is among them. */
static void scroll(struct top_view *view, int table, size_t count, size_t room) {
  size_t *first = &view->first[table], chosen = view->chosen[table];
  view->rows[table] = room;
  if (*first + room > count)
    *first = count > room ? count - room : 0;
  if (chosen < *first)
    *first = chosen;
  if (room > 0 && chosen >= *first + room)
    *first = chosen - room + 1;
}

static size_t seen(const struct top_view *view, int table, size_t count) {
  size_t left = count - view->first[table];
  return left < view->rows[table] ? left : view->rows[table];
}

static int style_of(const struct top_view *view, int table, size_t row, bool bad, bool faint) {
  if (row == view->chosen[table] && view->table == table)
    return TOP_STYLE_CHOSEN;
  return bad ? TOP_STYLE_BAD : faint ? TOP_STYLE_FAINT : table == TOP_LOCKS && row == view->chosen[table]
         ? TOP_STYLE_TITLE : TOP_STYLE_PLAIN;
}

static void draw_titles(const struct top_table *table, int row) {
  struct text text;
  top_put_row(begin(&text), table, NULL);
  put_line(&text, row, TOP_STYLE_TITLE);
}

static void draw_locks(struct top_view *view, int row, int columns) {
  struct top_lock **shown = view->top->shown + view->first[TOP_LOCKS];
  size_t count = seen(view, TOP_LOCKS, view->top->shown_count);
  struct top_table table = top_locks_table;
  char **cells = tool_got(calloc(count + 1, sizeof *cells));
  for (size_t i = 0; i < count; i++)
    top_fit(&table, cells[i] = top_lock_cells(shown[i]));
  top_squeeze(&table, columns, HISTORY_LEAST);
  draw_titles(&table, row);
  for (size_t i = 0; i < count; i++) {
    struct text text;
    FILE *to = begin(&text);
    size_t at = view->first[TOP_LOCKS] + i;
    top_put_row(to, &table, cells[i]);
    fputc(' ', to);
    top_put_history(to, &shown[i]->rates, columns - top_table_width(&table));
    put_line(&text, row + 1 + (int)i, style_of(view, TOP_LOCKS, at, top_alarming(shown[i]), false));
    free(cells[i]);
  }
  free(cells);
}

static bool is_bad(const colock_entry *entry) {
  return colock_entry_number(entry, COLOCK_ROLE) == COLOCK_REVOKED || colock_entry_number(entry, COLOCK_STALE) > 0;
}

static void draw_people(struct top_view *view, int row, int columns) {
  const colock_entry **people = view->top->people + view->first[TOP_PEOPLE];
  size_t count = seen(view, TOP_PEOPLE, view->top->people_count);
  struct top_table table = top_people_table;
  char **cells = tool_got(calloc(count + 1, sizeof *cells));
  for (size_t i = 0; i < count; i++)
    top_fit(&table, cells[i] = top_person_cells(people[i], true));
  top_squeeze(&table, columns, NOTE_LEAST);
  draw_titles(&table, row);
  for (size_t i = 0; i < count; i++) {
    struct text text;
    bool faint = colock_entry_number(people[i], COLOCK_ROLE) == COLOCK_CACHED;
    top_put_row(begin(&text), &table, cells[i]);
    put_line(&text, row + 1 + (int)i,
             style_of(view, TOP_PEOPLE, view->first[TOP_PEOPLE] + i, is_bad(people[i]), faint));
    free(cells[i]);
  }
  free(cells);
}

/* Locks get what people leave, and half of the screen at least. */
static void draw_lists(struct top_view *view, int rows, int columns) {
  const struct top *top = view->top;
  size_t room = rows > OTHER_LINES + 2 ? (size_t)(rows - OTHER_LINES) : 2, half = room / 2;
  size_t left = room > top->people_count ? room - top->people_count : 0;
  size_t locks = left > half ? left : half;
  locks = locks < top->shown_count ? locks : top->shown_count;
  scroll(view, TOP_LOCKS, top->shown_count, locks);
  scroll(view, TOP_PEOPLE, top->people_count, room - locks);
  draw_locks(view, 1, columns);
  struct text text;
  FILE *to = begin(&text);
  if (top->subject == NULL)
    fputs(*top->filter != '\0' ? "nothing has that text in it (Esc: show all)" : "", to);
  else if (top->subject->report == NULL)
    fputs(top->subject->error, to);
  else
    top_put_state(to, top->subject);
  put_line(&text, 2 + (int)locks, TOP_STYLE_TITLE);
  draw_people(view, 3 + (int)locks, columns);
}

/* ---- texts ---- */

static void put_ways(FILE *to, const struct top_view *view) {
  char *path = tool_escaped(view->path);
  fprintf(to, "unlock %s\n\n", path);
  if (*view->names != '\0')
    fprintf(to, "  %s has it\n\n", view->names);
  fputs("  a  ask: who only keeps it lets go; who holds it is left alone\n"
        "  k  kill: end all who have it by SIGTERM, after 5s by SIGKILL; safe\n"
        "  f  force: take it away; they run on and may still write: a last resort\n", to);
  free(path);
}

static void put_text(FILE *to, const struct top_view *view, int columns) {
  const struct top *top = view->top;
  const colock_entry *entry = top_find(top, view->detail);
  switch (view->mode) {
  case TOP_HELP: fputs(help, to); break;
  case TOP_RESULT: fputs(view->unlock.text, to); break;
  case TOP_CHOOSE: case TOP_CONFIRM: case TOP_TYPE_FORCE: put_ways(to, view); break;
  default:
    if (top->subject == NULL)
      fputs("nothing is chosen\n", to);
    else if (view->detail.role == 0)
      top_put_lock(to, top->subject, columns);
    else if (entry != NULL)
      top_put_person(to, top->subject, entry);
    else
      fputs("gone by now\n", to);
  }
}

/* The bytes of the next line, which breaks where it is too long, behind a word if it can. */
static size_t line_length(const char *text, int columns) {
  size_t length = strcspn(text, "\n"), fits = tool_fitting(text, columns), cut = fits;
  if (length <= fits)
    return length;
  while (cut > fits / 2 && text[cut] != ' ')
    cut--;
  return cut > fits / 2 ? cut : fits > 0 ? fits : 1;
}

/* Draws the lines from `first` on, so many at most; how many there are in all. */
static size_t put_lines(const char *text, int columns, size_t first, size_t page) {
  size_t line = 0;
  for (; *text != '\0'; line++) {
    size_t length = line_length(text, columns);
    if (line >= first && line < first + page) {
      char *part = tool_got(strndup(text, length));
      top_screen_line(1 + (int)(line - first), TOP_STYLE_PLAIN, part);
      free(part);
    }
    text += length;
    text += *text == '\n' || *text == ' ';
  }
  return line;
}

static void draw_text(struct top_view *view, int rows, int columns) {
  struct text text;
  size_t page = rows > 2 ? (size_t)rows - 2 : 1;
  put_text(begin(&text), view, columns);
  fclose(text.to);
  size_t lines = put_lines(text.text, columns, 0, 0);
  view->page = page;
  view->scroll = lines <= page ? 0 : view->scroll < lines - page ? view->scroll : lines - page;
  put_lines(text.text, columns, view->scroll, page);
  free(text.text);
}

void top_draw(struct top_view *view, int64_t interval_ms) {
  int rows, columns;
  top_screen_size(&rows, &columns);
  top_screen_cursor(-1, 0);
  for (int row = 1; row + 1 < rows; row++)
    top_screen_line(row, TOP_STYLE_PLAIN, "");
  draw_title(view, interval_ms, columns);
  if (view->mode == TOP_LIST || view->mode == TOP_TYPE_FILTER)
    draw_lists(view, rows, columns);
  else
    draw_text(view, rows, columns);
  draw_bottom(view, rows - 1);
  top_screen_show();
}

/* top_keys.c - what keys do. What a key means depends on the mode; nothing is drawn here, and nothing looked at.
 *
 *   list      -> help, detail: a text, which any of q, Esc, Enter leaves
 *   list      -> filter: typing, which acts at once
 *   list      -> choose: a way to unlock  -> confirm (kill, force)  -> the word "force" (force)  -> list
 *   whenever colock unlock has ended -> result: what it said
 */
#include "top.h"

#include <stdlib.h>
#include <string.h>

enum { ESCAPE = 0x1b, ENTER = '\n', TAB = '\t' };

void top_view_begin(struct top_view *view, struct top *top) {
  *view = (struct top_view){.top = top, .unlock = {.fd = -1}};
  top_view_settle(view);
}

static void forget_question(struct top_view *view) {
  free(view->path);
  free(view->names);
  free(view->owners);
  view->path = view->names = view->owners = NULL;
}

void top_view_end(struct top_view *view) {
  top_unlock_end(&view->unlock);
  forget_question(view);
}

/* ---- what is chosen ---- */

static struct top_who who_is(const colock_entry *entry) {
  return (struct top_who){.role = colock_entry_number(entry, COLOCK_ROLE),
                          .slot = colock_entry_number(entry, COLOCK_SLOT)};
}

static bool same(struct top_who a, struct top_who b) { return a.role == b.role && a.slot == b.slot; }

const colock_entry *top_find(const struct top *top, struct top_who who) {
  for (size_t i = 0; who.role != 0 && i < top->people_count; i++)
    if (same(who_is(top->people[i]), who))
      return top->people[i];
  return NULL;
}

static size_t count_of(const struct top_view *view, int table) {
  return table == TOP_LOCKS ? view->top->shown_count : view->top->people_count;
}

static void choose_person(struct top_view *view, size_t row) {
  size_t count = view->top->people_count;
  row = row < count ? row : count > 0 ? count - 1 : 0;
  view->chosen[TOP_PEOPLE] = row;
  view->who = count > 0 ? who_is(view->top->people[row]) : (struct top_who){0};
}

void top_view_settle(struct top_view *view) {
  const struct top *top = view->top;
  view->chosen[TOP_LOCKS] = 0;
  for (size_t i = 0; i < top->shown_count; i++)
    if (top->shown[i] == top->subject)
      view->chosen[TOP_LOCKS] = i;
  for (size_t i = 0; i < top->people_count; i++)
    if (same(who_is(top->people[i]), view->who)) {
      choose_person(view, i);
      return;
    }
  choose_person(view, view->chosen[TOP_PEOPLE]);
}

static void choose(struct top_view *view, size_t row) {
  struct top *top = view->top;
  if (view->table == TOP_PEOPLE) {
    choose_person(view, row);
  } else if (row < top->shown_count && top->shown[row] != top->subject) {
    top->subject = top->shown[row];
    view->who = (struct top_who){0};
    view->chosen[TOP_PEOPLE] = view->first[TOP_PEOPLE] = 0;
    top_arrange(top);
    top_view_settle(view);
  }
}

/* Where a key moves within so many rows of which so many are seen; `at`: it does not move. */
static size_t moved(int key, size_t at, size_t rows, size_t page) {
  size_t last = rows > 0 ? rows - 1 : 0;
  page = page > 1 ? page - 1 : 1;
  switch (key) {
  case TOP_KEY_UP: case 'k': return at > 0 ? at - 1 : 0;
  case TOP_KEY_DOWN: case 'j': return at < last ? at + 1 : last;
  case TOP_KEY_PAGE_UP: return at > page ? at - page : 0;
  case TOP_KEY_PAGE_DOWN: return at + page < last ? at + page : last;
  case TOP_KEY_HOME: case 'g': return 0;
  case TOP_KEY_END: case 'G': return last;
  default: return at;
  }
}

/* ---- typing ---- */

static void type(struct top_view *view, int key) {
  size_t length = strlen(view->typed);
  char *end = view->typed + length;
  unsigned c = (unsigned)key;
  if (key == TOP_KEY_BACK) {
    while (length > 0 && (view->typed[--length] & 0xc0) == 0x80)
      continue;
    view->typed[length] = '\0';
  } else if (key >= ' ' && key != 0x7f && key < TOP_KEY_UP && length + 5 < sizeof view->typed) {
    size_t bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = bytes; i-- > 1; c >>= 6)
      end[i] = (char)(0x80 | (c & 0x3f));
    end[0] = (char)(lead[bytes] | c);
    end[bytes] = '\0';
  }
}

static void set_filter(struct top_view *view, const char *text) {
  memmove(view->top->filter, text, strlen(text) + 1);
  top_arrange(view->top);
  top_view_settle(view);
}

static void key_in_filter(struct top_view *view, int key) {
  if (key == ESCAPE || key == ENTER)
    view->mode = TOP_LIST;
  if (key == ESCAPE)
    view->typed[0] = '\0';
  else
    type(view, key);
  set_filter(view, view->typed);
}

/* ---- unlocking ---- */

static void ask_to_unlock(struct top_view *view) {
  const struct top_lock *lock = view->top->subject;
  if (lock == NULL || lock->report == NULL || view->unlock.fd >= 0)
    return;
  size_t size = 0;
  forget_question(view);
  FILE *to = tool_memory(&view->names, &size);
  tool_names(to, lock->report);
  fclose(to);
  view->path = tool_got(strdup(lock->path));
  view->owners = top_owners(lock->report);
  view->mode = TOP_CHOOSE;
  view->scroll = 0;
}

static void unlock(struct top_view *view) {
  view->mode = TOP_LIST;
  top_unlock_start(&view->unlock, view->path, view->way, view->owners);
  if (view->unlock.fd < 0)
    top_view_result(view);
}

void top_view_result(struct top_view *view) {
  view->mode = TOP_RESULT;
  view->scroll = 0;
  view->look = true;
}

static void key_in_choice(struct top_view *view, int key) {
  view->mode = TOP_CONFIRM;
  switch (key) {
  case 'a': view->way = TOP_ASK; unlock(view); break;
  case 'k': view->way = TOP_KILL; break;
  case 'f': view->way = TOP_FORCE; break;
  case ESCAPE: case 'q': view->mode = TOP_LIST; break;
  default: view->mode = TOP_CHOOSE;
  }
}

static void key_in_confirmation(struct top_view *view, int key) {
  view->mode = TOP_LIST;
  view->typed[0] = '\0';
  if (key == 'y' && view->way == TOP_FORCE)
    view->mode = TOP_TYPE_FORCE;
  else if (key == 'y')
    unlock(view);
}

static void key_in_last_question(struct top_view *view, int key) {
  if (key == ESCAPE || (key == ENTER && strcmp(view->typed, "force") != 0))
    view->mode = TOP_LIST;
  else if (key == ENTER)
    unlock(view);
  else
    type(view, key);
}

/* ---- lists and texts ---- */

static void show(struct top_view *view, enum top_mode mode) {
  view->mode = mode;
  view->scroll = 0;
}

static void show_detail(struct top_view *view) {
  view->detail = view->table == TOP_PEOPLE ? view->who : (struct top_who){0};
  if (view->top->subject != NULL && (view->table == TOP_LOCKS || view->top->people_count > 0))
    show(view, TOP_DETAIL);
}

static void next_order(struct top_view *view, int step) {
  int *order = &view->top->order[view->table];
  int orders = view->table == TOP_LOCKS ? TOP_LOCK_ORDERS : TOP_PERSON_ORDERS;
  *order = (*order + orders + step) % orders;
  top_arrange(view->top);
  top_view_settle(view);
}

static void key_in_list(struct top_view *view, int key) {
  int table = view->table;
  switch (key) {
  case 'q': view->quit = true; return;
  case 'h': case '?': show(view, TOP_HELP); return;
  case TAB: view->table = !table; return;
  case ENTER: show_detail(view); return;
  case ' ': view->look = true; return;
  case 's': next_order(view, 1); return;
  case 'S': next_order(view, -1); return;
  case 'r':
    view->top->reversed[table] = !view->top->reversed[table];
    next_order(view, 0);
    return;
  case '/':
    memcpy(view->typed, view->top->filter, sizeof view->typed);
    view->mode = TOP_TYPE_FILTER;
    return;
  case ESCAPE: set_filter(view, ""); return;
  case 'u': ask_to_unlock(view); return;
  default:
    choose(view, moved(key, view->chosen[table], count_of(view, table), view->rows[table]));
  }
}

/* How long the text is only who draws it knows, and keeps `scroll` within. */
static void key_in_text(struct top_view *view, int key) {
  size_t to = moved(key, view->scroll, SIZE_MAX / 2, view->page);
  if (key == 'q' || key == ESCAPE || key == ENTER)
    view->mode = TOP_LIST;
  view->scroll = to;
}

void top_key(struct top_view *view, int key) {
  key = key == '\r' ? ENTER : key;
  switch (view->mode) {
  case TOP_LIST: key_in_list(view, key); break;
  case TOP_TYPE_FILTER: key_in_filter(view, key); break;
  case TOP_CHOOSE: key_in_choice(view, key); break;
  case TOP_CONFIRM: key_in_confirmation(view, key); break;
  case TOP_TYPE_FORCE: key_in_last_question(view, key); break;
  default: key_in_text(view, key);
  }
}

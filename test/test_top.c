/* test_top.c - colock top from within: rates, order, filter, rows, keys, frames on a screen that only keeps lines. */
#include "top.h"
#include "planted.h"
#include "support.h"

#include <locale.h>
#include <stdlib.h>

/* ---- the screen ---- */

enum { ROWS = 60 };
static int rows = 24, columns = 80;
static char lines[ROWS][1024];
static int styles[ROWS];
static int cursor_row;

bool top_screen_present(void) { return true; }
int top_screen_begin(void) { return TOOL_OK; }
void top_screen_end(void) {}
void top_screen_again(void) {}
void top_screen_size(int *r, int *c) { *r = rows, *c = columns; }
void top_screen_cursor(int row, int column) { (void)column, cursor_row = row; }
void top_screen_show(void) {}
int top_screen_key(void) { return TOP_KEY_NONE; }

void top_screen_line(int row, int style, const char *text) {
  if (row < 0 || row >= rows) return;
  snprintf(lines[row], sizeof lines[row], "%s", text);
  styles[row] = style;
}

static int row_with(const char *text) {
  for (int row = 0; row < rows; row++)
    if (strstr(lines[row], text) != NULL) return row;
  return -1;
}

#define seen(text) ck_assert_msg(row_with(text) >= 0, "not seen: %s; the second line: %s", text, lines[1])

/* ---- rates ---- */

static struct top_rates rates_of(const struct top_sample *samples, size_t count) {
  struct top_rates rates = {.begun = false};
  for (size_t i = 0; i < count; i++) top_rates_step(&rates, &samples[i]);
  return rates;
}

#define RATES(...) rates_of((const struct top_sample[]){__VA_ARGS__}, \
                            sizeof((const struct top_sample[]){__VA_ARGS__}) / sizeof(struct top_sample))

static void is_about(double value, double expected) {
  ck_assert_msg(value > expected - 0.001 && value < expected + 0.001, "%f instead of %f", value, expected);
}

START_TEST(first_look_shows_the_average_of_all) {
  struct top_rates rates = RATES({.at_ms = 9000, .age_ms = 20000, .acquisitions = 100, .waits = 30});
  is_about(rates.acquisitions, 5);
  is_about(rates.waits, 1.5);
  ck_assert(rates.average);
  ck_assert_uint_eq(rates.count, 0);
}
END_TEST

START_TEST(later_looks_show_what_happened_since) {
  struct top_rates rates = RATES({.at_ms = 9000, .age_ms = 20000, .acquisitions = 100, .waits = 30},
                                 {.at_ms = 11000, .age_ms = 22000, .acquisitions = 106, .waits = 31});
  is_about(rates.acquisitions, 3);
  is_about(rates.waits, 0.5);
  ck_assert(!rates.average);
  ck_assert_uint_eq(rates.count, 1);
}
END_TEST

START_TEST(looks_too_close_together_tell_nothing) {
  struct top_rates rates = RATES({.at_ms = 9000, .age_ms = 20000, .acquisitions = 100},
                                 {.at_ms = 9050, .age_ms = 20050, .acquisitions = 200},
                                 {.at_ms = 10000, .age_ms = 21000, .acquisitions = 300});
  is_about(rates.acquisitions, 200);
  ck_assert_uint_eq(rates.count, 1);
}
END_TEST

START_TEST(reset_between_two_looks_begins_anew) {
  struct top_rates rates = RATES({.at_ms = 9000, .age_ms = 20000, .acquisitions = 100, .waits = 30},
                                 {.at_ms = 13000, .age_ms = 2000, .acquisitions = 4, .waits = 2});
  is_about(rates.acquisitions, 2);
  is_about(rates.waits, 1);
}
END_TEST

START_TEST(share_is_of_those_who_asked) {
  is_about(RATES({.age_ms = 1000}).share, 0);
  is_about(RATES({.age_ms = 1000, .acquisitions = 10}).share, 0);
  is_about(RATES({.age_ms = 1000, .acquisitions = 8, .waits = 2}).share, 0.25);
  is_about(RATES({.age_ms = 1000, .acquisitions = 8, .waits = 2, .waiting = 2}).share, 0.4);
  is_about(RATES({.age_ms = 1000, .acquisitions = 8, .waits = 4, .failures = 2}).share, 0.4);
  is_about(RATES({.age_ms = 1000, .waiting = 3}).share, 1);
  is_about(RATES({.age_ms = 1000, .acquisitions = 1, .waits = 5}).share, 1); /* upgrades wait, and acquire nothing */
}
END_TEST

START_TEST(history_keeps_the_newest) {
  struct top_rates rates = {.begun = false};
  char *text = NULL;
  size_t size = 0;
  for (int i = 0; i <= TOP_HISTORY + 5; i++) {
    struct top_sample now = {.at_ms = 1000 * i, .age_ms = 1000, .acquisitions = 8 * i, .waiting = i > TOP_HISTORY + 3};
    top_rates_step(&rates, &now);
  }
  ck_assert_uint_eq(rates.count, TOP_HISTORY);
  is_about(rates.history[TOP_HISTORY - 1], 1.0 / 9);
  is_about(rates.history[TOP_HISTORY - 3], 0);
  rates.history[TOP_HISTORY - 1] = 1;
  FILE *to = tool_memory(&text, &size);
  top_put_history(to, &rates, 4);
  fclose(to);
  ck_assert(strcmp(text, tool_utf8() ? "  \xe2\x96\x81\xe2\x96\x88" : "  .#") == 0);
  free(text);
  top_rates_forget(&rates);
  ck_assert(!rates.begun && rates.count == 0);
}
END_TEST

/* ---- locks and people ---- */

static const struct planted somebody = {
  .slot = 1, .state = COLOCKP_HELD, .mode = COLOCK_SHARED, .generation = 1, .pid = 11, .tid = 11, .uid = 0,
  .age_ns = 5 * SECOND + SECOND / 2, .program = "reader", .host = "db1"};

static int owners[16], owner_count;

static void plant(const char *path, const struct planted *who) {
  ck_assert_int_lt(owner_count, 16);
  owners[owner_count++] = planted(path, who);
}

/* a.lock: two readers, a cached one, two waiters; b.lock: free; c.lock: not there */
static void begin(struct top *top) {
  static char paths[3][512];
  char *list[] = {paths[0], paths[1], paths[2]};
  static const char *const names[] = {"a.lock", "b.lock", "c.lock"};
  struct planted young = somebody, cached = somebody, first = somebody, next = somebody;
  for (int i = 0; i < 3; i++) snprintf(paths[i], sizeof paths[i], "%s", test_path(names[i]));
  planted_file("a.lock");
  planted_file("b.lock");
  plant(paths[0], &somebody);
  young.slot = 2, young.pid = young.tid = 7, young.age_ns = 2 * SECOND + SECOND / 2, young.label = "young";
  young.purpose = "say \"x\"", young.uid = 12345678;
  plant(paths[0], &young);
  cached.slot = 3, cached.state = COLOCKP_CACHED, cached.program = "server", cached.quiet_ns = 4 * SECOND;
  plant(paths[0], &cached);
  first.slot = 4, first.state = COLOCKP_WAITING, first.mode = COLOCK_EXCLUSIVE, first.program = "writer";
  first.rank = planted_rank(1, COLOCK_EXCLUSIVE), first.priority = 3;
  plant(paths[0], &first);
  next.slot = 5, next.state = COLOCKP_WAITING, next.program = "later", next.rank = planted_rank(2, COLOCK_SHARED);
  plant(paths[0], &next);
  top_begin(top, list, 3);
  top_look(top);
}

static void end(struct top *top) {
  top_end(top);
  while (owner_count > 0) close(owners[--owner_count]);
}

/* The programs and labels of the people, in their order. */
static const char *order_of(const struct top *top) {
  static char text[512];
  size_t used = 0;
  text[0] = '\0';
  for (size_t i = 0; i < top->people_count; i++) {
    const char *label = colock_entry_text(top->people[i], COLOCK_LABEL);
    if (label == NULL || *label == '\0') label = colock_entry_text(top->people[i], COLOCK_PROGRAM);
    used += (size_t)snprintf(text + used, sizeof text - used, "%s ", label);
  }
  return text;
}

/* The last letter but five of each path that is shown: of a.lock a. */
static const char *shown(const struct top *top) {
  static char text[16];
  for (size_t i = 0; i < top->shown_count; i++) {
    text[i] = top->shown[i]->path[strlen(top->shown[i]->path) - 6];
    text[i + 1] = '\0';
  }
  return top->shown_count > 0 ? text : "";
}

START_TEST(people_stand_in_the_order_that_was_chosen) {
  static const char *const expected[] = {"reader young server writer later ", "reader writer later server young ",
                                         "later reader server writer young ", "young reader server writer later "};
  struct top top;
  begin(&top);
  for (int order = 0; order < TOP_PERSON_ORDERS; order++) {
    top.order[TOP_PEOPLE] = order;
    top_arrange(&top);
    ck_assert_str_eq(order_of(&top), expected[order]);
  }
  top.order[TOP_PEOPLE] = TOP_BY_LINE;
  top.reversed[TOP_PEOPLE] = true;
  top_arrange(&top);
  ck_assert_str_eq(order_of(&top), "later writer server young reader ");
  end(&top);
}
END_TEST

START_TEST(locks_stand_in_the_order_that_was_chosen) {
  struct top top;
  begin(&top);
  ck_assert_str_eq(shown(&top), "abc");
  top.locks[1].rates.acquisitions = 9; /* of b.lock */
  top.locks[0].rates.waits = 9;
  static const char *const expected[] = {"abc", "abc", "abc", "bac", "abc", "abc"};
  for (int order = 0; order < TOP_LOCK_ORDERS; order++) {
    top.order[TOP_LOCKS] = order;
    top_arrange(&top);
    ck_assert_str_eq(shown(&top), expected[order]);
    ck_assert_ptr_eq(top.subject, &top.locks[0]);
    top.reversed[TOP_LOCKS] = true;
    top_arrange(&top);
    ck_assert_int_eq(shown(&top)[0], expected[order][2]);
    ck_assert_int_eq(shown(&top)[2], expected[order][0]);
    top.reversed[TOP_LOCKS] = false;
  }
  end(&top);
}
END_TEST

static void filter(struct top *top, const char *text) {
  snprintf(top->filter, sizeof top->filter, "%s", text);
  top_arrange(top);
}

START_TEST(filter_leaves_what_has_the_text) {
  struct top top;
  begin(&top);
  filter(&top, "WRITE");
  ck_assert_str_eq(shown(&top), "a");
  ck_assert_str_eq(order_of(&top), "writer ");
  filter(&top, "say");
  ck_assert_str_eq(order_of(&top), "young ");
  filter(&top, "a.lock"); /* of the path: all its people */
  ck_assert_str_eq(order_of(&top), "reader young server writer later ");
  filter(&top, "B.LOCK");
  ck_assert_str_eq(shown(&top), "b");
  ck_assert_ptr_eq(top.subject, &top.locks[1]);
  ck_assert_uint_eq(top.people_count, 0);
  filter(&top, "nothing like it");
  ck_assert_str_eq(shown(&top), "");
  ck_assert_ptr_null(top.subject);
  filter(&top, "");
  ck_assert_str_eq(shown(&top), "abc");
  end(&top);
}
END_TEST

START_TEST(file_that_comes_and_goes_is_seen) {
  struct top top;
  begin(&top);
  ck_assert_ptr_null(top.locks[2].report);
  ck_assert_ptr_nonnull(strstr(top.locks[2].error, "no such file"));
  test_make_lock(top.locks[2].path);
  top_look(&top);
  ck_assert_ptr_nonnull(top.locks[2].report);
  ck_assert_ptr_null(top.locks[2].error);
  ck_assert(top.locks[2].rates.begun);
  unlink(top.locks[2].path);
  top_look(&top);
  ck_assert_ptr_null(top.locks[2].report);
  ck_assert(!top.locks[2].rates.begun);
  end(&top);
}
END_TEST

/* ---- rows ---- */

static void cells_are(char *cells, const char *expected) {
  ck_assert_str_eq(cells, expected);
  free(cells);
}

START_TEST(rows_say_who_and_how) {
  struct top top;
  char expected[600];
  begin(&top);
  snprintf(expected, sizeof expected, "%s\tshared\t2\t1\t2\t0.0\t0.0\t100%%", top.locks[0].path);
  cells_are(top_lock_cells(&top.locks[0]), expected);
  snprintf(expected, sizeof expected, "%s\tfree\t0\t0\t0\t0.0\t0.0\t0%%", top.locks[1].path);
  cells_are(top_lock_cells(&top.locks[1]), expected);
  snprintf(expected, sizeof expected, "%s\terror\t-\t-\t-\t-\t-\t-", top.locks[2].path);
  cells_are(top_lock_cells(&top.locks[2]), expected);
  cells_are(top_person_cells(top.people[1], true),
            "holds\t\tshared\tyoung[7]\t12345678@db1\t2s\t\"say \\\"x\\\"\"");
  char *cells = top_person_cells(top.people[3], true);
  ck_assert_int_eq(strncmp(cells, "waits\t1\texclusive\twriter[11]\t", 29), 0);
  ck_assert_str_eq(strrchr(cells, '\t'), "\tpriority 3");
  free(cells);
  cells = top_person_cells(top.people[2], true);
  ck_assert_int_eq(strncmp(cells, "keeps\t\tshared\tserver[11]\t", 25), 0);
  free(cells);
  end(&top);
}
END_TEST

static char *row_of(const struct top_table *table, const char *cells) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  top_put_row(to, table, cells);
  fclose(to);
  return text;
}

START_TEST(columns_take_what_they_need_and_give_way) {
  static const char cells[] = "/var/lib/some/where/db.lock\texclusive\t1\t0\t12345\t1.0\t2.0\t45%";
  struct top_table table = top_locks_table;
  top_fit(&table, cells);
  ck_assert_int_eq(table.width[0], 27);
  ck_assert_int_eq(table.width[4], 5);
  char *row = row_of(&table, cells);
  ck_assert_str_eq(row, "/var/lib/some/where/db.lock exclusive     1    0 12345    1.0     2.0    45%");
  ck_assert_int_eq(top_table_width(&table), (int)strlen(row) + 1);
  free(row);
  top_squeeze(&table, 80, 17);
  ck_assert_int_eq(top_table_width(&table), 63);
  cells_are(row_of(&table, cells), "...re/db.lock exclusive     1    0 12345    1.0     2.0    45%");
  top_squeeze(&table, 20, 17); /* no less than it must have */
  ck_assert_int_eq(table.width[0], top_locks_table.columns[0].least);
  table = top_people_table;
  table.width[3] = 16;
#define WIDE "\xe6\x97\xa5\xe6\x9c\xac" /* two characters, of two columns each */
  cells_are(row_of(&table, "holds\t\tshared\t" WIDE WIDE WIDE WIDE WIDE "\troot\t1s\t"),
            "holds         shared    " WIDE WIDE WIDE WIDE " root           1s ");
  table.width[3] = 15;
  cells_are(row_of(&table, "holds\t\tshared\t" WIDE WIDE WIDE WIDE WIDE "\troot\t1s\t"),
            "holds         shared    " WIDE WIDE WIDE "\xe6\x97\xa5  root           1s ");
}
END_TEST

/* ---- keys ---- */

static void press(struct top_view *view, const char *keys) {
  for (; *keys != '\0'; keys++) top_key(view, *keys);
}

START_TEST(force_takes_two_answers_and_a_word) {
  static const char *const refused[] = {"ufn",     "ufy\r",   "ufyforc\r", "ufyforced\r",
                                        "ufy\x1b", "uf\x1b", "ufk"};
  struct top top;
  struct top_view view;
  begin(&top);
  top_view_begin(&view, &top);
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    press(&view, refused[i]);
    ck_assert_int_eq(view.mode, TOP_LIST);
    ck_assert_int_lt(view.unlock.fd, 0);
    ck_assert_ptr_null(view.unlock.text); /* nothing was begun, nor ended */
  }
  press(&view, "ufyforcx");
  top_key(&view, TOP_KEY_BACK);
  press(&view, "e");
  ck_assert_int_eq(view.mode, TOP_TYPE_FORCE);
  ck_assert_str_eq(view.typed, "force");
  press(&view, "\x1b");
  press(&view, "uk");
  ck_assert_int_eq(view.mode, TOP_CONFIRM);
  press(&view, "\r"); /* Enter is no yes */
  ck_assert_int_eq(view.mode, TOP_LIST);
  ck_assert_int_lt(view.unlock.fd, 0);
  top_view_end(&view);
  end(&top);
}
END_TEST

START_TEST(what_was_chosen_stays_chosen) {
  struct top top;
  struct top_view view;
  begin(&top);
  top_view_begin(&view, &top);
  press(&view, "\tjjj"); /* the writer */
  ck_assert_uint_eq(view.chosen[TOP_PEOPLE], 3);
  press(&view, "ss"); /* by name */
  ck_assert_str_eq(order_of(&top), "later reader server writer young ");
  ck_assert_uint_eq(view.chosen[TOP_PEOPLE], 3);
  close(owners[0]); /* the reader ends */
  owners[0] = owners[--owner_count];
  top_look(&top);
  top_view_settle(&view);
  ck_assert_str_eq(order_of(&top), "later server writer young ");
  ck_assert_uint_eq(view.chosen[TOP_PEOPLE], 2);
  press(&view, "\tj"); /* the other lock */
  ck_assert_ptr_eq(top.subject, &top.locks[1]);
  press(&view, "r");
  ck_assert_ptr_eq(top.subject, &top.locks[1]);
  ck_assert_uint_eq(view.chosen[TOP_LOCKS], 1);
  press(&view, "G");
  ck_assert_ptr_eq(top.subject, &top.locks[0]);
  top_view_end(&view);
  end(&top);
}
END_TEST

START_TEST(filter_is_typed_and_taken_back) {
  struct top top;
  struct top_view view;
  begin(&top);
  top_view_begin(&view, &top);
  press(&view, "/writ");
  ck_assert_str_eq(shown(&top), "a");
  top_key(&view, 0xe9);
  top_key(&view, 0x20ac);
  top_key(&view, 0x1f512);
  ck_assert_str_eq(top.filter, "writ\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92");
  for (int i = 0; i < 3; i++) top_key(&view, TOP_KEY_BACK);
  ck_assert_str_eq(top.filter, "writ");
  for (int i = 0; i < 200; i++) top_key(&view, 'x'); /* no more than there is room for */
  ck_assert_uint_lt(strlen(top.filter), sizeof top.filter);
  press(&view, "\x1b");
  ck_assert_str_eq(top.filter, "");
  ck_assert_str_eq(shown(&top), "abc");
  press(&view, "/q\r");
  ck_assert(!view.quit);
  press(&view, "q");
  ck_assert(view.quit);
  top_view_end(&view);
  end(&top);
}
END_TEST

/* ---- frames ---- */

static void draw(struct top_view *view, int r, int c) {
  rows = r, columns = c;
  memset(lines, 0, sizeof lines);
  top_draw(view, 1000);
}

START_TEST(frame_has_both_tables) {
  struct top top;
  struct top_view view;
  begin(&top);
  top_view_begin(&view, &top);
  draw(&view, 24, 80);
  ck_assert_int_eq(strncmp(lines[0], "colock top  3 locks: 2 hold, 1 keep, 2 wait", 43), 0);
  ck_assert_int_eq(tool_width(lines[0]), 80);
  ck_assert_int_eq(strncmp(lines[1], "LOCK ", 5), 0);
  ck_assert_int_eq(styles[2], TOP_STYLE_CHOSEN);
  ck_assert_int_eq(styles[4], TOP_STYLE_BAD); /* c.lock cannot be read */
  ck_assert_int_eq(strncmp(lines[6], "ROLE ", 5), 0);
  ck_assert_int_eq(row_with("young[7]"), 8);
  ck_assert_int_eq(strncmp(lines[23], "q quit", 6), 0);
  for (int row = 0; row < 24; row++) ck_assert_int_le(tool_width(lines[row]), 80);
  press(&view, "G");
  draw(&view, 24, 80);
  seen("no such file");
  top_view_end(&view);
  end(&top);
}
END_TEST

START_TEST(frame_of_any_size_keeps_its_last_line) {
  static const int sizes[] = {1, 2, 3, 5, 7, 8, 12, 24, 50};
  static const char *const before[] = {"", "/x", "\x1bh", "q\r", "q\t\r", "quk", "nufy"};
  struct top top;
  struct top_view view;
  begin(&top);
  top_view_begin(&view, &top);
  for (size_t mode = 0; mode < sizeof before / sizeof *before; mode++) {
    press(&view, before[mode]);
    view.quit = false;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      draw(&view, sizes[i], sizes[i] * 3);
      ck_assert_int_ne(lines[sizes[i] - 1][0], '\0');
    }
  }
  top_view_end(&view);
  end(&top);
}
END_TEST

START_TEST(long_lists_scroll_with_the_cursor) {
  enum { PEOPLE = 300 };
  static int crowd[PEOPLE];
  char *list[1] = {(char *)(uintptr_t)planted_file("a.lock")}, name[16];
  struct top top;
  struct top_view view;
  struct planted one = somebody;
  for (int i = 0; i < PEOPLE; i++) {
    one.slot = (uint32_t)i;
    one.pid = one.tid = 1000 + i;
    one.age_ns = (PEOPLE - i) * SECOND;
    crowd[i] = planted(list[0], &one);
  }
  top_begin(&top, list, 1);
  top_look(&top);
  top_view_begin(&view, &top);
  press(&view, "\t");
  draw(&view, 24, 80);
  ck_assert_int_eq(row_with("[1000]"), 5);
  ck_assert_int_eq(row_with("[1017]"), 22);
  ck_assert_int_eq(row_with("[1018]"), -1);
  top_key(&view, TOP_KEY_PAGE_DOWN);
  draw(&view, 24, 80);
  ck_assert_int_eq(row_with("[1017]"), 22);
  top_key(&view, TOP_KEY_PAGE_DOWN);
  draw(&view, 24, 80);
  ck_assert_int_eq(row_with("[1034]"), 22);
  ck_assert_int_eq(styles[22], TOP_STYLE_CHOSEN);
  top_key(&view, TOP_KEY_END);
  draw(&view, 24, 80);
  snprintf(name, sizeof name, "[%d]", 1000 + PEOPLE - 1);
  ck_assert_int_eq(row_with(name), 22);
  draw(&view, 12, 80); /* smaller: it is seen still */
  ck_assert_int_eq(row_with(name), 10);
  top_key(&view, TOP_KEY_HOME);
  draw(&view, 24, 80);
  ck_assert_int_eq(row_with("[1000]"), 5);
  top_view_end(&view);
  top_end(&top);
  for (int i = 0; i < PEOPLE; i++) close(crowd[i]);
}
END_TEST

START_TEST(question_names_those_it_was_asked_about) {
  struct top top;
  struct top_view view;
  begin(&top);
  top_view_begin(&view, &top);
  press(&view, "uk");
  draw(&view, 24, 80);
  ck_assert_str_eq(lines[23], "Kill reader[11], young[7] and server[11]? y: yes, other keys: no ");
  close(owners[1]); /* one ends */
  owners[1] = owners[--owner_count];
  top_look(&top);
  top_view_settle(&view);
  draw(&view, 24, 80);
  ck_assert_str_eq(lines[23], "Kill reader[11], young[7] and server[11]? y: yes, other keys: no ");
  char *now = top_owners(top.locks[0].report);
  ck_assert_str_ne(now, view.owners);
  free(now);
  top_view_end(&view);
  end(&top);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "rates", 30);
  tcase_add_test(tcase, first_look_shows_the_average_of_all);
  tcase_add_test(tcase, later_looks_show_what_happened_since);
  tcase_add_test(tcase, looks_too_close_together_tell_nothing);
  tcase_add_test(tcase, reset_between_two_looks_begins_anew);
  tcase_add_test(tcase, share_is_of_those_who_asked);
  tcase_add_test(tcase, history_keeps_the_newest);
  tcase = test_case(suite, "model", 30);
  tcase_add_test(tcase, people_stand_in_the_order_that_was_chosen);
  tcase_add_test(tcase, locks_stand_in_the_order_that_was_chosen);
  tcase_add_test(tcase, filter_leaves_what_has_the_text);
  tcase_add_test(tcase, file_that_comes_and_goes_is_seen);
  tcase = test_case(suite, "rows", 30);
  tcase_add_test(tcase, rows_say_who_and_how);
  tcase_add_test(tcase, columns_take_what_they_need_and_give_way);
  tcase = test_case(suite, "keys", 30);
  tcase_add_test(tcase, force_takes_two_answers_and_a_word);
  tcase_add_test(tcase, what_was_chosen_stays_chosen);
  tcase_add_test(tcase, filter_is_typed_and_taken_back);
  tcase = test_case(suite, "frames", 30);
  tcase_add_test(tcase, frame_has_both_tables);
  tcase_add_test(tcase, frame_of_any_size_keeps_its_last_line);
  tcase_add_test(tcase, long_lists_scroll_with_the_cursor);
  tcase_add_test(tcase, question_names_those_it_was_asked_about);
}

int main(int argc, char **argv) {
  setlocale(LC_CTYPE, "");
  return test_main(argc, argv, "top", fill);
}

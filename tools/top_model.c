/* top_model.c - the locks that are watched: looked at again and again, filtered, put in order. It draws nothing. */
#include "top.h"

#include <stdlib.h>
#include <string.h>

static const char *const order_names[TOP_TABLES][TOP_LOCK_ORDERS] = {
  {"as given", "waiting", "holding", "acquisitions", "waits", "path"},
  {"place", "age", "name", "user"},
};
_Static_assert((int)TOP_PERSON_ORDERS <= (int)TOP_LOCK_ORDERS, "room for the names");

const char *top_order_name(const struct top *top, int table) { return order_names[table][top->order[table]]; }

void top_begin(struct top *top, char **paths, size_t count) {
  memset(top, 0, sizeof *top);
  top->locks = tool_got(calloc(count, sizeof *top->locks));
  top->shown = tool_got(calloc(count, sizeof *top->shown));
  top->lock_count = count;
  for (size_t i = 0; i < count; i++)
    top->locks[i].path = paths[i];
}

static void forget(struct top_lock *lock) {
  colock_report_free(lock->report);
  colock_stats_free(lock->stats);
  free(lock->error);
  lock->report = NULL;
  lock->stats = NULL;
  lock->error = NULL;
}

void top_end(struct top *top) {
  for (size_t i = 0; i < top->lock_count; i++)
    forget(&top->locks[i]);
  free(top->locks);
  free(top->shown);
  free(top->people);
  memset(top, 0, sizeof *top);
}

/* ---- looking ---- */

static void take_sample(struct top_lock *lock) {
  const colock_stats *stats = lock->stats;
  struct top_sample now = {
    .at_ms = tool_now_ms(),
    .age_ms = colock_stats_number(stats, "age_ms"),
    .acquisitions = colock_stats_number(stats, "acquisitions_shared") +
                    colock_stats_number(stats, "acquisitions_exclusive"),
    .waits = colock_stats_number(stats, "wait_shared_count") + colock_stats_number(stats, "wait_exclusive_count"),
    .failures = colock_stats_number(stats, "timeouts") + colock_stats_number(stats, "cancels"),
    .waiting = colock_report_stat(lock->report, "waiters"),
  };
  top_rates_step(&lock->rates, &now);
}

static void look_at(struct top_lock *lock) {
  forget(lock);
  lock->code = colock_report_read(lock->path, &lock->report);
  if (lock->code == COLOCK_OK)
    lock->code = colock_stats_read(lock->path, &lock->stats);
  if (lock->code == COLOCK_OK) {
    take_sample(lock);
    return;
  }
  const char *message = colock_last_message();
  lock->error = tool_got(strdup(*message != '\0' ? message : colock_strerror(lock->code)));
  colock_report_free(lock->report);
  lock->report = NULL;
  top_rates_forget(&lock->rates); /* what comes back may be another file */
}

void top_look(struct top *top) {
  for (size_t i = 0; i < top->lock_count; i++)
    look_at(&top->locks[i]);
  top_arrange(top);
}

/* ---- in order ---- */

struct key {
  double number;    /* the largest first, */
  const char *text; /* then by text, */
  size_t index;     /* then as it was */
  char *made;       /* NULL, or what is to be freed */
};

static int compare(const void *left, const void *right) {
  const struct key *a = left, *b = right;
  int texts = strcmp(a->text, b->text);
  if (a->number < b->number || a->number > b->number)
    return a->number > b->number ? -1 : 1;
  return texts != 0 ? texts : a->index < b->index ? -1 : 1;
}

static double lock_number(const struct top_lock *lock, int order) {
  switch (order) {
  case TOP_BY_WAITERS: return (double)colock_report_stat(lock->report, "waiters");
  case TOP_BY_HOLDERS: return (double)colock_report_stat(lock->report, "holders");
  case TOP_BY_ACQUISITIONS: return lock->rates.acquisitions;
  case TOP_BY_WAITS: return lock->rates.waits;
  default: return 0;
  }
}

static struct key lock_key(const struct top *top, size_t index) {
  const struct top_lock *lock = top->shown[index];
  int order = top->order[TOP_LOCKS];
  return (struct key){.number = lock->report != NULL ? lock_number(lock, order) : -1,
                      .text = order == TOP_BY_PATH ? lock->path : "", .index = index};
}

static struct key person_key(const struct top *top, size_t index) {
  const colock_entry *entry = top->people[index];
  struct key key = {.text = "", .index = index};
  size_t size = 0;
  int order = top->order[TOP_PEOPLE];
  if (order == TOP_BY_AGE)
    key.number = (double)colock_entry_number(entry, COLOCK_AGE_MS);
  if (order == TOP_BY_NAME || order == TOP_BY_USER) {
    FILE *to = tool_memory(&key.made, &size);
    if (order == TOP_BY_NAME)
      tool_name(to, entry);
    else
      tool_user(to, entry, true);
    fclose(to);
    key.text = key.made;
  }
  return key;
}

/* Puts `count` pointers in order by their keys. */
static void sort(const struct top *top, int table, void *list, size_t count) {
  struct key (*key_of)(const struct top *, size_t) = table == TOP_LOCKS ? lock_key : person_key;
  if (count < 2 || (top->order[table] == 0 && !top->reversed[table]))
    return;
  struct key *keys = tool_got(calloc(count, sizeof *keys));
  void **before = tool_got(malloc(count * sizeof *before));
  memcpy(before, list, count * sizeof *before);
  for (size_t i = 0; i < count; i++)
    keys[i] = key_of(top, i);
  qsort(keys, count, sizeof *keys, compare);
  for (size_t i = 0; i < count; i++) {
    memcpy((char *)list + (top->reversed[table] ? count - 1 - i : i) * sizeof *before, &before[keys[i].index],
           sizeof *before);
    free(keys[i].made);
  }
  free(before);
  free(keys);
}

/* ---- filtered ---- */

static bool person_matches(const colock_entry *entry, const char *filter) {
  char *cells = top_person_cells(entry, false);
  bool found = strcasestr(cells, filter) != NULL;
  free(cells);
  return found;
}

static bool anybody_matches(const struct top_lock *lock, const char *filter) {
  for (size_t i = 0; lock->report != NULL && i < colock_report_count(lock->report); i++)
    if (person_matches(colock_report_entry(lock->report, i), filter))
      return true;
  return false;
}

static bool path_matches(const struct top_lock *lock, const char *filter) {
  return *filter == '\0' || strcasestr(lock->path, filter) != NULL;
}

static void arrange_people(struct top *top) {
  const struct top_lock *lock = top->subject;
  size_t all = lock != NULL && lock->report != NULL ? colock_report_count(lock->report) : 0;
  top->people = tool_got(realloc(top->people, (all + 1) * sizeof *top->people));
  top->people_count = 0;
  for (size_t i = 0; i < all; i++) {
    const colock_entry *entry = colock_report_entry(lock->report, i);
    if (path_matches(lock, top->filter) || person_matches(entry, top->filter))
      top->people[top->people_count++] = entry;
  }
  sort(top, TOP_PEOPLE, top->people, top->people_count);
}

void top_arrange(struct top *top) {
  bool present = false;
  top->shown_count = 0;
  for (size_t i = 0; i < top->lock_count; i++)
    if (path_matches(&top->locks[i], top->filter) || anybody_matches(&top->locks[i], top->filter))
      top->shown[top->shown_count++] = &top->locks[i];
  sort(top, TOP_LOCKS, top->shown, top->shown_count);
  for (size_t i = 0; i < top->shown_count; i++)
    present = present || top->shown[i] == top->subject;
  if (!present)
    top->subject = top->shown_count > 0 ? top->shown[0] : NULL;
  arrange_people(top);
}

/* table.c - numbers for JavaScript instead of pointers.
 *
 * A number is generation * 2^20 + row, at most 2^52, so it is exact in a double. A row that is used again has another
 * generation: a number that came too late finds nothing, instead of somebody else's hold.
 */
#include "addon.h"

#include <stdlib.h>

#define NONE UINT32_MAX

static bool grow(struct table *table) {
  uint32_t size = table->size ? table->size * 2 : 16;
  struct row *rows = size <= FIRST_ID ? realloc(table->rows, size * sizeof *rows) : NULL;
  if (!rows)
    return false;
  for (uint32_t i = table->size; i < size; i++)
    rows[i] = (struct row){ .generation = 1, .next_free = i + 1 < size ? i + 1 : NONE };
  table->rows = rows;
  table->first_free = table->size;
  table->size = size;
  return true;
}

int64_t table_add(struct table *table, void *item) {
  if ((table->size == 0 || table->first_free == NONE) && !grow(table))
    return -COLOCK_ENOMEM;
  uint32_t index = table->first_free;
  table->first_free = table->rows[index].next_free;
  table->rows[index].item = item;
  table->used++;
  return (int64_t)table->rows[index].generation * FIRST_ID + index;
}

void *table_get(const struct table *table, int64_t id) {
  uint64_t index = (uint64_t)id % (uint64_t)FIRST_ID;
  if (id < FIRST_ID || index >= table->size || table->rows[index].generation != (uint64_t)id / (uint64_t)FIRST_ID)
    return NULL;
  return table->rows[index].item;
}

void table_remove(struct table *table, int64_t id) {
  if (!table_get(table, id))
    return;
  uint32_t index = (uint32_t)(id % FIRST_ID);
  struct row *row = &table->rows[index];
  row->item = NULL;
  row->generation = row->generation == UINT32_MAX ? 1 : row->generation + 1;
  row->next_free = table->first_free;
  table->first_free = index;
  table->used--;
}

void *table_any(const struct table *table, int64_t *id) {
  for (uint32_t i = 0; i < table->size; i++)
    if (table->rows[i].item) {
      *id = (int64_t)table->rows[i].generation * FIRST_ID + i;
      return table->rows[i].item;
    }
  return NULL;
}

void table_free(struct table *table) {
  free(table->rows);
  *table = (struct table){ 0 };
}

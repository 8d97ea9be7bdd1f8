/* test_config_memory.c - libyaml out of memory, at each of its allocations in turn: an error that says so, nothing
 * changed.
 *
 * libyaml allocates through functions of its own, which it exports; those of this program stand before them. That this
 * works is itself checked: a load that makes no allocation here fails the test.
 */
#define _GNU_SOURCE
#include "support.h"

#include <stdlib.h>
#include <string.h>

static long made, live, fail_at; /* fail_at 0: none fails */

static bool strikes(void) { return ++made == fail_at; }

#define OVER __attribute__((visibility("default")))
OVER void *yaml_malloc(size_t size);
OVER void *yaml_realloc(void *memory, size_t size);
OVER void yaml_free(void *memory);
OVER unsigned char *yaml_strdup(const unsigned char *text);

void *yaml_malloc(size_t size) {
  void *memory = strikes() ? NULL : malloc(size ? size : 1);
  live += memory != NULL;
  return memory;
}

void *yaml_realloc(void *memory, size_t size) {
  void *moved = strikes() ? NULL : realloc(memory, size ? size : 1);
  live += moved != NULL && memory == NULL;
  return moved;
}

void yaml_free(void *memory) {
  live -= memory != NULL;
  free(memory);
}

unsigned char *yaml_strdup(const unsigned char *text) {
  unsigned char *copy = text && !strikes() ? (unsigned char *)strdup((const char *)text) : NULL;
  live += copy != NULL;
  return copy;
}

/* Long scalars, many lines and deep brackets make libyaml's buffers and stacks grow. */
static void make_text(char *text, size_t size) {
  size_t used = 0;
  memset(text, 0, size);
  for (int i = 0; i < 200; i++) {
    memcpy(text + used, "# a comment\n", 12);
    used += 12;
  }
  memcpy(text + used, "label: \"", 8);
  memset(text + used + 8, 'x', 3000);
  used += 3008;
  strcpy(text + used, "\"\nseats: 3\n\"timeout\": '1s'\n");
}

START_TEST(no_memory_for_libyaml_is_an_error) {
  static char text[8192];
  const char *path = test_path("c.yaml");
  make_text(text, sizeof text);
  test_write(path, text, strlen(text));
  long n = 1;
  for (;; n++) {
    colock_config *config = test_config("seats", "2", NULL);
    made = live = 0;
    fail_at = n;
    int code = colock_config_load(config, path);
    bool hit = made >= n;
    fail_at = 0;
    ck_assert_msg(!hit || code == COLOCK_ENOMEM, "allocation %ld of libyaml: code %d, %s", n, code,
                  colock_last_message());
    ck_assert_int_eq(live, 0);
    ck_assert_str_eq(colock_config_get(config, "seats"), hit ? "2" : "3");
    ck_assert(!hit || strstr(colock_last_message(), "c.yaml: no memory to read it") != NULL);
    colock_config_free(config);
    if (!hit)
      break;
  }
  ck_assert_int_gt(n, 20);
}
END_TEST

static void fill(Suite *suite) { tcase_add_test(test_case(suite, "memory", 30), no_memory_for_libyaml_is_an_error); }

int main(int argc, char **argv) { return test_main(argc, argv, "config_memory", fill); }

/* test_keys.c - whoever speaks about keys says what the code's table says: conf/colock.yaml, colock.yaml(5), the
 * defaults. */
#include "support.h"

#include "config.h"
#include "config_keys.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE 65536

/* A file of the source tree; automake says where that is. */
static char *source_file(const char *name) {
  const char *top = getenv("abs_top_srcdir");
  char path[4096];
  char *text = calloc(1, TEXT_SIZE);
  ck_assert_ptr_nonnull(text);
  snprintf(path, sizeof path, "%s/%s", top ? top : ".", name);
  size_t size = test_read(path, text, TEXT_SIZE - 1);
  ck_assert_msg(size > 0 && size < TEXT_SIZE - 1, "%s: %zu bytes", path, size);
  return text;
}

/* What conf/colock.yaml must say about a key. */
static void render(char *out, size_t size, const colock_key *key) {
  snprintf(out, size, "\n# %s\n# %s: %s\n#%s: %s\n", key->help, key->type, key->range, key->name, key->initial);
}

START_TEST(table_is_whole) {
  ck_assert_int_ge(COLOCKP_KEYS, 13);
  for (size_t i = 0; i < COLOCKP_KEYS; i++) {
    const colock_key *key = colock_config_key(i);
    ck_assert_ptr_nonnull(key);
    ck_assert_int_eq(colockp_key_find(key->name), (int)i);
    ck_assert(*key->type && *key->range && *key->initial && *key->help);
  }
  ck_assert_ptr_null(colock_config_key(COLOCKP_KEYS));
  ck_assert_ptr_null(colock_config_key(SIZE_MAX));
  ck_assert_int_eq(colockp_key_find("timeou"), -1);
  ck_assert_int_eq(colockp_key_find(""), -1);
}
END_TEST

START_TEST(sample_file_follows_the_table) {
  char *text = source_file("conf/colock.yaml");
  char expected[1024];
  char *at = strstr(text, "\n\n"); /* the heading is free, up to the first empty line */
  ck_assert_ptr_nonnull(at);
  at++;
  for (size_t i = 0; colock_config_key(i); i++) {
    render(expected, sizeof expected, colock_config_key(i));
    ck_assert_msg(strncmp(at, expected, strlen(expected)) == 0, "conf/colock.yaml: here belongs:%sbut here is:\n%.300s",
                  expected, at);
    at += strlen(expected);
  }
  ck_assert_msg(*at == '\0', "conf/colock.yaml goes on after the last key: %s", at);
  free(text);
}
END_TEST

/* With every line that gives a key made active, the file says the defaults; as it is, it says nothing. */
START_TEST(sample_file_gives_the_defaults) {
  char *text = source_file("conf/colock.yaml");
  colock_config *sample = NULL, *plain = NULL;
  must(colock_config_new(&plain));
  for (int active = 0; active < 2; active++) {
    must(colock_config_new(&sample));
    for (size_t i = 0; active && text[i]; i++)
      if (text[i] == '#' && text[i + 1] != ' ')
        text[i] = ' '; /* all keys stay in one column */
    test_write(test_path("colock.yaml"), text, strlen(text));
    must(colock_config_load(sample, test_path("colock.yaml")));
    for (size_t i = 0; colock_config_key(i); i++) {
      const char *name = colock_config_key(i)->name;
      ck_assert_str_eq(colock_config_get(sample, name), colock_config_get(plain, name));
      ck_assert_int_eq(strcmp(colock_config_source(sample, name), "default") == 0, !active);
    }
    ck_assert_mem_eq(colockp_config_settings(sample), colockp_config_settings(plain), sizeof(struct colockp_settings));
    colock_config_free(sample);
  }
  colock_config_free(plain);
  free(text);
}
END_TEST

/* mdoc needs a backslash before nothing that the table has, but for the quotes of an empty text. */
static void row(char *out, size_t size, const colock_key *key) {
  snprintf(out, size, ".It Cm %s Ta %s Ta %s Ta %s\n", key->name, key->type, key->range,
           strcmp(key->initial, "\"\"") == 0 ? "\\(dq\\(dq" : key->initial);
}

START_TEST(manual_page_follows_the_table) {
  char *text = source_file("man/colock.yaml.5");
  char *at = strstr(text, ".It Sy Key Ta");
  char expected[1024];
  ck_assert_ptr_nonnull(at);
  at = strchr(at, '\n') + 1;
  for (size_t i = 0; colock_config_key(i); i++) {
    row(expected, sizeof expected, colock_config_key(i));
    ck_assert_msg(strncmp(at, expected, strlen(expected)) == 0, "colock.yaml(5): here belongs: %sbut here is:\n%.300s",
                  expected, at);
    at += strlen(expected);
  }
  ck_assert_msg(strncmp(at, ".El\n", 4) == 0, "colock.yaml(5): the table goes on: %.100s", at);
  for (size_t i = 0; colock_config_key(i); i++) { /* and each has its paragraph */
    snprintf(expected, sizeof expected, "\n.It Cm %s\n", colock_config_key(i)->name);
    ck_assert_msg(strstr(at, expected) != NULL, "colock.yaml(5): nothing about %s", colock_config_key(i)->name);
  }
  free(text);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "keys", 20);
  tcase_add_test(tcase, table_is_whole);
  tcase_add_test(tcase, sample_file_follows_the_table);
  tcase_add_test(tcase, sample_file_gives_the_defaults);
  tcase_add_test(tcase, manual_page_follows_the_table);
}

int main(int argc, char **argv) { return test_main(argc, argv, "keys", fill); }

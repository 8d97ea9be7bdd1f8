/* test_config_yaml.c - every file of test/yaml, against what its README says: the settings, or the place and the words.
 */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 200, EXPECTATION_SIZE = 512 };

static struct {
  char name[64];
  char expectation[EXPECTATION_SIZE];
} files[FILES_MAX];
static int file_count;

static const char *folder(void) {
  static char path[4096];
  const char *top = getenv("abs_top_srcdir");
  snprintf(path, sizeof path, "%s/test/yaml", top ? top : ".");
  return path;
}

/* "NAME.yaml: what it is", and below it, two blanks in, what to expect. */
static void read_list(void) {
  char path[4200], line[1024];
  snprintf(path, sizeof path, "%s/README", folder());
  FILE *list = fopen(path, "re");
  while (list && fgets(line, sizeof line, list)) {
    line[strcspn(line, "\n")] = '\0';
    char *end = strstr(line, ".yaml: ");
    if (end && file_count < FILES_MAX && (strncmp(line, "good-", 5) == 0 || strncmp(line, "bad-", 4) == 0)) {
      end[5] = '\0';
      snprintf(files[file_count++].name, sizeof files[0].name, "%.63s", line);
    } else if (file_count > 0 && strncmp(line, "  ", 2) == 0) {
      snprintf(files[file_count - 1].expectation, EXPECTATION_SIZE, "%.511s", line + 2);
    }
  }
  if (list)
    fclose(list);
}

START_TEST(list_and_folder_agree) {
  int found = 0;
  DIR *directory = opendir(folder());
  ck_assert_ptr_nonnull(directory);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    const char *end = strstr(entry->d_name, ".yaml");
    if (!end)
      continue;
    int known = 0;
    for (int i = 0; i < file_count; i++)
      known += strcmp(files[i].name, entry->d_name) == 0;
    ck_assert_msg(known == 1, "%s stands in the README %d times", entry->d_name, known);
    found++;
  }
  closedir(directory);
  ck_assert_int_eq(found, file_count);
  ck_assert_int_gt(file_count, 60);
  for (int i = 0; i < file_count; i++)
    ck_assert_msg(files[i].expectation[0] != '\0', "%s: nothing is expected of it", files[i].name);
}
END_TEST

/* All that differs from the defaults, as the README writes it. */
static void describe(const colock_config *config, const char *path, char *out, size_t size) {
  size_t used = 0;
  *out = '\0';
  for (size_t i = 0; colock_config_key(i); i++) {
    const char *name = colock_config_key(i)->name, *source = colock_config_source(config, name);
    if (strcmp(source, "default") == 0)
      continue;
    ck_assert_msg(strncmp(source, path, strlen(path)) == 0 && source[strlen(path)] == ':', "%s comes from %s", name,
                  source);
    used += (size_t)snprintf(out + used, size - used, "%s%s=", used ? " " : "", name);
    for (const char *c = colock_config_get(config, name); *c; c++)
      used += (size_t)snprintf(out + used, size - used, *c == '\t' ? "\\t" : "%c", *c == ' ' ? '_' : *c);
  }
  if (used == 0)
    snprintf(out, size, "defaults");
}

START_TEST(file_says_what_the_list_says) {
  char path[4200], text[EXPECTATION_SIZE];
  snprintf(path, sizeof path, "%s/%s", folder(), files[_i].name);
  colock_config *config = test_config(NULL);
  int code = colock_config_load(config, path);
  if (strncmp(files[_i].name, "good-", 5) == 0) {
    ck_assert_msg(code == COLOCK_OK, "%s", colock_last_message());
    describe(config, path, text, sizeof text);
    ck_assert_str_eq(text, files[_i].expectation);
  } else {
    ck_assert_int_eq(code, COLOCK_ECONFIG);
    const char *message = colock_last_message();
    ck_assert_msg(strncmp(message, path, strlen(path)) == 0 && message[strlen(path)] == ':', "%s", message);
    ck_assert_str_eq(message + strlen(path) + 1, files[_i].expectation);
    describe(config, path, text, sizeof text);
    ck_assert_str_eq(text, "defaults");
  }
  colock_config_free(config);
}
END_TEST

/* Any bytes at all: an answer, and a configuration that is whole. Also cuts every file of the folder at every byte. */
static void load_bytes(const char *bytes, size_t size) {
  const char *path = test_path("any.yaml");
  colock_config *config = test_config(NULL);
  test_write(path, bytes, size);
  int code = colock_config_load(config, path);
  if (code != COLOCK_OK) {
    ck_assert_int_eq(code, COLOCK_ECONFIG);
    ck_assert_ptr_nonnull(strstr(colock_last_message(), "any.yaml:"));
    ck_assert_str_eq(colock_config_source(config, "timeout"), "default");
  }
  colock_config_free(config);
}

START_TEST(file_cut_anywhere_gets_an_answer) {
  static char bytes[65536];
  char path[4200];
  snprintf(path, sizeof path, "%s/%s", folder(), files[_i].name);
  size_t size = test_read(path, bytes, sizeof bytes), step = size / 40 + 1;
  for (size_t cut = 0; cut < size; cut += step)
    load_bytes(bytes, cut);
}
END_TEST

START_TEST(random_bytes_get_an_answer) {
  static const char *const parts[] = {"timeout", "label", ":",  ": ", "\n",    " ",     "  ",       "-",
                                      "- ",      "5s",    "[",  "]",  "{",     "}",     "\"",       "'",
                                      "#",       "&a",    "*a", "!t", "---\n", "...\n", "\t",       "|",
                                      ">",       "?",     "%",  ",",  "\r",    "\xff",  "\xc3\xa4", "\\"};
  uint64_t state = test_seed();
  for (int round = 0; round < 100 * test_seconds(20); round++) {
    char bytes[256];
    size_t size = 0;
    for (uint32_t n = test_random(&state) % 24; n > 0; n--) {
      const char *part = parts[test_random(&state) % (sizeof parts / sizeof parts[0])];
      memcpy(bytes + size, part, strlen(part));
      size += strlen(part);
    }
    load_bytes(bytes, size);
  }
}
END_TEST

static void fill(Suite *suite) {
  read_list();
  TCase *tcase = test_case(suite, "yaml", 60);
  tcase_add_test(tcase, list_and_folder_agree);
  tcase_add_loop_test(tcase, file_says_what_the_list_says, 0, file_count);
  tcase_add_loop_test(tcase, file_cut_anywhere_gets_an_answer, 0, file_count);
  tcase_add_test(tcase, random_bytes_get_an_answer);
}

int main(int argc, char **argv) { return test_main(argc, argv, "config_yaml", fill); }

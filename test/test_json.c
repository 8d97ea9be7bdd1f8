/* test_json.c - the JSON writer: commas, escapes, numbers that a double cannot carry, and memory that runs out. */
#define _GNU_SOURCE
#include "json.h"
#include "fault.h"
#include "support.h"
#include "system.h"
#include <string.h>

static char *string_as_json(const char *text) {
  struct colockp_json json;
  colockp_json_init(&json);
  colockp_json_string(&json, NULL, text);
  return colockp_json_take(&json);
}

static void is_written(const char *text, const char *expected) {
  char *json = string_as_json(text);
  ck_assert_str_eq(json, expected);
  colockp_system.free(json);
}

START_TEST(nesting_has_its_commas) {
  struct colockp_json json;
  colockp_json_init(&json);
  colockp_json_open(&json, NULL, '{');
  colockp_json_number(&json, "a", -5);
  colockp_json_open(&json, "b", '[');
  colockp_json_close(&json, ']');
  colockp_json_open(&json, "c", '[');
  colockp_json_open(&json, NULL, '{');
  colockp_json_bool(&json, "d", true);
  colockp_json_bool(&json, "e", false);
  colockp_json_close(&json, '}');
  colockp_json_null(&json, NULL);
  colockp_json_string(&json, NULL, "");
  colockp_json_close(&json, ']');
  colockp_json_null(&json, "f");
  colockp_json_close(&json, '}');
  char *text = colockp_json_take(&json);
  ck_assert_str_eq(text, "{\"a\":-5,\"b\":[],\"c\":[{\"d\":true,\"e\":false},null,\"\"],\"f\":null}");
  ck_assert_ptr_null(json.text);
  colockp_system.free(text);
}
END_TEST

START_TEST(what_would_end_a_string_is_escaped) {
  is_written("say \"hi\" \\ there", "\"say \\\"hi\\\" \\\\ there\"");
  is_written("\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"");
  is_written("\x01\x1b[0m\x1f\x7f", "\"\\u0001\\u001b[0m\\u001f\\u007f\"");
  is_written("a/b", "\"a/b\"");
}
END_TEST

START_TEST(utf8_passes_and_anything_else_is_replaced) {
  is_written("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x94\x92",
             "\"gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x94\x92\"");
  is_written("\xff", "\"\xEF\xBF\xBD\"");
  is_written("a\xC3", "\"a\xEF\xBF\xBD\"");                             /* cut off */
  is_written("\xC3(", "\"\xEF\xBF\xBD(\"");                             /* what follows is kept */
  is_written("\xC0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");               /* overlong */
  is_written("\xED\xA0\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""); /* a surrogate */
  is_written("\xF4\x90\x80\x80", "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}
END_TEST

START_TEST(numbers_beyond_doubles_are_strings) {
  static const struct { int64_t value; const char *text; } c[] = {
    {0, "[0]"}, {-1, "[-1]"}, {INT64_C(9007199254740992), "[9007199254740992]"},
    {INT64_C(9007199254740993), "[\"9007199254740993\"]"}, {INT64_C(-9007199254740993), "[\"-9007199254740993\"]"},
    {INT64_MIN, "[\"-9223372036854775808\"]"}, {INT64_MAX, "[\"9223372036854775807\"]"}};
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    struct colockp_json json;
    colockp_json_init(&json);
    colockp_json_open(&json, NULL, '[');
    colockp_json_number(&json, NULL, c[i].value);
    colockp_json_close(&json, ']');
    char *text = colockp_json_take(&json);
    ck_assert_str_eq(text, c[i].text);
    colockp_system.free(text);
  }
}
END_TEST

START_TEST(tokens_are_strings_whatever_their_size) {
  struct colockp_json json;
  colockp_json_init(&json);
  colockp_json_open(&json, NULL, '[');
  colockp_json_token(&json, NULL, 1);
  colockp_json_token(&json, NULL, UINT64_MAX);
  colockp_json_close(&json, ']');
  char *text = colockp_json_take(&json);
  ck_assert_str_eq(text, "[\"1\",\"18446744073709551615\"]");
  colockp_system.free(text);
}
END_TEST

/* Every block has a byte behind it that nobody may touch. */
static char *starts[16], *fences[16];
static size_t blocks;
static void *fenced_malloc(size_t size) {
  char *block = colockp_system_default.malloc(size + 1);
  ck_assert_uint_lt(blocks, 16);
  block[size] = 'F';
  starts[blocks] = block;
  fences[blocks++] = block + size;
  return block;
}
static void fenced_free(void *block) { (void)block; } /* looked at first */

START_TEST(no_byte_behind_a_block_is_touched) {
  for (size_t length = 500; length < 520; length++) { /* around the first room */
    char text[1024];
    memset(text, 'x', length);
    text[length] = '\0';
    blocks = 0;
    colockp_system.malloc = fenced_malloc;
    colockp_system.free = fenced_free;
    char *json = string_as_json(text);
    colockp_system = colockp_system_default;
    ck_assert_uint_eq(strlen(json), length + 2);
    for (size_t i = 0; i < blocks; i++) {
      ck_assert_int_eq(*fences[i], 'F');
      colockp_system.free(starts[i]);
    }
  }
}
END_TEST

START_TEST(text_of_any_length_fits) {
  for (size_t length = 505; length < 520; length++) {
    char text[1024];
    memset(text, 'x', length);
    text[length] = '\0';
    char *json = string_as_json(text);
    ck_assert_uint_eq(strlen(json), length + 2);
    ck_assert_int_eq(json[length + 1], '"');
    colockp_system.free(json);
  }
  static char large[1 << 20];
  memset(large, 'y', sizeof large - 1);
  char *json = string_as_json(large);
  ck_assert_uint_eq(strlen(json), sizeof large + 1);
  colockp_system.free(json);
}
END_TEST

START_TEST(memory_that_runs_out_is_told_once_at_the_end) {
  char text[3000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  fault_install();
  for (long n = 1;; n++) {
    struct colockp_json json;
    fault_fail_at(FAULT_malloc, n, 12);
    colockp_json_init(&json);
    colockp_json_open(&json, NULL, '[');
    colockp_json_string(&json, NULL, text);
    colockp_json_string(&json, NULL, "after");
    colockp_json_close(&json, ']');
    char *whole = colockp_json_take(&json);
    bool hit = fault_hit();
    fault_disarm();
    ck_assert_int_eq(whole == NULL, hit);
    if (whole != NULL) colockp_system.free(whole);
    ck_assert_int_eq(fault_allocations(), 0);
    if (!hit) {
      ck_assert_int_gt(n, 2); /* it did grow on the way */
      break;
    }
  }
  fault_remove();
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "json", 20);
  tcase_add_test(tcase, nesting_has_its_commas);
  tcase_add_test(tcase, what_would_end_a_string_is_escaped);
  tcase_add_test(tcase, utf8_passes_and_anything_else_is_replaced);
  tcase_add_test(tcase, numbers_beyond_doubles_are_strings);
  tcase_add_test(tcase, tokens_are_strings_whatever_their_size);
  tcase_add_test(tcase, no_byte_behind_a_block_is_touched);
  tcase_add_test(tcase, text_of_any_length_fits);
  tcase_add_test(tcase, memory_that_runs_out_is_told_once_at_the_end);
}

int main(int argc, char **argv) { return test_main(argc, argv, "json", fill); }

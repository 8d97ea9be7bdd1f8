/* test_error.c - the words of failures: codes, this thread's message, text made safe to print; and the version. */
#define _GNU_SOURCE
#include "support.h"

#include "error.h"
#include "utf8.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

START_TEST(every_code_has_a_clause_of_its_own) {
  for (int code = COLOCK_OK; code <= COLOCK_ESYSTEM; code++) {
    const char *clause = colock_strerror(code);
    ck_assert(clause != NULL && *clause != '\0' && strlen(clause) < 60);
    ck_assert_str_ne(clause, "unknown code");
    for (int other = COLOCK_OK; other < code; other++)
      ck_assert_str_ne(clause, colock_strerror(other));
  }
  static const int unknown[] = {-1, COLOCK_ESYSTEM + 1, INT32_MAX, INT32_MIN};
  for (size_t i = 0; i < 4; i++)
    ck_assert_str_eq(colock_strerror(unknown[i]), "unknown code");
}
END_TEST

START_TEST(failure_keeps_message_and_errno) {
  errno = ERANGE;
  ck_assert_int_eq(colockp_fail(COLOCK_EACCES, EPERM, "%s: %m", "a.lock"), COLOCK_EACCES);
  ck_assert_int_eq(errno, ERANGE);
  ck_assert_str_eq(colock_last_message(), "a.lock: Operation not permitted");
  ck_assert_int_eq(colock_last_errno(), EPERM);
  ck_assert_int_eq(colockp_fail(COLOCK_EINVAL, 0, "no"), COLOCK_EINVAL);
  ck_assert_int_eq(colock_last_errno(), 0);
}
END_TEST

START_TEST(prefix_goes_before_the_message) {
  colockp_fail(COLOCK_EACCES, EPERM, "closed");
  ck_assert_int_eq(colockp_fail_again(COLOCK_EACCES, "a.lock"), COLOCK_EACCES);
  ck_assert_str_eq(colock_last_message(), "a.lock: closed");
  ck_assert_int_eq(colock_last_errno(), EPERM);
  colockp_fail(COLOCK_EINVAL, 0, "twice: %s", colock_last_message()); /* the message may be its own argument */
  ck_assert_str_eq(colock_last_message(), "twice: a.lock: closed");
}
END_TEST

START_TEST(long_message_is_cut_at_a_whole_character) {
  char text[5000];
  for (size_t shift = 0; shift < 4; shift++) {
    memset(text, 'x', shift);
    for (size_t i = shift; i + 4 < sizeof text; i += 3)
      memcpy(text + i, "\u20ac", 4);
    colockp_fail(COLOCK_EINVAL, 0, "%s", text);
    size_t length = strlen(colock_last_message());
    ck_assert_uint_gt(length, 2000);
    ck_assert_uint_lt(length, 2048);
    ck_assert_uint_eq((length - shift) % 3, 0);
    ck_assert_int_eq(strncmp(colock_last_message(), text, length), 0);
  }
  for (int i = 0; i < 3000; i++) /* prefixes do not pile up without end */
    colockp_fail_again(COLOCK_EINVAL, "prefix");
  ck_assert_uint_lt(strlen(colock_last_message()), 2048);
}
END_TEST

static void *other_thread(void *arg) {
  ck_assert_str_eq(colock_last_message(), "");
  ck_assert_int_eq(colock_last_errno(), 0);
  colockp_fail(COLOCK_EINVAL, ENOENT, "the other's");
  return arg;
}

START_TEST(each_thread_has_its_own_failure) {
  pthread_t thread;
  colockp_fail(COLOCK_EBUSY, EAGAIN, "mine");
  ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, NULL), 0);
  ck_assert_int_eq(pthread_join(thread, NULL), 0);
  ck_assert_str_eq(colock_last_message(), "mine");
  ck_assert_int_eq(colock_last_errno(), EAGAIN);
}
END_TEST

START_TEST(errno_values_have_their_codes) {
  static const int pairs[][2] = {
    {EACCES, COLOCK_EACCES}, {EPERM, COLOCK_EACCES},   {EROFS, COLOCK_EACCES},   {ENOENT, COLOCK_ENOENT},
    {ENOTDIR, COLOCK_ENOENT}, {ENOSPC, COLOCK_ENOSPC}, {EDQUOT, COLOCK_ENOSPC},  {EMFILE, COLOCK_EMFILE},
    {ENFILE, COLOCK_EMFILE}, {ENOMEM, COLOCK_ENOMEM},  {ENOLCK, COLOCK_ENOLOCKS}, {EIO, COLOCK_ESYSTEM},
    {0, COLOCK_ESYSTEM},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
    ck_assert_int_eq(colockp_code_of_errno(pairs[i][0]), pairs[i][1]);
}
END_TEST

static const char *const escapes[][2] = {
  {"plain text", "plain text"},
  {"", ""},
  {"a\nb\tc\\d", "a\\nb\\tc\\\\d"},
  {"\x01\x1b[31m\x7f\r", "\\x01\\x1b[31m\\x7f\\x0d"},
  {"\u00e9 \u20ac \U0001f512", "\u00e9 \u20ac \U0001f512"},
  {"\xff\xfe", "\\xff\\xfe"},
  {"a\xc3", "a\\xc3"},                                   /* a character that stops short */
  {"\xc3(", "\\xc3("},
  {"\xc0\xaf", "\\xc0\\xaf"},                            /* overlong */
  {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},
  {"\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf"},
  {"\xed\xa0\x80", "\\xed\\xa0\\x80"},                   /* a surrogate */
  {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},          /* above U+10FFFF */
  {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
  {"\x80", "\\x80"},
  {"\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80"},
  {"\xc2\x85", "\\xc2\\x85"},                            /* C1 */
  {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},                   /* a line separator */
  {"a\xe2\x80\xae" "b", "a\\xe2\\x80\\xae" "b"},         /* right-to-left override */
  {"\xe2\x81\xa6", "\\xe2\\x81\\xa6"},
};

START_TEST(escaped_text_is_safe_to_print) {
  char out[128];
  ck_assert_ptr_eq(colockp_escape(out, sizeof out, escapes[_i][0]), out);
  ck_assert_str_eq(out, escapes[_i][1]);
  for (size_t size = 1; size < sizeof out; size++) { /* cut anywhere, it is a beginning of it and ends in whole units */
    char cut[128];
    memset(cut, 'x', sizeof cut);
    colockp_escape(cut, size, escapes[_i][0]);
    ck_assert_uint_lt(strlen(cut), size);
    ck_assert_int_eq(strncmp(cut, out, strlen(cut)), 0);
    ck_assert(size >= sizeof cut || cut[size] == 'x');
    ck_assert_uint_eq(colockp_utf8_whole(cut, strlen(cut)), strlen(cut));
    ck_assert(strlen(cut) == strlen(out) || size - strlen(cut) <= 16);
  }
}
END_TEST

START_TEST(escape_takes_nothing_and_no_room) {
  char out[4] = "abc";
  ck_assert_str_eq(colockp_escape(out, 0, "x"), "abc");
  ck_assert_str_eq(colockp_escape(out, 1, "x"), "");
  ck_assert_str_eq(colockp_escape(out, sizeof out, NULL), "");
  ck_assert_str_eq(colockp_escape(out, sizeof out, "\x01"), ""); /* half an escape would be a lie */
  ck_assert_str_eq(colockp_escape(out, sizeof out, "ab\\"), "ab");
}
END_TEST

/* Against the definition of UTF-8, written the other way round: encode each code point and expect it back. */
START_TEST(utf8_reads_what_it_should_and_nothing_else) {
  uint32_t accepted = 0, wrong = 0, point = 0;
  for (uint32_t value = 0; value < 0x111000; value++) {
    unsigned char b[4];
    size_t n = value < 0x80 ? 1 : value < 0x800 ? 2 : value < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1;)
      b[i] = (unsigned char)(0x80 | ((value >> (6 * (n - 1 - i))) & 0x3f));
    b[0] = (unsigned char)(n == 1 ? value : (0xf00u >> n & 0xff) | value >> (6 * (n - 1)));
    bool valid = value <= 0x10ffff && !(value >= 0xd800 && value <= 0xdfff);
    size_t got = colockp_utf8_read((const char *)b, n, &point);
    accepted += got != 0;
    wrong += got != (valid ? n : 0) || (valid && point != value);
    wrong += n > 1 && colockp_utf8_read((const char *)b, n - 1, &point) != 0;
  }
  ck_assert_uint_eq(wrong, 0);
  ck_assert_uint_eq(accepted, 0x110000 - 0x800);
}
END_TEST

START_TEST(version_is_the_package_s) {
  int major = 0, minor = 0, patch = 0;
  ck_assert_int_eq(sscanf(PACKAGE_VERSION, "%d.%d.%d", &major, &minor, &patch), 3);
  ck_assert_int_eq(colock_version(), major * 10000 + minor * 100 + patch);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "error", 20);
  tcase_add_test(tcase, every_code_has_a_clause_of_its_own);
  tcase_add_test(tcase, failure_keeps_message_and_errno);
  tcase_add_test(tcase, prefix_goes_before_the_message);
  tcase_add_test(tcase, long_message_is_cut_at_a_whole_character);
  tcase_add_test(tcase, each_thread_has_its_own_failure);
  tcase_add_test(tcase, errno_values_have_their_codes);
  tcase_add_loop_test(tcase, escaped_text_is_safe_to_print, 0, sizeof escapes / sizeof escapes[0]);
  tcase_add_test(tcase, escape_takes_nothing_and_no_room);
  tcase_add_test(tcase, utf8_reads_what_it_should_and_nothing_else);
  tcase_add_test(tcase, version_is_the_package_s);
}

int main(int argc, char **argv) { return test_main(argc, argv, "error", fill); }

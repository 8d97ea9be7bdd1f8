/* test_duration.c - durations: what is read, what is refused and with which words, and that writing and reading agree.
 */
#include "support.h"

#include "duration.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define S INT64_C(1000000000)

static const struct {
  const char *text;
  int64_t ns;
  const char *written;
} good[] = {
  {"0", 0, "0"},
  {"0s", 0, "0"},
  {"0.0", 0, "0"},
  {"0h", 0, "0"},
  {"1ns", 1, "1ns"},
  {"999us", 999000, "999us"},
  {"250ms", 250000000, "250ms"},
  {"1000ms", S, "1s"},
  {"5s", 5 * S, "5s"},
  {"05s", 5 * S, "5s"},
  {"1.5s", 1500000000, "1500ms"},
  {"1.500000000s", 1500000000, "1500ms"},
  {"1.000000001s", 1000000001, "1000000001ns"},
  {"0.000001ms", 1, "1ns"},
  {"0.001us", 1, "1ns"},
  {"3.0ns", 3, "3ns"},
  {"2min", 120 * S, "2min"},
  {"0.5min", 30 * S, "30s"},
  {"90s", 90 * S, "90s"},
  {"90min", 5400 * S, "90min"},
  {"1h", 3600 * S, "1h"},
  {"0.000000001h", 3600, "3600ns"},
  {"2562047h", INT64_C(2562047) * 3600 * S, "2562047h"},
  {"9223372036854775806ns", INT64_MAX - 1, "9223372036854775806ns"},
  {"9223372036.854775806s", INT64_MAX - 1, "9223372036854775806ns"},
  {"forever", INT64_MAX, "forever"},
};

static const struct {
  const char *text;
  bool forever;
  const char *reason;
} bad[] = {
  {"", true, "no duration given; write one such as 5s"},
  {"5", true, "5 has no unit; did you mean 5s?"},
  {"1.5", true, "1.5 has no unit; did you mean 1.5s?"},
  {"0.5", true, "0.5 has no unit; did you mean 0.5s?"},
  {"-5s", true, "-5s is negative; write a duration such as 5s"},
  {"-1", true, "-1 is negative; write a duration such as 5s"},
  {"-0", true, "-0 is negative; write a duration such as 5s"},
  {"+5s", true, "+5s has a sign; write 5s"},
  {"nan", true, "nan is not a number; write a duration such as 5s"},
  {"NaN", true, "NaN is not a number; write a duration such as 5s"},
  {".nan", true, ".nan is not a number; write a duration such as 5s"},
  {"inf", true, "'inf' is not known; did you mean 'forever'?"},
  {"Forever", true, "'Forever' is not known; did you mean 'forever'?"},
  {"forever", false, "'forever' is not possible here; write a duration such as 5s"},
  {"inf", false, "'inf' is not a duration; write a number and a unit, such as 5s or 250ms"},
  {"soon", true, "'soon' is not a duration; write a number and a unit, such as 5s or 250ms"},
  {" 5s", true, "' 5s' is not a duration; write a number and a unit, such as 5s or 250ms"},
  {"s", true, "'s' is not a duration; write a number and a unit, such as 5s or 250ms"},
  {".5s", true, ".5s has no digit before the point; write 0.5s"},
  {"5.s", true, "5.s has no digit after the point; add one or leave the point out"},
  {"5.", true, "5. has no digit after the point; add one or leave the point out"},
  {"1,5s", true, "1,5s is not a number and a unit; write one such as 5s"},
  {"1.5.5s", true, "1.5.5s is not a number and a unit; write one such as 5s"},
  {"5 s", true, "'5 s' has a blank before or after its unit; leave it out"},
  {"5s ", true, "'5s ' goes on after its unit; leave out ' '"},
  {"5s!", true, "'5s!' goes on after its unit; leave out '!'"},
  {"5s\n", true, "'5s\\n' goes on after its unit; leave out '\\n'"},
  {"1h30min", true, "1h30min has more than one number; write it in one unit, such as 90min"},
  {"5m", true, "5m: 'm' is no unit here; did you mean min or ms?"},
  {"5sec", true, "5sec: 'sec' is no unit here; did you mean s?"},
  {"5\u00b5s", true, "5\u00b5s: '\u00b5s' is no unit here; did you mean us?"},
  {"1d", true, "1d: 'd' is no unit here; did you mean h (24 to the day)?"},
  {"5S", true, "5S: 'S' is no unit here; use ns, us, ms, s, min or h"},
  {"5parsecs", true, "5parsecs: 'parsecs' is no unit here; use ns, us, ms, s, min or h"},
  {"0x5s", true, "0x5s has more than one number; write it in one unit, such as 90min"},
  {"1e3s", true, "1e3s has more than one number; write it in one unit, such as 90min"},
  {"5\xffs", true, "5\\xffs: '\\xffs' is no unit here; use ns, us, ms, s, min or h"},
  {"0.5ns", true, "0.5ns is finer than a nanosecond; round it"},
  {"0.0001us", true, "0.0001us is finer than a nanosecond; round it"},
  {"1.0000000001s", true, "1.0000000001s has more than 9 digits after the point; round it"},
  {"99999999999h", true, "99999999999h is too long; the longest is 2562047h, or forever"},
  {"99999999999h", false, "99999999999h is too long; the longest is 2562047h"},
  {"99999999999999999999999999", true,
   "99999999999999999999999999 has no unit; did you mean 99999999999999999999999999s?"},
  {"2562048h", true, "2562048h is too long; the longest is 2562047h, or forever"},
  {"9223372036854775807ns", true, "9223372036854775807ns is too long; the longest is 2562047h, or forever"},
  {"9223372036.854775807s", true, "9223372036.854775807s is too long; the longest is 2562047h, or forever"},
  {"9223372036854775808ns", true, "9223372036854775808ns is too long; the longest is 2562047h, or forever"},
  {"99999999999999999999999999s", false, "99999999999999999999999999s is too long; the longest is 2562047h"},
};

START_TEST(good_ones_are_read_and_written) {
  char reason[512] = "untouched", written[COLOCKP_DURATION_SIZE];
  int64_t ns = -1;
  ck_assert_msg(colockp_duration_parse(&ns, good[_i].text, true, reason, sizeof reason) == 0, "%s: %s", good[_i].text,
                reason);
  ck_assert_int_eq(ns, good[_i].ns);
  ck_assert_str_eq(reason, "untouched");
  ck_assert_str_eq(colockp_duration_format(written, ns), good[_i].written);
}
END_TEST

START_TEST(bad_ones_are_refused_in_their_own_words) {
  char reason[512] = "";
  int64_t ns = 12345;
  ck_assert_msg(colockp_duration_parse(&ns, bad[_i].text, bad[_i].forever, reason, sizeof reason) == -1,
                "%s is read as %" PRId64, bad[_i].text, ns);
  ck_assert_str_eq(reason, bad[_i].reason);
  ck_assert_int_eq(ns, 12345);
}
END_TEST

START_TEST(a_long_text_makes_no_long_reason) {
  static char text[100000];
  char reason[512];
  int64_t ns = 12345;
  static const char fills[] = "5s-. \x01\xff";
  for (size_t i = 0; i < sizeof fills - 1; i++)
    for (int number = 0; number < 2; number++) {
      memset(text, fills[i], sizeof text - 1);
      if (number)
        text[0] = '7';
      memset(reason, 'x', sizeof reason);
      ck_assert_int_eq(colockp_duration_parse(&ns, text, true, reason, sizeof reason), -1);
      ck_assert_uint_lt(strnlen(reason, sizeof reason), 300);
      ck_assert_int_eq(ns, 12345);
    }
}
END_TEST

START_TEST(what_is_written_reads_back_exactly) {
  uint64_t state = test_seed();
  char reason[512], written[COLOCKP_DURATION_SIZE];
  static const int64_t steps[] = {1, 1000, 1000000, S, 60 * S, 3600 * S};
  for (int i = 0; i < 20000; i++) {
    int64_t step = steps[test_random(&state) % 6];
    uint64_t random = (uint64_t)test_random(&state) << 32 | test_random(&state);
    int64_t ns = (int64_t)((random >> (1 + test_random(&state) % 60)) / (uint64_t)step) * step, back = -1;
    colockp_duration_format(written, ns);
    ck_assert_msg(colockp_duration_parse(&back, written, true, reason, sizeof reason) == 0, "%s: %s", written, reason);
    ck_assert_int_eq(back, ns);
  }
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "duration", 20);
  tcase_add_loop_test(tcase, good_ones_are_read_and_written, 0, sizeof good / sizeof good[0]);
  tcase_add_loop_test(tcase, bad_ones_are_refused_in_their_own_words, 0, sizeof bad / sizeof bad[0]);
  tcase_add_test(tcase, a_long_text_makes_no_long_reason);
  tcase_add_test(tcase, what_is_written_reads_back_exactly);
}

int main(int argc, char **argv) { return test_main(argc, argv, "duration", fill); }

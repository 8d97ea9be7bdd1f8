/* test_command_stats.c - colock stats: the table, histograms, JSON, what Prometheus reads, the reset. */
#include "agent.h"
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path;

/* Three acquisitions of which one was waited for, and one request that gave up. */
static struct agent *use_it(void) {
  path = test_path("db.lock");
  struct agent *first = agent_start(), *second = agent_start();
  ck_assert_int_eq(agent_call(first, "open %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(second, "open %s", agent_word(path)), COLOCK_OK);
  ck_assert_int_eq(agent_call(first, "acquire s 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(second, "acquire x 5"), COLOCK_ETIMEDOUT);
  agent_send(second, "acquire x 20000");
  test_await_waiters(path, 1);
  ck_assert_int_eq(agent_call(first, "release %d", first->hold), COLOCK_OK);
  ck_assert_int_eq(agent_answer(second), COLOCK_OK);
  ck_assert_int_eq(agent_call(second, "release %d", second->hold), COLOCK_OK);
  ck_assert_int_eq(agent_call(first, "acquire s 0"), COLOCK_OK);
  return first; /* has it shared still */
}

/* ---- for people ---- */

/* 12ms, 1.28us: a duration of the table; its length. */
static size_t duration(const char *text) {
  static const char *const units[] = {"ns", "us", "ms", "s"};
  size_t digits = strspn(text, "0123456789.");
  for (size_t i = 0; digits > 0 && i < sizeof units / sizeof *units; i++)
    if (strncmp(text + digits, units[i], strlen(units[i])) == 0) return digits + strlen(units[i]);
  return 0;
}

/* The line that begins so has four durations next; what follows them. */
static const char *behind_durations(const char *text, const char *beginning) {
  const char *at = strstr(text, beginning);
  ck_assert_msg(at != NULL, "no \"%s\" in %s", beginning, text);
  at += strlen(beginning);
  for (int i = 0; i < 4; i++) {
    at += strspn(at, " ");
    ck_assert_msg(duration(at) > 0, "no duration: %.40s", at);
    at += duration(at);
  }
  return at;
}

START_TEST(table_counts_and_times_by_mode) {
  char expected[200];
  struct agent *agent = use_it();
  command_is(0, "stats", "db.lock");
  const char *text = command_out();
  ck_assert_int_eq(strncmp(text, "db.lock: counted for ", 21), 0);
  command_has(text, "\n                     shared  exclusive\n"
                    "  acquisitions            2          1\n"
                    "    from cache            0          0\n"
                    "  died holding            0          0\n"
                    "  busy 0, timeouts 1, cancels 0, deadlocks 0\n"
                    "  upgrades 0, downgrades 0, recalls 0, forced unlocks 0\n"
                    "                     times    p50    p90    p99    max  the longest was of\n"
                    "  wait shared            0      -      -      -      -\n");
  const char *rest = behind_durations(text, "\n  wait exclusive         2");
  ck_assert_int_eq(strncmp(rest, "  test_command_st", 17), 0); /* the program of both agents, and one of their pids */
  rest = behind_durations(text, "\n  hold shared            1");
  snprintf(expected, sizeof expected, "[%d], ", (int)agent->pid);
  ck_assert_msg(strstr(rest, expected) != NULL && strstr(rest, expected) < strchr(rest + 1, '\n'), "%s", rest);
  behind_durations(text, "\n  hold exclusive         1");
  ck_assert_ptr_null(strstr(text, "log scale"));
}
END_TEST

START_TEST(several_files_go_on_after_a_failure) {
  use_it();
  test_write(test_path("data"), "data", 4);
  command_is(66, "stats", "absent.lock", "db.lock", "data");
  command_has(command_out(), "db.lock: counted for ");
  command_has(command_err(), "absent.lock: no such file");
  command_has(command_err(), "data: not a lock file");
  command_is(65, "stats", "data");
  ck_assert_int_eq(access(test_path("absent.lock"), F_OK), -1);
}
END_TEST

/* The longest line; every line between `beginning` and the next title has a bar. */
static size_t widest(const char *text) {
  size_t most = 0;
  for (const char *line = text; *line != '\0'; line += strspn(line, "\r\n")) {
    size_t width = 0;
    for (; *line != '\0' && strchr("\r\n", *line) == NULL; line++) width += (*line & 0xc0) != 0x80;
    most = width > most ? width : most;
  }
  return most;
}

/* A duration in ns; *at goes behind it. */
static double read_ns(const char **at) {
  static const struct { const char *name; double ns; } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
  char *end;
  double value = strtod(*at, &end);
  for (size_t i = 0; i < sizeof units / sizeof *units; i++)
    if (strncmp(end, units[i].name, strlen(units[i].name)) == 0) {
      *at = end + strlen(units[i].name);
      return value * units[i].ns;
    }
  ck_abort_msg("no duration: %.40s", *at);
}

START_TEST(histogram_has_a_line_for_each_octave) {
  use_it();
  command_is(0, "stats", "--histogram", "db.lock");
  const char *line = strchr(strstr(command_out(), "  wait exclusive, 2 times"), '\n') + 1;
  double last = 0;
  int count = 0;
  for (; strncmp(line, "    ", 4) == 0; line = strchr(line, '\n') + 1) {
    const char *at = line + strspn(line, " ");
    double from = read_ns(&at);
    at += strspn(at, " -");
    double to = read_ns(&at);
    ck_assert_msg(to > 1.98 * from && to < 2.02 * from && (last <= 0 || (from > 0.99 * last && from < 1.01 * last)),
                  "%.60s", line);
    count += atoi(at);
    last = to;
  }
  ck_assert_int_eq(count, 2);
}
END_TEST

START_TEST(histogram_has_bars_within_the_width) {
  static const char FULL[] = "\xe2\x96\x88"; /* a full block */
  use_it();
  setenv("COLUMNS", "60", 1);
  command_is(0, "stats", "--histogram", "db.lock");
  command_has(command_out(), "\n  wait exclusive, 2 times (bars: log scale)\n");
  command_has(command_out(), "\n  hold shared, 1 time (bars: log scale)\n");
  ck_assert_ptr_null(strstr(command_out(), "wait shared, "));
  command_has(command_out(), "1 100.0%  \xe2\x96\x88");
  const char *title = strstr(command_out(), "hold shared, ");
  ck_assert_uint_eq(widest(strchr(title, '\n') + 1), 59);
  setenv("COLUMNS", "200", 1);
  command_is(0, "stats", "--histogram", "db.lock");
  ck_assert_uint_eq(widest(strstr(command_out(), "hold shared, ")), 199);
  setenv("LC_ALL", "C", 1);
  command_is(0, "stats", "--histogram", "db.lock");
  ck_assert_ptr_null(strstr(command_out(), FULL));
  command_has(command_out(), "1 100.0%  ####");
  setenv("LC_ALL", "C.UTF-8", 1);
  unsetenv("COLUMNS");
}
END_TEST

START_TEST(terminal_gets_the_histogram_unasked) {
  use_it();
  setenv("TERM", "xterm", 1);
  struct command *stats = command_on_terminal(100, "stats", "db.lock", NULL);
  ck_assert_int_eq(command_end(stats), 0);
  command_has(stats->out, "\x1b[1mdb.lock\x1b[0m: counted for ");
  const char *title = strstr(stats->out, "  hold shared, 1 time (bars: log scale)\r\n");
  ck_assert_ptr_nonnull(title);
  ck_assert_uint_eq(widest(title), 99);
  command_free(stats);
}
END_TEST

/* ---- JSON ---- */

/* Skips one value of strict JSON; NULL: it is none. */
static const char *json_value(const char *at);

static const char *json_blank(const char *at) { return at + strspn(at, " \t\r\n"); }

static const char *json_string(const char *at) {
  if (*at++ != '"') return NULL;
  for (; *at != '"'; at++) {
    if ((unsigned char)*at < 0x20) return NULL;
    if (*at == '\\' && strchr("\"\\/bfnrtu", *++at) == NULL) return NULL;
  }
  return at + 1;
}

static const char *json_list(const char *at, char end) {
  at = json_blank(at + 1);
  for (bool first = true; *at != end; first = false) {
    if (!first && *at++ != ',') return NULL;
    at = json_blank(at);
    if (end == '}' && ((at = json_string(at)) == NULL || *(at = json_blank(at)) != ':')) return NULL;
    if ((at = json_value(json_blank(at + (end == '}')))) == NULL) return NULL;
    at = json_blank(at);
  }
  return at + 1;
}

static const char *json_value(const char *at) {
  static const char *const words[] = {"null", "true", "false"};
  if (*at == '{') return json_list(at, '}');
  if (*at == '[') return json_list(at, ']');
  if (*at == '"') return json_string(at);
  for (size_t i = 0; i < 3; i++)
    if (strncmp(at, words[i], strlen(words[i])) == 0) return at + strlen(words[i]);
  size_t digits = strspn(at, "-0123456789");
  return digits > 0 ? at + digits : NULL;
}

static void is_json(const char *text) {
  const char *end = json_value(text);
  ck_assert_msg(end != NULL && *json_blank(end) == '\0', "not JSON: %s", text);
}

START_TEST(json_is_one_object_or_an_array) {
  use_it();
  test_make_lock(test_path("b.lock"));
  command_is(0, "stats", "--json", "db.lock");
  is_json(command_out());
  command_has(command_out(), "{\"version\":1,\"path\":\"db.lock\",\"age_ms\":");
  command_has(command_out(), "\"acquisitions_shared\":2,\"acquisitions_exclusive\":1,");
  command_has(command_out(), "\"timeouts\":1,");
  command_has(command_out(), "\"wait_exclusive\":{\"count\":2,\"sum_ns\":");
  command_has(command_out(), "\"buckets\":[{\"below_ns\":");
  command_is(66, "stats", "--json", "db.lock", "absent\".lock", "b.lock");
  is_json(command_out());
  ck_assert_int_eq(command_out()[0], '[');
  command_has(command_out(), "{\"path\": \"absent\\\".lock\", \"code\": 11, \"error\": \"absent");
  command_has(command_out(), "\"path\":\"b.lock\"");
}
END_TEST

/* ---- Prometheus ---- */

static const char *const mixed[] = {"db.lock", "absent.lock", "b\"\\\n.lock", "db.lock"};

static void measure(const char *output) {
  use_it();
  test_make_lock(test_path(mixed[2]));
  if (output == NULL)
    command_is(66, "stats", "--prometheus", mixed[0], mixed[1], mixed[2], mixed[3]);
  else
    command_is(66, "stats", "--prometheus", "--output", output, mixed[0], mixed[1], mixed[2], mixed[3]);
}

START_TEST(prometheus_text_says_what_was_counted) {
  measure(NULL);
  static const char *const lines[] = {
    "# HELP colock_up ", "# TYPE colock_up gauge\n", "colock_up{path=\"db.lock\"} 1\n",
    "colock_up{path=\"absent.lock\"} 0\n", "colock_up{path=\"b\\\"\\\\\\\\\\\\n.lock\"} 1\n",
    "colock_holders{path=\"db.lock\",mode=\"shared\"} 1\n", "colock_holders{path=\"db.lock\",mode=\"exclusive\"} 0\n",
    "colock_waiters{path=\"db.lock\",mode=\"shared\"} 0\n", "# TYPE colock_acquisitions_total counter\n",
    "colock_acquisitions_total{path=\"db.lock\",mode=\"shared\"} 2\n",
    "colock_acquisitions_total{path=\"db.lock\",mode=\"exclusive\"} 1\n", "colock_timeouts_total{path=\"db.lock\"} 1\n",
    "# TYPE colock_wait_seconds histogram\n",
    "colock_wait_seconds_bucket{path=\"db.lock\",mode=\"exclusive\",le=\"0.000000064\"} 0\n",
    "colock_wait_seconds_bucket{path=\"db.lock\",mode=\"exclusive\",le=\"+Inf\"} 2\n",
    "colock_wait_seconds_count{path=\"db.lock\",mode=\"exclusive\"} 2\n",
    "colock_hold_seconds_count{path=\"db.lock\",mode=\"shared\"} 1\n"};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) command_has(command_out(), lines[i]);
}
END_TEST

struct sample {
  char series[200]; /* name and labels but `le` */
  double bound, value;
};

static struct sample read_sample(const char *line) {
  struct sample sample = {.bound = -1};
  const char *blank = strstr(line, "} "), *bound = strstr(line, ",le=\"");
  ck_assert_msg(blank != NULL, "no labels: %.80s", line);
  sample.value = strtod(blank + 2, NULL);
  const char *end = bound != NULL && bound < blank ? bound : blank;
  snprintf(sample.series, sizeof sample.series, "%.*s", (int)(end - line), line);
  if (end == bound) sample.bound = strncmp(bound + 5, "+Inf", 4) == 0 ? 1e300 : strtod(bound + 5, NULL);
  return sample;
}

/* Each series once; buckets that grow with their bounds and end with +Inf, which is the count; a sum that fits. */
START_TEST(prometheus_histograms_are_cumulative) {
  struct sample last = {.bound = -1};
  int histograms = 0, sums = 0;
  measure(NULL);
  for (const char *line = command_out(); *line != '\0'; line = strchr(line, '\n') + 1) {
    if (*line == '#') continue;
    struct sample sample = read_sample(line);
    ck_assert_msg(strcmp(sample.series, last.series) != 0 || sample.bound > last.bound, "twice: %.99s", line);
    if (sample.bound >= 0 && strcmp(sample.series, last.series) == 0) ck_assert(sample.value >= last.value);
    if (last.bound >= 0 && sample.bound < 0) { /* _sum, behind the buckets */
      ck_assert(last.bound > 1e299);
      ck_assert_ptr_nonnull(strstr(sample.series, "_seconds_sum{"));
      const char *count = strchr(line, '\n') + 1;
      ck_assert(read_sample(count).value == last.value);
      ck_assert((last.value > 0) == (sample.value > 0) && sample.value < 30 * last.value + 1e-9);
      sums += last.value > 0;
      histograms++;
    }
    last = sample;
  }
  ck_assert_int_eq(histograms, 8); /* of two locks, two kinds, two modes */
  ck_assert_int_eq(sums, 3);
}
END_TEST

START_TEST(promtool_accepts_it) {
  char line[600];
  if (system("command -v promtool >/dev/null") != 0) {
    test_skip("no promtool here (Debian: prometheus)");
    return;
  }
  measure("out.prom");
  snprintf(line, sizeof line, "promtool check metrics <%s 2>&1", test_path("out.prom"));
  ck_assert_int_eq(system(line), 0);
  ck_assert_int_eq(system("echo 'a_total{b=\"c\"} x' | promtool check metrics >/dev/null 2>&1") == 0, 0);
}
END_TEST

/* ---- a file as a whole ---- */

static bool only_these(const char *first, const char *second) {
  char line[700];
  snprintf(line, sizeof line, "test \"$(ls -A %s)\" = \"$(printf '%%s\\n' %s %s)\"", test_dir(), first, second);
  return system(line) == 0;
}

START_TEST(output_is_replaced_as_a_whole) {
  char before[8] = "", after[32768];
  struct stat st;
  use_it();
  test_write(test_path("out.prom"), "old", 3);
  ck_assert_int_eq(chmod(test_path("out.prom"), 0640), 0);
  ck_assert_int_eq(symlink("out.prom", test_path("link.prom")), 0);
  int fd = open(test_path("out.prom"), O_RDONLY | O_CLOEXEC);
  command_is(0, "stats", "--prometheus", "-o", "link.prom", "db.lock");
  ck_assert_str_eq(command_out(), "");
  ck_assert_int_eq(read(fd, before, sizeof before), 3); /* who reads it goes on with the old one */
  ck_assert_str_eq(before, "old");
  close(fd);
  size_t size = test_read(test_path("out.prom"), after, sizeof after - 1);
  after[size] = '\0';
  command_has(after, "colock_hold_seconds_count{path=\"db.lock\",mode=\"exclusive\"} 1\n");
  ck_assert(lstat(test_path("link.prom"), &st) == 0 && S_ISLNK(st.st_mode));
  ck_assert(stat(test_path("out.prom"), &st) == 0 && (st.st_mode & 07777) == 0640);
  unlink(test_path("link.prom"));
  ck_assert(only_these("db.lock", "out.prom"));
}
END_TEST

START_TEST(output_that_fails_leaves_the_old_file) {
  char text[8] = "";
  struct rlimit limit, small;
  use_it();
  test_write(test_path("out.prom"), "old", 3);
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &limit);
  small = limit;
  small.rlim_cur = 1000;
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
  command_is(71, "stats", "--prometheus", "-o", "out.prom", "db.lock");
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  command_has(command_err(), "cannot write out.prom: File too large");
  ck_assert_uint_eq(test_read(test_path("out.prom"), text, sizeof text), 3);
  ck_assert(only_these("db.lock", "out.prom"));
  command_is(71, "stats", "--json", "-o", "absent/out.json", "db.lock");
  command_is(71, "stats", "--json", "-o", ".", "db.lock");
  command_is(71, "stats", "--json", "-o", "/dev/null", "db.lock");
}
END_TEST

START_TEST(new_output_can_be_read_by_others) {
  struct stat st;
  use_it();
  mode_t mask = umask(027);
  command_is(0, "stats", "--json", "-o", "out.json", "db.lock");
  umask(mask);
  ck_assert(stat(test_path("out.json"), &st) == 0 && (st.st_mode & 07777) == 0640);
}
END_TEST

/* ---- the rest ---- */

START_TEST(reset_counts_anew) {
  struct agent *agent = use_it();
  command_is(0, "stats", "--reset", "db.lock");
  ck_assert_str_eq(command_out(), "db.lock: counts anew\n");
  command_is(0, "stats", "db.lock");
  command_has(command_out(), "  acquisitions            0          0\n");
  ck_assert_int_eq(agent_call(agent, "release %d", agent->hold), COLOCK_OK);
  command_is(0, "stats", "db.lock");
  command_has(command_out(), "  hold shared            1 ");
  command_is(66, "stats", "--reset", "absent.lock");
  ck_assert_int_eq(access(test_path("absent.lock"), F_OK), -1);
}
END_TEST

static int may_only_read(void *arg) {
  (void)arg;
  static const char *const reset[] = {"stats", "--reset", "db.lock", NULL}, *const read[] = {"stats", "db.lock", NULL};
  if (test_become_nobody() != 0) return 77;
  struct command *command = command_start_list(read);
  int status = command_end(command);
  command_free(command);
  if (status != 0) return 1;
  command = command_start_list(reset);
  status = command_end(command);
  if (strstr(command->err, "write permission") == NULL) status = 2;
  command_free(command);
  return status;
}

START_TEST(reset_needs_permission_to_write) {
  use_it();
  ck_assert_int_eq(chmod(path, 0644), 0);
  if (geteuid() == 0) ck_assert_int_eq(test_in_child(may_only_read, NULL), 77);
}
END_TEST

START_TEST(wrong_usage_is_64) {
  command_is(64, "stats");
  command_is(64, "stats", "--json", "--prometheus", "db.lock");
  command_is(64, "stats", "--reset", "--json", "db.lock");
  command_is(64, "stats", "--histogram", "--json", "db.lock");
  command_is(64, "stats", "-o", "out", "db.lock");
  command_is(64, "stats", "--reset", "-o", "out", "db.lock");
  command_is(64, "stats", "--bogus", "db.lock");
  command_is(0, "stats", "--help");
  command_has(command_out(), "usage: colock stats");
  command_is(0, "help");
  command_has(command_out(), "  colock stats ");
  command_has(command_out(), "  colock top ");
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "for people", 60);
  tcase_add_test(tcase, table_counts_and_times_by_mode);
  tcase_add_test(tcase, several_files_go_on_after_a_failure);
  tcase_add_test(tcase, histogram_has_a_line_for_each_octave);
  tcase_add_test(tcase, histogram_has_bars_within_the_width);
  tcase_add_test(tcase, terminal_gets_the_histogram_unasked);
  tcase = test_case(suite, "for machines", 60);
  tcase_add_test(tcase, json_is_one_object_or_an_array);
  tcase_add_test(tcase, prometheus_text_says_what_was_counted);
  tcase_add_test(tcase, prometheus_histograms_are_cumulative);
  tcase_add_test(tcase, promtool_accepts_it);
  tcase = test_case(suite, "output", 60);
  tcase_add_test(tcase, output_is_replaced_as_a_whole);
  tcase_add_test(tcase, output_that_fails_leaves_the_old_file);
  tcase_add_test(tcase, new_output_can_be_read_by_others);
  tcase = test_case(suite, "reset and usage", 60);
  tcase_add_test(tcase, reset_counts_anew);
  tcase_add_test(tcase, reset_needs_permission_to_write);
  tcase_add_test(tcase, wrong_usage_is_64);
}

int main(int argc, char **argv) {
  command_find();
  return test_main(argc, argv, "command_stats", fill);
}

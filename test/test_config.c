/* test_config.c - configurations: defaults, the caller's settings, the environment, where files are looked for, and
 * that a failure, of whatever kind, leaves everything as it was. The YAML itself is test_config_yaml.c's. */
#define _GNU_SOURCE
#include "support.h"

#include "config.h"
#include "config_keys.h"
#include "fault.h"
#include "log.h"
#include "system.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- helpers ---- */

/* Everything that a configuration answers, as one text. */
static char *all_of(const colock_config *config) {
  size_t size = COLOCKP_KEYS * 1200, used = 0;
  char *text = malloc(size);
  ck_assert_ptr_nonnull(text);
  for (size_t i = 0; colock_config_key(i); i++) {
    const char *name = colock_config_key(i)->name;
    used += (size_t)snprintf(text + used, size - used, "%s: %s # %s\n", name, colock_config_get(config, name),
                             colock_config_source(config, name));
  }
  return text;
}

#define same_as(before, config)                                                                                        \
  do {                                                                                                                 \
    char *same_after = all_of(config);                                                                                 \
    ck_assert_str_eq(before, same_after);                                                                              \
    free(same_after);                                                                                                  \
  } while (0)

static void write_text(const char *path, const char *text) { test_write(path, text, strlen(text)); }

/* No file is found but below the test's directory. */
static void forget_surroundings(void) {
  ck_assert_int_eq(setenv("HOME", test_dir(), 1), 0);
  unsetenv("XDG_CONFIG_HOME");
  unsetenv("COLOCK_CONFIG");
}

static char system_file[512]; /* stands in for the one in sysconfdir */

static int openat_with_system_file(int directory, const char *path, int flags, mode_t mode) {
  if (strcmp(path, COLOCKP_SYSCONFDIR "/colock.yaml") == 0)
    path = system_file;
  return colockp_system_default.openat(directory, path, flags, mode);
}

static void stand_in_for_system_file(const char *path) {
  snprintf(system_file, sizeof system_file, "%s", path);
  colockp_system.openat = openat_with_system_file;
}

static void timeout_is(const char *value, const char *source, const colock_config *config) {
  ck_assert_str_eq(colock_config_get(config, "timeout"), value);
  ck_assert_str_eq(colock_config_source(config, "timeout"), source);
}

/* ---- defaults and set ---- */

START_TEST(new_one_has_the_documented_defaults) {
  colock_config *config = test_config(NULL);
  const struct colockp_settings *settings = colockp_config_settings(config);
  ck_assert(settings->enabled);
  ck_assert_int_eq(settings->timeout_ns, INT64_C(5000000000));
  ck_assert_int_eq(settings->retry_delay_ns, 100000000);
  ck_assert_int_eq(settings->stale_timeout_ns, INT64_C(30000000000));
  ck_assert_int_eq(settings->stale_action, COLOCKP_STALE_REPORT);
  ck_assert(!settings->auto_release);
  ck_assert_int_eq(settings->idle_timeout_ns, 1000000000);
  ck_assert_int_eq(settings->notify_after_ns, 1000000000);
  ck_assert_int_eq(settings->verbosity, COLOCKP_WARNING);
  ck_assert_str_eq(settings->label, "");
  ck_assert_uint_eq(settings->file_mode, 0600);
  ck_assert_int_eq(settings->carrier, COLOCKP_CHOOSE_AUTO);
  ck_assert_int_eq(settings->seats, 1);
  for (size_t i = 0; colock_config_key(i); i++)
    ck_assert_str_eq(colock_config_source(config, colock_config_key(i)->name), "default");
  colock_config_free(config);
  colock_config_free(NULL);
}
END_TEST

START_TEST(every_key_can_be_set) {
  colock_config *config = test_config("enabled", "false", "timeout", "forever", "retry_delay", "1ms", "stale_timeout",
                                      "forever", "stale_action", "break", "auto_release", "true", "idle_timeout",
                                      "250ms", "notify_after", "1.5s", "verbosity", "quiet", "label", "me", "file_mode",
                                      "664", "carrier", "mapped", "seats", "1024", NULL);
  const struct colockp_settings *settings = colockp_config_settings(config);
  ck_assert(!settings->enabled);
  ck_assert_int_eq(settings->timeout_ns, INT64_MAX);
  ck_assert_int_eq(settings->retry_delay_ns, 1000000);
  ck_assert_int_eq(settings->stale_timeout_ns, INT64_MAX);
  ck_assert_int_eq(settings->stale_action, COLOCKP_STALE_BREAK);
  ck_assert(settings->auto_release);
  ck_assert_int_eq(settings->idle_timeout_ns, 250000000);
  ck_assert_int_eq(settings->notify_after_ns, 1500000000);
  ck_assert_int_eq(settings->verbosity, COLOCKP_QUIET);
  ck_assert_str_eq(settings->label, "me");
  ck_assert_uint_eq(settings->file_mode, 0664);
  ck_assert_int_eq(settings->carrier, COLOCKP_CHOOSE_MAPPED);
  ck_assert_int_eq(settings->seats, 1024);
  for (size_t i = 0; colock_config_key(i); i++)
    ck_assert_str_eq(colock_config_source(config, colock_config_key(i)->name), "set");
  ck_assert_str_eq(colock_config_get(config, "notify_after"), "1500ms");
  ck_assert_str_eq(colock_config_get(config, "file_mode"), "0664");
  colock_config_free(config);
}
END_TEST

static const struct {
  const char *key, *value, *message;
} refused[] = {
  {"timeuot", "5s", "timeuot=5s: unknown key 'timeuot'; did you mean 'timeout'?"},
  {"time", "5s", "time=5s: unknown key 'time'; did you mean 'timeout'?"},
  {"TIMEOUT", "5s", "TIMEOUT=5s: unknown key 'TIMEOUT'; did you mean 'timeout'?"},
  {"seat", "1", "seat=1: unknown key 'seat'; did you mean 'seats'?"},
  {"timeout", "5", "timeout=5: 5 has no unit; did you mean 5s?"},
  {"timeout", "", "timeout=: no duration given; write one such as 5s"},
  {"timeout", "-1s", "timeout=-1s: -1s is negative; write a duration such as 5s"},
  {"retry_delay", "0", "retry_delay=0: 0 is out of range; retry_delay is 1ms to 10s"},
  {"retry_delay", "999us", "retry_delay=999us: 999us is out of range; retry_delay is 1ms to 10s"},
  {"retry_delay", "10.001s", "retry_delay=10.001s: 10.001s is out of range; retry_delay is 1ms to 10s"},
  {"stale_timeout", "0", "stale_timeout=0: 0 is out of range; stale_timeout is 1ms to forever"},
  {"auto_release", "yes", "auto_release=yes: 'yes' is not true or false; did you mean true?"},
  {"idle_timeout", "0", "idle_timeout=0: 0 is out of range; idle_timeout is 1ms to forever"},
  {"notify_after", "0", "notify_after=0: 0 is out of range; notify_after is 1ms to forever"},
  {"enabled", "1", "enabled=1: '1' is not true or false; did you mean true?"},
  {"enabled", "off", "enabled=off: 'off' is not true or false; did you mean false?"},
  {"enabled", "True", "enabled=True: 'True' is not true or false; did you mean true?"},
  {"enabled", "maybe", "enabled=maybe: 'maybe' is not true or false; write one of them"},
  {"enabled", "", "enabled=: '' is not true or false; write one of them"},
  {"stale_action", "brake", "stale_action=brake: 'brake' is no choice here; did you mean 'break'?"},
  {"stale_action", "", "stale_action=: '' is no choice here; stale_action is one of report, break"},
  {"verbosity", "3", "verbosity=3: '3' is no choice here; verbosity is one of quiet, error, warning, info, debug"},
  {"seats", "0", "seats=0: 0 is out of range; seats is 1 to 1024"},
  {"seats", "1025", "seats=1025: 1025 is out of range; seats is 1 to 1024"},
  {"seats", "-1", "seats=-1: -1 is out of range; seats is 1 to 1024"},
  {"seats", "", "seats=: '' is not a whole number; seats is 1 to 1024"},
  {"seats", "-", "seats=-: '-' is not a whole number; seats is 1 to 1024"},
  {"seats", "2x", "seats=2x: '2x' is not a whole number; seats is 1 to 1024"},
  {"seats", "18446744073709551617",
   "seats=18446744073709551617: 18446744073709551617 is out of range; seats is 1 to 1024"},
  {"file_mode", "", "file_mode=: '' is not an octal mode; write one such as 0660"},
  {"file_mode", "0o", "file_mode=0o: '0o' is not an octal mode; write one such as 0660"},
  {"file_mode", "1600", "file_mode=1600: 1600 is out of range; file_mode is 0600 to 0777, octal"},
  {"file_mode", "77777777777777777777777",
   "file_mode=77777777777777777777777: 77777777777777777777777 is out of range; "
   "file_mode is 0600 to 0777, octal"},
  {"file_mode", "0577",
   "file_mode=0577: 0577 keeps the owner from reading or writing; file_mode is 0600 to 0777, octal"},
  {"label", "gr\xf6sser", "label=gr\\xf6sser: 'gr\\xf6sser' is not UTF-8; write it in UTF-8"},
  {"timeout\n", "\x1b[2J", "timeout\\n=\\x1b[2J: unknown key 'timeout\\n'; did you mean 'timeout'?"},
};

START_TEST(wrong_setting_is_refused_and_changes_nothing) {
  colock_config *config = test_config("label", "before", "seats", "7", NULL);
  char *before = all_of(config);
  must_be(COLOCK_ECONFIG, colock_config_set(config, refused[_i].key, refused[_i].value));
  ck_assert_str_eq(colock_last_message(), refused[_i].message);
  same_as(before, config);
  free(before);
  colock_config_free(config);
}
END_TEST

START_TEST(null_arguments_are_refused) {
  colock_config *config = test_config(NULL);
  must_be(COLOCK_EINVAL, colock_config_new(NULL));
  must_be(COLOCK_EINVAL, colock_config_load(NULL, NULL));
  must_be(COLOCK_EINVAL, colock_config_load(config, ""));
  must_be(COLOCK_EINVAL, colock_config_env(NULL));
  must_be(COLOCK_EINVAL, colock_config_set(NULL, "timeout", "5s"));
  must_be(COLOCK_EINVAL, colock_config_set(config, NULL, "5s"));
  must_be(COLOCK_EINVAL, colock_config_set(config, "timeout", NULL));
  ck_assert_ptr_null(colock_config_get(NULL, "timeout"));
  ck_assert_ptr_null(colock_config_get(config, NULL));
  ck_assert_ptr_null(colock_config_get(config, "timeou"));
  ck_assert_ptr_null(colock_config_source(config, "timeou"));
  colock_config_free(config);
}
END_TEST

START_TEST(label_is_cut_at_a_whole_character) {
  for (size_t shift = 0; shift < 5; shift++) {
    char label[400] = "abcd";
    label[shift < 4 ? shift : 4] = '\0';
    for (size_t at = strlen(label); at + 4 < sizeof label; at += 4)
      memcpy(label + at, "\U0001f512", 5);
    colock_config *config = test_config("label", label, NULL);
    const char *kept = colock_config_get(config, "label");
    ck_assert_str_eq(kept, colockp_config_settings(config)->label);
    ck_assert_uint_eq(strlen(kept), shift % 4 + (63 - shift % 4) / 4 * 4);
    ck_assert_int_eq(strncmp(kept, label, strlen(kept)), 0);
    must(colock_config_set(config, "label", "b")); /* nothing of the longer one stays behind */
    ck_assert_mem_eq(colockp_config_settings(config)->label, ((char[COLOCKP_LABEL_SIZE]){"b"}), COLOCKP_LABEL_SIZE);
    colock_config_free(config);
  }
}
END_TEST

START_TEST(label_may_hold_control_characters) {
  colock_config *config = test_config("label", "a\n\x1b[31m", NULL);
  ck_assert_str_eq(colock_config_get(config, "label"), "a\n\x1b[31m");
  colock_config_free(config);
}
END_TEST

/* ---- environment ---- */

START_TEST(environment_sets_every_key) {
  static const char *const values[][2] = {
    {"COLOCK_ENABLED", "false"}, {"COLOCK_TIMEOUT", "7s"}, {"COLOCK_RETRY_DELAY", "7ms"},
    {"COLOCK_STALE_TIMEOUT", "7min"}, {"COLOCK_STALE_ACTION", "break"}, {"COLOCK_AUTO_RELEASE", "true"},
    {"COLOCK_IDLE_TIMEOUT", "7s"}, {"COLOCK_NOTIFY_AFTER", "7s"}, {"COLOCK_VERBOSITY", "debug"},
    {"COLOCK_LABEL", "seven"},
    {"COLOCK_FILE_MODE", "0640"}, {"COLOCK_CARRIER", "mapped"}, {"COLOCK_SEATS", "7"},
  };
  colock_config *config = test_config("timeout", "1s", NULL);
  ck_assert_uint_eq(sizeof values / sizeof values[0], COLOCKP_KEYS);
  for (size_t i = 0; i < COLOCKP_KEYS; i++)
    setenv(values[i][0], values[i][1], 1);
  must(colock_config_env(config));
  for (size_t i = 0; i < COLOCKP_KEYS; i++) {
    ck_assert_str_eq(colock_config_get(config, colock_config_key(i)->name), values[i][1]);
    ck_assert_str_eq(colock_config_source(config, colock_config_key(i)->name), "environment");
  }
  colock_config_free(config);
}
END_TEST

START_TEST(wrong_variable_is_named_and_nothing_is_taken) {
  colock_config *config = test_config("label", "before", NULL);
  char *before = all_of(config);
  setenv("COLOCK_ENABLED", "false", 1);
  setenv("COLOCK_TIMEOUT", "5", 1);
  must_be(COLOCK_ECONFIG, colock_config_env(config));
  ck_assert_str_eq(colock_last_message(), "environment: COLOCK_TIMEOUT='5': 5 has no unit; did you mean 5s?");
  same_as(before, config);
  setenv("COLOCK_TIMEOUT", "", 1);
  must_be(COLOCK_ECONFIG, colock_config_env(config));
  ck_assert_str_eq(colock_last_message(), "environment: COLOCK_TIMEOUT='': no duration given; write one such as 5s");
  unsetenv("COLOCK_TIMEOUT");
  must(colock_config_env(config));
  ck_assert_str_eq(colock_config_get(config, "enabled"), "false");
  free(before);
  colock_config_free(config);
}
END_TEST

START_TEST(other_variables_are_left_alone) {
  static const char *const others[] = {"COLOCK_FILE",   "COLOCK_TOKEN",   "COLOCK_HOLD",
                                       "COLOCK_CONFIG", "COLOCK_TIMEUOT", "COLOCK_"};
  colock_config *config = test_config(NULL);
  char *before = all_of(config);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    setenv(others[i], "?", 1);
  must(colock_config_env(config));
  same_as(before, config);
  free(before);
  colock_config_free(config);
}
END_TEST

/* ---- where files are looked for ---- */

START_TEST(search_takes_the_first_file_alone) {
  forget_surroundings();
  colock_config *config = test_config(NULL);
  char source[600];
  stand_in_for_system_file(test_path("etc.yaml"));
  must(colock_config_load(config, NULL));
  timeout_is("5s", "default", config);

  write_text(test_path("etc.yaml"), "timeout: 1s\nlabel: system\n");
  must(colock_config_load(config, NULL));
  timeout_is("1s", COLOCKP_SYSCONFDIR "/colock.yaml:1:1", config);
  colock_config_free(config);

  config = test_config(NULL);
  ck_assert_int_eq(mkdir(test_path(".config"), 0755), 0);
  write_text(test_path(".config/colock.yaml"), "# home\ntimeout: 2s\n");
  must(colock_config_load(config, NULL));
  snprintf(source, sizeof source, "%s:2:1", test_path(".config/colock.yaml"));
  timeout_is("2s", source, config);
  ck_assert_str_eq(colock_config_source(config, "label"), "default"); /* the system's file was not read as well */

  ck_assert_int_eq(mkdir(test_path("xdg"), 0755), 0);
  setenv("XDG_CONFIG_HOME", test_path("xdg"), 1);
  must(colock_config_load(config, NULL)); /* then ~/.config is none of the places */
  timeout_is("1s", COLOCKP_SYSCONFDIR "/colock.yaml:1:1", config);
  write_text(test_path("xdg/colock.yaml"), "  timeout: 3s\n");
  must(colock_config_load(config, NULL));
  snprintf(source, sizeof source, "%s:1:3", test_path("xdg/colock.yaml"));
  timeout_is("3s", source, config);

  write_text(test_path("named.yaml"), "timeout: 4s\n");
  setenv("COLOCK_CONFIG", test_path("named.yaml"), 1);
  must(colock_config_load(config, NULL));
  snprintf(source, sizeof source, "%s:1:1", test_path("named.yaml"));
  timeout_is("4s", source, config);

  write_text(test_path("argument.yaml"), "timeout: 6s\n");
  must(colock_config_load(config, test_path("argument.yaml")));
  snprintf(source, sizeof source, "%s:1:1", test_path("argument.yaml"));
  timeout_is("6s", source, config);
  colock_config_free(config);
}
END_TEST

START_TEST(named_file_must_be_there) {
  forget_surroundings();
  colock_config *config = test_config(NULL);
  char expected[1200];
  setenv("COLOCK_CONFIG", test_path("none.yaml"), 1);
  must_be(COLOCK_ECONFIG, colock_config_load(config, NULL));
  snprintf(expected, sizeof expected,
           "COLOCK_CONFIG: %s: cannot be read: No such file or directory; create it or name another file",
           test_path("none.yaml"));
  ck_assert_str_eq(colock_last_message(), expected);
  ck_assert_int_eq(colock_last_errno(), ENOENT);
  must_be(COLOCK_ECONFIG, colock_config_load(config, test_path("none.yaml")));
  ck_assert_str_eq(colock_last_message(), expected + strlen("COLOCK_CONFIG: "));
  setenv("COLOCK_CONFIG", "", 1); /* empty is as good as unset */
  must(colock_config_load(config, NULL));
  setenv("COLOCK_CONFIG", "/dev/null", 1);
  must(colock_config_load(config, NULL));
  colock_config_free(config);
}
END_TEST

START_TEST(nothing_found_is_a_success_that_leaves_no_message) {
  forget_surroundings();
  colock_config *config = test_config(NULL);
  must_be(COLOCK_ECONFIG, colock_config_set(config, "seats", "0"));
  unsetenv("HOME");
  setenv("XDG_CONFIG_HOME", "relative", 1);
  must(colock_config_load(config, NULL));
  ck_assert_str_eq(colock_last_message(), "seats=0: 0 is out of range; seats is 1 to 1024");
  colock_config_free(config);
}
END_TEST

/* A file that is there but is none: each an error that names it, none hangs. */
static void refuse_file(colock_config *config, const char *path, const char *reason) {
  char *before = all_of(config), expected[1200];
  must_be(COLOCK_ECONFIG, colock_config_load(config, path));
  snprintf(expected, sizeof expected, "%s: %s", path, reason);
  ck_assert_str_eq(colock_last_message(), expected);
  setenv("COLOCK_CONFIG", path, 1);
  must_be(COLOCK_ECONFIG, colock_config_load(config, NULL));
  ck_assert_str_eq(colock_last_message() + strlen("COLOCK_CONFIG: "), expected);
  same_as(before, config);
  free(before);
}

START_TEST(what_is_no_regular_file_is_refused) {
  colock_config *config = test_config(NULL);
  refuse_file(config, test_dir(), "is a directory; a configuration is a regular file");
  ck_assert_int_eq(mkfifo(test_path("fifo"), 0600), 0);
  refuse_file(config, test_path("fifo"), "is a FIFO; a configuration is a regular file");
  refuse_file(config, "/dev/zero", "is a device; a configuration is a regular file");
  ck_assert_int_eq(symlink("loop", test_path("loop")), 0);
  refuse_file(config, test_path("loop"),
              "cannot be read: Too many levels of symbolic links; make it readable or name another file");
  colock_config_free(config);
}
END_TEST

START_TEST(directory_in_the_search_path_is_an_error_too) {
  forget_surroundings();
  colock_config *config = test_config(NULL);
  ck_assert_int_eq(mkdir(test_path(".config"), 0755), 0);
  ck_assert_int_eq(mkdir(test_path(".config/colock.yaml"), 0755), 0);
  must_be(COLOCK_ECONFIG, colock_config_load(config, NULL));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "/.config/colock.yaml: is a directory"));
  colock_config_free(config);
}
END_TEST

START_TEST(size_has_a_bound) {
  static char text[65537];
  colock_config *config = test_config(NULL);
  memset(text, '#', sizeof text);
  memcpy(text, "timeout: 9s\n", 12);
  test_write(test_path("huge.yaml"), text, 65536);
  must(colock_config_load(config, test_path("huge.yaml")));
  ck_assert_str_eq(colock_config_get(config, "timeout"), "9s");
  test_write(test_path("huge.yaml"), text, 65537);
  refuse_file(config, test_path("huge.yaml"), "is larger than 64 KiB; is it a colock configuration?");
  ck_assert_int_eq(truncate(test_path("huge.yaml"), INT64_C(1) << 40), 0);
  refuse_file(config, test_path("huge.yaml"), "is larger than 64 KiB; is it a colock configuration?");
  colock_config_free(config);
}
END_TEST

START_TEST(strange_paths_are_printed_safely) {
  colock_config *config = test_config(NULL);
  write_text(test_path("a \n\xff.yaml"), "seats: 2\ntimeout: x\n");
  must_be(COLOCK_ECONFIG, colock_config_load(config, test_path("a \n\xff.yaml")));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "/a \\n\\xff.yaml:2:10: timeout: 'x' is not a duration;"));
  write_text(test_path("a \n\xff.yaml"), "seats: 2\n");
  must(colock_config_load(config, test_path("a \n\xff.yaml")));
  ck_assert_ptr_nonnull(strstr(colock_config_source(config, "seats"), "/a \\n\\xff.yaml:1:1"));
  static char longest[5000];
  memset(longest, 'x', sizeof longest - 1);
  longest[0] = '/';
  must_be(COLOCK_ECONFIG, colock_config_load(config, longest));
  ck_assert_uint_lt(strlen(colock_last_message()), 2048);
  setenv("XDG_CONFIG_HOME", longest, 1);
  must_be(COLOCK_ECONFIG, colock_config_load(config, NULL));
  ck_assert_ptr_nonnull(strstr(colock_last_message(), "...: too long a path; shorten XDG_CONFIG_HOME or HOME"));
  colock_config_free(config);
}
END_TEST

/* Without read permission: an error. In a directory that may not be searched (another user's HOME): as if it were not
 * there. */
static int read_without_permission(void *arg) {
  (void)arg;
  colock_config *config = test_config(NULL);
  if (geteuid() == 0 && test_become_nobody() != 0)
    return 2;
  forget_surroundings();
  if (colock_config_load(config, test_path("secret.yaml")) != COLOCK_ECONFIG || colock_last_errno() != EACCES)
    return 3;
  if (!strstr(colock_last_message(),
              "/secret.yaml: cannot be read: Permission denied; make it readable or name another file"))
    return 4;
  if (colock_config_load(config, NULL) != COLOCK_ECONFIG ||
      !strstr(colock_last_message(), "/.config/colock.yaml: cannot be"))
    return 5;
  setenv("XDG_CONFIG_HOME", test_path("shut"), 1);
  if (colock_config_load(config, NULL) != COLOCK_OK)
    return 6;
  if (colock_config_load(config, test_path("shut/colock.yaml")) != COLOCK_ECONFIG)
    return 7;
  colock_config_free(config);
  return 0;
}

START_TEST(file_without_permission_is_an_error) {
  write_text(test_path("secret.yaml"), "timeout: 1s\n");
  ck_assert_int_eq(chmod(test_path("secret.yaml"), 0), 0);
  ck_assert_int_eq(mkdir(test_path(".config"), 0755), 0);
  write_text(test_path(".config/colock.yaml"), "timeout: 1s\n");
  ck_assert_int_eq(chmod(test_path(".config/colock.yaml"), 0), 0);
  ck_assert_int_eq(mkdir(test_path("shut"), 0755), 0);
  write_text(test_path("shut/colock.yaml"), "timeout: 1s\n");
  ck_assert_int_eq(chmod(test_path("shut"), 0), 0);
  ck_assert_int_eq(test_in_child(read_without_permission, NULL), 0);
  ck_assert_int_eq(chmod(test_path("shut"), 0755), 0);
}
END_TEST

/* ---- all together ---- */

START_TEST(ambient_is_file_then_environment) {
  forget_surroundings();
  struct colockp_settings settings;
  memset(&settings, 0x5a, sizeof settings);
  setenv("COLOCK_CONFIG", test_path("c.yaml"), 1);
  write_text(test_path("c.yaml"), "timeout: 1s\nseats: 3\n");
  setenv("COLOCK_TIMEOUT", "2s", 1);
  must(colockp_config_ambient(&settings));
  ck_assert_int_eq(settings.timeout_ns, INT64_C(2000000000));
  ck_assert_int_eq(settings.seats, 3);
  ck_assert_int_eq(settings.retry_delay_ns, 100000000);
  setenv("COLOCK_SEATS", "0", 1);
  struct colockp_settings before = settings;
  must_be(COLOCK_ECONFIG, colockp_config_ambient(&settings));
  write_text(test_path("c.yaml"), "timeout: 1\n");
  must_be(COLOCK_ECONFIG, colockp_config_ambient(&settings));
  ck_assert_mem_eq(&before, &settings, sizeof settings);
}
END_TEST

START_TEST(later_changes_win_and_free_what_they_replace) {
  colock_config *config = test_config(NULL);
  write_text(test_path("c.yaml"), "timeout: 1s\nlabel: file\n");
  fault_install();
  for (int i = 0; i < 100; i++) {
    must(colock_config_load(config, test_path("c.yaml")));
    if (i % 2)
      must(colock_config_set(config, "timeout", "2s"));
    ck_assert_int_le(fault_allocations(), 2); /* the two origins, however often it is loaded */
  }
  ck_assert_str_eq(colock_config_source(config, "timeout"), "set");
  ck_assert_ptr_nonnull(strstr(colock_config_source(config, "label"), "/c.yaml:2:1"));
  colock_config_free(config);
  ck_assert_int_eq(fault_allocations(), -1); /* the configuration itself came before the count */
  fault_remove();
}
END_TEST

/* Every call that a load makes fails once, in each way it may: an error, nothing changed, nothing left behind. */
static long fail_each(enum fault_call call, int errno_value, const char *path) {
  for (long n = 1;; n++) {
    colock_config *config = test_config("label", "before", NULL);
    char *before = all_of(config);
    long allocations = fault_allocations();
    fault_fail_at(call, n, errno_value);
    int code = colock_config_load(config, path);
    bool hit = fault_hit();
    fault_disarm();
    if (!hit || errno_value == EINTR || call == FAULT_close || (call == FAULT_pread && errno_value == 0)) {
      must(code);
      ck_assert_str_eq(colock_config_get(config, "seats"), "3");
    } else {
      int expected = call == FAULT_malloc || errno_value == ENOMEM    ? COLOCK_ENOMEM
                     : errno_value == EMFILE || errno_value == ENFILE ? COLOCK_EMFILE
                                                                      : COLOCK_ECONFIG;
      ck_assert_msg(code == expected, "%s %ld failing with %d: code %d, %s", fault_names[call], n, errno_value, code,
                    colock_last_message());
      ck_assert_ptr_nonnull(strstr(colock_last_message(), path));
      ck_assert_int_eq(fault_allocations(), allocations);
      same_as(before, config);
    }
    free(before);
    colock_config_free(config);
    if (!hit)
      return n - 1;
  }
}

START_TEST(failing_calls_change_nothing) {
  const char *path = test_path("c.yaml");
  write_text(path, "timeout: 1s\nlabel: file\nseats: 3\n");
  fault_install();
  static const int errors[] = {EIO, EACCES, EMFILE, ENFILE, ENOMEM, EINTR};
  for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
    ck_assert_int_ge(fail_each(FAULT_openat, errors[i], path), 1);
    ck_assert_int_ge(fail_each(FAULT_pread, errors[i], path), 1);
    if (errors[i] != EINTR)
      ck_assert_int_eq(fail_each(FAULT_fstat, errors[i], path), 1);
  }
  ck_assert_int_ge(fail_each(FAULT_pread, 0, path), 1); /* a read that gets less than it asked for */
  ck_assert_int_eq(fail_each(FAULT_close, EIO, path), 1);
  ck_assert_int_ge(fail_each(FAULT_malloc, ENOMEM, path), 4); /* the text and three origins */
  fault_remove();
}
END_TEST

START_TEST(new_without_memory_is_an_error) {
  colock_config *config = (colock_config *)&config; /* any value: it must stay */
  fault_install();
  fault_fail_at(FAULT_malloc, 1, ENOMEM);
  must_be(COLOCK_ENOMEM, colock_config_new(&config));
  ck_assert_ptr_eq(config, (colock_config *)&config);
  fault_remove();
}
END_TEST

/* ---- set-user-id ---- */

#define SECURE_ARGUMENT "--secure"
enum { NOT_SECURE = 77 };

/* The program again, as somebody who got more rights by executing it: 0 if it ignored all that its caller prepared. */
static int secure_main(void) {
  struct colockp_settings settings;
  colock_config *config = NULL;
  if (getauxval(AT_SECURE) == 0)
    return NOT_SECURE;
  if (colockp_config_ambient(&settings) != COLOCK_OK || settings.timeout_ns != INT64_C(5000000000))
    return 1;
  if (colock_config_new(&config) != COLOCK_OK || colock_config_load(config, NULL) != COLOCK_OK ||
      colock_config_env(config) != COLOCK_OK || strcmp(colock_config_source(config, "timeout"), "default") != 0)
    return 2;
  colock_config_free(config);
  return 0;
}

static int execute_secure(void *arg) {
  execl(arg, arg, SECURE_ARGUMENT, (char *)NULL);
  return NOT_SECURE; /* memcheck and no-new-privileges sandboxes refuse such a program */
}

START_TEST(set_user_id_program_ignores_environment_and_home) {
  static char program[64 << 20];
  const char *path = test_path("program");
  size_t size = test_read("/proc/self/exe", program, sizeof program);
  ck_assert_uint_lt(size, sizeof program);
  test_write(path, program, size);
  if (geteuid() != 0 || chown(path, 65534, 65534) != 0 || chmod(path, 04755) != 0) {
    puts("not tested: set-user-id programs, for want of root");
    return;
  }
  forget_surroundings();
  ck_assert_int_eq(mkdir(test_path(".config"), 0755), 0);
  write_text(test_path(".config/colock.yaml"), "timeout: 1s\n");
  write_text(test_path("c.yaml"), "timeout: 2s\n");
  static const char *const names[] = {"COLOCK_TIMEOUT", "COLOCK_CONFIG", "XDG_CONFIG_HOME", "HOME"};
  const char *values[] = {"3s", test_path("c.yaml"), test_path(".config"), test_dir()};
  for (size_t i = 0; i < 4; i++) { /* from the strongest on; each alone would show */
    ck_assert_int_eq(setenv(names[i], values[i], 1), 0);
    int result = test_in_child(execute_secure, (void *)(uintptr_t)path);
    if (result == NOT_SECURE)
      puts("not tested: set-user-id programs, which do not work here");
    ck_assert_msg(result == 0 || result == NOT_SECURE, "%s was followed: %d", names[i], result);
    unsetenv(names[i]);
  }
}
END_TEST

static void fill(Suite *suite) {
  TCase *values = test_case(suite, "values", 20);
  tcase_add_test(values, new_one_has_the_documented_defaults);
  tcase_add_test(values, every_key_can_be_set);
  tcase_add_loop_test(values, wrong_setting_is_refused_and_changes_nothing, 0, sizeof refused / sizeof refused[0]);
  tcase_add_test(values, null_arguments_are_refused);
  tcase_add_test(values, label_is_cut_at_a_whole_character);
  tcase_add_test(values, label_may_hold_control_characters);
  tcase_add_test(values, environment_sets_every_key);
  tcase_add_test(values, wrong_variable_is_named_and_nothing_is_taken);
  tcase_add_test(values, other_variables_are_left_alone);
  TCase *search = test_case(suite, "search", 20);
  tcase_add_test(search, search_takes_the_first_file_alone);
  tcase_add_test(search, named_file_must_be_there);
  tcase_add_test(search, nothing_found_is_a_success_that_leaves_no_message);
  tcase_add_test(search, what_is_no_regular_file_is_refused);
  tcase_add_test(search, directory_in_the_search_path_is_an_error_too);
  tcase_add_test(search, size_has_a_bound);
  tcase_add_test(search, strange_paths_are_printed_safely);
  tcase_add_test(search, file_without_permission_is_an_error);
  tcase_add_test(search, set_user_id_program_ignores_environment_and_home);
  TCase *whole = test_case(suite, "whole", 30);
  tcase_add_test(whole, ambient_is_file_then_environment);
  tcase_add_test(whole, later_changes_win_and_free_what_they_replace);
  tcase_add_test(whole, failing_calls_change_nothing);
  tcase_add_test(whole, new_without_memory_is_an_error);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], SECURE_ARGUMENT) == 0)
    _exit(secure_main()); /* not exit: a leak checker that hangs on there cannot look into such a program, and says it
                             failed */
  return test_main(argc, argv, "config", fill);
}

/* tool.h - what the subcommands of colock share.
 *
 * The tool knows the library by <colock.h> alone. Every subcommand returns its exit status; nothing but main() and a
 * child that could not become COMMAND ends the process. What is printed on standard output is gathered in tool_out()
 * and written in one go by tool_flush(), so that a full disk or a closed pipe is noticed; what is said on standard
 * error goes through tool_tell(). Text that came from outside (paths, labels, purposes) is printed by tool_escape()
 * only.
 */
#ifndef COLOCK_TOOL_H
#define COLOCK_TOOL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "colock.h"
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { /* exit statuses; COMMAND's own pass through */
  TOOL_OK = 0,
  TOOL_IN_USE = 1,
  TOOL_USAGE = 64,
  TOOL_DATA = 65,
  TOOL_NO_FILE = 66,
  TOOL_SYSTEM = 71,
  TOOL_CANNOT_CREATE = 73,
  TOOL_BUSY = 75,
  TOOL_REVOKED = 76,
  TOOL_PERMISSION = 77,
  TOOL_CONFIG = 78,
  TOOL_CANNOT_RUN = 126,
  TOOL_NOT_FOUND = 127,
  TOOL_SIGNAL = 128 /* + the signal's number */
};

struct tool_command {
  const char *name;
  const char *summary; /* one line of `colock help` */
  const char *help;    /* the whole of `colock help NAME`; NULL: run() with --help prints it */
  int (*run)(int argc, char **argv);
};
extern const struct tool_command tool_run, tool_status, tool_top, tool_stats, tool_wait, tool_unlock, tool_config;

/* ---- options.c: what was asked for ---- */
int tool_usage(const struct tool_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* after getopt_long gave '?' or ':' */
int tool_bad_option(const struct tool_command *command, int got, char **argv, const struct option *options);
int tool_print_help(const struct tool_command *command);
bool tool_parse_time(const char *text, int64_t *ms); /* "5", "0.5", "250ms", "2min", "forever" (COLOCK_FOREVER) */
bool tool_parse_integer(const char *text, int least, int most, int *value);
int tool_exit_code(int code, bool creating); /* the exit status for a COLOCK_ code */
int tool_fail(int code, bool creating);      /* says colock_last_message(); returns tool_exit_code */
const char *tool_closest(const char *text, const char *const *words, size_t count); /* a likely misspelling, or NULL */

struct tool_settings {      /* the options --set and --file */
  const char *file;         /* NULL: the search path */
  const char **assignments; /* "key=value", in order */
  size_t count;
};
bool tool_add_setting(struct tool_settings *settings, const char *assignment);
/* an exit status; says what is wrong */
int tool_load_config(const struct tool_settings *settings, colock_config **config);

/* ---- render.c: how it is put on paper ---- */
FILE *tool_out(void);
/* writes what tool_out() gathered; a failure is said and gives TOOL_SYSTEM in place of TOOL_OK */
int tool_flush(int status);
void tool_tell(const char *format, ...) __attribute__((format(printf, 1, 2))); /* "colock: ...\n" on standard error */
void tool_warn(const char *format, ...) __attribute__((format(printf, 1, 2))); /* "warning: ...\n" on standard error */
void tool_live(const char *line); /* the one rewritten line of a terminal; NULL takes it away */
bool tool_live_possible(void);
bool tool_foreground(void);
void tool_escape(FILE *to, const char *text);      /* safe on one line of a terminal */
void tool_escape_text(FILE *to, const char *text); /* the same for text within "" */
char *tool_escaped(const char *text);              /* tool_escape into memory; free() it */
void tool_json(FILE *to, const char *text);        /* a JSON string with its quotes */
void tool_yaml(FILE *to, const char *text);        /* a YAML scalar, quoted where it must be */
enum { TOOL_PLAIN, TOOL_BOLD, TOOL_GOOD, TOOL_BAD };
void tool_colour(FILE *to, int colour); /* nothing unless standard output is a terminal */
FILE *tool_memory(char **text, size_t *size); /* open_memstream that never fails; ends the process when out of memory */
void *tool_got(void *memory);                 /* the same for what malloc gave */
extern void (*tool_before_dying)(void);       /* called before that end; NULL: nothing */
size_t tool_fitting(const char *text, int columns); /* how many bytes of it fit in so many columns of a terminal */
int tool_width(const char *text);                   /* how many columns it takes */
int tool_columns(void); /* of standard output: $COLUMNS, or what the terminal says, or 80 */
bool tool_utf8(void);   /* the locale has characters beyond ASCII */

/* ---- people.c: who holds and who waits, in words ---- */
/* migrate[5120], api[4302/4310], run[5120->5121] */
void tool_name(FILE *to, const colock_entry *entry);
void tool_user(FILE *to, const colock_entry *entry, bool always_host); /* alice, alice@db1 */
void tool_user_name(FILE *to, int64_t uid);
int tool_write_all(int fd, const char *text, size_t size); /* 0 or an errno */
void tool_age(FILE *to, int64_t ms);   /* 2m5s */
void tool_span(FILE *to, int64_t ms);  /* 1.5s: a measured length */
bool tool_here(const colock_entry *entry); /* on this host, as far as the entry says */
const char *tool_mode(const colock_entry *entry);
size_t tool_count(const colock_report *report, int role);
/* the index-th of that role, or NULL; who goes through many of them takes tool_next */
const colock_entry *tool_entry(const colock_report *report, int role, size_t index);
/* the next of that role, or NULL; *at is 0 at first */
const colock_entry *tool_next(const colock_report *report, int role, size_t *at);
void tool_nameless(FILE *to, const colock_entry *entry); /* a reader without a name */
bool tool_held(const colock_report *report);   /* somebody uses it */
bool tool_in_use(const colock_report *report); /* or keeps it unused: for a try they are one */
void tool_kept(FILE *to, const colock_entry *entry); /* unused for 5s; suspending for 2s */
void tool_names(FILE *to, const colock_report *report);              /* a[1], b[2] and 3 others */
/* a[1] (alice, 2m5s, "schema 42") and 2 others; usually under 40ms */
void tool_holders(FILE *to, const colock_report *report);

/* ---- figures.c: statistics, in words and bars ---- */
void tool_ns(FILE *to, int64_t ns); /* 1.28us, 35.0ms, 2m5s: three digits */
void tool_put_stats(FILE *to, const colock_stats *stats); /* a table; lines of less than 80 columns, names apart */
/* one for each kind of time that there is; lines of so many columns */
void tool_put_histograms(FILE *to, const colock_stats *stats, int columns);

/* ---- prometheus.c: statistics for machines ---- */
struct tool_measured {
  const char *path;
  colock_stats *stats;   /* NULL, as the report: it could not be read */
  colock_report *report;
};
/* The exposition format, text version 0.0.4. No path twice. */
void tool_put_prometheus(FILE *to, const struct tool_measured *locks, size_t count);

/* ---- replace.c: a file written as a whole ---- */
/* A reader sees the old content or the new, never a part. An exit status; what failed has been said. */
int tool_replace_file(const char *path, const char *text, size_t size);

/* ---- log.c: what the library says while it works ---- */
void tool_log(int level, const char *line, void *arg); /* shaped as the hook of colock_set_log */

/* ---- notice.c: telling people that we wait ---- */
void tool_notice_begin(const char *path, bool quiet);
int tool_notice_report(const colock_report *who, int64_t waited_ms, void *arg); /* shaped as colock_request.on_wait */
void tool_notice_end(void);
int64_t tool_now_ms(void); /* CLOCK_MONOTONIC */

/* ---- child.c: COMMAND ---- */
void tool_signals_begin(void);       /* first of all: remembers mask and dispositions, then ignores SIGPIPE */
void tool_signals_wait(colock *lock); /* from now on INT, TERM, HUP and QUIT cancel the waits of this lock */
int tool_signals_hold(void);         /* from now on signals stay pending; the number of one that came before, or 0 */
/* 0: *status as waitpid gave it; an exit status: could not fork */
int tool_command_run(char *const *argv, int *status);

/* ---- recall.c: asking those who only keep the lock to let go ---- */
/* By standing in line, exclusively, for timeout_ms at most, and giving it back at once. 0, or a COLOCK_ code. */
int tool_recall(const char *path, const char *purpose, int64_t timeout_ms);

/* ---- kill.c: ending those who hold ---- */
/* Ends every holder that `before` shows, or, if it shows none, all who keep the lock unused: SIGTERM, 5 s later
 * SIGKILL. *killed: that was needed. TOOL_OK once their holds are gone; else an exit status, and what was in the way
 * has been said. */
int tool_kill_holders(const char *path, const colock_report *before, bool *killed);
void tool_pause(int64_t ms);

#endif

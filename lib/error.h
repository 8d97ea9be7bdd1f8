/* error.h - this thread's last failure: code, errno, one whole sentence.
 *
 * colockp_fail sets all three and returns the code, so that `return colockp_fail(...)` is the one way to fail. A
 * success leaves them alone. Text that came from outside (paths, labels, YAML) goes through colockp_escape first.
 */
#ifndef COLOCKP_ERROR_H
#define COLOCKP_ERROR_H

#include <stddef.h>

/* errno_value: 0 where no system call failed; %m in the format is its text. A message
 * longer than 2 KiB is cut. errno itself stays. */
int colockp_fail(int code, int errno_value, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Put the message of code `code` (already set by colockp_fail in this thread) behind a prefix: "PREFIX: MESSAGE".
 * Returns code. */
int colockp_fail_again(int code, const char *prefix);

/* COLOCK_ code for an errno of open, mmap, fcntl and the like: EACCES/EPERM/EROFS -> EACCES, ENOENT/ENOTDIR -> ENOENT,
 * ENOSPC/EDQUOT -> ENOSPC, EMFILE/ENFILE -> EMFILE, ENOMEM -> ENOMEM, ENOLCK -> ENOLOCKS, else ESYSTEM. */
int colockp_code_of_errno(int errno_value);

/* Write `text` (any bytes) to `out` so that it is safe to print on one line: control characters, line separators,
 * characters that turn the writing direction, backslash and bytes that are not UTF-8 become \n, \t, \\, \xNN; cut at a
 * whole character or escape. Always ends in NUL. Returns out. */
char *colockp_escape(char *out, size_t size, const char *text);

#define COLOCKP_ESCAPED_PATH 1024 /* a buffer for the messages; longer paths are cut */

#endif

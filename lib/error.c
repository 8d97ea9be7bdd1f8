/* error.c - this thread's last failure, and the words for the codes.
 *
 * One buffer a thread, made with its first failure: thread-local storage itself has to be small, or a program that has
 * not been linked with the library cannot load it any more. Where there is no memory for it, the words of the code have
 * to do. errno is left as it was found.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "error.h"
#include "colock.h"
#include "utf8.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_SIZE 2048 /* a whole escaped path and a sentence around it */

static _Thread_local struct {
  int errno_value;
  char *buffer;        /* MESSAGE_SIZE bytes, or NULL */
  const char *message; /* in the buffer, or constant; NULL: nothing has failed yet */
} failure;

static pthread_key_t at_exit; /* of a thread */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool have_key;

static void forget(void *buffer) {
  failure.buffer = NULL;
  failure.message = NULL;
  free(buffer);
}

static void make_key(void) { have_key = pthread_key_create(&at_exit, forget) == 0; }

/* Not by colockp_system: what tests fail there must still be told. */
static char *make_buffer(void) {
  pthread_once(&once, make_key);
  char *buffer = have_key ? malloc(MESSAGE_SIZE) : NULL;
  if (buffer && pthread_setspecific(at_exit, buffer) != 0) {
    free(buffer);
    buffer = NULL;
  }
  return buffer;
}

static const char *const clauses[] = {
  [COLOCK_OK] = "success",
  [COLOCK_EBUSY] = "in use by somebody else",
  [COLOCK_ETIMEDOUT] = "timed out waiting for the lock",
  [COLOCK_EDEADLK] = "would wait for itself",
  [COLOCK_ECANCELED] = "the wait was cancelled",
  [COLOCK_EINTR] = "the wait was interrupted by a signal",
  [COLOCK_EREVOKED] = "the hold was forced out",
  [COLOCK_ELOST] = "the lock file was replaced or lost",
  [COLOCK_EFORKED] = "the hold belongs to the parent process",
  [COLOCK_EINVAL] = "wrong argument",
  [COLOCK_EACCES] = "permission denied",
  [COLOCK_ENOENT] = "no such file",
  [COLOCK_EFOREIGN] = "not a colock file",
  [COLOCK_EVERSION] = "a newer or different lock file format",
  [COLOCK_ECORRUPT] = "the lock file is damaged and in use",
  [COLOCK_ENOLOCKS] = "this file system cannot lock",
  [COLOCK_ENOSPC] = "no space left for the lock file",
  [COLOCK_ECONFIG] = "wrong configuration",
  [COLOCK_ESTORE] = "an operation of the store failed",
  [COLOCK_EMFILE] = "too many open files",
  [COLOCK_ENOMEM] = "out of memory",
  [COLOCK_ESYSTEM] = "a system call failed",
};

const char *colock_strerror(int code) {
  if (code < 0 || (size_t)code >= sizeof clauses / sizeof clauses[0])
    return "unknown code";
  return clauses[code];
}

const char *colock_last_message(void) { return failure.message ? failure.message : ""; }

int colock_last_errno(void) { return failure.errno_value; }

/* Keep what snprintf wrote, but for a character that it cut in two. `written` is what it returned. */
static void keep(int code, const char *text, int written) {
  size_t length = written < 0 ? 0 : (size_t)written;
  if (!failure.buffer)
    failure.buffer = make_buffer();
  failure.message = failure.buffer ? failure.buffer : colock_strerror(code);
  if (!failure.buffer)
    return;
  if (length >= MESSAGE_SIZE)
    length = colockp_utf8_whole(text, MESSAGE_SIZE - 1);
  memcpy(failure.buffer, text, length);
  failure.buffer[length] = '\0';
}

int colockp_fail(int code, int errno_value, const char *format, ...) {
  char text[MESSAGE_SIZE]; /* the arguments may point into the message that is replaced */
  int saved = errno;
  va_list arguments;
  va_start(arguments, format);
  errno = errno_value;
  keep(code, text, vsnprintf(text, sizeof text, format, arguments));
  va_end(arguments);
  failure.errno_value = errno_value;
  errno = saved;
  return code;
}

int colockp_fail_again(int code, const char *prefix) {
  return colockp_fail(code, failure.errno_value, "%s: %s", prefix, colock_last_message());
}

int colockp_code_of_errno(int errno_value) {
  switch (errno_value) {
  case EACCES:
  case EPERM:
  case EROFS: return COLOCK_EACCES;
  case ENOENT:
  case ENOTDIR: return COLOCK_ENOENT;
  case ENOSPC:
  case EDQUOT: return COLOCK_ENOSPC;
  case EMFILE:
  case ENFILE: return COLOCK_EMFILE;
  case ENOMEM: return COLOCK_ENOMEM;
  case ENOLCK: return COLOCK_ENOLOCKS;
  default: return COLOCK_ESYSTEM;
  }
}

/* May the character stand on a line as it is? Line separators and those that turn the writing direction may not: they
 * would let a label rewrite the line that shows it. */
static bool harmless(uint32_t point) {
  if (point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == '\\')
    return false;
  if (point >= 0x2028 && point <= 0x202e)
    return false;
  return point < 0x2066 || point > 0x2069;
}

/* One character, or one byte, as an escape; returns its length. */
static size_t escape_byte(char *unit, size_t size, char byte) {
  if (byte == '\n')
    return (size_t)snprintf(unit, size, "\\n");
  if (byte == '\t')
    return (size_t)snprintf(unit, size, "\\t");
  if (byte == '\\')
    return (size_t)snprintf(unit, size, "\\\\");
  return (size_t)snprintf(unit, size, "\\x%02x", (unsigned)(unsigned char)byte);
}

char *colockp_escape(char *out, size_t size, const char *text) {
  size_t length = text ? strlen(text) : 0, used = 0;
  if (size == 0)
    return out;
  for (size_t i = 0, taken; i < length; i += taken) {
    char unit[4 * 4 + 1] = "";
    size_t unit_length = 0;
    uint32_t point = 0;
    taken = colockp_utf8_read(text + i, length - i, &point);
    if (taken > 0 && harmless(point)) {
      memcpy(unit, text + i, unit_length = taken);
    } else {
      if (taken == 0)
        taken = 1;
      for (size_t byte = 0; byte < taken; byte++)
        unit_length += escape_byte(unit + unit_length, sizeof unit - unit_length, text[i + byte]);
    }
    if (unit_length > size - 1 - used)
      break;
    memcpy(out + used, unit, unit_length);
    used += unit_length;
  }
  out[used] = '\0';
  return out;
}

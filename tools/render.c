/* render.c - how it is put on paper: output whose failure is noticed, one live line, colour, escapes.
 *
 * `lock` guards the live line and standard error, because the notice thread and the log hook speak at any time.
 */
#include "tool.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool live_shown; /* under lock */

static FILE *out; /* what standard output is to get */
static char *out_text;
static size_t out_size;

void (*tool_before_dying)(void);

void *tool_got(void *memory) {
  if (memory == NULL) {
    static const char message[] = "colock: out of memory\n";
    if (tool_before_dying != NULL)
      tool_before_dying();
    (void)!write(STDERR_FILENO, message, sizeof message - 1);
    _exit(TOOL_SYSTEM);
  }
  return memory;
}

FILE *tool_memory(char **text, size_t *size) { return tool_got(open_memstream(text, size)); }

FILE *tool_out(void) {
  if (out == NULL)
    out = tool_memory(&out_text, &out_size);
  return out;
}

int tool_write_all(int fd, const char *text, size_t size) {
  while (size > 0) {
    ssize_t done = write(fd, text, size);
    if (done < 0 && errno != EINTR)
      return errno;
    if (done > 0) {
      text += done;
      size -= (size_t)done;
    }
  }
  return 0;
}

int tool_flush(int status) {
  if (out == NULL)
    return status;
  int error = fclose(out) == 0 ? 0 : ENOMEM;
  if (error == 0)
    error = tool_write_all(STDOUT_FILENO, out_text, out_size);
  free(out_text);
  out = NULL;
  out_text = NULL;
  if (error == 0)
    return status;
  tool_tell("cannot write to standard output: %s", strerror(error));
  return status == TOOL_OK ? TOOL_SYSTEM : status;
}

static void say(const char *prefix, const char *format, va_list arguments) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  pthread_mutex_lock(&lock);
  if (live_shown)
    fputs("\r\033[K", to);
  live_shown = false;
  fputs(prefix, to);
  vfprintf(to, format, arguments);
  fputc('\n', to);
  fclose(to);
  tool_write_all(STDERR_FILENO, text, size); /* there is nowhere left to complain */
  pthread_mutex_unlock(&lock);
  free(text);
}

void tool_tell(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say("colock: ", format, arguments);
  va_end(arguments);
}

void tool_warn(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say("warning: ", format, arguments);
  va_end(arguments);
}

bool tool_live_possible(void) {
  const char *terminal = getenv("TERM");
  return isatty(STDERR_FILENO) && terminal != NULL && *terminal != '\0' && strcmp(terminal, "dumb") != 0;
}

/* Are we the terminal's foreground job? A background job must not write over somebody else's line. */
bool tool_foreground(void) { return tcgetpgrp(STDERR_FILENO) == getpgrp(); }

/* Decodes one character: its length in bytes, or 0 where the bytes are not UTF-8. */
static size_t decode(const char *text, uint32_t *character) {
  const unsigned char *at = (const unsigned char *)text;
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;
  if (length < 2) {
    *character = at[0];
    return length;
  }
  uint32_t value = at[0] & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; i++) {
    if ((at[i] & 0xc0) != 0x80)
      return 0;
    value = value << 6 | (at[i] & 0x3fu);
  }
  if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
    return 0;
  *character = value;
  return length;
}

/* The columns of the first character; *length is its bytes. */
static int width_of(const char *text, size_t *length) {
  uint32_t character;
  *length = decode(text, &character);
  int width = *length > 0 ? wcwidth((wchar_t)character) : 1;
  *length = *length > 0 ? *length : 1;
  return width >= 0 ? width : 2; /* not known in this locale: assume a wide one */
}

size_t tool_fitting(const char *text, int columns) {
  size_t at = 0, length;
  while (text[at] != '\0') {
    columns -= width_of(text + at, &length);
    if (columns < 0)
      break;
    at += length;
  }
  return at;
}

int tool_width(const char *text) {
  int columns = 0;
  for (size_t length; *text != '\0'; text += length)
    columns += width_of(text, &length);
  return columns;
}

void tool_live(const char *line) {
  struct winsize window;
  int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
  pthread_mutex_lock(&lock);
  if (line == NULL) {
    if (live_shown)
      tool_write_all(STDERR_FILENO, "\r\033[K", 4);
    live_shown = false;
  } else {
    char *text = NULL;
    size_t size = 0;
    size_t fits = tool_fitting(line, columns - 1); /* not the last column: writing there wraps on some terminals */
    FILE *to = tool_memory(&text, &size);
    if (line[fits] == '\0' || columns < 8)
      fprintf(to, "\r\033[K%.*s", (int)fits, line);
    else
      fprintf(to, "\r\033[K%.*s...", (int)tool_fitting(line, columns - 4), line);
    fclose(to);
    tool_write_all(STDERR_FILENO, text, size);
    free(text);
    live_shown = true;
  }
  pthread_mutex_unlock(&lock);
}

/* Characters that move the cursor, hide or reorder text. */
static bool misleads(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static void escape(FILE *to, const char *text, bool quoted) {
  while (*text != '\0') {
    uint32_t character;
    size_t length = decode(text, &character);
    if (length > 0 && !misleads(character)) {
      if (character == '\\' || (quoted && character == '"'))
        fputc('\\', to);
      fwrite(text, 1, length, to);
    } else if (*text == '\n') {
      fputs("\\n", to);
    } else if (*text == '\t') {
      fputs("\\t", to);
    } else {
      length = length > 0 ? length : 1;
      for (size_t i = 0; i < length; i++)
        fprintf(to, "\\x%02x", (unsigned)(unsigned char)text[i]);
    }
    text += length > 0 ? length : 1;
  }
}

void tool_escape(FILE *to, const char *text) { escape(to, text, false); }
void tool_escape_text(FILE *to, const char *text) { escape(to, text, true); }

char *tool_escaped(const char *text) {
  char *made = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&made, &size);
  tool_escape(to, text);
  fclose(to);
  return made;
}

/* JSON has no way to say a byte that is not UTF-8: such a byte becomes the four characters \xNN. */
void tool_json(FILE *to, const char *text) {
  fputc('"', to);
  while (*text != '\0') {
    uint32_t character;
    size_t length = decode(text, &character);
    if (length == 0)
      fprintf(to, "\\\\x%02x", (unsigned)(unsigned char)*text);
    else if (character == '"' || character == '\\')
      fprintf(to, "\\%c", (int)character);
    else if (character < 0x20 || character == 0x7f)
      fprintf(to, "\\u%04x", (unsigned)character);
    else
      fwrite(text, 1, length, to);
    text += length > 0 ? length : 1;
  }
  fputc('"', to);
}

void tool_yaml(FILE *to, const char *text) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./@+-";
  if (*text != '\0' && *text != '-' && strspn(text, plain) == strlen(text))
    fputs(text, to);
  else
    tool_json(to, text); /* a YAML double-quoted scalar understands what JSON writes */
}

void tool_colour(FILE *to, int colour) {
  static const char *const codes[] = {"\033[0m", "\033[1m", "\033[32m", "\033[1;31m"};
  static int wanted = -1;
  if (wanted < 0) {
    const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");
    wanted = isatty(STDOUT_FILENO) && (no == NULL || *no == '\0') && terminal != NULL && strcmp(terminal, "dumb") != 0;
  }
  if (wanted)
    fputs(codes[colour], to);
}

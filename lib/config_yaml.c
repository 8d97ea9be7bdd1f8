/* config_yaml.c - YAML text into settings, by libyaml's events: one mapping of keys to scalars, nothing else.
 *
 * The text is first looked through for what libyaml would refuse without saying where. Then each event is either what
 * may come next or an error at its own line and column; nothing is kept, so depth and size of the input cost nothing.
 */
#include "config_keys.h"
#include "error.h"
#include "system.h"
#include "utf8.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

struct reader {
  struct colockp_draft *draft;
  const char *path; /* safe to print */
  int documents;
  bool inside; /* the one mapping */
  int key;     /* whose value comes next; -1: a key comes */
  yaml_mark_t key_mark;
  yaml_mark_t seen_at[COLOCKP_KEYS];
  bool seen[COLOCKP_KEYS];
};

static int fail_at(const char *path, size_t line, size_t column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Line and column count from 0, as libyaml's do. */
static int fail_at(const char *path, size_t line, size_t column, const char *format, ...) {
  char reason[COLOCKP_REASON_SIZE + 128];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  return colockp_fail(COLOCK_ECONFIG, 0, "%s:%zu:%zu: %s", path, line + 1, column + 1, reason);
}

#define FAIL(reader, mark, ...) fail_at((reader)->path, (mark).line, (mark).column, __VA_ARGS__)

static int no_memory(const char *path) { return colockp_fail(COLOCK_ENOMEM, 0, "%s: no memory to read it", path); }

/* ---- before libyaml ---- */

static bool allowed(uint32_t point) {
  if (point < 0x20)
    return point == '\t' || point == '\n' || point == '\r';
  return point < 0x7f || point == 0x85 || (point >= 0xa0 && point < 0xfffe && point != 0xfeff) || point > 0xffff;
}

static int check_text(const char *path, const char *text, size_t size) {
  size_t line = 0, column = 0;
  if (size >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0))
    return fail_at(path, 0, 0, "is UTF-16; save it as UTF-8");
  for (size_t i = 0, taken; i < size; i += taken) {
    uint32_t point = 0;
    taken = colockp_utf8_read(text + i, size - i, &point);
    if (taken == 0)
      return fail_at(path, line, column, "byte 0x%02x is not UTF-8; save the file as UTF-8", (unsigned char)text[i]);
    if (point == 0)
      return fail_at(path, line, column, "a NUL byte; is this a text file?");
    if (!allowed(point))
      return fail_at(path, line, column, "control character U+%04X; leave it out, or write \"\\x%02x\" in quotes",
                     point, point);
    bool crlf = point == '\r' && i + 1 < size && text[i + 1] == '\n';
    if (point == '\n' || (point == '\r' && !crlf)) {
      line++;
      column = 0;
    } else if (!crlf) {
      column++;
    }
  }
  return COLOCK_OK;
}

/* ---- events ---- */

static int on_key(struct reader *reader, const yaml_event_t *event) {
  const char *name = (const char *)event->data.scalar.value;
  char shown[64], hint[COLOCKP_REASON_SIZE];
  colockp_escape(shown, sizeof shown, name);
  if (strlen(name) != event->data.scalar.length)
    return FAIL(reader, event->start_mark, "a NUL character in a key; leave it out");
  int key = colockp_key_find(name);
  if (key < 0)
    return FAIL(reader, event->start_mark, "unknown key '%s'; %s", shown, colockp_key_suggest(hint, sizeof hint, name));
  if (reader->seen[key])
    return FAIL(reader, event->start_mark, "'%s' again, first at %zu:%zu; keep one of them", shown,
                reader->seen_at[key].line + 1, reader->seen_at[key].column + 1);
  reader->seen[key] = true;
  reader->seen_at[key] = reader->key_mark = event->start_mark;
  reader->key = key;
  return COLOCK_OK;
}

static bool is_null(const yaml_event_t *event) {
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
  if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
    return false;
  for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
    if (strcmp((const char *)event->data.scalar.value, nulls[i]) == 0)
      return true;
  return false;
}

/* "PATH:4:1" in memory of its own; NULL: no memory. */
static char *make_source(const struct reader *reader) {
  size_t size = strlen(reader->path) + 48;
  char *source = colockp_system.malloc(size);
  if (source)
    snprintf(source, size, "%s:%zu:%zu", reader->path, reader->key_mark.line + 1, reader->key_mark.column + 1);
  return source;
}

static int on_value(struct reader *reader, const yaml_event_t *event) {
  const char *text = (const char *)event->data.scalar.value;
  const colock_key *key = &colockp_keys[reader->key].shown;
  char reason[COLOCKP_REASON_SIZE];
  if (is_null(event))
    return FAIL(reader, event->start_mark, "%s has no value; write '%s: %s' or remove the line", key->name, key->name,
                key->initial);
  if (strlen(text) != event->data.scalar.length)
    return FAIL(reader, event->start_mark, "%s: a NUL character in the value; leave it out", key->name);
  char *source = make_source(reader);
  if (!source)
    return no_memory(reader->path);
  if (colockp_draft_set(reader->draft, reader->key, text, source, source, reason) != 0) {
    colockp_system.free(source);
    return FAIL(reader, event->start_mark, "%s: %s", key->name, reason);
  }
  reader->key = -1;
  return COLOCK_OK;
}

static int refuse_marks(const struct reader *reader, const yaml_event_t *event, const yaml_char_t *anchor,
                        const yaml_char_t *tag) {
  if (anchor)
    return FAIL(reader, event->start_mark, "anchors (&name) are not used here; leave it out");
  if (tag)
    return FAIL(reader, event->start_mark, "tags (!name) are not used here; leave it out");
  return COLOCK_OK;
}

static int on_scalar(struct reader *reader, const yaml_event_t *event) {
  int code = refuse_marks(reader, event, event->data.scalar.anchor, event->data.scalar.tag);
  if (code != COLOCK_OK)
    return code;
  if (reader->inside)
    return reader->key < 0 ? on_key(reader, event) : on_value(reader, event);
  if (event->data.scalar.length == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
    return COLOCK_OK; /* a document of comments */
  return FAIL(reader, event->start_mark,
              "not a mapping; write lines such as 'timeout: 5s', with a blank after the colon");
}

static int on_collection(struct reader *reader, const yaml_event_t *event) {
  bool mapping = event->type == YAML_MAPPING_START_EVENT;
  int code = mapping ? refuse_marks(reader, event, event->data.mapping_start.anchor, event->data.mapping_start.tag)
                     : refuse_marks(reader, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
  const char *what = mapping ? "mapping" : "list";
  if (code != COLOCK_OK)
    return code;
  if (reader->inside && reader->key < 0)
    return FAIL(reader, event->start_mark, "a %s cannot be a key; write lines such as 'timeout: 5s'", what);
  if (reader->inside)
    return FAIL(reader, event->start_mark, "%s: a %s where one value belongs; write '%s: %s'",
                colockp_keys[reader->key].shown.name, what, colockp_keys[reader->key].shown.name,
                colockp_keys[reader->key].shown.initial);
  if (!mapping)
    return FAIL(reader, event->start_mark, "a list, not a mapping; write lines such as 'timeout: 5s'");
  reader->inside = true;
  return COLOCK_OK;
}

static int on_event(struct reader *reader, const yaml_event_t *event) {
  switch (event->type) {
  case YAML_DOCUMENT_START_EVENT:
    if (++reader->documents > 1)
      return FAIL(reader, event->start_mark, "a second document; put all keys into one and leave out the '---'");
    return COLOCK_OK;
  case YAML_ALIAS_EVENT:
    return FAIL(reader, event->start_mark, "aliases (*name) are not used here; write the value out");
  case YAML_SCALAR_EVENT: return on_scalar(reader, event);
  case YAML_MAPPING_START_EVENT:
  case YAML_SEQUENCE_START_EVENT: return on_collection(reader, event);
  case YAML_MAPPING_END_EVENT: reader->inside = false; return COLOCK_OK;
  default: return COLOCK_OK;
  }
}

static int on_parser_error(const struct reader *reader, const yaml_parser_t *parser) {
  if (parser->error == YAML_MEMORY_ERROR)
    return no_memory(reader->path);
  const char *context = parser->context ? parser->context : "",
             *problem = parser->problem ? parser->problem : "not YAML";
  return FAIL(reader, parser->problem_mark, "%s%s%s; check indentation, colons and quotes", context,
              *context ? ": " : "", problem);
}

int colockp_yaml_read(struct colockp_draft *draft, const char *path, const char *text, size_t size) {
  struct reader reader = {.draft = draft, .path = path, .key = -1};
  yaml_parser_t parser;
  if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
    text += 3;
    size -= 3;
  }
  int code = check_text(path, text, size);
  if (code != COLOCK_OK)
    return code;
  if (!yaml_parser_initialize(&parser))
    return no_memory(path);
  yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
  for (bool more = true; more && code == COLOCK_OK;) {
    yaml_event_t event;
    if (!yaml_parser_parse(&parser, &event)) {
      code = on_parser_error(&reader, &parser);
      break;
    }
    code = on_event(&reader, &event);
    more = event.type != YAML_STREAM_END_EVENT;
    yaml_event_delete(&event);
  }
  yaml_parser_delete(&parser);
  return code;
}

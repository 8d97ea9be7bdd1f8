/* json.c - a small writer of JSON. Memory comes from colockp_system.malloc, so that tests can fail it. */
#include "json.h"
#include "system.h"
#include "utf8.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIRST_ROOM 512
#define EXACT_IN_A_DOUBLE (INT64_C(1) << 53)

void colockp_json_init(struct colockp_json *json) { memset(json, 0, sizeof *json); }

void colockp_json_free(struct colockp_json *json) {
  if (json->text)
    colockp_system.free(json->text);
  colockp_json_init(json);
}

/* Room for `more` bytes and a NUL. */
static bool reserve(struct colockp_json *json, size_t more) {
  if (json->failed)
    return false;
  if (json->room - json->length > more)
    return true;
  size_t room = json->room ? json->room : FIRST_ROOM;
  while (room - json->length <= more) {
    if (room > SIZE_MAX / 2) {
      json->failed = true;
      return false;
    }
    room *= 2;
  }
  char *text = colockp_system.malloc(room);
  if (!text) {
    json->failed = true;
    return false;
  }
  if (json->text) {
    memcpy(text, json->text, json->length);
    colockp_system.free(json->text);
  }
  json->text = text;
  json->room = room;
  return true;
}

static void put(struct colockp_json *json, const char *bytes, size_t count) {
  if (!reserve(json, count))
    return;
  memcpy(json->text + json->length, bytes, count);
  json->length += count;
}

static void put_quoted(struct colockp_json *json, const char *text) {
  static const char short_from[] = "\"\\\b\f\n\r\t", short_to[] = "\"\\bfnrt";
  put(json, "\"", 1);
  const char *end = text + strlen(text);
  for (const char *at = text; at < end;) {
    const char *known = strchr(short_from, *at);
    uint32_t point = 0;
    size_t length = colockp_utf8_read(at, (size_t)(end - at), &point);
    char escape[8];
    if (known) {
      escape[0] = '\\';
      escape[1] = short_to[known - short_from];
      put(json, escape, 2);
      at++;
    } else if (length == 1 && (point < 0x20 || point == 0x7f)) {
      snprintf(escape, sizeof escape, "\\u%04x", (unsigned)point);
      put(json, escape, 6);
      at++;
    } else if (length == 0) {
      put(json, "\xEF\xBF\xBD", 3);
      at++;
    } else {
      put(json, at, length);
      at += length;
    }
  }
  put(json, "\"", 1);
}

static void begin_value(struct colockp_json *json, const char *key) {
  if (json->comma)
    put(json, ",", 1);
  if (key) {
    put_quoted(json, key);
    put(json, ":", 1);
  }
  json->comma = true;
}

void colockp_json_open(struct colockp_json *json, const char *key, char bracket) {
  begin_value(json, key);
  put(json, &bracket, 1);
  json->comma = false;
}

void colockp_json_close(struct colockp_json *json, char bracket) {
  put(json, &bracket, 1);
  json->comma = true;
}

void colockp_json_string(struct colockp_json *json, const char *key, const char *text) {
  begin_value(json, key);
  put_quoted(json, text);
}

void colockp_json_number(struct colockp_json *json, const char *key, int64_t value) {
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRId64, value);
  begin_value(json, key);
  if (value > EXACT_IN_A_DOUBLE || value < -EXACT_IN_A_DOUBLE)
    put_quoted(json, digits);
  else
    put(json, digits, strlen(digits));
}

void colockp_json_token(struct colockp_json *json, const char *key, uint64_t value) {
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRIu64, value);
  begin_value(json, key);
  put_quoted(json, digits);
}

void colockp_json_bool(struct colockp_json *json, const char *key, bool value) {
  begin_value(json, key);
  put(json, value ? "true" : "false", value ? 4 : 5);
}

void colockp_json_null(struct colockp_json *json, const char *key) {
  begin_value(json, key);
  put(json, "null", 4);
}

char *colockp_json_take(struct colockp_json *json) {
  if (!reserve(json, 0)) {
    colockp_json_free(json);
    return NULL;
  }
  char *text = json->text;
  text[json->length] = '\0';
  colockp_json_init(json);
  return text;
}

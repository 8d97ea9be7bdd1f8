/* json.h - a small writer of JSON into a buffer that grows.
 *
 * A failure (no memory) is remembered: every later call does nothing, and colockp_json_take says so. The caller keeps
 * the nesting right; commas are the writer's business. A key is NULL inside an array and for the outermost value.
 */
#ifndef COLOCKP_JSON_H
#define COLOCKP_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct colockp_json {
  char *text; /* NULL until the first byte */
  size_t length;
  size_t room;
  bool comma;  /* the next value follows another one */
  bool failed; /* out of memory */
};

void colockp_json_init(struct colockp_json *json);
void colockp_json_free(struct colockp_json *json);

void colockp_json_open(struct colockp_json *json, const char *key, char bracket);  /* '{' or '[' */
void colockp_json_close(struct colockp_json *json, char bracket);                  /* '}' or ']' */
/* Any bytes; what is no UTF-8 becomes U+FFFD. */
void colockp_json_string(struct colockp_json *json, const char *key, const char *text);
/* Beyond 2^53, where doubles end, as a string. */
void colockp_json_number(struct colockp_json *json, const char *key, int64_t value);
void colockp_json_token(struct colockp_json *json, const char *key, uint64_t value);    /* always a string of digits */
void colockp_json_bool(struct colockp_json *json, const char *key, bool value);
void colockp_json_null(struct colockp_json *json, const char *key);

/* The text, ended with NUL, now the caller's (colockp_system.free); NULL if memory ran out on the way. */
char *colockp_json_take(struct colockp_json *json);

#endif

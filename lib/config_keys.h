/* config_keys.h - the table of keys, and a configuration's change in the making. Shared by the config files of lib/
 * alone. */
#ifndef COLOCKP_CONFIG_KEYS_H
#define COLOCKP_CONFIG_KEYS_H

#include "config.h"
#include <stddef.h>

enum { COLOCKP_KEYS = 13 };
#define COLOCKP_REASON_SIZE 512
#define COLOCKP_VALUE_SIZE COLOCKP_LABEL_SIZE /* room for the longest value as colock_config_get writes it */

enum colockp_type { COLOCKP_BOOLEAN, COLOCKP_DURATION, COLOCKP_INTEGER, COLOCKP_CHOICE, COLOCKP_TEXT, COLOCKP_MODE };

struct colockp_key {
  colock_key shown;
  enum colockp_type type;
  size_t offset;              /* of its field in struct colockp_settings */
  int64_t least, most;        /* durations in ns; INT64_MAX: forever is possible */
  const char *const *choices; /* the field is the place in this list, which ends in NULL */
};
extern const struct colockp_key colockp_keys[COLOCKP_KEYS];

int colockp_key_find(const char *name); /* its place, or -1 */

/* "did you mean 'timeout'?", or the list of keys. Returns out. */
char *colockp_key_suggest(char *out, size_t size, const char *name);

/* Checks `text` and puts it into its field of `settings`, and as colock_config_get shows it into `value`. Returns 0, or
 * -1 with the reason (COLOCKP_REASON_SIZE) and all else untouched. */
int colockp_key_parse(const struct colockp_key *key, const char *text, struct colockp_settings *settings,
                      char value[COLOCKP_VALUE_SIZE], char *reason);

/* A change being made: a copy of the configuration that is committed whole or dropped. */
struct colockp_origin {
  const char *source; /* as colock_config_source says it: constant, or memory */
  char *memory;       /* to be freed with it; NULL */
};
struct colockp_draft {
  struct colockp_settings settings;
  char value[COLOCKP_KEYS][COLOCKP_VALUE_SIZE];
  struct colockp_origin origin[COLOCKP_KEYS];
  bool touched[COLOCKP_KEYS]; /* its origin is the draft's own, not the configuration's */
};

/* Sets key number `key`, once in a draft; `source` must be constant unless `memory` is it. Takes `memory` over on
 * success. Returns as colockp_key_parse. */
int colockp_draft_set(struct colockp_draft *draft, int key, const char *text, const char *source, char *memory,
                      char *reason);

/* Reads YAML text into the draft; `path`, already escaped, is for messages and origins. ECONFIG, ENOMEM. */
int colockp_yaml_read(struct colockp_draft *draft, const char *path, const char *text, size_t size);

/* Finds and reads a configuration file: `path`, or if NULL the first of the search path that is there. `*text` is NULL
 * if none is; else free it with colockp_system.free. `found` gets its path, escaped. ECONFIG, ENOMEM, EMFILE. */
int colockp_file_read(const char *path, char **text, size_t *size, char *found, size_t found_size);

#endif

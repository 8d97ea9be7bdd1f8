/* config.c - a configuration: defaults, then what files, environment and caller set. Not for two threads at once to
 * change.
 *
 * Every change is made in a draft, a copy, and committed whole: the first error leaves the configuration as it was.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "config.h"
#include "config_keys.h"
#include "error.h"
#include "system.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct colock_config {
  struct colockp_draft now; /* what is in force; here `touched` says nothing */
};

static void draft_begin(struct colockp_draft *draft, const colock_config *config) {
  *draft = config->now;
  memset(draft->touched, 0, sizeof draft->touched);
}

static void draft_drop(struct colockp_draft *draft) {
  for (int i = 0; i < COLOCKP_KEYS; i++)
    if (draft->touched[i])
      colockp_system.free(draft->origin[i].memory);
}

static void draft_commit(struct colockp_draft *draft, colock_config *config) {
  for (int i = 0; i < COLOCKP_KEYS; i++)
    if (draft->touched[i])
      colockp_system.free(config->now.origin[i].memory);
  config->now = *draft;
}

static int no_memory(void) { return colockp_fail(COLOCK_ENOMEM, 0, "no memory for the configuration"); }

int colock_config_new(colock_config **config) {
  char reason[COLOCKP_REASON_SIZE];
  if (!config)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_config_new: config is NULL");
  colock_config *made = colockp_system.malloc(sizeof *made);
  if (!made)
    return no_memory();
  memset(made, 0, sizeof *made);
  for (int i = 0; i < COLOCKP_KEYS; i++) {
    const char *initial = colockp_keys[i].shown.initial;
    if (strcmp(initial, "\"\"") == 0) /* the table has it as YAML writes it */
      initial = "";
    int parsed = colockp_draft_set(&made->now, i, initial, "default", NULL, reason);
    assert(parsed == 0);
    (void)parsed;
  }
  *config = made;
  return COLOCK_OK;
}

void colock_config_free(colock_config *config) {
  if (!config)
    return;
  for (int i = 0; i < COLOCKP_KEYS; i++)
    colockp_system.free(config->now.origin[i].memory);
  colockp_system.free(config);
}

int colock_config_load(colock_config *config, const char *path) {
  char found[COLOCKP_ESCAPED_PATH];
  char *text = NULL;
  size_t size = 0;
  if (!config || (path && !*path))
    return colockp_fail(COLOCK_EINVAL, 0, "colock_config_load: %s", config ? "path is empty" : "config is NULL");
  int code = colockp_file_read(path, &text, &size, found, sizeof found);
  if (code != COLOCK_OK || !text)
    return code;
  struct colockp_draft draft;
  draft_begin(&draft, config);
  code = colockp_yaml_read(&draft, found, text, size);
  if (code == COLOCK_OK)
    draft_commit(&draft, config);
  else
    draft_drop(&draft);
  colockp_system.free(text);
  return code;
}

/* COLOCK_TIMEOUT for timeout. */
static void variable_name(char *out, size_t size, const char *key) {
  size_t used = (size_t)snprintf(out, size, "COLOCK_");
  for (; *key && used + 1 < size; key++)
    out[used++] = *key >= 'a' && *key <= 'z' ? (char)(*key - 'a' + 'A') : *key;
  out[used] = '\0';
}

int colock_config_env(colock_config *config) {
  struct colockp_draft draft;
  char reason[COLOCKP_REASON_SIZE], name[32], shown[64];
  if (!config)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_config_env: config is NULL");
  draft_begin(&draft, config);
  for (int i = 0; i < COLOCKP_KEYS; i++) {
    variable_name(name, sizeof name, colockp_keys[i].shown.name);
    const char *value = secure_getenv(name); /* who runs us set-user-id does not decide how we lock */
    if (value && colockp_draft_set(&draft, i, value, "environment", NULL, reason) != 0) {
      draft_drop(&draft);
      return colockp_fail(COLOCK_ECONFIG, 0, "environment: %s='%s': %s", name,
                          colockp_escape(shown, sizeof shown, value), reason);
    }
  }
  draft_commit(&draft, config);
  return COLOCK_OK;
}

int colock_config_set(colock_config *config, const char *key, const char *value) {
  struct colockp_draft draft;
  char reason[COLOCKP_REASON_SIZE], shown_key[64], shown[64];
  if (!config || !key || !value)
    return colockp_fail(COLOCK_EINVAL, 0, "colock_config_set: %s is NULL", !config ? "config" : !key ? "key" : "value");
  colockp_escape(shown_key, sizeof shown_key, key);
  colockp_escape(shown, sizeof shown, value);
  int i = colockp_key_find(key);
  if (i < 0)
    return colockp_fail(COLOCK_ECONFIG, 0, "%s=%s: unknown key '%s'; %s", shown_key, shown, shown_key,
                        colockp_key_suggest(reason, sizeof reason, key));
  draft_begin(&draft, config);
  if (colockp_draft_set(&draft, i, value, "set", NULL, reason) != 0) {
    draft_drop(&draft);
    return colockp_fail(COLOCK_ECONFIG, 0, "%s=%s: %s", shown_key, shown, reason);
  }
  draft_commit(&draft, config);
  return COLOCK_OK;
}

const char *colock_config_get(const colock_config *config, const char *key) {
  int i = config && key ? colockp_key_find(key) : -1;
  return i < 0 ? NULL : config->now.value[i];
}

const char *colock_config_source(const colock_config *config, const char *key) {
  int i = config && key ? colockp_key_find(key) : -1;
  return i < 0 ? NULL : config->now.origin[i].source;
}

const struct colockp_settings *colockp_config_settings(const colock_config *config) { return &config->now.settings; }

int colockp_config_ambient(struct colockp_settings *settings) {
  colock_config *config;
  int code = colock_config_new(&config);
  if (code != COLOCK_OK)
    return code;
  if ((code = colock_config_load(config, NULL)) == COLOCK_OK && (code = colock_config_env(config)) == COLOCK_OK)
    *settings = config->now.settings;
  colock_config_free(config);
  return code;
}

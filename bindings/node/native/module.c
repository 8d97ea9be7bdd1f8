/* module.c - the addon's beginning and end, for each environment, and small conversions. */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

int64_t integer(napi_env env, napi_value value) {
  int64_t is = 0;
  napi_get_value_int64(env, value, &is);
  return is;
}

bool truth(napi_env env, napi_value value) {
  bool is = false;
  napi_get_value_bool(env, value, &is);
  return is;
}

bool is_absent(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  return type == napi_undefined || type == napi_null;
}

char *text_of(napi_env env, napi_value value) {
  bool bytes = false;
  size_t length = 0;
  void *data = NULL;
  napi_is_buffer(env, value, &bytes);
  if (bytes)
    napi_get_buffer_info(env, value, &data, &length);
  else
    napi_get_value_string_utf8(env, value, NULL, 0, &length);
  char *copy = malloc(length + 1);
  if (!copy)
    return NULL;
  copy[length] = '\0';
  if (bytes && length)
    memcpy(copy, data, length);
  else if (!bytes)
    napi_get_value_string_utf8(env, value, copy, length + 1, &length);
  return copy;
}

napi_value number(napi_env env, double value) {
  napi_value is = NULL;
  napi_create_double(env, value, &is);
  return is;
}

napi_value text(napi_env env, const char *bytes) {
  napi_value is = NULL;
  napi_create_string_utf8(env, bytes, NAPI_AUTO_LENGTH, &is);
  return is;
}

void set(napi_env env, napi_value object, const char *name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

struct addon *addon_of(napi_env env, napi_callback_info info, size_t *count, napi_value *arguments) {
  void *addon = NULL;
  napi_get_cb_info(env, info, count, arguments, NULL, &addon);
  return addon;
}

/* ---- codes ---- */

static const struct {
  int code;
  const char *name;
} codes[] = {
  { COLOCK_EBUSY, "EBUSY" },         { COLOCK_ETIMEDOUT, "ETIMEDOUT" }, { COLOCK_EDEADLK, "EDEADLK" },
  { COLOCK_ECANCELED, "ECANCELED" }, { COLOCK_EINTR, "EINTR" },         { COLOCK_EREVOKED, "EREVOKED" },
  { COLOCK_ELOST, "ELOST" },         { COLOCK_EFORKED, "EFORKED" },     { COLOCK_EINVAL, "EINVAL" },
  { COLOCK_EACCES, "EACCES" },       { COLOCK_ENOENT, "ENOENT" },       { COLOCK_EFOREIGN, "EFOREIGN" },
  { COLOCK_EVERSION, "EVERSION" },   { COLOCK_ECORRUPT, "ECORRUPT" },   { COLOCK_ENOLOCKS, "ENOLOCKS" },
  { COLOCK_ENOSPC, "ENOSPC" },       { COLOCK_ECONFIG, "ECONFIG" },     { COLOCK_ESTORE, "ESTORE" },
  { COLOCK_EMFILE, "EMFILE" },       { COLOCK_ENOMEM, "ENOMEM" },       { COLOCK_ESYSTEM, "ESYSTEM" },
};

static napi_value code_names(napi_env env) {
  napi_value names;
  napi_create_object(env, &names);
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    napi_set_element(env, names, (uint32_t)codes[i].code, text(env, codes[i].name));
  return names;
}

/* {timeout: "duration", ...} */
static napi_value keys(napi_env env) {
  napi_value all;
  const colock_key *key;
  napi_create_object(env, &all);
  for (size_t i = 0; (key = colock_config_key(i)); i++)
    set(env, all, key->name, text(env, key->type));
  return all;
}

/* last() -> [message, errno] of the call before it */
static CALL(last) {
  napi_value answer;
  (void)info;
  napi_create_array_with_length(env, 2, &answer);
  napi_set_element(env, answer, 0, text(env, colock_last_message()));
  napi_set_element(env, answer, 1, number(env, colock_last_errno()));
  return answer;
}

/* ---- the log hook: one for the process, of the environment that set it last ---- */

struct line {
  struct message message;
  int level;
  char text[];
};
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct addon *log_owner;

static void drop_line(struct addon *addon, struct message *message) {
  (void)addon;
  free(message);
}

static void tell_line(struct addon *addon, struct message *message) {
  struct line *line = (struct line *)message;
  tell(addon, TELL_LOG, line->level, text(addon->env, line->text));
  free(line);
}

static void on_log(int level, const char *said, void *unused) {
  (void)unused;
  size_t length = strlen(said) + 1;
  struct line *line = malloc(sizeof *line + length);
  if (!line)
    return;
  line->message = (struct message){ .run = tell_line, .drop = drop_line };
  line->level = level;
  memcpy(line->text, said, length);
  pthread_mutex_lock(&log_mutex); /* its owner does not end meanwhile */
  if (!log_owner || !post(log_owner, &line->message))
    free(line);
  pthread_mutex_unlock(&log_mutex);
}

static void own_log(struct addon *addon, bool on) {
  pthread_mutex_lock(&log_mutex);
  if (on)
    log_owner = addon;
  else if (log_owner == addon)
    log_owner = NULL;
  bool any = log_owner;
  pthread_mutex_unlock(&log_mutex);
  colock_set_log(any ? on_log : NULL, NULL);
}

/* log(on) */
static CALL(listen) {
  napi_value argument;
  size_t count = 1;
  struct addon *addon = addon_of(env, info, &count, &argument);
  own_log(addon, truth(env, argument));
  return NULL;
}

/* keep(more): 1 before a promise that the process has to stay for, -1 when it is settled */
static CALL(stay) {
  napi_value argument;
  size_t count = 1;
  struct addon *addon = addon_of(env, info, &count, &argument);
  keep(addon, (int)integer(env, argument));
  return NULL;
}

/* ---- beginning and end ---- */

/* The main thread ends with the process, and the kernel frees what it held: other processes are told of a writer that
 * died holding. A worker's holds have to be given up here. */
static void end(void *argument) {
  struct addon *addon = argument;
  own_log(addon, false);
  post_end(addon);
  if (!addon->worker)
    return;
  napi_release_threadsafe_function(addon->wake, napi_tsfn_release);
  pump_end(addon);
  locks_cancel(addon);
  jobs_end(addon);
  post_drain(addon);
  waits_end(addon);
  locks_end(addon);
  table_free(&addon->waits);
  table_free(&addon->holds);
  table_free(&addon->locks);
  pthread_cond_destroy(&addon->changed);
  pthread_mutex_destroy(&addon->mutex);
  free(addon->ready);
  free(addon);
}

/* begin(dispatch, is a worker), before anything else */
static CALL(begin) {
  napi_value arguments[2];
  size_t count = 2;
  struct addon *addon = addon_of(env, info, &count, arguments);
  napi_create_reference(env, arguments[0], 1, &addon->dispatch);
  addon->worker = truth(env, arguments[1]);
  return NULL;
}

static const struct {
  const char *name;
  napi_callback call;
} calls[] = {
  { "begin", begin },
  { "last", last },
  { "log", listen },
  { "keep", stay },
  { "open", lock_open },
  { "close", lock_close },
  { "cancel", lock_cancel },
  { "uses", lock_uses },
  { "releaseIdle", lock_release_idle },
  { "suspended", lock_suspended },
  { "acquire", wait_acquire },
  { "step", wait_step },
  { "leave", wait_leave },
  { "release", hold_release },
  { "token", hold_token },
  { "lastToken", hold_last_token },
  { "state", hold_state },
  { "holdId", hold_name },
  { "check", hold_check },
  { "renew", hold_renew },
  { "touch", hold_touch },
  { "whole", hold_whole },
  { "recovered", hold_recovered },
  { "downgrade", hold_downgrade },
  { "upgrade", hold_upgrade },
  { "yield", hold_yield },
  { "watch", hold_watch },
  { "status", report_read },
  { "look", report_look },
  { "force", report_force },
};

NAPI_MODULE_INIT() {
  struct addon *addon = calloc(1, sizeof *addon);
  if (!addon) {
    napi_throw_error(env, "ENOMEM", "no memory");
    return NULL;
  }
  addon->env = env;
  addon->thread = pthread_self();
  addon->epoll = addon->stop = -1;
  post_begin(addon);
  napi_add_env_cleanup_hook(env, end, addon); /* after the thread-safe function's own, so that it is called before */
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    napi_value function;
    napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, calls[i].call, addon, &function);
    set(env, exports, calls[i].name, function);
  }
  set(env, exports, "codes", code_names(env));
  set(env, exports, "keys", keys(env));
  set(env, exports, "version", number(env, colock_version()));
  return exports;
}

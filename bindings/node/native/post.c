/* post.c - from other threads to the JS thread.
 *
 * One function of Node-API may be called from any thread, the thread-safe function `wake`. It carries nothing: what it
 * announces lies in the addon, and one call is under way at a time, however much there is to tell. It does not keep
 * the process alive by itself: keep() says when it has to.
 */
#include "addon.h"

#include <stdlib.h>
#include <string.h>

/* mutex is held. */
static void announce(struct addon *addon) {
  if (!addon->called)
    addon->called = napi_call_threadsafe_function(addon->wake, NULL, napi_tsfn_nonblocking) == napi_ok;
}

static bool append(struct addon *addon, struct message *message, bool always) {
  pthread_mutex_lock(&addon->mutex);
  bool open = !addon->closed;
  if (open || always) {
    message->next = NULL;
    *addon->last = message;
    addon->last = &message->next;
  }
  if (open)
    announce(addon);
  pthread_mutex_unlock(&addon->mutex);
  return open;
}

bool post(struct addon *addon, struct message *message) { return append(addon, message, false); }

void post_always(struct addon *addon, struct message *message) { append(addon, message, true); }

void post_ready(struct addon *addon, uint64_t event) {
  pthread_mutex_lock(&addon->mutex);
  if (!addon->closed) {
    addon->ready[addon->ready_used++] = event;
    announce(addon);
  }
  pthread_mutex_unlock(&addon->mutex);
}

void tell(struct addon *addon, int kind, double id, napi_value detail) {
  napi_env env = addon->env;
  napi_value dispatch, global, arguments[3];
  if (napi_get_reference_value(env, addon->dispatch, &dispatch) != napi_ok || napi_get_global(env, &global) != napi_ok)
    return;
  arguments[0] = number(env, kind);
  arguments[1] = number(env, id);
  arguments[2] = detail;
  if (napi_call_function(env, global, dispatch, detail ? 3 : 2, arguments, NULL) != napi_pending_exception)
    return;
  napi_value thrown; /* by somebody's callback; as in an event listener */
  if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok)
    napi_fatal_exception(env, thrown);
}

static struct message *take(struct addon *addon, uint64_t **ready, size_t *count) {
  pthread_mutex_lock(&addon->mutex);
  struct message *first = addon->first;
  addon->first = NULL;
  addon->last = &addon->first;
  *count = addon->ready_used;
  *ready = *count ? malloc(*count * sizeof **ready) : NULL;
  if (*ready) {
    memcpy(*ready, addon->ready, *count * sizeof **ready);
    addon->ready_used = 0;
  } else {
    *count = 0;
  }
  addon->called = false;
  if (addon->ready_used && !addon->closed)
    announce(addon); /* no memory now: again */
  pthread_mutex_unlock(&addon->mutex);
  return first;
}

static void tell_all(napi_env env, napi_value unused, void *context, void *data) {
  struct addon *addon = context;
  (void)unused, (void)data;
  if (!env)
    return; /* the environment is at its end: post_end drops what is left */
  uint64_t *ready;
  size_t count;
  struct message *next, *message = take(addon, &ready, &count);
  napi_handle_scope scope;
  for (size_t i = 0; i < count; i++) {
    napi_open_handle_scope(env, &scope);
    tell(addon, ready[i] & 1 ? TELL_HOLD : TELL_WAIT, (double)(ready[i] >> 1), NULL);
    napi_close_handle_scope(env, scope);
  }
  free(ready);
  for (; message; message = next) {
    next = message->next;
    napi_open_handle_scope(env, &scope);
    message->run(addon, message);
    napi_close_handle_scope(env, scope);
  }
}

void keep(struct addon *addon, int more) {
  bool before = addon->pending != 0;
  addon->pending += (size_t)more;
  if (before == (addon->pending != 0))
    return;
  if (before)
    napi_unref_threadsafe_function(addon->env, addon->wake);
  else
    napi_ref_threadsafe_function(addon->env, addon->wake);
}

void post_begin(struct addon *addon) {
  napi_value name = text(addon->env, "colock");
  pthread_mutex_init(&addon->mutex, NULL);
  pthread_cond_init(&addon->changed, NULL);
  addon->last = &addon->first;
  napi_create_threadsafe_function(addon->env, NULL, NULL, name, 0, 1, NULL, NULL, addon, tell_all, &addon->wake);
  napi_unref_threadsafe_function(addon->env, addon->wake);
}

void post_end(struct addon *addon) {
  pthread_mutex_lock(&addon->mutex);
  addon->closed = true;
  suspends_end(addon);
  pthread_cond_broadcast(&addon->changed);
  pthread_mutex_unlock(&addon->mutex);
}

void post_drain(struct addon *addon) {
  struct message *next;
  for (struct message *message = addon->first; message; message = next) {
    next = message->next;
    message->drop(addon, message);
  }
}

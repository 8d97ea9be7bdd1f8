/* job.c - calls that may block, each in a thread of its own.
 *
 * libuv's pool will not do: it has four threads for everything, file operations included, and four upgrades that wait
 * would stop the very work that ends their wait.
 */
#include "addon.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void finish(struct addon *addon, struct job *job) {
  if (job->end)
    job->end(job);
  free(job->text);
  free(job);
  keep(addon, -1);
}

static void settle(struct addon *addon, struct message *message) {
  struct job *job = (struct job *)message; /* its first member */
  napi_env env = addon->env;
  napi_value answer, value = NULL;
  napi_create_array_with_length(env, 3, &answer);
  if (job->value)
    value = job->value(addon, job);
  if (job->code)
    value = text(env, job->text ? job->text : colock_strerror(job->code));
  napi_set_element(env, answer, 0, number(env, job->code));
  if (value)
    napi_set_element(env, answer, 1, value);
  napi_set_element(env, answer, 2, number(env, job->error));
  napi_resolve_deferred(env, job->deferred, answer);
  finish(addon, job);
}

static void drop(struct addon *addon, struct message *message) {
  struct job *job = (struct job *)message;
  (void)addon;
  if (job->end)
    job->end(job);
  free(job->text);
  free(job);
}

/* What the library says of a failure belongs to the thread that failed. */
static void note_failure(struct job *job, int code) {
  job->code = code;
  if (code) {
    job->text = strdup(colock_last_message());
    job->error = colock_last_errno();
  }
}

static void *work(void *argument) {
  struct job *job = argument;
  struct addon *addon = job->addon;
  note_failure(job, job->work(job));
  post_always(addon, &job->message);
  pthread_mutex_lock(&addon->mutex);
  addon->jobs--;
  pthread_cond_broadcast(&addon->changed); /* under the mutex: jobs_end frees the addon */
  pthread_mutex_unlock(&addon->mutex);
  return NULL;
}

static int begin(struct addon *addon, struct job *job) {
  pthread_t thread;
  sigset_t all, before; /* signals are the JS thread's */
  sigfillset(&all);
  pthread_mutex_lock(&addon->mutex);
  addon->jobs++;
  pthread_mutex_unlock(&addon->mutex);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&thread, NULL, work, job);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) {
    pthread_detach(thread);
    return 0;
  }
  pthread_mutex_lock(&addon->mutex);
  addon->jobs--;
  pthread_mutex_unlock(&addon->mutex);
  return error;
}

napi_value job_start(struct addon *addon, struct job *job, int code) {
  napi_value promise;
  job->addon = addon;
  job->message.run = settle;
  job->message.drop = drop;
  napi_create_promise(addon->env, &job->deferred, &promise);
  keep(addon, 1);
  int error = code ? 0 : begin(addon, job);
  if (code)
    note_failure(job, code);
  if (error) {
    job->code = COLOCK_ESYSTEM;
    job->error = error;
    job->text = strdup("no thread could be started");
  }
  if (code || error)
    settle(addon, &job->message);
  return promise;
}

void jobs_end(struct addon *addon) {
  pthread_mutex_lock(&addon->mutex);
  while (addon->jobs)
    pthread_cond_wait(&addon->changed, &addon->mutex);
  pthread_mutex_unlock(&addon->mutex);
}

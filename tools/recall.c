/* recall.c - asking those who only keep the lock to let go.
 *
 * They let go for somebody who waits, so this waits for the lock as anybody would. What is wrong with the configuration
 * does not matter here: of all settings only those about file systems are of use.
 */
#include "tool.h"

static int open_lock(const char *path, colock **lock) {
  colock_config *config = NULL;
  int code = colock_config_new(&config);
  if (code != COLOCK_OK)
    return code;
  colock_config_load(config, NULL);
  colock_config_env(config);
  colock_config_set(config, "enabled", "true");
  colock_config_set(config, "auto_release", "false"); /* no thread for what is given back at once */
  code = colock_open(lock, path, config);
  colock_config_free(config);
  return code;
}

int tool_recall(const char *path, const char *purpose, int64_t timeout_ms) {
  colock *lock = NULL;
  colock_hold *hold = NULL;
  colock_request request;
  int code = open_lock(path, &lock);
  if (code != COLOCK_OK)
    return code;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = timeout_ms;
  request.purpose = purpose;
  request.on_wait = tool_notice_report;
  code = colock_acquire_with(lock, &request, &hold);
  if (code == COLOCK_OK)
    colock_release(hold); /* whatever it says: they have let go */
  colock_close(lock);
  return code;
}

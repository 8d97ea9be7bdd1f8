/* config_keys.c - the one table of keys, and looking names up in it.
 *
 * Whatever says something about keys (YAML, environment, --set, conf/colock.yaml, the manual page) follows this table
 * or is checked against it. A new key is a field in struct colockp_settings and a row here.
 */
#include "config_keys.h"
#include "log.h"
#include "nearest.h"
#include <stdio.h>
#include <string.h>

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define AT(field) offsetof(struct colockp_settings, field)

static const char *const stale_actions[] = {[COLOCKP_STALE_REPORT] = "report", [COLOCKP_STALE_BREAK] = "break", NULL};
static const char *const carriers[] = {[COLOCKP_CHOOSE_AUTO] = "auto", [COLOCKP_CHOOSE_MAPPED] = "mapped", NULL};
static const char *const verbosities[] = {
  [COLOCKP_QUIET] = "quiet", [COLOCKP_ERROR] = "error", [COLOCKP_WARNING] = "warning",
  [COLOCKP_INFO] = "info",   [COLOCKP_DEBUG] = "debug", NULL,
};

const struct colockp_key colockp_keys[COLOCKP_KEYS] = {
  {{"enabled", "boolean", "true, false", "true", "false: every lock is granted at once and nothing is locked"},
   COLOCKP_BOOLEAN, AT(enabled), 0, 1, NULL},
  {{"timeout", "duration", "0 to forever", "5s", "longest wait for a lock; 0 tries once"},
   COLOCKP_DURATION, AT(timeout_ns), 0, INT64_MAX, NULL},
  {{"retry_delay", "duration", "1ms to 10s", "100ms", "longest sleep of the first in line if nobody wakes it"},
   COLOCKP_DURATION, AT(retry_delay_ns), MS, 10 * SECOND, NULL},
  {{"stale_timeout", "duration", "1ms to forever", "30s",
    "how long a live holder may go without renewing before it counts as stale"},
   COLOCKP_DURATION, AT(stale_timeout_ns), MS, INT64_MAX, NULL},
  {{"stale_action", "choice", "report, break", "report",
    "what waiters do about a stale holder: tell of it, or force the lock"},
   COLOCKP_CHOICE, AT(stale_action), 0, 0, stale_actions},
  {{"auto_release", "boolean", "true, false", "false", "keep a released lock until it idles or somebody waits for it"},
   COLOCKP_BOOLEAN, AT(auto_release), 0, 1, NULL},
  {{"idle_timeout", "duration", "1ms to forever", "1s", "how long a kept lock may be unused"},
   COLOCKP_DURATION, AT(idle_timeout_ns), MS, INT64_MAX, NULL},
  {{"notify_after", "duration", "1ms to forever", "1s",
    "how long to wait before telling so; then at doubling intervals"},
   COLOCKP_DURATION, AT(notify_after_ns), MS, INT64_MAX, NULL},
  {{"verbosity", "choice", "quiet, error, warning, info, debug", "warning", "what is logged"},
   COLOCKP_CHOICE, AT(verbosity), 0, 0, verbosities},
  {{"label", "text", "UTF-8, cut to 63 bytes", "\"\"", "how status names this process; \"\" is the program's name"},
   COLOCKP_TEXT, AT(label), 0, 0, NULL},
  {{"file_mode", "mode", "0600 to 0777, octal", "0600", "permissions of a new lock file, under the umask"},
   COLOCKP_MODE, AT(file_mode), 0600, 0777, NULL},
  {{"carrier", "choice", "auto, mapped", "auto",
    "auto: refuse file systems that colock does not know; mapped: take them as local"},
   COLOCKP_CHOICE, AT(carrier), 0, 0, carriers},
  {{"seats", "integer", "1 to 1024", "1", "seats opened with the lock, for programs that then drop privileges"},
   COLOCKP_INTEGER, AT(seats), 1, 1024, NULL},
};

int colockp_key_find(const char *name) {
  for (int i = 0; i < COLOCKP_KEYS; i++)
    if (strcmp(colockp_keys[i].shown.name, name) == 0)
      return i;
  return -1;
}

const colock_key *colock_config_key(size_t index) {
  return index < COLOCKP_KEYS ? &colockp_keys[index].shown : NULL;
}

char *colockp_key_suggest(char *out, size_t size, const char *name) {
  const char *names[COLOCKP_KEYS + 1] = {NULL};
  for (int i = 0; i < COLOCKP_KEYS; i++)
    names[i] = colockp_keys[i].shown.name;
  const char *near = colockp_nearest(name, names);
  if (near) {
    snprintf(out, size, "did you mean '%s'?", near);
    return out;
  }
  size_t used = (size_t)snprintf(out, size, "the keys are");
  for (int i = 0; i < COLOCKP_KEYS && used < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s %s", i ? "," : "", names[i]);
  return out;
}

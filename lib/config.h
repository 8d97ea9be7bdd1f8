/* config.h - one table of keys: name, type, range, default, help. It drives YAML, environment, --set, `colock config`
 * and conf/colock.yaml. */
#ifndef COLOCKP_CONFIG_H
#define COLOCKP_CONFIG_H

#include "colock.h"
#include <stdbool.h>
#include <stdint.h>

enum { COLOCKP_STALE_REPORT = 0, COLOCKP_STALE_BREAK = 1 };
enum { COLOCKP_CHOOSE_AUTO = 0, COLOCKP_CHOOSE_MAPPED = 1 }; /* settings.carrier; not the numbers that a file records */
#define COLOCKP_LABEL_SIZE 64

/* The typed values, checked and in range. Times in ns; INT64_MAX is for ever. */
struct colockp_settings {
  bool    enabled;
  int64_t timeout_ns;       /* 0: try once */
  int64_t retry_delay_ns;
  int64_t stale_timeout_ns;
  int     stale_action;
  bool    auto_release;
  int64_t idle_timeout_ns;
  int64_t notify_after_ns;
  int     verbosity;        /* log.h */
  char    label[COLOCKP_LABEL_SIZE]; /* "" : the program's name */
  unsigned file_mode;
  int     carrier;
  int     seats;
};

const struct colockp_settings *colockp_config_settings(const colock_config *config);

/* The settings of a lock opened with config NULL: defaults, then the first YAML file found, then the environment. */
int colockp_config_ambient(struct colockp_settings *settings);

#endif

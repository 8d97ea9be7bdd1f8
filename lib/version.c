/* version.c - the version as a number, read from the one that configure was given. */
#include "colock.h"

#ifndef PACKAGE_VERSION
#error "PACKAGE_VERSION comes from configure"
#endif

int colock_version(void) {
  int version = 0, part = 0, parts = 1;
  for (const char *c = PACKAGE_VERSION; *c && parts <= 3; c++) {
    if (*c >= '0' && *c <= '9') {
      part = part * 10 + (*c - '0');
    } else if (*c == '.' && parts < 3) {
      version = (version + part) * 100;
      part = 0;
      parts++;
    } else {
      break; /* "-rc1" and the like */
    }
  }
  for (version += part; parts < 3; parts++)
    version *= 100;
  return version;
}

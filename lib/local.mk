# lib/ - the library. It is built once, as a convenience library that tests and the command link statically;
# the installed library is made of the same objects, and only what lib/colock.map names can be seen from outside.

include_HEADERS += include/colock.h

noinst_LTLIBRARIES += libcolockp.la
libcolockp_la_SOURCES = \
  %D%/acquire.c \
  %D%/acquire.h \
  %D%/alarm.c \
  %D%/alarm.h \
  %D%/broken.h \
  %D%/cache.c \
  %D%/cache.h \
  %D%/clock.h \
  %D%/config.c \
  %D%/config.h \
  %D%/config_file.c \
  %D%/config_keys.c \
  %D%/config_keys.h \
  %D%/config_value.c \
  %D%/config_yaml.c \
  %D%/create.c \
  %D%/create.h \
  %D%/deadlock.c \
  %D%/duration.c \
  %D%/duration.h \
  %D%/entry.c \
  %D%/error.c \
  %D%/error.h \
  %D%/event.c \
  %D%/event.h \
  %D%/filesystem.c \
  %D%/filesystem.h \
  %D%/force.c \
  %D%/force.h \
  %D%/helper.c \
  %D%/helper.h \
  %D%/hold.c \
  %D%/hold.h \
  %D%/identity.c \
  %D%/identity.h \
  %D%/json.c \
  %D%/json.h \
  %D%/lane.c \
  %D%/lane.h \
  %D%/layout.h \
  %D%/leave.c \
  %D%/leave.h \
  %D%/lock.c \
  %D%/lock.h \
  %D%/log.c \
  %D%/log.h \
  %D%/look.c \
  %D%/look.h \
  %D%/look_slot.c \
  %D%/look_slot.h \
  %D%/nearest.c \
  %D%/nearest.h \
  %D%/open.c \
  %D%/pool.c \
  %D%/probe.h \
  %D%/process.c \
  %D%/process.h \
  %D%/queue.c \
  %D%/queue.h \
  %D%/queue_read.c \
  %D%/queue_read.h \
  %D%/range.c \
  %D%/range.h \
  %D%/recall.c \
  %D%/recall.h \
  %D%/region.c \
  %D%/region.h \
  %D%/report.c \
  %D%/report.h \
  %D%/seat.c \
  %D%/seat.h \
  %D%/stats.c \
  %D%/stats.h \
  %D%/stats_read.c \
  %D%/stats_reset.c \
  %D%/stopped.c \
  %D%/store.c \
  %D%/stuck.c \
  %D%/stuck.h \
  %D%/system.c \
  %D%/system.h \
  %D%/thread.c \
  %D%/thread.h \
  %D%/token.c \
  %D%/token.h \
  %D%/totals.c \
  %D%/totals.h \
  %D%/trace.c \
  %D%/trace.h \
  %D%/upgrade.c \
  %D%/usual.c \
  %D%/usual.h \
  %D%/utf8.c \
  %D%/utf8.h \
  %D%/version.c \
  %D%/wait.c \
  %D%/wait.h \
  %D%/waiting.c \
  %D%/watch.c \
  %D%/watch.h
libcolockp_la_CFLAGS = $(AM_CFLAGS) $(YAML_CFLAGS)

lib_LTLIBRARIES += libcolock.la
libcolock_la_SOURCES =
libcolock_la_LIBADD = libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)
# nodelete: threads of ours may run, and end, after a program has let go of a library that it loaded.
libcolock_la_LDFLAGS = -no-undefined -version-info $(COLOCK_VERSION_INFO) -Wl,-z,nodelete \
  -Wl,--version-script=$(top_srcdir)/lib/colock.map
EXTRA_libcolock_la_DEPENDENCIES = %D%/colock.map
EXTRA_DIST += %D%/colock.map

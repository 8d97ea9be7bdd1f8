# test/torture/ - processes and threads at random; see torture.h.
#
#   make check            includes 20 s of it, and proof that it can fail
#   make check-torture    for TIME seconds (600): builds with and without polling in turn, a new seed each time
#
# The files of lib/ that ask broken.h are compiled anew for each variant and stand before the library in the link, which
# then gives the rest.

TORTURE_SOURCES = \
  %D%/actor.c \
  %D%/history.c \
  %D%/jolt.c \
  %D%/keeper.c \
  %D%/ledger.c \
  %D%/step.c \
  %D%/torture.c \
  %D%/torture.h \
  %D%/verdict.c \
  %D%/warden.c

BROKEN_SOURCES = \
  lib/cache.c \
  lib/helper.c \
  lib/lane.c \
  lib/queue.c \
  lib/stuck.c \
  lib/wait.c

TORTURE_LIBS = libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)
TORTURES = \
  %D%/torture \
  %D%/torture_broken_13 \
  %D%/torture_broken_18 \
  %D%/torture_broken_3 \
  %D%/torture_no_polling \
  %D%/torture_watch

%C%_torture_SOURCES = $(TORTURE_SOURCES)
%C%_torture_LDADD = $(TORTURE_LIBS)

%C%_torture_no_polling_SOURCES = $(TORTURE_SOURCES) $(BROKEN_SOURCES)
%C%_torture_no_polling_CPPFLAGS = $(AM_CPPFLAGS) -DCOLOCKP_NO_POLLING -DCOLOCKP_NO_WATCH
%C%_torture_no_polling_LDADD = $(TORTURE_LIBS)

# without polling, but with the watch: what the dead leave undone
%C%_torture_watch_SOURCES = $(TORTURE_SOURCES) $(BROKEN_SOURCES)
%C%_torture_watch_CPPFLAGS = $(AM_CPPFLAGS) -DCOLOCKP_NO_POLLING
%C%_torture_watch_LDADD = $(TORTURE_LIBS)

# three of broken.h that are quick to see: a wake-up lost, newcomers before the queue, and a recall lost
%C%_torture_broken_3_SOURCES = $(TORTURE_SOURCES) $(BROKEN_SOURCES)
%C%_torture_broken_3_CPPFLAGS = $(AM_CPPFLAGS) -DCOLOCKP_NO_POLLING -DCOLOCKP_NO_WATCH -DCOLOCKP_BREAK=3
%C%_torture_broken_3_LDADD = $(TORTURE_LIBS)
%C%_torture_broken_13_SOURCES = $(TORTURE_SOURCES) $(BROKEN_SOURCES)
%C%_torture_broken_13_CPPFLAGS = $(AM_CPPFLAGS) -DCOLOCKP_BREAK=13
%C%_torture_broken_13_LDADD = $(TORTURE_LIBS)
%C%_torture_broken_18_SOURCES = $(TORTURE_SOURCES) $(BROKEN_SOURCES)
%C%_torture_broken_18_CPPFLAGS = $(AM_CPPFLAGS) -DCOLOCKP_NO_POLLING -DCOLOCKP_NO_WATCH -DCOLOCKP_BREAK=18
%C%_torture_broken_18_LDADD = $(TORTURE_LIBS)

if TESTS_ENABLED
check_PROGRAMS += $(TORTURES)
endif
TOOL_TESTS += %D%/test_torture.sh
EXTRA_DIST += %D%/long.sh
CLEANFILES += %D%/*.history

TIME = 600
.PHONY: check-torture
check-torture: %D%/torture$(EXEEXT) %D%/torture_no_polling$(EXEEXT) %D%/torture_watch$(EXEEXT)
	$(SHELL) $(srcdir)/%D%/long.sh %D% $(TIME)

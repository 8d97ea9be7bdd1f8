# test/interleave/ - schedules, and what plays them. See README.

test_test_interleave_SOURCES = \
  test/test_interleave.c \
  %D%/actor.c \
  %D%/actor.h \
  %D%/cast.c \
  %D%/cast.h \
  %D%/play.c \
  %D%/play.h \
  %D%/spec.c \
  %D%/spec.h \
  %D%/trace.c \
  %D%/trace.h
test_test_interleave_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/test -DINTERLEAVE_TOP='"$(abs_top_srcdir)"'

EXTRA_DIST += %D%/README \
  %D%/cancel.spec \
  %D%/contended.spec \
  %D%/deadlock.spec \
  %D%/downgrade.spec \
  %D%/force.spec \
  %D%/force_stopped.spec \
  %D%/hand_over.spec \
  %D%/holder_killed.spec \
  %D%/holder_stopped.spec \
  %D%/kept.spec \
  %D%/phase.spec \
  %D%/priority.spec \
  %D%/process_exit.spec \
  %D%/race_bell.spec \
  %D%/race_flag.spec \
  %D%/race_generation.spec \
  %D%/race_helper.spec \
  %D%/race_keep.spec \
  %D%/race_publish.spec \
  %D%/race_reap.spec \
  %D%/race_release.spec \
  %D%/race_upgrade.spec \
  %D%/readers_together.spec \
  %D%/rebuild.spec \
  %D%/thread_exit.spec \
  %D%/timeout.spec \
  %D%/upgrade.spec \
  %D%/waiter_killed.spec \
  %D%/waiter_stopped.spec \
  %D%/writer_not_starved.spec \
  %D%/yield.spec

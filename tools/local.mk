# tools/ - the command. It has the library within itself, so that a lock can be looked at and repaired whatever version
# of the library is installed; it uses the public header only.

bin_PROGRAMS += colock colock-top
colock_SOURCES = %D%/main.c
colock_LDADD = %D%/libtools.a libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)
colock_top_SOURCES = %D%/top_main.c
colock_top_LDADD = %D%/libtools.a %D%/libscreen.a libcolockp.la $(YAML_LIBS) $(NCURSES_LIBS) $(PTHREAD_LIBS)

# All but the main()s, so that a suite can link what it tests.
noinst_LIBRARIES += %D%/libtools.a
%C%_libtools_a_SOURCES = \
  %D%/child.c \
  %D%/config.c \
  %D%/figures.c \
  %D%/kill.c \
  %D%/log.c \
  %D%/notice.c \
  %D%/options.c \
  %D%/people.c \
  %D%/prometheus.c \
  %D%/recall.c \
  %D%/render.c \
  %D%/replace.c \
  %D%/run.c \
  %D%/stats.c \
  %D%/status.c \
  %D%/tool.h \
  %D%/top.c \
  %D%/top.h \
  %D%/top_detail.c \
  %D%/top_draw.c \
  %D%/top_keys.c \
  %D%/top_live.c \
  %D%/top_model.c \
  %D%/top_program.c \
  %D%/top_rates.c \
  %D%/top_text.c \
  %D%/top_unlock.c \
  %D%/unlock.c \
  %D%/wait.c

# The one file that knows ncurses, with the flags that go with it; or the one that says that there is none.
noinst_LIBRARIES += %D%/libscreen.a
%C%_libscreen_a_CPPFLAGS = $(AM_CPPFLAGS) $(NCURSES_CFLAGS)
if HAVE_NCURSES
%C%_libscreen_a_SOURCES = %D%/top_screen.c
else
%C%_libscreen_a_SOURCES = %D%/top_no_screen.c
endif

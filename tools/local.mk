# tools/ - the command. It has the library within itself, so that a lock can be looked at and repaired whatever version of
# the library is installed; it uses the public header only.

bin_PROGRAMS += colock
colock_SOURCES = \
  %D%/child.c \
  %D%/config.c \
  %D%/kill.c \
  %D%/main.c \
  %D%/notice.c \
  %D%/options.c \
  %D%/people.c \
  %D%/recall.c \
  %D%/render.c \
  %D%/run.c \
  %D%/status.c \
  %D%/tool.h \
  %D%/unlock.c \
  %D%/wait.c
colock_LDADD = libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)

# examples/ - small programs on the public header alone. They are built with everything else, never installed.

EXTRA_DIST += %D%/README
noinst_PROGRAMS += %D%/01_first %D%/05_add_one %D%/06_long_scan %D%/07_epoll
%C%_01_first_LDADD = $(EXAMPLE_LIBS)
%C%_05_add_one_LDADD = $(EXAMPLE_LIBS)
%C%_06_long_scan_LDADD = $(EXAMPLE_LIBS)
%C%_07_epoll_LDADD = $(EXAMPLE_LIBS)

EXTRA_DIST += %D%/02_sqlite.c %D%/03_tasks.c %D%/04_sqlite_shared.c
if HAVE_SQLITE
noinst_PROGRAMS += %D%/02_sqlite %D%/03_tasks %D%/04_sqlite_shared
%C%_02_sqlite_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_02_sqlite_LDADD = $(EXAMPLE_LIBS) $(SQLITE_LIBS)
%C%_03_tasks_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_03_tasks_LDADD = $(EXAMPLE_LIBS) $(SQLITE_LIBS)
%C%_04_sqlite_shared_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_04_sqlite_shared_LDADD = $(EXAMPLE_LIBS) $(SQLITE_LIBS)
endif

EXAMPLE_LIBS = libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)

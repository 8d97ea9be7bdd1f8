# examples/ - small programs on the public header alone. They are built with everything else, never installed.

noinst_PROGRAMS += %D%/add_one %D%/first %D%/long_scan
%C%_add_one_LDADD = $(EXAMPLE_LIBS)
%C%_first_LDADD = $(EXAMPLE_LIBS)
%C%_long_scan_LDADD = $(EXAMPLE_LIBS)

# The load that quickstart shows.
EXTRA_DIST += %D%/sqlite_shared.c
if HAVE_SQLITE
noinst_PROGRAMS += %D%/sqlite_shared
%C%_sqlite_shared_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
%C%_sqlite_shared_LDADD = $(EXAMPLE_LIBS) $(SQLITE_LIBS)
endif

EXAMPLE_LIBS = libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)

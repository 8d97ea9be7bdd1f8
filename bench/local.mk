# bench/ - speed, as ratios. `make bench` beside bare system calls, `make bench-peers` beside what others offer; never
# installed. BENCH="--quick handover" and PEERS="--quick alone" say which, and how; see bench/README.

BENCH_COMMON = \
  %D%/bench.h \
  %D%/contender.c \
  %D%/contender.h \
  %D%/death.c \
  %D%/fairness.c \
  %D%/handover.c \
  %D%/least.c \
  %D%/main.c \
  %D%/measure.c \
  %D%/measure.h \
  %D%/memory.c \
  %D%/output.c \
  %D%/scenario.h \
  %D%/throughput.c

noinst_PROGRAMS += %D%/bench
%C%_bench_SOURCES = \
  $(BENCH_COMMON) \
  %D%/bench.c \
  %D%/cached.c \
  %D%/idle.c \
  %D%/pair.c \
  %D%/recall.c \
  %D%/report.c \
  %D%/waiters.c \
  tools/top_no_screen.c
%C%_bench_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/tools
%C%_bench_LDADD = tools/libtools.a libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)

# Only on demand: what is compared with may be missing, and is then named as missing.
EXTRA_PROGRAMS += %D%/peers/compare
%C%_peers_compare_SOURCES = \
  $(BENCH_COMMON) \
  %D%/peers/alone.c \
  %D%/peers/boost.c \
  %D%/peers/command.c \
  %D%/peers/compare.c \
  %D%/peers/cost.c \
  %D%/peers/crowd.c \
  %D%/peers/kernel.c \
  %D%/peers/lmdb.c \
  %D%/peers/memory.c \
  %D%/peers/peer.h \
  %D%/peers/sqlite.c \
  %D%/peers/tdb.c \
  %D%/peers/wait.c
%C%_peers_compare_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(srcdir)/%D% $(PEER_CPPFLAGS) $(LMDB_CFLAGS) $(TDB_CFLAGS) \
  $(SQLITE_CFLAGS)
%C%_peers_compare_LDADD = libcolockp.la $(PEER_BOOST_OBJECTS) $(PEER_BOOST_LIBS) $(LMDB_LIBS) $(TDB_LIBS) \
  $(SQLITE_LIBS) $(YAML_LIBS) $(PTHREAD_LIBS)
%C%_peers_compare_DEPENDENCIES = libcolockp.la $(PEER_BOOST_OBJECTS)
EXTRA_DIST += %D%/README %D%/peers/boost.cc %D%/peers/peer.py %D%/peers/peer.cjs %D%/report.sh %D%/table.awk \
  %D%/results.json %D%/results.md %D%/results.png %D%/results.svg
CLEANFILES += %D%/peers/compare %D%/peers/boost_lock.o

if PEER_BOOST
PEER_BOOST_OBJECTS = %D%/peers/boost_lock.o
PEER_BOOST_LIBS = -lstdc++
endif
# The only C++ of the tree: not worth a compiler that configure insists on.
%D%/peers/boost_lock.o: $(srcdir)/%D%/peers/boost.cc
	$(AM_V_at)$(MKDIR_P) %D%/peers
	$(AM_V_GEN)$(CXX) $(CXXFLAGS) -O2 -c -o $@ $(srcdir)/%D%/peers/boost.cc

RUN_PEERS = env BENCH_COLOCK=$(abs_builddir)/colock BENCH_PEERS=$(abs_srcdir)/%D%/peers

.PHONY: bench bench-peers bench-report
bench: %D%/bench$(EXEEXT)
	%D%/bench$(EXEEXT) $(BENCH)
bench-peers: %D%/peers/compare$(EXEEXT) colock$(EXEEXT)
	$(RUN_PEERS) %D%/peers/compare$(EXEEXT) $(PEERS)
# results.json, .md, .svg, .png, beside the README, or in REPORT.
REPORT = $(srcdir)/%D%
bench-report: %D%/peers/compare$(EXEEXT) colock$(EXEEXT)
	$(RUN_PEERS) %D%/peers/compare$(EXEEXT) --json $(PEERS) > $(REPORT)/results.part
	mv $(REPORT)/results.part $(REPORT)/results.json
	sh $(srcdir)/%D%/report.sh $(REPORT)/results.json

# bench/ - speed, as ratios against bare system calls. Built with everything else, run by `make bench`; never installed.
# BENCH="--quick handover" says which, and how; see bench/README.

noinst_PROGRAMS += %D%/bench
%C%_bench_SOURCES = \
  %D%/bench.c \
  %D%/bench.h \
  %D%/contender.c \
  %D%/contender.h \
  %D%/death.c \
  %D%/fairness.c \
  %D%/handover.c \
  %D%/idle.c \
  %D%/measure.c \
  %D%/measure.h \
  %D%/output.c \
  %D%/pair.c \
  %D%/throughput.c \
  %D%/waiters.c
%C%_bench_LDADD = libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)
EXTRA_DIST += %D%/README

.PHONY: bench
bench: %D%/bench$(EXEEXT)
	%D%/bench$(EXEEXT) $(BENCH)

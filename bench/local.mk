# bench/ - speed, as ratios against bare system calls. Built with everything else, run by `make bench`; never installed.

noinst_PROGRAMS += %D%/bench
%C%_bench_LDADD = libcolockp.la $(YAML_LIBS) $(PTHREAD_LIBS)

.PHONY: bench
bench: %D%/bench$(EXEEXT)
	%D%/bench$(EXEEXT)

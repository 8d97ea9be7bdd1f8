# test/ - what `make check` runs, and the same under other conditions.
#
#   make check            everything, once
#   make check-asan       a build of its own in asan/, with the address and undefined-behaviour sanitizers
#   make check-valgrind   a build of its own in valgrind/, every process under memcheck
#   make check-tsan       a build of its own in tsan/, with the thread sanitizer
#   make check-helgrind   a build of its own in helgrind/, the suites that have threads under helgrind
#   make check-model      every model of the protocol, the long ones too (model/README); make check runs the quick ones
#   make coverage         a build of its own in coverage/; says how much of lib/ and tools/ was run
#   make check-loop       again and again until something fails, or LOOPS times; narrowed down by TESTS=test/test_x
#
# test/count adds up what they did: test/count . asan valgrind

# Check suites, one for each room of lib/ and a few for what goes through all of them. test/test_x is built from
# test_x.c by default, no more to say. The longest is begun first.
CHECK_SUITES = \
  %D%/test_interleave \
  %D%/test_acquire \
  %D%/test_alarm \
  %D%/test_badfile \
  %D%/test_cache \
  %D%/test_cache_mode \
  %D%/test_cached_look \
  %D%/test_command \
  %D%/test_command_look \
  %D%/test_command_queue \
  %D%/test_command_stats \
  %D%/test_command_terminal \
  %D%/test_command_top \
  %D%/test_config \
  %D%/test_config_memory \
  %D%/test_config_yaml \
  %D%/test_die \
  %D%/test_duration \
  %D%/test_error \
  %D%/test_fail \
  %D%/test_filesystem \
  %D%/test_force \
  %D%/test_harness \
  %D%/test_helper \
  %D%/test_hold \
  %D%/test_hold_fd \
  %D%/test_identity \
  %D%/test_json \
  %D%/test_keys \
  %D%/test_layout \
  %D%/test_leave \
  %D%/test_leave_fails \
  %D%/test_lock \
  %D%/test_log \
  %D%/test_manual_file \
  %D%/test_overlay \
  %D%/test_process \
  %D%/test_queue \
  %D%/test_queue_read \
  %D%/test_range \
  %D%/test_recall \
  %D%/test_region \
  %D%/test_replaced \
  %D%/test_report \
  %D%/test_scarce \
  %D%/test_seat \
  %D%/test_stats \
  %D%/test_step \
  %D%/test_store \
  %D%/test_store_share \
  %D%/test_stuck \
  %D%/test_system \
  %D%/test_thread \
  %D%/test_token \
  %D%/test_top \
  %D%/test_totals \
  %D%/test_trace \
  %D%/test_upgrade \
  %D%/test_usual \
  %D%/test_wait \
  %D%/test_waiting \
  %D%/test_watch

# Shell scripts about the build and what it installs. They say nothing new under a sanitizer, so they run once.
BUILD_TESTS = \
  %D%/test_count.sh \
  %D%/test_exports.sh \
  %D%/test_header.sh \
  %D%/test_install.sh \
  %D%/test_link.sh \
  %D%/test_manual.sh \
  %D%/test_model.sh \
  %D%/test_probes.sh

# Shell scripts that run the command and the examples.
TOOL_TESTS = \
  %D%/test_examples.sh

EXTRA_DIST += $(BUILD_TESTS) $(TOOL_TESTS) %D%/count %D%/shell.sh %D%/helgrind.supp %D%/tsan.supp %D%/test_link.c \
  %D%/yaml

# ---- how they are built and run ----
if TESTS_ENABLED
check_LIBRARIES += %D%/libsupport.a
check_PROGRAMS += $(CHECK_SUITES)
TESTS += $(TOOL_TESTS) $(CHECK_SUITES) $(BUILD_TESTS)
else
check-local:
	@echo "the tests were left out by configure --disable-tests" >&2; exit 1
endif

%C%_libsupport_a_SOURCES = \
  %D%/agent.c \
  %D%/agent.h \
  %D%/agent_main.c \
  %D%/command.c \
  %D%/command.h \
  %D%/fault.c \
  %D%/fault.h \
  %D%/kept.h \
  %D%/kept_lock.h \
  %D%/line.h \
  %D%/naps.h \
  %D%/notes.h \
  %D%/pause.c \
  %D%/pause.h \
  %D%/planted.h \
  %D%/scenario.c \
  %D%/scenario.h \
  %D%/screen.c \
  %D%/screen.h \
  %D%/stats_names.h \
  %D%/support.c \
  %D%/support.h \
  %D%/suspended.h \
  %D%/told.h \
  %D%/tracker.c \
  %D%/tracker.h

# Programs that have no LDADD of their own, that is, the suites, link this.
LDADD = %D%/libsupport.a libcolockp.la $(CHECK_LIBS) $(YAML_LIBS) $(PTHREAD_LIBS)
AM_CPPFLAGS += $(CHECK_CFLAGS)
# The command from within, but for its terminal.
%C%_test_top_LDADD = tools/libtools.a $(LDADD)
%C%_test_top_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/tools

# Every test sees the same surroundings, whoever runs it: no configuration but its own.
TEST_EXTENSIONS = .sh
SH_LOG_COMPILER = $(SHELL)
AM_TESTS_ENVIRONMENT = \
  for name in $$(env | $(SED) -n '/^COLOCK_TEST_/d; s/^\(COLOCK_[A-Z_]*\)=.*/\1/p'); do unset "$$name"; done; \
  LC_ALL=C.UTF-8; XDG_CONFIG_HOME='$(abs_top_builddir)/test/no-config'; \
  abs_top_srcdir='$(abs_top_srcdir)'; abs_top_builddir='$(abs_top_builddir)'; \
  CC='$(CC)'; CXX='$(CXX)'; NM='$(NM)'; SED='$(SED)'; MAKE='$(MAKE)'; PKG_CONFIG='$(PKG_CONFIG)'; \
  PACKAGE_VERSION='$(PACKAGE_VERSION)'; sysconfdir='$(sysconfdir)'; pkgconfigdir='$(pkgconfigdir)'; \
  libdir='$(libdir)'; \
  have_probes='$(have_probes)'; \
  export LC_ALL XDG_CONFIG_HOME abs_top_srcdir abs_top_builddir CC CXX NM SED MAKE PKG_CONFIG PACKAGE_VERSION \
    sysconfdir pkgconfigdir libdir have_probes;

# ---- other conditions ----
.PHONY: check-asan check-valgrind check-tsan check-helgrind check-loop coverage clean-sub-builds

# With $$build, $$cflags: configures the build once, as this one was; make itself notices when configure has changed.
sub_build = \
  if test '$(abs_top_srcdir)' = '$(abs_top_builddir)'; then \
    echo '$@ needs a build outside the sources: mkdir build && cd build && ../configure && make $@' >&2; exit 1; \
  fi; \
  $(MKDIR_P) $$build && cd $$build || exit 1; \
  test -f Makefile || '$(abs_top_srcdir)/configure' --quiet --disable-shared CC='$(CC)' CXX='$(CXX)' \
    YAML_CFLAGS='$(YAML_CFLAGS)' YAML_LIBS='$(YAML_LIBS)' CHECK_CFLAGS='$(CHECK_CFLAGS)' CHECK_LIBS='$(CHECK_LIBS)' \
    CPPFLAGS='$(CPPFLAGS)' LDFLAGS='$(LDFLAGS)' CFLAGS="$$cflags" || exit 1

# A child of a process with threads that starts some has the tag "child_threads": at fork one of the parent's may have
# the lock of the sanitizer's allocator, which the child then never gets. Schedules that go on instruction by
# instruction are "stepped": of instructions there are eight times as many here, and the same code runs in other suites.
check-asan:
	+@build=asan; cflags='-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'; \
	$(sub_build); \
	ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
	COLOCK_TEST_SECONDS=$${COLOCK_TEST_SECONDS:-2} CK_EXCLUDE_TAGS="child_threads stepped" $(MAKE) check BUILD_TESTS=

# Each test runs in a child of its suite, and the exit status of a child with an error fails that test by name. Programs
# that a test executes run as they are: there are thousands, and starting one under memcheck takes a second. So suites
# of the command are left out, and cases with the tag "native", which say why they make no sense there.
MEMCHECK = $(VALGRIND) --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
  --errors-for-leak-kinds=definite --trace-children=no
check-valgrind:
	+@if test '$(VALGRIND)' = no; then \
	  echo 'valgrind is missing. Debian, Ubuntu: apt-get install valgrind. Fedora: dnf install valgrind.' >&2; exit 1; \
	fi; \
	build=valgrind; cflags='-g -O1'; $(sub_build); \
	COLOCK_TEST_SECONDS=$${COLOCK_TEST_SECONDS:-3} COLOCK_TEST_WARM=yes CK_TIMEOUT_MULTIPLIER=4 CK_EXCLUDE_TAGS=native \
	  $(MAKE) check TESTS="`echo '$(CHECK_SUITES) ' | $(SED) 's|[^ ]*/test_command[^ ]* ||g'`" LOG_COMPILER="$(MEMCHECK)"

# It watches the threads of one process at a time; what processes share it cannot see. It knows no fences (gcc warns of
# that, clang does not), but nothing here depends on one alone: fences order what is atomic anyway, and only data that
# is not can make a race. A child of a process with threads may not have any under it: such cases are "native". Reports
# go to files of their own: an agent's would be lost with its exit status.
check-tsan:
	+@build=tsan; cflags='-g -O1 -fno-omit-frame-pointer -fsanitize=thread'; \
	if '$(CC)' --version | grep -qi clang; then :; else cflags="$$cflags -Wno-tsan"; fi; \
	$(sub_build); \
	rm -f report.*; \
	COLOCK_TEST_SECONDS=$${COLOCK_TEST_SECONDS:-10} CK_TIMEOUT_MULTIPLIER=4 CK_EXCLUDE_TAGS=native \
	  TSAN_OPTIONS="die_after_fork=0:log_path=$$PWD/report:suppressions=$(abs_top_srcdir)/%D%/tsan.supp" \
	  $(MAKE) check BUILD_TESTS=; status=$$?; \
	cat report.* 2>/dev/null && exit 1; exit $$status

# Suites in which threads meet.
THREADED_SUITES = %D%/test_acquire %D%/test_hold %D%/test_lock %D%/test_process %D%/test_wait %D%/test_watch
HELGRIND = $(VALGRIND) --quiet --tool=helgrind --error-exitcode=99 --trace-children=no \
  --suppressions=$(abs_top_srcdir)/%D%/helgrind.supp
check-helgrind:
	+@if test '$(VALGRIND)' = no; then \
	  echo 'valgrind is missing. Debian, Ubuntu: apt-get install valgrind. Fedora: dnf install valgrind.' >&2; exit 1; \
	fi; \
	build=helgrind; cflags='-g -O1 -DCOLOCK_TEST_HELGRIND'; $(sub_build); \
	COLOCK_TEST_SECONDS=$${COLOCK_TEST_SECONDS:-3} CK_TIMEOUT_MULTIPLIER=4 CK_EXCLUDE_TAGS=native \
	  $(MAKE) check TESTS='$(THREADED_SUITES)' LOG_COMPILER="$(HELGRIND)"

coverage:
	+@if test '$(GCOV)' = no; then \
	  echo 'gcov is missing. Debian, Ubuntu: apt-get install gcc. Fedora: dnf install gcc.' >&2; exit 1; \
	fi; \
	build=coverage; cflags='-g -O0 --coverage'; $(sub_build); \
	find . -name '*.gcda' -exec rm -f {} +; \
	$(MAKE) check BUILD_TESTS= || exit 1; \
	$(GCOV) --no-output $$(find lib tools -name '*.gcda') 2>/dev/null | $(AWK) ' \
	  /^File/ { gsub(/\047/, ""); n = split($$2, part, "/"); mine = part[n-1] ~ /^(lib|tools)$$/ && part[n] ~ /\.c$$/ } \
	  /^Lines executed/ && mine { split($$2, share, /[:%]/); hit += share[2] * $$4 / 100; all += $$4; mine = 0; \
	    printf "%6.1f%% of %5d lines  %s/%s\n", share[2], $$4, part[n-1], part[n] } \
	  END { if (!all) { print "nothing was run"; exit 1 } printf "%6.1f%% of %5d lines  in all\n", 100 * hit / all, all }'

LOOPS = 0
check-loop: all
	@round=0; \
	while round=$$((round + 1)); echo "round $$round"; $(MAKE) --no-print-directory check BUILD_TESTS=; do \
	  test $$round -ne $(LOOPS) || exit 0; \
	done; \
	echo "failed in round $$round" >&2; exit 1

clean-sub-builds:
	rm -rf asan broken coverage helgrind tsan valgrind

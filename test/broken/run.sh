#!/bin/sh
# run.sh SOURCES all|NUMBER... - in a configured build: for each fault of lib/broken.h, builds with it, runs tests until
# one fails, and says which. First all of them without a fault: one that fails then is left out, and said. Exit status 1
# after that, or if a fault goes unseen that is not in the file `unseen`.
set -u
sources=$1
shift
MAKE=${MAKE:-make}
header=$sources/lib/broken.h
out=broken.out

# From the quickest to the slowest; a name, then the command. Exit status 77: it cannot run here.
list_tests() {
  cat <<'END'
test_interleave		test/test_interleave
test_queue		test/test_queue
test_wait		test/test_wait
test_acquire		test/test_acquire
test_upgrade		test/test_upgrade
test_stuck		test/test_stuck
test_watch		test/test_watch
test_die		test/test_die
torture, no polling	test/torture/torture_no_polling --plan hasty --seconds 20
torture, kept		test/torture/torture_no_polling --plan kept --seconds 20
torture, forced		test/torture/torture --plan forced --seconds 10
torture, orderly	test/torture/torture --plan orderly --seconds 10
torture, mortal		test/torture/torture --plan mortal --seconds 30
END
}

broken_files() { (cd "$sources" && grep -l '^#include "broken.h"' lib/*.c) | sed 's,lib/\(.*\)\.c,\1,'; }

# NUMBER - only what asks broken.h is compiled anew
build() {
  for file in $(broken_files); do rm -f lib/*-"$file".o lib/*-"$file".lo; done
  targets=
  for target in $(list_tests | sed 's/.*	\([^ ]*\).*/\1/' | sort -u); do
    test_of "$target" && targets="$targets $target"
  done
  $MAKE -s CPPFLAGS="-DCOLOCKP_BREAK=$1" $targets >"$out" 2>&1 || { cat "$out"; exit 1; }
}

# Some suites exist under one name only.
test_of() { case $1 in test/torture/*) true ;; *) test -f "$sources/$1.c" ;; esac; }

# COMMAND... - its output goes to $out.
run_one() {
  (
    XDG_CONFIG_HOME=$PWD/no-config
    export XDG_CONFIG_HOME abs_top_srcdir abs_top_builddir
    exec timeout 300 "$@"
  ) >"$out" 2>&1 </dev/null 3<&-
}

# The case that failed does so again: a suite that fails once on a busy machine has noticed nothing. The torture is
# random, and what it finds is no matter of time.
fails_again() {
  case $1 in test/torture/*) return 0 ;; esac
  CK_RUN_CASE=$(sed -n 's/.*:[FES]:\([^:]*\):.*/\1/p' "$out" | head -n 1)
  export CK_RUN_CASE
  run_one "$@"
  again=$?
  unset CK_RUN_CASE
  test $again -ne 0
}

# Runs them until one fails; sets catcher and took.
run_tests() {
  catcher=
  while IFS='	' read -r name command <&3; do
    set -- $command
    test_of "$1" || continue
    begin=$(date +%s%N)
    run_one "$@"
    status=$?
    took=$((($(date +%s%N) - begin) / 100000000))
    if test $status -ne 0 && test $status -ne 77 && fails_again "$@"; then
      catcher=$name
      return 0
    fi
  done 3<broken.tests
}

# What failed, in a few words.
what_failed() {
  sed -n 's/^FAILED, seed [0-9]*, plan [a-z]*: //p; s/.*:[FES]:\([^:]*\):[^:]*:[0-9]*: */\1: /p' "$out" |
    head -n 1 | cut -c1-76
}

abs_top_srcdir=$sources abs_top_builddir=$PWD
last=$(sed -n 's/^ *COLOCKP_BREAK_[A-Z_]*,  *\/\* *\([0-9]*\):.*/\1/p' "$header" | tail -n 1)
test -n "$last" || { echo "no faults in $header" >&2; exit 1; }
test "$*" != all || set -- $(seq "$last")

wrong=0
list_tests >broken.tests
build 0
while run_tests; test -n "$catcher"; do
  echo "left out, as it fails without a fault: $catcher"
  tail -n 20 "$out"
  grep -v "^$catcher	" broken.tests >broken.left
  mv broken.left broken.tests
  wrong=$((wrong + 1))
done
for number; do
  fault=$(sed -n "s/^ *COLOCKP_BREAK_[A-Z_]*,  *\/\* *\($number: .*\) \*\/.*/\1/p" "$header")
  test -n "$fault" || { echo "no fault $number in $header" >&2; exit 1; }
  build "$number"
  run_tests
  known=$(awk -F'	+' -v number="$number" -v machine="$(uname -m)" \
    '$1 == number && $2 == machine { print $3 "; " $4 }' "$sources/test/broken/unseen")
  if test -n "$catcher"; then
    printf '%s\n    %s, %d.%d s: %s\n' "$fault" "$catcher" $((took / 10)) $((took % 10)) "$(what_failed)"
  elif test -n "$known"; then
    printf '%s\n    unseen: %s\n' "$fault" "$known"
  else
    printf '%s\n    UNSEEN, and nobody said why\n' "$fault"
    wrong=$((wrong + 1))
  fi
done
build 0
test $wrong -eq 0

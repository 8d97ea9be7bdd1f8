#!/bin/sh
# test_examples.sh - the programs that README and colock(3) show are those in examples/, and they do what they should.
. "$abs_top_srcdir/test/shell.sh"
examples=$abs_top_srcdir/examples
bin=$abs_top_builddir/examples
colock=$abs_top_builddir/colock

# README shows it indented by four columns, in one piece.
in_readme() {
  sed -n 's/^    //p' "$abs_top_srcdir/README" >"$scratch/shown"
  awk 'NR == FNR { want[++n] = $0; next }
       !whole { at = $0 == want[at + 1] ? at + 1 : $0 == want[1]; whole = at == n }
       END { exit !(n && whole) }' "$examples/first.c" "$scratch/shown"
}

in_manual() {
  sed -n '/^\/\* add_one FILE/,/^\.Ed/p' "$abs_top_srcdir/man/colock.3" |
    sed -e '/^\.Ed/d' -e 's/\\e/\\/g' >"$scratch/shown.c"
  cmp "$examples/add_one.c" "$scratch/shown.c"
}

first_runs() {
  (cd "$scratch" && "$bin/first" >said) && test -s "$scratch/db.lock" &&
    test "$(cat "$scratch/said")" = 'nobody else is in here'
}

count_25() {
  n=0
  while test $n -lt 25; do
    "$bin/add_one" "$scratch/number" || return 1
    n=$((n + 1))
  done
}

four_count_to_100() {
  pids=
  for _ in 1 2 3 4; do
    count_25 & pids="$pids $!"
  done
  for pid in $pids; do
    wait "$pid" || return 1
  done
  cat "$scratch/number"
  test "$(cat "$scratch/number")" = 100
}

# The log is a FIFO, so that the scan goes on when we say so. It is open once the scan has the lock.
block() { printf '%4095d\n' 0; }
scan_lets_a_writer_in() {
  log=$scratch/log
  mkfifo "$log" || return 1
  "$bin/long_scan" "$log" >"$scratch/said" & scan=$!
  exec 3>"$log"
  block >&3
  "$colock" run -w 20 --for "$log" touch "$scratch/appended" & writer=$!
  n=0
  until "$colock" status --json "$log.lock" | grep -q '"waiters":\[{'; do
    n=$((n + 1))
    test $n -lt 5000 || return 1
  done
  test ! -e "$scratch/appended" || return 1
  # Now the scan looks round, while it has more to read. Again and again: on a machine so busy that the writer does not get
  # to run it is taken for stopped, and the scan goes on.
  while kill -0 "$writer" 2>/dev/null; do block >&3; done
  wait "$writer" && test -e "$scratch/appended" || return 1
  exec 3>&-
  wait "$scan" && cat "$scratch/said" && grep -q '^[0-9]* lines; let writers in [1-9][0-9]* times$' "$scratch/said"
}

ten_at_least() { # WORDS...: before each of them the show has a number of 10 or more
  for words in "$@"; do
    number=$(sed -n "s/.*[^0-9]\([0-9]*\) $words.*/\1/p" "$scratch/show")
    echo "$words: $number"
    test "$number" -ge 10 || return 1
  done
}

fails_with() { # STATUS WORD COMMAND...
  status=$1 word=$2
  shift 2
  "$@" 2>"$scratch/said"
  test $? -eq "$status" && grep -q -e "$word" "$scratch/said"
}

ok 'README_shows_examples_first' in_readme
ok 'manual_shows_examples_add_one' in_manual
ok 'first_takes_the_lock' first_runs
ok 'four_processes_count_to_100_and_lose_nothing' four_count_to_100
ok 'long_scan_lets_a_writer_in' scan_lets_a_writer_in
ok 'add_one_wants_a_file' fails_with 64 usage "$bin/add_one"
ok 'add_one_names_a_missing_directory' fails_with 75 absent "$bin/add_one" "$scratch/absent/number"

if test -x "$bin/sqlite_shared"; then
  mkdir "$scratch/db"
  ok 'sqlite_without_its_own_locks_loses_nothing' "$bin/sqlite_shared" -1 -t 1 -w 3 -r 2 "$scratch/db"
  cp "$scratch/output" "$scratch/show"
  ok 'readers_and_writers_both_come_to_work' ten_at_least 'committed in' 'good reads'
  ok 'a_writer_was_killed_on_the_way' grep 'killed with SIGKILL' "$scratch/show"
  ok 'and_the_next_holder_was_told' grep 'said recovered' "$scratch/show"
else
  skip 'sqlite_without_its_own_locks_loses_nothing' 'SQLite is not installed'
fi
finish

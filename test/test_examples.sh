#!/bin/sh
# test_examples.sh - the programs that README and colock(3) show are those in examples/, and they do what they should.
. "$abs_top_srcdir/test/shell.sh"
examples=$abs_top_srcdir/examples
bin=$abs_top_builddir/examples

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
ok 'add_one_wants_a_file' fails_with 64 usage "$bin/add_one"
ok 'add_one_names_a_missing_directory' fails_with 75 absent "$bin/add_one" "$scratch/absent/number"

if test -x "$bin/sqlite_shared"; then
  mkdir "$scratch/db"
  ok 'sqlite_without_its_own_locks_loses_nothing' "$bin/sqlite_shared" -1 -t 1 -w 3 -r 2 "$scratch/db"
  cp "$scratch/output" "$scratch/show"
  ok 'a_writer_was_killed_on_the_way' grep 'killed with SIGKILL' "$scratch/show"
  ok 'and_the_next_holder_was_told' grep 'said recovered' "$scratch/show"
else
  skip 'sqlite_without_its_own_locks_loses_nothing' 'SQLite is not installed'
fi
finish

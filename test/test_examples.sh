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
       END { exit !(n && whole) }' "$examples/01_first.c" "$scratch/shown"
}

in_manual() {
  sed -n '/^\/\* add_one FILE/,/^\.Ed/p' "$abs_top_srcdir/man/colock.3" |
    sed -e '/^\.Ed/d' -e 's/\\e/\\/g' >"$scratch/shown.c"
  cmp "$examples/05_add_one.c" "$scratch/shown.c"
}

first_runs() {
  (cd "$scratch" && "$bin/01_first" >said) && test -s "$scratch/db.lock" &&
    test "$(cat "$scratch/said")" = 'nobody else is in here'
}

count_25() {
  n=0
  while test $n -lt 25; do
    "$bin/05_add_one" "$scratch/number" || return 1
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
  "$bin/06_long_scan" "$log" >"$scratch/said" & scan=$!
  exec 3>"$log"
  block >&3
  "$colock" run -w 20 --for "$log" touch "$scratch/appended" & writer=$!
  n=0
  until "$colock" status --json "$log.lock" | grep -q '"waiters":\[{'; do
    n=$((n + 1))
    test $n -lt 5000 || return 1
  done
  test ! -e "$scratch/appended" || return 1
  # Now the scan looks round, while it has more to read. Again and again: on a machine so busy that the writer does not
  # get to run it is taken for stopped, and the scan goes on.
  while kill -0 "$writer" 2>/dev/null; do block >&3; done
  wait "$writer" && test -e "$scratch/appended" || return 1
  exec 3>&-
  wait "$scan" && cat "$scratch/said" && grep -q '^[0-9]* lines; let writers in [1-9][0-9]* times$' "$scratch/said"
}

# Its input is a FIFO, and what has the lock at first is a command that reads another.
says_in_the_end() { # TEXT
  n=0
  until grep -q "^$1" "$scratch/ticks"; do
    n=$((n + 1))
    test $n -lt 5000 && kill -0 "$epoll" || return 1
  done
}
epoll_ticks_on_while_it_waits() {
  log=$scratch/collected
  mkfifo "$scratch/in" "$scratch/hold" || return 1
  "$colock" run --for "$log" cat "$scratch/hold" & holder=$!
  exec 4>"$scratch/hold" # open once cat runs, under the lock
  "$bin/07_epoll" "$log" <"$scratch/in" >"$scratch/ticks" 4>&- & epoll=$!
  exec 3>"$scratch/in"
  echo one >&3
  says_in_the_end 'tick: in line, 4 bytes to write' && test ! -e "$log" || return 1
  exec 4>&-
  wait "$holder" && says_in_the_end 'tick: have the lock, 0 bytes to write' && test "$(cat "$log")" = one
}
epoll_lets_go_when_somebody_waits() {
  not grep 'let go' "$scratch/ticks" && "$colock" run -w 20 --for "$log" true &&
    says_in_the_end 'let go: somebody waits' || return 1
  echo two >&3
  exec 3>&-
  wait "$epoll" && grep 'let go: done' "$scratch/ticks" && printf 'one\ntwo\n' | cmp - "$log"
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
ok 'epoll_ticks_on_while_it_waits' epoll_ticks_on_while_it_waits
ok 'epoll_lets_go_when_somebody_waits' epoll_lets_go_when_somebody_waits
ok 'add_one_wants_a_file' fails_with 64 usage "$bin/05_add_one"
ok 'add_one_names_a_missing_directory' fails_with 75 absent "$bin/05_add_one" "$scratch/absent/number"

# In a directory of its own, as tasks uses the one where it is started.
tasks() { (cd "$scratch/tasks" && exec "$bin/03_tasks" "$@"); }
says() { # TEXT COMMAND...: that, and no more
  want=$1
  shift
  "$@" >"$scratch/said" 2>&1 || return 1
  cat "$scratch/said"
  test "$(cat "$scratch/said")" = "$want"
}
keeps_the_lock() { tasks lock-status | grep "^cached, exclusive: $server,"; }
server_begins() { # which has the database open, before anybody asks for it
  (cd "$scratch/tasks" && exec "$bin/03_tasks" serve) & server=$!
  n=0
  until keeps_the_lock; do
    n=$((n + 1))
    test $n -lt 5000 && kill -0 "$server" || return 1
  done
}
keeps_nothing() { not keeps_the_lock; }
server_is_killed() {
  kill -9 "$server"
  wait "$server" 2>/dev/null
  test -S "$scratch/tasks/tasks.sock"
}
server_ends() { kill "$server" && wait "$server" && test ! -e "$scratch/tasks/tasks.sock"; }
second_server_is_refused() { fails_with 1 already tasks serve; }

# As their README has it, without the flags of this tree.
compiles_alone() {
  $CC -std=gnu11 -Wall -Wextra -Werror -I "$abs_top_srcdir/include" -c -o "$scratch/alone.o" "$1" >"$scratch/output" 2>&1
}
for example in "$examples"/*.c; do
  name=$(basename "$example" .c)
  if test -x "$bin/$name"; then ok "${name}_compiles_alone" compiles_alone "$example"; fi
done

if test -x "$bin/03_tasks"; then
  mkdir "$scratch/tasks"
  ok 'tasks_knows_no_lock_yet' says 'not used yet' tasks lock-status
  ok 'tasks_adds_without_a_server' says 1 tasks add 'buy milk'
  ok 'tasks_server_begins' server_begins
  ok 'tasks_adds_through_the_server' says 2 tasks add 'call Ann'
  ok 'tasks_server_keeps_the_open_database' keeps_the_lock
  ok 'tasks_adds_beside_the_server' says 3 tasks -d add 'feed the cat'
  ok 'tasks_server_has_let_it_go' keeps_nothing
  ok 'tasks_server_reads_what_was_written_beside_it' says '1 buy milk
2 call Ann
3 feed the cat' tasks list
  ok 'tasks_wants_one_server' second_server_is_refused
  ok 'tasks_server_is_killed' server_is_killed
  ok 'tasks_lists_without_it' says '1 buy milk
2 call Ann
3 feed the cat' tasks list
  ok 'tasks_server_begins_again' server_begins
  ok 'tasks_adds_through_the_new_server' says 4 tasks add 'sleep'
  ok 'tasks_server_ends_when_told_to' server_ends
  ok 'tasks_wants_a_verb' fails_with 64 usage "$bin/03_tasks"
  ok 'two_processes_fill_one_database' says 200 "$bin/02_sqlite" "$scratch/rows.db"
  ok 'and_again' says 400 "$bin/02_sqlite" "$scratch/rows.db"
  ok 'sqlite_wants_a_file' fails_with 64 usage "$bin/02_sqlite"
else
  skip 'tasks_server_begins' 'SQLite is not installed'
  skip 'two_processes_fill_one_database' 'SQLite is not installed'
fi

if test -x "$bin/04_sqlite_shared"; then
  mkdir "$scratch/db"
  ok 'sqlite_without_its_own_locks_loses_nothing' "$bin/04_sqlite_shared" -1 -t 1 -w 3 -r 2 "$scratch/db"
  cp "$scratch/output" "$scratch/show"
  ok 'readers_and_writers_both_come_to_work' ten_at_least 'committed in' 'good reads'
  ok 'a_writer_was_killed_on_the_way' grep 'killed with SIGKILL' "$scratch/show"
  ok 'and_the_next_holder_was_told' grep 'said recovered' "$scratch/show"
else
  skip 'sqlite_without_its_own_locks_loses_nothing' 'SQLite is not installed'
fi
finish

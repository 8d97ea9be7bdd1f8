#!/bin/sh
# test_probes.sh - the library has the static probes that colock(3) lists, with so many arguments, and they say what
# happens: gdb stops at each of them while test_trace runs. And the events that colock(3) lists are those of the
# sources.
. "$abs_top_srcdir/test/shell.sh"
library=$abs_top_builddir/.libs/libcolock.so
test -f "$library" || library=$abs_top_builddir/.libs/libcolock.a
suite=$abs_top_builddir/test/test_trace

# NAME ARGUMENTS, sorted.
in_manual() { # PAGE
  awk '/^\.S[hs] /{ mine = /TRACING/ } mine && /^\.It Cm .* Ta .* Ta / {
    arguments = $0; sub(/^[^T]*Ta /, "", arguments); sub(/ Ta .*/, "", arguments)
    print $3, gsub(/,/, "", arguments) + 1 }' "$1" | sort -u
}
in_library() { # FILE
  LC_ALL=C readelf -n "$1" 2>/dev/null | awk '
    $1 == "Provider:" { mine = $2 == "colock" } $1 == "Name:" { name = $2 }
    $1 == "Arguments:" && mine { print name, gsub(/@/, "") }' | sort -u
}
same() { # an empty list is never right
  test -s "$1" && diff -u "$1" "$2"
}

events_of_manual() { # PAGE
  awk '/^\.S[hs] /{ mine = /LOG/ } mine && /^\.It Cm .* Ta .* Ta / {
    sub(/^\.It Cm /, ""); sub(/ Ta .*/, ""); gsub(/ , /, "\n"); print }' "$1" | sort -u
}
all_are_in() { # LIST FILE...: each line as a literal, and there are some
  all_list=$1 all_count=0
  shift
  while read -r event; do
    all_count=$((all_count + 1))
    grep -q "\"$event\"" "$@" || { echo "nobody tells $event"; return 1; }
  done <"$all_list"
  test $all_count -gt 20
}
told() { # FILE...: the first literal within a call, if it is a word: else the event is a variable there
  cat "$@" | tr '\n' ' ' | grep -o 'colockp_log([^"]*"[a-z_]*"' | sed 's/.*"\(.*\)"/\1/' | sort -u
}
none_but() { # LIST KNOWN: no line that is not in KNOWN too
  test -s "$1" && ! comm -23 "$1" "$2" | grep .
}

# What gdb prints at each probe: @NAME and the arguments.
commands() {
  echo 'set pagination off'
  echo 'handle all nostop noprint pass'
  while read -r name format arguments; do
    echo "break -probe-stap colock:$name"
    echo commands
    echo silent
    printf 'printf "@%s %s\\n", (char *)$_probe_arg0%s\n' "$name" "%s$format" "$arguments"
    echo continue
    echo end
  done <<'END'
acquire__begin :%d:%ld , (int)$_probe_arg1, (long)$_probe_arg2
acquire__granted :%d:%ld:%lu:%d , (int)$_probe_arg1, (long)$_probe_arg2, (unsigned long)$_probe_arg3, (int)$_probe_arg4
acquire__timeout :%d:%ld:%d , (int)$_probe_arg1, (long)$_probe_arg2, (int)$_probe_arg3
release :%d:%ld:%d , (int)$_probe_arg1, (long)$_probe_arg2, (int)$_probe_arg3
recall :%d , (int)$_probe_arg1
force :%u , (unsigned)$_probe_arg1
reap :%u , (unsigned)$_probe_arg1
suspend__begin :%d , (int)$_probe_arg1
suspend__end :%d , (int)$_probe_arg1
END
  echo run
}
how_often() { grep -c "^@$1 .*/[a-z ]*\.lock:$2\$" "$scratch/seen"; } # NAME PATTERN
fired() { test "$(how_often "$@")" -gt 0; }
balanced() {
  begun=$(how_often acquire__begin '.*') granted=$(how_often acquire__granted '.*')
  failed=$(how_often acquire__timeout '.*')
  echo "$begun begun, $granted granted, $failed not"
  test "$begun" -gt 20 && test "$begun" -eq $((granted + failed))
}

events_of_manual "$abs_top_srcdir/man/colock.3" >"$scratch/events"
told "$abs_top_srcdir"/lib/*.c >"$scratch/told"
ok every_event_of_the_manual_is_told all_are_in "$scratch/events" "$abs_top_srcdir"/lib/*.c
ok every_event_that_is_told_is_in_the_manual none_but "$scratch/told" "$scratch/events"
sed '/^forced$/d' "$scratch/events" >"$scratch/planted"
ok planted_gap_among_events_is_seen not none_but "$scratch/told" "$scratch/planted"
(cat "$scratch/events"; echo planted) >"$scratch/planted"
ok planted_event_is_seen not all_are_in "$scratch/planted" "$abs_top_srcdir"/lib/*.c

each_hold_ends() { # those of this file are changed by nothing in between
  granted=$(grep -c '^@acquire__granted .*/my db\.lock:' "$scratch/seen")
  released=$(grep -c '^@release .*/my db\.lock:' "$scratch/seen")
  echo "$granted granted, $released released"
  test "$granted" -gt 20 && test "$granted" -eq "$released"
}
tries_are_tries() { # whatever is configured, also where locks are kept
  grep '^@acquire__begin .*/tried\.lock:' "$scratch/seen" >"$scratch/tries"
  cat "$scratch/tries"
  test "$(wc -l <"$scratch/tries")" -eq 2 && ! grep -v ':1:0$' "$scratch/tries"
}

in_manual "$abs_top_srcdir/man/colock.3" >"$scratch/manual"
in_library "$library" >"$scratch/library"
if ! command -v readelf >/dev/null; then
  skip probes_of_the_library 'no readelf here (Debian, Fedora: binutils)'
elif test "$have_probes" != yes; then
  ok configured_without_probes_it_has_none test ! -s "$scratch/library"
  skip probes_of_the_library 'configured without: no sys/sdt.h (Debian: systemtap-sdt-dev), or --disable-probes'
else
  ok library_has_the_probes_of_the_manual same "$scratch/manual" "$scratch/library"
  # The check itself can fail: a probe that is not there, one argument too many.
  sed '/^reap /d' "$scratch/library" >"$scratch/planted"
  ok planted_gap_is_seen not same "$scratch/manual" "$scratch/planted"
  sed 's/^\(reap\) 2/\1 3/' "$scratch/library" >"$scratch/planted"
  ok planted_argument_is_seen not same "$scratch/manual" "$scratch/planted"
fi

if test "$have_probes" != yes; then
  skip probes_say_what_happens 'configured without'
elif ! command -v gdb >/dev/null; then
  skip probes_say_what_happens 'no gdb here (Debian, Fedora: gdb)'
elif ! gdb -batch -ex run --args true 2>&1 | grep -q 'exited normally'; then
  skip probes_say_what_happens 'gdb may not trace a process here'
else
  commands >"$scratch/commands"
  CK_FORK=no gdb -batch -x "$scratch/commands" "$suite" >"$scratch/seen" 2>&1 </dev/null
  ok suite_passes_under_gdb grep '^100%: Checks: [1-9]' "$scratch/seen"
  ok every_begin_ends_once balanced
  ok every_hold_ends_once each_hold_ends
  ok begin_with_the_configured_timeout fired acquire__begin '2:10000000000'
  ok begin_of_a_try tries_are_tries
  ok granted_exclusively_with_a_token fired acquire__granted '2:0:[0-9]\{19\}:0'
  ok granted_shared_without_a_token fired acquire__granted '1:0:0:0'
  ok granted_from_what_is_kept fired acquire__granted '2:0:[0-9]\{19\}:1'
  ok granted_after_a_wait fired acquire__granted '2:[1-9][0-9]\{7,10\}:[0-9]\{19\}:0'
  for code in 1 2 3 4 5 15; do
    ok "not_granted_with_code_$code" fired acquire__timeout "[12]:[0-9]*:$code"
  done
  ok timed_out_after_its_timeout fired acquire__timeout '1:[1-9][0-9]\{8,10\}:2'
  ok released fired release '[12]:[0-9]*:0'
  ok released_and_kept fired release '[12]:[0-9]*:1'
  ok released_after_30_ms fired release '1:[1-9][0-9]\{7,10\}:[01]'
  ok recalled fired recall 2
  ok forced fired force '[1-9][0-9]*'
  ok reaped fired reap 5
  ok suspend_begins fired suspend__begin 2
  ok suspend_ends_well fired suspend__end 0
  ok suspend_fails fired suspend__end 7
fi
finish

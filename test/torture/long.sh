#!/bin/sh
# long.sh DIRECTORY SECONDS - the torture for so long; the builds with polling, without, and with the watch alone in
# turn, 30 s with each seed; every other round all plans keep what they release.
set -u
directory=$1 seconds=$2
end=$(($(date +%s) + seconds))
turn=0
while left=$((end - $(date +%s))) && test "$left" -gt 0; do
  test "$left" -le 30 || left=30
  case $((turn % 3)) in
    0) program=torture ;;
    1) program=torture_watch ;;
    *) program=torture_no_polling ;;
  esac
  keep=
  test $((turn / 3 % 2)) -eq 0 || keep=--keep
  echo "== $program $keep, $left s"
  "$directory/$program" $keep --seed "$(date +%s%N)" --seconds "$left" --history "$directory/$program.history" || exit 1
  turn=$((turn + 1))
done
echo "$turn runs in $seconds s, nothing went wrong"
test "$turn" -gt 0

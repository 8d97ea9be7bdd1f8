#!/bin/sh
# test_torture.sh - 20 s of random processes and threads, with and without polling, and with the watch alone; and that
# they would notice.
. "$abs_top_srcdir/test/shell.sh"
bin=$abs_top_builddir/test/torture
seed=${COLOCK_TEST_SEED:-$(date +%s%N)}
seconds=${COLOCK_TEST_SECONDS:-20}
third=$(((seconds + 2) / 3))
TMPDIR=$scratch
export TMPDIR

# PROGRAM OPTION... - run it; a failure leaves its history in the build directory.
torture() {
  name=$1
  shift
  "$bin/$name" --seed "$seed" --history "$bin/$name.history" "$@" >"$scratch/said" 2>&1
  status=$?
  cat "$scratch/said"
  return $status
}

# WORD PROGRAM OPTION... - it fails, and says that word of it
fails_with() {
  word=$1
  shift
  torture "$@"
  test $? -eq 1 && grep "^FAILED.*$word" "$scratch/said"
}

decides_the_same() {
  "$bin/torture" --seed 7 --decisions 200 >"$scratch/one" &&
    "$bin/torture" --seed 7 --decisions 200 >"$scratch/again" &&
    "$bin/torture" --seed 8 --decisions 200 >"$scratch/other" &&
    test -s "$scratch/one" && cmp "$scratch/one" "$scratch/again" && ! cmp -s "$scratch/one" "$scratch/other"
}

# The variants are built of the files that know of broken.h, all of them.
knows_the_files() {
  (cd "$abs_top_srcdir" && grep -l '^#include "broken.h"' lib/*.c) >"$scratch/include"
  sed -n '/^BROKEN_SOURCES/,/[^\\]$/s/^ *\(lib[^ ]*\.c\).*/\1/p' "$abs_top_srcdir/test/torture/local.mk" \
    >"$scratch/built"
  diff "$scratch/include" "$scratch/built"
}

echo "COLOCK_TEST_SEED=$seed"
ok a_seed_brings_the_same_decisions_back decides_the_same
ok variants_are_built_of_all_that_can_be_broken knows_the_files
ok nothing_goes_wrong torture torture --seconds "$third"
sed 's/^/  /' "$scratch/said"
ok nothing_hangs_without_polling torture torture_no_polling --seconds "$third"
sed 's/^/  /' "$scratch/said"
ok the_dead_leave_nobody_hanging_without_polling torture torture_watch --plan killed --seconds $(((third + 1) / 2))
sed 's/^/  /' "$scratch/said"
ok nor_what_they_keep torture torture_watch --plan killed --keep --seconds $(((third + 1) / 2))
sed 's/^/  /' "$scratch/said"
# Two who hold at once: whichever of them looks first finds the other, or the other's token.
ok locks_that_lie_are_noticed fails_with 'overlap\|last_token' torture --plan lies --seconds 20
ok a_lost_wake_up_is_noticed fails_with 'wake-up was lost' torture_broken_3 --plan hasty --seconds 60
ok a_lost_recall_is_noticed fails_with 'a recall was lost' torture_broken_18 --plan kept --seconds 60
ok newcomers_before_the_queue_are_noticed fails_with overtaken torture_broken_13 --plan orderly --seconds 60
finish

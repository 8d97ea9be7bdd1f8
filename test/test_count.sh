#!/bin/sh
# test/count: the numbers are those of the cases, and nothing that went wrong is counted as well.
. "$abs_top_srcdir/test/shell.sh"
count=$abs_top_srcdir/test/count

suite() { # BUILD NAME RESULT [LOG-LINE]...
  mkdir -p "$scratch/$1/test"
  printf ':test-result: %s\n:global-test-result: %s\n' "$3" "$3" >"$scratch/$1/test/$2.trs"
  shell_log=$scratch/$1/test/$2.log
  shift 3
  printf '%s\n' "$@" >"$shell_log"
}
says() { # LINE STATUS BUILD...
  says_line=$1 says_status=$2
  shift 2
  (cd "$scratch" && "$count" "$@" >"$scratch/said" 2>"$scratch/complaints")
  says_got=$?
  cat "$scratch/said" "$scratch/complaints"
  test $says_got -eq "$says_status" && test "$(cat "$scratch/said")" = "$says_line"
}

suite good a PASS 'Running suite(s): a' '100%: Checks: 12, Failures: 0, Errors: 0'
suite good b PASS 'ok: x' '100%: Checks: 2, Failures: 0, Errors: 0, Skipped: 1'
suite good c PASS ''
suite good d SKIP ''
suite two a PASS '100%: Checks: 3, Failures: 0, Errors: 0'
suite bad a PASS '100%: Checks: 12, Failures: 0, Errors: 0'
suite bad b FAIL '60%: Checks: 5, Failures: 1, Errors: 1' 'test_b.c:9:F:core:name:0: no'
suite leak a FAIL '100%: Checks: 4, Failures: 0, Errors: 0' 'leaked'
suite crash a FAIL 'Running suite(s): a'
suite crash b ERROR ''
suite crash c PASS '100%: Checks: 1, Failures: 0, Errors: 0'
suite none a PASS '100%: Checks: 0, Failures: 0, Errors: 0'
suite skipped a SKIP '100%: Checks: 0, Failures: 0, Errors: 0, Skipped: 4'
mkdir -p "$scratch/empty/test"

ok cases_are_added_up says '15 passed, 0 failed, 2 skipped' 0 good
ok builds_are_added_up says '18 passed, 0 failed, 2 skipped' 0 good two
ok failed_cases_fail says '15 passed, 2 failed' 1 bad
ok suite_that_failed_without_a_case_fails says '4 passed, 1 failed' 1 leak
ok suite_that_crashed_fails says '1 passed, 2 failed' 1 crash
ok suite_without_cases_fails says '0 passed, 1 failed' 1 none
ok skipped_suite_alone_fails says '0 passed, 0 failed, 4 skipped' 1 skipped
ok build_that_ran_nothing_fails says '3 passed, 1 failed' 1 two empty
ok build_that_is_not_there_fails says '3 passed, 1 failed' 1 two absent
ok failure_is_named grep -q 'absent' "$scratch/complaints"
finish

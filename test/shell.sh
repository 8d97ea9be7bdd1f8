# shell.sh - for tests written in sh: source it, say `ok NAME COMMAND...` or `skip NAME REASON` for each case, end with
# `finish`. The last line has the form that Check's own has, and test/count reads both.
# $scratch is an empty directory, removed at the end.
set -u
checks=0 failures=0 skipped=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/colock-test.XXXXXX") || exit 99
trap 'rm -rf "$scratch"' EXIT
trap 'exit 99' HUP INT TERM

ok() {
  checks=$((checks + 1))
  shell_name=$1
  shift
  if "$@" >"$scratch/output" 2>&1; then
    echo "ok: $shell_name"
  else
    failures=$((failures + 1))
    echo "FAILED: $shell_name: $*"
    sed 's/^/  | /' "$scratch/output"
  fi
}

not() { ! "$@"; }

skip() {
  skipped=$((skipped + 1))
  echo "skipped: $1: $2"
}

finish() {
  percent=100
  test $checks -eq 0 || percent=$(((checks - failures) * 100 / checks))
  tail=
  test $skipped -eq 0 || tail=", Skipped: $skipped"
  echo "$percent%: Checks: $checks, Failures: $failures, Errors: 0$tail"
  test $failures -eq 0 || exit 1
  test $checks -gt 0 || exit 77
  exit 0
}

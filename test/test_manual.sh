#!/bin/sh
# test_manual.sh - the manual pages are well formed. (That they say what the code does: also
# test_keys, test_manual_file, test_examples.)
. "$abs_top_srcdir/test/shell.sh"

# From an empty directory: mandoc looks for the pages that are referred to, and that they are not there is style, not a
# warning.
well_formed() { (cd "$scratch" && mandoc -Tlint -Wwarning "$1"); }

# A word of the header that colock(3) lacks is said; that there are words at all is checked too.
all_said() { # FORMAT WORD...
  format=$1 count=0 lacking=
  shift
  for word in "$@"; do
    count=$((count + 1))
    # shellcheck disable=SC2059 # it is one
    grep -q "$(printf "$format" "$word")" "$abs_top_srcdir/man/colock.3" || lacking="$lacking $word"
  done
  echo "$count words; lacking:$lacking"
  test $count -gt 30 && test -z "$lacking"
}
header=$abs_top_srcdir/include/colock.h
functions=$(sed -n 's/^COLOCK_API .*[ *]\(colock_[a-z_]*\)(.*/\1/p' "$header")
constants=$(sed -n 's/^  \(COLOCK_[A-Z_]*\)\([ ,].*\)\{0,1\}$/\1/p' "$header")

for page in "$abs_top_srcdir"/man/*.[1-9]; do
  if command -v mandoc >/dev/null; then
    ok "${page##*/}" well_formed "$page"
  else
    skip "${page##*/}" 'no mandoc here (Debian, Fedora: mandoc)'
  fi
done
# shellcheck disable=SC2086 # lists
ok 'colock.3_has_every_function' all_said '^\.Fn %s ' $functions
# shellcheck disable=SC2086
ok 'colock.3_has_every_constant' all_said '%s\($\|[^A-Z_]\)' $constants
finish

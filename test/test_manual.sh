#!/bin/sh
# test_manual.sh - the manual pages are well formed. (That they say what the code does: test_keys, test_manual_file, test_examples.)
. "$abs_top_srcdir/test/shell.sh"

# From an empty directory: mandoc looks for the pages that are referred to, and only style, not a warning, is their absence.
well_formed() { (cd "$scratch" && mandoc -Tlint -Wwarning "$1"); }

for page in "$abs_top_srcdir"/man/*.[1-9]; do
  if command -v mandoc >/dev/null; then
    ok "${page##*/}" well_formed "$page"
  else
    skip "${page##*/}" 'no mandoc here (Debian, Fedora: mandoc)'
  fi
done
finish

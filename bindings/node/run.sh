#!/bin/sh
# run.sh check|bench - what `make check-node` and `make bench-node` do: install the built library below node/root, copy
# this folder to node/package, get the packages, build the addon there, run the tests or the benchmark.
#
# The tests' output is in node/test/node.log, with a last line in the form of Check's, and the verdict in node.trs
# beside it: test/count reads both (test/count . node). Where Node.js or the packages are not to be had, it says so and
# skips.
set -u
unset MAKEFLAGS MFLAGS MAKELEVEL
what=$1
source=$abs_top_srcdir/bindings/node
work=$abs_top_builddir/node
package=$work/package
root=$work/root
log=$work/bench.log
test "$what" = bench || log=$work/test/node.log
mkdir -p "$work/test" "$package" || exit 99
: >"$log"

verdict() { test "$what" = bench || echo ":test-result: $1" >"$work/test/node.trs"; }

skip() {
  echo "node: skipped: $*" | tee -a "$log"
  verdict SKIP
  exit 0
}

fail() {
  verdict FAIL
  tail -n 60 "$log" >&2
  echo "node: failed: $*  (all of it: $log)" >&2
  exit 1
}

step() { # WHAT COMMAND...
  step_name=$1
  shift
  "$@" >>"$log" 2>&1 </dev/null || fail "$step_name"
}

# A lock file that does not agree with package.json is our mistake, a registry that does not answer is not.
packages() {
  cmp -s "$source/package-lock.json" "$work/packages-of" && return
  rm -rf "$work/packages-of" "$work/template" # made by another PGlite
  mkdir -p "$work/template"
  (cd "$package" && npm ci --ignore-scripts --no-audit --no-fund) >"$work/npm.log" 2>&1 </dev/null
  code=$?
  cat "$work/npm.log" >>"$log"
  if grep -q 'EUSAGE\|EINTEGRITY' "$work/npm.log"; then fail 'package.json and package-lock.json do not agree'; fi
  test $code -eq 0 || skip 'npm cannot get the packages here'
  cp "$source/package-lock.json" "$work/packages-of"
}

# As any program would be built that uses an installed colock.
build() {
  rm -rf "$root"
  step 'make install' "$MAKE" -C "$abs_top_builddir" DESTDIR="$root" install
  test -f "$root$libdir/libcolock.so" || skip 'configured with --disable-shared'
  PKG_CONFIG_PATH=$root$pkgconfigdir PKG_CONFIG_SYSROOT_DIR=$root
  LD_LIBRARY_PATH=$root$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH PKG_CONFIG CC
  step 'building the addon' "$MAKE" -C "$package" clean build/colock.node
}

count() { awk -v name="$1" '$1 == "#" && $2 == name { n = $3 } END { print n + 0 }' "$log"; }

summary() {
  tests=$(count tests) passed=$(count pass) skipped=$(($(count skipped) + $(count todo)))
  failed=$((tests - passed - skipped)) checks=$((tests - skipped))
  percent=0
  test $checks -eq 0 || percent=$((passed * 100 / checks))
  echo "$percent%: Checks: $checks, Failures: $failed, Errors: 0, Skipped: $skipped" | tee -a "$log"
}

command -v node >/dev/null || skip 'there is no node'
command -v npm >/dev/null || skip 'there is no npm'
node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' ||
  skip "node is $(node --version), and 20 is needed"

verdict FAIL
rm -rf "$package/test" "$package/native"
(cd "$source" && tar --exclude=./node_modules --exclude=./build -cf - .) | (cd "$package" && tar -xf -) ||
  fail 'copying bindings/node'
packages
build
cd "$package" || exit 99
if test "$what" = bench; then exec node bench.mjs; fi

COLOCK_TEST_COMMAND=$(find "$root" -path '*/bin/colock')
COLOCK_TEST_TEMPLATE=$work/template
export COLOCK_TEST_COMMAND COLOCK_TEST_TEMPLATE
node --test --test-timeout=600000 --test-reporter=tap test/*.test.mjs >>"$log" 2>&1 </dev/null
code=$?
summary
test $code -eq 0 || fail 'tests'
verdict PASS

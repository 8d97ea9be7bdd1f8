#!/bin/sh
# Programs of users, linked against an installed colock by pkg-config: with the shared library, with the static one,
# wholly statically; and every example the same way.
. "$abs_top_srcdir/test/shell.sh"
unset MAKEFLAGS MFLAGS MAKELEVEL
dest=$scratch/dest

# The installation lies below DESTDIR, and pkg-config puts that before the paths that it prints.
PKG_CONFIG_PATH=$dest$pkgconfigdir
PKG_CONFIG_SYSROOT_DIR=$dest
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
flags() { $PKG_CONFIG "$@" colock; }
# Without the sysroot: other libraries are where they are
plain_flags() { (unset PKG_CONFIG_SYSROOT_DIR; $PKG_CONFIG "$@"); }

compile() { $CC -std=c11 -Wall -Wextra -Werror "$@"; }
runs() { "$1" "$PACKAGE_VERSION" "$scratch/test.lock"; }
needs_library() { LD_LIBRARY_PATH= ldd "$1" | grep 'libcolock\.so'; }

ok install $MAKE -C "$abs_top_builddir" DESTDIR="$dest" install
ok pkg_config_knows_the_version test "$(flags --modversion)" = "$PACKAGE_VERSION"
ok pkg_config_finds_this_installation sh -c "echo '$(flags --cflags --libs)' | grep -F '$dest'"
ok shared_link_is_not_told_of_libyaml sh -c "echo '$(flags --libs)' | grep lcolock | grep -v yaml"
ok static_link_is_told_of_libyaml sh -c "echo '$(flags --libs --static)' | grep yaml"

program=$abs_top_srcdir/test/test_link.c
if test -f "$abs_top_builddir/.libs/libcolock.so"; then
  ok shared_link compile -o "$scratch/shared" "$program" $(flags --cflags --libs)
  ok shared_link_uses_the_library needs_library "$scratch/shared"
  ok shared_program_runs env LD_LIBRARY_PATH="$dest$libdir" "$scratch/shared" "$PACKAGE_VERSION" "$scratch/test.lock"
  # As a plug-in's or an interpreter's: little is left then of thread-local storage that is found without a call.
  cat >"$scratch/late.c" <<'END'
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
  void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
  int (*version)(void) = 0;
  if (library)
    *(void **)&version = dlsym(library, "colock_version");
  if (!version)
    return fprintf(stderr, "%s\n", dlerror()), 1;
  return version() == 0 || dlclose(library) != 0;
}
END
  small_thread_local_storage() {
    test "$((0x$(objdump -p "$1" | awk '$1 == "TLS" { getline; print substr($4, 3) }')))" -le 128
  }
  ok late_program compile -o "$scratch/late" "$scratch/late.c" -ldl
  ok library_can_be_loaded_late "$scratch/late" "$dest$libdir/libcolock.so"
  ok its_thread_local_storage_is_small small_thread_local_storage "$dest$libdir/libcolock.so"
else
  skip shared_link 'configured with --disable-shared'
fi

if test -f "$abs_top_builddir/.libs/libcolock.a"; then
  ok static_link compile -o "$scratch/static" "$program" $(flags --cflags) "$dest$libdir/libcolock.a" \
    $(plain_flags --libs --static yaml-0.1) -pthread
  ok static_link_needs_no_library not needs_library "$scratch/static"
  ok static_program_runs runs "$scratch/static"

  # Fedora keeps the static C library in a package of its own, and has no static libyaml
  echo 'int yaml_parser_initialize(void *); int main(void) { return yaml_parser_initialize(0); }' >"$scratch/probe.c"
  if $CC -static -o "$scratch/probe" "$scratch/probe.c" $(plain_flags --libs --static yaml-0.1) >/dev/null 2>&1; then
    ok wholly_static_link compile -static -o "$scratch/whole" "$program" $(flags --cflags --libs --static)
    ok wholly_static_program_runs runs "$scratch/whole"
  else
    skip wholly_static_link 'no static C library or libyaml here'
  fi
else
  skip static_link 'configured with --disable-static'
fi

for example in "$abs_top_srcdir"/examples/*.c; do
  test -f "$example" || continue
  name=$(basename "$example" .c)
  others=
  if grep -q '<sqlite3\.h>' "$example"; then others=sqlite3; fi
  if test -n "$others" && ! plain_flags --exists $others; then
    skip "example_${name}_links" "$others is missing"
    continue
  fi
  ok "example_${name}_links" compile -std=gnu11 -o "$scratch/$name" "$example" $(flags --cflags --libs) \
    ${others:+$(plain_flags --cflags --libs $others)} -pthread
done
finish

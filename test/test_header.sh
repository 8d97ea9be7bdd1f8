#!/bin/sh
# Each header stands alone: the public one in strict C11 and in C++17, those of lib/ as lib/ is compiled.
. "$abs_top_srcdir/test/shell.sh"

compiles() { # HEADER COMPILER ARGUMENT...
  compiles_header=$1
  shift
  printf '#include "%s"\n#include "%s"\n' "$compiles_header" "$compiles_header" >"$scratch/alone.$suffix"
  "$@" -fsyntax-only "$scratch/alone.$suffix"
}

public=$abs_top_srcdir/include
suffix=c
# CC may be several words
ok public_header_is_strict_c11 compiles colock.h $CC -std=c11 -pedantic -Wall -Wextra -Werror -I "$public"
ok public_header_is_strict_c17 compiles colock.h $CC -std=c17 -pedantic -Wall -Wextra -Werror -I "$public"
suffix=cc
if test "$CXX" = no; then
  skip public_header_is_cxx17 'no C++ compiler'
else
  ok public_header_is_cxx17 compiles colock.h $CXX -std=c++17 -pedantic -Wall -Wextra -Werror -I "$public"
fi

suffix=c
for header in "$abs_top_srcdir"/lib/*.h; do
  name=${header##*/}
  ok "lib_${name%.h}_stands_alone" \
    compiles "$name" $CC -std=gnu11 -D_GNU_SOURCE= -Wall -Wextra -Wno-unused-function -Werror -I "$public" \
    -iquote "$abs_top_srcdir/lib"
done

# The check itself can fail.
printf 'size_t planted(void);\n' >"$scratch/planted.h"
ok planted_header_is_refused not compiles planted.h $CC -std=c11 -I "$scratch"
finish

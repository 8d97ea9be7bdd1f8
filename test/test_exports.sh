#!/bin/sh
# What the library shows to the linker is what colock.h declares and what lib/colock.map names: no more, no less.
. "$abs_top_srcdir/test/shell.sh"
header=$abs_top_srcdir/include/colock.h
map=$abs_top_srcdir/lib/colock.map
shared=$abs_top_builddir/.libs/libcolock.so
static=$abs_top_builddir/.libs/libcolock.a

# The functions of a header, those with COLOCK_API or those that forgot it: statements with a "name(", without comments.
declared() { # HEADER WANTED(1: with COLOCK_API, 0: without)
  grep -v '^ *#' "$1" | awk -v wanted="$2" '
    { text = text " " $0 }
    END {
      while ((start = index(text, "/*")) && (length_of = index(substr(text, start + 2), "*/")))
        text = substr(text, 1, start - 1) " " substr(text, start + 2 + length_of + 1)
      count = split(text, statement, /[;{}]/)
      for (i = 1; i <= count; i++)
        if (match(statement[i], /colockp?_[a-z0-9_]+ *\(/) && (statement[i] ~ /COLOCK_API/ ? 1 : 0) == wanted) {
          name = substr(statement[i], RSTART, RLENGTH); sub(/ *\(/, "", name); print name
        }
    }' | sort -u
}
mapped() {
  awk '/global:/ { on = 1; next } /local:/ { on = 0 } on { gsub(/[ \t;]/, ""); if ($0 ~ /^[a-z]/) print }' "$1" |
    sort -u
}
exported() { $NM -D --defined-only "$1" | awk 'NF == 3 && $2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u; }
global() { $NM -g --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u; }

same() { # an empty list is never right
  test -s "$1" && diff -u "$1" "$2"
}

declared "$header" 1 >"$scratch/declared"
declared "$header" 0 >"$scratch/forgotten"
mapped "$map" >"$scratch/mapped"

ok every_function_is_marked_COLOCK_API test ! -s "$scratch/forgotten"
ok map_names_what_the_header_declares same "$scratch/declared" "$scratch/mapped"
if test -f "$shared"; then
  exported "$shared" >"$scratch/exported"
  ok shared_library_exports_what_the_header_declares same "$scratch/declared" "$scratch/exported"
else
  skip shared_library_exports_what_the_header_declares 'configured with --disable-shared'
fi
if test -f "$static"; then
  global "$static" >"$scratch/global"
  # A hidden name that sys/sdt.h gives to every object with a static probe.
  grep -v '^colockp\{0,1\}_' "$scratch/global" | grep -vxF _.stapsdt.base >"$scratch/strange"
  ok static_library_has_all_of_them sh -c "! comm -23 '$scratch/declared' '$scratch/global' | grep ."
  ok static_library_keeps_to_its_own_names test ! -s "$scratch/strange"
else
  skip static_library_has_all_of_them 'configured with --disable-static'
fi

# The checks themselves can fail: one name too many, one too few, one unmarked.
sed 's/^ *colock_open;/&\n    colock_planted;/' "$map" >"$scratch/map"
mapped "$scratch/map" >"$scratch/planted"
ok planted_name_in_the_map_is_seen not same "$scratch/declared" "$scratch/planted"
sed '/^COLOCK_API int colock_acquire(/d' "$header" >"$scratch/planted.h"
declared "$scratch/planted.h" 1 >"$scratch/planted"
ok planted_gap_in_the_header_is_seen not same "$scratch/planted" "$scratch/mapped"
sed 's/^COLOCK_API int colock_acquire(/int colock_acquire(/' "$header" >"$scratch/planted.h"
declared "$scratch/planted.h" 0 >"$scratch/planted"
ok planted_unmarked_function_is_seen grep -qx colock_acquire "$scratch/planted"
finish

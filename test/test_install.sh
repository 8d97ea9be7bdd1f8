#!/bin/sh
# make install and make uninstall, into a DESTDIR: everything is there, an edited configuration survives, nothing else
# stays.
. "$abs_top_srcdir/test/shell.sh"
unset MAKEFLAGS MFLAGS MAKELEVEL
dest=$scratch/dest
conf=$dest$sysconfdir/colock.yaml
shipped=$abs_top_srcdir/conf/colock.yaml

make_it() { $MAKE -C "$abs_top_builddir" DESTDIR="$dest" "$@"; }
# Prints the files below DESTDIR; true if there are any
files() { find "$dest" ! -type d -print | grep .; }
has() { # NAME...
  for has_name; do
    find "$dest" -name "$has_name" | grep . || return 1
  done
}

ok install make_it install
ok everything_is_there has colock colock-top colock.h colock.pc colock.1 colock.3 colock.yaml.5 colock-file.5
ok library_is_there has 'libcolock.*'
ok configuration_is_there cmp "$conf" "$shipped"
command=$(find "$dest" -path '*/bin/colock')
ok command_runs "$command" --help
ok top_runs "$command" help top
mkdir "$scratch/alone"
cp "$command" "$scratch/alone"
top_is_missed() {
  "$scratch/alone/colock" top --once db.lock 2>"$scratch/missed"
  test $? -eq 71 && grep "cannot run $scratch/alone/colock-top: No such file" "$scratch/missed"
}
ok top_is_missed_by_name top_is_missed
ok uninstall make_it uninstall
ok uninstall_leaves_nothing not files

ok install_again make_it install
echo 'timeout: 7s' >"$conf"
cp "$conf" "$scratch/edited"
ok install_over_an_edited_configuration make_it install
ok edited_configuration_survives cmp "$conf" "$scratch/edited"
ok new_defaults_lie_beside_it cmp "$conf.new" "$shipped"
ok uninstall_with_an_edited_configuration make_it uninstall
ok edited_configuration_stays cmp "$conf" "$scratch/edited"
ok nothing_else_stays test "$(files)" = "$conf"

rm "$conf"
ln -s nowhere "$conf"
ok install_over_a_dangling_link make_it install
ok dangling_link_survives test "$(readlink "$conf")" = nowhere
finish

#!/bin/sh
# report.sh RESULTS.json - the tables (.md) and the picture (.svg, .png) of a run of `make bench-report`, beside it.
# The picture needs gnuplot; without it there is none, which is said.
set -eu
json=$1
base=${json%.json}
awk_file=$(dirname "$0")/table.awk
awk -f "$awk_file" "$json" > "$base.md"
echo "report: $base.md"
command -v gnuplot > /dev/null || { echo "report: no picture, for gnuplot is not installed"; exit 0; }

data=$(mktemp -d)
trap 'rm -rf "$data"' EXIT
bars() { awk -v what=bars -v section="$2" -f "$awk_file" "$json" | sort -t'"' -k3 -g > "$data/$1"; }
bars alone "alone, exclusive"
bars handover "hand-over, median"
bars writer "a writer beside 8 readers of 20 ms each, its longest wait"
bars crash "from the holder's death to the waiter's run, median"
lines() { # NAME PATTERN PEER...
  name=$1 pattern=$2 list=
  shift 2
  for peer; do
    file="$data/$name.$(echo "$peer" | tr -c 'a-zA-Z0-9\n' _)"
    awk -v what=lines -v peer="$peer" -v pattern="$pattern" -f "$awk_file" "$json" > "$file"
    [ -s "$file" ] && list="$list${list:+, }'$file' with linespoints linewidth 2 title '$peer'"
  done
}
lines readers 'that hold$' colock "colock, auto_release" F_OFD_SETLKW "flock(2)" "pthread rwlock" "LMDB transaction" \
  "SQLite begin, rollback"
readers=$list
lines holds 'holds a second$' colock "colock, auto_release" F_OFD_SETLKW "flock(2)" "pthread mutex, robust" \
  "LMDB transaction" "SQLite begin, rollback" "O_EXCL lock file, tried each ms"
holds=$list

draw() { # TERMINAL FILE
  gnuplot << END || { rm -f "$2"; echo "report: no $2: this gnuplot cannot make it"; return 0; }
set terminal $1
set output '$2'
set multiplot layout 3,2 columnsfirst
set grid xtics lc rgb '#dddddd'
set style fill solid
set border 3
set tics nomirror
unset key
set linetype 1 lc rgb '#c0392b'
set linetype 2 lc rgb '#7f8c8d'
set logscale x
set yrange [*:*] reverse
set offsets graph 0, 0, 0.6, 0.6
columns = "using 2:0:(%g):2:(\$0-0.35):(\$0+0.35):3:ytic(1) with boxxyerror lc variable"
bar(file, least) = "'".file."' ".sprintf(columns, least)
set lmargin 34
set title 'lock and unlock, exclusive, nobody in the way, ns'
eval "plot [10:*] ".bar('$data/alone', 10)
set title 'from a release to the run of a waiter that slept, us'
eval "plot [5:*] ".bar('$data/handover', 5)
set title 'the holder is killed: until the waiter runs, ms'
eval "plot [0.02:*] ".bar('$data/crash', 0.02)
set title 'a writer beside 8 readers of 20 ms each: longest wait, ms'
eval "plot [1:*] ".bar('$data/writer', 1)
unset offsets
set lmargin 12
set yrange [*:*] noreverse
set logscale y
set grid
set key outside right top
set linetype 1 lc rgb '#c0392b'
set linetype 2 lc rgb '#e67e22'
set linetype 3 lc rgb '#2980b9'
set linetype 4 lc rgb '#27ae60'
set linetype 5 lc rgb '#8e44ad'
set linetype 6 lc rgb '#16a085'
set linetype 7 lc rgb '#7f8c8d'
set linetype 8 lc rgb '#2c3e50'
set title 'lock and unlock, shared, beside so many that hold, ns'
plot $readers
set xtics (1,2,4,8,16,32,64)
set title 'so many processes lock and unlock, exclusively: holds a second'
plot $holds
END
  echo "report: $2"
}
draw "svg noenhanced size 1500,1350 dynamic background rgb 'white' font 'sans,13'" "$base.svg"
draw "pngcairo noenhanced size 1500,1350 font 'sans,11'" "$base.png"

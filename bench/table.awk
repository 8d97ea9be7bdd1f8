# table.awk - from the JSON of `make bench-peers`, which has a figure a line, to Markdown, or to columns for gnuplot.
#
#   awk -f table.awk results.json                                       the tables
#   awk -v what=bars -v section="hand-over, median" -f table.awk ...    "name" value ours, the least first
#   awk -v what=lines -v peer=NAME -v pattern="processes?, holds" ...   the number in the section's title, value

function text_of(key,    at, rest) {
  at = index($0, "\"" key "\":\"")
  if (!at)
    return ""
  rest = substr($0, at + length(key) + 4)
  return substr(rest, 1, index(rest, "\"") - 1)
}

function number_of(key,    at, rest) {
  at = index($0, "\"" key "\":")
  if (!at)
    return ""
  rest = substr($0, at + length(key) + 3)
  sub(/[,}].*/, "", rest)
  return rest ~ /^[-0-9]/ ? rest + 0 : rest
}

function is_own(name) { return name ~ /^colock/ }

# 3 digits, in a unit that suits.
function show(value, unit,    scaled) {
  if (unit == "ns" || unit == "us" || unit == "ms") {
    scaled = value * (unit == "ns" ? 1 : unit == "us" ? 1000 : 1000000)
    if (scaled == 0)
      return "0"
    if (scaled < 999.5)
      return digits(scaled) " ns"
    if (scaled < 999500)
      return digits(scaled / 1000) " us"
    if (scaled < 999500000)
      return digits(scaled / 1000000) " ms"
    return digits(scaled / 1000000000) " s"
  }
  if (unit == "/s")
    return value >= 999500 ? digits(value / 1000000) " M/s" : digits(value / 1000) " k/s"
  return digits(value) " " unit
}

function digits(value) { return sprintf(value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value) }

# How many times as good colock is.
function factor(key) {
  if (ratio[key] == "" || ratio[key] <= 0)
    return ""
  return unit_of[key] == "/s" ? ratio[key] : 1 / ratio[key]
}

function show_factor(f) { return sprintf(f < 0.095 ? "%.1g" : f < 9.95 ? "%.2f" : "%.0f", f) }

function cell(section, name,    key, f) {
  key = section SUBSEP name
  if (!(key in theirs))
    return ""
  f = factor(key)
  return (least[key] == "true" ? "over " : "") show(theirs[key], unit_of[key]) \
         (f == "" || is_own(name) ? "" : " (" show_factor(f) ")")
}

function own(section,    sum, count, i) {
  for (i = 1; i <= names; i++)
    if ((section SUBSEP name_at[i]) in ours) {
      sum += ours[section, name_at[i]]
      count++
    }
  return count ? sum / count : ""
}

function unit_in(section,    i) {
  for (i = 1; i <= names; i++)
    if ((section SUBSEP name_at[i]) in unit_of)
      return unit_of[section, name_at[i]]
}

function table(title, wanted, heads,    s, h, n, i, j, line, any) {
  n = split(wanted, s, "|")
  split(heads, h, "|")
  for (i = 1; i <= n; i++)
    in_table[s[i]] = 1
  printf "\n## %s\n\n| |", title
  for (i = 1; i <= n; i++)
    printf " %s |", h[i]
  printf "\n|---|"
  for (i = 1; i <= n; i++)
    printf "---:|"
  printf "\n| **colock%s** |", wanted ~ /^with auto_release/ ? ", auto_release" : ""
  for (i = 1; i <= n; i++)
    printf " %s |", own(s[i]) == "" ? "" : "**" show(own(s[i]), unit_in(s[i])) "**"
  print ""
  for (j = 1; j <= names; j++) {
    line = ""
    any = 0
    for (i = 1; i <= n; i++) {
      line = line " " cell(s[i], name_at[j]) " |"
      any = any || (s[i] SUBSEP name_at[j]) in theirs
    }
    if (any)
      printf "| %s |%s\n", is_own(name_at[j]) ? "**" name_at[j] "**" : name_at[j], line
  }
}

function losses(    i, j, key, line) {
  print "\n## Where colock is behind\n\nBy more than a tenth:\n"
  for (i = 1; i <= sections; i++) {
    line = ""
    for (j = 1; j <= names; j++) {
      key = section_at[i] SUBSEP name_at[j]
      if (!is_own(name_at[j]) && key in theirs && factor(key) != "" && factor(key) < 0.9)
        line = line (line ? "; " : "") name_at[j] " " show_factor(factor(key))
    }
    if (line && section_at[i] in in_table)
      print "- " section_at[i] ": " line
  }
}

function bars(    i, key) {
  printf "\"colock\" %s 1\n", own(section)
  for (i = 1; i <= names; i++) {
    key = section SUBSEP name_at[i]
    if (key in theirs && theirs[key] > 0)
      printf "\"%s%s\" %s %d\n", name_at[i], least[key] == "true" ? ", at least" : "", theirs[key],
        is_own(name_at[i]) ? 1 : 2
  }
}

function lines(    i, value) {
  for (i = 1; i <= sections; i++)
    if (section_at[i] ~ pattern) {
      value = peer == "colock" ? own(section_at[i]) : theirs[section_at[i], peer]
      match(section_at[i], /[0-9]+/)
      if (value != "")
        print substr(section_at[i], RSTART, RLENGTH), value
    }
}

/"machine":/ { machine = text_of("machine"); quick = /"quick":true/ }
/"missing":/ { missing[++gone] = text_of("missing") ": " text_of("why") }
/"bench":/ {
  title = text_of("bench")
  name = text_of("name")
  key = title SUBSEP name
  if (!(title in known_section)) {
    known_section[title] = 1
    section_at[++sections] = title
  }
  if (!(name in known_name)) {
    known_name[name] = 1
    name_at[++names] = name
  }
  ours[key] = number_of("ours")
  theirs[key] = number_of("theirs")
  least[key] = number_of("theirs_at_least")
  ratio[key] = number_of("ratio")
  unit_of[key] = text_of("unit")
  if (text_of("remark") != "" && least[key] != "true")
    remark[name] = text_of("remark")
}

END {
  if (what == "bars")
    bars()
  else if (what == "lines")
    lines()
  else {
    print "# colock beside what else there is\n"
    print "All in one run" (quick ? " (quick: rough)" : "") ", on " machine ".\n"
    print "In brackets how many times as good colock is: how many times as long the other takes, or how many times as"
    print "often colock gets the lock. Below 1 the other is ahead."
    print "An empty cell: it has no such mode, or was not measured."
    table("One process, nobody in the way", \
          "alone, exclusive|alone, shared|shared, beside 10 that hold|shared, beside 1000 that hold|" \
          "private memory of the first lock of a process, opened and used", \
          "exclusive|shared|shared, beside 10 that hold|beside 1,000|private memory")
    table("The same with auto_release, beside the others", "with auto_release, exclusive|with auto_release, shared", \
          "exclusive|shared")
    table("One waits", \
          "hand-over, median|a writer beside 8 readers of 20 ms each, its longest wait|" \
          "from the holder's death to the waiter's run, median|processor time of each that waits, us a second", \
          "hand-over|a writer beside 8 readers of 20 ms each, its longest wait|the holder is killed|" \
          "processor time a second of each that waits")
    table("Processes that do nothing but lock and unlock, exclusively", \
          "1 process, holds a second|2 processes, holds a second|8 processes, holds a second|" \
          "64 processes, holds a second|8 processes, longest wait", \
          "1|2|8|64|longest wait of 8")
    table("The whole command", "the whole command: colock run FILE true", "run FILE true")
    losses()
    print "\n## Remarks\n"
    for (i = 1; i <= names; i++)
      if (name_at[i] in remark)
        print "- " name_at[i] ": " remark[name_at[i]]
    print "- `over`: it had not come when the run was over"
    for (i = 1; i <= gone; i++)
      print "- not measured: " missing[i]
  }
}

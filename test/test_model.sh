#!/bin/sh
# test_model.sh - the models of the protocol (test/model/README): the quick configurations, each with the result that it
# must have. `make check-model` runs the others too.
. "$abs_top_srcdir/test/shell.sh"
run=$abs_top_srcdir/test/model/run

if ! command -v "${SPIN:-spin}" >/dev/null; then
  skip models 'no spin here (Debian, Ubuntu: spin)'
  finish
fi

for name in $("$run" --list --quick); do
  ok "$name" "$run" "$name"
done

# The runner itself can fail: a fault that a model does not have is not found.
fails_where_nothing_is_wrong() {
  cp -R "$abs_top_srcdir/test/model" "$scratch/planted" && chmod -R u+w "$scratch/planted" &&
    sed 's/ifdef BLIND_CLEAR/ifdef PLANTED/' "$abs_top_srcdir/test/model/queue.pml" >"$scratch/planted/queue.pml" &&
    ! "$scratch/planted/run" BLIND_CLEAR >"$scratch/said" && cat "$scratch/said" &&
    grep -q 'BLIND_CLEAR: complete instead of lost' "$scratch/said"
}
ok runner_fails_where_nothing_is_wrong fails_where_nothing_is_wrong
finish

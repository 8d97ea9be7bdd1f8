/* compare.c - colock beside what else there is, all in one run: the list of peers, the list of benches. */
#include "peer.h"
#include "measure.h"

const struct contender *const peers[] = {
  &kept_contender, &waiting_contender, &classic_peer, &lockf_peer, &flock_peer,   &mutex_peer,     &rwlock_peer,
  &lmdb_peer,      &tdb_peer,          &sqlite_peer,  &boost_peer, &file_peer,    &filelock_peer,  &fasteners_peer,
  &proper_peer,
};
const int peer_count = sizeof peers / sizeof *peers;

static void list_missing(struct run *run) {
  begin_section(run, "peers", "nothing");
  for (int i = 0; i < peer_count; i++) {
    const char *why = peers[i]->missing ? peers[i]->missing() : NULL;
    if (why)
      print_missing(run, peers[i]->name, why);
  }
}

bool can(const struct contender *peer, int mode) {
  return (mode == COLOCK_EXCLUSIVE || !peer->exclusive_only) && (!peer->missing || !peer->missing());
}

const struct bench benches[] = {
  { "missing", "which peers are not there", list_missing },
  { "alone", "lock and unlock, nobody else about", compare_alone },
  { "cached", "the same, with auto_release", compare_cached },
  { "readers", "lock and unlock, shared, beside 1 to 1,000 processes that hold", compare_readers },
  { "handover", "from a release to the waiter's run", compare_handover },
  { "starvation", "how long a writer waits beside 8 readers", compare_starvation },
  { "throughput", "1 to 64 processes that do nothing but lock and unlock", compare_throughput },
  { "crash", "from the holder's SIGKILL to the waiter's run", compare_crash },
  { "idle", "what 32 processes that wait use of the processor", compare_idle },
  { "memory", "private memory of an opened lock", compare_memory },
  { "command", "colock run beside flock(1)", compare_command },
};
const int bench_count = sizeof benches / sizeof *benches;

/* stopped.c - is the process of an entry stopped? See report.h.
 *
 * The kernel is asked when somebody wants to know, and its answer takes some 10 us. Of a thousand holds many are one
 * process's: who goes through the entries of a report gets one answer for those of one process that follow each other.
 * Who asks for the same entry again, or for one before it, wants to know anew.
 */
#include "identity.h"
#include "report.h"
#include <string.h>

_Static_assert(_Alignof(struct colock_entry) >= 4, "an answer fits beside a pointer");
#define ANSWER ((uintptr_t)3)

static bool same_process(const struct colockp_identity *a, const struct colockp_identity *b) {
  return a->pid == b->pid && a->start_ticks == b->start_ticks && a->pid_namespace == b->pid_namespace &&
         strcmp(a->boot_id, b->boot_id) == 0;
}

int colockp_entry_stopped(const colock_entry *entry) {
  const struct colockp_identity *who = &entry->identity;
  _Atomic uintptr_t *place = entry->asked ? &entry->asked->last[(uint32_t)who->pid % COLOCKP_ASKED] : NULL;
  uintptr_t last = place ? atomic_load(place) : 0;
  const colock_entry *before = (const colock_entry *)(last & ~ANSWER);
  int answer = before && before < entry && same_process(&before->identity, who) ? (int)(last & ANSWER) - 1
                                                                               : colockp_process_stopped(who);
  if (place)
    atomic_store(place, (uintptr_t)entry | (uintptr_t)(answer + 1));
  return answer;
}

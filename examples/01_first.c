#include <colock.h>
#include <stdio.h>
int main(void) {
  colock *lock; colock_hold *hold;
  if (colock_open(&lock, "db.lock", NULL) || colock_acquire(lock, COLOCK_EXCLUSIVE, &hold)) return 1;
  puts("nobody else is in here");
  return colock_release(hold);
}

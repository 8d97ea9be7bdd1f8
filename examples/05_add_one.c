/* add_one FILE: add one to the number in FILE, beside any number of processes that do the same */
#include <colock.h>
#include <stdio.h>

static int waiting(const colock_report *who, int64_t waited_ms, void *file) {
  fprintf(stderr, "%s: %lld ms behind %lld holders\n", (const char *)file, (long long)waited_ms,
          (long long)colock_report_stat(who, "holders"));
  return 0; /* anything else gives up */
}

static int add_one(const char *file) {
  long long number = 0;
  FILE *f = fopen(file, "r");
  if (f) {
    if (fscanf(f, "%lld", &number) != 1) number = 0;
    fclose(f);
  }
  f = fopen(file, "w");
  if (!f) return perror(file), 1;
  fprintf(f, "%lld\n", number + 1);
  return fclose(f) != 0;
}

int main(int argc, char **argv) {
  if (argc != 2) return fprintf(stderr, "usage: add_one FILE\n"), 64;
  colock *lock = NULL;
  colock_hold *hold = NULL;
  colock_request request;
  colock_request_init(&request, sizeof request, COLOCK_EXCLUSIVE);
  request.timeout_ms = 10000;
  request.purpose = "add one";
  request.on_wait = waiting;
  request.on_wait_arg = argv[1];
  if (colock_open_for(&lock, argv[1], NULL) || colock_acquire_with(lock, &request, &hold)) {
    fprintf(stderr, "%s\n", colock_last_message());
    colock_close(lock);
    return 75;
  }
  if (colock_abandoned(hold)) { /* somebody died between fopen and fclose: look at the data, repair them, then */
    fprintf(stderr, "%s: a writer died; the count may have begun anew\n", argv[1]);
    colock_recovered(hold);
  }
  int failed = add_one(argv[1]);
  if (colock_release(hold)) { /* forced out, or the lock file was replaced, meanwhile */
    fprintf(stderr, "%s\n", colock_last_message());
    failed = 1;
  }
  colock_close(lock);
  return failed;
}

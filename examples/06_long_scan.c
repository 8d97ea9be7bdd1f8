/* long_scan FILE: count the lines of FILE, to which others append lines, and let them in while it lasts */
#include <colock.h>
#include <stdio.h>

int main(int argc, char **argv) {
  static char block[4096];
  if (argc != 2) return fprintf(stderr, "usage: long_scan FILE\n"), 64;
  colock *lock = NULL;
  colock_hold *hold = NULL;
  if (colock_open_for(&lock, argv[1], NULL) || colock_acquire(lock, COLOCK_SHARED, &hold)) {
    fprintf(stderr, "%s\n", colock_last_message());
    colock_close(lock);
    return 75;
  }
  FILE *f = fopen(argv[1], "r");
  long lines = 0, times = 0;
  int code = f ? COLOCK_OK : COLOCK_ENOENT;
  for (size_t n; code == COLOCK_OK && (n = fread(block, 1, sizeof block, f)) > 0;) {
    for (size_t i = 0; i < n; i++) lines += block[i] == '\n';
    if (!colock_contended(hold)) continue;
    uint64_t before = colock_last_token(hold);
    if ((code = colock_yield(hold, COLOCK_FOREVER)) != COLOCK_OK) break; /* nothing is held any more */
    times += colock_last_token(hold) != before;
    /* Who appends changes nothing that was read. A scan of data that may change would now begin anew. */
  }
  if (f) fclose(f);
  int released = colock_release(hold);
  colock_close(lock);
  if (code || released) return fprintf(stderr, "%s: %s\n", argv[1], colock_strerror(code ? code : released)), 1;
  printf("%ld lines; let writers in %ld times\n", lines, times);
  return 0;
}

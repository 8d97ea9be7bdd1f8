/* test_overlay.c - one file reached through an overlay and through its upper directory has two lock tables.
 *
 * Each door's users exclude each other, not those of the other door: two writers at once. So whoever comes second
 * through another door is refused. */
#define _GNU_SOURCE
#include "agent.h"
#include "support.h"
#include "system.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const folders[] = { "fs", "fs/lower", "fs/upper", "fs/work", "fs/merged" };

/* False, and the reason printed: the kernel does not let us. */
static bool mount_overlay(void) {
  char options[1024];
  ck_assert_int_eq(mkdir(test_path("fs"), 0755), 0);
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, "") != 0 ||
      mount("colock-test", test_path("fs"), "tmpfs", 0, "size=32m") != 0)
    return false;
  for (size_t i = 1; i < sizeof folders / sizeof *folders; i++)
    ck_assert_int_eq(mkdir(test_path(folders[i]), 0755), 0);
  snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", test_path("fs/lower"), test_path("fs/upper"),
           test_path("fs/work"));
  if (mount("colock-test", test_path("fs/merged"), "overlay", 0, options) == 0)
    return true;
  umount2(test_path("fs"), MNT_DETACH);
  return false;
}

static void unmount_overlay(void) {
  agent_end_all();
  umount2(test_path("fs/merged"), MNT_DETACH);
  umount2(test_path("fs"), MNT_DETACH);
}

#define NEED_OVERLAY() \
  if (!mount_overlay()) { \
    test_skip("no overlay could be mounted (needs root and mount namespaces)"); \
    return; \
  }

START_TEST(second_door_is_refused_while_somebody_uses_the_first) {
  NEED_OVERLAY();
  struct agent *overlay = agent_open(test_path("fs/merged/a.lock")), *upper = agent_start();
  ck_assert_int_eq(agent_call(upper, "open %s", agent_word(test_path("fs/upper/a.lock"))), COLOCK_ECORRUPT);
  ck_assert_ptr_nonnull(strstr(upper->text, "another device"));
  ck_assert_int_eq(agent_call(overlay, "close"), COLOCK_OK);
  ck_assert_int_eq(agent_call(upper, "open %s", agent_word(test_path("fs/upper/a.lock"))), COLOCK_OK);
  ck_assert_int_eq(agent_call(upper, "acquire x 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(overlay, "open %s", agent_word(test_path("fs/merged/a.lock"))), COLOCK_ECORRUPT);
  unmount_overlay();
}
END_TEST

/* A hold that was passed on and has ended leaves no slot that looks taken: nobody could tell that from in use. */
START_TEST(passed_on_and_ended_is_not_in_use) {
  NEED_OVERLAY();
  struct agent *overlay = agent_open(test_path("fs/merged/a.lock")), *upper = agent_start();
  ck_assert_int_eq(agent_call(overlay, "acquire x 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(overlay, "inherit 0 1"), COLOCK_OK);
  ck_assert_int_eq(agent_call(overlay, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(overlay, "close"), COLOCK_OK);
  ck_assert_int_eq(agent_call(upper, "open %s", agent_word(test_path("fs/upper/a.lock"))), COLOCK_OK);
  unmount_overlay();
}
END_TEST

static struct agent *other_door;

/* Our SLOT byte is locked and not shown yet: through the other door somebody takes the same slot, and the lock. */
static int interfering_lock(int fd, int command, struct flock *range) {
  int result = colockp_system_default.fcntl_lock(fd, command, range);
  if (command == F_OFD_SETLK && range->l_type == F_WRLCK && range->l_start == COLOCKP_BYTE_SLOT && range->l_len == 1) {
    colockp_system = colockp_system_default;
    ck_assert_int_eq(agent_call(other_door, "open %s", agent_word(test_path("fs/upper/a.lock"))), COLOCK_OK);
    ck_assert_int_eq(agent_call(other_door, "acquire x 0"), COLOCK_OK);
  }
  return result;
}

/* Once in a hundred thousand turns both were seated on one slot, and he who was then refused gave it back: the other,
 * who held on, was not to be seen any more, and the first door stood open beside him. */
START_TEST(refused_at_the_second_door_takes_nothing_back) {
  NEED_OVERLAY();
  const char *path = test_path("fs/merged/a.lock");
  colock *lock = NULL;
  colock_config *config = test_config("verbosity", "quiet", NULL);
  colock_close(test_open(path));
  other_door = agent_start();
  colockp_system.fcntl_lock = interfering_lock;
  must_be(COLOCK_ECORRUPT, colock_open(&lock, path, config));
  must_be(COLOCK_ECORRUPT, colock_open(&lock, path, config));
  ck_assert_int_eq(agent_call(other_door, "check 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(other_door, "release 0"), COLOCK_OK);
  ck_assert_int_eq(agent_call(other_door, "close"), COLOCK_OK);
  must(colock_open(&lock, path, config));
  colock_close(lock);
  colock_config_free(config);
  unmount_overlay();
}
END_TEST

struct inside {
  _Atomic int of_door[2];
  _Atomic int entered[2], together;
};

/* Opens, locks, looks, lets go, again and again. */
static int use_door(struct inside *inside, int door, const colock_config *config) {
  const char *path = test_path(door ? "fs/merged/a.lock" : "fs/upper/a.lock");
  int64_t end = test_now_ms() + 1000;
  while (test_now_ms() < end) {
    colock *lock = NULL;
    colock_hold *hold = NULL;
    int code = colock_open(&lock, path, config);
    if (code == COLOCK_ECORRUPT)
      continue;
    if (code != COLOCK_OK) {
      printf("overlay: code %d, %s\n", code, colock_last_message());
      fflush(stdout);
      return 1;
    }
    if (colock_try_acquire(lock, COLOCK_EXCLUSIVE, &hold) == COLOCK_OK) {
      inside->of_door[door]++;
      inside->entered[door]++;
      inside->together += inside->of_door[!door] != 0;
      inside->of_door[door]--;
      if (colock_release(hold) != COLOCK_OK)
        return 2;
    }
    colock_close(lock);
  }
  return 0;
}

START_TEST(both_doors_at_once_never_let_two_in) {
  NEED_OVERLAY();
  struct inside *inside = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ck_assert_ptr_ne(inside, MAP_FAILED);
  colock_config *config = test_config("verbosity", "quiet", NULL);
  /* Made before: an overlay remembers that a name was absent, and does not see that it was created below. */
  colock_close(test_open(test_path("fs/merged/a.lock")));
  pid_t children[2];
  for (int door = 0; door < 2; door++) {
    children[door] = fork();
    if (children[door] == 0)
      _exit(use_door(inside, door, config));
  }
  for (int door = 0; door < 2; door++) {
    int status;
    ck_assert_int_eq(waitpid(children[door], &status, 0), children[door]);
    ck_assert_int_eq(status, 0);
  }
  printf("overlay: %d times through the upper directory, %d through the overlay\n", inside->entered[0],
         inside->entered[1]);
  ck_assert_int_gt(inside->entered[0] + inside->entered[1], 0);
  ck_assert_int_eq(inside->together, 0);
  munmap(inside, 4096);
  colock_config_free(config);
  unmount_overlay();
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "overlay", 60);
  tcase_add_test(tcase, second_door_is_refused_while_somebody_uses_the_first);
  tcase_add_test(tcase, passed_on_and_ended_is_not_in_use);
  tcase_add_test(tcase, refused_at_the_second_door_takes_nothing_back);
  tcase_add_test(tcase, both_doors_at_once_never_let_two_in);
}

int main(int argc, char **argv) { return test_main(argc, argv, "overlay", fill); }

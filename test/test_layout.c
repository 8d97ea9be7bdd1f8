/* test_layout.c - the bytes of a lock file stand where colock-file(5) says, as numbers and in a file that was made. */
#define _GNU_SOURCE
#include "support.h"
#include <string.h>

START_TEST(documented_offsets_hold) {
  ck_assert_int_eq(COLOCKP_AT_QUEUE, 4096);
  ck_assert_int_eq(COLOCKP_AT_BELLS, 4096 + 65536 * 16);
  ck_assert_int_eq(colockp_at_base(1), 4096 + 65536 * 20 + 8192);
  ck_assert_int_eq(colockp_at_base(2), 4096 + 65536 * 20);
  ck_assert_int_eq(COLOCKP_AT_SLOTS, 4096 + 65536 * 20 + 2 * 8192);
  ck_assert_int_eq(colockp_at_slot(3), COLOCKP_AT_SLOTS + 3 * 8192);
  ck_assert_int_eq(COLOCKP_BYTE_GUARD, 0x40000000);
  ck_assert_int_eq(COLOCKP_BYTE_PROBE, 0x40000010);
  ck_assert_int_eq(COLOCKP_BYTE_SLOT, 0x40010000);
  ck_assert_int_eq(COLOCKP_BYTE_LANE, 0x50000000);
  ck_assert_int_eq(COLOCKP_BYTE_UPGRADE, 0x60000000);
  ck_assert_int_eq(COLOCKP_ALL_FROM, 0x40010000);
  ck_assert_int_eq(COLOCKP_ALL_FROM + COLOCKP_ALL_LENGTH, 0x70000000);
}
END_TEST

START_TEST(lanes_wrap_within_their_range) {
  static const uint32_t generations[] = {1, 2, COLOCKP_LANES - 1, COLOCKP_LANES, COLOCKP_LANES + 1, UINT32_MAX};
  for (size_t i = 0; i < sizeof generations / sizeof generations[0]; i++) {
    int64_t lane = colockp_lane(generations[i]);
    ck_assert(lane >= COLOCKP_BYTE_LANE && lane < COLOCKP_BYTE_LANE + COLOCKP_LANES);
    ck_assert_int_ne(lane, colockp_lane(colockp_generation_next(generations[i])));
  }
  ck_assert_uint_eq(colockp_generation_next(UINT32_MAX), 1);
}
END_TEST

/* Where waiters stand: by key; readers of a past phase 64 places further ahead, writers and upgraders never. */
START_TEST(place_in_line_is_key_and_phase) {
  const uint64_t b = COLOCKP_KEY_BASE, phase = b + 100;
  static const struct { int64_t at; uint64_t bits; int64_t place; } c[] = {
    {99, 0, 35}, {100, 0, 100}, {101, 0, 101}, {0, 0, -64},
    {99, COLOCKP_RANK_EXCLUSIVE, 99}, {0, COLOCKP_RANK_EXCLUSIVE, 0}, {99, COLOCKP_RANK_PASSED, 35}};
  for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
    uint64_t rank = (b + (uint64_t)c[i].at) << COLOCKP_RANK_KEY_SHIFT | c[i].bits;
    ck_assert_uint_eq(colockp_rank_place(rank, phase), b + (uint64_t)c[i].place);
    ck_assert_int_eq(colockp_rank_waits(rank), c[i].bits != COLOCKP_RANK_PASSED);
  }
  uint64_t upgrade = COLOCKP_KEY_UPGRADE << COLOCKP_RANK_KEY_SHIFT;
  ck_assert_uint_eq(colockp_rank_place(upgrade | COLOCKP_RANK_EXCLUSIVE, phase), COLOCKP_KEY_UPGRADE);
  for (uint64_t key = 1; key <= COLOCKP_PRIORITY_PLACES; key++) /* none passes below 0, nor comes before an upgrader */
    ck_assert_uint_eq(colockp_rank_place(key << COLOCKP_RANK_KEY_SHIFT, phase), key);
  ck_assert_uint_eq(colockp_rank_place((COLOCKP_PRIORITY_PLACES + 1) << COLOCKP_RANK_KEY_SHIFT, phase), 1);
  ck_assert_int_eq(colockp_rank_waits(0), 0);
}
END_TEST

START_TEST(generation_word_checks_itself) {
  uint64_t word = colockp_generation_word(0x12345678);
  ck_assert_uint_eq(word, UINT64_C(0xedcba98712345678));
  ck_assert(colockp_generation_valid(word));
  ck_assert(!colockp_generation_valid(0));
  ck_assert(!colockp_generation_valid(colockp_generation_word(0)));
  for (int bit = 0; bit < 64; bit++) ck_assert(!colockp_generation_valid(word ^ UINT64_C(1) << bit));
}
END_TEST

static uint64_t number_at(const unsigned char *bytes, size_t at, size_t size) {
  uint64_t n = 0;
  for (size_t i = 0; i < size; i++) n |= (uint64_t)bytes[at + i] << 8 * i;
  return n;
}

/* Read by plain byte numbers, as a program that is not colock would. */
START_TEST(new_file_has_the_documented_header) {
  static unsigned char bytes[COLOCKP_AT_SLOTS];
  const char *path = test_path("a.lock");
  test_make_lock(path);
  ck_assert_uint_eq(test_read(path, bytes, sizeof bytes), sizeof bytes);
  ck_assert_mem_eq(bytes, "COLOCK\r\n", 8);
  ck_assert_uint_eq(number_at(bytes, 8, 4), COLOCKP_VERSION);
  ck_assert_uint_eq(number_at(bytes, 12, 4), COLOCKP_FINGERPRINT);
  ck_assert_uint_eq(number_at(bytes, 16, 4), COLOCKP_CARRIER_MAPPED);
  ck_assert(colockp_generation_valid(number_at(bytes, 128, 8)));
  uint64_t fence = number_at(bytes, 192, 8), ceiling = number_at(bytes, 200, 8);
  ck_assert_uint_gt(fence, UINT64_C(1500000000) * 1000000000);
  ck_assert_uint_gt(ceiling, fence);
  ck_assert_uint_eq(number_at(bytes, 320, 8) & 1, 0); /* nobody waits */
  ck_assert_uint_eq(number_at(bytes, 448, 4), COLOCKP_SLOTS_MIN);
  ck_assert_uint_eq(number_at(bytes, 512, 8), 0); /* nobody has the guard */
  ck_assert_uint_eq(number_at(bytes, 576, 8), 0); /* nor writes */
  ck_assert_uint_eq(number_at(bytes, 584, 8), 0);
}
END_TEST

static void fill(Suite *suite) {
  TCase *tcase = test_case(suite, "layout", 20);
  tcase_add_test(tcase, documented_offsets_hold);
  tcase_add_test(tcase, lanes_wrap_within_their_range);
  tcase_add_test(tcase, place_in_line_is_key_and_phase);
  tcase_add_test(tcase, generation_word_checks_itself);
  tcase_add_test(tcase, new_file_has_the_documented_header);
}

int main(int argc, char **argv) { return test_main(argc, argv, "layout", fill); }

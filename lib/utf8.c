/* utf8.c - see utf8.h. */
#include "utf8.h"

size_t colockp_utf8_read(const char *text, size_t size, uint32_t *point) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* below it a sequence of that length is overlong */
  const unsigned char *byte = (const unsigned char *)text;
  if (size == 0)
    return 0;
  if (byte[0] < 0x80) {
    *point = byte[0];
    return 1;
  }
  size_t length = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : 2;
  if (byte[0] < 0xc2 || byte[0] > 0xf4 || size < length)
    return 0;
  uint32_t value = byte[0] & (0x7fu >> length);
  for (size_t i = 1; i < length; i++) {
    if ((byte[i] & 0xc0) != 0x80)
      return 0;
    value = value << 6 | (byte[i] & 0x3fu);
  }
  if (value < least[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
    return 0;
  *point = value;
  return length;
}

size_t colockp_utf8_whole(const char *text, size_t size) {
  for (size_t back = 1; back <= 4 && back <= size; back++) {
    unsigned char byte = (unsigned char)text[size - back];
    if (byte < 0x80)
      return size;
    if (byte < 0xc0)
      continue;
    size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > back ? size - back : size;
  }
  return size;
}

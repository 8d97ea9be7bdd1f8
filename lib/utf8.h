/* utf8.h - reading UTF-8 strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef COLOCKP_UTF8_H
#define COLOCKP_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* How many bytes the character at `text` has (1 to 4), looking at no more than `size` of them; 0 if they are no
 * character. Stores its code point. */
size_t colockp_utf8_read(const char *text, size_t size, uint32_t *point);

/* How much of the `size` bytes at `text` to keep so that no character is cut at the end. */
size_t colockp_utf8_whole(const char *text, size_t size);

#endif

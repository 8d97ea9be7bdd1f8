/* top_main.c - the program colock-top. */
#include "top.h"

#include <locale.h>

int main(int argc, char **argv) {
  tool_signals_begin();
  setlocale(LC_CTYPE, "");
  return top_run(argc, argv);
}

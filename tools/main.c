/* main.c - the colock command: which subcommand, help, version. */
#include "tool.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static const struct tool_command *const commands[] = {&tool_run,  &tool_status, &tool_top,   &tool_stats,
                                                      &tool_wait, &tool_unlock, &tool_config};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void put_overview(FILE *to) {
  fputs("usage: colock COMMAND [OPTION]... [ARG]...\n"
        "Reader-writer locks between processes, kept in one lock file.\n\n", to);
  for (size_t i = 0; i < COMMANDS; i++)
    fprintf(to, "  colock %-8s %s\n", commands[i]->name, commands[i]->summary);
  fputs("\n  colock help COMMAND, colock --version\n\n"
        "Example: colock run db.lock -- ./migrate 42\n", to);
}

static const struct tool_command *find(const char *name) {
  for (size_t i = 0; i < COMMANDS; i++)
    if (strcmp(commands[i]->name, name) == 0)
      return commands[i];
  return NULL;
}

static int unknown(const char *what, const char *name) {
  const char *names[COMMANDS];
  for (size_t i = 0; i < COMMANDS; i++)
    names[i] = commands[i]->name;
  const char *near = tool_closest(name, names, COMMANDS);
  char *safe = tool_escaped(name);
  if (near != NULL)
    tool_tell("unknown %s '%s': did you mean '%s'?", what, safe, near);
  else
    tool_tell("unknown %s '%s'; see: colock --help", what, safe);
  free(safe);
  return TOOL_USAGE;
}

static int show_help(int argc, char **argv) {
  if (argc > 1) {
    const struct tool_command *command = find(argv[1]);
    if (command == NULL)
      return unknown("subcommand", argv[1]);
    char option[] = "--help", *wanted[] = {argv[1], option, NULL};
    return command->help != NULL ? tool_print_help(command) : command->run(2, wanted);
  }
  put_overview(tool_out());
  return tool_flush(TOOL_OK);
}

static int show_version(void) {
  int version = colock_version();
  fprintf(tool_out(), "colock %d.%d.%d\n", version / 10000, version / 100 % 100, version % 100);
  return tool_flush(TOOL_OK);
}

int main(int argc, char **argv) {
  tool_signals_begin();
  setlocale(LC_CTYPE, ""); /* for the width of characters on the terminal; nothing else is translated */
  if (argc < 2) {
    char *text = NULL;
    size_t size = 0;
    FILE *to = tool_memory(&text, &size);
    put_overview(to);
    fclose(to);
    tool_tell("which subcommand?\n\n%s", text);
    free(text);
    return TOOL_USAGE;
  }
  if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
    return show_help(argc - 1, argv + 1);
  if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
    return show_version();
  const struct tool_command *command = find(argv[1]);
  if (command == NULL)
    return unknown(argv[1][0] == '-' ? "option" : "subcommand", argv[1]);
  return command->run(argc - 1, argv + 1);
}

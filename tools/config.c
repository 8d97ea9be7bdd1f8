/* config.c - colock config: every setting in force, where it comes from, what it means: itself a configuration file. */
#include "tool.h"

#include <stdlib.h>
#include <string.h>

static const char help[] =
  "usage: colock config [--json] [--set KEY=VALUE]... [--file FILE]\n"
  "Show every setting in force and where it comes from: the default, a file (FILE:LINE:COLUMN), the environment,\n"
  "--set. The later wins. The output is itself a valid configuration file.\n"
  "\n"
  "      --file FILE      read FILE in place of the first of $COLOCK_CONFIG, $XDG_CONFIG_HOME/colock.yaml and the\n"
  "                       system's colock.yaml\n"
  "      --set KEY=VALUE  as with colock run; may be repeated\n"
  "      --json           as JSON, with type, range and default of each\n"
  "  -h, --help           this text\n"
  "\n"
  "Exit status: 0 done; 64 usage; 71 system; 78 something is wrong with the configuration.\n";

static char *yaml_line(const char *name, const char *value) {
  char *text = NULL;
  size_t size = 0;
  FILE *to = tool_memory(&text, &size);
  fprintf(to, "%s: ", name);
  tool_yaml(to, value);
  fclose(to);
  return text;
}

static void put_yaml(const colock_config *config) {
  const colock_key *key;
  int widest = 0;
  for (int pass = 0; pass < 2; pass++) /* the first pass measures */
    for (size_t i = 0; (key = colock_config_key(i)) != NULL; i++) {
      const char *value = colock_config_get(config, key->name), *source = colock_config_source(config, key->name);
      char *line = yaml_line(key->name, value != NULL ? value : "");
      if (pass == 0 && (int)strlen(line) > widest && strlen(line) < 40)
        widest = (int)strlen(line);
      if (pass == 1) {
        fprintf(tool_out(), "%-*s  # ", widest, line);
        tool_escape(tool_out(), source != NULL ? source : "?");
        fprintf(tool_out(), "; %s\n", key->help);
      }
      free(line);
    }
}

static void put_member(FILE *to, const char *name, const char *value, const char *after) {
  fprintf(to, "\"%s\": ", name);
  tool_json(to, value != NULL ? value : "");
  fputs(after, to);
}

static void put_json(const colock_config *config) {
  const colock_key *key;
  FILE *to = tool_out();
  fputs("{", to);
  for (size_t i = 0; (key = colock_config_key(i)) != NULL; i++) {
    fprintf(to, "%s\n  \"%s\": {", i == 0 ? "" : ",", key->name);
    put_member(to, "value", colock_config_get(config, key->name), ", ");
    put_member(to, "source", colock_config_source(config, key->name), ", ");
    put_member(to, "type", key->type, ", ");
    put_member(to, "range", key->range, ", ");
    put_member(to, "default", key->initial, ", ");
    put_member(to, "help", key->help, "}");
  }
  fputs("\n}\n", to);
}

static int show(const struct tool_settings *settings, bool json) {
  colock_config *config = NULL;
  int status = tool_load_config(settings, &config);
  if (status != TOOL_OK)
    return status;
  if (json)
    put_json(config);
  else
    put_yaml(config);
  colock_config_free(config);
  return tool_flush(TOOL_OK);
}

static int config_main(int argc, char **argv) {
  static const struct option long_options[] = {
    {"json", no_argument, NULL, 256}, {"set", required_argument, NULL, 257}, {"file", required_argument, NULL, 258},
    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
  };
  struct tool_settings settings = {.file = NULL};
  bool json = false;
  int option, status = TOOL_OK;
  opterr = 0;
  while (status == TOOL_OK && (option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
    switch (option) {
    case 256: json = true; break;
    case 257:
      if (!tool_add_setting(&settings, optarg))
        status = tool_usage(&tool_config, "'%s' is not KEY=VALUE", optarg);
      break;
    case 258: settings.file = optarg; break;
    case 'h':
      free(settings.assignments);
      return tool_print_help(&tool_config);
    default: status = tool_bad_option(&tool_config, option, argv, long_options);
    }
  }
  if (status == TOOL_OK && optind < argc)
    status = tool_usage(&tool_config, "'%s' is one argument too many", argv[optind]);
  if (status == TOOL_OK)
    status = show(&settings, json);
  free(settings.assignments);
  return status;
}

const struct tool_command tool_config = {"config", "the settings in force and where each comes from", help,
                                         config_main};

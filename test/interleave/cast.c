/* cast.c - see cast.h. */
#define _GNU_SOURCE
#include "cast.h"

#include "agent.h"
#include "pause.h"
#include "play.h"
#include "trace.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool cast_has(const struct spec_session *session, const char *word) {
  const char *at = strstr(session->settings, word);
  size_t length = strlen(word);
  return at != NULL && (at == session->settings || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' ');
}

void cast_open(char *command, size_t size, const struct spec_session *session, const char *path) {
  char settings[SPEC_TEXT];
  int n = snprintf(command, size, "open %s label=%s verbosity=quiet", agent_word(path), session->name);
  if (strstr(session->settings, "retry_delay=") == NULL)
    n += snprintf(command + n, size - (size_t)n, " retry_delay=10s");
  strcpy(settings, session->settings);
  char *rest = settings;
  for (char *word; (word = strsep(&rest, " ")) != NULL;)
    if (strchr(word, '=') != NULL) n += snprintf(command + n, size - (size_t)n, " %s", word);
}

bool cast_takes_part(const struct spec *spec, const struct spec_permutation *permutation, int session) {
  for (int i = 0; i < permutation->line_count; i++) {
    int who = spec->steps[permutation->lines[i].outcomes[0].step].session;
    if (who == session || (who >= 0 && spec->sessions[who].process == session)) return true;
  }
  return false;
}

bool cast_pause(const char *command, char when[16], char what[24], long *n) {
  *n = 1;
  return sscanf(command, "pause %15s %23s %ld", when, what, n) >= 2 ||
         sscanf(command, "helper %15s %23s %ld", when, what, n) >= 2;
}

bool play_traces(const struct spec *spec) {
  char when[16], what[24];
  long n;
  for (int i = 0; i < spec->step_count; i++)
    if (cast_pause(spec->steps[i].command, when, what, &n) && trace_knows(what)) return true;
  return false;
}

const char *play_lacks(const struct spec *spec, const struct spec_permutation *permutation) {
  char when[16], what[24];
  long n;
  for (int i = 0; i < spec->session_count; i++)
    if (cast_has(&spec->sessions[i], "nobody") && cast_takes_part(spec, permutation, i) && geteuid() != 0)
      return "not root";
  for (int i = 0; i < permutation->line_count; i++) {
    const char *command = spec->steps[permutation->lines[i].outcomes[0].step].command;
    if (cast_pause(command, when, what, &n) && trace_knows(what) && !trace_allowed())
      return "no process can be traced here, instruction by instruction";
  }
  return NULL;
}

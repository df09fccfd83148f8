/* A fake of a run-time compiler, nvrtc's or hiprtc's: what it gives back is the source. */
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define JOINED(prefix, rest) prefix##rest
#define NAME(prefix, rest) JOINED(prefix, rest)
#define FUNCTION(rest) NAME(COMITY_TEST_PREFIX, rest)

EXPORT int FUNCTION(CreateProgram)(void** program, const char* source, const char* name, int headers,
                                   const char* const* texts, const char* const* names) {
  (void)name, (void)texts, (void)names;
  *program = strdup(source);
  return headers == 0 && *program != NULL ? 0 : 1;
}

EXPORT int FUNCTION(CompileProgram)(void* program, int options, const char* const* texts) {
  (void)program;
  for (int i = 0; i < options; ++i) {
    if (texts[i][0] != '-') return 1;
  }
  return options == 3 ? 0 : 1;
}

EXPORT int FUNCTION(GetProgramLogSize)(void* program, size_t* bytes) {
  (void)program;
  *bytes = 1;
  return 0;
}

EXPORT int FUNCTION(GetProgramLog)(void* program, char* text) {
  (void)program;
  *text = '\0';
  return 0;
}

EXPORT int NAME(COMITY_TEST_PREFIX, COMITY_TEST_RESULT_SIZE)(void* program, size_t* bytes) {
  *bytes = strlen(program) + 1;
  return 0;
}

EXPORT int NAME(COMITY_TEST_PREFIX, COMITY_TEST_RESULT)(void* program, char* text) {
  strcpy(text, program);
  return 0;
}

EXPORT int FUNCTION(DestroyProgram)(void** program) {
  free(*program);
  *program = NULL;
  return 0;
}

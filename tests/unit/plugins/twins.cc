#include <lastcall/plugin/manifest_note.h>

LASTCALL_MANIFEST("twin")

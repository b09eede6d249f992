// Linked into our executables (see cmake: it must be an object, for nobody refers to it): blocks the
// signals before the static initialisers of any library can make a thread.
#include "lastcall/signals/signals.h"

// Exits with 0 where the signals were blocked both when its library was loaded and in main, else 1.
#include "witness.h"

#include <lastcall/signals/signals.h>

int main() { return SignalsWereBlockedAtLoad() && lastcall::SignalsAreBlocked() ? 0 : 1; }

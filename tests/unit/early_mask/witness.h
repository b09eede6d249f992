// Whether the signals were blocked when this library's static initialisers ran.
#pragma once

extern "C" bool SignalsWereBlockedAtLoad();

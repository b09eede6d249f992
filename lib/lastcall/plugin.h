// The one header that a plugin needs.
#pragma once

#include <lastcall/plugin/plugin.h>  // IWYU pragma: export

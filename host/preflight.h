// What `lastcall-host --preflight` does: it tries plugins, so that one which aborts or hangs does it here.
#pragma once

#include "wire/channel.h"

namespace lastcall {

// Takes a Preflight from the channel, tries its plugins one after another, and reports each before and
// after. Blocks: until done. The process ends when the other end of the channel is closed.
// Returns the exit code.
int RunPreflight(const Channel& channel);

}  // namespace lastcall

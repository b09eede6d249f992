// Whether there are descriptors enough, asked before gRPC is: what it cannot open it aborts for.
#pragma once

#include <lastcall/base/result.h>

namespace lastcall {

// Whether so many more can be opened now; found by doing so, for the limit alone does not say how
// many are in use, nor what the machine has left.
// Fails: kResourceExhausted, with the limit and what raises it.
Result<> CheckDescriptors(int needed);

}  // namespace lastcall

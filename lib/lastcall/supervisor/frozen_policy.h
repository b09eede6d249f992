// What becomes of a process that is frozen: no call gets through, for everybody who could serve it is held.
#pragma once

namespace lastcall {

enum class FrozenPolicy {
  kReport,   // it is said, and how to have it replaced
  kReplace,  // by a successor; its own calls have FrozenLimit::kGrace
};

}  // namespace lastcall

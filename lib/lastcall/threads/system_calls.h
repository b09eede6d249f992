// The system calls that block, by name: on which descriptor, and whether a signal may come in
// between unseen.
#pragma once

#include <cstdint>
#include <string_view>

namespace lastcall {

struct KernelPlace;

struct SystemCall {
  // What a handler installed with SA_RESTART does to it, by signal(7) and by what the kernel does.
  enum class OnSignal : uint8_t {
    kNoticed,   // it may fail with EINTR, or return early, as a write does of which a part is done
    kGoesOn,    // always
    kReceives,  // it goes on while it has nothing, without a time-out
    kFutex,     // it goes on without a time-out
  };
  // What it waits for, in its arguments.
  enum class On : uint8_t {
    kNothing,     // no descriptor
    kDescriptor,  // the first argument
    kPoll,        // an array of pollfd and its length
    kSelect,      // how many, and three sets
    kEpoll,       // the first argument, which holds more
  };

  long number = -1;
  std::string_view name;
  On on = On::kNothing;
  OnSignal on_signal = OnSignal::kNoticed;
};

// Null: not among those that are known to block.
const SystemCall* FindSystemCall(long number);

// Whether a signal whose handler was installed with SA_RESTART leaves no trace on the sleep at
// `place`. By what is known to be safe: anything else is not.
bool GoesOnAfterSignal(const KernelPlace& place);

}  // namespace lastcall

// What a host tells of its calls to those who ask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <lastcall/rpc/call_info.h>

namespace lastcall {

struct ListedCall {
  std::string server;
  CallInfo call;  // its number is its own among the calls of all servers
};

// A part of a listing; the last says so.
struct CallsPart {
  std::vector<ListedCall> calls;
  bool complete = false;
  uint64_t left_out = 0;  // in the last: those for which there was no room
};
// False: there is no room for more.
using TakeCalls = std::function<bool(CallsPart)>;

struct FinishedPart {
  std::string server;
  FinishedMethod method;
  bool complete = false;  // there is no method in it, and there are no more
  uint64_t left_out = 0;  // then: methods for which there was no room
};
using TakeFinished = std::function<bool(FinishedPart)>;

// One call.
struct CallDetails {
  ListedCall listed;
  std::vector<std::string> stack;         // of the thread that runs its handler, innermost first
  std::string no_stack;                   // why there is none
  std::vector<std::string> profile = {};  // lines: see StallProfile; empty: there is none
};

// Which calls are meant: those with these numbers or, where there are none, what the filter lets
// through.
struct CallChoice {
  std::vector<uint64_t> numbers;
  CallFilter filter;
};

struct CallsCancelled {
  uint64_t cancelled = 0;               // or would be
  std::vector<uint64_t> not_in_flight;  // of the numbers
};

}  // namespace lastcall

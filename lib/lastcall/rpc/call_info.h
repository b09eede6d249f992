// What a host says of the calls of its servers.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include <lastcall/base/clock.h>

namespace lastcall {

struct MethodCount {
  std::string method;  // "/package.Service/Method", made safe
  int64_t in_flight = 0;
  uint64_t total = 0;
};

enum class CallKind : uint8_t { kUnary, kClientStream, kServerStream, kBidiStream };

// What a call waits for, as far as gRPC tells.
enum class CallWaits : uint8_t {
  kHandler,  // it is in the handler's hands
  kInput,    // the client's next message
  kClient,   // that the client takes what was written
  kFinish,   // the handler has given its status; gRPC ends the call
};

// Why a call makes no progress.
enum class StallCause : uint8_t {
  kUnknown,
  kOnCpu,        // its handler computes
  kBlocked,      // its handler sleeps in a system call
  kStarved,      // its handler is ready to run, and has no processor
  kPaused,       // a thread of it is stopped
  kClient,       // its client does not take what was written
  kInput,        // its client sends nothing
  kApplication,  // no thread runs it, and nothing of gRPC's is outstanding
};

// What is known of one call in flight, for reports.
struct CallInfo {
  uint64_t number = 0;  // which call of its server it is, from 1
  std::string method;
  CallKind kind = CallKind::kUnary;
  std::string peer;      // its client's address; empty while that is not known
  std::string identity;  // by which name the client's certificate knows it; empty: none
  Instant began{};
  Instant deadline = kNever;  // its client's
  uint64_t received = 0;      // messages from the client
  uint64_t sent = 0;          // messages that the client's connection took
  Instant progressed{};       // when the last of those came or went, or it began
  CallWaits waits = CallWaits::kHandler;
  bool told = false;  // to leave
  pid_t thread = 0;   // of a sync handler; 0: it has none of its own
  pid_t runs_in = 0;  // of a callback handler: the thread that makes its reactor just now

  // While it is stalled.
  bool stalled = false;
  StallCause cause = StallCause::kUnknown;
  std::string why;  // "blocked in read of fd 17, tcp 10.0.0.5:5432, for 12s"

  // Both names of its client.
  std::string client() const { return identity.empty() ? peer : peer + " " + identity; }
};

// What calls have in common; what is left out matters not. Patterns are as of fnmatch(3).
struct CallFilter {
  std::string server;  // its name
  std::string method;  // a pattern: "/shop.Prices/*"
  std::string client;  // a pattern: of the address, with or without its port, or of the identity
  Duration older{};    // that are at least as old
  bool stalled = false;
};

// A call that is over.
struct FinishedCall {
  uint64_t number = 0;
  std::string client;  // as CallInfo::client
  int status = 0;      // gRPC's code; DEADLINE_EXCEEDED where the client no longer waited for it
  std::string message;
  Instant ended{};
  Duration duration{};
};

// Of one method, what is remembered.
struct FinishedMethod {
  std::string method;
  uint64_t failed = 0;                 // with another status than OK, kept or not
  std::vector<FinishedCall> slowest;   // slowest first
  std::vector<FinishedCall> failures;  // the last ones, latest first
};

}  // namespace lastcall

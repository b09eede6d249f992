// The command line of lastcallctl.
#pragma once

#include <lastcall/base/clock.h>

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace lastcall {

enum class Verb : uint8_t {
  kStatus,
  kServers,
  kWatch,
  kShutdown,
  kReload,
  kRestart,
  kDrain,
  kUndrain,
  kCalls,
  kCall,
  kCancel,
  kWait,
  kConfig,
  kLogLevel,
  kVersion,
};

struct Options {
  Verb verb = Verb::kStatus;
  std::string socket;  // empty: look it up
  bool json = false;
  bool wait = true;
  bool wait_said = false;  // on purpose; it is the default
  std::optional<Duration> timeout;

  std::string server;    // drain, undrain, servers, calls, cancel; empty: all of them
  std::string process;   // restart
  std::string wait_for;  // "serving" or "stopped"
  std::string level;
  std::string reason;
  std::optional<Duration> delay;
  std::optional<Duration> grace;
  std::optional<Duration> cancel;
  bool dry_run = false;

  // Calls, by what they have in common (and `server`) or by their ids.
  std::string method;
  std::string peer;
  std::optional<Duration> older;
  bool stalled = false;
  std::vector<std::string> ids;
  bool watch = false;
  bool recent = false;  // those that have finished
  std::optional<uint32_t> limit;
  bool yes = false;  // nobody is asked whether

  bool filters() const {
    return !server.empty() || !method.empty() || !peer.empty() || older.has_value() || stalled;
  }
};

// Fails: with the exit code, when all is said already (--help, --version) or something is wrong.
tl::expected<Options, int> ParseOptions(int argc, const char* const* argv, std::ostream& out,
                                        std::ostream& err);

}  // namespace lastcall

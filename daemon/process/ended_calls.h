// The calls of incarnations that have ended, so that what a server has served never becomes less when
// a process is replaced or crashes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "lastcall/state/v1/state.pb.h"
#include "lastcall/worker/v1/worker.pb.h"

namespace lastcall {

// The servers that were in the report before and are in the next no more.
worker::v1::Report GoneFrom(const worker::v1::Report& before, const worker::v1::Report& next);

class EndedCalls {
 public:
  struct OfServer {
    uint64_t total = 0;
    std::map<std::string, uint64_t> methods;  // made safe
  };

  // The last report of an incarnation.
  void Add(const worker::v1::Report& last);
  // Forgets the servers of which `exists` says that there are none.
  void KeepOnly(const std::function<bool(const std::string& server)>& exists);

  const OfServer& of(const std::string& server) const;

  // As it travels to another build of the daemon.
  void Save(state::v1::State& state) const;
  void Load(const state::v1::State& state);

 private:
  // Of names that clients invented there may be a thousand in each incarnation, and always others.
  static constexpr size_t kMaxMethods = 4000;

  std::map<std::string, OfServer> servers_;
};

}  // namespace lastcall

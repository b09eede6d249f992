// The calls of incarnations that have ended, so that what a server has served never becomes less when
// a process is replaced or crashes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lastcall/state/v1/state.pb.h"

#include <lastcall/supervisor/process.h>

namespace lastcall {

// The servers that were there before and are in the next report no more.
std::vector<ServerView> GoneFrom(const std::vector<ServerView>& before,
                                 const std::vector<ServerView>& next);

class EndedCalls {
 public:
  struct OfServer {
    uint64_t total = 0;
    std::map<std::string, uint64_t> methods;  // made safe
  };

  // What an incarnation said last of servers of its that have ended.
  void Add(const std::vector<ServerView>& last);
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

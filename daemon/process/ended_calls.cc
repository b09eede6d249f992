#include "daemon/process/ended_calls.h"

#include <algorithm>

namespace lastcall {
namespace {

// As rpc/method_table.cc says it of methods that clients have invented.
constexpr char kFurtherMethods[] = "(others)";

}  // namespace

std::vector<ServerView> GoneFrom(const std::vector<ServerView>& before,
                                 const std::vector<ServerView>& next) {
  std::vector<ServerView> gone;
  for (const ServerView& server : before) {
    const bool stays = std::any_of(next.begin(), next.end(),
                                   [&](const auto& each) { return each.name == server.name; });
    if (!stays) gone.push_back(server);
  }
  return gone;
}

void EndedCalls::Add(const std::vector<ServerView>& last) {
  for (const ServerView& view : last) {
    if (view.calls_total == 0) continue;
    OfServer& server = servers_[view.name];
    server.total += view.calls_total;
    for (const ServerView::Method& method : view.methods) {
      const bool fits = server.methods.size() < kMaxMethods || server.methods.contains(method.name);
      server.methods[fits ? method.name : kFurtherMethods] += method.total;
    }
  }
}

void EndedCalls::KeepOnly(const std::function<bool(const std::string& server)>& exists) {
  std::erase_if(servers_, [&](const auto& one) { return !exists(one.first); });
}

const EndedCalls::OfServer& EndedCalls::of(const std::string& server) const {
  static const OfServer none;
  const auto found = servers_.find(server);
  return found == servers_.end() ? none : found->second;
}

void EndedCalls::Save(state::v1::State& state) const {
  for (const auto& [name, server] : servers_) {
    state::v1::EndedCalls& saved = *state.add_ended_calls();
    saved.set_server(name);
    saved.set_total(server.total);
    for (const auto& [method, total] : server.methods) (*saved.mutable_methods())[method] = total;
  }
}

void EndedCalls::Load(const state::v1::State& state) {
  for (const state::v1::EndedCalls& saved : state.ended_calls()) {
    servers_[saved.server()] = {saved.total(), {saved.methods().begin(), saved.methods().end()}};
  }
}

}  // namespace lastcall

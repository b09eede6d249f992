#include "daemon/process/ended_calls.h"

#include <algorithm>

#include <lastcall/base/safe_text.h>

namespace lastcall {
namespace {

// As rpc/call_registry.cc says it of methods that clients have invented.
constexpr char kFurtherMethods[] = "(others)";

}  // namespace

worker::v1::Report GoneFrom(const worker::v1::Report& before, const worker::v1::Report& next) {
  worker::v1::Report gone;
  for (const worker::v1::ServerReport& server : before.servers()) {
    const bool stays = std::any_of(next.servers().begin(), next.servers().end(),
                                   [&](const auto& each) { return each.name() == server.name(); });
    if (!stays) *gone.add_servers() = server;
  }
  return gone;
}

void EndedCalls::Add(const worker::v1::Report& last) {
  for (const worker::v1::ServerReport& report : last.servers()) {
    if (report.calls_total() == 0) continue;
    OfServer& server = servers_[SafeText(report.name(), kMaxSafeName)];
    server.total += report.calls_total();
    for (const worker::v1::MethodReport& method : report.methods()) {
      const std::string name = SafeText(method.name(), kMaxSafeName);
      const bool fits = server.methods.size() < kMaxMethods || server.methods.contains(name);
      server.methods[fits ? name : kFurtherMethods] += method.total();
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

#include "daemon/admin/server.h"

#include <atomic>
#include <cstdint>
#include <utility>

#include "daemon/admin/service.h"

#include <lastcall/rpc/peer_name.h>

namespace lastcall {
namespace {

// What the callers of a role may have at once. Each call is a thread while it runs, one that waits
// for as long as it waits. Who finds no thread gets RESOURCE_EXHAUSTED, even where the answer would
// be that they may not ask: so there are more than calls that wait, than an observer alone can have
// in flight and than all strangers together can.
struct Measure {
  const char* name;
  int threads;
  uint32_t streams;  // of one connection
  WaitingCalls::Limits waiting;
};

Measure MeasureOf(Role role) {
  switch (role) {
    case Role::kOperator: return {"admin", 160, ServerLimits().streams, {64, 96}};
    case Role::kObserver:
      return {"admin for observers", static_cast<int>(AdminCallers::kOfUser) * 4 + 32, 4, {16, 96}};
    case Role::kStranger: break;
  }
  return {"admin for strangers", static_cast<int>(AdminCallers::kOfStrangers) * 2, 2, {0, 0}};
}

}  // namespace

AdminServer::AdminServer(Roles roles, const Clock& clock, Log log)
    : clock_(clock), log_(log), callers_(std::move(roles), clock, log) {}

AdminServer::~AdminServer() {
  for (const auto& acceptor : acceptors_) acceptor->BeginEnd(false);
  for (const auto& acceptor : acceptors_) acceptor->AwaitEnd();
  for (Entrance& entrance : entrances_) entrance.server = nullptr;
}

Result<std::unique_ptr<AdminServer>> AdminServer::Start(Listener listener, Roles roles,
                                                        AdminBackend& backend, WatchHub& hub,
                                                        const Clock& clock, Log log) {
  if (!PeerName::Works()) {
    return Fail(Code::kInternal,
                "admin: this program has a getpeername() of its own, so callers "
                "cannot be identified; build lastcalld without it");
  }
  std::unique_ptr<AdminServer> admin(new AdminServer(std::move(roles), clock, log));
  for (const Role role : {Role::kStranger, Role::kObserver, Role::kOperator}) {
    const Measure measure = MeasureOf(role);
    Entrance& entrance = admin->entrances_[static_cast<size_t>(role)];
    entrance.service =
        std::make_unique<AdminService>(backend, hub, admin->callers_, measure.waiting, clock, log);
    ServerOptions options;
    options.name = measure.name;
    options.services = {entrance.service.get()};
    options.limits.connections = 0;  // counted by whose they are
    options.probed = role == Role::kOperator;
    options.limits.streams = measure.streams;
    options.limits.threads = static_cast<uint32_t>(measure.threads);
    options.limits.message = 64 << 10;
    options.warn = [log](const std::string& what) { log(LogLevel::kWarning, what); };
    auto server = Server::Start(std::move(options), clock, Termination());
    if (!server) return tl::unexpected(server.error());
    entrance.server = std::move(*server);
    entrance.server->SetServing(true);
  }
  admin->Listen(std::move(listener));
  return admin;
}

void AdminServer::SetRoles(Roles roles) { callers_.SetRoles(std::move(roles)); }

void AdminServer::Listen(Listener listener) {
  // Whoever connected to the one before is still taken in, in its own thread.
  if (!acceptors_.empty()) acceptors_.back()->BeginEnd(true);
  std::erase_if(acceptors_, [](const auto& acceptor) { return acceptor->ended(); });
  std::vector<Listener> listeners;
  listeners.push_back(std::move(listener));
  acceptors_.push_back(std::make_unique<Acceptor>(
      std::move(listeners),
      Acceptor::Callbacks{
          .accepted =
              [this](size_t, UniqueFd connection) {
                const auto admitted = callers_.Admit(connection.get());
                if (!admitted) return;
                entrances_[static_cast<size_t>(admitted->role)].server->Take(std::move(connection),
                                                                             admitted->name);
              },
          .has_room = [] { return true; },
          .warn =
              [log = log_](const std::string& what) { log(LogLevel::kWarning, "admin: " + what); }},
      clock_));
  acceptors_.back()->Resume();
}

bool AdminServer::BeginProbe(std::function<void()> answered) {
  return entrances_[static_cast<size_t>(Role::kOperator)].server->BeginProbe(std::move(answered));
}

void AdminServer::BeginRetire(bool last_call, std::function<void()> retired) {
  // Whoever is told below to come again must not be taken in here.
  if (!last_call) acceptors_.back()->Pause();
  acceptors_.back()->BeginEnd(last_call);
  const auto closed = [this] {
    for (const auto& acceptor : acceptors_) acceptor->AwaitEnd();
  };
  auto left = std::make_shared<std::atomic<size_t>>(entrances_.size());
  for (const Entrance& entrance : entrances_) {
    entrance.server->BeginRetire({.closed = closed}, [left, retired] {
      if (--*left == 0) retired();
    });
  }
}

void AdminServer::Cancel() {
  for (const auto& acceptor : acceptors_) acceptor->BeginEnd(false);
  for (const Entrance& entrance : entrances_) entrance.server->Cancel();
}

}  // namespace lastcall

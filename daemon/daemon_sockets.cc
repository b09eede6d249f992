// How the daemon keeps its servers' listening sockets: notices that one is gone, makes it again.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "daemon/daemon.h"

namespace lastcall {
namespace {

// How long until it looks again at what could not be mended now.
constexpr auto kLookAgain = std::chrono::seconds(5);

}  // namespace

// Of those that are the daemon's own. Hosts take in who waits, for as long as a last call; one that
// hangs does not.
void Daemon::BeginEndListening(const std::set<std::shared_ptr<const Listener>>& sockets,
                               Duration last_call) {
  // A stop came between, and its delay is still served; the rest ends with it.
  const bool later = supervisor_->stage() == Stage::kDelay;
  for (const auto& listener : sockets) {
    if (!listener->own()) continue;
    if (!later && !listener->path().name.empty()) listener->HoldOff();
    ending_.push_back(listener);
  }
  if (ending_.empty() || later) return;
  last_call_.expires_after(last_call);
  last_call_.async_wait([this](const boost::system::error_code& error) {
    if (!error) EndListening();
  });
}

void Daemon::EndListening() {
  for (const auto& listener : std::exchange(ending_, {})) listener->EndListening();
}

void Daemon::WatchSockets() {
  if (supervisor_->stage() != Stage::kServing) return;
  socket_watch_.Begin(setup_.sockets);
  KeepSockets();
}

// Does not begin to watch anew: one that cannot be mended now would be told of without end.
void Daemon::KeepSockets() {
  if (supervisor_->stage() != Stage::kServing) return;
  socket_retry_.cancel();
  // A reload knows better what is to be there, and has its own copies.
  const bool may = reload_->idle();
  bool whole = may, remade = false;
  for (const ServerConfig& server : setup_.config.servers) {
    for (Bound& bound : setup_.sockets[server.name]) {
      if (!may || bound.listener->fault() == Listener::Fault::kNone) continue;
      const auto mended = mending_.TryTake(clock_.Now())
                              ? Mend(server, bound)
                              : Result<bool>(Fail(Code::kUnavailable, ""));
      if (!mended) whole = false;
      if (mended && *mended) {
        remade = true;
        unserved_[server.process] = false;
      }
    }
  }
  std::erase_if(unserved_, [&](const auto& one) {
    return std::none_of(setup_.config.processes.begin(), setup_.config.processes.end(),
                        [&](const ProcessConfig& process) { return process.name == one.first; });
  });
  std::vector<std::string> waiting;
  for (const auto& [process, begun] : unserved_) {
    if (!begun) waiting.push_back(process);
  }
  for (const std::string& process : waiting) {
    if (!may || !ServeAgain(process)) whole = false;
  }
  // Anew: they are watched from there on, and what happened since is seen.
  if (remade) Post([this] { WatchSockets(); });
  if (!whole) LookAgainAtSockets();
}

void Daemon::LookAgainAtSockets() {
  socket_retry_.expires_after(kLookAgain);
  socket_retry_.async_wait([this](const boost::system::error_code& error) {
    if (!error) KeepSockets();
  });
}

// True: it is another socket now, which its process has yet to get.
Result<bool> Daemon::Mend(const ServerConfig& server, Bound& bound) {
  const std::string what = "server " + server.name + ": the listening socket " + bound.text;
  const bool removed = bound.listener->fault() == Listener::Fault::kPathGone;
  const std::string how = removed
                              ? "was removed"
                              : "was shut down by one of those who share it: a plugin of process " +
                                    server.process + ", or what it has started";
  if (!removed && bound.listener->ListenAgain()) {
    Say(LogLevel::kError, what + " " + how + "; it listens again, who waited in its queue is lost");
    lost_sockets_.erase(bound.text);
    return false;
  }
  const auto address = std::find_if(server.listen.begin(), server.listen.end(),
                                    [&](const Address& one) { return one.text == bound.text; });
  Result<Listener> made =
      Fail(Code::kFailedPrecondition, bound.text.starts_with("systemd:")
                                          ? "restart the socket unit that passed it"
                                          : "another process listens there; stop that one");
  if (address != server.listen.end() && address->kind == Address::Kind::kUnix) {
    made = Listener::Bind(*address);
  }
  if (!made) {
    if (lost_sockets_.insert(bound.text).second) {
      Say(LogLevel::kError, what + " " + how + ", and cannot be recreated now: " +
                                made.error().message + "; it is tried every 5 s");
    }
    return tl::unexpected(made.error());
  }
  bound.listener = std::make_shared<const Listener>(std::move(*made));
  lost_sockets_.erase(bound.text);
  Say(LogLevel::kWarning,
      what + " " + how + "; recreated, and process " + server.process + " is replaced to serve it");
  return true;
}

// As after any other change: by a successor that has the new socket from its start. False: that could
// not begin.
bool Daemon::ServeAgain(const std::string& process) {
  const Cause by{.kind = Cause::Kind::kSupervisor,
                 .who = "lastcalld",
                 .reason = "a listening socket was recreated"};
  unserved_[process] = true;
  const auto begun = supervisor_->BeginChanges(
      {{Supervisor::Change::Kind::kReplace, MemberOf(setup_, process)}}, by,
      [this, process](const std::vector<Supervisor::Outcome>& outcomes) {
        const bool failed = std::any_of(outcomes.begin(), outcomes.end(),
                                        [](const auto& one) { return !one.failure.empty(); });
        if (!failed) return (void)unserved_.erase(process);
        unserved_[process] = false;
        Say(LogLevel::kError, "process " + process +
                                  " was not replaced: " + outcomes.back().failure +
                                  "; clients of its recreated sockets wait, it is tried every 5 s");
        Post([this] { LookAgainAtSockets(); });
      });
  if (!begun) unserved_[process] = false;
  return begun.has_value();
}

}  // namespace lastcall

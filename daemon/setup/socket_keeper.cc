#include "daemon/setup/socket_keeper.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

namespace lastcall {
namespace {

// Where it is the configuration's to make; systemd's are not.
Result<Listener> Recreate(const ServerConfig& server, const std::string& text) {
  for (const Address& address : server.listen) {
    if (address.text == text && address.kind == Address::Kind::kUnix)
      return Listener::Bind(address);
  }
  return Fail(Code::kFailedPrecondition, text.starts_with("systemd:")
                                             ? "restart the socket unit that passed it"
                                             : "another process listens there; stop that one");
}

bool HasProcess(const Config& config, const std::string& name) {
  return std::any_of(config.processes.begin(), config.processes.end(),
                     [&](const ProcessConfig& process) { return process.name == name; });
}

}  // namespace

SocketKeeper::SocketKeeper(boost::asio::io_context& loop, const Clock& clock, Log log,
                           Setup& running, Owner owner, Pace pace)
    : loop_(loop),
      clock_(clock),
      log_(std::move(log)),
      running_(running),
      owner_(std::move(owner)),
      pace_(pace),
      watch_(loop, [this] { Look(); }),
      retry_(loop),
      mending_(pace.mending) {}

void SocketKeeper::Begin() {
  if (ended_) return;
  watch_.Begin(running_.sockets);
  Look();
}

void SocketKeeper::End() {
  ended_ = true;
  watch_.End();
  retry_.cancel();
}

// Does not begin to watch anew: one that cannot be mended now would be told of without end.
void SocketKeeper::Look() {
  if (ended_) return;
  retry_.cancel();
  if (!owner_.may_change()) return LookAgain();
  const bool mended = MendAll();
  const bool served = ServeAll();
  if (!mended || !served) LookAgain();
}

void SocketKeeper::LookAgain() {
  retry_.expires_after(pace_.look_again);
  retry_.async_wait(
      [look = WhileAlive([this] { Look(); })](const boost::system::error_code& error) {
        if (!error) look();
      });
}

// What is told of may have begun when this was still there.
std::function<void()> SocketKeeper::WhileAlive(std::function<void()> action) {
  return [alive = std::weak_ptr(alive_), action = std::move(action)] {
    if (!alive.expired()) action();
  };
}

// False: not all of them could be mended.
bool SocketKeeper::MendAll() {
  struct Faulty {
    const ServerConfig& server;
    Bound& bound;
    Listener::Fault fault;
  };
  std::vector<Faulty> faulty;
  for (const ServerConfig& server : running_.config.servers) {
    for (Bound& bound : running_.sockets[server.name]) {
      const auto fault = bound.listener->fault();
      if (fault != Listener::Fault::kNone) faulty.push_back({server, bound, fault});
    }
  }
  // All of them at once or none, so that those that cannot be mended do not hold up others.
  if (!faulty.empty() && !mending_.TryTake(clock_.Now())) return false;
  std::set<std::string> lost;
  bool recreated = false;
  for (const auto& [server, bound, fault] : faulty) {
    const bool said = lost_.contains(bound.text) || lost.contains(bound.text);
    switch (Mend(server, bound, fault, said)) {
      case Outcome::kLost: lost.insert(bound.text); break;
      case Outcome::kListens: break;
      case Outcome::kRecreated:
        unserved_[server.process] = 0;
        recreated = true;
        break;
    }
  }
  lost_ = std::move(lost);
  // Anew: they are watched from there on, and what happened since is seen.
  if (recreated) boost::asio::post(loop_, WhileAlive([this] { Begin(); }));
  return lost_.empty();
}

SocketKeeper::Outcome SocketKeeper::Mend(const ServerConfig& server, Bound& bound,
                                         Listener::Fault fault, bool said) {
  const bool removed = fault == Listener::Fault::kPathGone;
  const std::string what = "server " + server.name + ": the listening socket " + bound.text +
                           (removed ? " was removed"
                                    : " was shut down by a process that shares it: a plugin of "
                                      "process " +
                                          server.process + ", or what it has started");
  if (!removed && bound.listener->ListenAgain()) {
    log_(LogLevel::kError, what + "; it listens again, connections in its queue are lost");
    return Outcome::kListens;
  }
  auto listener = Recreate(server, bound.text);
  if (!listener) {
    if (!said) {
      log_(LogLevel::kError, what + ", and cannot be recreated now: " + listener.error().message +
                                 "; it is tried " + EveryTime());
    }
    return Outcome::kLost;
  }
  bound.listener = std::make_shared<const Listener>(std::move(*listener));
  log_(LogLevel::kWarning,
       what + "; recreated, and process " + server.process + " is replaced to serve it");
  return Outcome::kRecreated;
}

// False: not all replacements could begin.
bool SocketKeeper::ServeAll() {
  std::erase_if(unserved_,
                [&](const auto& one) { return !HasProcess(running_.config, one.first); });
  std::vector<std::string> waiting;
  for (const auto& [process, replacement] : unserved_) {
    if (replacement == 0) waiting.push_back(process);
  }
  bool begun = true;
  for (const std::string& process : waiting) begun = BeginServing(process) && begun;
  return begun;
}

// As after any other change: by a successor that has the new socket from its start.
bool SocketKeeper::BeginServing(const std::string& process) {
  const Cause by{.kind = Cause::Kind::kSupervisor,
                 .who = "lastcalld",
                 .reason = "a listening socket was recreated"};
  const uint64_t replacement = ++replacements_;
  unserved_[process] = replacement;
  const auto begun = owner_.begin_replace(
      process, by,
      [this, alive = std::weak_ptr(alive_), process, replacement](const std::string& failure) {
        if (!alive.expired()) OnReplaced(process, replacement, failure);
      });
  if (!begun) unserved_[process] = 0;
  return begun.has_value();
}

// Ignored where one is to come that has a newer socket.
void SocketKeeper::OnReplaced(const std::string& process, uint64_t replacement,
                              const std::string& failure) {
  const auto unserved = unserved_.find(process);
  if (unserved == unserved_.end() || unserved->second != replacement) return;
  if (failure.empty()) return (void)unserved_.erase(unserved);
  unserved->second = 0;
  if (ended_) return;
  log_(LogLevel::kError, "process " + process + " was not replaced: " + failure +
                             "; clients of its recreated sockets wait, it is tried " + EveryTime());
  LookAgain();
}

std::string SocketKeeper::EveryTime() const {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(pace_.look_again);
  return "every " + std::to_string(seconds.count()) + " s";
}

}  // namespace lastcall

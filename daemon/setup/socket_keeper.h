// Keeps the servers' listening sockets: notices that one was taken away, makes it again, and has the
// process that accepts there replaced, for it has yet to get the new one.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "daemon/config/config.h"
#include "daemon/setup/listening_sockets.h"
#include "daemon/setup/setup.h"
#include "daemon/setup/socket_watch.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/base/token_bucket.h>
#include <lastcall/lifecycle/cause.h>

namespace lastcall {

// Threads: the loop's.
class SocketKeeper {
 public:
  // `failure`: empty, it was replaced.
  using Replaced = std::function<void(const std::string& failure)>;

  // What it needs of whom it keeps them for.
  struct Owner {
    // Whether sockets and processes may be touched now. Not where something else is about to decide
    // what is to be there, as a reload is, which has copies of its own.
    std::function<bool()> may_change;
    // Begins to replace a process, by one that has the sockets of now from its start. Fails: it could
    // not begin; then `replaced` is not told.
    std::function<Result<>(const std::string& process, const Cause& by, Replaced replaced)>
        begin_replace;
  };
  struct Pace {
    // Until it looks again at what could not be mended.
    Duration look_again = std::chrono::seconds(5);
    // How often it mends: sockets that are taken away as fast must not keep the daemon busy.
    TokenBucket::Rate mending{.burst = 10, .per_second = 0.5};
  };

  // `running`: whose sockets they are, whatever they are at the time.
  SocketKeeper(boost::asio::io_context& loop, const Clock& clock, Log log, Setup& running,
               Owner owner, Pace pace);
  SocketKeeper(const SocketKeeper&) = delete;
  SocketKeeper& operator=(const SocketKeeper&) = delete;

  // Looks at the sockets as they are now, and from now on whenever something happens to one of them.
  // Order: again when they are others.
  void Begin();
  // For good. Order: see SocketWatch::End.
  void End();

 private:
  enum class Outcome : uint8_t {
    kLost,       // it cannot be recreated now
    kListens,    // as before, in every process that has it
    kRecreated,  // it is another one now
  };

  void Look();
  void LookAgain();
  bool MendAll();
  Outcome Mend(const ServerConfig& server, Bound& bound, Listener::Fault fault, bool said);
  bool ServeAll();
  bool BeginServing(const std::string& process);
  void OnReplaced(const std::string& process, uint64_t replacement, const std::string& failure);
  std::string EveryTime() const;
  std::function<void()> WhileAlive(std::function<void()> action);

  boost::asio::io_context& loop_;
  const Clock& clock_;
  const Log log_;
  Setup& running_;
  const Owner owner_;
  const Pace pace_;
  const std::shared_ptr<const char> alive_ = std::make_shared<const char>();
  bool ended_ = false;
  SocketWatch watch_;
  boost::asio::steady_timer retry_;
  TokenBucket mending_;
  std::set<std::string> lost_;  // addresses of those that are lost, which was said
  // Processes that lack a new socket, each with the number of the replacement that will have it; 0:
  // none has begun.
  std::map<std::string, uint64_t> unserved_;
  uint64_t replacements_ = 0;
};

}  // namespace lastcall

// AdminDoor: where the daemon is asked. It keeps the admin socket in the file system, serves who
// comes there, and lets everybody have an answer before it closes.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "daemon/admin/roles.h"
#include "daemon/admin/server.h"
#include "daemon/admin/socket.h"
#include "daemon/admin/watch_hub.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/net/listener.h>

namespace lastcall {

// It is claimed or taken over, opened, and at the end closed, then ended. For another build it is
// left, and taken over there; where nothing comes of that it is opened again. From Open to
// BeginClose a socket or a lock that was removed is made again.
//
// Threads: the loop's, which answers come in as well.
class AdminDoor {
 public:
  struct Timing {
    // How long callers have to read their last answer.
    Duration patience = std::chrono::seconds(1);
    // How long gRPC has to end those that did not.
    Duration cancel = std::chrono::seconds(1);
    // How long until it tries again to make a socket that could not be made.
    Duration again = std::chrono::seconds(5);
  };

  AdminDoor(boost::asio::io_context& loop, const Clock& clock, Log log, Timing timing);
  AdminDoor(boost::asio::io_context& loop, const Clock& clock, Log log);
  // Blocks: as End.
  ~AdminDoor();

  // Who comes waits in the queue. Fails: as AdminSocket::Claim, a second daemon for one.
  Result<> Claim(const std::string& path);
  // Instead: what a build before has claimed, of which nothing is touched.
  void TakeOver(UniqueFd lock, Listener listener);
  // For TakeOver, and for messages.
  const AdminSocket& socket() const { return *socket_; }

  // What a caller may do is decided when it connects, by `roles`. `backend` is asked until End.
  // Fails: as AdminServer::Start.
  Result<> Open(AdminBackend& backend, Roles roles);
  // Of connections from now on.
  void SetRoles(Roles roles);
  // Whether callers have their answers: `answered` comes in any thread, or never. False: none are taken in
  // now.
  bool BeginProbe(std::function<void()> answered);
  // Sends the callers away, watchers included, to come again: they wait for who opens next, here or
  // in another build. `left`: all have their answers, or had the patience for it. Blocks: while a
  // connection is taken in. Order: while it is open.
  void BeginLeave(std::function<void()> left);
  // Nobody can connect any more, who waits in the queue still gets an answer. `closed` comes when all
  // have ended, or have had the time for it; a second call does nothing. Order: not while it leaves;
  // after the hub's last word, which watchers wait for.
  void BeginClose(std::function<void()> closed);
  // Gives up path and lock, then ends what is left of the connections. Blocks: until gRPC lets go of
  // them, which has no bound of its own.
  void End();

  // What watchers see.
  WatchHub& hub() { return hub_; }

 private:
  enum class Service { kNone, kOpen, kLeaving, kClosing };

  void BeginRetire(Service service, std::function<void()> retired);
  void Retired();
  void AwaitRetired(Duration patience, std::function<void()> over);
  void BeginKeeping();
  void AwaitChanges();
  void Keep();
  void Listen();
  void EndKeeping();

  boost::asio::io_context& loop_;
  const Clock& clock_;
  const Log log_;
  const Timing timing_;
  // What comes from other threads asks whether there is still somebody to come to.
  const std::shared_ptr<const char> here_ = std::make_shared<const char>();
  WatchHub hub_;
  std::optional<AdminSocket> socket_;
  boost::asio::posix::stream_descriptor changes_;  // in its directory
  boost::asio::steady_timer again_;
  bool lost_ = false;  // it could not be made again, and that was said
  Service service_ = Service::kNone;
  std::unique_ptr<AdminServer> server_;
  boost::asio::steady_timer patience_;
  std::function<void()> retired_;  // who waits for it
};

}  // namespace lastcall

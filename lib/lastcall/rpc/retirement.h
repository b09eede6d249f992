// How a gRPC server ends without losing a call: the one place that knows gRPC's ways of shutting down.
//
// grpc::Server::Shutdown answers the calls that meet it on their way with CANCELLED, which clients do
// not try again. So the clients are sent away first, by GOAWAY, while everything is still served, and
// Shutdown comes when nobody is left whom it could hurt.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/event/latch.h>
#include <lastcall/event/standby.h>
#include <lastcall/net/connections.h>
#include <lastcall/rpc/channelz.h>
#include <lastcall/rpc/lingering.h>

namespace grpc {
class Server;
}

namespace lastcall {

// Threads: one at a time, but for Nudge. Nothing here blocks but End.
class Retirement {
 public:
  struct Options {
    // Empty: gRPC offers none, and connections are sent away when they reach the age that the server
    // gave them.
    std::function<void(grpc::Server&)> goaway;
    Duration age{};
    // The calls that are not over. Threads: any.
    std::function<int64_t()> in_flight;
    // What gRPC has seen of the server's, calls that are in flight and others.
    Channelz channelz;
    // Of its streams, those that nobody waits for. Threads: any.
    std::function<int64_t()> housekeeping;
    // The connections that gRPC has in hand have been sent away, for good; again when more may have
    // been. In a thread of the retirement.
    std::function<void()> sent_away;
    // How long a connection may be in the making before gRPC has it in hand, on a busy machine.
    Duration handshake{};
  };

  // How the last ones come in. In a thread of the retirement, one after another.
  struct LastCall {
    // Returns when nothing is accepted any more; may block for a moment.
    std::function<void()> closed;
    // Hands those newcomers over that have said nothing.
    std::function<void()> let_silent_in;
    // Hands the others over, and returns their descriptors.
    std::function<std::vector<int>()> let_in;
    // How long those have to begin a call.
    Duration patience{};
  };

  // `server` and `connections` must outlive the retirement. Everything that it will need is made
  // here. Fails: throws std::system_error where no thread can be made.
  Retirement(grpc::Server& server, Connections& connections, Options options);
  ~Retirement() { End(); }

  // Asks the clients that are there to take their next calls elsewhere. Nothing else changes.
  void SendGoaway();
  // When nothing is accepted any more, sends the clients away and lets their calls finish, for as
  // long as they take. Then the newcomers are let in, whom nobody else will serve: they are sent away
  // when each that has said something has begun a call, or has had time to.
  //
  // A client that has no call and does not answer is evicted: of gRPC's own clients the idle ones
  // look at their connections every 5 s alone. So an evicted connection goes to `heir`, where the
  // client's next call finds out; without one nobody serves that call, and a few milliseconds must
  // do. `retired` runs in a thread of the retirement when no connection and no call is left. Once.
  void Begin(LastCall last_call, ConnectionSink heir, std::function<void()> retired);
  // Cancels the calls that are left, and soon after closes the connections of peers that say
  // nothing. Order: after Begin.
  void Cancel();
  // Cancels what was begun. Blocks: until every handler has returned.
  void End();

  // A call has ended, or a connection is gone. Threads: any.
  void Nudge();

 private:
  class IdleEviction;
  class Newcomers;

  void Run();
  void Ask();
  void AwaitDeparture(Newcomers newcomers);
  size_t Remaining();
  void RunCancel();

  grpc::Server& server_;
  Connections& connections_;
  const Options options_;
  LastCall last_call_;
  ConnectionSink heir_;
  std::function<void()> retired_;
  bool succeeded_ = false;  // somebody serves what the clients send next

  std::mutex mutex_;
  std::condition_variable changed_;
  bool nudged_ = false;
  bool cancelled_ = false;
  Latch over_;
  std::unique_ptr<Lingering> lingering_;
  Standby run_;
  Standby cancel_;
};

}  // namespace lastcall

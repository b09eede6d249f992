// Canary: a call of our own that goes the whole way through the queues of a server, and tells how long
// that takes, or that it does not come back.
//
// Its method is of the kind that the server's own methods are, and so in the same queue: a synchronous
// one where all of these are, for any other would change how gRPC polls. A server without methods of
// either kind has no canary.
//
// It also cures a fault of gRPC 1.51: threads of its callback API sleep 100 ms at a time once nothing
// has happened for a second, and a call that meets them asleep waits for them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/rpc/canary_report.h>

namespace grpc {
class Server;
class ServerBuilder;
class Service;
namespace experimental {
class Interceptor;
}
}  // namespace grpc

namespace lastcall {

class Canary {
 public:
  // Between two probes: less than the second after which gRPC's threads go to sleep. Where a process has very
  // many servers each of them has its turn less often, see Prober.
  static constexpr Duration kPeriod = std::chrono::milliseconds(800);
  // By how much a turn may be late before it says more of this process, which was stopped or had no
  // processor, than of the server.
  static constexpr Duration kLate = kPeriod / 2;

  // gRPC lists services, for reflection and for us, by what comes before the second slash of a method's
  // name. So this one is not listed.
  static constexpr char kMethod[] = "lastcall-canary";

  explicit Canary(const Clock& clock);
  ~Canary();

  // Order: before the server is built; the canary must outlive it.
  void Register(grpc::ServerBuilder& builder, const std::vector<grpc::Service*>& services);
  // For the guard: whether it is a probe that has this name, told by the name's address; and what hears
  // its answer. Threads: any.
  bool Sent(const char* method) const;
  grpc::experimental::Interceptor* NewInterceptor();

  // From now on it may be probed. False: it has no method.
  bool Open(grpc::Server& server);
  // A turn that was due then: looks what became of the last probe, and sends the next if it is over.
  // Never two at a time, for those that are not answered would pile up. Returns when the next turn is due:
  // a `period` later.
  Instant TakeTurn(Instant due, Duration period = kPeriod);
  // A turn now, for who has no Prober: `answered` comes in the server's thread with the next answer, or
  // never; one of before is forgotten. False: it is not open, or its turns have ended.
  bool BeginProbe(std::function<void()> answered);
  // No more turns. Order: before the server's connections are closed. Blocks: until the one in progress is
  // over.
  void EndTurns();
  // Does what sends the server's connections away, this one too, or closes them; no turn is taken
  // meanwhile. Order: while turns are taken, this is the only way to do so: one on a closed connection
  // would end the process. Threads: any.
  void SendAway(const std::function<void()>& send);
  // Order: after the last turn, before the server is shut down. Blocks: for a moment, whatever the server is at.
  void Close();

  // A probe has been sent to the queue of callback methods and is not answered yet. Threads: any.
  bool waits_for_callbacks() const;

  // The turn after one that was due then: those that were missed are left out.
  static Instant DueAfter(Instant due, Instant now, Duration period = kPeriod);

  // Empty: it is not open. Threads: any.
  std::optional<CanaryReport> report() const;

 private:
  class Core;
  std::unique_ptr<Core> core_;
};

}  // namespace lastcall

#include "lastcall/rpc/retirement.h"

#include <grpc/grpc.h>
#include <grpcpp/server.h>

#include <chrono>
#include <thread>
#include <utility>

#include "lastcall/event/latch.h"

namespace lastcall {
namespace {

// What a cancelled call's status has to reach its client; then its connection is closed. A peer that
// never acknowledges the GOAWAY would hold the shutdown for 20 s.
constexpr auto kFarewell = std::chrono::milliseconds(250);

class PlainRetirement final : public Retirement {
 public:
  PlainRetirement(grpc::Server& server, Connections& connections)
      : server_(server), connections_(connections) {}

  void Begin(std::function<void()> retired) override {
    // Shutdown holds the server's lock and has no bound of its own; Cancel is what ends it.
    shutdown_ = std::jthread([this, retired = std::move(retired)] {
      server_.Shutdown();
      over_.Set();
      retired();
    });
  }

  void Cancel() override {
    if (cancel_.joinable()) return;
    cancel_ = std::jthread([this] {
      grpc_server_cancel_all_calls(server_.c_server());
      if (!over_.WaitUntil(std::chrono::steady_clock::now() + kFarewell)) connections_.Sever();
    });
  }

 private:
  grpc::Server& server_;
  Connections& connections_;
  Latch over_;
  std::jthread shutdown_;
  std::jthread cancel_;
};

}  // namespace

std::unique_ptr<Retirement> MakePlainRetirement(grpc::Server& server, Connections& connections) {
  return std::make_unique<PlainRetirement>(server, connections);
}

}  // namespace lastcall

// Host with a real gRPC server and client in one process: requests from everywhere at once, leaving,
// cancelling, and what the receipt says of it. No time is waited for, but the lengths of stages.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <barrier>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "echo.grpc.pb.h"

#include <lastcall/event/latch.h>
#include <lastcall/host/host.h>
#include <lastcall/rpc/call.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using example::Echo;
using example::EchoReply;
using example::EchoRequest;
using example::SlowRequest;

// Slow waits to be told to leave, or until its client is gone; the test meets it when it has begun.
class WaitingEcho final : public Echo::Service {
 public:
  grpc::Status Unary(grpc::ServerContext*, const EchoRequest* request, EchoReply* reply) override {
    reply->set_text(request->text());
    return grpc::Status::OK;
  }

  grpc::Status Slow(grpc::ServerContext* context, const SlowRequest* request,
                    EchoReply* reply) override {
    const auto call = Call::Of(*context);
    begun.Set();
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    const bool stays = request->on_leave() == SlowRequest::STAY;
    do {
      never.wait(lock, call.leave_token(), [] { return false; });
    } while (stays && !context->IsCancelled() && (usleep(1000), true));
    left_before_cancel = call.leaving() && call.cancel_instant() > std::chrono::steady_clock::now();
    client_gone = context->IsCancelled() && !call.leaving();
    ended.Set();
    if (call.leaving() && !stays) return call.LeaveStatus();
    reply->set_text("stayed");
    return grpc::Status::OK;
  }

  Latch begun, ended;
  std::atomic<bool> left_before_cancel{false};
  std::atomic<bool> client_gone{false};
};

class HostTest : public testing::Test {
 protected:
  void Start(Budget budget) {
    path_ = testing::TempDir() + "host_test_" + std::to_string(getpid()) + ".sock";
    host_.emplace(HostOptions{
        .name = "test", .shutdown = budget, .signals = {}, .log = log_, .observer = &observer_});
    ASSERT_TRUE(host_->AddServer({.listen = {"unix:" + path_}, .services = {&service_}}));
    thread_ = std::thread([this] { code_ = host_->Run(); });
    observer_.ready.Wait();
    stub_ = Echo::NewStub(grpc::CreateChannel("unix:" + path_, grpc::InsecureChannelCredentials()));
  }

  // Begins Slow in the background and returns when its handler runs.
  void BeginSlow(SlowRequest::OnLeave on_leave) {
    slow_ = std::thread([this, on_leave] {
      SlowRequest request;
      request.set_on_leave(on_leave);
      EchoReply reply;
      status_ = stub_->Slow(&context_, request, &reply);
    });
    service_.begun.Wait();
  }

  void TearDown() override {
    if (slow_.joinable()) slow_.join();
    if (thread_.joinable()) thread_.join();
    EXPECT_NE(access(path_.c_str(), F_OK), 0) << "the socket is left behind";
  }

  int Stopped() {
    thread_.join();
    return code_;
  }

  struct Observer final : HostObserver {
    void Ready() override { ready.Set(); }
    void StageEntered(Stage stage) override {
      if (entered) entered(stage);
    }
    Latch ready;
    std::function<void(Stage)> entered;
  };

  std::string path_;
  Log log_ = [](LogLevel, std::string_view) {};
  WaitingEcho service_;
  Observer observer_;
  std::optional<Host> host_;
  std::unique_ptr<Echo::Stub> stub_;
  grpc::ClientContext context_;
  grpc::Status status_;
  std::thread thread_, slow_;
  int code_ = -1;
};

TEST_F(HostTest, IdleHostStopsAtOnceAndEveryCallFinished) {
  Start({0s, 60s, 60s});
  grpc::ClientContext context;
  EchoReply reply;
  ASSERT_TRUE(stub_->Unary(&context, {}, &reply).ok());
  host_->Shutdown("test");
  EXPECT_EQ(Stopped(), 0);
  EXPECT_LT(host_->receipt().took, 10s);
  EXPECT_TRUE(host_->termination().Reached(Stage::kStopped));
}

TEST_F(HostTest, SixtyFourThreadsAskAndTheMinimumWins) {
  Start({60s, 60s, 60s});
  BeginSlow(SlowRequest::STAY);  // or it stops before all have asked
  constexpr int kThreads = 64;
  std::barrier together(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      together.arrive_and_wait();
      host_->Shutdown("thread " + std::to_string(i), i == 17 ? 0s : 30s, 30s - i * 100ms, 10s);
    });
  }
  for (auto& thread : threads) thread.join();
  context_.TryCancel();
  EXPECT_EQ(Stopped(), 0);
  const Receipt& receipt = host_->receipt();
  ASSERT_EQ(receipt.requests.size(), kThreads);
  std::set<std::string> reasons;
  for (const auto& entry : receipt.requests) reasons.insert(entry.request.cause.reason);
  EXPECT_EQ(reasons.size(), kThreads);
  EXPECT_LT(receipt.took, 20s) << "the request without delay was not the one that counted";
}

TEST_F(HostTest, CallIsToldToLeaveBeforeItIsCancelled) {
  Start({0s, 60s, 60s});
  BeginSlow(SlowRequest::FINISH_EARLY);
  host_->Shutdown("test");
  EXPECT_EQ(Stopped(), 0);
  slow_.join();
  EXPECT_TRUE(service_.left_before_cancel);
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(host_->receipt().calls_finished, 1U);
  EXPECT_EQ(host_->receipt().calls_cancelled, 0U);
}

TEST_F(HostTest, CallThatStaysIsCancelledAtItsInstantAndNamed) {
  Start({0s, 2s, 60s});  // a thread that may be late tells it to leave
  BeginSlow(SlowRequest::STAY);
  host_->Shutdown("test");
  EXPECT_EQ(Stopped(), kExitCallsCancelled);
  slow_.join();
  EXPECT_FALSE(status_.ok());
  const Receipt& receipt = host_->receipt();
  ASSERT_EQ(receipt.cancelled.size(), 1U);
  EXPECT_EQ(receipt.cancelled[0].method, "/lastcall.example.Echo/Slow");
  EXPECT_EQ(receipt.cancelled[0].server, "main");
  EXPECT_TRUE(receipt.cancelled[0].told);
  EXPECT_GE(receipt.stages[1].took, receipt.stages[1].planned);
}

// Grace and cancel are entered in one go, and the loop may be held up in between.
TEST_F(HostTest, CallThatIsCancelledAtOnceIsNamedToo) {
  bool early = false;
  observer_.entered = [&](Stage stage) {
    if (stage != Stage::kGrace) return;
    early = service_.ended.WaitUntil(std::chrono::steady_clock::now() + 200ms);
  };
  Start({0s, 0s, 60s});
  BeginSlow(SlowRequest::STAY);
  host_->Shutdown("test");
  EXPECT_EQ(Stopped(), kExitCallsCancelled);
  slow_.join();
  EXPECT_FALSE(early);
  EXPECT_EQ(host_->receipt().cancelled.size(), 1U);
  EXPECT_EQ(host_->receipt().calls_finished, 0U);
}

// There is no time to close the server: that is said, by name.
TEST(HostDeathTest, WithoutAnyTimeAnIdleHostNamesWhatItCouldNotClose) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        WaitingEcho service;
        Host host({.shutdown = {0s, 0s, 0s}, .signals = {}});
        const std::string path = testing::TempDir() + "host_death_" + std::to_string(getpid());
        (void)host.AddServer(
            {.name = "public", .listen = {"unix:" + path}, .services = {&service}});
        host.Shutdown("test");
        host.Run();
      },
      testing::ExitedWithCode(4), R"("exit_code":4,.*"name":"server public: closing")");
}

TEST_F(HostTest, SyncHandlerLearnsThatItsClientIsGone) {
  Start({0s, 60s, 60s});
  BeginSlow(SlowRequest::FINISH_EARLY);
  context_.TryCancel();
  service_.ended.Wait();
  EXPECT_TRUE(service_.client_gone);
  host_->Shutdown("test");
  EXPECT_EQ(Stopped(), 0);
}

TEST_F(HostTest, LaterLongerRequestChangesNothing) {
  Start({0s, 2s, 60s});  // the second request must come in grace
  BeginSlow(SlowRequest::STAY);
  host_->Shutdown("first");
  host_->termination().Wait(Stage::kGrace);
  const Instant cancel = host_->termination().instant(Stage::kCancel);
  host_->Shutdown("second", 60s, 60s, 60s);
  EXPECT_EQ(Stopped(), kExitCallsCancelled);
  EXPECT_LE(cancel, host_->termination().instant(Stage::kCancel));
  ASSERT_EQ(host_->receipt().requests.size(), 2U);
  EXPECT_TRUE(host_->receipt().requests[0].moved);
  EXPECT_FALSE(host_->receipt().requests[1].moved);
}

// The log is somebody's function, and who reads it may have stopped.
TEST_F(HostTest, ALogThatDoesNotReturnHoldsUpNoStage) {
  Latch called, go_on;
  log_ = [&](LogLevel, std::string_view) {
    called.Set();
    go_on.Wait();
  };
  Start({0s, 60s, 60s});
  called.Wait();
  BeginSlow(SlowRequest::FINISH_EARLY);
  host_->Shutdown("stop");
  EXPECT_EQ(Stopped(), 0);
  go_on.Set();
  slow_.join();
  host_.reset();
}

TEST(HostDeathTest, EndsByForceThoughLogAndObserverDoNotReturn) {
  testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_EXIT(
      {
        struct : HostObserver {
          void Ready() override { host->Shutdown("stop"); }
          void Finished(const Receipt&) override {
            for (;;) pause();
          }
          Host* host = nullptr;
        } observer;
        Host host({.shutdown = {0s, 0s, 0s},
                   .signals = {},
                   .log =
                       [](LogLevel, std::string_view) {
                         for (;;) pause();
                       },
                   .observer = &observer});
        observer.host = &host;
        WaitingEcho service;
        const auto added = host.AddServer(
            {.listen = {"unix:" + testing::TempDir() + "host_death_" + std::to_string(getpid())},
             .services = {&service}});
        _exit(added ? host.Run() : 99);
      },
      testing::ExitedWithCode(4), "");
}

TEST_F(HostTest, RequestsThatMeetTheStartAlwaysEndCleanly) {
  for (int i = 0; i < 50; ++i) {
    Host host(
        {.shutdown = {0s, 60s, 60s}, .signals = {}, .log = [](LogLevel, std::string_view) {}});
    const std::string path = testing::TempDir() + "host_start_" + std::to_string(getpid());
    ASSERT_TRUE(host.AddServer({.listen = {"unix:" + path}, .services = {&service_}}));
    std::thread asking([&] {
      // A little later in each round, so that it meets every step of the start.
      const auto at = std::chrono::steady_clock::now() + i * 20us;
      while (std::chrono::steady_clock::now() < at) continue;
      host.Shutdown("early");
    });
    EXPECT_EQ(host.Run(), 0);
    asking.join();
  }
}

}  // namespace
}  // namespace lastcall

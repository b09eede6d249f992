// PluginHarness with plugins that behave in every way that it tells apart.
#include "lastcall/testing/plugin_harness.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "echo.grpc.pb.h"

#include <lastcall/event/latch.h>
#include <lastcall/rpc/call.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using example::Echo;
using example::EchoReply;
using example::EchoRequest;
using example::SlowRequest;
using testing::ElementsAre;
using testing::HasSubstr;

// What the plugin that a test has started is to do, and did; one test at a time.
struct Script {
  Latch in_handler, let_go, hanging;
  bool hang_in_stop = false;
  bool gone = false;
};
Script* script = nullptr;

class Scripted final : public Plugin, public Echo::Service {
 public:
  explicit Scripted(PluginHost& host) : host_(host), word_(host.config().String("word", "")) {
    if (word_ == "throw") throw std::runtime_error("out of words");
  }
  ~Scripted() override { script->gone = true; }
  static void Check(const PluginConfig& config) {
    if (config.String("word", "") == "bad") throw config.Refuse("word", "is a bad word");
  }
  std::vector<grpc::Service*> Services() override { return {this}; }
  void Stop(Deadline) noexcept override {
    if (!script->hang_in_stop) return;
    script->hanging.Set();
    script->let_go.Wait();
  }

  grpc::Status Unary(grpc::ServerContext*, const EchoRequest* request, EchoReply* reply) override {
    if (request->text() == "sick") host_.SetServing(Echo::service_full_name(), false);
    if (request->text() == "well") host_.SetServing(Echo::service_full_name(), true);
    if (request->text() == "enough") host_.RequestShutdown("enough");
    reply->set_text(word_ + request->text());
    reply->set_number(static_cast<int>(host_.clock().Now().time_since_epoch() / 1s));
    return grpc::Status::OK;
  }

  // Waits to be told to leave; where it stays, to be cancelled.
  grpc::Status Slow(grpc::ServerContext* context, const SlowRequest* request, EchoReply*) override {
    const auto call = Call::Of(*context);
    script->in_handler.Set();
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait(lock, call.leave_token(), [] { return false; });
    if (request->on_leave() != SlowRequest::STAY) return call.LeaveStatus();
    while (!context->IsCancelled()) std::this_thread::sleep_for(1ms);
    return grpc::Status::CANCELLED;
  }

 private:
  PluginHost& host_;
  const std::string word_;
};

class PluginHarnessTest : public testing::Test {
 protected:
  PluginHarnessTest() { script = &script_; }

  EchoReply Say(PluginHarness& harness, const std::string& text) {
    grpc::ClientContext context;
    EchoRequest request;
    request.set_text(text);
    EchoReply reply;
    const auto status = Echo::NewStub(harness.channel())->Unary(&context, request, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return reply;
  }

  // In the background; its handler has begun.
  std::thread BeginSlow(PluginHarness& harness, SlowRequest::OnLeave on_leave) {
    std::thread calling([this, on_leave, channel = harness.channel()] {
      grpc::ClientContext context;
      SlowRequest request;
      request.set_on_leave(on_leave);
      EchoReply reply;
      status_ = Echo::NewStub(channel)->Slow(&context, request, &reply);
    });
    script_.in_handler.Wait();
    return calling;
  }

  Script script_;
  grpc::Status status_;
};

TEST_F(PluginHarnessTest, ServesWithItsConfigurationAndClock) {
  PluginHarness harness({.config = {{"word", "well, "}}});
  ASSERT_TRUE(harness.Start<Scripted>());
  EXPECT_EQ(harness.stage(), Stage::kServing);
  EXPECT_EQ(Say(harness, "hello").text(), "well, hello");
  const int before = Say(harness, "when").number();
  harness.Advance(60s);
  EXPECT_EQ(Say(harness, "when").number(), before + 60);
}

TEST_F(PluginHarnessTest, RefusesAsTheHostDoes) {
  const auto refusal = [](std::string key, std::string word) {
    PluginHarness harness({.plugin = "echo", .config = {{std::move(key), std::move(word)}}});
    const auto started = harness.Start<Scripted>();
    return started ? "started" : started.error().message;
  };
  EXPECT_THAT(refusal("word", "bad"), HasSubstr("server.test.config.echo.word: is a bad word"));
  EXPECT_THAT(refusal("word", "throw"), HasSubstr("plugin echo did not start: out of words"));
  EXPECT_THAT(refusal("wrod", "x"), HasSubstr("did you mean \"word\"?"));
  EXPECT_TRUE(script_.gone) << "what was made is destroyed";
}

TEST_F(PluginHarnessTest, StagesComeAtTheirInstants) {
  PluginHarness harness({.shutdown = {5s, 20s, 3s}});
  ASSERT_TRUE(harness.Start<Scripted>());
  harness.Enter(Stage::kDelay);
  EXPECT_EQ(harness.stage(), Stage::kDelay);
  EXPECT_EQ(harness.IsServing(), false);
  EXPECT_EQ(Say(harness, "still").text(), "still");
  const Instant asked = harness.clock().Now();
  harness.Advance(4s);
  EXPECT_EQ(harness.stage(), Stage::kDelay);
  harness.Advance(2s);
  EXPECT_EQ(harness.stage(), Stage::kGrace);
  EXPECT_EQ(harness.termination().instant(Stage::kGrace), asked + 5s);
  EXPECT_TRUE(harness.Stop());
  EXPECT_EQ(harness.stop_deadline(), asked + 28s);
  EXPECT_TRUE(script_.gone);
}

TEST_F(PluginHarnessTest, CallsAreToldToLeaveInGrace) {
  PluginHarness harness;
  ASSERT_TRUE(harness.Start<Scripted>());
  auto calling = BeginSlow(harness, SlowRequest::FINISH_EARLY);
  harness.Enter(Stage::kGrace);
  calling.join();
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status_.error_message(), HasSubstr("asked this call to leave"));
  EXPECT_EQ(harness.stage(), Stage::kGrace);
}

TEST_F(PluginHarnessTest, CallsThatStayAreCancelled) {
  PluginHarness harness({.shutdown = {0s, kForever, 5s}});
  ASSERT_TRUE(harness.Start<Scripted>());
  auto calling = BeginSlow(harness, SlowRequest::STAY);
  harness.Enter(Stage::kGrace);
  harness.Enter(Stage::kCancel);
  EXPECT_TRUE(harness.Stop());
  calling.join();
  EXPECT_FALSE(status_.ok());
}

TEST_F(PluginHarnessTest, RemembersWhatThePluginDid) {
  PluginHarness harness;
  ASSERT_TRUE(harness.Start<Scripted>());
  const std::string service = Echo::service_full_name();
  EXPECT_EQ(harness.IsServing(service), true);
  Say(harness, "sick");
  EXPECT_EQ(harness.IsServing(service), false);
  EXPECT_EQ(harness.IsServing(), true);
  Say(harness, "well");
  EXPECT_EQ(harness.IsServing(service), true);
  Say(harness, "enough");
  EXPECT_THAT(harness.health_writes(), ElementsAre(PluginHarness::HealthWrite{service, false},
                                                   PluginHarness::HealthWrite{service, true}));
  EXPECT_THAT(harness.shutdown_requests(), ElementsAre("enough"));
  EXPECT_EQ(harness.stage(), Stage::kServing) << "the test decides";
}

TEST_F(PluginHarnessTest, HealthDoesNotComeBackInAShutdown) {
  PluginHarness harness({.shutdown = {5s, 5s, 5s}});
  ASSERT_TRUE(harness.Start<Scripted>());
  harness.Enter(Stage::kDelay);
  Say(harness, "well");
  EXPECT_EQ(harness.IsServing(Echo::service_full_name()), false);
  EXPECT_TRUE(harness.log().Said(LogLevel::kWarning, "sets the health of"));
}

TEST_F(PluginHarnessTest, NamesTheStopThatDoesNotReturn) {
  // What hangs is left behind, so what it looks at stays.
  static auto* const kept = new Script;
  script = kept;
  kept->hang_in_stop = true;
  PluginHarness harness({.plugin = "echo", .patience = 5s});
  ASSERT_TRUE(harness.Start<Scripted>());
  const auto stopped = harness.Stop();
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::kDeadlineExceeded);
  EXPECT_EQ(stopped.error().message, "plugin echo: Stop has not returned");
  kept->hanging.Wait();
}

}  // namespace
}  // namespace lastcall

// Unary calls as they are entered and ended without an interceptor.
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "echo.grpc.pb.h"

#include <lastcall/event/latch.h>
#include <lastcall/rpc/call.h>
#include <lastcall/rpc/canary.h>
#include <lastcall/rpc/grpc_privates.h>
#include <lastcall/rpc/guard.h>
#include <lastcall/rpc/unary_guard.h>
#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using example::Echo;
using example::EchoReply;
using example::EchoRequest;

// What a handler saw of its own call; it ends when it is let go, with the status that its client asked for.
class Watched {
 public:
  grpc::Status Handle(const grpc::ServerContextBase& context, const std::string& text) {
    leaving_ = Call::Of(context).leaving();
    entered_.Set();
    let_.Wait();
    return text.empty() ? grpc::Status::OK : grpc::Status(grpc::StatusCode::ABORTED, text);
  }
  void AwaitEntered() { entered_.Wait(); }
  void Let() { let_.Set(); }
  bool leaving() const { return leaving_; }

 private:
  Latch entered_, let_;
  std::atomic<bool> leaving_{false};
};

class WatchedEcho final : public Echo::Service, public Watched {
  grpc::Status Unary(grpc::ServerContext* context, const EchoRequest* request,
                     EchoReply*) override {
    return Handle(*context, request->text());
  }
};

class WatchedCallbackEcho final : public Echo::CallbackService, public Watched {
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const EchoRequest* request,
                                  EchoReply*) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(Handle(*context, request->text()));
    return reactor;
  }
};

class UnaryGuardTest : public testing::Test {
 protected:
  ~UnaryGuardTest() override {
    sync_.Let();
    callback_.Let();
    for (std::thread& caller : callers_) caller.join();
    if (server_ != nullptr) server_->Shutdown();
  }

  void Start(grpc::Service& service, int threads = 10) {
    grpc::ServerBuilder builder;
    grpc::ResourceQuota quota;
    quota.SetMaxThreads(threads);
    builder.SetResourceQuota(quota);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> guards;
    guards.push_back(MakeGuard(calls_, unary_, canary_));
    builder.experimental().SetInterceptorCreators(std::move(guards));
    builder.RegisterService(&unary_.Wrap(service));
    calls_.BoundFinished(100);
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    unary_.WatchRefusals(*server_);
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                   grpc::InsecureChannelCredentials());
  }

  grpc::Status Call(const std::string& text = "") {
    grpc::ClientContext context;
    EchoRequest request;
    request.set_text(text);
    EchoReply reply;
    return Echo::NewStub(channel_)->Unary(&context, request, &reply);
  }
  void BeginCall(const std::string& text = "") {
    callers_.emplace_back([this, text] { Call(text); });
  }
  void AwaitNoneInFlight() {
    while (calls_.in_flight() > 0) std::this_thread::yield();
  }

  // A call that fails, from before its handler runs until after it.
  void ExpectEnteredAndEnded(Watched& service, bool sync) {
    BeginCall("no");
    service.AwaitEntered();
    const std::vector<CallInfo> calls = calls_.Calls(10);
    ASSERT_EQ(calls.size(), 1u);
    EXPECT_EQ(calls[0].method, "/lastcall.example.Echo/Unary");
    EXPECT_EQ(calls[0].kind, CallKind::kUnary);
    EXPECT_EQ(calls[0].received, 1u);
    EXPECT_EQ(calls[0].waits, CallWaits::kHandler);
    EXPECT_EQ(calls[0].thread != 0, sync);
    EXPECT_EQ(calls[0].runs_in != 0, !sync);
    EXPECT_NE(calls[0].peer, "");
    service.Let();
    AwaitNoneInFlight();
    const std::vector<FinishedMethod> finished = calls_.finished();
    ASSERT_EQ(finished.size(), 1u);
    ASSERT_EQ(finished[0].failures.size(), 1u);
    EXPECT_EQ(finished[0].failures[0].status, grpc::StatusCode::ABORTED);
    EXPECT_EQ(finished[0].failures[0].message, "no");
    EXPECT_EQ(calls_.total(), 1u);
  }

  FakeClock clock_;
  CallRegistry calls_{clock_, Termination(), [] {}};
  Canary canary_{clock_};
  std::atomic<int> refused_{0};
  UnaryGuard unary_{calls_, [this](const char* method) {
                      EXPECT_STREQ(method, "/lastcall.example.Echo/Unary");
                      ++refused_;
                    }};
  WatchedEcho sync_;
  WatchedCallbackEcho callback_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::vector<std::thread> callers_;
};

TEST_F(UnaryGuardTest, ASyncCallIsEnteredWithItsThreadAndEndsWithItsStatus) {
  Start(sync_);
  ExpectEnteredAndEnded(sync_, true);
}

TEST_F(UnaryGuardTest, ACallbackCallIsEnteredWithTheThreadThatMakesItsReactor) {
  Start(callback_);
  ExpectEnteredAndEnded(callback_, false);
}

TEST_F(UnaryGuardTest, ItsHandlerFindsItsCall) {
  calls_.TellNewcomers();
  Start(sync_);
  BeginCall();
  sync_.AwaitEntered();
  EXPECT_TRUE(sync_.leaving());
}

TEST_F(UnaryGuardTest, OneForWhomThereIsNoThreadIsCountedAndRemembered) {
  Start(sync_, 2);  // one more waits for the next call
  BeginCall();
  sync_.AwaitEntered();
  EXPECT_EQ(Call().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(refused_, 1);
  sync_.Let();
  AwaitNoneInFlight();
  EXPECT_EQ(calls_.total(), 2u);
  const std::vector<FinishedMethod> finished = calls_.finished();
  ASSERT_EQ(finished.size(), 1u);
  ASSERT_EQ(finished[0].failures.size(), 1u);
  EXPECT_EQ(finished[0].failures[0].status, grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(UnaryGuardTest, AServiceOfTheAsynchronousApiIsLeftAsItIs) {
  Echo::WithAsyncMethod_Unary<Echo::Service> service;
  EXPECT_EQ(&unary_.Wrap(service), &service);
  Echo::WithGenericMethod_Unary<Echo::Service> generic;
  EXPECT_EQ(&unary_.Wrap(generic), &generic);
}

TEST_F(UnaryGuardTest, GuardsTheUnaryMethodsOfWhatItWrappedAndNoOthers) {
  for (const auto& method : MethodsOf(unary_.Wrap(sync_))) {
    const bool unary = method->method_type() == grpc::internal::RpcMethod::NORMAL_RPC;
    EXPECT_EQ(unary_.Guards(method->name()), unary) << method->name();
  }
  const std::string same = "/lastcall.example.Echo/Unary";
  EXPECT_FALSE(unary_.Guards(same.c_str())) << "it is the address that counts";
}

}  // namespace
}  // namespace lastcall

// Probes of a server's own, each in its turn: what they tell, and who does not notice them.
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <grpc/support/cpu.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "echo.grpc.pb.h"

#include <lastcall/event/latch.h>
#include <lastcall/rpc/canary.h>
#include <lastcall/rpc/goaway.h>
#include <lastcall/rpc/guard.h>
#include <lastcall/rpc/prober.h>
#include <lastcall/rpc/server.h>
#include <lastcall/rpc/unary_guard.h>
#include <lastcall/testing/fake_clock.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using example::Echo;
using example::EchoReply;
using example::EchoRequest;
using State = CanaryReport::State;

// Handlers that wait until they are let go.
class HeldHandlers {
 public:
  void Wait() {
    ++waiting_;
    waiting_.notify_all();
    let_.Wait();
  }
  void AwaitWaiting(int count) {
    for (int now = waiting_; now < count; now = waiting_) waiting_.wait(now);
  }
  void Let() { let_.Set(); }

 private:
  std::atomic<int> waiting_{0};
  Latch let_;
};

class HeldEcho final : public Echo::Service, public HeldHandlers {
  grpc::Status Unary(grpc::ServerContext*, const EchoRequest*, EchoReply*) override {
    Wait();
    return grpc::Status::OK;
  }
};

class HeldCallbackEcho final : public Echo::CallbackService, public HeldHandlers {
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const EchoRequest*,
                                  EchoReply*) override {
    Wait();
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// Counts the probes whose answers the server is done with.
class ProbesOver final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit ProbesOver(std::atomic<int>& over) : over_(over) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override {
    return info->method() == Canary::kMethod ? new One(over_) : nullptr;
  }

 private:
  class One final : public grpc::experimental::Interceptor {
   public:
    explicit One(std::atomic<int>& over) : over_(over) {}
    ~One() override {
      ++over_;
      over_.notify_all();
    }
    void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
      methods->Proceed();
    }

   private:
    std::atomic<int>& over_;
  };
  std::atomic<int>& over_;
};

class CanaryTest : public testing::Test {
 protected:
  ~CanaryTest() override {
    sync_.Let();
    callback_.Let();
    for (std::thread& caller : callers_) caller.join();
    canary_.Close();
    if (server_ != nullptr) server_->Shutdown();
  }

  void Start(std::vector<grpc::Service*> services, int threads = 0) {
    grpc::ServerBuilder builder;
    if (threads > 0) {
      grpc::ResourceQuota quota;
      quota.SetMaxThreads(threads);
      builder.SetResourceQuota(quota);
    }
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
    creators.push_back(MakeGuard(calls_, unary_, canary_));
    creators.push_back(std::make_unique<ProbesOver>(over_));
    builder.experimental().SetInterceptorCreators(std::move(creators));
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    for (grpc::Service* service : services) builder.RegisterService(&unary_.Wrap(*service));
    canary_.Register(builder, services);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    unary_.WatchRefusals(*server_);
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                                   grpc::InsecureChannelCredentials());
    opened_ = canary_.Open(*server_);
    due_ = clock_.Now();
  }

  // A turn at its time, or so much later.
  void Turn(Duration late = {}) {
    clock_.Advance(due_ - clock_.Now() + late);
    due_ = canary_.TakeTurn(due_);
  }
  void AwaitProbes(int count) {
    for (int now = over_; now < count; now = over_) over_.wait(now);
  }
  void Hold(HeldHandlers& held, int calls) {
    for (int i = 0; i < calls; ++i) {
      callers_.emplace_back([channel = channel_] {
        grpc::ClientContext context;
        EchoReply reply;
        Echo::NewStub(channel)->Unary(&context, {}, &reply);
      });
    }
    held.AwaitWaiting(calls);
  }
  // As many as there are, in the whole process.
  void HoldCallbackThreads() {
    Hold(callback_, std::clamp<int>(static_cast<int>(gpr_cpu_num_cores() / 2), 2, 16));
  }
  void SendGoaway() {
    canary_.SendAway([this] { FindGoaway()(*server_); });
  }
  CanaryReport Report() { return canary_.report().value_or(CanaryReport{State::kOverdue, {}, {}}); }

  // What a stranger hears.
  grpc::Status Call(const std::string& method) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::GenericStub stub(channel_);
    const grpc::Slice text("text");
    const auto call = stub.PrepareUnaryCall(&context, method, grpc::ByteBuffer(&text, 1), &queue);
    grpc::ByteBuffer reply;
    grpc::Status status;
    call->StartCall();
    call->Finish(&reply, &status, this);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status;
  }
  std::string MethodsCounted() const {
    std::string all;
    for (const MethodCount& method : calls_.methods()) {
      all += method.method + " " + std::to_string(method.total) + "\n";
    }
    return all;
  }

  FakeClock clock_;
  CallRegistry calls_{clock_, Termination(), [] {}};
  Canary canary_{clock_};
  HeldEcho sync_;
  HeldCallbackEcho callback_;
  std::atomic<int> over_{0};
  std::atomic<int> refused_{0};
  UnaryGuard unary_{calls_, [this](const char* method) { refused_ += !canary_.Sent(method); }};
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  bool opened_ = false;
  Instant due_;
  std::vector<std::thread> callers_;
};

TEST_F(CanaryTest, AStrangerWhoKnowsItsNameHearsWhatGrpcSaysOfAnyMethodThatIsNotThere) {
  Start({&sync_});
  const grpc::Status of_another = Call("/no.Such/Method"), status = Call(Canary::kMethod);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(status.error_code(), of_another.error_code());
  EXPECT_EQ(status.error_message(), of_another.error_message());
  EXPECT_EQ(MethodsCounted(), "unknown 2\n");
  EXPECT_EQ(over_, 0) << "it came through";
}

TEST_F(CanaryTest, TheSameStrangerAtACallbackServer) {
  Start({&callback_});
  const grpc::Status of_another = Call("/no.Such/Method"), status = Call(Canary::kMethod);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(status.error_code(), of_another.error_code());
  EXPECT_EQ(status.error_message(), of_another.error_message());
  EXPECT_EQ(MethodsCounted(), "/no.Such/Method 1\nlastcall-canary 1\n");
  EXPECT_EQ(over_, 0) << "it came through";
}

TEST_F(CanaryTest, ItsProbesAreAnsweredAndInNoCount) {
  for (const auto& services : {std::vector<grpc::Service*>{&sync_}, {&callback_}}) {
    Start(services);
    const int before = over_;
    Turn();
    AwaitProbes(before + 1);
    Turn();
    AwaitProbes(before + 2);
    EXPECT_EQ(Report().state, State::kOk);
    EXPECT_EQ(Report().latency, 0s) << "the clock stands still";
    EXPECT_EQ(calls_.total(), 0u);
    EXPECT_EQ(calls_.in_flight(), 0);
    EXPECT_EQ(calls_.housekeeping(), 0);
    EXPECT_EQ(calls_.last_began(), Instant{});
    EXPECT_EQ(MethodsCounted(), "");
    canary_.Close();
    server_->Shutdown();
    server_ = nullptr;
    // A canary has one server.
    std::destroy_at(&canary_);
    std::construct_at(&canary_, clock_);
  }
}

TEST_F(CanaryTest, AServerWithoutHandlersHasNone) {
  Start({});
  EXPECT_FALSE(opened_);
  EXPECT_FALSE(canary_.report());
}

TEST_F(CanaryTest, WhereEveryThreadIsAtWorkAServerIsFullAndNotFrozen) {
  Start({&sync_}, 2);  // one more waits for the next call
  Hold(sync_, 1);
  Turn();
  AwaitProbes(1);
  EXPECT_EQ(Report().state, State::kFull);
  EXPECT_EQ(refused_, 0) << "nobody's call was";
  Turn();
  AwaitProbes(2);
  EXPECT_EQ(Report().state, State::kFull);
}

TEST_F(CanaryTest, WhereTheCallbackThreadsAreBlockedItIsOverdueSinceItWasSent) {
  Start({&callback_});
  Turn();
  AwaitProbes(1);
  HoldCallbackThreads();
  Turn();
  const Instant sent = clock_.Now();
  EXPECT_EQ(Report().state, State::kOk) << "it has only just been sent";
  Turn();
  EXPECT_EQ(Report().state, State::kOverdue);
  EXPECT_EQ(Report().since, sent);
  Turn();
  EXPECT_EQ(Report().since, sent);
  EXPECT_EQ(Report().latency, 0s) << "of the last that was answered";
  callback_.Let();
  AwaitProbes(2);
  EXPECT_EQ(Report().state, State::kOk);
  EXPECT_EQ(Report().since, std::nullopt);
  EXPECT_EQ(Report().latency, 2 * Canary::kPeriod);
}

TEST_F(CanaryTest, OfTimeInWhichTheProcessDidNotRunNothingIsSaid) {
  Start({&callback_});
  HoldCallbackThreads();
  Turn();
  clock_.Advance(60s);
  EXPECT_EQ(Report().state, State::kOk) << "nobody had a turn";
  Turn(60s - Canary::kPeriod);
  EXPECT_EQ(Report().state, State::kOk) << "it may have been answered by now, had there been time";
  callback_.Let();
  AwaitProbes(1);
  EXPECT_EQ(Report().state, State::kOk);
  EXPECT_EQ(Report().latency, std::nullopt);
}

TEST_F(CanaryTest, AnAnswerBeforeTheFirstTurnAfterAPauseSaysNothingEither) {
  Start({&callback_});
  HoldCallbackThreads();
  Turn();
  clock_.Advance(60s);
  callback_.Let();
  AwaitProbes(1);
  EXPECT_EQ(Report().latency, std::nullopt);
}

TEST_F(CanaryTest, APauseIsNoPartOfTheTimeForWhichOneIsOverdue) {
  Start({&callback_});
  HoldCallbackThreads();
  Turn();
  const Instant sent = clock_.Now();
  Turn();
  clock_.Advance(due_ - clock_.Now() + 60s);
  EXPECT_EQ(Report().since, sent + 60s);
  due_ = canary_.TakeTurn(due_);
  EXPECT_EQ(Report().state, State::kOverdue);
  EXPECT_EQ(Report().since, sent + 60s);
}

TEST_F(CanaryTest, GoesOnWhereTheServersConnectionsAreSentAway) {
  Start({&sync_});
  Turn();
  AwaitProbes(1);
  SendGoaway();
  Turn();
  AwaitProbes(2);
}

TEST_F(CanaryTest, OneThatIsOverdueStaysSoWhereTheServersConnectionsAreSentAway) {
  Start({&callback_});
  HoldCallbackThreads();
  Turn();
  const Instant sent = clock_.Now();
  Turn();
  SendGoaway();
  Turn();
  EXPECT_EQ(Report().state, State::kOverdue);
  EXPECT_EQ(Report().since, sent);
  callback_.Let();
  AwaitProbes(2);
  EXPECT_EQ(Report().state, State::kOk);
}

TEST_F(CanaryTest, WhereOneWasCancelledAnotherIsSentWhoseTimeCounts) {
  Start({&callback_});
  HoldCallbackThreads();
  Turn();
  canary_.SendAway([this] { grpc_server_cancel_all_calls(server_->c_server()); });
  Turn();
  const Instant sent = clock_.Now();
  EXPECT_EQ(Report().state, State::kOk);
  Turn();
  EXPECT_EQ(Report().state, State::kOverdue);
  EXPECT_EQ(Report().since, sent);
}

// It would end the process.
TEST_F(CanaryTest, NoProbeMeetsAConnectionThatIsBeingSentAway) {
  Start({&sync_});
  std::atomic<bool> over{false};
  std::thread drain([&] {
    for (int i = 0; i < 300; ++i) SendGoaway();
    over = true;
  });
  while (!over) Turn();
  drain.join();
}

TEST_F(CanaryTest, ClosesAtOnceThoughItsProbeIsNotAnswered) {
  Start({&callback_});
  HoldCallbackThreads();
  Turn();
  canary_.Close();
  EXPECT_FALSE(canary_.report());
}

// gRPC's own question, by which it would wait for the connection: see goaway.cc.
bool HasOpenConnections(grpc::Server& server) {
  const auto ask = reinterpret_cast<bool (*)(void*)>(
      dlsym(RTLD_DEFAULT, "_ZN9grpc_core6Server18HasOpenConnectionsEv"));
  return ask == nullptr || ask(server.c_server());
}

TEST_F(CanaryTest, ClosedItLeavesNoConnectionToWaitForOnceTheServersWereSentAway) {
  Start({&sync_});
  Turn();
  AwaitProbes(1);
  EXPECT_TRUE(HasOpenConnections(*server_));
  canary_.Close();
  FindGoaway()(*server_);
  EXPECT_FALSE(HasOpenConnections(*server_));
}

class ProbedServerTest : public testing::Test {
 protected:
  std::unique_ptr<Server> Start(grpc::Service& service) { return Start(service, prober_); }
  std::unique_ptr<Server> Start(grpc::Service& service, Prober& prober) {
    ServerOptions options;
    options.name = "test";
    options.services = {&service};
    options.reflection = true;
    options.warn = [](const std::string& what) { ADD_FAILURE() << what; };
    options.prober = &prober;
    return std::move(*Server::Start(std::move(options), clock_, Termination()));
  }
  static void AwaitAnswer(const Server& server) {
    while (!server.canary()->latency) std::this_thread::yield();
  }

  const SteadyClock clock_;
  Prober prober_{clock_};
  HeldEcho sync_;
  HeldCallbackEcho callback_;
};

TEST_F(ProbedServerTest, TellsOfItsCanaryFromItsStartUntilItRetires) {
  Latch retired;
  const auto server = Start(sync_), other = Start(callback_);
  AwaitAnswer(*server);
  AwaitAnswer(*other);
  EXPECT_EQ(server->services(), std::vector<std::string>{"lastcall.example.Echo"});
  server->BeginRetire({}, [&retired] { retired.Set(); });
  retired.Wait();
  EXPECT_FALSE(server->canary());
  EXPECT_TRUE(other->canary());
}

TEST_F(ProbedServerTest, ManyMayComeAndGoWhileTheyAreProbed) {
  const auto stays = Start(callback_);
  for (int i = 0; i < 20; ++i) {
    const auto server = Start(sync_);
    if (i == 0) AwaitAnswer(*server);
  }
  AwaitAnswer(*stays);
}

// Nor here.
TEST_F(ProbedServerTest, IsCancelledRightAfterItBeganToRetire) {
  for (int i = 0; i < 20; ++i) {
    Latch retired;
    Prober prober(clock_);  // which begins at once with the first
    const auto server = Start(sync_, prober);
    server->BeginRetire({}, [&retired] { retired.Set(); });
    server->Cancel();
    retired.Wait();
  }
}

TEST(ProberTest, SpreadsThemOverThePeriod) {
  for (const size_t count : {size_t{2}, size_t{3}, size_t{10}, Prober::kMost}) {
    std::vector<Duration> phases;
    for (size_t i = 0; i < count; ++i) phases.push_back(Prober::PhaseOf(i));
    std::sort(phases.begin(), phases.end());
    EXPECT_EQ(phases.front(), 0s) << "the first is probed at once";
    phases.push_back(Canary::kPeriod);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_LE(phases[i + 1] - phases[i], Canary::kPeriod * 2 / count) << i << " of " << count;
    }
  }
}

TEST(ProberTest, VeryManyCostNoMoreThanManyDo) {
  EXPECT_EQ(Prober::PeriodOf(1), Canary::kPeriod);
  EXPECT_EQ(Prober::PeriodOf(Prober::kMost), Canary::kPeriod);
  EXPECT_EQ(Prober::PeriodOf(2 * Prober::kMost), 2 * Canary::kPeriod);
  EXPECT_EQ(Prober::PeriodOf(20 * Prober::kMost), 20 * Canary::kPeriod);
  // Also at their first turns: in no period more than there is room for, as they are spread.
  std::vector<size_t> turns(30);
  for (size_t i = 0; i < 20 * Prober::kMost; ++i) ++turns.at(Prober::PhaseOf(i) / Canary::kPeriod);
  EXPECT_LE(*std::max_element(turns.begin() + 1, turns.end()), 4 * Prober::kMost);
}

TEST(ProberTest, TurnsThatWereMissedAreLeftOut) {
  const Instant due{100s};
  EXPECT_EQ(Canary::DueAfter(due, due), due + Canary::kPeriod);
  EXPECT_EQ(Canary::DueAfter(due, due - 5ms), due + Canary::kPeriod) << "taken with another";
  EXPECT_EQ(Canary::DueAfter(due, due + 300ms), due + Canary::kPeriod);
  EXPECT_EQ(Canary::DueAfter(due, due + 60s), due + 76 * Canary::kPeriod);
  EXPECT_EQ(Canary::DueAfter(due, due + 60s, 16s), due + 64s);
}

}  // namespace
}  // namespace lastcall

// Handlers on a plugin's offload, of both APIs, behind a real server.
#include "lastcall/plugin/offload_grpc.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "echo.grpc.pb.h"

#include <lastcall/event/latch.h>
#include <lastcall/testing/plugin_harness.h>

namespace lastcall {
namespace {

using namespace std::chrono_literals;
using example::Echo;
using example::EchoReply;
using example::EchoRequest;
using testing::HasSubstr;

// What a plugin's handlers do; of the test that runs. Held by them, for they may be left behind.
struct OffloadScript {
  std::function<grpc::Status(const EchoRequest&, EchoReply&, const std::stop_token&)> work;
  std::function<grpc::Status(const EchoRequest&, StreamWriter<EchoReply>&, const std::stop_token&)>
      produce;
  Latch began, told, let_go, returned;  // of work
  Latch flowing, produced;              // of a producer
};
std::shared_ptr<OffloadScript> offload_script;

class SyncOffloader final : public Plugin, public Echo::Service {
 public:
  explicit SyncOffloader(PluginHost& host) : offload_(host.offload()) {}
  std::vector<grpc::Service*> Services() override { return {this}; }

  grpc::Status Unary(grpc::ServerContext* context, const EchoRequest* request,
                     EchoReply* reply) override {
    return RunUnary(offload_, *context, *request, *reply, script_->work);
  }
  grpc::Status ServerStream(grpc::ServerContext* context, const EchoRequest* request,
                            grpc::ServerWriter<EchoReply>* out) override {
    return RunStream(offload_, *context, *out,
                     [script = script_, request = *request](StreamWriter<EchoReply>& to,
                                                            const std::stop_token& stop) {
                       return script->produce(request, to, stop);
                     },
                     {.buffer = 2});
  }
  // For a call that the host does not know.
  grpc::Status Slow(grpc::ServerContext*, const example::SlowRequest*, EchoReply*) override {
    const grpc::ServerContext unknown;
    const auto run = offload_.Run(unknown, [script = script_](const std::stop_token& stop) {
      const std::stop_callback tell(stop, [&] { script->told.Set(); });
      script->began.Set();
      script->told.Wait();
      return 0;
    });
    return {grpc::StatusCode::ABORTED, run ? "it ran" : run.error().message};
  }

 private:
  const Offload offload_;
  const std::shared_ptr<OffloadScript> script_ = offload_script;
};

class CallbackOffloader final : public Plugin, public Echo::CallbackService {
 public:
  explicit CallbackOffloader(PluginHost& host) : offload_(host.offload()) {}
  std::vector<grpc::Service*> Services() override { return {this}; }

  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const EchoRequest* request,
                                  EchoReply* reply) override {
    return BeginUnary(offload_, *context, *request, *reply, script_->work);
  }
  grpc::ServerWriteReactor<EchoReply>* ServerStream(grpc::CallbackServerContext* context,
                                                    const EchoRequest* request) override {
    return BeginStream<EchoReply>(offload_, *context,
                                  [script = script_, request = *request](
                                      StreamWriter<EchoReply>& to, const std::stop_token& stop) {
                                    return script->produce(request, to, stop);
                                  },
                                  {.buffer = 2});
  }

 private:
  const Offload offload_;
  const std::shared_ptr<OffloadScript> script_ = offload_script;
};

template <class Offloader>
class OffloadGrpcTest : public testing::Test {
 protected:
  // One that was begun, by its client.
  struct Unary {
    grpc::ClientContext context;
    EchoReply reply;
    grpc::Status status;
    std::thread thread;
  };

  OffloadGrpcTest() {
    offload_script = script_;
    Hang();
  }
  ~OffloadGrpcTest() override {
    if (!left_behind_) script_->let_go.Set();
  }

  void Start(const OffloadLimits& limits = {}, Duration patience = 10s) {
    harness_ = std::make_unique<PluginHarness>(PluginHarness::Options{
        .plugin = "echo", .offload = limits, .shutdown = {0s, kForever, 5s}, .patience = patience});
    ASSERT_TRUE(harness_->template Start<Offloader>());
    stub_ = Echo::NewStub(harness_->channel());
  }
  // Unless a test wants something else, its work waits to be let go, and uses what it has then.
  void Hang() {
    script_->work = [script = script_.get()](const EchoRequest& request, EchoReply& reply,
                                             const std::stop_token& stop) {
      const std::stop_callback tell(stop, [&] { script->told.Set(); });
      script->began.Set();
      script->let_go.Wait();
      reply.set_text(request.text());
      script->returned.Set();
      return grpc::Status::OK;
    };
  }
  std::unique_ptr<Unary> Begin(std::string text = "hello") {
    auto call = std::make_unique<Unary>();
    call->thread = std::thread([this, text, call = call.get()] { Call(*call, text); });
    return call;
  }
  void Call(Unary& call, const std::string& text = "hello") {
    EchoRequest request;
    request.set_text(text);
    call.status = stub_->Unary(&call.context, request, &call.reply);
  }
  grpc::Status Call() {
    Unary call;
    return Call(call), call.status;
  }
  std::unique_ptr<grpc::ClientReader<EchoReply>> Stream(grpc::ClientContext& context,
                                                        const std::string& text = "") {
    EchoRequest request;
    request.set_text(text);
    return stub_->ServerStream(&context, request);
  }
  // Messages so large that a client who reads none is soon in the way.
  void ProduceMuch() {
    script_->produce = [script = script_.get(), written = written_](const EchoRequest& request,
                                                                    StreamWriter<EchoReply>& out,
                                                                    const std::stop_token&) {
      EchoReply large;
      large.set_text(std::string(1 << 20, 'x'));
      std::atomic<int> of_another = 0;
      std::atomic<int>& count = request.text() == "another" ? of_another : *written;
      while (count < kMuch && out.Write(large)) {
        if (++count == 3) script->flowing.Set();
      }
      script->produced.Set();
      return grpc::Status::OK;
    };
  }
  static constexpr int kMuch = 100;

  const std::shared_ptr<OffloadScript> script_ = std::make_shared<OffloadScript>();
  const std::shared_ptr<std::atomic<int>> written_ = std::make_shared<std::atomic<int>>(0);
  std::unique_ptr<PluginHarness> harness_;
  std::unique_ptr<Echo::Stub> stub_;
  bool left_behind_ = false;
};

// Else only those of cancelled calls would be.
using SyncOffloadTest = OffloadGrpcTest<SyncOffloader>;
TEST_F(SyncOffloadTest, StageCancelCancelsWorkOfWhateverCall) {
  Start();
  std::thread calling([this] {
    grpc::ClientContext context;
    EchoReply reply;
    stub_->Slow(&context, example::SlowRequest(), &reply);
  });
  script_->began.Wait();
  EXPECT_TRUE(harness_->Stop());
  calling.join();
}

using Offloaders = testing::Types<SyncOffloader, CallbackOffloader>;
TYPED_TEST_SUITE(OffloadGrpcTest, Offloaders);

TYPED_TEST(OffloadGrpcTest, TheReplyIsTheWorks) {
  this->script_->let_go.Set();
  this->Start();
  typename TestFixture::Unary call;
  this->Call(call, "a reply");
  EXPECT_TRUE(call.status.ok()) << call.status.error_message();
  EXPECT_EQ(call.reply.text(), "a reply");
}

TYPED_TEST(OffloadGrpcTest, TheStatusIsTheWorks) {
  this->script_->work = [](const EchoRequest&, EchoReply&, const std::stop_token&) {
    return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such thing");
  };
  this->Start();
  const grpc::Status status = this->Call();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no such thing");
}

TYPED_TEST(OffloadGrpcTest, ALateAnswerIsAStatusAndTheWorkKeepsItsMessages) {
  this->Start();
  const auto call = this->Begin();
  this->script_->began.Wait();
  this->harness_->Advance(30s);
  call->thread.join();
  EXPECT_EQ(call->status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(call->status.error_message(), "the work was not done in time");
  this->script_->told.Wait();
  this->script_->let_go.Set();
  this->script_->returned.Wait();
  EXPECT_TRUE(this->harness_->Stop());
}

TYPED_TEST(OffloadGrpcTest, TheClientsDeadlineCountsWhereItIsFirst) {
  this->Start({.deadline = 1h});
  auto call = std::make_unique<typename TestFixture::Unary>();
  call->context.set_deadline(std::chrono::system_clock::now() + 60s);
  std::thread calling([&] { this->Call(*call); });
  this->script_->began.Wait();
  this->harness_->Advance(70s);  // gRPC rounds up
  calling.join();
  EXPECT_EQ(call->status.error_message(), "the work was not done in time");
}

TYPED_TEST(OffloadGrpcTest, AThrowIsAStatusThatDoesNotSayWhat) {
  this->script_->work = [](const EchoRequest&, EchoReply&, const std::stop_token&) -> grpc::Status {
    throw std::runtime_error("secret");
  };
  this->Start();
  const grpc::Status status = this->Call();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), testing::Not(HasSubstr("secret")));
  EXPECT_TRUE(this->harness_->log().Said(
      LogLevel::kError,
      "plugin echo: offloaded work of /lastcall.example.Echo/Unary threw: secret"));
}

TYPED_TEST(OffloadGrpcTest, WhereNothingIsFreeACallIsRefused) {
  this->Start({.threads = 1, .queue = 0});
  const auto call = this->Begin();
  this->script_->began.Wait();
  EXPECT_EQ(this->Call().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  this->script_->let_go.Set();
  call->thread.join();
  EXPECT_TRUE(call->status.ok());
}

// Told to leave it goes on; only then its client goes.
TYPED_TEST(OffloadGrpcTest, WorkGoesOnInGraceAndIsCancelledWithItsClient) {
  this->Start();
  const auto call = this->Begin();
  this->script_->began.Wait();
  this->harness_->Enter(Stage::kGrace);
  EXPECT_FALSE(this->script_->told.IsSet());
  call->context.TryCancel();
  this->script_->told.Wait();
  call->thread.join();
  this->script_->let_go.Set();
  EXPECT_TRUE(this->harness_->Stop());
}

TYPED_TEST(OffloadGrpcTest, StageCancelCancelsTheWorkAndThePluginEndsAfterIt) {
  this->Start();
  const auto call = this->Begin();
  this->script_->began.Wait();
  std::thread letting_go([this] {
    this->script_->told.Wait();
    this->script_->let_go.Set();
  });
  EXPECT_TRUE(this->harness_->Stop());
  EXPECT_TRUE(this->script_->returned.IsSet());
  letting_go.join();
  call->thread.join();
  EXPECT_FALSE(call->status.ok());
}

TYPED_TEST(OffloadGrpcTest, WorkThatDoesNotReturnIsNamedAndItsPluginLeftBehind) {
  // For ever: what it looks at stays, and its plugin's end would look at what does not.
  this->left_behind_ = true;
  static auto* const kept = new std::vector<std::shared_ptr<OffloadScript>>;
  kept->push_back(this->script_);
  this->Start({}, 2s);
  const auto call = this->Begin();
  this->script_->began.Wait();
  const auto stopped = this->harness_->Stop();
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().message, "plugin echo: offloaded work has not returned");
  call->thread.join();
}

TYPED_TEST(OffloadGrpcTest, AStreamIsWhatItsProducerWrites) {
  this->script_->produce = [](const EchoRequest&, StreamWriter<EchoReply>& out,
                              const std::stop_token&) {
    EchoReply reply;
    for (int i = 0; i < 1000; ++i) {
      reply.set_number(i);
      EXPECT_TRUE(out.Write(reply));
    }
    return grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "that was all");
  };
  this->Start();
  grpc::ClientContext context;
  const auto reader = this->Stream(context);
  EchoReply reply;
  int expected = 0;
  while (reader->Read(&reply)) EXPECT_EQ(reply.number(), expected++);
  EXPECT_EQ(expected, 1000);
  EXPECT_EQ(reader->Finish().error_message(), "that was all");
}

TYPED_TEST(OffloadGrpcTest, AProducerThatThrowsEndsItsStream) {
  this->script_->produce = [](const EchoRequest&, StreamWriter<EchoReply>&,
                              const std::stop_token&) -> grpc::Status {
    throw std::runtime_error("secret");
  };
  this->Start();
  grpc::ClientContext context;
  const auto reader = this->Stream(context);
  EchoReply reply;
  EXPECT_FALSE(reader->Read(&reply));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INTERNAL);
}

TYPED_TEST(OffloadGrpcTest, AProducerWaitsForItsClientAndNobodyElseDoes) {
  this->ProduceMuch();
  this->script_->let_go.Set();
  this->Start();
  grpc::ClientContext context;
  const auto reader = this->Stream(context);
  this->script_->flowing.Wait();
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(this->Call().ok());
  // As long as another stream of the same takes, to one who reads.
  grpc::ClientContext reading;
  const auto another = this->Stream(reading, "another");
  EchoReply reply;
  while (another->Read(&reply)) continue;
  EXPECT_LT(*this->written_, this->kMuch);
  int read = 0;
  while (reader->Read(&reply)) ++read;
  EXPECT_EQ(read, this->kMuch);
  EXPECT_TRUE(reader->Finish().ok());
}

TYPED_TEST(OffloadGrpcTest, AProducerIsLetGoAtItsDeadlineAndTheClientReadsWhatCame) {
  this->ProduceMuch();
  this->Start();
  grpc::ClientContext context;
  const auto reader = this->Stream(context);
  this->script_->flowing.Wait();
  this->harness_->Advance(30s);
  this->script_->produced.Wait();
  EchoReply reply;
  int read = 0;
  while (reader->Read(&reply)) ++read;
  EXPECT_GT(read, 0);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TYPED_TEST(OffloadGrpcTest, AProducerIsLetGoWhenItsClientGoes) {
  this->ProduceMuch();
  this->Start();
  grpc::ClientContext context;
  const auto reader = this->Stream(context);
  this->script_->flowing.Wait();
  context.TryCancel();
  this->script_->produced.Wait();
  EXPECT_LT(*this->written_, this->kMuch);
  EXPECT_TRUE(this->harness_->Stop());
}

TYPED_TEST(OffloadGrpcTest, AProducerIsLetGoAtStageCancel) {
  this->ProduceMuch();
  this->Start();
  grpc::ClientContext context;
  const auto reader = this->Stream(context);
  this->script_->flowing.Wait();
  EXPECT_TRUE(this->harness_->Stop());
  EXPECT_TRUE(this->script_->produced.IsSet());
  EchoReply reply;
  while (reader->Read(&reply)) continue;
  EXPECT_FALSE(reader->Finish().ok());
}

}  // namespace
}  // namespace lastcall

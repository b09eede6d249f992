// The health service's Watch when its connection is sent away.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <lastcall/rpc/health_board.h>
#include <lastcall/rpc/health_service.h>

#include "grpc/health/v1/health.grpc.pb.h"

namespace lastcall {
namespace {

using ::grpc::health::v1::Health;
using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;

class HealthServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    board_.SetServing(true);
    grpc::ServerBuilder builder;
    service_.Register(builder, false);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    service_.Start();
    stub_ = Health::NewStub(server_->InProcessChannel({}));
    watch_ = stub_->Watch(&context_, {});
  }

  void TearDown() override {
    context_.TryCancel();
    watch_ = nullptr;
    server_->Shutdown();
    service_.Stop();
  }

  HealthCheckResponse::ServingStatus Next() {
    HealthCheckResponse response;
    return watch_->Read(&response) ? response.status() : HealthCheckResponse::UNKNOWN;
  }

  // The service's one thread has done what was there for it to do.
  void AwaitTurn() {
    grpc::ClientContext context;
    HealthCheckResponse response;
    EXPECT_TRUE(stub_->Check(&context, {}, &response).ok());
  }

  HealthBoard board_;
  HealthService service_{board_, [] {}};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Health::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> watch_;
};

TEST_F(HealthServiceTest, AWatchThatSaysServingEndsTheSecondTimeThatItIsSentAway) {
  ASSERT_EQ(Next(), HealthCheckResponse::SERVING);
  AwaitTurn();
  service_.SendGoaway();
  board_.SetServing(false);
  EXPECT_EQ(Next(), HealthCheckResponse::NOT_SERVING) << "it has ended";
  service_.SendGoaway();
  EXPECT_EQ(Next(), HealthCheckResponse::UNKNOWN);
  EXPECT_EQ(watch_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(HealthServiceTest, AWatchThatSaysNotServingEndsTheFirstTime) {
  ASSERT_EQ(Next(), HealthCheckResponse::SERVING);
  board_.SetServing(false);
  ASSERT_EQ(Next(), HealthCheckResponse::NOT_SERVING);
  AwaitTurn();
  service_.SendGoaway();
  EXPECT_EQ(Next(), HealthCheckResponse::UNKNOWN);
  EXPECT_EQ(watch_->Finish().error_message(), "the server is stopping");
}

}  // namespace
}  // namespace lastcall

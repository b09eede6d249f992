// The plugin of this directory in its own test: no daemon, no real time.
#include <lastcall/testing/plugin_harness.h>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "hello.grpc.pb.h"

namespace {

TEST(HelloTest, GreetsByItsWord) {
  lastcall::PluginHarness harness({.plugin = "hello", .config = {{"word", "Ciao"}}});
  const auto started = harness.Start();
  ASSERT_TRUE(started) << started.error().message;

  const auto stub = hello::Greeter::NewStub(harness.channel());
  grpc::ClientContext context;
  hello::Name name;
  name.set_name("you");
  hello::Greeting greeting;
  ASSERT_TRUE(stub->Greet(&context, name, &greeting).ok());
  EXPECT_EQ(greeting.text(), "Ciao, you");

  harness.Enter(lastcall::Stage::kGrace);
  EXPECT_EQ(harness.IsServing("hello.Greeter"), false);
  EXPECT_TRUE(harness.Stop());
  EXPECT_TRUE(harness.stop_deadline());
}

TEST(HelloTest, RefusesAKeyThatItDoesNotKnow) {
  lastcall::PluginHarness harness({.plugin = "hello", .config = {{"wrod", "Ciao"}}});
  const auto started = harness.Start();
  ASSERT_FALSE(started);
  EXPECT_NE(started.error().message.find("did you mean \"word\"?"), std::string::npos)
      << started.error().message;
}

}  // namespace

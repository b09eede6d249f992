// What a host is told to run reads there as it was written here.
#include "wire/configuration_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace lastcall {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ConfigurationMessageTest, LimitsComeBackAsTheyWere) {
  const ServerLimits limits{.connections = 1,
                            .streams = 2,
                            .message = 3,
                            .metadata = 4,
                            .memory = 5,
                            .threads = 6,
                            .keepalive = std::chrono::milliseconds(7500),
                            .keepalive_timeout = std::chrono::seconds(8),
                            .handshake = std::chrono::seconds(9)};
  EXPECT_EQ(FromProto(ToProto(limits)), limits);
}

TEST(ConfigurationMessageTest, StallsComeBackAsTheyWere) {
  const StallLimits stalls{.after = kForever,
                           .methods = {{"/a.B/C", {std::chrono::milliseconds(1500), "a.toml", 7}},
                                       {"/a.B/D", {kForever, "b.toml", 8}}}};
  host::v1::ServerSpec message;
  Write(stalls, message);
  EXPECT_EQ(StallsIn(message), stalls);
}

TEST(ConfigurationMessageTest, OffloadLimitsComeBackAsTheyWere) {
  const OffloadLimits limits{.threads = 1, .queue = 2, .deadline = std::chrono::milliseconds(3500)};
  EXPECT_EQ(FromProto(ToProto(limits)), limits);
}

TEST(ConfigurationMessageTest, APluginReadsEveryKindOfValueWithItsPlace) {
  const PluginValues values{{"text", {std::string("hello"), "a.toml", 1}},
                            {"integer", {int64_t{-7}, "a.toml", 2}},
                            {"number", {2.5, "a.toml", 3}},
                            {"boolean", {true, "a.toml", 4}},
                            {"texts", {PluginConfig::StringList{"one", "two"}, "a.toml", 5}},
                            {"none", {PluginConfig::StringList{}, "a.toml", 6}}};
  const host::v1::PluginSpec message = PluginMessage("echo", "/plugins/echo.so", values);
  EXPECT_EQ(message.name(), "echo");
  EXPECT_EQ(message.path(), "/plugins/echo.so");
  const PluginConfig config = ConfigOf("public", message);
  EXPECT_EQ(config.String("text"), "hello");
  EXPECT_EQ(config.Integer("integer"), -7);
  EXPECT_EQ(config.Number("number"), 2.5);
  EXPECT_TRUE(config.Boolean("boolean", false));
  EXPECT_THAT(config.Strings("texts"), ElementsAre("one", "two"));
  EXPECT_THAT(config.Strings("none"), IsEmpty());
  try {
    config.Integer("text");
    FAIL() << "it is a text";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("a.toml:1"));
    EXPECT_THAT(error.what(), HasSubstr("server.public.config.echo"));
  }
}

}  // namespace
}  // namespace lastcall

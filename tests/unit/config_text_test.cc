// The effective configuration as text: TOML that reads as the same again, and JSON with the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/config/config.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using testing::HasSubstr;
using testing::Not;

void ExpectSamePlugin(const PluginSpec& a, const PluginSpec& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.path, b.path);
  EXPECT_EQ(a.offload, b.offload);
  ASSERT_EQ(a.values.size(), b.values.size());
  for (const auto& [key, value] : a.values) {
    ASSERT_TRUE(b.values.contains(key)) << key;
    EXPECT_EQ(value.value, b.values.at(key).value) << key;
  }
}

void ExpectSameServer(const ServerConfig& a, const ServerConfig& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.process, b.process);
  EXPECT_EQ(a.reflection, b.reflection);
  ASSERT_EQ(a.listen.size(), b.listen.size());
  for (size_t i = 0; i < a.listen.size(); ++i) {
    EXPECT_EQ(a.listen[i].kind, b.listen[i].kind);
    EXPECT_EQ(a.listen[i].host, b.listen[i].host);
    EXPECT_EQ(a.listen[i].port, b.listen[i].port);
    EXPECT_EQ(a.listen[i].path, b.listen[i].path);
    EXPECT_EQ(a.listen[i].mode, b.listen[i].mode);
    EXPECT_EQ(a.listen[i].group, b.listen[i].group);
  }
  ASSERT_EQ(a.plugins.size(), b.plugins.size());
  for (size_t i = 0; i < a.plugins.size(); ++i) ExpectSamePlugin(a.plugins[i], b.plugins[i]);
  EXPECT_EQ(a.limits, b.limits);
}

// Everything but places and files.
void ExpectSame(const Config& a, const Config& b) {
  EXPECT_EQ(a.plugin_dir, b.plugin_dir);
  EXPECT_EQ(a.state_dir, b.state_dir);
  EXPECT_EQ(a.shutdown.delay, b.shutdown.delay);
  EXPECT_EQ(a.shutdown.grace, b.shutdown.grace);
  EXPECT_EQ(a.shutdown.cancel, b.shutdown.cancel);
  EXPECT_EQ(a.quiet, b.quiet);
  EXPECT_EQ(a.ready, b.ready);
  EXPECT_EQ(a.settle, b.settle);
  EXPECT_EQ(a.reload_grace, b.reload_grace);
  EXPECT_EQ(a.keep, b.keep);
  EXPECT_EQ(a.admin_socket, b.admin_socket);
  EXPECT_EQ(a.operators, b.operators);
  EXPECT_EQ(a.observers, b.observers);
  EXPECT_EQ(a.log_level, b.log_level);
  ASSERT_EQ(a.servers.size(), b.servers.size());
  for (size_t i = 0; i < a.servers.size(); ++i) ExpectSameServer(a.servers[i], b.servers[i]);
  ASSERT_EQ(a.processes.size(), b.processes.size());
  for (size_t i = 0; i < a.processes.size(); ++i) {
    EXPECT_EQ(a.processes[i].name, b.processes[i].name);
    EXPECT_EQ(a.processes[i].restart, b.processes[i].restart);
    EXPECT_EQ(a.processes[i].frozen, b.processes[i].frozen);
    EXPECT_EQ(a.processes[i].frozen_after, b.processes[i].frozen_after);
  }
}

class ConfigTextTest : public testing::Test {
 protected:
  Config Load(const std::string& toml) {
    auto config = LoadConfig(folder_.Write("lastcalld.toml", toml));
    if (config) return *config;
    ADD_FAILURE() << Format(config.error()) << toml;
    return {};
  }
  // As another machine would read it: in another folder.
  Config LoadElsewhere(const std::string& toml) {
    auto config = LoadConfig(folder_.Write("elsewhere/other.toml", toml));
    if (config) return *config;
    ADD_FAILURE() << Format(config.error()) << toml;
    return {};
  }
  void ExpectRoundTrip(const Config& config) {
    const std::string toml = ToToml(config);
    const Config again = LoadElsewhere(toml);
    ExpectSame(config, again);
    EXPECT_EQ(ToToml(again), toml);
    EXPECT_EQ(ToJson(again), ToJson(config));
  }

  TempFolder folder_;
};

constexpr char kSmall[] = "[server.a]\nlisten = [\"127.0.0.1:0\"]\nplugins = [\"echo\"]\n";

constexpr char kRich[] = R"(
plugin_dir = "plugins"
[shutdown]
delay = "1234ms"
grace = "infinity"
cancel = "1d1ns"
quiet = "1500us"
[reload]
ready = "61s"
settle = "1h0.5s"
grace = "100h"
keep = 9
[admin]
socket = "admin \"quoted\" é.sock"
operators = []
observers = ["a", "b"]
[log]
level = "trace"
[server.zebra]
listen = ["*:1", "[::1]:2", "0.0.0.0:3", "unix:run/z.sock?group=shop", "unix:/y?mode=600"]
plugins = ["echo", "./sub/my.plugin.so"]
reflection = true
[server.zebra.limits]
connections = 0
streams = 7
message = "1GiB"
threads = 12
keepalive = "1.5s"
keepalive_timeout = "0s"
handshake = "1d"
[server.zebra.offload.echo]
threads = 1
queue = 2
deadline = "1.5s"
[server.zebra.offload."my.plugin"]
queue = 0
[server.zebra.config.echo]
text = "tab\t quote\" back\\slash é\u0001"
"odd \"key\"" = "x"
big = -9223372036854775808
on = false
off = true
number = 0.1
whole = 3.0
huge = 1e300
tiny = -1e-9
infinite = inf
list = ["a", "", "c\n"]
empty = []
a-x = 1
a.b = 2
a.c.d = 3
[server.zebra.config."my.plugin"]
key = 1
[server."dotted.name"]
listen = ["127.0.0.1:0"]
plugins = ["echo"]
process = "own.process"
[process."own.process"]
restart = "never"
[process.main]
restart = "on-failure"
frozen = "replace"
frozen_after = "1s"
)";

TEST_F(ConfigTextTest, SmallConfigurationReadsTheSameAgain) { ExpectRoundTrip(Load(kSmall)); }

TEST_F(ConfigTextTest, RichConfigurationReadsTheSameAgain) { ExpectRoundTrip(Load(kRich)); }

TEST_F(ConfigTextTest, DevelopmentConfigurationReadsAsAFile) {
  const auto config = DevelopmentConfig({"./echo.so"}, {"unix:dev.sock", "*:0"}, "run");
  ASSERT_TRUE(config) << Format(config.error());
  ExpectRoundTrip(*config);
}

TEST_F(ConfigTextTest, TomlIsWrittenForPeople) {
  const Config config = Load(std::string("shutdown.delay = \"90s\"\nplugin_dir = \"/p\"\n") +
                             kSmall + "[server.a.config.echo]\nupstream = { host = \"h\" }\n");
  EXPECT_EQ(ToToml(config), R"(plugin_dir = "/p"
state_dir = "/var/lib/lastcall"

[shutdown]
delay = "1m30s"
grace = "20s"
cancel = "5s"

[reload]
ready = "30s"
settle = "2s"
grace = "10m"
keep = 3

[admin]
socket = "/run/lastcall/admin.sock"
operators = ["lastcall-admin"]
observers = ["lastcall-view"]

[log]
level = "info"

[server.a]
listen = ["127.0.0.1:0"]
plugins = ["echo"]
process = "main"
reflection = false
stall_after = "10s"

[server.a.limits]
connections = 10000
streams = 100
message = 4194304
metadata = 16384
memory = 0
threads = 1000
keepalive = "1m"
keepalive_timeout = "10s"
handshake = "10s"

[server.a.offload.echo]
threads = 4
queue = 64
deadline = "30s"

[server.a.config.echo.upstream]
host = "h"

[process.main]
restart = "always"
frozen = "report"
frozen_after = "10s"
)");
}

TEST_F(ConfigTextTest, JsonHasTheSameTables) {
  const Config config =
      Load(std::string(kSmall) +
           "[server.a.config.echo]\nupstream = { host = \"h\" }\nx = 0.5\ny = nan\n"
           "l = [\"a\"]\n");
  EXPECT_EQ(
      ToJson(config),
      R"({"plugin_dir":"/usr/lib/lastcall/plugins","state_dir":"/var/lib/lastcall",)"
      R"("shutdown":{"delay":"0s","grace":"20s","cancel":"5s"},)"
      R"("reload":{"ready":"30s","settle":"2s","grace":"10m","keep":3},)"
      R"("admin":{"socket":"/run/lastcall/admin.sock","operators":["lastcall-admin"],)"
      R"("observers":["lastcall-view"]},"log":{"level":"info"},)"
      R"("server":{"a":{"listen":["127.0.0.1:0"],"plugins":["echo"],"process":"main",)"
      R"("reflection":false,"stall_after":"10s","limits":{"connections":10000,"streams":100,"message":4194304,)"
      R"("metadata":16384,"memory":0,)"
      R"("threads":1000,"keepalive":"1m","keepalive_timeout":"10s","handshake":"10s"},)"
      R"("offload":{"echo":{"threads":4,"queue":64,"deadline":"30s"}},)"
      R"("config":{"echo":{"l":["a"],"upstream":{"host":"h"},"x":0.5,"y":null}}}},)"
      R"("process":{"main":{"restart":"always","frozen":"report","frozen_after":"10s"}}})");
}

TEST_F(ConfigTextTest, PluginByPathKeepsItsPath) {
  const Config config = Load("[server.a]\nlisten = [\"127.0.0.1:0\"]\nplugins = [\"./e.so\"]\n");
  EXPECT_THAT(ToToml(config), HasSubstr("plugins = [\"" + folder_.path() + "/e.so\"]"));
  EXPECT_THAT(ToToml(config), Not(HasSubstr("./e.so")));
}

TEST_F(ConfigTextTest, EveryValueSaysWhereItWasWritten) {
  const std::string drop_in = folder_.Write("lastcalld.d/50-more.toml",
                                            "[shutdown]\ngrace = \"3s\"\n\n[server.a.limits]\n"
                                            "streams = 7\n");
  const Config config = Load(std::string(kSmall) + "[server.a.config.echo.deep]\n\"a key\" = 1\n");
  const std::string text = ToAnnotatedToml(config), main = folder_ / "lastcalld.toml";
  for (const std::string& line :
       {"listen = [\"127.0.0.1:0\"]  # " + main + ":2\n",
        "plugins = [\"echo\"]  # " + main + ":3\n", "\"a key\" = 1  # " + main + ":5\n",
        "grace = \"3s\"  # " + drop_in + ":2\n", "streams = 7  # " + drop_in + ":5\n",
        std::string("delay = \"0s\"  # default\n"),
        std::string("process = \"main\"  # default\n")}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  ExpectSame(config, LoadElsewhere(text));

  const auto origins = OriginsOf(config);
  EXPECT_EQ(std::count(text.begin(), text.end(), '#'), static_cast<long>(origins.size()));
  EXPECT_EQ(origins.front().key, "plugin_dir");
  const auto deep = std::find_if(origins.begin(), origins.end(), [](const Origin& origin) {
    return origin.key == "server.a.config.echo.deep.\"a key\"";
  });
  ASSERT_NE(deep, origins.end());
  EXPECT_EQ(deep->kind, Origin::Kind::kFile);
  EXPECT_EQ(deep->location.line, 5u);
}

TEST_F(ConfigTextTest, WhatTheCommandLineSaysIsMarkedSo) {
  const auto config = DevelopmentConfig({"./x.so"}, {"127.0.0.1:0"}, folder_.path());
  ASSERT_TRUE(config);
  const std::string text = ToAnnotatedToml(*config);
  EXPECT_THAT(text, HasSubstr("listen = [\"127.0.0.1:0\"]  # command line\n"));
  EXPECT_THAT(text, HasSubstr("reflection = true  # command line\n"));
  EXPECT_THAT(text, HasSubstr("process = \"main\"  # default\n"));
}

}  // namespace
}  // namespace lastcall

// What a good configuration becomes: defaults, drop-ins, paths, places, and its own text again.
#include "daemon/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "temp_folder.h"

namespace lastcall {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr char kServer[] = R"(
[server.public]
listen = ["127.0.0.1:50051"]
plugins = ["echo"]
)";

class ConfigTest : public testing::Test {
 protected:
  Config Load(const std::string& main) {
    auto config = LoadConfig(folder_.Write("lastcalld.toml", main));
    if (config) return *config;
    ADD_FAILURE() << Format(config.error());
    return {};
  }

  static Config LoadOk(const std::string& file) {
    auto config = LoadConfig(file);
    if (config) return *config;
    ADD_FAILURE() << Format(config.error());
    return {};
  }

  // Without the "# " before a key or a section; other comments stay.
  static std::string Uncommented(const std::string& line) {
    if (!line.starts_with("# ")) return line;
    const std::string rest = line.substr(2);
    const size_t end = rest.find_first_not_of("abcdefghijklmnopqrstuvwxyz_");
    const bool key = end != 0 && end != rest.npos && rest.compare(end, 3, " = ") == 0;
    return key || rest.starts_with('[') ? rest : line;
  }

  static std::vector<std::string> Canonical(const ServerConfig& server) {
    std::vector<std::string> texts;
    for (const Address& address : server.listen) texts.push_back(address.Canonical());
    return texts;
  }

  TempFolder folder_;
};

TEST_F(ConfigTest, DefaultsAreThoseOfTheContract) {
  const Config config = Load(kServer);
  EXPECT_EQ(config.file, folder_ / "lastcalld.toml");
  EXPECT_THAT(config.files, ElementsAre(config.file));
  EXPECT_EQ(config.plugin_dir, "/usr/lib/lastcall/plugins");
  EXPECT_EQ(config.state_dir, "/var/lib/lastcall");
  EXPECT_EQ(config.shutdown.delay, seconds(0));
  EXPECT_EQ(config.shutdown.grace, seconds(20));
  EXPECT_EQ(config.shutdown.cancel, seconds(5));
  EXPECT_FALSE(config.quiet);
  EXPECT_EQ(config.ready, seconds(30));
  EXPECT_EQ(config.settle, seconds(2));
  EXPECT_EQ(config.reload_grace, minutes(10));
  EXPECT_EQ(config.keep, 3u);
  EXPECT_EQ(config.admin_socket, "/run/lastcall/admin.sock");
  EXPECT_THAT(config.operators, ElementsAre("lastcall-admin"));
  EXPECT_THAT(config.observers, ElementsAre("lastcall-view"));
  EXPECT_EQ(config.log_level, "info");
}

TEST_F(ConfigTest, ServerDefaultsAreSane) {
  const Config config = Load(kServer);
  ASSERT_EQ(config.servers.size(), 1u);
  const ServerConfig& server = config.servers[0];
  EXPECT_EQ(server.name, "public");
  EXPECT_EQ(server.process, "main");
  EXPECT_FALSE(server.reflection);
  EXPECT_EQ(server.location.line, 2u);
  EXPECT_EQ(server.limits.connections, 10000u);
  EXPECT_EQ(server.limits.streams, 100u);
  EXPECT_EQ(server.limits.message, 4u << 20);
  EXPECT_EQ(server.limits.threads, 1000u);
  EXPECT_EQ(server.limits.keepalive, seconds(60));
  EXPECT_EQ(server.limits.keepalive_timeout, seconds(10));
  EXPECT_EQ(server.limits.handshake, seconds(10));
  EXPECT_EQ(server.stalls.after, seconds(10));
  EXPECT_EQ(server.plugins.at(0).offload, (OffloadLimits{4, 64, seconds(30)}));
  ASSERT_EQ(config.processes.size(), 1u);
  EXPECT_EQ(config.processes[0].name, "main");
  EXPECT_EQ(config.processes[0].restart, RestartPolicy::kAlways);
  EXPECT_EQ(config.processes[0].frozen, FrozenPolicy::kReport);
  EXPECT_EQ(config.processes[0].frozen_after, seconds(10));
}

TEST_F(ConfigTest, EveryKeyIsRead) {
  const Config config = Load(R"(
plugin_dir = "/p"
state_dir = "/s"
shutdown = { delay = "1s", grace = "infinity", cancel = "3s", quiet = "250ms" }
reload = { ready = "4s", settle = "5s", grace = "infinity", keep = 7 }
admin = { socket = "/a.sock", operators = ["a", "b"], observers = [] }
log.level = "debug"
[server.x]
listen = ["*:1", "unix:/x.sock?mode=0660&group=g"]
plugins = ["echo"]
process = "own"
reflection = true
stall_after = "infinity"
[server.x.method]
"/a.B/C" = { stall_after = "3s" }
"/a.B/D" = { long_polling = true }
[server.x.limits]
connections = 1
streams = 2
message = "3KiB"
threads = 4
keepalive = "0s"
keepalive_timeout = "6s"
handshake = "7s"
[server.x.offload.echo]
threads = 8
queue = 0
deadline = "9s"
[process.own]
restart = "on-failure"
frozen = "replace"
frozen_after = "3s"
replicas = 1
)");
  EXPECT_EQ(config.plugin_dir, "/p");
  EXPECT_EQ(config.state_dir, "/s");
  EXPECT_EQ(config.shutdown.delay, seconds(1));
  EXPECT_EQ(config.shutdown.grace, kForever);
  EXPECT_EQ(config.shutdown.cancel, seconds(3));
  EXPECT_EQ(config.quiet, milliseconds(250));
  EXPECT_EQ(config.ready, seconds(4));
  EXPECT_EQ(config.settle, seconds(5));
  EXPECT_EQ(config.reload_grace, kForever);
  EXPECT_EQ(config.keep, 7u);
  EXPECT_EQ(config.admin_socket, "/a.sock");
  EXPECT_THAT(config.operators, ElementsAre("a", "b"));
  EXPECT_THAT(config.observers, IsEmpty());
  EXPECT_EQ(config.log_level, "debug");
  ASSERT_EQ(config.servers.size(), 1u);
  const ServerConfig& server = config.servers[0];
  EXPECT_THAT(Canonical(server), ElementsAre("*:1", "unix:/x.sock?mode=0660&group=g"));
  EXPECT_EQ(server.process, "own");
  EXPECT_TRUE(server.reflection);
  EXPECT_EQ(server.limits.connections, 1u);
  EXPECT_EQ(server.limits.streams, 2u);
  EXPECT_EQ(server.limits.message, 3u << 10);
  EXPECT_EQ(server.limits.threads, 4u);
  EXPECT_EQ(server.limits.keepalive, seconds(0));
  EXPECT_EQ(server.limits.keepalive_timeout, seconds(6));
  EXPECT_EQ(server.limits.handshake, seconds(7));
  EXPECT_EQ(server.stalls.after, kForever);
  ASSERT_EQ(server.stalls.methods.size(), 2u);
  EXPECT_EQ(server.stalls.methods.at("/a.B/C").after, seconds(3));
  EXPECT_EQ(server.stalls.methods.at("/a.B/D").after, kForever);
  EXPECT_GT(server.stalls.methods.at("/a.B/D").line, server.stalls.methods.at("/a.B/C").line);
  EXPECT_EQ(server.plugins.at(0).offload, (OffloadLimits{8, 0, seconds(9)}));
  ASSERT_EQ(config.processes.size(), 1u);
  EXPECT_EQ(config.processes[0].restart, RestartPolicy::kOnFailure);
  EXPECT_EQ(config.processes[0].frozen, FrozenPolicy::kReplace);
  EXPECT_EQ(config.processes[0].frozen_after, seconds(3));
  EXPECT_EQ(config.processes[0].location.line, 29u);
}

TEST_F(ConfigTest, DropInsMergeTablesAndReplaceTheRest) {
  folder_.Write("lastcalld.d/10-first.toml", R"(
[shutdown]
delay = "5s"
[server.public]
listen = ["127.0.0.1:1"]
[server.public.config.echo]
greeting = "ten"
)");
  folder_.Write("lastcalld.d/20-second.toml", R"([server.public.config.echo]
greeting = "twenty"
)");
  folder_.Write("lastcalld.d/.hidden.toml", "this is not TOML");
  folder_.Write("lastcalld.d/30.toml.bak", "this is not TOML");
  const Config config = Load(std::string("[shutdown]\ngrace = \"7s\"\n") + kServer +
                             "[server.public.config.echo]\ngreeting = \"main\"\nloud = true\n");
  EXPECT_THAT(config.files,
              ElementsAre(folder_ / "lastcalld.toml", folder_ / "lastcalld.d/10-first.toml",
                          folder_ / "lastcalld.d/20-second.toml"));
  EXPECT_EQ(config.shutdown.delay, seconds(5));
  EXPECT_EQ(config.shutdown.grace, seconds(7));
  const ServerConfig& server = config.servers.at(0);
  EXPECT_THAT(Canonical(server), ElementsAre("127.0.0.1:1"));
  const PluginConfig& echo = server.plugins.at(0).config;
  EXPECT_EQ(echo.String("greeting"), "twenty");
  EXPECT_TRUE(echo.Boolean("loud", false));
  EXPECT_THAT(echo.Unread(), IsEmpty());
}

TEST_F(ConfigTest, ValuesKeepTheFileTheyCameFrom) {
  folder_.Write("lastcalld.d/a.toml", "[server.public.config.echo]\n\ngreeting = \"hi\"\n");
  const Config config = Load(std::string(kServer) + "[server.public.config.echo]\nloud = true\n");
  const auto& values = config.servers.at(0).plugins.at(0).values;
  EXPECT_EQ(values.at("greeting").file, folder_ / "lastcalld.d/a.toml");
  EXPECT_EQ(values.at("greeting").line, 3u);
  EXPECT_EQ(values.at("loud").file, folder_ / "lastcalld.toml");
  EXPECT_EQ(values.at("loud").line, 6u);
  EXPECT_EQ(config.servers[0].plugins[0].location.line, 4u);
}

TEST_F(ConfigTest, ServersAndProcessesComeInTheOrderOfTheFiles) {
  folder_.Write("lastcalld.d/a.toml", R"(
[server.a]
listen = ["127.0.0.1:4"]
plugins = ["echo"]
process = "late"
)");
  const Config config = Load(R"(
[server.z]
listen = ["127.0.0.1:1"]
plugins = ["echo"]
process = "second"
[server.m]
listen = ["127.0.0.1:2"]
plugins = ["echo"]
[server.b]
listen = ["127.0.0.1:3"]
plugins = ["echo"]
process = "second"
)");
  std::vector<std::string> servers, processes;
  for (const auto& server : config.servers) servers.push_back(server.name);
  for (const auto& process : config.processes) processes.push_back(process.name);
  EXPECT_THAT(servers, ElementsAre("z", "m", "b", "a"));
  EXPECT_THAT(processes, ElementsAre("second", "main", "late"));
}

TEST_F(ConfigTest, RelativePathsAreBelowTheFolderOfTheFile) {
  folder_.Write("lastcalld.d/a.toml", "state_dir = \"state/\"\n");
  const Config config = Load(R"(
plugin_dir = "plugins"
admin.socket = "./run/admin.sock"
[server.x]
listen = ["unix:run/x.sock"]
plugins = ["echo", "./mine.so", "../theirs.so", "/abs/else.so"]
)");
  EXPECT_EQ(config.plugin_dir, folder_ / "plugins");
  EXPECT_EQ(config.state_dir, folder_ / "state");
  EXPECT_EQ(config.admin_socket, folder_ / "run/admin.sock");
  EXPECT_EQ(config.servers.at(0).listen.at(0).path, folder_ / "run/x.sock");
  std::vector<std::pair<std::string, std::string>> plugins;
  for (const auto& plugin : config.servers[0].plugins)
    plugins.emplace_back(plugin.name, plugin.path);
  const std::string above = folder_.path().substr(0, folder_.path().rfind('/'));
  EXPECT_THAT(
      plugins,
      ElementsAre(Pair("echo", folder_ / "plugins/echo.so"), Pair("mine", folder_ / "mine.so"),
                  Pair("theirs", above + "/theirs.so"), Pair("else", "/abs/else.so")));
}

TEST_F(ConfigTest, PluginSectionIsFlattened) {
  const Config config = Load(std::string(kServer) + R"(
[server.public.config.echo]
number = 1.5
on = true
names = ["a", "b"]
none = []
upstream = { host = "h", port = 80 }
[server.public.config.echo.deep.er]
key = "v"
)");
  const PluginConfig& echo = config.servers.at(0).plugins.at(0).config;
  EXPECT_EQ(echo.Number("number"), 1.5);
  EXPECT_TRUE(echo.Boolean("on", false));
  EXPECT_THAT(echo.Strings("names"), ElementsAre("a", "b"));
  EXPECT_THAT(echo.Strings("none"), IsEmpty());
  EXPECT_EQ(echo.String("upstream.host"), "h");
  EXPECT_EQ(echo.Integer("upstream.port"), 80);
  EXPECT_EQ(echo.String("deep.er.key"), "v");
  EXPECT_THAT(echo.Unread(), IsEmpty());
}

TEST_F(ConfigTest, UnreadKeysOfAPluginHaveTheirPlace) {
  const Config config =
      Load(std::string(kServer) + "[server.public.config.echo]\ngreetng = \"hello\"\n");
  const PluginConfig& echo = config.servers.at(0).plugins.at(0).config;
  echo.String("greeting", "");
  EXPECT_THAT(
      echo.Unread(),
      ElementsAre(folder_ / "lastcalld.toml:6: unknown key server.public.config.echo.greetng; "
                            "did you mean \"greeting\"?"));
}

TEST_F(ConfigTest, PathsOfTlsAreBelowTheFolder) {
  const Config config = Load(std::string(kServer) +
                             "[server.public.tls]\ncertificate = \"a/b.pem\"\nkey = \"/k.pem\"\n");
  const auto& tls = config.servers.at(0).tls;
  ASSERT_TRUE(tls);
  EXPECT_EQ(tls->certificate, folder_ / "a/b.pem");
  EXPECT_EQ(tls->key, "/k.pem");
  EXPECT_EQ(tls->client_ca, "");
}

TEST_F(ConfigTest, PortZeroMayBeNamedTwice) {
  const Config config =
      Load("[server.a]\nlisten = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nplugins = [\"echo\"]\n");
  EXPECT_EQ(config.servers.at(0).listen.size(), 2u);
}

// The comments of the installed file must not say anything that is not so.
TEST_F(ConfigTest, InstalledFileShowsTheDefaults) {
  // A copy: the tree may be somebody else's, whose files are not trusted.
  std::ifstream shipped(LASTCALL_ETC "/lastcalld.toml");
  const std::string text(std::istreambuf_iterator<char>(shipped), {});
  const auto problems = LoadConfig(folder_.Write("shipped/lastcalld.toml", text));
  ASSERT_FALSE(problems);
  ASSERT_EQ(problems.error().size(), 1u);
  EXPECT_THAT(problems.error()[0].message, HasSubstr("no server is configured"));

  std::ifstream lines(LASTCALL_ETC "/lastcalld.toml");
  std::string uncommented, line;
  while (std::getline(lines, line)) uncommented += Uncommented(line) + "\n";
  Config shown = Load(uncommented);
  const Config defaults = Load(kServer);
  EXPECT_EQ(shown.quiet, seconds(1)) << "an example";
  shown.quiet = std::nullopt;
  ASSERT_TRUE(shown.servers.at(0).tls);
  EXPECT_EQ(shown.servers[0].tls->client_ca, "/etc/lastcall/clients.pem") << "another";
  shown.servers[0].tls.reset();
  EXPECT_EQ(shown.servers.at(0).plugins.at(0).config.String("greeting"), "hello") << "another";
  shown.servers[0].plugins[0].values.clear();
  EXPECT_EQ(shown.servers[0].stalls.methods.count("/shop.Prices/Watch"), 1u) << "another";
  shown.servers[0].stalls.methods.clear();
  EXPECT_EQ(ToToml(shown), ToToml(defaults));
}

TEST(DevelopmentConfigTest, HasOneServerWithReflection) {
  const auto config = DevelopmentConfig({"/x/echo.so", "./other.so"}, {}, "/run/user/1/lastcall");
  ASSERT_TRUE(config) << Format(config.error());
  EXPECT_EQ(config->file, "");
  EXPECT_EQ(config->admin_socket, "/run/user/1/lastcall/admin.sock");
  EXPECT_EQ(config->state_dir, "/run/user/1/lastcall/state");
  EXPECT_THAT(config->operators, IsEmpty());
  ASSERT_EQ(config->servers.size(), 1u);
  const ServerConfig& server = config->servers[0];
  EXPECT_EQ(server.name, "dev");
  EXPECT_TRUE(server.reflection);
  EXPECT_EQ(server.listen.at(0).Canonical(), "127.0.0.1:50051");
  EXPECT_EQ(server.plugins.at(0).name, "echo");
  EXPECT_EQ(server.plugins.at(1).path, std::filesystem::current_path() / "other.so");
  EXPECT_EQ(config->processes.at(0).name, "main");
}

TEST(DevelopmentConfigTest, PlainNameIsAFileOfTheCurrentFolder) {
  const auto config = DevelopmentConfig({"echo.so"}, {"unix:dev.sock", "*:0"}, "/run");
  ASSERT_TRUE(config) << Format(config.error());
  EXPECT_EQ(config->servers[0].plugins.at(0).path, std::filesystem::current_path() / "echo.so");
  EXPECT_EQ(config->servers[0].listen.at(0).path, std::filesystem::current_path() / "dev.sock");
  EXPECT_EQ(config->servers[0].listen.at(1).host, "*");
}

TEST(DevelopmentConfigTest, AllProblemsAreSaidAtOnce) {
  const auto config = DevelopmentConfig({"a.so", "b/a.so", ""}, {"50051", "x:y"}, "/run");
  ASSERT_FALSE(config);
  EXPECT_EQ(
      Format(config.error()),
      "--plugin: the plugin \"a\" is named twice; a server has one instance of a plugin, remove "
      "one\n"
      "--plugin: an entry is empty; write a plugin's name, or the path of a file\n"
      "--listen: \"50051\" has no host; write \"127.0.0.1:50051\", or \"*:50051\" for all "
      "addresses of this machine\n"
      "--listen: \"x:y\": \"y\" is not a port; write a number from 0 to 65535\n");
}

}  // namespace
}  // namespace lastcall

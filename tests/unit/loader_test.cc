#include "lastcall/plugin/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <stdexcept>

#include "plugin_folders.h"
#include "temp_folder.h"

namespace lastcall {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class FakeHost final : public PluginHost {
 public:
  FakeHost(std::string plugin, PluginConfig config)
      : plugin_(std::move(plugin)), config_(std::move(config)) {}

  std::string_view plugin() const override { return plugin_; }
  std::string_view server() const override { return "public"; }
  const PluginConfig& config() const override { return config_; }
  const Clock& clock() const override { return clock_; }
  void Log(LogLevel, std::string_view) override {}
  void SetServing(std::string_view service, bool serving) override {
    serving_[std::string(service)] = serving;
  }
  Termination termination() const override { return {}; }
  void RequestShutdown(std::string_view) override {}
  Offload offload() const override { return Offload(nullptr); }

  const std::map<std::string, bool>& serving() const { return serving_; }

 private:
  const std::string plugin_;
  const PluginConfig config_;
  const SteadyClock clock_;
  std::map<std::string, bool> serving_;
};

PluginConfig Config(const std::map<std::string, std::string>& texts) {
  std::map<std::string, PluginConfig::Value, std::less<>> values;
  uint32_t line = 1;
  for (const auto& [key, text] : texts) values[key] = {text, "test.toml", line++};
  return PluginConfig("server.public.config.echo", std::move(values));
}

PluginLibrary Open(const std::filesystem::path& path) {
  auto library = PluginLibrary::Open(path);
  if (!library) throw std::runtime_error(library.error().message);
  return *library;
}

std::string RefusalOf(const std::filesystem::path& path) {
  const auto library = PluginLibrary::Open(path);
  return library ? "loaded" : library.error().message;
}

TEST(LoaderTest, LoadsAPluginThatServes) {
  const PluginLibrary echo = Open(kPlugins / "echo.so");
  EXPECT_EQ(echo.manifest().version, "1.0.0");
  FakeHost host("echo", Config({{"greeting", "hi"}}));
  const auto plugin = echo.Create(host);
  ASSERT_TRUE(plugin) << plugin.error().message;
  EXPECT_THAT((*plugin)->Services(), SizeIs(1));
  EXPECT_THAT(host.serving(), IsEmpty());
  EXPECT_THAT(host.config().Unread(), IsEmpty());
  (*plugin)->Stop(Deadline());
}

TEST(LoaderTest, OpensTheSameLibraryTwice) {
  EXPECT_EQ(&Open(kPlugins / "echo.so").entry(), &Open(kPlugins / "echo.so").entry());
}

TEST(LoaderTest, PluginsWithTheirOwnProtosShareAProcess) {
  Open(kPlugins / "echo.so");
  const PluginLibrary callback = Open(kPlugins / "callback_echo.so");
  FakeHost host("callback", Config({}));
  EXPECT_TRUE(callback.Create(host));
  EXPECT_TRUE(callback.Check(Config({})));  // it has none
  Open(kWrongPlugins / "needy.so");
}

TEST(LoaderTest, FindsARelativePathWithoutSlash) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(kPlugins);
  EXPECT_EQ(RefusalOf("echo.so"), "loaded");
  std::filesystem::current_path(before);
}

TEST(LoaderTest, EchoTellsItsHealthFromTheStart) {
  const PluginLibrary echo = Open(kPlugins / "echo.so");
  FakeHost host("echo", Config({{"health", "not_serving"}}));
  ASSERT_TRUE(echo.Create(host));
  EXPECT_THAT(host.serving(), UnorderedElementsAre(Pair("lastcall.example.Echo", false)));
}

TEST(LoaderTest, NamesThePluginWhoseConstructorThrows) {
  const PluginLibrary echo = Open(kPlugins / "echo.so");
  FakeHost host("prices", Config({{"fail_start", "no licence"}}));
  const auto plugin = echo.Create(host);
  ASSERT_FALSE(plugin);
  EXPECT_EQ(plugin.error().code, Code::kInternal);
  EXPECT_EQ(plugin.error().message, "plugin prices did not start: no licence");
}

TEST(LoaderTest, TellsConfigurationErrorsApart) {
  const PluginLibrary echo = Open(kPlugins / "echo.so");
  const PluginConfig bad = Config({{"health", "poor"}});
  FakeHost host("prices", bad);
  const auto plugin = echo.Create(host);
  ASSERT_FALSE(plugin);
  EXPECT_EQ(plugin.error().code, Code::kInvalidArgument);
  const auto checked = echo.Check(bad);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, Code::kInvalidArgument);
  EXPECT_THAT(checked.error().message, AllOf(HasSubstr("plugin echo refuses its configuration: "),
                                             HasSubstr("must be \"serving\" or \"not_serving\"")));
  EXPECT_TRUE(echo.Check(Config({{"health", "serving"}})));
}

TEST(LoaderTest, CatchesWhatIsNoException) {
  const PluginLibrary thrower = Open(kWrongPlugins / "thrower.so");
  FakeHost host("thrower", Config({}));
  const auto plugin = thrower.Create(host);
  ASSERT_FALSE(plugin);
  EXPECT_THAT(plugin.error().message, HasSubstr("plugin thrower did not start: it threw "));
  const auto checked = thrower.Check(Config({}));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, Code::kInternal);
}

TEST(LoaderTest, RefusesAPluginThatMakesNothing) {
  const PluginLibrary barren = Open(kWrongPlugins / "barren.so");
  EXPECT_EQ(barren.manifest().version, "");
  FakeHost host("barren", Config({}));
  const auto plugin = barren.Create(host);
  ASSERT_FALSE(plugin);
  EXPECT_EQ(plugin.error().message, "plugin barren did not start: it returned null");
}

TEST(LoaderTest, SaysWhyAPluginWasNotLoaded) {
  const std::string abi = std::to_string(kPluginAbi);
  const std::string next_abi = std::to_string(kPluginAbi + 1);
  const struct {
    const char* name;
    std::string message;
  } cases[] = {
      {"none.so", "none.so: No such file or directory"},
      {"foreign.so", "is not a Lastcall plugin: it has no manifest"},
      {"mismatched.so", "built for plugin ABI 99, this host has " + abi + "; built for gRPC 9.9.9"},
      {"mismatched.so", "; built for protobuf 9.99.99, this host runs"},
      {"mismatched.so", "; rebuild it for this host"},
      {"unresolved.so", "it needs shop::Missing(int), which nothing in this process defines"},
      {"orphan.so", "it needs the library liblost.so, which is not installed"},
      {"stale.so",
       "its entry is for plugin ABI " + next_abi + ", this host has " + abi + "; rebuild it"},
      {"entryless.so", "it does not say what its plugin is; add LASTCALL_PLUGIN"},
  };
  for (const auto& each : cases) {
    EXPECT_THAT(RefusalOf(kWrongPlugins / each.name), HasSubstr(each.message));
  }
}

// protobuf would abort.
TEST(LoaderTest, RefusesFilesThatTheProcessHasAlready) {
  Open(kPlugins / "echo.so");
  const TempFolder folder;
  const std::filesystem::path copy = folder / "copy.so";
  std::filesystem::copy_file(kPlugins / "echo.so", copy);
  EXPECT_THAT(RefusalOf(copy), HasSubstr("it brings the file echo.proto, which this process has "
                                         "already and can have only once"));
}

TEST(LoadErrorTest, IsExplained) {
  const struct {
    std::string message, explained;
  } cases[] = {
      {"/p.so: undefined symbol: _ZN4shop7MissingEi",
       "it needs shop::Missing(int), which nothing in this process defines; link the library that "
       "has it (target_link_libraries)"},
      {"/p.so: undefined symbol: grpc_init, version GRPC_9",
       "it needs grpc_init, which nothing in this process defines; link the library that has it "
       "(target_link_libraries)"},
      {"/p.so: undefined symbol: _ZNK8lastcall4Call7leavingEv",
       "it needs lastcall::Call::leaving() const, which this program does not export; rebuild the "
       "plugin against this Lastcall (or, in a program of your own, call lastcall_export_sdk())"},
      {"liba.so.1: cannot open shared object file: No such file or directory",
       "it needs the library liba.so.1, which is not installed"},
      {"/p.so: cannot open shared object file: Permission denied",
       "cannot open shared object file: Permission denied"},
      {"/lib/libc.so.6: version `GLIBC_9' not found (required by /p.so)",
       "/lib/libc.so.6: version `GLIBC_9' not found (required by /p.so)"},
  };
  for (const auto& each : cases) {
    EXPECT_EQ(internal::ExplainLoadError("/p.so", each.message), each.explained);
  }
}

}  // namespace
}  // namespace lastcall

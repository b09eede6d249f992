// PluginHarness: a plugin in the process of its test, behind a real gRPC server, as a host would run
// it; its stages come when the test says so, and its clock moves only when it is told to.
//
//   lastcall::PluginHarness harness({.config = {{"word", "Ciao"}}});
//   ASSERT_TRUE(harness.Start());
//   auto stub = hello::Greeter::NewStub(harness.channel());
//   …
//   harness.Enter(lastcall::Stage::kGrace);   // calls are told to leave
//   ASSERT_TRUE(harness.Stop());              // after the last handler has returned
//
// lastcall_add_plugin_test() builds such a test together with the plugin's own code.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lastcall/base/result.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/plugin/plugin.h>
#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/recording_log.h>

namespace grpc {
class Channel;
}

// What LASTCALL_PLUGIN defines, in a program that the plugin's code is linked into.
extern "C" const lastcall::PluginEntry lastcall_plugin;

namespace lastcall {

// Threads: one, the test's.
class PluginHarness {
 public:
  struct Options {
    std::string plugin = "plugin";  // its name, as it would be configured
    std::string server = "test";
    std::map<std::string, decltype(PluginConfig::Value::value)> config;
    OffloadLimits offload = {};
    Budget shutdown = {};
    Duration patience = std::chrono::seconds(10);  // real time, for its code to return
  };

  PluginHarness() : PluginHarness(Options()) {}
  explicit PluginHarness(Options options);
  // Stops what was not stopped. Blocks: as Stop.
  ~PluginHarness();

  // Checks the configuration, makes the plugin and serves: the one that LASTCALL_PLUGIN names in
  // this program, or P. Fails: as the host would refuse it, with the same message; a key that it did
  // not read is refused too.
  Result<> Start() { return Start(lastcall_plugin); }
  template <class P>
  Result<> Start() {
    return Start(
        {kPluginAbi, "",
         [](PluginHost& host) -> std::unique_ptr<Plugin> { return std::make_unique<P>(host); },
         internal::CheckOf<P>()});
  }
  // The same with a shared object, manifest and all. This program must not have its .proto files.
  Result<> Load(const std::string& path);

  // To the plugin's services, over a unix socket.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  // What PluginHost::clock() is. Instants of stages and deadlines are its own, in the past of the
  // real clock: who waits for one by the real clock does not wait.
  const Clock& clock() const { return clock_; }
  // Lets time pass; stages end at their instants, and offloaded work is late at its own.
  void Advance(Duration length);

  // Asks for a shutdown, where nobody has, and lets time pass until `stage` (delay, grace or cancel)
  // begins. In grace calls are told to leave, in cancel they and offloaded work are cancelled.
  void Enter(Stage stage);
  Stage stage() const;
  Termination termination() const;

  // Goes on to cancel, waits until the last handler has returned, and stops and destroys the plugin.
  // Blocks: for the options' patience at most. Fails: kDeadlineExceeded, with what has not returned; it is left
  // behind, then, as the host would.
  Result<> Stop();

  // What the plugin has done.
  struct HealthWrite {
    std::string service;
    bool serving;
    friend bool operator==(const HealthWrite&, const HealthWrite&) = default;
  };
  std::vector<HealthWrite> health_writes() const;
  // What a client would be told; "": of the whole server. Empty: no such service.
  std::optional<bool> IsServing(std::string_view service = "") const;
  // The reasons of its requests for shutdown; nothing comes of them here.
  std::vector<std::string> shutdown_requests() const;
  const RecordingLog& log() const { return log_; }
  // By when it was told to be stopped; empty: it was not told.
  std::optional<Instant> stop_deadline() const;

 private:
  class Inside;

  Result<> Start(const PluginEntry& entry);
  Result<> Serve(std::function<Result<>(const PluginConfig&)> check,
                 std::function<Result<std::unique_ptr<Plugin>>(PluginHost&)> create);

  FakeClock clock_;
  RecordingLog log_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Inside> inside_;
};

}  // namespace lastcall

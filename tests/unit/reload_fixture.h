// What tests of Reload are written in: processes that do nothing, files that are what the test says,
// and sockets in a folder of its own.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/process/host_spec.h"
#include "daemon/reload/reload.h"
#include "temp_folder.h"

#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/fake_process.h>
#include <lastcall/testing/recording_log.h>
#include <lastcall/testing/recording_observer.h>

namespace lastcall {

// Answers nothing by itself; "look", "prepare", "fingerprints", "names" and "preflight" are what is open.
class FakeReadings final : public Readings {
 public:
  void BeginLook(Duration, Done<AnotherBuild> done) override { Add("look", look, std::move(done)); }
  void BeginPrepare(const Config&, Done<Prepared> done) override {
    Add("prepare", prepare, std::move(done));
  }
  void BeginFingerprints(const Config&, Done<Fingerprints> done) override {
    Add("fingerprints", fingerprints, std::move(done));
  }
  void BeginNames(std::set<std::string> hosts, Duration, Done<HostNames> done) override {
    asked_hosts = std::move(hosts);
    Add("names", names, std::move(done));
  }
  void BeginPreflight(const Config&, std::vector<std::string> processes,
                      Done<PreflightReport> done) override {
    tried = std::move(processes);
    Add("preflight", preflight, std::move(done));
  }

  void Discard(std::shared_ptr<void> unneeded) override {
    discarded.push_back(std::move(unneeded));
  }

  // Names of what was begun since the last look.
  std::vector<std::string> TakeBegun() { return std::exchange(begun_, {}); }

  // As the daemon does when a shutdown begins.
  void Cancel(const Error& error) {
    Fail(look, error);
    Fail(prepare, error);
    Fail(fingerprints, error);
    Fail(names, error);
    Fail(preflight, error);
  }

  template <class T>
  struct Open : std::deque<Done<T>> {
    // The oldest is answered.
    void Answer(Result<T> result) {
      ASSERT_FALSE(this->empty());
      const Done<T> done = std::move(this->front());
      this->pop_front();
      done(std::move(result));
    }
  };
  Open<AnotherBuild> look;
  Open<Prepared> prepare;
  Open<Fingerprints> fingerprints;
  Open<HostNames> names;
  Open<PreflightReport> preflight;
  std::set<std::string> asked_hosts;
  std::vector<std::string> tried;
  std::vector<std::shared_ptr<void>> discarded;

 private:
  template <class T>
  void Add(const std::string& name, Open<T>& open, Done<T> done) {
    begun_.push_back(name);
    open.push_back(std::move(done));
  }
  template <class T>
  static void Fail(Open<T>& open, const Error& error) {
    while (!open.empty()) open.Answer(tl::unexpected(error));
  }

  std::vector<std::string> begun_;
};

// In a fixture Setup is something of GoogleTest's.
using DaemonSetup = Setup;

// Processes "a", "b", … each with the server "a-server", … on a unix socket, of plugin "v1".
class ReloadTest : public testing::Test, protected ReloadOwner {
 protected:
  using Names = std::vector<std::string>;
  using Told = std::vector<std::string>;

  static constexpr Duration kSettle = std::chrono::seconds(2);

  // Serving, with nothing left to expect.
  void Serve(const Names& names) {
    for (const std::string& name : names) AddProcess(setup_, name);
    Bind(setup_);
    std::vector<ProcessSpec> specs;
    for (const std::string& name : names) specs.push_back(SpecOf(setup_, name));
    supervisor_ = std::make_unique<Supervisor>(SupervisorOptions(setup_.config), specs, clock_,
                                               observer_, log_.log());
    reload_ = std::make_unique<Reload>(
        Reload::Parts{.running = setup_,
                      .supervisor = *supervisor_,
                      .binder = binder_,
                      .readings = readings_,
                      .spec_of = [this](const DaemonSetup& setup,
                                        const std::string& name) { return SpecOf(setup, name); },
                      .loop = [this](Callback run) { loop_.push_back(std::move(run)); },
                      .clock = clock_,
                      .log = log_.log()},
        static_cast<ReloadOwner&>(*this));
    supervisor_->Start();
    for (const std::string& name : names) process(name).events().Ready();
    for (const std::string& name : names) process(name).TakeTold();
    ASSERT_EQ(supervisor_->stage(), Stage::kServing);
  }

  void AddProcess(DaemonSetup& setup, const std::string& name, const std::string& version = "v1") {
    ServerConfig server;
    server.name = name + "-server";
    server.process = name;
    server.listen.push_back(Socket(name));
    setup.config.servers.push_back(std::move(server));
    setup.config.processes.push_back({.name = name});
    setup.fingerprints[name] = {{"plugin", version}};
  }
  Address Socket(const std::string& name) {
    const std::string path = folder_ / name;
    return {.kind = Address::Kind::kUnix, .path = path, .text = "unix:" + path};
  }
  void Bind(DaemonSetup& setup) {
    auto sockets = binder_.Bind(setup.config, {});
    ASSERT_TRUE(sockets) << sockets.error().message;
    setup.sockets = std::move(*sockets);
  }
  // Of the files, where these processes are of plugin "v2", and nothing else is there.
  Prepared Files(const Names& same, const Names& changed) {
    DaemonSetup setup;
    for (const std::string& name : same) AddProcess(setup, name);
    for (const std::string& name : changed) AddProcess(setup, name, "v2");
    Prepared prepared;
    prepared.loaded = true;
    prepared.config = setup.config;
    prepared.fingerprints = setup.fingerprints;
    return prepared;
  }

  // For a test that begins anew.
  void TearDownAll() {
    reload_.reset();
    supervisor_.reset();
    processes_.clear();
    setup_ = DaemonSetup();
    answers_.clear();
    loop_.clear();
    readings_ = FakeReadings();
  }

  // A reload of somebody who waits; what he hears is in `answers_`, "a: 2" for a process that is.
  void Begin(bool wait = true) { reload_->Begin(kBy, wait, Answered()); }
  ReloadDone Answered() {
    answers_.emplace_back("");
    return [this, i = answers_.size() - 1](const Result<ReloadReport>& report) {
      EXPECT_EQ(answers_[i], "") << "answered twice";
      answers_[i] = TextOf(report);
    };
  }
  static std::string TextOf(const Result<ReloadReport>& report) {
    if (!report) return report.error().message;
    if (report->continues != 0) return "continues " + std::to_string(report->continues);
    std::string text = report->another_build ? "another build;" : "";
    for (const ConfigChange& change : report->changes) {
      if (change.sign != '=') text += std::string(1, change.sign) + change.what + ";";
    }
    for (const Supervisor::Outcome& one : report->processes) {
      text += " " + one.process + ": " +
              (one.failure.empty() ? std::to_string(one.incarnation) : one.failure);
    }
    return text.empty() ? "done" : text;
  }

  // The files are as they were read, and the plugins fine: up to the changes.
  void Read(Prepared prepared) {
    readings_.look.Answer(Readings::AnotherBuild());
    readings_.prepare.Answer(std::move(prepared));
    readings_.preflight.Answer(PreflightReport());
  }
  // The successor of `name` takes over, and settles.
  void Replaced(const std::string& name) {
    process(name).events().Ready();
    Advance(kSettle);
  }
  void Shutdown() {
    lastcall::Request request;
    request.at = clock_.Now();
    supervisor_->OnRequest(std::move(request));
    readings_.Cancel(supervisor_->CheckServing().error());
    Run();
  }
  void Advance(Duration length) {
    const Instant until = clock_.Now() + length;
    while (supervisor_->next_instant() <= until) {
      clock_.AdvanceTo(supervisor_->next_instant());
      supervisor_->OnTick();
    }
    clock_.AdvanceTo(until);
    Run();
  }
  // What was posted.
  void Run() {
    while (!loop_.empty()) {
      const Callback run = std::move(loop_.front());
      loop_.pop_front();
      run();
    }
  }

  FakeProcess& process(const std::string& name) { return processes_[name]; }
  ProcessSpec SpecOf(const DaemonSetup& setup, const std::string& name) {
    ProcessSpec spec = lastcall::SpecOf(setup.config, name);
    spec.make = [this, name](uint32_t number) { return process(name).Make(number); };
    return spec;
  }
  // "v1" or "v2", as the daemon believes.
  std::string Version(const std::string& name) { return setup_.fingerprints.at(name).at("plugin"); }

  void BeginHandover(UniqueFd, const Cause&) override { ++handovers_; }
  void BeforeBind() override {}
  void Changing() override { ++changing_; }
  void TookEffect(const DaemonSetup&,
                  const std::set<std::shared_ptr<const Listener>>& dropped) override {
    ++effects_;
    dropped_ = dropped;
  }
  void Noted() override {}

  inline static const Cause kBy{.kind = Cause::Kind::kAdmin, .who = "alice"};
  TempFolder folder_;
  FakeClock clock_;
  RecordingLog log_;
  RecordingObserver observer_;
  std::map<std::string, FakeProcess> processes_;
  SocketBinder binder_{ActivationSockets(ActivationSockets::Sockets())};
  FakeReadings readings_;
  std::deque<Callback> loop_;
  DaemonSetup setup_;
  std::unique_ptr<Supervisor> supervisor_;
  std::unique_ptr<Reload> reload_;
  std::vector<std::string> answers_;
  int handovers_ = 0, changing_ = 0, effects_ = 0;
  std::set<std::shared_ptr<const Listener>> dropped_;
};

}  // namespace lastcall

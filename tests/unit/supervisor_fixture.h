// What tests of the supervisor are written in: members by name, a clock that moves when told.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/supervisor/supervisor.h>
#include <lastcall/testing/fake_clock.h>
#include <lastcall/testing/fake_process.h>
#include <lastcall/testing/recording_log.h>
#include <lastcall/testing/recording_observer.h>

namespace lastcall {

inline void PrintTo(Stage stage, std::ostream* out) { *out << Name(stage); }
inline void PrintTo(Phase phase, std::ostream* out) { *out << Name(phase); }

// Members "a", "b", … each with the server "a-server", "b-server", …
class SupervisorTest : public testing::Test {
 protected:
  using Told = std::vector<std::string>;
  using Stages = std::vector<Stage>;

  static constexpr Duration kDelay = std::chrono::seconds(5), kGrace = std::chrono::seconds(20),
                            kCancel = std::chrono::seconds(3), kReady = std::chrono::seconds(30);

  void Start(std::initializer_list<std::string> names,
             RestartPolicy restart = RestartPolicy::kAlways) {
    std::vector<ProcessSpec> specs;
    for (const std::string& name : names) {
      names_.push_back(name);
      processes_.push_back(std::make_unique<FakeProcess>());
      specs.push_back(Spec(name, restart));
    }
    supervisor_ =
        std::make_unique<Supervisor>(Supervisor::Options{.shutdown = budget_, .ready = kReady},
                                     std::move(specs), clock_, observer_, log_.log());
    supervisor_->Start();
  }
  ProcessSpec Spec(const std::string& name, RestartPolicy restart = RestartPolicy::kAlways) {
    const auto make = [this, name](uint32_t number) { return process(name).Make(number); };
    return {name, restart, {name + "-server"}, make};
  }
  // Started, ready, and nothing of it left to expect.
  void Serve(std::initializer_list<std::string> names,
             RestartPolicy restart = RestartPolicy::kAlways) {
    Start(names, restart);
    for (const std::string& name : names) Ready(name);
    for (const std::string& name : names) process(name).TakeTold();
    ASSERT_EQ(supervisor_->stage(), Stage::kServing);
  }

  void Ready(const std::string& name) { Events(name).Ready(); }
  void StartFailed(const std::string& name, Code code, const std::string& why) {
    Events(name).StartFailed(Error{code, why});
  }
  void Exit(const std::string& name, int code) { Events(name).Exited(ExitStatus{.code = code}); }
  void Crash(const std::string& name, int signal) {
    Events(name).Exited(ExitStatus{.signal = signal});
  }
  void Reach(const std::string& name, Stage stage) { Events(name).StageReached(stage); }
  void Report(const std::string& name, Receipt receipt) {
    receipt.subject = name;
    Events(name).Reported(std::move(receipt));
  }
  // As a host does that was told to stop: its receipt, then its end.
  void Stop(const std::string& name) {
    Reach(name, Stage::kStopped);
    Report(name, {});
    Exit(name, 0);
  }

  void Signal(int number, int code = SI_USER) {
    supervisor_->OnSignal(
        {.number = number, .code = code, .at = clock_.Now(), .wall = clock_.Wall()});
  }
  bool Request(std::optional<Duration> delay = {}, std::optional<Duration> grace = {}) {
    lastcall::Request request;
    request.cause.kind = Cause::Kind::kAdmin;
    request.at = clock_.Now();
    request.wall = clock_.Wall();
    request.delay = delay;
    request.grace = grace;
    return supervisor_->OnRequest(std::move(request));
  }

  // The clock moves, and what is due on the way happens at its instant.
  void Advance(Duration length) {
    const Instant until = clock_.Now() + length;
    while (supervisor_->next_instant() <= until) {
      clock_.AdvanceTo(supervisor_->next_instant());
      supervisor_->OnTick();
    }
    clock_.AdvanceTo(until);
  }

  void ExpectPhase(const std::string& name, Phase phase) {
    EXPECT_EQ(member(name).current().phase, phase) << name;
  }
  void ExpectStage(Stage stage) { EXPECT_EQ(supervisor_->stage(), stage); }
  // What it was told since the last look.
  void ExpectTold(const std::string& name, const Told& told) {
    EXPECT_EQ(process(name).TakeTold(), told) << name;
  }
  void ExpectFinished(int exit_code) {
    ASSERT_EQ(observer_.receipts().size(), 1u);
    EXPECT_EQ(receipt().exit_code, exit_code) << receipt().ToJson();
    EXPECT_EQ(supervisor_->next_instant(), kNever);
  }
  void ExpectNotFinished() { EXPECT_TRUE(observer_.receipts().empty()); }

  const Member& member(const std::string& name) { return supervisor_->members()[At(name)]; }
  // Of the incarnation that is current.
  ProcessEvents& Events(const std::string& name) { return process(name).events(Current(name)); }
  FakeProcess& process(const std::string& name) { return *processes_[At(name)]; }
  const Receipt& receipt() const { return observer_.receipts().at(0); }
  // Of one member.
  const Receipt& receipt(const std::string& name) const {
    for (const Receipt& one : receipt().processes) {
      if (one.subject == name) return one;
    }
    static const Receipt none;
    ADD_FAILURE() << "no receipt of " << name;
    return none;
  }
  size_t At(const std::string& name) const {
    return static_cast<size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
  }
  uint32_t Current(const std::string& name) { return member(name).current().number; }

  Budget budget_{.delay = kDelay, .grace = kGrace, .cancel = kCancel};
  FakeClock clock_;
  RecordingObserver observer_;
  RecordingLog log_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<FakeProcess>> processes_;
  std::unique_ptr<Supervisor> supervisor_;
};

}  // namespace lastcall

#include "lastcall/testing/fake_process.h"

#include <algorithm>
#include <utility>

namespace lastcall {

class FakeProcess::Incarnation final : public Process, public Drainable {
 public:
  Incarnation(FakeProcess& all, uint32_t number) : all_(all), number_(number) {}

  void BeginStart(std::shared_ptr<ProcessEvents> events) override {
    Begin("start ", std::move(events));
  }
  void Resume(std::shared_ptr<ProcessEvents> events) override {
    Begin("resume ", std::move(events));
  }
  std::optional<SavedProcess> Save() const override {
    return SavedProcess{.state = std::to_string(number_), .descriptors = {}};
  }
  void Accept(bool accept) override { Told(accept ? "accept" : "pause"); }
  void SetDraining(const std::string& server, bool draining) override {
    Told((draining ? "drain " : "undrain ") + server);
  }
  void BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) override {
    Told("stop", plan, requests);
  }
  void BeginRetire(const Plan& plan, const std::vector<Ledger::Entry>& requests) override {
    Told("retire", plan, requests);
  }
  void Kill() override { Told("kill"); }
  void SetLogLevel(LogLevel level) override { Told("log " + std::string(Name(level))); }
  void Dump() override { Told("dump"); }
  void BeginQuery(std::function<void()> answered) override {
    Told("query");
    if (all_.answers) return answered();
    all_.asked.push_back(std::move(answered));
  }
  pid_t pid() const override { return kFirstPid + static_cast<pid_t>(number_); }
  bool answering() const override { return all_.answers; }
  const std::vector<ServerView>& servers() const override { return all_.servers; }
  bool ListensOn(const std::string& address) const override {
    return all_.addresses.contains(address);
  }
  Drainable* drainable() override { return all_.drains ? this : nullptr; }
  CallSource* calls() override { return all_.source; }

 private:
  static constexpr pid_t kFirstPid = 1000;

  void Begin(const std::string& how, std::shared_ptr<ProcessEvents> events) {
    all_.incarnation_ = std::max(all_.incarnation_, number_);
    all_.events_[number_] = std::move(events);
    all_.told_.push_back(how + std::to_string(number_));
  }
  void Told(const std::string& what) {
    const bool latest = number_ == all_.incarnation_;
    all_.told_.push_back(what + (latest ? "" : " (" + std::to_string(number_) + ")"));
  }
  void Told(const std::string& what, const Plan& plan, const std::vector<Ledger::Entry>& requests) {
    all_.plan_ = plan;
    all_.requests_ = requests;
    Told(what);
  }

  FakeProcess& all_;
  const uint32_t number_;
};

std::unique_ptr<Process> FakeProcess::Make(uint32_t incarnation) {
  return std::make_unique<Incarnation>(*this, incarnation);
}

}  // namespace lastcall

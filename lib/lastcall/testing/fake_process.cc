#include "lastcall/testing/fake_process.h"

namespace lastcall {

class FakeProcess::Incarnation final : public Process {
 public:
  Incarnation(FakeProcess& all, uint32_t number) : all_(all), number_(number) {}

  void BeginStart() override {
    all_.incarnation_ = number_;
    all_.told_.push_back("start " + std::to_string(number_));
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

 private:
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

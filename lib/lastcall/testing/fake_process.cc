#include "lastcall/testing/fake_process.h"

namespace lastcall {

void FakeProcess::BeginStart(uint32_t incarnation) {
  incarnation_ = incarnation;
  told_.push_back("start " + std::to_string(incarnation));
}

void FakeProcess::SetDraining(const std::string& server, bool draining) {
  told_.push_back((draining ? "drain " : "undrain ") + server);
}

void FakeProcess::BeginStop(const Plan& plan, const std::vector<Ledger::Entry>& requests) {
  plan_ = plan;
  requests_ = requests;
  told_.push_back("stop");
}

}  // namespace lastcall

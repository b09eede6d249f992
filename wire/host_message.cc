#include "wire/host_message.h"

#include <algorithm>

#include "wire/channel.h"
#include "wire/host_allowance.h"

namespace lastcall {
namespace {

using host::v1::FromHost;
using host::v1::MethodReport;
using host::v1::ServerReport;

// As rpc/method_table.cc says it of methods that clients have invented.
constexpr char kOtherMethods[] = "(others)";

// A name of 8 bytes, and its numbers.
constexpr int kMaxMethods = kMaxFromHost / 16;
// More than any machine has threads for.
constexpr int kMaxServers = 10'000;
// Of one part of an answer; a host tells of half as many.
constexpr int kMaxCalls = 1000;
constexpr size_t kMaxStartError = 64 << 10;

bool Fits(const FromHost& message) { return message.ByteSizeLong() <= kMaxFromHost; }

// The half that was called least becomes one entry, or adds to it.
void FoldMethods(ServerReport& server) {
  auto& methods = *server.mutable_methods();
  const auto busier = [](const MethodReport& a, const MethodReport& b) {
    if ((a.name() == kOtherMethods) != (b.name() == kOtherMethods))
      return b.name() == kOtherMethods;
    return a.total() > b.total();
  };
  std::sort(methods.begin(), methods.end(), busier);
  MethodReport others;
  others.set_name(kOtherMethods);
  const int kept = methods.size() / 2;
  for (int i = kept; i < methods.size(); ++i) {
    others.set_in_flight(others.in_flight() + methods[i].in_flight());
    others.set_total(others.total() + methods[i].total());
  }
  methods.DeleteSubrange(kept, methods.size() - kept);
  *methods.Add() = std::move(others);
}

void Fit(host::v1::Report& report, const FromHost& message) {
  for (ServerReport& server : *report.mutable_servers()) server.clear_oldest();
  bool folded = true;
  while (!Fits(message) && folded) {
    folded = false;
    for (ServerReport& server : *report.mutable_servers()) {
      if (server.methods_size() < 2) continue;
      FoldMethods(server);
      folded = true;
    }
  }
}

void Fit(v1::Receipt& receipt, const FromHost& message) {
  if (!Fits(message)) {
    for (v1::StuckRecord& stuck : *receipt.mutable_stuck()) stuck.clear_stack();
  }
  if (!Fits(message)) receipt.clear_cancelled();
  while (!Fits(message) && receipt.stuck_size() > 1) receipt.mutable_stuck()->RemoveLast();
}

}  // namespace

void FitToSupervisor(FromHost& message) {
  if (Fits(message)) return;
  if (message.has_report()) Fit(*message.mutable_report(), message);
  if (message.has_receipt()) Fit(*message.mutable_receipt(), message);
  if (message.has_start_failed()) {
    message.mutable_start_failed()->mutable_message()->resize(kMaxStartError);
  }
}

bool IsPlausible(const host::v1::Report& report) {
  if (report.servers_size() > kMaxServers) return false;
  int methods = 0;
  for (const ServerReport& server : report.servers()) {
    methods += server.methods_size() + server.oldest_size() + server.offloads_size();
  }
  return methods <= kMaxMethods;
}

bool IsPlausible(const host::v1::CallsAnswer& answer) {
  int finished = 0;
  for (const host::v1::FinishedReport& method : answer.finished()) {
    finished += method.slowest_size() + method.failures_size();
  }
  return answer.calls_size() <= kMaxCalls && answer.finished_size() <= kMaxCalls &&
         finished <= kMaxCalls && answer.stack_size() <= kMaxCalls &&
         answer.not_in_flight_size() <= kMaxMethods;
}

}  // namespace lastcall

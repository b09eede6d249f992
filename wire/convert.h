// Between the library's values and the messages that carry them from process to process.
#pragma once

#include "lastcall/admin/v1/admin.pb.h"
#include "lastcall/v1/receipt.pb.h"
#include "lastcall/worker/v1/worker.pb.h"

#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/receipt.h>

namespace lastcall {

v1::Cause ToProto(const Cause& cause);
Cause FromProto(const v1::Cause& message);
v1::Request ToProto(const Ledger::Entry& entry);
v1::Receipt ToProto(const Receipt& receipt);
Receipt FromProto(const v1::Receipt& message);

// `at` is not part of the message: it matters only to the ledger that merged the request.
Ledger::Entry FromProto(const v1::Request& message);

worker::v1::Stop ToProto(const Plan& plan, const std::vector<Ledger::Entry>& requests);
Plan PlanOf(const worker::v1::Stop& message);
std::vector<Ledger::Entry> RequestsOf(const worker::v1::Stop& message);

// Relative to `now`; what is never is left out.
admin::v1::Plan ToAdmin(const Ledger& ledger, Instant now);

// Nanoseconds since the clock's beginning.
int64_t ToNumber(Instant instant);
Instant InstantOf(int64_t nanoseconds);

}  // namespace lastcall

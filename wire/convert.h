// Between the library's values and the messages that carry them from process to process. Hosts run
// what strangers have written: any number may come in an enumeration, and anything in a text.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lastcall/admin/v1/admin.pb.h"
#include "lastcall/host/v1/host.pb.h"
#include "lastcall/v1/receipt.pb.h"

#include <lastcall/base/log.h>
#include <lastcall/lifecycle/plan.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/stage.h>

namespace lastcall {

v1::Stage ToProto(Stage stage);
// Empty: no stage of an incarnation.
std::optional<Stage> FromProto(v1::Stage stage);
v1::Event ToProto(Event event);
std::optional<Event> FromProto(v1::Event event);
host::v1::LogLevel ToProto(LogLevel level);
// kInfo for what is no level.
LogLevel FromProto(host::v1::LogLevel level);

v1::Cause ToProto(const Cause& cause);
Cause FromProto(const v1::Cause& message);
v1::Request ToProto(const Ledger::Entry& entry);
v1::Receipt ToProto(const Receipt& receipt);
Receipt FromProto(const v1::Receipt& message);

// `at` is not part of the message: it matters only to the ledger that merged the request.
Ledger::Entry FromProto(const v1::Request& message);
std::vector<Ledger::Entry> FromProto(
    const google::protobuf::RepeatedPtrField<v1::Request>& requests);

host::v1::Stop ToProto(const Plan& plan, const std::vector<Ledger::Entry>& requests);
// In order, whatever was sent.
Plan FromProto(const host::v1::Stop& message);

// Relative to `now`; what is never is left out.
admin::v1::Plan ToProto(const Ledger& ledger, Instant now);

// Nanoseconds since the clock's beginning.
int64_t ToProto(Instant instant);
Instant FromProto(int64_t nanoseconds);

}  // namespace lastcall

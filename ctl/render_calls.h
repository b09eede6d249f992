// Calls in flight as text for people. Pure functions; strings in the messages may hold anything and
// come out printable.
#pragma once

#include <string>
#include <vector>

#include "lastcall/admin/v1/admin.pb.h"
#include "text.h"

namespace lastcall {

using Calls = google::protobuf::RepeatedPtrField<admin::v1::Call>;

// Those that the application holds, then those that wait for their client or for gRPC; the oldest
// first in both.
void SortCalls(Calls* calls);

// calls: a table, how many there are, and of which processes they are not known. `filtered`: only
// some were asked for.
std::string RenderCalls(admin::v1::ListCallsResponse response, bool filtered, const Look& look);

// The same for a screen that is redrawn: the table comes last, with as many calls as there is room for.
std::vector<std::string> CallsFrame(admin::v1::ListCallsResponse response, bool filtered,
                                    const Look& look);

// call ID: all about one, and the stack of its handler, or why there is none.
std::string RenderCall(admin::v1::GetCallResponse response, const Look& look);

// Of which processes calls are not known, a line each.
std::vector<std::string> DescribeUnseen(const admin::v1::ListCallsResponse& response);

}  // namespace lastcall

// Calls that are over as text for people. Pure functions; strings in the messages may hold anything
// and come out printable.
#pragma once

#include <string>

#include "lastcall/admin/v1/admin.pb.h"
#include "text.h"

namespace lastcall {

using Finished = google::protobuf::RepeatedPtrField<admin::v1::FinishedCalls>;

// Methods with most failures first, then by name.
void SortFinished(Finished* finished);

// calls --recent: of each method the slowest and the last that failed, and how many did.
std::string RenderFinished(admin::v1::ListCallsResponse response, bool filtered, const Look& look);

}  // namespace lastcall

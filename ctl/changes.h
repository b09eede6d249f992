// What is new between two snapshots of the daemon, one line each.
#pragma once

#include <string>
#include <vector>

#include "lastcall/admin/v1/admin.pb.h"

namespace lastcall {

// The first snapshot in one line: "serving; 2 processes, 3 servers, 4 calls in flight".
std::string Summary(const admin::v1::Status& status);

// The calls in flight of a server count as a change while the daemon is stopping only.
std::vector<std::string> Changes(const admin::v1::Status& before, const admin::v1::Status& after);

}  // namespace lastcall

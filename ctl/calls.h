// The verbs that look at calls: calls, call.
#pragma once

#include "lastcall/admin/v1/admin.pb.h"
#include "session.h"

namespace lastcall {

// Which calls the options let through.
admin::v1::CallFilter FilterOf(const Options& options);

// Where a filter lets nothing through, its server may have a name that the daemon does not know.
// Fails: kNotFound; as the daemon does, where it cannot be asked.
Result<> CheckServerOf(Session& session);

// The exit code.
int RunCalls(Session& session);
int RunCall(Session& session);

}  // namespace lastcall

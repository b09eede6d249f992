// The verbs that replace processes: reload, restart.
#pragma once

#include <string>
#include <vector>

#include "lastcall/admin/v1/admin.pb.h"
#include "session.h"

namespace lastcall {

using ConfigChanges = google::protobuf::RepeatedPtrField<admin::v1::ConfigChange>;
using ProcessOutcomes = google::protobuf::RepeatedPtrField<admin::v1::ProcessOutcome>;

// What has changed or would, a line each, and what came of it, where it is `over`; made safe.
std::vector<std::string> DescribeReload(const ConfigChanges& changes,
                                        const ProcessOutcomes& outcomes, bool over);

// The exit code.
int RunReload(Session& session);
int RunRestart(Session& session);

}  // namespace lastcall

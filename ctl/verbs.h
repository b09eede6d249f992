// What lastcallctl does: one function for each verb, from the options to the exit code.
#pragma once

#include <string>

#include "lastcall/admin/v1/admin.pb.h"
#include "session.h"

namespace lastcall {

int RunVerb(Session& session);

// Fails: kNotFound, in words for people, when the daemon has no server of that name.
Result<> CheckServer(const std::string& name, const admin::v1::Status& status);

// The verbs that follow the daemon's stream of events; the others ask once.
int RunWatch(Session& session);
int RunShutdown(Session& session);
int RunWaitServing(Session& session);
int RunWaitStopped(Session& session);

}  // namespace lastcall

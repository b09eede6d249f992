// Messages of the daemon as text for people. Pure functions; strings in the messages may hold
// anything and come out printable.
#pragma once

#include <string>

#include "lastcall/admin/v1/admin.pb.h"
#include "text.h"

namespace lastcall {

// status: the daemon, its processes and its servers.
std::string RenderStatus(admin::v1::Status status, const Look& look);

// servers: a table of all of them.
std::string RenderServers(admin::v1::Status status, const Look& look);

// servers NAME: everything about one, its methods included.
std::string RenderServer(admin::v1::Server server, const Look& look);

// The instants of a plan and who asked, without what the daemon is doing now.
std::string RenderPlan(admin::v1::Plan plan, const Look& look);

// The response to a request for shutdown that nobody waits for.
std::string RenderShutdownResponse(const admin::v1::ShutdownResponse& response, bool dry_run,
                                   const Look& look);

std::string RenderVersion(admin::v1::GetVersionResponse version, const std::string& own_version);

// "SIGTERM from kill (pid 812, uid 0)".
std::string DescribeCause(const v1::Cause& cause);

// "delay 5s, grace 20s": what the request did not leave to the configuration.
std::string DescribeLengths(const v1::Request& request);

// "grace in 5s, cancel in 25s, end in 30s at the latest"; "never" where there is no end.
std::string DescribePlan(const admin::v1::Plan& plan);

// "draining for 4m10s, by root (uid 0), pid 4711: load test"
std::string DescribeDraining(const admin::v1::Draining& draining);

// "3 in flight; ends in 10m at the latest": an incarnation that lets its calls finish.
std::string DescribeRetired(const admin::v1::Retired& retired);

// A table of the calls that a stop waits for, oldest first; empty: there are none.
std::string OldestCalls(const admin::v1::Status& status, int most, const Look& look);

// Green where all is well, yellow while it changes, red where it is not.
Colour ColourOf(v1::Stage stage);

bool IsStoppingStage(v1::Stage stage);

}  // namespace lastcall

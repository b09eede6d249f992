// The status of the daemon: what it knows, as its readers see it.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "daemon/process/ended_calls.h"
#include "daemon/reload/report.h"
#include "daemon/setup/setup.h"
#include "lastcall/admin/v1/admin.pb.h"

#include <lastcall/base/log.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// How the last retired incarnation of each process has ended.
class LastRetired {
 public:
  void Add(const Receipt& receipt);
  // Null: none of this process has.
  const admin::v1::Ended* of(const std::string& process) const;

 private:
  std::map<std::string, admin::v1::Ended> ended_;
};

struct StatusView {
  const Supervisor& supervisor;
  const Setup& setup;
  const EndedCalls& ended_calls;
  const LastRetired& last_retired;
  const std::optional<ReloadNote>& last_reload;
  LogLevel log_level;
  Instant started;
  Instant now;
  WallTime wall;
};

// As the processes said last; see BeginQuery (status_query.h) for what is fresh.
admin::v1::Status StatusOf(const StatusView& view);

}  // namespace lastcall

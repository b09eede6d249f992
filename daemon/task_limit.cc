#include "daemon/task_limit.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <string_view>

namespace lastcall {
namespace {

namespace fs = std::filesystem;

// What a host has besides its handlers: gRPC's threads and ours, and for each server those that accept,
// serve health, and stand by for its end.
constexpr uint64_t kOfHost = 30;
constexpr uint64_t kOfServer = 10;
// The supervisor, and the children that try plugins.
constexpr uint64_t kOfDaemon = 50;

void Lower(std::optional<TaskLimit>& lowest, uint64_t tasks, const std::string& of) {
  if (!lowest || tasks < lowest->tasks) lowest = TaskLimit{tasks, of};
}

// Of the group and of each above it; "max", where it is none, is no number.
void LowerByGroups(std::optional<TaskLimit>& lowest, const fs::path& top, const fs::path& group) {
  for (fs::path each = group.relative_path();; each = each.parent_path()) {
    const fs::path here = top / each;
    uint64_t tasks = 0;
    if (std::ifstream(here / "pids.max") >> tasks) {
      Lower(lowest, tasks, "pids.max of " + here.lexically_normal().string());
    }
    if (each.empty()) return;
  }
}

}  // namespace

std::optional<TaskLimit> FindGroupLimit(const fs::path& proc, const fs::path& cgroups) {
  std::optional<TaskLimit> lowest;
  std::ifstream groups(proc / "self/cgroup");
  // cgroups(7): "8:pids:/shop" of version 1, "0::/shop" of version 2.
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with("0::")) LowerByGroups(lowest, cgroups, line.substr(3));
    const size_t pids = line.find(":pids:");
    if (pids != line.npos) LowerByGroups(lowest, cgroups / "pids", line.substr(pids + 6));
  }
  return lowest;
}

std::optional<TaskLimit> FindTaskLimit() {
  auto lowest = FindGroupLimit("/proc", "/sys/fs/cgroup");
  rlimit of_user{};
  if (geteuid() != 0 && getrlimit(RLIMIT_NPROC, &of_user) == 0 &&
      of_user.rlim_cur != RLIM_INFINITY) {
    Lower(lowest, of_user.rlim_cur, "\"ulimit -u\" of its user");
  }
  return lowest;
}

std::string TaskWarning(const Config& config, const std::optional<TaskLimit>& limit) {
  if (!limit) return "";
  uint64_t of_one_each = config.processes.size() * kOfHost;
  for (const ServerConfig& server : config.servers) {
    of_one_each += kOfServer + server.limits.threads;
    // Those of its offload, and the one that keeps the time.
    for (const PluginSpec& plugin : server.plugins) of_one_each += plugin.offload.threads + 1;
  }
  const uint64_t needed = kOfDaemon + of_one_each * (2 + config.keep);
  if (needed <= limit->tasks) return "";
  return "up to " + std::to_string(needed) + " tasks may be needed (" +
         std::to_string(config.processes.size()) +
         (config.processes.size() == 1 ? " process" : " processes") +
         " with all threads of their servers at work, with a successor and keep = " +
         std::to_string(config.keep) + " retired incarnations each), but only " +
         std::to_string(limit->tasks) + " may exist (" + limit->of +
         "); raise that (TasksMax= of the unit), or lower [server.X.limits] threads, "
         "[server.X.offload.PLUGIN] threads or [reload] "
         "keep";
}

}  // namespace lastcall

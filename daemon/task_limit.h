// How many tasks, that is processes and threads, there may be where this daemon runs, and how many its
// configuration may come to need: out of tasks, calls are refused and nothing can be started.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "daemon/config/config.h"

namespace lastcall {

struct TaskLimit {
  uint64_t tasks = 0;
  std::string of;  // "pids.max of /sys/fs/cgroup/pids/shop"
};

// The smallest of the control groups that this process is in (pids.max, cgroups version 1 or 2), as
// /proc and /sys/fs/cgroup tell. nullopt: none.
std::optional<TaskLimit> FindGroupLimit(const std::filesystem::path& proc,
                                        const std::filesystem::path& cgroups);
// The smallest that is in force: that one, or the user's (RLIMIT_NPROC), which does not hold for root.
std::optional<TaskLimit> FindTaskLimit();

// Empty where everything fits: each process with all handlers of its servers at work, its successor,
// and as many retired incarnations as may be kept.
std::string TaskWarning(const Config& config, const std::optional<TaskLimit>& limit);

}  // namespace lastcall

// ProcessSpec: what the supervisor is to keep running: a name, and how its incarnations are made.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <lastcall/supervisor/frozen_policy.h>
#include <lastcall/supervisor/process.h>
#include <lastcall/supervisor/restart_policy.h>

namespace lastcall {

struct ProcessSpec {
  std::string name;
  RestartPolicy restart = RestartPolicy::kAlways;
  std::vector<std::string> servers;
  std::function<std::unique_ptr<Process>(uint32_t number)> make;
  FrozenPolicy frozen = FrozenPolicy::kReport;
};

}  // namespace lastcall

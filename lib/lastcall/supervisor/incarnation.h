// Incarnation: what the supervisor knows of one incarnation of a process.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/stage.h>
#include <lastcall/supervisor/process.h>

namespace lastcall {

enum class Phase : uint8_t { kStarting, kRunning, kStopping, kWaiting, kDown };

std::string_view Name(Phase phase);

struct Incarnation {
  Phase phase = Phase::kDown;
  uint32_t number = 0;
  Stage stage = Stage::kStarting;  // as it reported
  Instant phase_began{};
  Instant began{};
  Instant accepting_since = kNever;  // kNever: it was not told to take connections yet
  Instant until =
      kNever;  // when its phase ends by itself: not ready in time, starting again, killed
  std::string start_error;  // why it could not start
  bool bad_configuration = false;
  bool killed = false;
  std::string replaced_by;  // who asked for it, where it retires
  std::optional<Receipt> receipt;
  std::unique_ptr<Process> process;  // null before the first start
};

}  // namespace lastcall

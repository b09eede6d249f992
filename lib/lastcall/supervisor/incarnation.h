// Incarnation: what the supervisor knows of one incarnation of a process, and of those before.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <lastcall/lifecycle/cause.h>
#include <lastcall/lifecycle/receipt.h>
#include <lastcall/lifecycle/stage.h>
#include <lastcall/supervisor/back_off.h>
#include <lastcall/supervisor/frozen_limit.h>
#include <lastcall/supervisor/process.h>
#include <lastcall/supervisor/process_spec.h>

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
  // When its phase ends by itself: not ready in time, starting again, killed.
  Instant until = kNever;
  std::string start_error;  // why it could not start
  bool bad_configuration = false;
  bool killed = false;
  std::string replaced_by;  // who requested it, where it retires
  std::string frozen;       // why it is, as it says; empty: it is not
  std::optional<Receipt> receipt;
  std::unique_ptr<Process> process;  // null before the first start
};

// Why one has ended that was not to.
std::string FailureOf(const Incarnation& incarnation, const ExitStatus& status, Duration ready);
// One has ended that was to: its receipt is its own, if it wrote one, and what it could not know of
// its end.
void Complete(Incarnation& incarnation, const std::string& process, const ExitStatus& status);

// One that is to take the place of the current one.
struct Successor : Incarnation {
  ProcessSpec spec;
  Cause by;
  bool took_over = false;
};

// What a process has been through.
struct History {
  uint32_t incarnations = 0;  // so far
  uint32_t restarts = 0;      // because an incarnation had ended by itself
  std::string last_failure;   // how the last one did
  uint32_t last_failed = 0;   // which that was
  BackOff back_off{};
  FrozenLimit frozen{};
};

}  // namespace lastcall

#include "lastcall/lifecycle/stage.h"

namespace lastcall {
namespace {

constexpr size_t Index(auto value) { return static_cast<size_t>(value); }

constexpr Stage S = Stage::kStarting, V = Stage::kServing, D = Stage::kDelay, G = Stage::kGrace,
                C = Stage::kCancel, X = Stage::kStopped;

// A stop that comes while starting has no call to wait for: it goes straight to cancel, where what
// was started is stopped.
constexpr Stage kNext[kStages.size()][kEvents.size()] = {
    // clang-format off
    //            ready  stop  instant  quiet  idle  done  failed
    /* starting */ {V,    C,    S,       S,     S,    S,    X},
    /* serving  */ {V,    D,    V,       V,     V,    V,    X},
    /* delay    */ {D,    D,    G,       G,     D,    D,    X},
    /* grace    */ {G,    G,    C,       G,     C,    G,    X},
    /* cancel   */ {C,    C,    X,       C,     C,    X,    X},
    /* stopped  */ {X,    X,    X,       X,     X,    X,    X},
};
// clang-format on

constexpr std::string_view kStageNames[] = {"starting", "serving", "delay",
                                            "grace",    "cancel",  "stopped"};
constexpr std::string_view kEventNames[] = {"ready", "request", "instant", "quiet",
                                            "idle",  "done",    "failed"};

}  // namespace

Stage Next(Stage stage, Event event) { return kNext[Index(stage)][Index(event)]; }
std::string_view Name(Stage stage) { return kStageNames[Index(stage)]; }

std::optional<Stage> StageNamed(std::string_view name) {
  for (const Stage stage : kStages) {
    if (Name(stage) == name) return stage;
  }
  return std::nullopt;
}

std::string_view Name(Event event) { return kEventNames[Index(event)]; }

}  // namespace lastcall

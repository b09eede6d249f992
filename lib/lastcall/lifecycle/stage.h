// The stages of an incarnation, and of the daemon as a whole, and what moves it from one to the next.
//
//   stage     health       accepting  new calls               calls in flight       ends when
//   starting  NOT_SERVING  no         wait in the queue       none                  ready
//   serving   SERVING      yes        served                  run                   a plan exists
//   delay     NOT_SERVING  yes        served                  run                   its instant, or quiet
//   grace     NOT_SERVING  no         those on their way      run, told to leave    nothing in flight, or its instant
//   cancel    NOT_SERVING  no         refused                 cancelled             all done, or its instant
//   stopped
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lastcall {

enum class Stage : uint8_t { kStarting, kServing, kDelay, kGrace, kCancel, kStopped };
inline constexpr std::array kStages{Stage::kStarting, Stage::kServing, Stage::kDelay,
                                    Stage::kGrace,    Stage::kCancel,  Stage::kStopped};

// What happens to an incarnation. Past tense: it has happened.
enum class Event : uint8_t {
  kBecameReady,     // everything is started
  kStopRequested,   // the first request is in the ledger
  kDeadlinePassed,  // the planned end of the stage
  kWentQuiet,       // no new call for the configured length
  kWentIdle,        // nothing is in flight
  kCompleted,       // everything is stopped
  kFailed,          // it could not start, or it is gone
};
inline constexpr std::array kEvents{
    Event::kBecameReady, Event::kStopRequested, Event::kDeadlinePassed, Event::kWentQuiet,
    Event::kWentIdle,    Event::kCompleted,     Event::kFailed};

// The stage after `event`; `stage` itself where it changes nothing. Total.
Stage Next(Stage stage, Event event);

// "serving"; the words of every log, protocol and document.
std::string_view Name(Stage stage);
// Empty: no such name.
std::optional<Stage> StageNamed(std::string_view name);
// How a receipt says what ended a stage: "instant", "idle", …
std::string_view Name(Event event);

constexpr bool IsStopping(Stage stage) { return stage >= Stage::kDelay; }
// Whether connections are accepted in this stage.
constexpr bool Accepts(Stage stage) { return stage == Stage::kServing || stage == Stage::kDelay; }

}  // namespace lastcall

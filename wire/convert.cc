#include "wire/convert.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <limits>
#include <optional>
#include <utility>

#include <lastcall/base/safe_text.h>

namespace lastcall {
namespace {

// An enumeration beside that of its messages.
template <class Own, class Sent, size_t kCount>
using Pairs = std::array<std::pair<Own, Sent>, kCount>;

constexpr Pairs<Stage, v1::Stage, 6> kStagePairs{{{Stage::kStarting, v1::STAGE_STARTING},
                                                  {Stage::kServing, v1::STAGE_SERVING},
                                                  {Stage::kDelay, v1::STAGE_DELAY},
                                                  {Stage::kGrace, v1::STAGE_GRACE},
                                                  {Stage::kCancel, v1::STAGE_CANCEL},
                                                  {Stage::kStopped, v1::STAGE_STOPPED}}};
constexpr Pairs<Event, v1::Event, 7> kEventPairs{
    {{Event::kBecameReady, v1::EVENT_BECAME_READY},
     {Event::kStopRequested, v1::EVENT_STOP_REQUESTED},
     {Event::kDeadlinePassed, v1::EVENT_DEADLINE_PASSED},
     {Event::kWentQuiet, v1::EVENT_WENT_QUIET},
     {Event::kWentIdle, v1::EVENT_WENT_IDLE},
     {Event::kCompleted, v1::EVENT_COMPLETED},
     {Event::kFailed, v1::EVENT_FAILED}}};
constexpr Pairs<LogLevel, host::v1::LogLevel, 5> kLogLevelPairs{
    {{LogLevel::kTrace, host::v1::LOG_LEVEL_TRACE},
     {LogLevel::kDebug, host::v1::LOG_LEVEL_DEBUG},
     {LogLevel::kInfo, host::v1::LOG_LEVEL_INFO},
     {LogLevel::kWarning, host::v1::LOG_LEVEL_WARNING},
     {LogLevel::kError, host::v1::LOG_LEVEL_ERROR}}};
constexpr Pairs<Cause::Kind, v1::Cause::Kind, 6> kCausePairs{
    {{Cause::Kind::kSignal, v1::Cause::KIND_SIGNAL},
     {Cause::Kind::kAdmin, v1::Cause::KIND_ADMIN},
     {Cause::Kind::kPlugin, v1::Cause::KIND_PLUGIN},
     {Cause::Kind::kProgram, v1::Cause::KIND_PROGRAM},
     {Cause::Kind::kProcess, v1::Cause::KIND_PROCESS},
     {Cause::Kind::kSupervisor, v1::Cause::KIND_SUPERVISOR}}};
constexpr Pairs<Stuck::What, v1::StuckRecord::What, 3> kStuckPairs{
    {{Stuck::What::kCall, v1::StuckRecord::WHAT_CALL},
     {Stuck::What::kPlugin, v1::StuckRecord::WHAT_PLUGIN},
     {Stuck::What::kPart, v1::StuckRecord::WHAT_PART}}};

template <class Own, class Sent, size_t kCount>
Sent SentAs(const Pairs<Own, Sent, kCount>& pairs, Own value) {
  for (const auto& [own, sent] : pairs) {
    if (own == value) return sent;
  }
  return {};
}

template <class Own, class Sent, size_t kCount>
std::optional<Own> ReadAs(const Pairs<Own, Sent, kCount>& pairs, Sent value) {
  for (const auto& [own, sent] : pairs) {
    if (sent == value) return own;
  }
  return std::nullopt;
}

double Seconds(Duration length) { return length == kForever ? -1 : ToSeconds(length); }

Duration FromPlanned(double seconds) { return seconds < 0 ? kForever : FromSeconds(seconds); }

// Of FormatWallTime's form.
WallTime ParseWallTime(const std::string& text) {
  std::tm parts{};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return {};
  // Beyond what nanoseconds can count from 1970 lies nothing that was meant.
  constexpr time_t kYear2200 = 7'258'118'400;
  const time_t seconds = timegm(&parts);
  if (seconds < 0 || seconds > kYear2200) return {};
  const double fraction = *rest == '.' ? std::strtod(rest, nullptr) : 0;
  return WallTime(std::chrono::seconds(seconds)) +
         (fraction < 1 ? FromSeconds(fraction) : Duration::zero());
}

// What a process says of its calls is its plugins' and its clients' word.
std::string NameIn(const std::string& name) { return SafeText(name, kMaxSafeName); }

std::vector<std::string> Frames(const google::protobuf::RepeatedPtrField<std::string>& stack) {
  std::vector<std::string> frames;
  for (const std::string& frame : stack) frames.push_back(SafeText(frame));
  return frames;
}

// What is no length at all (NaN, of a plugin that writes into the channel) was not given either: it
// must not end a stage.
std::optional<Duration> Optional(bool has, double seconds) {
  return has && IsLength(seconds) ? std::optional(FromSeconds(seconds)) : std::nullopt;
}

}  // namespace

v1::Stage ToProto(Stage stage) { return SentAs(kStagePairs, stage); }
std::optional<Stage> FromProto(v1::Stage stage) { return ReadAs(kStagePairs, stage); }

v1::Event ToProto(Event event) { return SentAs(kEventPairs, event); }
std::optional<Event> FromProto(v1::Event event) { return ReadAs(kEventPairs, event); }

host::v1::LogLevel ToProto(LogLevel level) { return SentAs(kLogLevelPairs, level); }
LogLevel FromProto(host::v1::LogLevel level) {
  return ReadAs(kLogLevelPairs, level).value_or(LogLevel::kInfo);
}

v1::Cause ToProto(const Cause& cause) {
  v1::Cause message;
  message.set_kind(SentAs(kCausePairs, cause.kind));
  message.set_signal(cause.signal);
  message.set_pid(cause.pid);
  message.set_uid(cause.uid);
  // An order is never refused for a word in it, whoever let that in.
  Cause safe = MadeSafe(cause);
  message.set_who(std::move(safe.who));
  message.set_reason(std::move(safe.reason));
  return message;
}

Cause FromProto(const v1::Cause& message) {
  return MadeSafe({.kind = ReadAs(kCausePairs, message.kind()).value_or(Cause::Kind::kProgram),
                   .signal = message.signal(),
                   .pid = message.pid(),
                   .uid = message.uid(),
                   .who = message.who(),
                   .reason = message.reason()});
}

v1::Request ToProto(const Ledger::Entry& entry) {
  const Request& request = entry.request;
  v1::Request message;
  *message.mutable_cause() = ToProto(request.cause);
  message.set_at(FormatWallTime(request.wall));
  if (request.delay) message.set_delay_s(ToSeconds(*request.delay));
  if (request.grace) message.set_grace_s(ToSeconds(*request.grace));
  if (request.cancel) message.set_cancel_s(ToSeconds(*request.cancel));
  message.set_moved(entry.moved);
  message.set_skip(request.skip);
  return message;
}

Ledger::Entry FromProto(const v1::Request& message) {
  Ledger::Entry entry;
  Request& request = entry.request;
  request.cause = FromProto(message.cause());
  request.wall = ParseWallTime(message.at());
  request.delay = Optional(message.has_delay_s(), message.delay_s());
  request.grace = Optional(message.has_grace_s(), message.grace_s());
  request.cancel = Optional(message.has_cancel_s(), message.cancel_s());
  request.skip = message.skip();
  entry.moved = message.moved();
  return entry;
}

std::vector<Ledger::Entry> FromProto(
    const google::protobuf::RepeatedPtrField<v1::Request>& requests) {
  std::vector<Ledger::Entry> entries;
  for (const v1::Request& request : requests) entries.push_back(FromProto(request));
  return entries;
}

v1::Receipt ToProto(const Receipt& receipt) {
  v1::Receipt message;
  message.set_subject(receipt.subject);
  message.set_pid(receipt.pid);
  message.set_incarnation(receipt.incarnation);
  message.set_exit_code(receipt.exit_code);
  message.set_outcome(receipt.Outcome());
  message.set_failure(receipt.failure);
  message.set_began(FormatWallTime(receipt.began));
  message.set_took_s(ToSeconds(receipt.took));
  for (const auto& entry : receipt.requests) *message.add_requests() = ToProto(entry);
  message.set_requests_left_out(receipt.requests_left_out);
  for (const StageRecord& record : receipt.stages) {
    v1::StageRecord& stage = *message.add_stages();
    stage.set_stage(ToProto(record.stage));
    stage.set_planned_s(Seconds(record.planned));
    stage.set_took_s(ToSeconds(record.took));
    stage.set_ended_by(ToProto(record.ended_by));
  }
  message.set_calls_finished(static_cast<uint32_t>(receipt.calls_finished));
  message.set_calls_cancelled(static_cast<uint32_t>(receipt.calls_cancelled));
  for (const CancelledCall& call : receipt.cancelled) {
    v1::CallRecord& record = *message.add_cancelled();
    record.set_server(call.server);
    record.set_method(call.method);
    record.set_peer(call.peer);
    record.set_age_s(ToSeconds(call.age));
    record.set_told(call.told);
  }
  for (const Stuck& stuck : receipt.stuck) {
    v1::StuckRecord& record = *message.add_stuck();
    record.set_what(SentAs(kStuckPairs, stuck.what));
    record.set_name(stuck.name);
    record.set_age_s(ToSeconds(stuck.age));
    for (const std::string& frame : stuck.stack) record.add_stack(frame);
  }
  for (const Receipt& process : receipt.processes) *message.add_processes() = ToProto(process);
  return message;
}

Receipt FromProto(const v1::Receipt& message) {
  Receipt receipt;
  receipt.subject = NameIn(message.subject());
  receipt.pid = message.pid();
  receipt.incarnation = message.incarnation();
  receipt.exit_code = message.exit_code();
  receipt.failure = SafeText(message.failure());
  receipt.began = ParseWallTime(message.began());
  receipt.took = FromSeconds(message.took_s());
  receipt.requests = FromProto(message.requests());
  receipt.requests_left_out = message.requests_left_out();
  for (const v1::StageRecord& record : message.stages()) {
    receipt.stages.push_back({FromProto(record.stage()).value_or(Stage::kStopped),
                              FromPlanned(record.planned_s()), FromSeconds(record.took_s()),
                              FromProto(record.ended_by()).value_or(Event::kDeadlinePassed)});
  }
  receipt.calls_finished = message.calls_finished();
  receipt.calls_cancelled = message.calls_cancelled();
  for (const v1::CallRecord& call : message.cancelled()) {
    receipt.cancelled.push_back({NameIn(call.server()), NameIn(call.method()), NameIn(call.peer()),
                                 FromSeconds(call.age_s()), call.told()});
  }
  for (const v1::StuckRecord& stuck : message.stuck()) {
    receipt.stuck.push_back({ReadAs(kStuckPairs, stuck.what()).value_or(Stuck::What::kCall),
                             SafeText(stuck.name()), FromSeconds(stuck.age_s()),
                             Frames(stuck.stack())});
  }
  for (const v1::Receipt& process : message.processes()) {
    receipt.processes.push_back(FromProto(process));
  }
  return receipt;
}

host::v1::Stop ToProto(const Plan& plan, const std::vector<Ledger::Entry>& requests) {
  host::v1::Stop message;
  message.set_grace_ns(ToProto(plan.grace));
  message.set_cancel_ns(ToProto(plan.cancel));
  message.set_end_ns(ToProto(plan.end));
  for (const auto& entry : requests) *message.add_requests() = ToProto(entry);
  return message;
}

Plan FromProto(const host::v1::Stop& message) {
  // Before the clock began nothing can have been planned.
  Plan plan;
  plan.grace = std::max(Instant(), FromProto(message.grace_ns()));
  plan.cancel = std::max(plan.grace, FromProto(message.cancel_ns()));
  plan.end = std::max(plan.cancel, FromProto(message.end_ns()));
  return plan;
}

admin::v1::Plan ToProto(const Ledger& ledger, Instant now) {
  const Plan& plan = ledger.plan();
  admin::v1::Plan message;
  const auto from_now = [&](Instant instant) { return ToSeconds(instant - now); };
  if (plan.grace != kNever) message.set_grace_in_s(from_now(plan.grace));
  if (plan.cancel != kNever) message.set_cancel_in_s(from_now(plan.cancel));
  if (plan.end != kNever) message.set_end_in_s(from_now(plan.end));
  for (const auto& entry : ledger.entries()) *message.add_requests() = ToProto(entry);
  message.set_requests_left_out(ledger.left_out());
  return message;
}

int64_t ToProto(Instant instant) { return instant.time_since_epoch().count(); }
Instant FromProto(int64_t nanoseconds) { return Instant(Duration(nanoseconds)); }

}  // namespace lastcall

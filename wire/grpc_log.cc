#include "wire/grpc_log.h"

#include <grpc/support/log.h>

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "wire/repeat_limit.h"

namespace lastcall {
namespace {

constexpr uint64_t kLines = 10;
constexpr Duration kWindow = std::chrono::seconds(10);

struct Receiver {
  Log log;
  RepeatLimit limit{kLines, kWindow};
};

// gRPC's function has no argument of ours, hence the globals.
constinit std::mutex receiver_mutex;
constinit std::optional<Receiver> receiver;  // guarded by receiver_mutex

// An error of gRPC's is a peer's more often than ours.
LogLevel LevelOf(gpr_log_severity severity) {
  switch (severity) {
    case GPR_LOG_SEVERITY_DEBUG: return LogLevel::kDebug;
    case GPR_LOG_SEVERITY_INFO: return LogLevel::kInfo;
    case GPR_LOG_SEVERITY_ERROR: return LogLevel::kWarning;
  }
  return LogLevel::kWarning;
}

void SayLeftOut(Instant now, bool all) {
  for (const RepeatLimit::LeftOut& one : receiver->limit.TakeLeftOut(now, all)) {
    receiver->log(LogLevel::kWarning, "grpc: " + one.source + ": " + std::to_string(one.lines) +
                                          " more lines within " + FormatDuration(one.within) +
                                          " were left out");
  }
}

void Receive(gpr_log_func_args* args) {
  const std::string_view file(args->file);
  const std::string place =
      std::string(file.substr(file.rfind('/') + 1)) + ":" + std::to_string(args->line);
  const Instant now = std::chrono::steady_clock::now();
  std::lock_guard lock(receiver_mutex);
  if (!receiver) return;
  SayLeftOut(now, false);
  if (receiver->limit.Admit(place, now)) {
    receiver->log(LevelOf(args->severity), "grpc: " + place + ": " + args->message);
  }
}

}  // namespace

GrpcLog::GrpcLog(Log log) {
  std::lock_guard lock(receiver_mutex);
  receiver.emplace(Receiver{std::move(log)});
  gpr_set_log_function(&Receive);
}

GrpcLog::~GrpcLog() {
  std::lock_guard lock(receiver_mutex);
  SayLeftOut(std::chrono::steady_clock::now(), true);
  receiver.reset();
}

}  // namespace lastcall

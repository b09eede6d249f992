#include "lastcall/signals/table.h"

namespace lastcall {
namespace {

std::string SenderOf(const ReceivedSignal& signal) {
  if (signal.code == SI_KERNEL) return "the kernel";
  // "docker stop" comes from outside the container, where this pid namespace has no name for it.
  return signal.pid > 0 ? CommandOf(signal.pid) : "outside the container";
}

}  // namespace

SignalAction SignalTable::Decide(const ReceivedSignal& signal, Stage stage) {
  switch (signal.number) {
    case SIGUSR1: return SignalAction::kDump;
    case SIGQUIT: return SignalAction::kShutdown;
    case SIGHUP:
      // The kernel itself sends it when the terminal is gone; people and scripts use kill(2).
      if (signal.code == SI_KERNEL) return SignalAction::kShutdown;
      return IsStopping(stage) ? SignalAction::kRefuseReload : SignalAction::kReload;
    default: break;
  }
  if (!took_effect_) {
    took_effect_ = signal.at;
    return SignalAction::kShutdown;
  }
  if (signal.at - *took_effect_ <= kRepeatAfter) return SignalAction::kMerge;
  return SignalAction::kSkip;
}

Request RequestOf(const ReceivedSignal& signal, SignalAction action) {
  Request request = NamelessRequestOf(signal, action);
  request.cause.who = SenderOf(signal);
  return request;
}

Request NamelessRequestOf(const ReceivedSignal& signal, SignalAction action) {
  Request request;
  request.cause.kind = Cause::Kind::kSignal;
  request.cause.signal = signal.number;
  request.cause.pid = signal.pid;
  request.cause.uid = signal.uid;
  request.at = signal.at;
  request.wall = signal.wall;
  request.skip = action == SignalAction::kSkip;
  if (signal.number == SIGINT || signal.number == SIGQUIT) request.delay = Duration::zero();
  if (signal.number == SIGQUIT) request.grace = Duration::zero();
  return request;
}

}  // namespace lastcall

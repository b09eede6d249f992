// Call: what a handler may know of its own call: whether it should leave, and how long it has.
//
//   const auto call = lastcall::Call::Of(*context);
//   while (auto price = feed.Next(call.leave_token())) if (!out->Write(*price)) break;
//   return call.leaving() ? call.LeaveStatus() : grpc::Status::OK;
#pragma once

#include <functional>
#include <memory>
#include <stop_token>

#include <lastcall/base/clock.h>

namespace grpc {
class ServerContextBase;
class Status;
}  // namespace grpc

namespace lastcall {

class LiveCall;

// A cheap copyable view of one call, for sync and callback handlers alike. Threads: any. It may
// outlive the call: then it stays as it was at the end.
class Call {
 public:
  // `context` is a ServerContext or a CallbackServerContext. Outside a host the call never leaves.
  static Call Of(const grpc::ServerContextBase& context);

  // Stop is requested when it is time to leave, or when the client is gone (of a sync handler or a
  // unary reactor that is noticed within a tenth of a second). May be kept as long as one likes.
  std::stop_token leave_token() const;

  // Runs `callback` once, when the call is told to leave or its client is gone, in a thread of the
  // host: it must not block. At once, in this thread, if that has happened. Not after the call has
  // ended, but for one that has begun then: what it captures must not be the handler's own; hold it
  // by value, or by a std::weak_ptr.
  void OnLeave(std::function<void()> callback) const;

  // Whether the call was told to leave: its process stops or retires. A client that is gone is not
  // "leaving"; for that ask the context's IsCancelled().
  bool leaving() const;

  // UNAVAILABLE, worded so that clients reconnect and people understand.
  grpc::Status LeaveStatus() const;

  // When the call will be cancelled as planned now; kNever while nobody asked for a stop.
  Instant cancel_instant() const;

 private:
  explicit Call(std::shared_ptr<LiveCall> live) : live_(std::move(live)) {}

  std::shared_ptr<LiveCall> live_;  // null outside a host
};

}  // namespace lastcall

#include "lastcall/rpc/call.h"

#include <grpcpp/support/status.h>

#include <utility>

#include "lastcall/rpc/call_directory.h"
#include "lastcall/rpc/live_call.h"

namespace lastcall {

Call Call::Of(const grpc::ServerContextBase& context) {
  return Call(CallDirectory::Find(&context));
}

std::stop_token Call::leave_token() const {
  return live_ != nullptr ? live_->token() : std::stop_token();
}

void Call::OnLeave(std::function<void()> callback) const {
  if (live_ != nullptr) live_->OnLeave(std::move(callback));
}

bool Call::leaving() const { return live_ != nullptr && live_->leaving(); }

grpc::Status Call::LeaveStatus() const {
  return grpc::Status(grpc::StatusCode::UNAVAILABLE,
                      "the server is stopping and asked this call to leave; reconnect and resume");
}

Instant Call::cancel_instant() const { return live_ != nullptr ? live_->cancel_instant() : kNever; }

}  // namespace lastcall

// The daemon's admin service, seen from the command line: one connection, no retries.
#pragma once

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>

#include <memory>
#include <optional>

#include "lastcall/admin/v1/admin.pb.h"

namespace lastcall {

// The stream of Watch; ends with its owner.
class WatchStream {
 public:
  class State;

  explicit WatchStream(std::unique_ptr<State> state);
  WatchStream(WatchStream&&) noexcept;
  ~WatchStream();

  // The next event; nothing once the daemon has ended the stream cleanly.
  // Blocks: until then or `by`.
  // Fails: kDeadlineExceeded when `by` came first (the stream goes on); the daemon's own error.
  Result<std::optional<admin::v1::WatchResponse>> Next(Deadline by);

 private:
  std::unique_ptr<State> state_;
};

// Blocks: every call, until the response or `by`.
// Fails: with the daemon's code and words; kUnavailable when the connection breaks.
class AdminClient {
 public:
  class State;

  // `clock` is the one that deadlines are on.
  AdminClient(UniqueFd connection, const Clock& clock);
  AdminClient(AdminClient&&) noexcept;
  ~AdminClient();

  Result<admin::v1::Status> GetStatus(Deadline by);
  Result<admin::v1::ShutdownResponse> Shutdown(const admin::v1::ShutdownRequest& request,
                                               Deadline by);
  // A refusal is an error here, with all of its text.
  Result<admin::v1::ReloadResponse> Reload(admin::v1::ReloadRequest request, Deadline by);
  Result<admin::v1::RestartResponse> Restart(admin::v1::RestartRequest request, Deadline by);
  Result<admin::v1::SetDrainingResponse> SetDraining(const admin::v1::SetDrainingRequest& request,
                                                     Deadline by);
  // All parts in one.
  Result<admin::v1::ListCallsResponse> ListCalls(const admin::v1::ListCallsRequest& request,
                                                 Deadline by);
  // Fails: kAborted where the daemon answers, but not the process of the call.
  Result<admin::v1::GetCallResponse> GetCall(const admin::v1::GetCallRequest& request, Deadline by);
  Result<admin::v1::CancelCallsResponse> CancelCalls(const admin::v1::CancelCallsRequest& request,
                                                     Deadline by);
  Result<admin::v1::GetConfigResponse> GetConfig(Deadline by);
  Result<admin::v1::SetLogLevelResponse> SetLogLevel(const admin::v1::SetLogLevelRequest& request,
                                                     Deadline by);
  Result<admin::v1::GetVersionResponse> GetVersion(Deadline by);

  // Owns: the stream, which must end before the client.
  WatchStream Watch();

 private:
  std::unique_ptr<State> state_;
};

}  // namespace lastcall

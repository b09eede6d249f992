// A daemon for tests of lastcallctl: its admin service on a unix socket, saying what the test
// wants.
#pragma once

#include <lastcall/base/result.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "lastcall/admin/v1/admin.pb.h"

namespace lastcall {

class FakeAdmin {
 public:
  // One step of a stream of events.
  struct Step {
    enum class Kind : uint8_t { kSend, kAwaitShutdown, kHold, kEnd };
    Kind kind = Kind::kSend;
    admin::v1::WatchResponse event;
    Error error;  // of kEnd
  };
  using Script = std::vector<Step>;

  static Step Send(const admin::v1::Status& status);
  static Step Send(const admin::v1::ReceiptEvent& receipt);
  static Step GiveWay();  // a handover
  // Until Shutdown was called.
  static Step AwaitShutdown() { return {.kind = Step::Kind::kAwaitShutdown}; }
  // Until the daemon is destroyed.
  static Step Hold() { return {.kind = Step::Kind::kHold}; }
  static Step End(Code code = Code::kOk, std::string message = "") {
    return {.kind = Step::Kind::kEnd, .error = {code, std::move(message)}};
  }

  // Serves at once.
  explicit FakeAdmin(const std::string& socket);
  ~FakeAdmin();

  // What it answers; set before the first call.
  admin::v1::Status status;
  admin::v1::ShutdownResponse shutdown_response;
  admin::v1::ReloadResponse reload_response;
  admin::v1::RestartResponse restart_response;
  admin::v1::SetDrainingResponse draining_response;
  admin::v1::GetConfigResponse config;
  admin::v1::SetLogLevelResponse log_level_response;
  admin::v1::GetVersionResponse version;
  // The parts of a list of calls: one list for each ListCalls in turn, the last one for the rest.
  std::deque<std::vector<admin::v1::ListCallsResponse>> lists;
  admin::v1::GetCallResponse call;
  Error call_error{Code::kOk, ""};  // of GetCall, where `error` is kOk
  admin::v1::CancelCallsResponse cancel_response;
  // One for each Watch in turn; then, or without any, `status` and nothing more.
  std::deque<Script> scripts;
  int shutdowns_refused = 0;  // the first so many, by one on its way to another build
  // Every call but GetStatus and Watch fails with this unless it is kOk; GetStatus with the other. A
  // reload or restart that asks for its refusal in the response gets it there.
  Error error{Code::kOk, ""};
  Error status_error{Code::kOk, ""};

  // What was asked. Threads: any.
  std::vector<std::string> asked() const;  // names of methods, in order
  admin::v1::ShutdownRequest shutdown_request() const;
  admin::v1::ReloadRequest reload_request() const;
  admin::v1::RestartRequest restart_request() const;
  admin::v1::SetDrainingRequest draining_request() const;
  admin::v1::ListCallsRequest list_request() const;  // the last
  admin::v1::GetCallRequest call_request() const;
  std::vector<admin::v1::CancelCallsRequest> cancel_requests() const;

 private:
  class Service;
  std::unique_ptr<Service> service_;
};

}  // namespace lastcall

// What the admin service may ask of the daemon: each question is passed to whom it concerns, and what
// comes of it becomes a response.
#pragma once

#include <functional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "daemon/admin/backend.h"
#include "daemon/handover/handover.h"
#include "daemon/reload/continued.h"
#include "daemon/reload/reload.h"
#include "daemon/setup/setup.h"
#include "wire/logging.h"

namespace lastcall {

// Threads: the loop's.
class Backend final : public AdminBackend {
 public:
  struct Parts {
    boost::asio::io_context& loop;
    const Setup& setup;
    Supervisor& supervisor;
    Reload& reload;
    const Handover& handover;
    ContinuedReload& continued;
    Logger& logger;
    const Clock& clock;
    std::function<admin::v1::Status()> status;
  };
  explicit Backend(Parts parts) : parts_(std::move(parts)) {}

  void Post(std::function<void()> question) override;
  void BeginStatus(std::function<void(admin::v1::Status)> answer) override;
  void BeginCalls(CallsQuestions questions, std::function<void(CallsAnswers)> answer) override;
  admin::v1::ShutdownResponse Shutdown(const admin::v1::ShutdownRequest& request,
                                       const Cause& by) override;
  void BeginReload(const admin::v1::ReloadRequest& request, const Cause& by,
                   std::function<void(Result<admin::v1::ReloadResponse>)> answer) override;
  void BeginRestart(const admin::v1::RestartRequest& request, const Cause& by,
                    std::function<void(Result<admin::v1::RestartResponse>)> answer) override;
  Result<bool> SetDraining(const admin::v1::SetDrainingRequest& request, const Cause& by) override;
  Result<std::string> SetLogLevel(const std::string& level, const Cause& by) override;
  admin::v1::GetConfigResponse EffectiveConfig() override;

 private:
  const Parts parts_;
};

}  // namespace lastcall

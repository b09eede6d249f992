// What the admin service needs of the daemon.
#pragma once

#include <functional>
#include <string>

#include "daemon/admin/calls.h"
#include "lastcall/admin/v1/admin.pb.h"

#include <lastcall/base/result.h>
#include <lastcall/lifecycle/cause.h>

namespace lastcall {

// Threads: the loop's, for all of it.
class AdminBackend {
 public:
  virtual ~AdminBackend() = default;
  // Runs `question` in the loop's thread. Threads: any.
  virtual void Post(std::function<void()> question) = 0;

  // `answer` comes within a second, in the loop's thread.
  virtual void BeginStatus(std::function<void(admin::v1::Status)> answer) = 0;
  // The same, within five seconds.
  virtual void BeginCalls(CallsQuestions questions, std::function<void(CallsAnswers)> answer) = 0;
  virtual admin::v1::ShutdownResponse Shutdown(const admin::v1::ShutdownRequest& request,
                                               const Cause& by) = 0;
  // `answer` comes in the loop's thread, when it is over or, without `wait`, when it has begun.
  virtual void BeginReload(const admin::v1::ReloadRequest& request, const Cause& by,
                           std::function<void(Result<admin::v1::ReloadResponse>)> answer) = 0;
  virtual void BeginRestart(const admin::v1::RestartRequest& request, const Cause& by,
                            std::function<void(Result<admin::v1::RestartResponse>)> answer) = 0;
  virtual Result<bool> SetDraining(const admin::v1::SetDrainingRequest& request,
                                   const Cause& by) = 0;
  virtual Result<std::string> SetLogLevel(const std::string& level, const Cause& by) = 0;
  virtual admin::v1::GetConfigResponse EffectiveConfig() = 0;
};

}  // namespace lastcall

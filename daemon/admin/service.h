// The admin service: what lastcallctl asks becomes a question to the loop, and its answer the response.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/admin/callers.h"
#include "daemon/admin/roles.h"
#include "daemon/admin/watch_hub.h"
#include "lastcall/admin/v1/admin.pb.h"

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/cause.h>
#include <lastcall/net/acceptor.h>
#include <lastcall/net/listener.h>
#include <lastcall/rpc/server.h>

namespace lastcall {

// What the service needs of the daemon. Threads: the loop's, for all of it.
class AdminBackend {
 public:
  virtual ~AdminBackend() = default;
  // Runs `question` in the loop's thread. Threads: any.
  virtual void Post(std::function<void()> question) = 0;

  // `answer` comes within a second, in the loop's thread.
  virtual void BeginStatus(std::function<void(admin::v1::Status)> answer) = 0;
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

// The admin socket's own servers, beside all stages. Each role has one to itself, so that whoever
// may only look, or not even that, cannot take what the calls of the others need.
class AdminServer {
 public:
  // What a caller may do is decided when it connects, by `roles`.
  static Result<std::unique_ptr<AdminServer>> Start(Listener listener, Roles roles,
                                                    AdminBackend& backend, WatchHub& hub,
                                                    const Clock& clock, Log log);
  // Order: after `retired` of BeginRetire.
  ~AdminServer();

  // Of connections from now on.
  void SetRoles(Roles roles);
  // From this one instead, where the path leads to it now; connections stay.
  void Listen(Listener listener);

  // Lets the callers that are there get their answers; with `last_call` also those that wait in the
  // socket's queue, as far as a moment goes, who are otherwise left to whoever listens next.
  // `retired` runs in a thread of its own. Blocks: without `last_call`, while a connection is taken
  // in.
  void BeginRetire(bool last_call, std::function<void()> retired);
  // Ends those that do not read theirs.
  void Cancel();

 private:
  class Service;
  // Everything that callers of one role have to themselves.
  struct Entrance {
    std::unique_ptr<Service> service;
    std::unique_ptr<Server> server;
  };
  AdminServer(Roles roles, const Clock& clock, Log log);

  const Clock& clock_;
  const Log log_;
  AdminCallers callers_;
  std::array<Entrance, 3> entrances_;  // by Role
  // Feed them. All but the last have a path no more and take who came before.
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
};

}  // namespace lastcall

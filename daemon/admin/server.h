// The admin socket's servers, one for each role; what they serve is in service.h.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/admin/backend.h"
#include "daemon/admin/callers.h"
#include "daemon/admin/roles.h"
#include "daemon/admin/watch_hub.h"

#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/lifecycle/cause.h>
#include <lastcall/net/acceptor.h>
#include <lastcall/net/listener.h>
#include <lastcall/rpc/server.h>

namespace lastcall {

class AdminService;

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

  // See Canary: of the operators' server.
  bool BeginProbe(std::function<void()> answered);

  // Lets the callers that are there get their answers; with `last_call` also those that wait in the
  // socket's queue, as far as a moment goes, who are otherwise left to whoever listens next.
  // `retired` runs in a thread of its own. Blocks: without `last_call`, while a connection is taken
  // in.
  void BeginRetire(bool last_call, std::function<void()> retired);
  // Ends those that do not read theirs.
  void Cancel();

 private:
  // Everything that callers of one role have to themselves.
  struct Entrance {
    std::unique_ptr<AdminService> service;
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

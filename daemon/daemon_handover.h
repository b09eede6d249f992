// DaemonHandover: what a handover to another build does to the daemon. It is saved, its callers are
// sent away, and the other build is executed in its place; where nothing comes of that, it goes on.
#pragma once

#include <functional>
#include <optional>

#include "daemon/admin/door.h"
#include "daemon/conclusion.h"
#include "daemon/handover/handover.h"
#include "daemon/handover/reexec.h"
#include "daemon/handover/resume_check.h"
#include "daemon/handover/saved_state.h"
#include "daemon/loop.h"
#include "daemon/process/hosts.h"
#include "daemon/reload/continued.h"
#include "daemon/reload/readings.h"
#include "daemon/reload/reload.h"
#include "daemon/setup/end_of_listening.h"
#include "daemon/setup/listening_sockets.h"
#include "wire/logging.h"

#include <lastcall/systemd/notify.h>

namespace lastcall {

// Threads: the loop's.
class DaemonHandover final : private HandoverEffects {
 public:
  struct Parts {
    DaemonLoop& loop;
    const Clock& clock;
    const Logger& logger;
    const ProgramImage& image;
    const Setup& setup;
    const SocketBinder& binder;
    const Hosts& hosts;
    Supervisor& supervisor;
    AdminDoor& door;
    EndOfListening& ending;
    OffloadedReadings& readings;
    Reload& reload;
    ContinuedReload& continued;
    const SystemdNotifier& systemd;
    Instant started;
    // Signals that come from now on are for the next build to hear.
    Callback stop_hearing;
    // The admin's callers and signals are heard again.
    Callback hear_again;
    // Nothing has come of it, and that was told.
    Callback over;
  };
  explicit DaemonHandover(Parts parts);

  void Begin(UniqueFd binary, const Cause& by);
  // See Handover::Abort.
  void Abort(const Error& why) { handover_.Abort(why); }
  const Handover& handover() const { return handover_; }

 private:
  void BeginCheck(int binary, Proved proved) override;
  void EndCheck() override { check_.reset(); }
  void BeginLeave(uint64_t number, Callback gone) override;
  bool HasLeft() override { return parts_.readings.waiting() == 0; }
  void Quiesce() override;
  Error Execute(int binary) override;
  void GoOn(const Error& why, bool left) override;

  StateWriter Save() const;

  const Parts parts_;
  Handover handover_;
  std::optional<ResumeCheck> check_;
};

}  // namespace lastcall

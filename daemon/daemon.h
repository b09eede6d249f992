// The daemon: configuration, sockets, processes, admin and signals put together around one loop.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "daemon/admin/door.h"
#include "daemon/backend.h"
#include "daemon/conclusion.h"
#include "daemon/daemon_handover.h"
#include "daemon/loop.h"
#include "daemon/orphans.h"
#include "daemon/process/hosts.h"
#include "daemon/reload/continued.h"
#include "daemon/reload/readings.h"
#include "daemon/reload/reload.h"
#include "daemon/setup/end_of_listening.h"
#include "daemon/setup/listening_sockets.h"
#include "daemon/setup/setup.h"
#include "daemon/setup/socket_keeper.h"
#include "daemon/status.h"
#include "daemon/status_feed.h"
#include "daemon/stop_progress.h"
#include "daemon/wall_clock_watch.h"
#include "daemon/watchdog.h"
#include "wire/logging.h"

#include <lastcall/event/end_in_time.h>
#include <lastcall/signals/signals.h>
#include <lastcall/supervisor/supervisor.h>
#include <lastcall/systemd/notify.h>

namespace lastcall {

// Everything runs in the thread of Run, but for the admin's calls and the signals, which post to it.
class Daemon final : private SupervisorObserver, private ReloadOwner {
 public:
  // `setup`: what is to run. `host_program`: lastcall-host.
  Daemon(Setup setup, ProgramImage image, std::string host_program, Logger& logger);
  ~Daemon() override;

  // Binds every socket, the admin's first: a second daemon is refused there. `names`: every host
  // that SocketBinder::Unknown has. Fails: as Listener::Bind, with the server's name.
  Result<> Bind(const HostNames& names);
  // Instead: goes on where another build of it was. Order: the setup is SetupIn(state).
  void Resume(const state::v1::State& state);
  // Blocks: until stopped. Returns the exit code.
  int Run();

 private:
  void StageEntered(Stage stage) override;
  void ReloadRequested(const Cause& by) override;
  void DumpRequested() override;
  void Changed() override { feed_.Changed(); }
  void Retired(const Receipt& receipt) override;
  void Finished(const Receipt& receipt) override;

  void BeginHandover(UniqueFd binary, const Cause& by) override;
  void BeforeBind() override { ending_.End(); }
  void Changing() override { systemd_.Reloading("reloading"); }
  void TookEffect(const Setup& before,
                  const std::set<std::shared_ptr<const Listener>>& dropped) override;
  void Noted() override { feed_.Changed(); }

  Result<> BeginReplace(const std::string& process, const Cause& by,
                        SocketKeeper::Replaced replaced);
  void Assemble(Supervisor::Resumed* resumed);
  admin::v1::Status Status() const;
  std::string Served() const;
  Result<> BeginHearing();
  void Start();
  void GoOn();
  void End();
  void Refresh();

  Setup setup_;  // what runs
  const ProgramImage image_;
  Logger& logger_;
  const Log log_;
  const SteadyClock clock_;
  EndInTime end_in_time_;
  Instant started_;
  const SystemdNotifier systemd_;
  DaemonLoop loop_;
  SocketBinder binder_{ActivationSockets()};
  StopProgress stop_progress_;
  WallClockWatch clock_watch_;

  AdminDoor door_;
  Watchdog watchdog_;
  StatusFeed feed_;
  SocketKeeper socket_keeper_;
  EndOfListening ending_;
  Hosts hosts_;
  LastRetired last_retired_;
  std::optional<Supervisor> supervisor_;
  OffloadedReadings readings_;
  Conclusion conclusion_;
  std::optional<Reload> reload_;
  std::optional<DaemonHandover> handover_;
  std::optional<Backend> backend_;
  ContinuedReload continued_;  // from the build before, or to the next
  Cause resumed_by_;           // who had requested it
  std::optional<SignalReader> signals_;
  std::optional<OrphanReaper> orphans_;
};

}  // namespace lastcall

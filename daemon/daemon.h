// The daemon: configuration, sockets, processes, admin and signals put together around one loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/admin/door.h"
#include "daemon/admin/service.h"
#include "daemon/backend.h"
#include "daemon/handover/handover.h"
#include "daemon/handover/reexec.h"
#include "daemon/handover/resume_check.h"
#include "daemon/handover/saved_state.h"
#include "daemon/orphans.h"
#include "daemon/process/ended_calls.h"
#include "daemon/process/host_process.h"
#include "daemon/process/lingering_connections.h"
#include "daemon/process/who_serves.h"
#include "daemon/reload/continued.h"
#include "daemon/reload/readings.h"
#include "daemon/reload/reload.h"
#include "daemon/setup/end_of_listening.h"
#include "daemon/setup/listening_sockets.h"
#include "daemon/setup/preparation.h"
#include "daemon/setup/setup.h"
#include "daemon/setup/socket_keeper.h"
#include "daemon/status.h"
#include "daemon/stop_progress.h"
#include "daemon/wall_clock_watch.h"
#include "wire/logging.h"

#include <lastcall/event/end_in_time.h>
#include <lastcall/event/offload.h>
#include <lastcall/signals/signals.h>
#include <lastcall/supervisor/supervisor.h>
#include <lastcall/systemd/notify.h>

namespace lastcall {

// Everything runs in the thread of Run, but for the admin's calls and the signals, which post to
// it. How it hands itself to another build of itself is in daemon_reexec.cc.
class Daemon final : private SupervisorObserver,
                     private HostContext,
                     private ReloadOwner,
                     private HandoverEffects {
 public:
  // `setup`: what is to run. `host_program`: lastcall-host.
  Daemon(Setup setup, Self self, std::string host_program, Logger& logger);
  ~Daemon() override;

  // Binds every socket, the admin's first: a second daemon is refused there. `names`: every host
  // that SocketBinder::Unknown has. Fails: as Listener::Bind, with the server's name.
  Result<> Bind(const HostNames& names);
  // Instead: goes on where another build of it was. Order: the setup is SetupIn(state).
  void Resume(const state::v1::State& state);
  // Blocks: until stopped. Returns the exit code.
  int Run();

 private:
  // How long it waits for what ends by itself, before it goes or becomes another build.
  static constexpr std::chrono::seconds kLastMoment{1};

  void StageEntered(Stage stage) override;
  void ReloadRequested(const Cause& by) override;
  void DumpRequested() override;
  void Changed() override;
  void Retired(const Receipt& receipt) override;
  void Finished(const Receipt& receipt) override;

  LogLevel log_level() const override { return logger_.level(); }
  bool IsDraining(const std::string& server) const override;
  void Reported() override { Changed(); }
  bool WillBeServed(const std::string& address, const Process& leaving) const override {
    return lastcall::WillBeServed(address, leaving, *supervisor_, setup_.sockets,
                                  reload_->candidate());
  }
  void Ended(const std::vector<ServerView>& last) override { ended_calls_.Add(last); }
  void LeftBehind(std::vector<UniqueFd> connections) override {
    lingering_.Add(std::move(connections));
  }

  void BeginHandover(UniqueFd binary, const Cause& by) override;
  void BeforeBind() override { ending_.End(); }
  void Changing() override { systemd_.Reloading("reloading"); }
  void TookEffect(const Setup& before,
                  const std::set<std::shared_ptr<const Listener>>& dropped) override;
  void Noted() override { Changed(); }

  void BeginCheck(int binary, Proved proved) override;
  void EndCheck() override { check_.reset(); }
  void BeginLeave(uint64_t number, Callback gone) override;
  bool HasLeft() override { return readings_.waiting() == 0; }
  void Quiesce() override;
  Error Execute(int binary) override;
  void GoOn(const Error& why, bool left) override;

  ProcessSpec SpecOf(const Setup& setup, const std::string& process);
  Result<> BeginReplace(const std::string& process, const Cause& by,
                        SocketKeeper::Replaced replaced);
  void Assemble(Supervisor::Resumed* resumed);
  Result<> BeginAdmin();
  void RunOne();
  void ArmTimer();
  void Refresh();
  void Tick();
  void Publish();
  void Conclude(const Receipt& receipt, const Result<>& kept);
  void CloseAdmin();
  std::string Summary() const;
  void Say(LogLevel level, const std::string& message) { log_(level, message); }

  admin::v1::Status Status();
  void Post(Callback run);

  StateWriter Save() const;
  void GoOnWithReload();

  Setup setup_;  // what runs
  const Self self_;
  const std::string host_program_;
  Logger& logger_;
  const Log log_;
  const SteadyClock clock_;
  EndInTime end_in_time_;
  Instant started_;
  const SystemdNotifier systemd_;
  SocketBinder binder_{ActivationSockets()};

  boost::asio::io_context loop_{1};
  boost::asio::steady_timer timer_{loop_};  // the supervisor's next instant
  Instant armed_ = kNever;
  StopProgress stop_progress_{
      loop_,
      clock_,
      {.end = [this] { return supervisor_->lifecycle().plan().end; },
       .promise = [this](Duration length) { systemd_.ExtendTimeout(length); },
       .refresh = [this] { Refresh(); }}};
  WallClockWatch clock_watch_{
      loop_, clock_, [this](Duration jump) { Say(LogLevel::kWarning, DescribeJump(jump)); }};
  bool publish_pending_ = false;
  bool finished_ = false;  // nothing is left but to say so
  bool over_ = false;

  AdminDoor door_{loop_, clock_, log_};
  SocketKeeper socket_keeper_;
  EndOfListening ending_{loop_};
  LingeringConnections lingering_{loop_};
  EndedCalls ended_calls_;
  LastRetired last_retired_;
  std::optional<Supervisor> supervisor_;
  OffloadedReadings readings_;
  std::optional<Reload> reload_;
  std::optional<Handover> handover_;
  std::optional<Backend> backend_;
  std::optional<ResumeCheck> check_;
  ContinuedReload continued_;  // from the build before, or to the next
  Cause resumed_by_;           // who had asked for it
  std::optional<SignalReader> signals_;
  std::optional<OrphanReaper> orphans_;
  int exit_code_ = 0;
};

}  // namespace lastcall

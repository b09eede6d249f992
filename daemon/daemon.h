// The daemon: configuration, sockets, processes, admin and signals put together around one loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "daemon/admin/service.h"
#include "daemon/admin/socket.h"
#include "daemon/admin/watch_hub.h"
#include "daemon/config/config.h"
#include "daemon/handover/reexec.h"
#include "daemon/handover/resume_check.h"
#include "daemon/orphans.h"
#include "daemon/process/ended_calls.h"
#include "daemon/process/host_process.h"
#include "daemon/process/lingering_connections.h"
#include "daemon/reload/trial.h"
#include "daemon/setup/fingerprints.h"
#include "daemon/setup/listening_sockets.h"
#include "daemon/setup/name_lookup.h"
#include "daemon/setup/preparation.h"
#include "daemon/setup/socket_watch.h"
#include "daemon/wall_clock_watch.h"
#include "wire/logging.h"

#include <lastcall/base/token_bucket.h>
#include <lastcall/event/end_in_time.h>
#include <lastcall/event/offload.h>
#include <lastcall/signals/signals.h>
#include <lastcall/supervisor/supervisor.h>
#include <lastcall/systemd/notify.h>

namespace lastcall {

// Everything runs in the thread of Run, but for the admin's calls and the signals, which post to
// it. What it tells of itself is in daemon_status.cc, how it reloads in daemon_reload.cc, what it
// reads before in daemon_prepare.cc, how it executes another build of itself in daemon_reexec.cc,
// how it keeps its admin socket in daemon_admin.cc, and the others in daemon_sockets.cc.
class Daemon final : private SupervisorObserver, private AdminBackend, private HostContext {
 public:
  // `host_program`: lastcall-host. `prepared`: without problems.
  Daemon(Prepared prepared, Self self, std::string host_program, Logger& logger);
  ~Daemon() override;

  // Binds every socket, the admin's first: a second daemon is refused there. `names`: every host
  // that SocketBinder::Unknown has. Fails: as Listener::Bind, with the server's name.
  Result<> Bind(const HostNames& names);
  // Instead: goes on where another build of it was. Order: the configuration is ConfigIn(state).
  void Resume(const state::v1::State& state);
  // Blocks: until stopped. Returns the exit code.
  int Run();

 private:
  // How long admin callers have to read their last answer.
  static constexpr std::chrono::seconds kAdminGrace{1};
  // Threads that read, those that hang included: that many are needed then alone.
  static constexpr size_t kReaders = 16;
  static constexpr size_t kTrials = 4;

  // A configuration that could take the place of the current one.
  struct Candidate {
    Prepared prepared;
    Changes changes;
    HostNames names;
    Sockets sockets;
  };
  // A reload in progress.
  struct Attempt {
    Cause by;
    std::optional<Candidate> candidate;  // empty: it is being prepared
  };
  // A reload that found another lastcalld on disk, on its way to it.
  struct Handover {
    explicit Handover(boost::asio::io_context& loop) : admin_patience(loop) {}

    Cause by;
    uint64_t reload = 0;  // what its callers ask the new build for
    UniqueFd binary;
    Stamp stamp;  // of what proves itself
    std::optional<ResumeCheck> check;
    bool admin_gone = false;  // nothing stands in the way any more
    boost::asio::steady_timer admin_patience;
  };
  // A reload that began in the build before this one.
  struct ContinuedReload {
    uint64_t reload = 0;
    Cause by;
    std::optional<Result<admin::v1::ReloadReply>> outcome = {};
    std::vector<std::function<void(Result<admin::v1::ReloadReply>)>> asking = {};
  };
  struct ReloadCaller {
    Cause by;
    bool wait;
    std::function<void(Result<admin::v1::ReloadReply>)> answer;
  };

  void StageEntered(Stage stage) override;
  void ReloadRequested(const Cause& by) override;
  void DumpRequested() override;
  void Changed() override;
  void Retired(const Receipt& receipt) override;
  void Finished(const Receipt& receipt) override;

  void Post(std::function<void()> question) override;
  void BeginStatus(std::function<void(admin::v1::Status)> answer) override;
  admin::v1::ShutdownReply Shutdown(const admin::v1::ShutdownRequest& request,
                                    const Cause& by) override;
  void BeginReload(const admin::v1::ReloadRequest& request, const Cause& by,
                   std::function<void(Result<admin::v1::ReloadReply>)> answer) override;
  void BeginRestart(const admin::v1::RestartRequest& request, const Cause& by,
                    std::function<void(Result<admin::v1::ReloadReply>)> answer) override;
  Result<bool> SetDraining(const admin::v1::SetDrainingRequest& request, const Cause& by) override;
  Result<std::string> SetLogLevel(const std::string& level, const Cause& by) override;
  admin::v1::GetConfigReply EffectiveConfig() override;

  LogLevel log_level() const override { return logger_.level(); }
  bool IsDraining(const std::string& server) const override;
  void Reported() override { Changed(); }
  bool WillBeServed(const std::string& address, const Process& leaving) const override;
  void Ended(const std::vector<ServerView>& last) override { ended_calls_.Add(last); }
  void LeftBehind(std::vector<UniqueFd> connections) override {
    lingering_.Add(std::move(connections));
  }

  Supervisor::Member MemberOf(const Config& config, const std::string& process,
                              const Sockets& sockets);
  Supervisor::Options SupervisorOptions(const Config& config) const;
  void MakeSupervisor();
  Result<> BeginAdmin();
  template <class F>
  void ForEachProcess(F action);
  void RunOne();
  void ArmTimer();
  void BeginRefresh();
  void Tick();
  void PromiseEnd();
  void Publish();
  void Conclude(const Receipt& receipt, const Result<>& kept);
  void EndAdmin();
  std::string Summary() const;
  void Say(LogLevel level, const std::string& message) { log_(level, message); }

  admin::v1::Status MakeStatus();
  void AddProcess(const Supervisor::State& state, admin::v1::Status& status) const;
  void AddServer(const ServerConfig& config, admin::v1::Status& status) const;
  void AddOldestCalls(admin::v1::Status& status) const;
  void NoteReload(const Cause& by, const admin::v1::ReloadReply& reply, const std::string& refusal);

  Result<> ClaimAdminSocket();
  Result<> StartAdmin();
  void AwaitAdminChanges();
  void KeepAdminSocket();
  void ListenAgain();
  void LeaveAdminSocket();

  void WatchSockets();
  void KeepSockets();
  Result<bool> Mend(const ServerConfig& server, Bound& bound);
  bool ServeAgain(const std::string& process);
  void LookAgainAtSockets();
  bool Has(const Supervisor::State& state, const Process* process,
           const std::string& address) const;
  void BeginEndListening(const std::set<std::shared_ptr<const Listener>>& sockets,
                         Duration last_call);
  void EndListening();

  void WatchClock();
  void AwaitClock();

  using AnotherBuild = std::optional<UniqueFd>;

  std::optional<Error> OnTheWayOut() const;
  template <class T>
  void BeginReading(std::shared_ptr<Step> step, std::function<T()> read,
                    std::function<void(Result<T>)> done);
  void BeginLook(std::function<void(Result<AnotherBuild>)> done);
  void BeginPrepare(std::function<void(Result<Candidate>)> done);
  Result<Candidate> Judge(Prepared prepared) const;
  void BeginContents(std::function<void(Result<Contents>)> done);
  void BeginNames(std::set<std::string> hosts, std::function<void(const HostNames&)> done);
  void BeginTrial(const Candidate& candidate, std::function<void(const Result<TrialResult>&)> done);
  void BeginDryRun(const std::function<void(Result<admin::v1::ReloadReply>)>& answer);
  void NextReload();
  void NextReloadIfFree();
  void BuildKnown(Result<AnotherBuild> another);
  void BeginChanges();
  void RefuseReload(const Error& error);
  void ChangeOver(const TrialResult& trial);
  void Restart(const admin::v1::RestartRequest& request, const Cause& by, const Contents& contents,
               const std::function<void(Result<admin::v1::ReloadReply>)>& answer);
  Error CheckRestart(const std::string& process) const;
  void ReloadOver(const std::vector<Supervisor::Outcome>& outcomes);
  void ForgetServers();
  void TakeEffect(const std::vector<Supervisor::Outcome>& outcomes);

  state::v1::State Save(std::vector<int>& descriptors) const;
  void SaveConfig(state::v1::State& state) const;
  void BeginHandover(UniqueFd binary);
  void HandoverFailed(const Error& error);
  void Leave();
  bool LeavesNow() const;
  void Reexecute();
  void Continued(Result<admin::v1::ReloadReply> reply);
  void BeginContinued(uint64_t reload, std::function<void(Result<admin::v1::ReloadReply>)> answer);
  void SendOn(const std::function<void(Result<admin::v1::ReloadReply>)>& answer) const;
  void GoOnWithReload();
  static void AddOwnChange(admin::v1::ReloadReply& reply);

  Config config_;
  Contents contents_;  // of what runs
  Roles roles_;
  std::vector<std::string> warnings_;  // of the start
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
  boost::asio::steady_timer timer_{loop_};    // the supervisor's next instant
  boost::asio::steady_timer refresh_{loop_};  // of the watchers' view while stopping
  Instant armed_ = kNever;
  Instant promised_{};  // to systemd: when the stop is over
  WallClockWatch clock_watch_{clock_};
  boost::asio::posix::stream_descriptor clock_changes_{loop_};
  bool publish_pending_ = false;
  bool finished_ = false;  // nothing is left but to say so
  bool over_ = false;

  WatchHub hub_;
  std::optional<AdminSocket> admin_socket_;
  boost::asio::posix::stream_descriptor admin_changes_{loop_};  // in its folder
  boost::asio::steady_timer admin_retry_{loop_};
  bool admin_lost_ = false;  // it could not be made again, and that was said
  Sockets sockets_;
  SocketWatch socket_watch_{loop_, [this] { KeepSockets(); }};
  boost::asio::steady_timer socket_retry_{loop_};
  std::vector<std::shared_ptr<const Listener>> ending_;  // nobody will accept there any more
  boost::asio::steady_timer last_call_{loop_};           // for those
  // A socket that is taken away as fast as it is mended must not keep the daemon busy.
  TokenBucket mending_{{.burst = 10, .per_second = 0.5}};
  std::set<std::string> lost_sockets_;  // that they could not be recreated was said
  // Processes that lack a recreated socket; whether their replacement has begun.
  std::map<std::string, bool> unserved_;
  LingeringConnections lingering_{loop_};
  EndedCalls ended_calls_;
  std::map<std::string, admin::v1::Ended> last_retired_;  // of each process
  std::optional<admin::v1::Reload> last_reload_;
  std::optional<Supervisor> supervisor_;
  std::optional<Attempt> attempt_;       // a reload is in progress
  std::vector<ReloadCaller> reloading_;  // who waits for it
  std::vector<ReloadCaller> waiting_;    // for the one after it
  std::optional<Handover> handover_;     // another build takes over
  ContinuedReload continued_;
  // What takes time. Trials end children when nobody wants their answer any more, and are waited
  // for a little; the rest may hang with a file system or a name service, and is left.
  Offload reading_;
  Offload trials_;
  std::unique_ptr<AdminServer> admin_;
  std::optional<SignalReader> signals_;
  std::optional<OrphanReaper> orphans_;
  int exit_code_ = 0;
};

// The configuration that ran when the state was saved. Fails: kFailedPrecondition, this build does
// not understand it.
Result<Config> ConfigIn(const state::v1::State& state);

}  // namespace lastcall

// What happens to the daemon while it runs, and what follows for the rest of it.
#include <utility>

#include "daemon/daemon.h"

#include <lastcall/net/acceptor.h>

namespace lastcall {

std::string Daemon::Served() const {
  const auto counted = [](size_t count, const char* one, const char* many) {
    return std::to_string(count) + " " + (count == 1 ? one : many);
  };
  size_t stalled = 0;
  std::string frozen;
  for (const Member& member : supervisor_->members()) {
    if (!member.current().frozen.empty())
      frozen += "; process " + member.spec().name + " is frozen";
  }
  ForEachProcess(*supervisor_,
                 [&](const Process& process) { stalled += CountStalled(process.servers()); });
  return "serving " + counted(setup_.config.servers.size(), "server", "servers") + " in " +
         counted(setup_.config.processes.size(), "process", "processes") + frozen +
         (stalled == 0 ? ""
                       : "; " + counted(stalled, "call is", "calls are") +
                             " stalled, see lastcallctl calls --stalled");
}

void Daemon::StageEntered(Stage stage) {
  if (stage == Stage::kServing) {
    systemd_.Ready(Served());
    loop_.Post([this] { socket_keeper_.Begin(); });
  }
  if (!IsStopping(stage)) return;
  const Error why = supervisor_->CheckServing().error();
  if (stage != Stage::kStopped) {
    // From the first request on there is no way back.
    systemd_.Stopping("stopping: " + std::string(Name(stage)));
    stop_progress_.Begin();
    socket_keeper_.End();
    if (stage != Stage::kDelay) {
      ending_.Begin(AllOf(setup_.sockets),
                    stage == Stage::kGrace ? Acceptor::kLastCall : Duration::zero());
    }
    handover_->Abort(why);
  }
  readings_.Cancel(why);
  // Now: the end may be a moment away.
  if (stage != Stage::kStopped) feed_.ChangedNow();
}

void Daemon::ReloadRequested(const Cause& by) {
  // Who sent it reads the log.
  reload_->Begin(by, true, [](const Result<ReloadReport>&) {});
}

void Daemon::DumpRequested() {
  for (const auto& member : supervisor_->members()) {
    ForEachIncarnation(member, [&](const Incarnation& one) {
      log_(LogLevel::kWarning, "dump: process " + member.spec().name + " incarnation " +
                                   std::to_string(one.number) + " " + std::string(Name(one.phase)) +
                                   ", stage " + std::string(Name(one.stage)));
    });
  }
  ForEachProcess(*supervisor_, [](Process& process) { process.Dump(); });
}

// While stopping, watchers see the calls in flight go down.
void Daemon::Refresh() {
  if (!feed_.watched()) return;
  ForEachProcess(*supervisor_,
                 [this](Process& process) { process.BeginQuery([this] { feed_.Changed(); }); });
  feed_.Changed();
}

void Daemon::Retired(const Receipt& receipt) {
  last_retired_.Add(receipt);
  const bool clean = receipt.exit_code == 0 && receipt.failure.empty();
  log_(clean ? LogLevel::kInfo : LogLevel::kWarning,
       "process " + receipt.subject + ": incarnation " + std::to_string(receipt.incarnation) +
           " retired: " + receipt.Outcome());
  log_(clean ? LogLevel::kDebug : LogLevel::kWarning, "receipt: " + receipt.ToJson());
}

void Daemon::Finished(const Receipt& receipt) {
  conclusion_.Begin(receipt, setup_.config.state_dir);
}

// Another lastcalld is there: everything else is for that one to decide.
void Daemon::BeginHandover(UniqueFd binary, const Cause& by) {
  handover_->Begin(std::move(binary), by);
}

void Daemon::TookEffect(const Setup& before,
                        const std::set<std::shared_ptr<const Listener>>& dropped) {
  const Config& config = setup_.config;
  if (config.log_level != before.config.log_level) {
    (void)backend_->SetLogLevel(config.log_level, {.kind = Cause::Kind::kProgram, .who = "reload"});
  }
  supervisor_->SetOptions(SupervisorOptions(config));
  for (const ProcessConfig& process : config.processes) {
    supervisor_->SetSpec(hosts_.SpecOf(setup_, process.name));
  }
  hosts_.ended_calls().KeepOnly(
      [this](const std::string& name) { return setup_.sockets.contains(name); });
  door_.SetRoles(setup_.roles);
  // A stop may have begun meanwhile: in its delay they are still served.
  if (supervisor_->stage() == Stage::kDelay) {
    ending_.Defer(dropped);
  } else {
    ending_.Begin(dropped, Acceptor::kLastCall);
  }
  loop_.Post([this] { socket_keeper_.Begin(); });  // not in the middle of the supervisor's change
  if (supervisor_->stage() == Stage::kServing) systemd_.Ready(Served());
}

}  // namespace lastcall

// How the daemon executes its own new binary in place, and goes on there.
#include <utility>

#include "daemon/daemon.h"
#include "daemon/handover/saved_state.h"
#include "wire/convert.h"

namespace lastcall {
StateWriter Daemon::Save() const {
  StateWriter writer;
  state::v1::State& state = writer.state;
  state.set_started_ns(ToProto(started_));
  state.set_log_level(ToProto(logger_.level()));
  *state.mutable_admin() = ToProto(door_.socket().listener(), writer);
  state.set_admin_lock(writer.Keep(door_.socket().lock()));
  lastcall::Save(setup_, writer);
  lastcall::Save(binder_.passed(), writer);
  lastcall::Save(*supervisor_, writer);
  for (const int fd : lingering_.fds()) state.add_lingering(writer.Keep(fd));
  ended_calls_.Save(state);
  if (handover_->active()) {
    state.mutable_reload()->set_id(handover_->number());
    *state.mutable_reload()->mutable_by() = ToProto(handover_->by());
  }
  return writer;
}

// Touches nothing of what it takes over: a check does as much.
void Daemon::Resume(const state::v1::State& state) {
  started_ = FromProto(state.started_ns());
  logger_.queue().AddDropped(state.log_lines_dropped());
  door_.TakeOver(UniqueFd(state.admin_lock()), FromProto(state.admin()));
  ended_calls_.Load(state);
  lingering_.Add({state.lingering().begin(), state.lingering().end()});
  binder_ = SocketBinder(PassedIn(state));
  auto resumed = ResumedFrom(
      state, [this](const std::string& process) { return SpecOf(setup_, process); },
      [this](const std::string& process, uint32_t incarnation, const state::v1::Host& host) {
        return std::make_unique<HostProcess>(loop_, process, host, incarnation,
                                             static_cast<HostContext&>(*this), log_);
      });
  Assemble(&resumed);
  if (state.has_reload()) {
    continued_.Begin(state.reload().id());
    resumed_by_ = FromProto(state.reload().by());
  }
}

// Another lastcalld is there: everything else is for that one to decide.
void Daemon::BeginHandover(UniqueFd binary, const Cause& by) {
  handover_->Begin(std::move(binary), by, self_.program);
}

void Daemon::BeginCheck(int binary, Proved proved) {
  StateWriter saved = Save();
  check_.emplace(loop_, self_, setup_.config.ready);
  check_->Begin(binary, std::move(saved.state), saved.descriptors,
                [this, proved = std::move(proved)](const Result<>& passed) {
                  check_.reset();
                  proved(passed);
                });
}

// The admin's callers first of all, so that whoever comes again waits for the new build.
void Daemon::BeginLeave(uint64_t number, Callback gone) {
  continued_.Begin(number);
  door_.BeginLeave(std::move(gone));
  reload_->SendOn(number);
  readings_.Cancel(reload_->CheckStays().error());
}

void Daemon::Quiesce() {
  signals_.reset();
  loop_.poll();
  readings_.WaitForTrials(After(clock_.Now(), kLastMoment));  // they reap their children
}

Error Daemon::Execute(int binary) {
  ending_.End();
  StateWriter saved = Save();
  // Whoever reads the log gets a moment; the new build has to say what is lost with this one.
  logger_.queue().Flush();
  saved.state.set_log_lines_dropped(logger_.queue().Suspend());
  const auto state = Pack(saved.state);
  const Error error =
      state ? lastcall::Execute(binary, self_, state->get(), saved.descriptors, systemd_.address())
            : state.error();
  logger_.queue().Resume();
  return error;
}

void Daemon::GoOn(const Error& why, bool left) {
  if (left) {
    continued_.Settle(tl::unexpected(why));
    if (!BeginAdmin()) over_ = true;
  }
  reload_->HandoverFailed(why);
  if (finished_) CloseAdmin();
}

void Daemon::GoOnWithReload() {
  Say(LogLevel::kInfo, "lastcalld " LASTCALL_VERSION " resumed after re-exec");
  systemd_.Ready(Summary());
  reload_->Begin(resumed_by_, true, [this](Result<ReloadReport> report) {
    if (report) report->another_build = true;
    continued_.Settle(report);
  });
}

}  // namespace lastcall

#include "daemon/daemon_handover.h"

#include <utility>

#include "wire/convert.h"

namespace lastcall {

DaemonHandover::DaemonHandover(Parts parts)
    : parts_(std::move(parts)),
      handover_(parts_.supervisor, static_cast<HandoverEffects&>(*this), parts_.loop.executor(),
                parts_.clock, parts_.logger.log()) {}

void DaemonHandover::Begin(UniqueFd binary, const Cause& by) {
  handover_.Begin(std::move(binary), by, parts_.image.program);
}

StateWriter DaemonHandover::Save() const {
  StateWriter writer;
  state::v1::State& state = writer.state;
  state.set_started_ns(ToProto(parts_.started));
  state.set_log_level(ToProto(parts_.logger.level()));
  *state.mutable_admin() = ToProto(parts_.door.socket().listener(), writer);
  state.set_admin_lock(writer.Keep(parts_.door.socket().lock()));
  lastcall::Save(parts_.setup, writer);
  lastcall::Save(parts_.binder.passed(), writer);
  lastcall::Save(parts_.supervisor, writer);
  for (const int fd : parts_.hosts.lingering().fds()) state.add_lingering(writer.Keep(fd));
  parts_.hosts.ended_calls().Save(state);
  if (handover_.active()) {
    state.mutable_reload()->set_id(handover_.number());
    *state.mutable_reload()->mutable_by() = ToProto(handover_.by());
  }
  return writer;
}

void DaemonHandover::BeginCheck(int binary, Proved proved) {
  StateWriter saved = Save();
  check_.emplace(parts_.loop.context(), parts_.image, parts_.setup.config.ready);
  check_->Begin(binary, std::move(saved.state), saved.descriptors,
                [this, proved = std::move(proved)](const Result<>& passed) {
                  check_.reset();
                  proved(passed);
                });
}

// The admin's callers first of all, so that whoever comes again waits for the new build.
void DaemonHandover::BeginLeave(uint64_t number, Callback gone) {
  parts_.continued.Begin(number);
  parts_.door.BeginLeave(std::move(gone));
  parts_.reload.SendOn(number);
  parts_.readings.Cancel(parts_.reload.CheckStays().error());
}

void DaemonHandover::Quiesce() {
  parts_.stop_hearing();
  parts_.loop.RunReady();
  // They reap their children.
  parts_.readings.WaitForPreflights(After(parts_.clock.Now(), Conclusion::kLastMoment));
}

Error DaemonHandover::Execute(int binary) {
  parts_.ending.End();
  StateWriter saved = Save();
  const LogQueue& log = parts_.logger.queue();
  // Whoever reads the log gets a moment; the new build has to say what is lost with this one.
  log.Flush();
  saved.state.set_log_lines_dropped(log.Suspend());
  const auto state = Pack(saved.state);
  const Error error = state ? lastcall::Execute(binary, parts_.image, state->get(),
                                                saved.descriptors, parts_.systemd.Environment())
                            : state.error();
  log.Resume();
  return error;
}

void DaemonHandover::GoOn(const Error& why, bool left) {
  if (left) {
    parts_.continued.Settle(tl::unexpected(why));
    parts_.hear_again();
  }
  parts_.reload.HandoverFailed(why);
  parts_.over();
}

}  // namespace lastcall

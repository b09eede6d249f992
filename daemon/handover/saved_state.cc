#include "daemon/handover/saved_state.h"

#include <array>
#include <utility>

#include "wire/convert.h"

namespace lastcall {
namespace {

// 0 in a message: never.
int64_t Saved(Instant instant) { return instant == kNever ? 0 : ToNumber(instant); }
Instant InstantIn(int64_t saved) { return saved == 0 ? kNever : InstantOf(saved); }

Phase PhaseNamed(const std::string& name) {
  for (const Phase phase : {Phase::kStarting, Phase::kRunning, Phase::kStopping, Phase::kWaiting}) {
    if (Name(phase) == name) return phase;
  }
  return Phase::kDown;
}

}  // namespace

state::v1::Life ToState(const Life& life) {
  state::v1::Life saved;
  saved.set_phase(std::string(Name(life.phase)));
  saved.set_incarnation(life.incarnation);
  saved.set_stage(std::string(Name(life.stage)));
  saved.set_phase_began_ns(ToNumber(life.phase_began));
  saved.set_began_ns(ToNumber(life.incarnation_began));
  saved.set_accepting_since_ns(Saved(life.accepting_since));
  saved.set_until_ns(Saved(life.until));
  saved.set_start_error(life.start_error);
  saved.set_bad_configuration(life.bad_configuration);
  saved.set_killed(life.killed);
  saved.set_replaced_by(life.replaced_by);
  if (life.receipt) *saved.mutable_receipt() = ToProto(*life.receipt);
  return saved;
}

Life FromState(const state::v1::Life& saved) {
  Life life;
  life.phase = PhaseNamed(saved.phase());
  life.incarnation = saved.incarnation();
  life.stage = StageNamed(saved.stage()).value_or(Stage::kStarting);
  life.phase_began = InstantOf(saved.phase_began_ns());
  life.incarnation_began = InstantOf(saved.began_ns());
  life.accepting_since = InstantIn(saved.accepting_since_ns());
  life.until = InstantIn(saved.until_ns());
  life.start_error = saved.start_error();
  life.bad_configuration = saved.bad_configuration();
  life.killed = saved.killed();
  life.replaced_by = saved.replaced_by();
  if (saved.has_receipt()) life.receipt = FromProto(saved.receipt());
  return life;
}

state::v1::Member ToState(const Supervisor::State& state) {
  state::v1::Member saved;
  saved.set_name(state.member.name);
  for (const std::string& server : state.member.servers) saved.add_servers(server);
  saved.set_removed(state.removed);
  saved.set_stays_down(state.stays_down);
  saved.set_incarnations(state.incarnations);
  saved.set_restarts(state.restarts);
  saved.set_last_failure(state.last_failure);
  saved.set_last_failed(state.last_failed);
  saved.set_back_off_ns(state.back_off.next().count());
  return saved;
}

Supervisor::State FromState(const state::v1::Member& saved) {
  Supervisor::State state;
  state.member.name = saved.name();
  state.member.servers = {saved.servers().begin(), saved.servers().end()};
  state.removed = saved.removed();
  state.stays_down = saved.stays_down();
  state.incarnations = saved.incarnations();
  state.restarts = saved.restarts();
  state.last_failure = saved.last_failure();
  state.last_failed = saved.last_failed();
  state.back_off = BackOff(Duration(saved.back_off_ns()));
  return state;
}

state::v1::Socket ToState(const Listener& listener) {
  state::v1::Socket saved;
  saved.set_address(listener.address());
  saved.set_fd(listener.fd());
  saved.set_path(listener.path().name);
  saved.set_device(listener.path().device);
  saved.set_inode(listener.path().inode);
  return saved;
}

Listener FromState(const state::v1::Socket& saved) {
  if (saved.text().starts_with("systemd:")) return Listener(UniqueFd(saved.fd()), saved.address());
  return Listener(UniqueFd(saved.fd()), saved.address(),
                  {saved.path(), saved.device(), saved.inode()});
}

}  // namespace lastcall

#include "daemon/handover/saved_state.h"

#include <unistd.h>

#include <utility>

#include "daemon/admin/roles_of.h"
#include "wire/convert.h"

namespace lastcall {
namespace {

// 0 in a message: never.
int64_t NeverAsZero(Instant instant) { return instant == kNever ? 0 : ToProto(instant); }
Instant ZeroAsNever(int64_t saved) { return saved == 0 ? kNever : FromProto(saved); }

int64_t ToUnix(WallTime time) { return time.time_since_epoch().count(); }
WallTime FromUnix(int64_t nanoseconds) { return WallTime(Duration(nanoseconds)); }

template <class Saved>
std::vector<Roles::Group> GroupsIn(const Saved& saved) {
  std::vector<Roles::Group> groups;
  for (const state::v1::Group& one : saved) {
    groups.push_back({one.name(), one.has_gid() ? std::optional<gid_t>(one.gid()) : std::nullopt});
  }
  return groups;
}

}  // namespace

state::v1::Incarnation::Phase ToProto(Phase phase) {
  switch (phase) {
    case Phase::kStarting: return state::v1::Incarnation::PHASE_STARTING;
    case Phase::kRunning: return state::v1::Incarnation::PHASE_RUNNING;
    case Phase::kStopping: return state::v1::Incarnation::PHASE_STOPPING;
    case Phase::kWaiting: return state::v1::Incarnation::PHASE_WAITING;
    case Phase::kDown: return state::v1::Incarnation::PHASE_DOWN;
  }
  return state::v1::Incarnation::PHASE_UNSPECIFIED;
}

Phase FromProto(state::v1::Incarnation::Phase phase) {
  switch (phase) {
    case state::v1::Incarnation::PHASE_STARTING: return Phase::kStarting;
    case state::v1::Incarnation::PHASE_RUNNING: return Phase::kRunning;
    case state::v1::Incarnation::PHASE_STOPPING: return Phase::kStopping;
    case state::v1::Incarnation::PHASE_WAITING: return Phase::kWaiting;
    default: return Phase::kDown;
  }
}

state::v1::Incarnation ToProto(const Incarnation& incarnation) {
  state::v1::Incarnation saved;
  saved.set_phase(ToProto(incarnation.phase));
  saved.set_number(incarnation.number);
  saved.set_stage(ToProto(incarnation.stage));
  saved.set_phase_began_ns(ToProto(incarnation.phase_began));
  saved.set_began_ns(ToProto(incarnation.began));
  saved.set_accepting_since_ns(NeverAsZero(incarnation.accepting_since));
  saved.set_until_ns(NeverAsZero(incarnation.until));
  saved.set_start_error(incarnation.start_error);
  saved.set_bad_configuration(incarnation.bad_configuration);
  saved.set_killed(incarnation.killed);
  saved.set_replaced_by(incarnation.replaced_by);
  if (incarnation.receipt) *saved.mutable_receipt() = ToProto(*incarnation.receipt);
  return saved;
}

Incarnation FromProto(const state::v1::Incarnation& saved) {
  Incarnation incarnation;
  incarnation.phase = FromProto(saved.phase());
  incarnation.number = saved.number();
  incarnation.stage = FromProto(saved.stage()).value_or(Stage::kStarting);
  incarnation.phase_began = FromProto(saved.phase_began_ns());
  incarnation.began = FromProto(saved.began_ns());
  incarnation.accepting_since = ZeroAsNever(saved.accepting_since_ns());
  incarnation.until = ZeroAsNever(saved.until_ns());
  incarnation.start_error = saved.start_error();
  incarnation.bad_configuration = saved.bad_configuration();
  incarnation.killed = saved.killed();
  incarnation.replaced_by = saved.replaced_by();
  if (saved.has_receipt()) incarnation.receipt = FromProto(saved.receipt());
  return incarnation;
}

state::v1::Member ToProto(const Member& member) {
  state::v1::Member saved;
  saved.set_name(member.spec().name);
  for (const std::string& server : member.spec().servers) saved.add_servers(server);
  saved.set_removed(member.removed());
  saved.set_stays_down(member.stays_down());
  saved.set_incarnations(member.history().incarnations);
  saved.set_restarts(member.history().restarts);
  saved.set_last_failure(member.history().last_failure);
  saved.set_last_failed(member.history().last_failed);
  saved.set_back_off_ns(member.history().back_off.next().count());
  for (const Instant at : member.history().frozen.replaced()) {
    saved.add_replaced_frozen_ns(ToProto(at));
  }
  return saved;
}

Member::Resumed FromProto(const state::v1::Member& saved) {
  Member::Resumed member;
  member.spec.name = saved.name();
  member.spec.servers = {saved.servers().begin(), saved.servers().end()};
  member.removed = saved.removed();
  member.stays_down = saved.stays_down();
  member.history.incarnations = saved.incarnations();
  member.history.restarts = saved.restarts();
  member.history.last_failure = saved.last_failure();
  member.history.last_failed = saved.last_failed();
  member.history.back_off = BackOff(Duration(saved.back_off_ns()));
  for (const int64_t at : saved.replaced_frozen_ns()) {
    member.history.frozen.Add(FromProto(at));
  }
  return member;
}

namespace {

Result<Config> ConfigIn(const state::v1::State& state) {
  auto config = ConfigFromText(state.config(), "the running configuration");
  if (!config) {
    return Fail(Code::kFailedPrecondition,
                "this build does not understand the configuration that runs; restart the daemon "
                "instead of reloading it: " +
                    Format(config.error()));
  }
  config->file = state.config_file();
  config->origins.clear();
  for (const state::v1::Origin& origin : state.origins()) {
    config->origins[origin.key()] = {origin.file(), origin.line()};
  }
  for (const state::v1::Tls& tls : state.tls()) {
    for (ServerConfig& server : config->servers) {
      if (server.name != tls.server()) continue;
      server.tls_pem = {tls.certificate(), tls.key(), tls.client_ca(),
                        FromUnix(tls.begins_unix_ns()), FromUnix(tls.expires_unix_ns())};
    }
  }
  return std::move(*config);
}

void SaveConfig(const Setup& setup, state::v1::State& state) {
  state.set_config_file(setup.config.file);
  state.set_config(ToToml(setup.config));
  for (const auto& [key, place] : setup.config.origins) {
    state::v1::Origin& origin = *state.add_origins();
    origin.set_key(key);
    origin.set_file(place.file);
    origin.set_line(place.line);
  }
  for (const ServerConfig& server : setup.config.servers) {
    if (!server.tls_pem) continue;
    state::v1::Tls& tls = *state.add_tls();
    tls.set_server(server.name);
    tls.set_certificate(server.tls_pem->certificate);
    tls.set_key(server.tls_pem->key);
    tls.set_client_ca(server.tls_pem->client_ca);
    tls.set_begins_unix_ns(ToUnix(server.tls_pem->begins));
    tls.set_expires_unix_ns(ToUnix(server.tls_pem->expires));
  }
}

void SaveGroups(const std::vector<Roles::Group>& groups,
                google::protobuf::RepeatedPtrField<state::v1::Group>& saved) {
  for (const Roles::Group& group : groups) {
    state::v1::Group& one = *saved.Add();
    one.set_name(group.name);
    if (group.gid) one.set_gid(*group.gid);
  }
}

state::v1::Incarnation SaveIncarnation(const Incarnation& incarnation, StateWriter& writer) {
  state::v1::Incarnation saved = ToProto(incarnation);
  const auto process = incarnation.process == nullptr ? std::nullopt : incarnation.process->Save();
  if (!process) return saved;
  saved.mutable_host()->ParseFromString(process->state);
  for (const int fd : process->descriptors) writer.Keep(fd);
  return saved;
}

}  // namespace

state::v1::Socket ToProto(const Listener& listener, StateWriter& writer) {
  state::v1::Socket saved;
  saved.set_address(listener.address());
  saved.set_fd(writer.Keep(listener.fd()));
  saved.set_path(listener.path().name);
  saved.set_device(listener.path().device);
  saved.set_inode(listener.path().inode);
  return saved;
}

Listener FromProto(const state::v1::Socket& saved) {
  if (saved.text().starts_with("systemd:")) return Listener(UniqueFd(saved.fd()), saved.address());
  return Listener(UniqueFd(saved.fd()), saved.address(),
                  {saved.path(), saved.device(), saved.inode()});
}

void Save(const Setup& setup, StateWriter& writer) {
  state::v1::State& state = writer.state;
  SaveConfig(setup, state);
  SaveGroups(setup.roles.operators(), *state.mutable_roles()->mutable_operators());
  SaveGroups(setup.roles.observers(), *state.mutable_roles()->mutable_observers());
  for (const auto& [process, parts] : setup.fingerprints) {
    state::v1::Contents& contents = *state.add_contents();
    contents.set_process(process);
    for (const auto& [name, part] : parts) (*contents.mutable_parts())[name] = part;
  }
  for (const auto& [server, all] : setup.sockets) {
    for (const Bound& bound : all) {
      state::v1::Socket& socket = *state.add_sockets() = ToProto(*bound.listener, writer);
      socket.set_server(server);
      socket.set_text(bound.text);
    }
  }
}

Result<Setup> SetupIn(const state::v1::State& state) {
  auto config = ConfigIn(state);
  if (!config) return tl::unexpected(config.error());
  Setup setup;
  setup.config = std::move(*config);
  setup.roles = state.has_roles() ? Roles(GroupsIn(state.roles().operators()),
                                          GroupsIn(state.roles().observers()), geteuid())
                                  : RolesOf(setup.config);
  for (const state::v1::Contents& contents : state.contents()) {
    setup.fingerprints[contents.process()] = {contents.parts().begin(), contents.parts().end()};
  }
  for (const ServerConfig& server : setup.config.servers) setup.sockets[server.name];
  for (const state::v1::Socket& saved : state.sockets()) {
    setup.sockets[saved.server()].push_back(
        {saved.text(), std::make_shared<const Listener>(FromProto(saved))});
  }
  return setup;
}

void Save(const ActivationSockets& passed, StateWriter& writer) {
  for (const auto& [name, fd] : passed.all()) {
    state::v1::PassedSocket& saved = *writer.state.add_passed();
    saved.set_name(name);
    saved.set_fd(writer.Keep(fd.get()));
  }
}

ActivationSockets PassedIn(const state::v1::State& state) {
  ActivationSockets::Sockets passed;
  for (const state::v1::PassedSocket& one : state.passed()) {
    passed.emplace(one.name(), UniqueFd(one.fd()));
  }
  return ActivationSockets(std::move(passed));
}

void Save(const Supervisor& supervisor, StateWriter& writer) {
  state::v1::State& state = writer.state;
  state.set_serving_since_ns(ToProto(supervisor.lifecycle().stage_began()));
  for (const Member& member : supervisor.members()) {
    if (member.removed() && member.retired().empty()) continue;
    state::v1::Member& saved = *state.add_members() = ToProto(member);
    *saved.mutable_current() = SaveIncarnation(member.current(), writer);
    for (const Incarnation& one : member.retired()) {
      *saved.add_retired() = SaveIncarnation(one, writer);
    }
  }
  for (const auto& [server, draining] : supervisor.draining()) {
    state::v1::Draining& one = *state.add_draining();
    one.set_server(server);
    *one.mutable_by() = ToProto(draining.by);
    one.set_since_ns(ToProto(draining.since));
  }
}

Supervisor::Resumed ResumedFrom(const state::v1::State& state, const SpecNamed& spec_named,
                                const HostFrom& host_from) {
  Supervisor::Resumed resumed;
  resumed.started = FromProto(state.started_ns());
  resumed.serving_since = FromProto(state.serving_since_ns());
  for (const state::v1::Member& saved : state.members()) {
    Member::Resumed& member = resumed.members.emplace_back(FromProto(saved));
    if (!member.removed) member.spec = spec_named(saved.name());
    const auto resume = [&](Incarnation& incarnation, const state::v1::Incarnation& one) {
      incarnation = FromProto(one);
      if (!one.has_host()) return;
      incarnation.process = host_from(saved.name(), incarnation.number, one.host());
    };
    resume(member.current, saved.current());
    for (const auto& one : saved.retired()) resume(member.retired.emplace_back(), one);
  }
  for (const state::v1::Draining& one : state.draining()) {
    resumed.draining[one.server()] = {FromProto(one.by()), FromProto(one.since_ns())};
  }
  return resumed;
}

}  // namespace lastcall

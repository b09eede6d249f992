// How the daemon executes its own new binary in place, and goes on there.
#include <unistd.h>

#include <utility>

#include "daemon/admin/roles_of.h"
#include "daemon/daemon.h"
#include "daemon/handover/saved_state.h"
#include "wire/convert.h"

namespace lastcall {
namespace {

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

state::v1::State Daemon::Save(std::vector<int>& descriptors) const {
  state::v1::State state;
  state.set_started_ns(ToNumber(started_));
  state.set_serving_since_ns(ToNumber(supervisor_->lifecycle().stage_began()));
  state.set_log_level(std::string(Name(logger_.level())));
  SaveConfig(state);
  const auto keep = [&](state::v1::Socket socket) {
    descriptors.push_back(socket.fd());
    return socket;
  };
  *state.mutable_admin() = keep(ToState(admin_socket_->listener()));
  state.set_admin_lock(admin_socket_->lock());
  descriptors.push_back(admin_socket_->lock());
  for (const auto& [server, all] : setup_.sockets) {
    for (const Bound& bound : all) {
      state::v1::Socket& socket = *state.add_sockets() = keep(ToState(*bound.listener));
      socket.set_server(server);
      socket.set_text(bound.text);
    }
  }
  for (const auto& [name, fd] : binder_.passed().all()) {
    state::v1::PassedSocket& passed = *state.add_passed();
    passed.set_name(name);
    passed.set_fd(fd.get());
    descriptors.push_back(fd.get());
  }
  for (const int fd : lingering_.fds()) {
    state.add_lingering(fd);
    descriptors.push_back(fd);
  }
  const auto save = [&](const Life& life) {
    state::v1::Life saved = ToState(life);
    const auto process = life.process == nullptr ? std::nullopt : life.process->Save();
    if (!process) return saved;
    saved.mutable_host()->ParseFromString(process->state);
    descriptors.insert(descriptors.end(), process->descriptors.begin(), process->descriptors.end());
    return saved;
  };
  for (const Supervisor::State& member : supervisor_->members()) {
    if (member.removed && member.retired.empty()) continue;
    state::v1::Member& saved = *state.add_members() = ToState(member);
    *saved.mutable_life() = save(member);
    for (const Life& life : member.retired) *saved.add_retired() = save(life);
  }
  for (const auto& [server, draining] : supervisor_->draining()) {
    state::v1::Draining& one = *state.add_draining();
    one.set_server(server);
    *one.mutable_by() = ToProto(draining.by);
    one.set_since_ns(ToNumber(draining.since));
  }
  ended_calls_.Save(state);
  if (handover_->active()) {
    state.mutable_reload()->set_id(handover_->number());
    *state.mutable_reload()->mutable_by() = ToProto(handover_->by());
  }
  return state;
}

void Daemon::SaveConfig(state::v1::State& state) const {
  state.set_config_file(setup_.config.file);
  state.set_config(ToToml(setup_.config));
  for (const auto& [key, place] : setup_.config.origins) {
    state::v1::Origin& origin = *state.add_origins();
    origin.set_key(key);
    origin.set_file(place.file);
    origin.set_line(place.line);
  }
  for (const ServerConfig& server : setup_.config.servers) {
    if (!server.tls_pem) continue;
    state::v1::Tls& tls = *state.add_tls();
    tls.set_server(server.name);
    tls.set_certificate(server.tls_pem->certificate);
    tls.set_key(server.tls_pem->key);
    tls.set_client_ca(server.tls_pem->client_ca);
    tls.set_begins_unix_ns(ToUnix(server.tls_pem->begins));
    tls.set_expires_unix_ns(ToUnix(server.tls_pem->expires));
  }
  const auto save = [](const std::vector<Roles::Group>& groups, auto& saved) {
    for (const Roles::Group& group : groups) {
      state::v1::Group& one = *saved.Add();
      one.set_name(group.name);
      if (group.gid) one.set_gid(*group.gid);
    }
  };
  save(setup_.roles.operators(), *state.mutable_roles()->mutable_operators());
  save(setup_.roles.observers(), *state.mutable_roles()->mutable_observers());
  for (const auto& [process, parts] : setup_.contents) {
    state::v1::Contents& contents = *state.add_contents();
    contents.set_process(process);
    for (const auto& [name, part] : parts) (*contents.mutable_parts())[name] = part;
  }
}

Result<Config> ConfigIn(const state::v1::State& state) {
  auto config = ConfigFromText(state.config(), "the configuration that runs");
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

// Touches nothing of what it takes over: a check does as much.
void Daemon::Resume(const state::v1::State& state) {
  started_ = InstantOf(state.started_ns());
  logger_.queue().AddDropped(state.log_lines_dropped());
  setup_.roles = state.has_roles() ? Roles(GroupsIn(state.roles().operators()),
                                           GroupsIn(state.roles().observers()), geteuid())
                                   : RolesOf(setup_.config);
  for (const state::v1::Contents& contents : state.contents()) {
    setup_.contents[contents.process()] = {contents.parts().begin(), contents.parts().end()};
  }
  admin_socket_.emplace(UniqueFd(state.admin_lock()), FromState(state.admin()));
  for (const ServerConfig& server : setup_.config.servers) setup_.sockets[server.name];
  for (const state::v1::Socket& saved : state.sockets()) {
    setup_.sockets[saved.server()].push_back(
        {saved.text(), std::make_shared<const Listener>(FromState(saved))});
  }
  ActivationSockets::Sockets passed;
  for (const state::v1::PassedSocket& one : state.passed()) {
    passed.emplace(one.name(), UniqueFd(one.fd()));
  }
  ended_calls_.Load(state);
  lingering_.Add({state.lingering().begin(), state.lingering().end()});
  binder_ = SocketBinder(ActivationSockets(std::move(passed)));

  Supervisor::Resumed resumed;
  resumed.started = started_;
  resumed.serving_since = InstantOf(state.serving_since_ns());
  for (const state::v1::Member& saved : state.members()) {
    Supervisor::State& member = resumed.members.emplace_back(FromState(saved));
    if (!member.removed) member.member = MemberOf(setup_, saved.name());
    const auto resume = [&](Life& life, const state::v1::Life& one) {
      life = FromState(one);
      if (!one.has_host()) return;
      life.process =
          std::make_unique<HostProcess>(loop_, saved.name(), one.host(), life.incarnation,
                                        static_cast<HostContext&>(*this), log_);
    };
    resume(member, saved.life());
    for (const state::v1::Life& one : saved.retired()) resume(member.retired.emplace_back(), one);
  }
  for (const state::v1::Draining& one : state.draining()) {
    resumed.draining[one.server()] = {FromProto(one.by()), InstantOf(one.since_ns())};
  }
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
  std::vector<int> descriptors;
  state::v1::State state = Save(descriptors);
  check_.emplace(loop_, self_, setup_.config.ready);
  check_->Begin(binary, std::move(state), descriptors,
                [this, proved = std::move(proved)](const Result<>& passed) {
                  check_.reset();
                  proved(passed);
                });
}

// The admin's callers first of all, so that whoever comes again waits for the new build.
void Daemon::BeginLeave(uint64_t number, Callback gone) {
  continued_.Begin(number);
  admin_->BeginRetire(false, [this, gone = std::move(gone)] {
    Post([this, gone] {
      leave_patience_.cancel();
      gone();
    });
  });
  leave_patience_.expires_after(kAdminGrace);
  leave_patience_.async_wait([this](const boost::system::error_code& error) {
    if (!error) admin_->Cancel();
  });
  reload_->SendOn(number);
  readings_.Cancel(reload_->CheckStays().error());
  hub_.HandOver();
}

void Daemon::Quiesce() {
  signals_.reset();
  loop_.poll();
  readings_.WaitForTrials(After(clock_.Now(), kAdminGrace));  // they reap their children
}

Error Daemon::Execute(int binary) {
  ending_.End();
  admin_ = nullptr;
  std::vector<int> descriptors;
  state::v1::State saved = Save(descriptors);
  // Whoever reads the log gets a moment; the new build has to say what is lost with this one.
  logger_.queue().Flush();
  saved.set_log_lines_dropped(logger_.queue().Suspend());
  const auto state = Pack(saved);
  const Error error =
      state ? lastcall::Execute(binary, self_, state->get(), descriptors, systemd_.address())
            : state.error();
  logger_.queue().Resume();
  return error;
}

void Daemon::GoOn(const Error& why, bool left) {
  if (left) {
    continued_.Settle(tl::unexpected(why));
    hub_.Reopen();
    if (!BeginAdmin()) over_ = true;
  }
  reload_->HandoverFailed(why);
  if (finished_) EndAdmin();
}

void Daemon::GoOnWithReload() {
  Say(LogLevel::kInfo, "lastcalld " LASTCALL_VERSION " goes on in place of the build before");
  systemd_.Ready(Summary());
  reload_->Begin(resumed_by_, true, [this](Result<ReloadReport> report) {
    if (report) report->another_build = true;
    continued_.Settle(report);
  });
}

}  // namespace lastcall

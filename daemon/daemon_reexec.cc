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
  for (const auto& [server, all] : sockets_) {
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
  if (handover_) {
    state.mutable_reload()->set_id(handover_->reload);
    *state.mutable_reload()->mutable_by() = ToProto(handover_->by);
  }
  return state;
}

void Daemon::SaveConfig(state::v1::State& state) const {
  state.set_config_file(config_.file);
  state.set_config(ToToml(config_));
  for (const auto& [key, place] : config_.origins) {
    state::v1::Origin& origin = *state.add_origins();
    origin.set_key(key);
    origin.set_file(place.file);
    origin.set_line(place.line);
  }
  for (const ServerConfig& server : config_.servers) {
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
  save(roles_.operators(), *state.mutable_roles()->mutable_operators());
  save(roles_.observers(), *state.mutable_roles()->mutable_observers());
  for (const auto& [process, parts] : contents_) {
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
  roles_ = state.has_roles() ? Roles(GroupsIn(state.roles().operators()),
                                     GroupsIn(state.roles().observers()), geteuid())
                             : RolesOf(config_);
  for (const state::v1::Contents& contents : state.contents()) {
    contents_[contents.process()] = {contents.parts().begin(), contents.parts().end()};
  }
  admin_socket_.emplace(UniqueFd(state.admin_lock()), FromState(state.admin()));
  for (const ServerConfig& server : config_.servers) sockets_[server.name];
  for (const state::v1::Socket& saved : state.sockets()) {
    sockets_[saved.server()].push_back(
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
    if (!member.removed) member.member = MemberOf(config_, saved.name(), sockets_);
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
  supervisor_.emplace(SupervisorOptions(config_), std::move(resumed), clock_,
                      static_cast<SupervisorObserver&>(*this), log_);
  if (state.has_reload()) {
    continued_.reload = state.reload().id();
    continued_.by = FromProto(state.reload().by());
  }
}

// Another lastcalld is there: everything else is for that one to decide.
void Daemon::BeginHandover(UniqueFd binary) {
  handover_.emplace(loop_);
  handover_->by = attempt_->by;
  handover_->binary = std::move(binary);
  handover_->stamp = StampOf(handover_->binary.get());
  attempt_.reset();
  std::vector<int> descriptors;
  state::v1::State state = Save(descriptors);
  Say(LogLevel::kInfo, self_.program + " is another build now; it is checked");
  handover_->check.emplace(loop_, self_, handover_->binary.get(), std::move(state), descriptors,
                           config_.ready, [this](const Result<>& passed) {
                             handover_->check.reset();
                             passed ? Leave() : HandoverFailed(passed.error());
                           });
}

// Nothing has changed; who asked for the reload is told.
void Daemon::HandoverFailed(const Error& error) {
  NoteReload(handover_->by, {}, error.message);
  handover_.reset();
  RefuseReload(error);
  if (finished_) EndAdmin();
}

// Sends the admin's callers away, to come again when the new build listens.
void Daemon::Leave() {
  const auto again = [this](const std::vector<Supervisor::Outcome>&) {
    Post([this] {
      if (handover_) Leave();
    });
  };
  if (supervisor_->stage() != Stage::kServing) {
    return HandoverFailed({Code::kFailedPrecondition, "a shutdown is under way"});
  }
  if (supervisor_->changing()) {
    // Behind the changes that are under way; it is none itself.
    (void)supervisor_->BeginChanges({}, handover_->by, again);
    return;
  }
  handover_->reload = static_cast<uint64_t>(ToNumber(clock_.Now()));
  continued_ = {.reload = handover_->reload, .by = handover_->by};
  reading_.Cancel(*OnTheWayOut());
  trials_.Cancel(*OnTheWayOut());
  // First of all, so that whoever comes again waits for the new build.
  admin_->BeginRetire(false, [this] {
    Post([this] {
      handover_->admin_patience.cancel();
      handover_->admin_gone = true;
    });
  });
  handover_->admin_patience.expires_after(kAdminGrace);
  handover_->admin_patience.async_wait([this](const boost::system::error_code& error) {
    if (!error) admin_->Cancel();
  });
  for (auto* callers : {&reloading_, &waiting_}) {
    for (ReloadCaller& caller : std::exchange(*callers, {})) SendOn(caller.answer);
  }
  hub_.HandOver();
}

// To the build that takes over.
void Daemon::SendOn(const std::function<void(Result<admin::v1::ReloadReply>)>& answer) const {
  admin::v1::ReloadReply reply;
  reply.set_continues(handover_->reload);
  answer(std::move(reply));
}

bool Daemon::LeavesNow() const {
  return handover_ && handover_->admin_gone && reading_.waiting() + trials_.waiting() == 0;
}

// Returns only when nothing has come of it.
void Daemon::Reexecute() {
  // What they have said already is heard here; what comes now waits for the new build.
  signals_.reset();
  loop_.poll();
  trials_.WaitIdle(After(clock_.Now(), kAdminGrace));  // they reap their children
  if (supervisor_->stage() == Stage::kServing && !over_) {
    EndListening();
    admin_ = nullptr;
    std::vector<int> descriptors;
    state::v1::State saved = Save(descriptors);
    // Whoever reads the log gets a moment; the new build has to say what is lost with this one.
    logger_.queue().Flush();
    saved.set_log_lines_dropped(logger_.queue().Suspend());
    auto state = Pack(saved);
    // The kernel lets nobody write to a program while it runs, but to one that has ended.
    const bool same = StampOf(handover_->binary.get()) == handover_->stamp;
    Error error{Code::kAborted, self_.program +
                                    " was overwritten after it had proved itself; "
                                    "install it by rename"};
    if (!state) error = state.error();
    if (state && same) {
      error =
          Execute(handover_->binary.get(), self_, state->get(), descriptors, systemd_.address());
    }
    logger_.queue().Resume();
    Say(LogLevel::kError, error.message + "; this build goes on");
    Continued(tl::unexpected(error));
  } else {
    Continued(Fail(Code::kFailedPrecondition, "a shutdown is under way"));
  }
  handover_.reset();
  hub_.Reopen();
  if (!BeginAdmin()) over_ = true;
  if (finished_) EndAdmin();
}

// What has become of a reload that began in another build, for whoever asks.
void Daemon::Continued(Result<admin::v1::ReloadReply> reply) {
  for (const auto& answer : std::exchange(continued_.asking, {})) answer(reply);
  continued_.outcome = std::move(reply);
}

void Daemon::BeginContinued(uint64_t reload,
                            std::function<void(Result<admin::v1::ReloadReply>)> answer) {
  if (reload != continued_.reload) {
    return answer(Fail(Code::kNotFound, "nothing is known of that reload; ask for one"));
  }
  if (continued_.outcome) return answer(*continued_.outcome);
  if (handover_) return SendOn(answer);  // it came over a connection from before
  continued_.asking.push_back(std::move(answer));
}

void Daemon::GoOnWithReload() {
  Say(LogLevel::kInfo, "lastcalld " LASTCALL_VERSION " goes on in place of the build before");
  systemd_.Ready(Summary());
  waiting_.push_back({continued_.by, true, [this](const Result<admin::v1::ReloadReply>& reply) {
                        if (!reply) return Continued(tl::unexpected(reply.error()));
                        admin::v1::ReloadReply whole;
                        AddOwnChange(whole);
                        whole.MergeFrom(*reply);
                        Continued(std::move(whole));
                      }});
  NextReload();
}

}  // namespace lastcall

// What the daemon tells of itself.
#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include <lastcall/base/safe_text.h>

#include "daemon/admin/reload_reply.h"
#include "daemon/daemon.h"
#include "wire/convert.h"

namespace lastcall {
namespace {

// How long a status waits for processes that do not answer.
constexpr auto kQueryPatience = std::chrono::milliseconds(500);

uint32_t InFlight(const Process& process) {
  uint32_t calls = 0;
  for (const ServerView& server : process.servers()) calls += server.calls_in_flight;
  return calls;
}

using Methods = std::map<std::string, admin::v1::Method>;

// Health is that of whoever accepts; a retired incarnation stays SERVING, and nobody asks it any more.
void AddHealth(const ServerView& view, admin::v1::Server& server) {
  if (view.accepting) {
    server.set_accepting(true);
    server.set_health(view.serving ? "SERVING" : "NOT_SERVING");
  } else if (view.serving && !server.accepting()) {
    server.set_health("SERVING");
  }
}

void AddFigures(const ServerView& view, admin::v1::Server& server, Methods& methods) {
  server.set_calls_in_flight(server.calls_in_flight() + view.calls_in_flight);
  server.set_calls_total(server.calls_total() + static_cast<double>(view.calls_total));
  server.set_connections(server.connections() + view.connections);
  for (const ServerView::Method& method : view.methods) {
    admin::v1::Method& count = methods[method.name];
    count.set_name(method.name);
    count.set_in_flight(count.in_flight() + method.in_flight);
    count.set_total(count.total() + static_cast<double>(method.total));
  }
}

void AddEnded(const EndedCalls::OfServer& ended, admin::v1::Server& server, Methods& methods) {
  server.set_calls_total(server.calls_total() + static_cast<double>(ended.total));
  for (const auto& [name, total] : ended.methods) {
    admin::v1::Method& count = methods[name];
    count.set_name(name);
    count.set_total(count.total() + static_cast<double>(total));
  }
}

}  // namespace

void Daemon::BeginStatus(std::function<void(admin::v1::Status)> answer) {
  // Answers when every process did, or when the patience is over, whichever is first.
  struct Query {
    std::function<void(admin::v1::Status)> answer;
    size_t open;
    boost::asio::steady_timer timer;
  };
  auto query =
      std::make_shared<Query>(Query{std::move(answer), 0, boost::asio::steady_timer(loop_)});
  const auto finish = [this, query] {
    if (query->answer == nullptr) return;
    std::exchange(query->answer, nullptr)(MakeStatus());
    query->timer.cancel();
  };
  query->timer.expires_after(kQueryPatience);
  query->timer.async_wait([finish](const boost::system::error_code&) { finish(); });
  // Answers come later, from the loop: none before all were asked.
  for (const Supervisor::State& state : supervisor_->members()) {
    ForEachLife(state, [&](const Life& life) {
      if (life.process == nullptr) return;
      ++query->open;
      life.process->BeginQuery([query, finish] {
        if (--query->open == 0) finish();
      });
    });
  }
  if (query->open == 0) Post(finish);
}

admin::v1::Status Daemon::MakeStatus() {
  const Instant now = clock_.Now();
  admin::v1::Status status;
  status.set_stage(std::string(Name(supervisor_->stage())));
  status.set_pid(getpid());
  status.set_version(LASTCALL_VERSION);
  status.set_uptime_s(ToSeconds(now - started_));
  status.set_config_file(setup_.config.file);
  status.set_log_level(std::string(Name(logger_.level())));
  const Ledger& ledger = supervisor_->lifecycle().ledger();
  if (!ledger.empty()) *status.mutable_plan() = ToAdmin(ledger, now);
  for (const Supervisor::State& state : supervisor_->members()) {
    if (!state.removed || !state.retired.empty()) AddProcess(state, status);
  }
  for (const ServerConfig& server : setup_.config.servers) AddServer(server, status);
  AddOldestCalls(status);
  if (reload_->last()) *status.mutable_last_reload() = ToProto(*reload_->last());
  return status;
}

void Daemon::AddProcess(const Supervisor::State& state, admin::v1::Status& status) const {
  const Instant now = clock_.Now();
  admin::v1::Process& process = *status.add_processes();
  process.set_name(state.member.name);
  process.set_stage(std::string(state.phase == Phase::kWaiting ? "waiting"
                                : state.phase == Phase::kDown  ? "stopped"
                                                               : Name(state.stage)));
  if (state.process != nullptr) {
    process.set_pid(state.process->pid());
    process.set_answering(state.process->answering());
  }
  process.set_incarnation(state.incarnation);
  process.set_uptime_s(ToSeconds(now - state.incarnation_began));
  process.set_restarts(state.restarts);
  process.set_last_exit(state.last_failure);
  process.set_last_exit_incarnation(state.last_failed);
  const auto ended = last_retired_.find(state.member.name);
  if (ended != last_retired_.end()) *process.mutable_last_retired() = ended->second;
  if (state.phase == Phase::kWaiting) {
    process.set_next_start_in_s(std::max(0.0, ToSeconds(state.until - now)));
  }
  for (const Life& life : state.retired) {
    admin::v1::Retired& retired = *process.add_retired();
    retired.set_incarnation(life.incarnation);
    retired.set_pid(life.process->pid());
    retired.set_stage(std::string(Name(life.stage)));
    retired.set_calls_in_flight(InFlight(*life.process));
    retired.set_replaced_by(life.replaced_by);
    if (life.until != kNever) retired.set_cancel_in_s(ToSeconds(life.until - now));
  }
  if (state.successor) {
    admin::v1::Successor& successor = *process.mutable_successor();
    successor.set_incarnation(state.successor->incarnation);
    successor.set_pid(state.successor->process->pid());
    successor.set_step(state.successor->took_over ? "settling" : "starting");
    successor.set_ends_in_s(std::max(0.0, ToSeconds(state.successor->until - now)));
    successor.set_by(Describe(state.successor->by));
  }
}

// Of all servers and incarnations.
void Daemon::AddOldestCalls(admin::v1::Status& status) const {
  constexpr size_t kMost = 10;
  const Instant now = clock_.Now();
  std::vector<admin::v1::Call> calls;
  for (const Supervisor::State& state : supervisor_->members()) {
    ForEachLife(state, [&](const Life& life) {
      if (life.process == nullptr) return;
      for (const ServerView& server : life.process->servers()) {
        for (const ServerView::Call& oldest : server.oldest) {
          admin::v1::Call& call = calls.emplace_back();
          call.set_server(server.name);
          call.set_method(oldest.method);
          call.set_peer(oldest.peer);
          call.set_age_s(ToSeconds(now - oldest.began));
          call.set_told(oldest.told);
          call.set_incarnation(life.incarnation);
        }
      }
    });
  }
  const auto older = [](const auto& a, const auto& b) { return a.age_s() > b.age_s(); };
  std::stable_sort(calls.begin(), calls.end(), older);
  for (size_t i = 0; i < std::min(calls.size(), kMost); ++i) {
    *status.add_oldest_calls() = std::move(calls[i]);
  }
}

// The figures of all incarnations together.
void Daemon::AddServer(const ServerConfig& config, admin::v1::Status& status) const {
  admin::v1::Server& server = *status.add_servers();
  server.set_name(config.name);
  server.set_process(config.process);
  for (const Bound& bound : setup_.sockets.at(config.name))
    server.add_listen(bound.listener->address());
  for (const PluginSpec& plugin : config.plugins) server.add_plugins(plugin.name);
  if (config.tls_pem) {
    admin::v1::Certificate& certificate = *server.mutable_certificate();
    certificate.set_expires(FormatWallTime(config.tls_pem->expires));
    certificate.set_valid(!IsExpired(*config.tls_pem, clock_.Wall()));
    certificate.set_client_ca(!config.tls_pem->client_ca.empty());
  }
  server.set_health("NOT_SERVING");
  const auto drained = supervisor_->draining().find(config.name);
  if (drained != supervisor_->draining().end()) {
    admin::v1::Draining& draining = *server.mutable_draining();
    Cause by = drained->second.by;
    by.reason.clear();  // told apart
    draining.set_by(Describe(by));
    draining.set_since_s(ToSeconds(clock_.Now() - drained->second.since));
    draining.set_reason(drained->second.by.reason);
  }
  Methods methods;
  AddEnded(ended_calls_.of(config.name), server, methods);
  for (const Supervisor::State& state : supervisor_->members()) {
    ForEachLife(state, [&](const Life& life) {
      if (life.process == nullptr) return;
      const bool retired = std::any_of(state.retired.begin(), state.retired.end(),
                                       [&](const Life& each) { return &each == &life; });
      for (const ServerView& view : life.process->servers()) {
        if (view.name != config.name) continue;
        if (!retired) AddHealth(view, server);
        AddFigures(view, server, methods);
      }
    });
  }
  for (auto& [name, method] : methods) *server.add_methods() = std::move(method);
}

}  // namespace lastcall

#include "daemon/status.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/reload_response.h"
#include "wire/convert.h"

namespace lastcall {
namespace {

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
    server.set_health(view.serving ? admin::v1::Server::HEALTH_SERVING
                                   : admin::v1::Server::HEALTH_NOT_SERVING);
  } else if (view.serving && !server.accepting()) {
    server.set_health(admin::v1::Server::HEALTH_SERVING);
  }
}

void AddCanary(const CanaryView& view, Instant now, admin::v1::Server& server) {
  admin::v1::Canary& canary = *server.mutable_canary();
  if (view.latency) {
    canary.set_latency_s(std::max(canary.latency_s(), ToSeconds(*view.latency)));
  }
  if (view.full) canary.set_full(true);
  if (view.overdue_since) {
    canary.set_overdue_s(std::max(canary.overdue_s(), ToSeconds(now - *view.overdue_since)));
  }
}

void AddFigures(const ServerView& view, admin::v1::Server& server, Methods& methods) {
  server.set_calls_in_flight(server.calls_in_flight() + view.calls_in_flight);
  server.set_calls_total(server.calls_total() + static_cast<double>(view.calls_total));
  server.set_calls_stalled(server.calls_stalled() + view.calls_stalled);
  if (!view.held_by.empty()) server.set_held_by(view.held_by);
  server.set_connections(server.connections() + view.connections);
  for (const ServerView::Method& method : view.methods) {
    admin::v1::Method& count = methods[method.name];
    count.set_name(method.name);
    count.set_in_flight(count.in_flight() + method.in_flight);
    count.set_total(count.total() + static_cast<double>(method.total));
  }
}

using Offloads = std::map<std::string, admin::v1::Offload>;

void AddOffloads(const ServerView& view, Offloads& offloads) {
  for (const OffloadView& one : view.offloads) {
    admin::v1::Offload& sum = offloads[one.plugin];
    sum.set_plugin(one.plugin);
    sum.set_threads(sum.threads() + one.threads);
    sum.set_busy(sum.busy() + one.busy);
    sum.set_abandoned(sum.abandoned() + one.abandoned);
    sum.set_queue(sum.queue() + one.queue);
    sum.set_queued(sum.queued() + one.queued);
    sum.set_most_queued(std::max(sum.most_queued(), one.most_queued));
    sum.set_begun(sum.begun() + static_cast<double>(one.begun));
    sum.set_refused(sum.refused() + static_cast<double>(one.refused));
    sum.set_late(sum.late() + static_cast<double>(one.late));
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

// What was said of each server, and by whom: there may be thousands of servers.
struct Said {
  const ServerView* view;
  bool retired;
};
using ByServer = std::unordered_map<std::string_view, std::vector<Said>>;

ByServer SaidOf(const Supervisor& supervisor) {
  ByServer said;
  const auto add = [&](const Incarnation& incarnation, bool retired) {
    if (incarnation.process == nullptr) return;
    for (const ServerView& view : incarnation.process->servers()) {
      said[view.name].push_back({&view, retired});
    }
  };
  for (const Member& member : supervisor.members()) {
    for (const Incarnation& incarnation : member.retired()) add(incarnation, true);
    add(member.current(), false);
    if (member.successor()) add(*member.successor(), false);
  }
  return said;
}

void AddProcess(const StatusView& view, const Member& member, admin::v1::Status& status) {
  const Instant now = view.now;
  admin::v1::Process& process = *status.add_processes();
  process.set_name(member.spec().name);
  process.set_stage(member.current().phase == Phase::kWaiting ? v1::STAGE_WAITING
                    : member.current().phase == Phase::kDown  ? v1::STAGE_STOPPED
                                                              : ToProto(member.current().stage));
  if (member.current().process != nullptr) {
    process.set_pid(member.current().process->pid());
    process.set_answering(member.current().process->answering());
  }
  process.set_incarnation(member.current().number);
  process.set_uptime_s(ToSeconds(now - member.current().began));
  process.set_restarts(member.history().restarts);
  process.set_last_exit(member.history().last_failure);
  process.set_last_exit_incarnation(member.history().last_failed);
  process.set_frozen(member.current().frozen);
  const admin::v1::Ended* const ended = view.last_retired.of(member.spec().name);
  if (ended != nullptr) *process.mutable_last_retired() = *ended;
  if (member.current().phase == Phase::kWaiting) {
    process.set_next_start_in_s(std::max(0.0, ToSeconds(member.current().until - now)));
  }
  for (const Incarnation& incarnation : member.retired()) {
    admin::v1::Retired& retired = *process.add_retired();
    retired.set_incarnation(incarnation.number);
    retired.set_pid(incarnation.process->pid());
    retired.set_stage(ToProto(incarnation.stage));
    retired.set_calls_in_flight(InFlight(*incarnation.process));
    retired.set_replaced_by(incarnation.replaced_by);
    if (incarnation.until != kNever) retired.set_cancel_in_s(ToSeconds(incarnation.until - now));
  }
  if (member.successor()) {
    admin::v1::Successor& successor = *process.mutable_successor();
    successor.set_incarnation(member.successor()->number);
    successor.set_pid(member.successor()->process->pid());
    successor.set_step(member.successor()->took_over ? admin::v1::Successor::STEP_SETTLING
                                                     : admin::v1::Successor::STEP_STARTING);
    successor.set_ends_in_s(std::max(0.0, ToSeconds(member.successor()->until - now)));
    successor.set_by(Describe(member.successor()->by));
  }
}

// Of all servers and incarnations.
void AddOldestCalls(const StatusView& view, admin::v1::Status& status) {
  constexpr size_t kMost = 10;
  std::vector<admin::v1::Call> calls;
  for (const Member& member : view.supervisor.members()) {
    ForEachIncarnation(member, [&](const Incarnation& incarnation) {
      if (incarnation.process == nullptr) return;
      for (const ServerView& server : incarnation.process->servers()) {
        for (const ServerView::Call& oldest : server.oldest) {
          admin::v1::Call& call = calls.emplace_back();
          call.set_server(server.name);
          call.set_method(oldest.method);
          call.set_peer(oldest.peer);
          call.set_age_s(ToSeconds(view.now - oldest.began));
          call.set_told(oldest.told);
          call.set_incarnation(incarnation.number);
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
void AddServer(const StatusView& view, const ServerConfig& config, const ByServer& said,
               admin::v1::Status& status) {
  admin::v1::Server& server = *status.add_servers();
  server.set_name(config.name);
  server.set_process(config.process);
  for (const Bound& bound : view.setup.sockets.at(config.name))
    server.add_listen(bound.listener->address());
  for (const PluginSpec& plugin : config.plugins) server.add_plugins(plugin.name);
  if (config.tls_pem) {
    admin::v1::Certificate& certificate = *server.mutable_certificate();
    certificate.set_expires(FormatWallTime(config.tls_pem->expires));
    certificate.set_valid(!IsExpired(*config.tls_pem, view.wall));
    certificate.set_client_ca(!config.tls_pem->client_ca.empty());
  }
  server.set_health(admin::v1::Server::HEALTH_NOT_SERVING);
  const auto drained = view.supervisor.draining().find(config.name);
  if (drained != view.supervisor.draining().end()) {
    admin::v1::Draining& draining = *server.mutable_draining();
    Cause by = drained->second.by;
    by.reason.clear();  // told apart
    draining.set_by(Describe(by));
    draining.set_since_s(ToSeconds(view.now - drained->second.since));
    draining.set_reason(drained->second.by.reason);
  }
  Methods methods;
  Offloads offloads;
  AddEnded(view.ended_calls.of(config.name), server, methods);
  const auto found = said.find(config.name);
  if (found != said.end()) {
    for (const Said& one : found->second) {
      if (!one.retired) AddHealth(*one.view, server);
      if (!one.retired && one.view->canary) AddCanary(*one.view->canary, view.now, server);
      AddFigures(*one.view, server, methods);
      AddOffloads(*one.view, offloads);
    }
  }
  for (auto& [plugin, offload] : offloads) *server.add_offloads() = std::move(offload);
  for (auto& [name, method] : methods) *server.add_methods() = std::move(method);
}

}  // namespace

void LastRetired::Add(const Receipt& receipt) {
  admin::v1::Ended& ended = ended_[receipt.subject];
  ended.set_incarnation(receipt.incarnation);
  ended.set_outcome(receipt.Outcome());
}

const admin::v1::Ended* LastRetired::of(const std::string& process) const {
  const auto found = ended_.find(process);
  return found == ended_.end() ? nullptr : &found->second;
}

admin::v1::Status StatusOf(const StatusView& view) {
  admin::v1::Status status;
  status.set_stage(ToProto(view.supervisor.stage()));
  status.set_pid(getpid());
  status.set_version(LASTCALL_VERSION);
  status.set_uptime_s(ToSeconds(view.now - view.started));
  status.set_config_file(view.setup.config.file);
  status.set_log_level(std::string(Name(view.log_level)));
  const Ledger& ledger = view.supervisor.lifecycle().ledger();
  if (!ledger.empty()) *status.mutable_plan() = ToProto(ledger, view.now);
  for (const Member& member : view.supervisor.members()) {
    if (!member.removed() || !member.retired().empty()) AddProcess(view, member, status);
  }
  const ByServer said = SaidOf(view.supervisor);
  for (const ServerConfig& server : view.setup.config.servers) {
    AddServer(view, server, said, status);
  }
  AddOldestCalls(view, status);
  if (view.last_reload) *status.mutable_last_reload() = ToProto(*view.last_reload);
  return status;
}

}  // namespace lastcall

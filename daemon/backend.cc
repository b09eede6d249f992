#include "daemon/backend.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

#include "daemon/calls_query.h"
#include "daemon/reload_response.h"
#include "daemon/status_query.h"
#include "wire/convert.h"

#include <lastcall/base/spelling.h>

namespace lastcall {
namespace {

admin::v1::Origin::Kind KindOf(Origin::Kind kind) {
  switch (kind) {
    case Origin::Kind::kFile: return admin::v1::Origin::KIND_FILE;
    case Origin::Kind::kCommandLine: return admin::v1::Origin::KIND_COMMAND_LINE;
    case Origin::Kind::kDefault: return admin::v1::Origin::KIND_DEFAULT;
  }
  return admin::v1::Origin::KIND_UNSPECIFIED;
}

std::optional<Duration> Given(bool has, double seconds) {
  return has ? std::optional(FromSeconds(seconds)) : std::nullopt;
}

}  // namespace

void Backend::Post(std::function<void()> question) {
  boost::asio::post(parts_.loop, std::move(question));
}

void Backend::BeginStatus(std::function<void(admin::v1::Status)> answer) {
  BeginQuery(parts_.loop, parts_.supervisor,
             [this, answer = std::move(answer)] { answer(parts_.status()); });
}

void Backend::BeginCalls(CallsQuestions questions, std::function<void(CallsAnswers)> answer) {
  BeginCallsQuery(parts_.loop, parts_.supervisor, questions, std::move(answer));
}

admin::v1::ShutdownResponse Backend::Shutdown(const admin::v1::ShutdownRequest& asked,
                                              const Cause& by) {
  Request request = RequestNow(by, parts_.clock);
  request.delay = Given(asked.has_delay_s(), asked.delay_s());
  request.grace = Given(asked.has_grace_s(), asked.grace_s());
  request.cancel = Given(asked.has_cancel_s(), asked.cancel_s());
  admin::v1::ShutdownResponse response;
  if (asked.dry_run()) {
    Ledger trial = parts_.supervisor.lifecycle().ledger();
    response.set_moved(trial.Add(request, parts_.supervisor.stage()));
    *response.mutable_plan() = ToProto(trial, parts_.clock.Now());
    return response;
  }
  response.set_moved(parts_.supervisor.OnRequest(std::move(request)));
  *response.mutable_plan() = ToProto(parts_.supervisor.lifecycle().ledger(), parts_.clock.Now());
  return response;
}

Result<bool> Backend::SetDraining(const admin::v1::SetDrainingRequest& request, const Cause& by) {
  return parts_.supervisor.SetDraining(request.server(), request.draining(), by);
}

Result<std::string> Backend::SetLogLevel(const std::string& name, const Cause& by) {
  const auto level = LogLevelNamed(name);
  if (!level) {
    const std::vector<std::string> known{"trace", "debug", "info", "warning", "error"};
    return Fail(Code::kInvalidArgument,
                "no log level \"" + name + "\"; " + SpellingHint(name, known));
  }
  const std::string previous(Name(parts_.logger.level()));
  parts_.logger.SetLevel(*level);
  ForEachProcess(parts_.supervisor, [&](Process& process) { process.SetLogLevel(*level); });
  parts_.logger.log()(LogLevel::kInfo,
                      "log level " + previous + " -> " + name + ", requested by " + Describe(by));
  return previous;
}

admin::v1::GetConfigResponse Backend::EffectiveConfig() {
  admin::v1::GetConfigResponse response;
  response.set_toml(ToAnnotatedToml(parts_.setup.config));
  response.set_json(ToJson(parts_.setup.config));
  for (const Origin& origin : OriginsOf(parts_.setup.config)) {
    admin::v1::Origin& one = *response.add_origins();
    one.set_key(origin.key);
    one.set_kind(KindOf(origin.kind));
    one.set_file(origin.location.file);
    one.set_line(origin.location.line);
  }
  return response;
}

void Backend::BeginReload(const admin::v1::ReloadRequest& request, const Cause& by,
                          std::function<void(Result<admin::v1::ReloadResponse>)> answer) {
  ReloadDone done = [answer = std::move(answer)](const Result<ReloadReport>& report) {
    answer(report.map(ToReloadResponse));
  };
  if (request.continues() == 0) {
    return request.dry_run() ? parts_.reload.BeginDryRun(std::move(done))
                             : parts_.reload.Begin(by, request.wait(), std::move(done));
  }
  if (const auto serving = parts_.supervisor.CheckServing(); !serving) {
    return done(tl::unexpected(serving.error()));
  }
  // Over a connection from before: the other build is not there yet.
  if (parts_.handover.leaving() && request.continues() == parts_.handover.number()) {
    return done(ReloadReport{.continues = parts_.handover.number()});
  }
  parts_.continued.Ask(request.continues(), std::move(done));
}

void Backend::BeginRestart(const admin::v1::RestartRequest& request, const Cause& by,
                           std::function<void(Result<admin::v1::RestartResponse>)> answer) {
  parts_.reload.BeginRestart(request.process(), request.wait(), by,
                             [answer = std::move(answer)](const Result<ReloadReport>& report) {
                               answer(report.map(ToRestartResponse));
                             });
}

}  // namespace lastcall

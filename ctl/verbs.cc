#include "verbs.h"

#include <lastcall/base/json.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/base/spelling.h>

#include <algorithm>

#include "calls.h"
#include "cancel.h"
#include "json_output.h"
#include "reload.h"
#include "render.h"
#include "words.h"

namespace lastcall {
namespace {

using admin::v1::Server;
using admin::v1::Status;

template <class Response>
Result<Response> Ask(Session& session, Result<Response> (AdminClient::*question)(Deadline)) {
  return session.Ask([&](AdminClient& client) { return (client.*question)(session.AnswerBy()); });
}

template <class Request, class Response>
Result<Response> Ask(Session& session,
                     Result<Response> (AdminClient::*question)(const Request&, Deadline),
                     const Request& request) {
  return session.Ask(
      [&](AdminClient& client) { return (client.*question)(request, session.AnswerBy()); });
}

int RunStatus(Session& session) {
  const Result<Status> status = Ask(session, &AdminClient::GetStatus);
  if (!status) return session.Fail(status.error());
  if (session.options().json) {
    session.out() << WithKind("Status", ToJson(*status)) << "\n";
  } else {
    session.out() << RenderStatus(*status, session.look());
  }
  return status->stage() == v1::STAGE_SERVING ? kExitDone : kExitNotServing;
}

std::string ServersJson(const Status& status) {
  JsonWriter json;
  json.BeginObject().Key("servers").BeginArray();
  for (const Server& server : status.servers()) json.Raw(ToJson(server));
  json.EndArray().EndObject();
  return json.text();
}

// All servers but the one called `name` are taken out.
void Select(const std::string& name, Status* status) {
  Status selected;
  for (const Server& server : status->servers()) {
    if (server.name() == name) *selected.add_servers() = server;
  }
  status->Swap(&selected);
}

int RunServers(Session& session) {
  Result<Status> status = Ask(session, &AdminClient::GetStatus);
  if (!status) return session.Fail(status.error());
  const std::string& name = session.options().server;
  if (!name.empty()) {
    const Result<> known = CheckServer(name, *status);
    if (!known) return session.Fail(known.error());
    Select(name, &*status);
  }
  if (session.options().json) {
    session.out() << WithKind("Servers", ServersJson(*status)) << "\n";
  } else if (name.empty()) {
    session.out() << RenderServers(*status, session.look());
  } else {
    session.out() << RenderServer(status->servers(0), session.look());
  }
  return kExitDone;
}

int RunSetDraining(Session& session, bool draining) {
  admin::v1::SetDrainingRequest request;
  request.set_server(session.options().server);
  request.set_draining(draining);
  request.set_reason(session.options().reason);
  const auto response = Ask(session, &AdminClient::SetDraining, request);
  if (!response) return session.Fail(response.error());
  if (session.options().json) {
    JsonWriter json;
    json.BeginObject().Key("server").String(request.server()).Key("draining").Boolean(draining);
    json.Key("changed").Boolean(response->changed()).EndObject();
    session.out() << WithKind("Draining", json.text()) << "\n";
    return kExitDone;
  }
  const std::string_view now =
      draining ? "draining: its clients are asked to leave, and served until they do"
               : "no longer draining";
  session.Print(SafeText(request.server()) + " is " + std::string(now) +
                (response->changed() ? "" : " (already)"));
  return kExitDone;
}

int RunConfig(Session& session) {
  const auto config = Ask(session, &AdminClient::GetConfig);
  if (!config) return session.Fail(config.error());
  if (session.options().json) {
    JsonWriter json;
    json.BeginObject().Key("config").Raw(config->json().empty() ? "null" : config->json());
    json.Key("origins").BeginObject();
    for (const admin::v1::Origin& origin : config->origins()) {
      json.Key(origin.key()).BeginObject().Key("kind").String(Word(origin.kind()));
      if (!origin.file().empty()) json.Key("file").String(origin.file());
      if (origin.line() > 0) json.Key("line").Integer(origin.line());
      json.EndObject();
    }
    json.EndObject().EndObject();
    session.out() << WithKind("Config", json.text()) << "\n";
  } else {
    // As it is, so that it can become a file.
    session.out() << config->toml() << (config->toml().ends_with('\n') ? "" : "\n");
  }
  return kExitDone;
}

int RunLogLevel(Session& session) {
  admin::v1::SetLogLevelRequest request;
  request.set_level(session.options().level);
  const auto response = Ask(session, &AdminClient::SetLogLevel, request);
  if (!response) return session.Fail(response.error());
  if (session.options().json) {
    JsonWriter json;
    json.BeginObject().Key("level").String(request.level());
    json.Key("previous").String(response->previous()).EndObject();
    session.out() << WithKind("LogLevel", json.text()) << "\n";
  } else {
    session.out() << "log level " << SafeText(request.level()) << " (was "
                  << SafeText(response->previous()) << ")\n";
  }
  return kExitDone;
}

int RunVersion(Session& session) {
  const auto version = Ask(session, &AdminClient::GetVersion);
  if (!version) return session.Fail(version.error());
  if (session.options().json) {
    JsonWriter json;
    json.BeginObject().Key("lastcallctl").String(LASTCALL_VERSION).EndObject();
    session.out() << WithKind("Version", Splice(json.text(), ToJson(*version))) << "\n";
  } else {
    session.out() << RenderVersion(*version, LASTCALL_VERSION);
  }
  return kExitDone;
}

}  // namespace

Result<> CheckServer(const std::string& name, const Status& status) {
  std::vector<std::string> names;
  for (const Server& server : status.servers()) names.push_back(server.name());
  if (std::find(names.begin(), names.end(), name) != names.end()) return {};
  return Fail(Code::kNotFound, "there is no server \"" + name + "\"; " + SpellingHint(name, names));
}

int RunVerb(Session& session) {
  switch (session.options().verb) {
    case Verb::kStatus: return RunStatus(session);
    case Verb::kServers: return RunServers(session);
    case Verb::kWatch: return RunWatch(session);
    case Verb::kShutdown: return RunShutdown(session);
    case Verb::kReload: return RunReload(session);
    case Verb::kRestart: return RunRestart(session);
    case Verb::kDrain: return RunSetDraining(session, true);
    case Verb::kUndrain: return RunSetDraining(session, false);
    case Verb::kCalls: return RunCalls(session);
    case Verb::kCall: return RunCall(session);
    case Verb::kCancel: return RunCancel(session);
    case Verb::kWait:
      return session.options().wait_for == "serving" ? RunWaitServing(session)
                                                     : RunWaitStopped(session);
    case Verb::kConfig: return RunConfig(session);
    case Verb::kLogLevel: return RunLogLevel(session);
    case Verb::kVersion: return RunVersion(session);
  }
  return kExitUsage;
}

}  // namespace lastcall

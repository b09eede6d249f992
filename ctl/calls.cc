#include "calls.h"

#include <lastcall/base/json.h>
#include <lastcall/base/safe_text.h>

#include <algorithm>

#include "json_output.h"
#include "live_lines.h"
#include "render_calls.h"
#include "render_finished.h"
#include "verbs.h"

namespace lastcall {
namespace {

using admin::v1::ListCallsRequest;
using admin::v1::ListCallsResponse;

constexpr uint32_t kMostAsText = 1000;
constexpr Duration kBetweenLooks = std::chrono::seconds(1);

ListCallsRequest CallsRequestOf(const Options& options) {
  ListCallsRequest request;
  *request.mutable_filter() = FilterOf(options);
  request.set_recent(options.recent);
  if (!options.recent) request.set_limit(options.limit.value_or(options.json ? 0 : kMostAsText));
  return request;
}

// In the order in which they are shown.
Result<ListCallsResponse> ListInOrder(Session& session) {
  auto response = session.Ask([&](AdminClient& client) {
    return client.ListCalls(CallsRequestOf(session.options()), session.AnswerBy());
  });
  if (!response) return response;
  SortCalls(response->mutable_calls());
  SortFinished(response->mutable_finished());
  if (response->calls().empty() && response->finished().empty()) {
    if (const Result<> known = CheckServerOf(session); !known) {
      return tl::unexpected(known.error());
    }
  }
  return response;
}

std::string ListJson(const ListCallsResponse& response, bool recent) {
  return recent ? ToJson(response, {"calls", "complete", "left_out"})
                : ToJson(response, {"finished", "complete"});
}

void ShowOnce(Session& session, const ListCallsResponse& response) {
  const Options& options = session.options();
  if (options.json) {
    session.out() << WithKind(options.recent ? "FinishedCalls" : "Calls",
                              ListJson(response, options.recent))
                  << "\n";
  } else if (options.recent) {
    session.out() << RenderFinished(response, options.filters(), session.look());
  } else {
    session.out() << RenderCalls(response, options.filters(), session.look());
  }
}

// Where nothing can be redrawn, with the time, for there is one after another.
void ShowAgain(Session& session, const ListCallsResponse& response) {
  const std::string now = FormatWallTime(session.clock().Wall());
  if (session.options().json) {
    JsonWriter json;
    json.BeginObject().Key("at").String(now).EndObject();
    session.out() << WithKind("Calls", Splice(json.text(), ListJson(response, false))) << std::endl;
  } else {
    session.out() << now << "\n"
                  << RenderCalls(response, session.options().filters(), session.look())
                  << std::endl;
  }
}

int WatchCalls(Session& session) {
  LiveLines lines(session.out());
  const bool redraws = session.live() && !session.options().json;
  while (true) {
    const auto response = ListInOrder(session);
    if (!response) return session.Fail(response.error());
    if (redraws) {
      const Look look = session.Measure();
      lines.Show(CallsFrame(*response, session.options().filters(), look), look.width);
    } else {
      ShowAgain(session, *response);
    }
    if (!session.out()) return kExitFailed;  // main says so
    session.Pause(std::min(kBetweenLooks, session.end().Remaining(session.clock().Now())));
    if (session.end().Passed(session.clock().Now())) return kExitDone;
  }
}

}  // namespace

admin::v1::CallFilter FilterOf(const Options& options) {
  admin::v1::CallFilter filter;
  filter.set_server(SafeText(options.server));
  filter.set_method(SafeText(options.method));
  filter.set_peer(SafeText(options.peer));
  filter.set_stalled(options.stalled);
  if (options.older) filter.set_older_s(ToSeconds(*options.older));
  return filter;
}

Result<> CheckServerOf(Session& session) {
  const std::string& name = session.options().server;
  if (name.empty()) return {};
  const auto status =
      session.Ask([&](AdminClient& client) { return client.GetStatus(session.AnswerBy()); });
  if (!status) return tl::unexpected(status.error());
  return CheckServer(name, *status);
}

int RunCalls(Session& session) {
  if (session.options().watch) return WatchCalls(session);
  const auto response = ListInOrder(session);
  if (!response) return session.Fail(response.error());
  ShowOnce(session, *response);
  return kExitDone;
}

int RunCall(Session& session) {
  admin::v1::GetCallRequest request;
  request.set_id(SafeText(session.options().ids.front()));
  const auto response =
      session.Ask([&](AdminClient& client) { return client.GetCall(request, session.AnswerBy()); });
  if (!response) return session.Fail(response.error());
  if (session.options().json) {
    session.out() << WithKind("Call", ToJson(*response)) << "\n";
  } else {
    session.out() << RenderCall(*response, session.look());
  }
  return kExitDone;
}

}  // namespace lastcall

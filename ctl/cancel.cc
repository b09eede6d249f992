#include "cancel.h"

#include <lastcall/base/safe_text.h>

#include "calls.h"
#include "json_output.h"

namespace lastcall {
namespace {

using admin::v1::CancelCallsRequest;
using admin::v1::CancelCallsResponse;

CancelCallsRequest CancelRequestOf(const Options& options) {
  CancelCallsRequest request;
  for (const std::string& id : options.ids) request.add_ids(SafeText(id));
  if (options.ids.empty()) *request.mutable_filter() = FilterOf(options);
  request.set_reason(SafeText(options.reason));
  return request;
}

Result<CancelCallsResponse> CountCalls(Session& session, CancelCallsRequest request) {
  request.set_dry_run(true);
  return session.Ask(
      [&](AdminClient& client) { return client.CancelCalls(request, session.AnswerBy()); });
}

void PrintCancelled(Session& session, const CancelCallsResponse& response, bool only_counted) {
  const std::string calls = Counted(response.cancelled(), "call");
  if (response.cancelled() > 0) {
    session.Print(only_counted ? "would cancel " + calls : calls + " cancelled");
  } else if (session.options().ids.empty()) {
    session.Print("no such calls");
  }
  for (const std::string& id : response.not_in_flight()) {
    session.Print(SafeText(id) + " is not in flight");
  }
  for (const std::string& process : response.not_answering()) {
    session.Print("process " + SafeText(process) + " does not answer: its calls are not " +
                  (only_counted ? "counted" : "cancelled"));
  }
}

// What has been done, or `only_counted`. The exit code.
int Conclude(Session& session, const Result<CancelCallsResponse>& response, bool only_counted) {
  if (!response) return session.Fail(response.error());
  const bool none = response->cancelled() == 0 && response->not_answering().empty();
  if (none && session.options().ids.empty()) {
    const Result<> known = CheckServerOf(session);
    if (!known) return session.Fail(known.error());
  }
  if (session.options().json) {
    session.out() << WithKind("Cancelled", ToJson(*response)) << "\n";
  } else {
    PrintCancelled(session, *response, only_counted);
  }
  if (!response->not_answering().empty()) return kExitFailed;
  return none && !session.options().ids.empty() ? kExitNoSuchName : kExitDone;
}

}  // namespace

int RunCancel(Session& session) {
  const Options& options = session.options();
  const CancelCallsRequest request = CancelRequestOf(options);
  if (options.dry_run) return Conclude(session, CountCalls(session, request), true);
  if (options.ids.empty() && !options.yes) {
    if (!session.has_person()) {
      return session.Fail(kExitUsage,
                          "nobody can be asked here whether to cancel them: give --yes; "
                          "--dry-run says how many there are");
    }
    const auto count = CountCalls(session, request);
    if (!count || count->cancelled() == 0) return Conclude(session, count, true);
    if (!session.Confirm("Cancel " + Counted(count->cancelled(), "call") + "?")) {
      return session.Fail(kExitFailed, "no call was cancelled");
    }
  }
  // Once: those that came meanwhile are not meant.
  auto client = session.Connect();
  if (!client) return session.Fail(client.error());
  return Conclude(session, client->CancelCalls(request, session.AnswerBy()), false);
}

}  // namespace lastcall

// What the admin service answers about calls.
#include "daemon/admin/service.h"

#include <algorithm>
#include <vector>

#include <lastcall/base/safe_text.h>

namespace lastcall {
namespace {

// It goes to clients in a header, three bytes for one where it is not ASCII; they take 8 KiB of them.
constexpr size_t kMostOfReason = 1000;

bool IsEmpty(const admin::v1::CallFilter& filter) {
  return filter.server().empty() && filter.method().empty() && filter.peer().empty() &&
         filter.older_s() == 0 && !filter.stalled();
}

Result<> CheckFilter(const admin::v1::CallFilter& filter) {
  if (IsLength(filter.older_s())) return {};
  return Fail(Code::kInvalidArgument,
              "older_s must be 0 or more seconds, not " + std::to_string(filter.older_s()));
}

// "calls of server public with method /shop.Prices/* of peer 10.0.0.* older than 10s".
std::string DescribeFilter(const admin::v1::CallFilter& filter) {
  const auto safe = [](const std::string& text) { return SafeText(text, kMaxSafeName); };
  std::string text = filter.stalled() ? "stalled calls" : "calls";
  if (!filter.server().empty()) text += " of server " + safe(filter.server());
  if (!filter.method().empty()) text += " with method " + safe(filter.method());
  if (!filter.peer().empty()) text += " of peer " + safe(filter.peer());
  if (filter.older_s() > 0) text += " older than " + FormatDuration(FromSeconds(filter.older_s()));
  return text;
}

Result<std::vector<CallId>> IdsIn(const admin::v1::CancelCallsRequest& request) {
  std::vector<CallId> ids;
  for (const std::string& text : request.ids()) {
    auto id = CallId::Parse(text);
    if (!id) return tl::unexpected(id.error());
    ids.push_back(std::move(*id));
  }
  if (ids.empty() && IsEmpty(request.filter())) {
    return Fail(Code::kInvalidArgument,
                "which calls are meant? Give ids, or say what they have in common");
  }
  if (!ids.empty() && !IsEmpty(request.filter())) {
    return Fail(Code::kInvalidArgument, "give ids or what the calls have in common, not both");
  }
  return ids;
}

// "calls main/3/4711, main/3/4712 and 10 more".
std::string DescribeIds(const std::vector<CallId>& ids) {
  constexpr size_t kMost = 10;
  std::string text = ids.size() == 1 ? "call " : "calls ";
  for (size_t i = 0; i < std::min(ids.size(), kMost); ++i) {
    text += (i == 0 ? "" : ", ") + SafeText(ids[i].text(), kMaxSafeName);
  }
  if (ids.size() > kMost) text += " and " + std::to_string(ids.size() - kMost) + " more";
  return text;
}

}  // namespace

grpc::Status AdminService::AskCalls(CallsQuestions questions, CallsAnswers* answers) {
  return Ask<CallsAnswers>([this, questions = std::move(questions)](
                               auto answer) { backend_.BeginCalls(questions, std::move(answer)); },
                           answers);
}

grpc::Status AdminService::ListCalls(grpc::ServerContext* context,
                                     const admin::v1::ListCallsRequest* request,
                                     grpc::ServerWriter<admin::v1::ListCallsResponse>* out) {
  const auto caller = Allow(*context, Role::kObserver, "calls");
  if (!caller) return caller.error();
  if (const auto good = CheckFilter(request->filter()); !good) return ToGrpc(good.error());
  // To an observer, who is at the other end is not even a way to find calls.
  const bool names = caller->role == Role::kOperator;
  if (!names && !request->filter().peer().empty()) {
    return ToGrpc({Code::kPermissionDenied, callers_.Denial(*caller, "calls of a peer")});
  }
  host::v1::CallsQuestion question;
  *question.mutable_filter() = ToHostFilter(request->filter());
  if (request->recent()) {
    question.mutable_finished();
  } else {
    question.mutable_list()->set_limit(request->limit());
  }
  CallsAnswers answers;
  const grpc::Status asked =
      AskCalls([question](const std::string&, uint32_t) { return question; }, &answers);
  if (!asked.ok()) return asked;
  for (const auto& response : ToListCalls(answers, now(), names)) {
    if (!out->Write(response)) return grpc::Status::CANCELLED;
  }
  return grpc::Status::OK;
}

grpc::Status AdminService::GetCall(grpc::ServerContext* context,
                                   const admin::v1::GetCallRequest* request,
                                   admin::v1::GetCallResponse* response) {
  const auto caller = Allow(*context, Role::kOperator, "call");
  if (!caller) return caller.error();
  const auto id = CallId::Parse(request->id());
  if (!id) return ToGrpc(id.error());
  CallsAnswers answers;
  const grpc::Status asked = AskCalls(
      [id = *id](const std::string& process,
                 uint32_t incarnation) -> std::optional<host::v1::CallsQuestion> {
        if (process != id.process || incarnation != id.incarnation) return std::nullopt;
        host::v1::CallsQuestion question;
        question.set_find(id.number);
        return question;
      },
      &answers);
  if (!asked.ok()) return asked;
  auto found = ToGetCall(*id, answers, now());
  if (!found) return ToGrpc(found.error());
  *response = std::move(*found);
  return grpc::Status::OK;
}

grpc::Status AdminService::CancelCalls(grpc::ServerContext* context,
                                       const admin::v1::CancelCallsRequest* request,
                                       admin::v1::CancelCallsResponse* response) {
  const auto caller = Allow(*context, Role::kOperator, "cancel");
  if (!caller) return caller.error();
  if (const auto good = CheckFilter(request->filter()); !good) return ToGrpc(good.error());
  const auto ids = IdsIn(*request);
  if (!ids) return ToGrpc(ids.error());
  const std::string what =
      "cancel " + (ids->empty() ? DescribeFilter(request->filter()) : DescribeIds(*ids));
  const Cause by = Note(*caller, request->dry_run() ? "" : what, request->reason());
  CallsAnswers answers;
  const grpc::Status asked = AskCalls(
      [ids = *ids, filter = ToHostFilter(request->filter()), dry_run = request->dry_run(),
       why = "cancelled by an operator" +
             (by.reason.empty() ? "" : ": " + SafeText(by.reason, kMostOfReason))](
          const std::string& process,
          uint32_t incarnation) -> std::optional<host::v1::CallsQuestion> {
        host::v1::CallsQuestion question;
        host::v1::CancelCalls& cancel = *question.mutable_cancel();
        *question.mutable_filter() = filter;
        cancel.set_why(why);
        cancel.set_dry_run(dry_run);
        for (const CallId& id : ids) {
          if (id.process == process && id.incarnation == incarnation) {
            cancel.add_numbers(id.number);
          }
        }
        if (!ids.empty() && cancel.numbers().empty()) return std::nullopt;
        return question;
      },
      &answers);
  if (!asked.ok()) return asked;
  auto done = ToCancelCalls(*ids, answers);
  if (!done) return ToGrpc(done.error());
  *response = std::move(*done);
  return grpc::Status::OK;
}

}  // namespace lastcall

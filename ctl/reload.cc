#include "reload.h"

#include <lastcall/base/safe_text.h>

#include "json_output.h"
#include "render.h"

namespace lastcall {
namespace {

using admin::v1::ReloadReply;

Colour ColourOfSign(const std::string& sign) {
  return sign == "+"   ? Colour::kGreen
         : sign == "-" ? Colour::kRed
         : sign == "~" ? Colour::kYellow
                       : Colour::kDim;
}

std::string RenderOutcome(const admin::v1::ProcessOutcome& outcome, const Look& look) {
  constexpr std::string_view kNotChanged = "not changed";
  const std::string name = "process " + SafeText(outcome.process()) + ": ";
  if (outcome.failure().empty()) {
    return name + (outcome.incarnation() == 0
                       ? "removed"
                       : "incarnation " + std::to_string(outcome.incarnation()) + " serves");
  }
  std::string text =
      Folded(name + std::string(kNotChanged) + ": " + SafeText(outcome.failure()), "  ", look);
  const size_t at = text.find(kNotChanged, name.size());  // folding may have come between
  if (at == text.npos) return text;
  return text.replace(at, kNotChanged.size(), Paint(Colour::kRed, kNotChanged, look));
}

std::string Render(const ReloadReply& reply, const Look& look) {
  std::string text;
  for (const admin::v1::ConfigChange& change : reply.changes()) {
    const std::string line =
        SafeText(change.what()) + (change.detail().empty() ? "" : ": " + SafeText(change.detail()));
    const std::string sign = SafeText(change.sign());
    text += Paint(ColourOfSign(change.sign()), sign, look) + " " +
            Folded(line, "    ", Narrower(look, WidthOf(sign) + 1)) + "\n";
  }
  for (const admin::v1::ProcessOutcome& outcome : reply.processes()) {
    text += RenderOutcome(outcome, look) + "\n";
  }
  return text;
}

bool Failed(const ReloadReply& reply) {
  for (const admin::v1::ProcessOutcome& outcome : reply.processes()) {
    if (!outcome.failure().empty()) return true;
  }
  return false;
}

bool ChangesNothing(const ReloadReply& reply) {
  for (const admin::v1::ConfigChange& change : reply.changes()) {
    if (change.sign() != "=") return false;
  }
  return reply.processes().empty();
}

int Show(Session& session, const Result<ReloadReply>& reply, const std::string& kind) {
  if (!reply) {
    const int code = session.Fail(reply.error());
    // Its configuration is at fault, not the way it was asked.
    return reply.error().code == Code::kInvalidArgument ? kExitFailed : code;
  }
  if (session.options().json) {
    session.out() << WithKind(kind, ToJson(*reply)) << "\n";
  } else {
    session.out() << Render(*reply, session.look());
    if (kind == "Reload" && ChangesNothing(*reply)) session.out() << "nothing has changed\n";
  }
  return Failed(*reply) ? kExitFailed : kExitDone;
}

// A change takes as long as it takes, where it is waited for.
Deadline By(const Session& session) {
  const bool waits = session.options().wait && !session.options().dry_run;
  return waits ? session.end() : session.AnswerBy();
}

}  // namespace

int RunReload(Session& session) {
  auto client = session.Connect();
  if (!client) return session.Fail(client.error());
  admin::v1::ReloadRequest request;
  request.set_dry_run(session.options().dry_run);
  request.set_wait(session.options().wait);
  request.set_reason(session.options().reason);
  auto reply = client->Reload(request, By(session));
  // Another build of the daemon takes over, and goes on with it.
  while (reply && reply->continues() != 0 && session.options().wait) {
    request.set_continues(reply->continues());
    auto again = session.Connect();
    if (!again) return session.Fail(again.error());
    reply = again->Reload(request, By(session));
  }
  return Show(session, reply, "Reload");
}

int RunRestart(Session& session) {
  auto client = session.Connect();
  if (!client) return session.Fail(client.error());
  admin::v1::RestartRequest request;
  request.set_process(session.options().process);
  request.set_wait(session.options().wait);
  request.set_reason(session.options().reason);
  return Show(session, client->Restart(request, By(session)), "Restart");
}

}  // namespace lastcall

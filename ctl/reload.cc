#include "reload.h"

#include <lastcall/base/safe_text.h>

#include <algorithm>

#include "json_output.h"
#include "render.h"
#include "words.h"

namespace lastcall {
namespace {

using admin::v1::ConfigChange;

const std::string kNotChanged = "not changed";

// Of a line that begins with one.
Colour ColourOfSign(std::string_view sign) {
  return sign == "+"   ? Colour::kGreen
         : sign == "-" ? Colour::kRed
         : sign == "~" ? Colour::kYellow
                       : Colour::kDim;
}

std::string DescribeOutcome(const admin::v1::ProcessOutcome& outcome) {
  const std::string what = !outcome.failure().empty() ? kNotChanged + (": " + outcome.failure())
                           : outcome.incarnation() == 0
                               ? "removed"
                               : "incarnation " + std::to_string(outcome.incarnation()) + " serves";
  return SafeText("process " + outcome.process() + ": " + what);
}

std::string DescribeChange(const ConfigChange& change) {
  return SafeText(Word(change.sign()) + " " + change.what() +
                  (change.detail().empty() ? "" : ": " + change.detail()));
}

std::string DescribeValue(const admin::v1::ValueChange& value) {
  const auto text = [](const std::string& one) { return one.empty() ? "(not set)" : one; };
  return SafeText("    " + value.setting() + ": " + text(value.before()) + " → " +
                  text(value.after()));
}

// What would come of a change, in the place of what came of it.
std::string WouldBe(const ConfigChange& change) {
  if (change.sign() == ConfigChange::SIGN_SAME) return "";
  if (change.what() == "lastcalld") return "lastcalld: would re-exec as the other build";
  const bool process = change.what().starts_with("process ");
  return SafeText(change.what()) + ": would be " +
         (!process                                   ? "changed"
          : change.sign() == ConfigChange::SIGN_NEW  ? "started"
          : change.sign() == ConfigChange::SIGN_GONE ? "retired"
                                                     : "replaced");
}

// Where a process fails, what comes after it stays as it was, and so does the daemon itself.
std::string Remainder(const ConfigChanges& changes, const ProcessOutcomes& outcomes) {
  std::string rest;
  for (const ConfigChange& change : changes) {
    const bool over = std::any_of(outcomes.begin(), outcomes.end(), [&](const auto& outcome) {
      return change.what() == "process " + outcome.process();
    });
    // The build is another one already.
    if (over || change.sign() == ConfigChange::SIGN_SAME || change.what() == "lastcalld") continue;
    rest += (rest.empty() ? "" : ", ") + change.what();
  }
  return rest.empty() ? "" : SafeText("as before: " + rest);
}

bool AnyFailed(const ProcessOutcomes& outcomes) {
  return std::any_of(outcomes.begin(), outcomes.end(),
                     [](const auto& outcome) { return !outcome.failure().empty(); });
}

// Its sign, or that nothing came of it, in colour.
std::string Painted(std::string line, const Look& look) {
  if (const size_t at = line.find(kNotChanged); at != line.npos) {
    line.replace(at, kNotChanged.size(), Paint(Colour::kRed, kNotChanged, look));
  }
  const std::string sign = line.substr(0, line.find(' '));
  const bool is_sign = sign == "+" || sign == "-" || sign == "~" || sign == "=";
  return is_sign ? Paint(ColourOfSign(sign), sign, look) + line.substr(sign.size()) : line;
}

std::string Render(const std::vector<std::string>& lines, const Look& look) {
  std::string text;
  for (const std::string& line : lines) {
    const bool deep = line.starts_with("    ");
    text += Painted(Folded(line, deep ? "      " : "    ", look), look) + "\n";
  }
  return text;
}

template <class Response>
bool ChangesNothing(const Response& response) {
  for (const ConfigChange& change : response.changes()) {
    if (change.sign() != ConfigChange::SIGN_SAME) return false;
  }
  return response.processes().empty();
}

// What a person is told: what is done, what has begun, or what would be done.
template <class Response>
std::vector<std::string> Told(const Session& session, const Response& response) {
  const Options& options = session.options();
  const bool over = options.wait && !options.dry_run;
  std::vector<std::string> lines = DescribeReload(response.changes(), response.processes(), over);
  if (options.verb == Verb::kReload && ChangesNothing(response)) {
    lines.emplace_back(options.dry_run ? "nothing would change" : "nothing has changed");
  } else if (options.dry_run) {
    for (const ConfigChange& change : response.changes()) {
      if (std::string plan = WouldBe(change); !plan.empty()) lines.push_back(plan);
    }
  } else if (!options.wait) {
    lines.emplace_back("begun; \"lastcallctl watch\" shows what comes of it");
  }
  return lines;
}

template <class Response>
int Show(Session& session, const Result<Response>& response, const std::string& kind) {
  if (!response) {
    const int code = session.Fail(response.error());
    // Its configuration is at fault, not the way it was asked.
    return response.error().code == Code::kInvalidArgument ? kExitFailed : code;
  }
  if (session.options().json) {
    session.out() << WithKind(kind, ToJson(*response)) << "\n";
  } else {
    session.out() << Render(Told(session, *response), session.look());
  }
  return AnyFailed(response->processes()) ? kExitFailed : kExitDone;
}

// A change takes as long as it takes, where it is waited for.
Deadline By(const Session& session) {
  const bool waits = session.options().wait && !session.options().dry_run;
  return waits ? session.end() : session.AnswerBy();
}

}  // namespace

std::vector<std::string> DescribeReload(const ConfigChanges& changes,
                                        const ProcessOutcomes& outcomes, bool over) {
  std::vector<std::string> lines;
  for (const admin::v1::ConfigChange& change : changes) {
    lines.push_back(DescribeChange(change));
    for (const admin::v1::ValueChange& value : change.values()) {
      lines.push_back(DescribeValue(value));
    }
  }
  for (const admin::v1::ProcessOutcome& outcome : outcomes) {
    lines.push_back(DescribeOutcome(outcome));
  }
  if (!over) return lines;
  if (!AnyFailed(outcomes)) {
    for (const admin::v1::ConfigChange& change : changes) {
      const bool of_daemon = !change.what().starts_with("process ") && change.what() != "lastcalld";
      if (of_daemon) lines.push_back(SafeText(change.what() + ": changed"));
    }
    return lines;
  }
  if (std::string rest = Remainder(changes, outcomes); !rest.empty()) lines.push_back(rest);
  return lines;
}

int RunReload(Session& session) {
  admin::v1::ReloadRequest request;
  request.set_dry_run(session.options().dry_run);
  request.set_wait(session.options().wait);
  request.set_reason(session.options().reason);
  const auto ask = [&](AdminClient& client) { return client.Reload(request, By(session)); };
  auto response = session.Ask(ask);
  // Another build of the daemon takes over, and goes on with it.
  while (response && response->continues() != 0 && session.options().wait) {
    request.set_continues(response->continues());
    response = session.Ask(ask);
  }
  return Show(session, response, "Reload");
}

int RunRestart(Session& session) {
  // Once: it may have begun where its connection breaks.
  auto client = session.Connect();
  if (!client) return session.Fail(client.error());
  admin::v1::RestartRequest request;
  request.set_process(session.options().process);
  request.set_wait(session.options().wait);
  request.set_reason(session.options().reason);
  return Show(session, client->Restart(request, By(session)), "Restart");
}

}  // namespace lastcall

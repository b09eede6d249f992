#include "progress.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "render.h"
#include "words.h"

namespace lastcall {
namespace {

using admin::v1::Server;
using admin::v1::Status;

// The lines must fit on the screen to be redrawn.
constexpr size_t kMaxServers = 10;
constexpr int kMaxCalls = 5;

// "18.8s left, 23.8s at most in all".
std::string TimeLeft(const Status& status) {
  const admin::v1::Plan& plan = status.plan();
  const bool delay = status.stage() == v1::STAGE_DELAY, grace = status.stage() == v1::STAGE_GRACE;
  const bool known = delay   ? plan.has_grace_in_s()
                     : grace ? plan.has_cancel_in_s()
                             : plan.has_end_in_s();
  const double left = delay ? plan.grace_in_s() : grace ? plan.cancel_in_s() : plan.end_in_s();
  std::string text = known ? Steady(left) + " left" : "no end";
  if (plan.has_end_in_s() && (delay || grace))
    text += ", " + Steady(plan.end_in_s()) + " at most in all";
  return text;
}

std::vector<Server> Busy(const Status& status) {
  std::vector<Server> busy;
  for (const Server& server : status.servers()) {
    if (server.calls_in_flight() > 0) busy.push_back(server);
  }
  return busy;
}

}  // namespace

std::vector<std::string> ProgressLines(Status status, const Look& look) {
  MakeSafe(&status);
  const std::vector<Server> busy = Busy(status);
  std::vector<std::string> lines{Paint(ColourOf(status.stage()), Word(status.stage()), look) +
                                 "  " + TimeLeft(status) +
                                 (busy.empty() ? ", nothing in flight" : "")};
  size_t widest = 0;
  for (const Server& server : busy) widest = std::max(widest, WidthOf(server.name()));
  for (size_t i = 0; i < std::min(busy.size(), kMaxServers); ++i) {
    const std::string& name = busy[i].name();
    lines.push_back("  " + name + std::string(widest - WidthOf(name) + 2, ' ') +
                    Grouped(busy[i].calls_in_flight()) + " in flight");
  }
  if (busy.size() > kMaxServers) {
    lines.push_back("  … and " + Counted(static_cast<double>(busy.size() - kMaxServers), "server") +
                    " more");
  }
  std::istringstream oldest(OldestCalls(status, kMaxCalls, Narrower(look, 2)));
  for (std::string line; std::getline(oldest, line);) lines.push_back("  " + line);
  return lines;
}

std::string ProgressLine(Status status) {
  MakeSafe(&status);
  double total = 0;
  std::string each;
  for (const Server& server : Busy(status)) {
    total += server.calls_in_flight();
    each += (each.empty() ? "" : ", ") + server.name() + " " + Grouped(server.calls_in_flight());
  }
  return Word(status.stage()) + ": " + TimeLeft(status) + "; " +
         (each.empty() ? "nothing in flight" : Grouped(total) + " in flight (" + each + ")");
}

void Progress::Show(const Status& status) {
  if (!IsStoppingStage(status.stage())) return;
  if (!live_) {
    if (status.stage() != stage_) out_ << ProgressLine(status) << std::endl;
    stage_ = status.stage();
    return;
  }
  lines_.Show(ProgressLines(status, look_), look_.width);
}

}  // namespace lastcall

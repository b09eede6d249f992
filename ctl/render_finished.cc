#include "render_finished.h"

#include <algorithm>
#include <sstream>
#include <tuple>

#include "render_calls.h"
#include "table.h"
#include "words.h"

namespace lastcall {
namespace {

using admin::v1::FinishedCall;
using admin::v1::FinishedCalls;

// To the second, which is enough to find it in a log.
std::string WhenEnded(std::string ended_at) {
  const size_t fraction = ended_at.find('.');
  return fraction == std::string::npos ? ended_at : ended_at.substr(0, fraction) + "Z";
}

void AddRow(const std::string& which, const FinishedCall& call, TextTable& table) {
  table.Add({{which},
             {Brief(call.duration_s())},
             {CodeWord(call.status()), call.status() == 0 ? Colour::kPlain : Colour::kRed},
             {WhenEnded(call.ended_at())},
             {call.peer()},
             {call.message()}});
}

std::string OfMethod(const FinishedCalls& calls, const Look& look) {
  constexpr size_t kEnoughOfPeer = 15, kEnoughOfMessage = 16;
  TextTable table({{"WHICH"},
                   {"TOOK", Align::kRight},
                   {"STATUS", Align::kName},
                   {"ENDED AT", Align::kName},
                   {.title = "PEER", .gives_way = 1, .enough = kEnoughOfPeer, .if_any = true},
                   {.title = "MESSAGE", .enough = kEnoughOfMessage, .if_any = true}});
  for (const FinishedCall& call : calls.slowest()) AddRow("slowest", call, table);
  for (const FinishedCall& call : calls.failures()) AddRow("failed", call, table);
  const std::string head = calls.method() + " of " + calls.server() + ", incarnation " +
                           std::to_string(calls.incarnation()) + ": " + Grouped(calls.failed()) +
                           " failed";
  std::string text = Paint(Colour::kBold, Folded(head, "  ", look), look) + "\n";
  if (table.empty()) return text;
  const Look inner = Narrower(look, 2);
  table.MakeRoom(inner);
  std::istringstream rows(table.Render(inner));
  for (std::string row; std::getline(rows, row);) text += "  " + row + "\n";
  return text;
}

}  // namespace

void SortFinished(Finished* finished) {
  std::sort(finished->pointer_begin(), finished->pointer_end(),
            [](const FinishedCalls* a, const FinishedCalls* b) {
              const auto key = [](const FinishedCalls& calls) {
                return std::tuple(-calls.failed(), std::string_view(calls.method()),
                                  std::string_view(calls.server()), calls.incarnation());
              };
              return key(*a) < key(*b);
            });
}

std::string RenderFinished(admin::v1::ListCallsResponse response, bool filtered, const Look& look) {
  MakeSafe(&response);
  std::string text;
  double failed = 0;
  for (const FinishedCalls& calls : response.finished()) {
    text += OfMethod(calls, look) + "\n";
    failed += calls.failed();
  }
  if (response.finished().empty()) {
    text += filtered ? "no such calls have finished\n" : "no calls have finished\n";
  } else {
    text += Counted(failed, "call") + " failed in all\n";
  }
  for (const std::string& line : DescribeUnseen(response)) text += Folded(line, "  ", look) + "\n";
  return text;
}

}  // namespace lastcall

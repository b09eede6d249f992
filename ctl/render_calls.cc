#include "render_calls.h"

#include <algorithm>
#include <sstream>
#include <tuple>

#include "live_lines.h"
#include "table.h"
#include "words.h"

namespace lastcall {
namespace {

using admin::v1::Call;
using admin::v1::ListCallsResponse;

bool IsHeld(const Call& call) {
  return call.waits_for() == Call::WAITS_HANDLER || call.waits_for() == Call::WAITS_APPLICATION;
}

// "2.3s", "3.2s ago", "-".
std::string DeadlineOf(const Call& call) {
  if (!call.has_deadline_in_s()) return "-";
  const double left = call.deadline_in_s();
  return left < 0 ? Coarse(-left) + " ago" : Coarse(left);
}

std::string OrDash(std::string text) { return text.empty() ? "-" : std::move(text); }

TextTable::Cell WaitsCell(const Call& call) {
  if (call.stalled()) return {call.why(), Colour::kRed};
  return {OrDash(Word(call.waits_for())), IsHeld(call) ? Colour::kYellow : Colour::kPlain};
}

// The first `rows` of them.
TextTable CallTable(const Calls& calls, int rows) {
  constexpr size_t kEnoughOfMethod = 24, kEnoughOfPeer = 15;
  TextTable table({{"ID", Align::kName},
                   {.title = "SERVER", .align = Align::kName, .gives_way = 2, .if_any = true},
                   {.title = "METHOD", .enough = kEnoughOfMethod},
                   {.title = "KIND", .gives_way = 1},
                   {.title = "PEER", .gives_way = 5, .enough = kEnoughOfPeer, .if_any = true},
                   {"AGE", Align::kRight},
                   {"IDLE", Align::kRight},
                   {"IN", Align::kRight, 4},
                   {"OUT", Align::kRight, 4},
                   {"DEADLINE", Align::kRight, 3},
                   {"WAITS FOR"}});
  const bool of_several = std::any_of(calls.begin(), calls.end(), [&](const Call& call) {
    return call.server() != calls[0].server();
  });
  for (int i = 0; i < std::min(rows, calls.size()); ++i) {
    const Call& call = calls[i];
    table.Add({{call.id(), Colour::kBold},
               {of_several ? call.server() : ""},
               {call.method()},
               {OrDash(Word(call.kind()))},
               {call.peer()},
               {Coarse(call.age_s())},
               {Coarse(call.idle_s())},
               {Grouped(call.received())},
               {Grouped(call.sent())},
               {DeadlineOf(call)},
               WaitsCell(call)});
  }
  return table;
}

// "KIND, IN and OUT"
std::string Listed(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  }
  return text;
}

// "1,204 calls in flight, 204 of them left out; no room here for KIND"
std::string SummaryOf(const ListCallsResponse& response, bool filtered,
                      const std::vector<std::string>& no_room) {
  const double count = response.calls_size() + response.left_out();
  if (count == 0) return filtered ? "no such calls in flight" : "no calls in flight";
  std::string text = Counted(count, "call") + " in flight";
  if (response.left_out() > 0) {
    text += ", " + Grouped(response.left_out()) + " of them left out (--limit)";
  }
  if (!no_room.empty()) text += "; no room here for " + Listed(no_room);
  return text;
}

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> FrameWith(int rows, const ListCallsResponse& response, bool filtered,
                                   const Look& look) {
  TextTable table = CallTable(response.calls(), rows);
  const std::vector<std::string> no_room = table.MakeRoom(look);
  std::string text = Folded(SummaryOf(response, filtered, no_room), "  ", look) + "\n";
  for (const std::string& line : DescribeUnseen(response)) text += Folded(line, "  ", look) + "\n";
  if (!table.empty()) text += table.Render(look);
  const int more = response.calls_size() - rows;
  if (more > 0) text += "… and " + Grouped(more) + " more\n";
  return LinesOf(text);
}

std::string WaitsOf(const Call& call) {
  const std::string word = OrDash(Word(call.waits_for()));
  switch (call.waits_for()) {
    case Call::WAITS_INPUT: return word + ": the next message of its client";
    case Call::WAITS_CLIENT: return word + ": it has not yet taken what was written";
    case Call::WAITS_APPLICATION: return word + ": no thread runs it, and nothing is awaited";
    case Call::WAITS_FINISH: return word + ": gRPC is about to end it";
    default: return word;
  }
}

std::string DescribeDeadline(const Call& call) {
  if (!call.has_deadline_in_s()) return "none";
  return call.deadline_in_s() < 0 ? "passed " + DeadlineOf(call) : "in " + DeadlineOf(call);
}

// Indented as it comes: it is a tree.
std::string ProfileOf(const admin::v1::GetCallResponse& response, const Look& look) {
  if (response.profile().empty()) return "";
  std::string text = "\n" + Paint(Colour::kBold, "profile", look) + "\n";
  for (const std::string& line : response.profile()) {
    text += "  " + CutMiddle(line, Narrower(look, 2).width) + "\n";
  }
  return text;
}

std::string StackOf(const admin::v1::GetCallResponse& response, const Look& look) {
  if (response.stack().empty()) {
    const std::string why = response.no_stack().empty() ? "" : ": " + response.no_stack();
    return "\n" + Folded("no stack" + why, "  ", look) + "\n";
  }
  std::string text = "\n" + Paint(Colour::kBold, "stack", look) + "\n";
  for (int i = 0; i < response.stack_size(); ++i) {
    const std::string number = "  #" + std::to_string(i) + "  ";
    text += number + CutMiddle(response.stack(i), Narrower(look, number.size()).width) + "\n";
  }
  return text;
}

}  // namespace

void SortCalls(Calls* calls) {
  std::sort(calls->pointer_begin(), calls->pointer_end(), [](const Call* a, const Call* b) {
    const auto key = [](const Call& call) {
      return std::tuple(!call.stalled(), !IsHeld(call), -call.age_s());
    };
    const auto first = key(*a), second = key(*b);
    return first != second ? first < second : a->id() < b->id();
  });
}

std::vector<std::string> DescribeUnseen(const ListCallsResponse& response) {
  std::vector<std::string> lines;
  for (const std::string& process : response.not_answering()) {
    lines.push_back("process " + process + " does not answer: its calls are not listed");
  }
  for (const std::string& process : response.not_seen_into()) {
    lines.push_back("process " + process + " is not a lastcall-host: its calls cannot be seen");
  }
  return lines;
}

std::string RenderCalls(ListCallsResponse response, bool filtered, const Look& look) {
  MakeSafe(&response);
  TextTable table = CallTable(response.calls(), response.calls_size());
  const std::vector<std::string> no_room = table.MakeRoom(look);
  std::string text = table.empty() ? "" : table.Render(look) + "\n";
  text += Folded(SummaryOf(response, filtered, no_room), "  ", look) + "\n";
  for (const std::string& line : DescribeUnseen(response)) text += Folded(line, "  ", look) + "\n";
  return text;
}

std::vector<std::string> CallsFrame(ListCallsResponse response, bool filtered, const Look& look) {
  MakeSafe(&response);
  // The cursor stands on the line below the last.
  const size_t room = std::max<size_t>(look.height, 2) - 1;
  int rows = std::min(response.calls_size(), static_cast<int>(room));
  while (true) {
    std::vector<std::string> lines = FrameWith(rows, response, filtered, look);
    size_t taken = 0;
    for (const std::string& line : lines) taken += RowsOf(line, look.width);
    if (taken <= room || rows == 0) {
      if (lines.size() > room) lines.resize(room);
      return lines;
    }
    // A call takes one line or more.
    rows -= std::min(rows, std::max(1, static_cast<int>(taken - room) / 2));
  }
}

std::string RenderCall(admin::v1::GetCallResponse response, const Look& look) {
  MakeSafe(&response);
  const Call& call = response.call();
  std::string text = Folded(call.id() + ": " + call.method(), "  ", look) + "\n";
  const auto line = [&](std::string_view title, const std::string& what) {
    const std::string begin = "  " + std::string(title) + std::string(15 - title.size(), ' ');
    text +=
        begin + Folded(what, std::string(begin.size(), ' '), Narrower(look, begin.size())) + "\n";
  };
  line("server", call.server());
  line("process", call.process() + ", incarnation " + std::to_string(call.incarnation()));
  line("kind", OrDash(Word(call.kind())));
  line("peer", call.peer().empty() ? "not known" : call.peer());
  if (!call.identity().empty()) line("identity", call.identity());
  line("age", Coarse(call.age_s()));
  line("idle", Coarse(call.idle_s()));
  line("messages", Grouped(call.received()) + " in, " + Grouped(call.sent()) + " out");
  line("deadline", DescribeDeadline(call));
  line("waits for", WaitsOf(call));
  if (call.stalled()) line("stalled", call.why());
  line("told to leave", call.told() ? "yes" : "no");
  if (call.thread() != 0) line("thread", std::to_string(call.thread()));
  return text + StackOf(response, look) + ProfileOf(response, look);
}

}  // namespace lastcall

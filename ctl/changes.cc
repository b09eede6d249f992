#include "changes.h"

#include <lastcall/base/safe_text.h>

#include "render.h"

namespace lastcall {
namespace {

using admin::v1::Process;
using admin::v1::Server;
using admin::v1::Status;

using Lines = std::vector<std::string>;

std::string Moved(const std::string& from, const std::string& to) { return from + " → " + to; }

std::string Joined(const google::protobuf::RepeatedPtrField<std::string>& strings) {
  std::string text;
  for (const std::string& one : strings) text += (text.empty() ? "" : ", ") + one;
  return text;
}

template <class Item>
const Item* Find(const google::protobuf::RepeatedPtrField<Item>& items, const std::string& name) {
  for (const Item& item : items) {
    if (item.name() == name) return &item;
  }
  return nullptr;
}

// Calls compare(before, after) for what both have, and says which came and went.
template <class Item, class Compare>
void Each(const std::string& noun, const google::protobuf::RepeatedPtrField<Item>& before,
          const google::protobuf::RepeatedPtrField<Item>& after, Lines& lines, Compare compare) {
  for (const Item& item : before) {
    if (Find(after, item.name()) == nullptr) lines.push_back(noun + item.name() + ": gone");
  }
  for (const Item& item : after) {
    const Item* old = Find(before, item.name());
    if (old == nullptr) {
      lines.push_back(noun + item.name() + ": new");
    } else {
      compare(*old, item, noun + item.name() + ": ");
    }
  }
}

void CompareProcesses(const Process& before, const Process& after, const std::string& who,
                      Lines& lines) {
  if (before.incarnation() != after.incarnation()) {
    lines.push_back(who + "incarnation " + std::to_string(after.incarnation()) + ", pid " +
                    std::to_string(after.pid()));
  }
  if (before.stage() != after.stage()) lines.push_back(who + Moved(before.stage(), after.stage()));
  if (before.restarts() < after.restarts() ||
      (before.last_exit() != after.last_exit() && !after.last_exit().empty())) {
    std::string line = who + (after.last_exit().empty() ? "failed" : after.last_exit());
    if (after.restarts() > 0) line += ", restarts " + std::to_string(after.restarts());
    if (after.has_next_start_in_s()) line += ", next start in " + Brief(after.next_start_in_s());
    lines.push_back(line);
  }
  if (before.answering() != after.answering() && after.pid() != 0) {
    lines.push_back(who + (after.answering() ? "answers again" : "does not answer"));
  }
}

void CompareServers(const Server& before, const Server& after, const std::string& who,
                    bool stopping, Lines& lines) {
  if (before.health() != after.health()) {
    lines.push_back(who + Moved(before.health(), after.health()));
  }
  if (before.accepting() != after.accepting()) {
    lines.push_back(who + (after.accepting() ? "accepting" : "no longer accepting"));
  }
  if (before.has_draining() != after.has_draining()) {
    lines.push_back(
        who + (after.has_draining() ? DescribeDraining(after.draining()) : "no longer draining"));
  }
  if (Joined(before.listen()) != Joined(after.listen())) {
    lines.push_back(who + "listens on " + Joined(after.listen()));
  }
  if (stopping && before.calls_in_flight() != after.calls_in_flight()) {
    lines.push_back(who + Grouped(after.calls_in_flight()) + " in flight");
  }
}

}  // namespace

std::string Summary(const Status& status) {
  double in_flight = 0;
  for (const Server& server : status.servers()) in_flight += server.calls_in_flight();
  return SafeText(status.stage()) + "; " + Counted(status.processes_size(), "process") + ", " +
         Counted(status.servers_size(), "server") + ", " + Counted(in_flight, "call") +
         " in flight";
}

Lines Changes(const Status& before, const Status& after) {
  Lines lines;
  for (int i = before.plan().requests_size(); i < after.plan().requests_size(); ++i) {
    lines.push_back("shutdown asked by " + DescribeCause(after.plan().requests(i).cause()) + ": " +
                    DescribePlan(after.plan()));
  }
  if (before.stage() != after.stage()) lines.push_back(Moved(before.stage(), after.stage()));
  if (before.log_level() != after.log_level()) {
    lines.push_back("log level " + Moved(before.log_level(), after.log_level()));
  }
  Each("process ", before.processes(), after.processes(), lines,
       [&](const Process& a, const Process& b, const std::string& who) {
         CompareProcesses(a, b, who, lines);
       });
  Each("server ", before.servers(), after.servers(), lines,
       [&](const Server& a, const Server& b, const std::string& who) {
         CompareServers(a, b, who, after.has_plan(), lines);
       });
  for (std::string& line : lines) line = SafeText(line);
  return lines;
}

}  // namespace lastcall

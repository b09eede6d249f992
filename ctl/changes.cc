#include "changes.h"

#include <lastcall/base/safe_text.h>

#include "reload.h"
#include "render.h"
#include "words.h"

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

std::string Incarnation(uint32_t number) { return "incarnation " + std::to_string(number); }

std::string AskedBy(const std::string& who) { return who.empty() ? "" : ", requested by " + who; }

// What was requested, and by whom: the incarnation that is to take over.
void CompareSuccessors(const Process& before, const Process& after, const std::string& who,
                       Lines& lines) {
  if (!after.has_successor()) {
    // It has become the current one, or failed.
    const uint32_t gone = before.has_successor() ? before.successor().incarnation() : 0;
    if (gone > after.incarnation()) lines.push_back(who + Incarnation(gone) + " has failed");
    return;
  }
  const admin::v1::Successor& next = after.successor();
  const bool known =
      before.has_successor() && before.successor().incarnation() == next.incarnation();
  if (!known) {
    lines.push_back(who + Incarnation(next.incarnation()) + " is started" + AskedBy(next.by()));
  }
  if (next.step() == admin::v1::Successor::STEP_SETTLING &&
      !(known && before.successor().step() == next.step())) {
    lines.push_back(who + Incarnation(next.incarnation()) + " has taken over, and settles");
  }
}

const admin::v1::Retired* FindRetired(const Process& process, uint32_t incarnation) {
  for (const admin::v1::Retired& retired : process.retired()) {
    if (retired.incarnation() == incarnation) return &retired;
  }
  return nullptr;
}

// Incarnations that were replaced: when they begin to retire, and how they have ended.
void CompareRetired(const Process& before, const Process& after, const std::string& who,
                    Lines& lines) {
  for (const admin::v1::Retired& retired : after.retired()) {
    if (FindRetired(before, retired.incarnation()) != nullptr) continue;
    lines.push_back(who + Incarnation(retired.incarnation()) + " retires" +
                    AskedBy(retired.replaced_by()) + ": " + DescribeRetired(retired));
  }
  const admin::v1::Ended& last = after.last_retired();
  const bool told = last.incarnation() == before.last_retired().incarnation();
  const auto ended = [&](uint32_t incarnation, const std::string& outcome) {
    lines.push_back(who + Incarnation(incarnation) + " has ended" +
                    (outcome.empty() ? "" : ": " + outcome));
  };
  for (const admin::v1::Retired& retired : before.retired()) {
    const uint32_t incarnation = retired.incarnation();
    if (FindRetired(after, incarnation) != nullptr || incarnation == last.incarnation()) continue;
    ended(incarnation, "");
  }
  // It may have come and gone between the two.
  if (after.has_last_retired() && !told) ended(last.incarnation(), last.outcome());
}

void CompareReloads(const Status& before, const Status& after, Lines& lines) {
  const admin::v1::Reload& reload = after.last_reload();
  if (!after.has_last_reload() || before.last_reload().at() == reload.at()) return;
  const std::string asked = "reload" + AskedBy(reload.by());
  if (!reload.refusal().empty()) {
    lines.push_back(asked + ": refused, nothing has changed: " + reload.refusal());
    return;
  }
  lines.push_back(asked + (reload.changes().empty() ? ": nothing has changed" : ":"));
  for (const std::string& line : DescribeReload(reload.changes(), reload.processes(), true)) {
    lines.push_back("  " + line);
  }
}

void CompareProcesses(const Process& before, const Process& after, const std::string& who,
                      Lines& lines) {
  CompareSuccessors(before, after, who, lines);
  if (before.incarnation() != after.incarnation()) {
    lines.push_back(who + Incarnation(after.incarnation()) + ", pid " +
                    std::to_string(after.pid()));
  }
  if (before.stage() != after.stage()) {
    lines.push_back(who + Moved(Word(before.stage()), Word(after.stage())));
  }
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
  CompareRetired(before, after, who, lines);
}

void CompareServers(const Server& before, const Server& after, const std::string& who,
                    bool stopping, Lines& lines) {
  if (before.health() != after.health()) {
    lines.push_back(who + Moved(Word(before.health()), Word(after.health())));
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
  return Word(status.stage()) + "; " + Counted(status.processes_size(), "process") + ", " +
         Counted(status.servers_size(), "server") + ", " + Counted(in_flight, "call") +
         " in flight";
}

Lines Changes(const Status& before, const Status& after) {
  Lines lines;
  for (int i = before.plan().requests_size(); i < after.plan().requests_size(); ++i) {
    lines.push_back("shutdown requested by " + DescribeCause(after.plan().requests(i).cause()) +
                    ": " + DescribePlan(after.plan()));
  }
  if (before.stage() != after.stage()) {
    lines.push_back(Moved(Word(before.stage()), Word(after.stage())));
  }
  CompareReloads(before, after, lines);
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

#include "render_receipt.h"

#include "render.h"
#include "table.h"
#include "words.h"

namespace lastcall {
namespace {

using v1::Receipt;

std::string Heading(std::string_view text, const Look& look) {
  return "\n" + Paint(Colour::kBold, text, look) + "\n";
}

std::string Indented(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    out += "  " + text.substr(at, end - at + 1);
    at = end + 1;
  }
  return out;
}

std::string Requests(const Receipt& receipt, const Look& look) {
  TextTable table({{"AT"}, {"FOR"}, {"BY"}});
  for (const v1::Request& request : receipt.requests()) {
    std::string asked = DescribeLengths(request);
    if (request.skip()) asked = "skip the stage";
    if (asked.empty()) asked = "as configured";
    if (!request.moved()) asked += " (changed nothing)";
    table.Add({{request.at()}, {asked}, {DescribeCause(request.cause())}});
  }
  if (table.empty()) return "";
  std::string text = Heading("requests", look) + Indented(table.Render(Narrower(look, 2)));
  if (receipt.requests_left_out() != 0) {
    text += "  and " + Grouped(receipt.requests_left_out()) + " more requests\n";
  }
  return text;
}

std::string Stages(const Receipt& receipt, const Look& look) {
  TextTable table({{"STAGE"}, {"PLANNED", Align::kRight}, {"TOOK", Align::kRight}, {"ENDED BY"}});
  for (const v1::StageRecord& stage : receipt.stages()) {
    table.Add({{Word(stage.stage())},
               {stage.planned_s() < 0 ? "no end" : Brief(stage.planned_s())},
               {Brief(stage.took_s())},
               {Word(stage.ended_by())}});
  }
  return table.empty() ? "" : Heading("stages", look) + Indented(table.Render(Narrower(look, 2)));
}

// A daemon's receipt may list what its processes did, or leave that to their own receipts.
template <class Record>
std::vector<Record> Collect(const Receipt& receipt,
                            const google::protobuf::RepeatedPtrField<Record>& (Receipt::*list)()
                                const) {
  const auto& own = (receipt.*list)();
  std::vector<Record> records(own.begin(), own.end());
  if (!records.empty()) return records;
  for (const Receipt& process : receipt.processes()) {
    const std::vector<Record> more = Collect(process, list);
    records.insert(records.end(), more.begin(), more.end());
  }
  return records;
}

std::string Cancelled(const Receipt& receipt, const Look& look) {
  const auto calls = Collect(receipt, &Receipt::cancelled);
  if (calls.empty()) return "";
  TextTable table(
      {{"METHOD"}, {"PEER"}, {"SERVER", Align::kName}, {"AGE", Align::kRight}, {"TOLD TO LEAVE"}});
  for (const v1::CallRecord& call : calls) {
    table.Add({{call.method()},
               {call.peer()},
               {call.server()},
               {Brief(call.age_s())},
               {call.told() ? "yes" : "no", call.told() ? Colour::kPlain : Colour::kYellow}});
  }
  std::string text = Heading("cancelled", look) + Indented(table.Render(Narrower(look, 2)));
  if (receipt.calls_cancelled() > calls.size()) {
    text += "  … and " + Grouped(receipt.calls_cancelled() - static_cast<double>(calls.size())) +
            " more\n";
  }
  return text;
}

std::string StuckOnes(const Receipt& receipt, const Look& look) {
  const auto stuck = Collect(receipt, &Receipt::stuck);
  std::string text = stuck.empty() ? "" : Heading("did not return", look);
  for (const v1::StuckRecord& one : stuck) {
    const std::string what = Word(one.what());
    const std::string age = ", for " + Brief(one.age_s());
    const size_t taken = 2 + what.size() + 1 + age.size();
    const std::string name = CutMiddle(one.name(), Narrower(look, taken).width);
    text += "  " + Paint(Colour::kRed, what + " " + name, look) + age + "\n";
    for (int i = 0; i < one.stack_size(); ++i) {
      const std::string number = "    #" + std::to_string(i) + "  ";
      text += number + CutMiddle(one.stack(i), look.width - number.size()) + "\n";
    }
    if (one.stack().empty()) text += "    no stack: it has no thread of its own\n";
  }
  return text;
}

std::string Processes(const Receipt& receipt, const Look& look) {
  TextTable table({{"PROCESS", Align::kName}, {"PID", Align::kRight}, {"OUTCOME"}});
  for (const Receipt& process : receipt.processes()) {
    table.Add({{process.subject()},
               {std::to_string(process.pid())},
               {process.outcome(), process.exit_code() == 0 ? Colour::kPlain : Colour::kYellow}});
  }
  return table.empty() ? ""
                       : Heading("processes", look) + Indented(table.Render(Narrower(look, 2)));
}

}  // namespace

std::string RenderReceipt(Receipt receipt, const Look& look) {
  MakeSafe(&receipt);
  std::string headline = receipt.subject() + ": " + receipt.outcome();
  if (receipt.exit_code() != 0) headline += "; exit code " + std::to_string(receipt.exit_code());
  std::string text;
  for (const std::string& line : Wrap(headline, look.width, LongWords::kKept)) {
    text += Paint(receipt.exit_code() == 0 ? Colour::kGreen : Colour::kRed, line, look) + "\n";
  }
  return text + Requests(receipt, look) + Stages(receipt, look) + Heading("calls", look) + "  " +
         Grouped(receipt.calls_finished()) + " finished, " + Grouped(receipt.calls_cancelled()) +
         " cancelled\n" + Cancelled(receipt, look) + StuckOnes(receipt, look) +
         Processes(receipt, look);
}

}  // namespace lastcall

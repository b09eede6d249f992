#include "render.h"

#include <lastcall/lifecycle/cause.h>

#include <algorithm>

#include "table.h"
#include "words.h"

namespace lastcall {
namespace {

using admin::v1::Plan;
using admin::v1::Process;
using admin::v1::Server;
using admin::v1::Status;

std::string Append(std::string text, std::string_view separator, std::string_view part) {
  if (part.empty()) return text;
  if (!text.empty()) text += separator;
  return text += part;
}

template <class Strings>
std::string Join(const Strings& strings, std::string_view separator) {
  std::string text;
  for (const std::string& one : strings) text = Append(std::move(text), separator, one);
  return text;
}

// "in 4.2s", or "2s ago".
std::string FromNow(double seconds) {
  return seconds > 0 ? "in " + Brief(seconds) : Brief(-seconds) + " ago";
}

std::string Headline(const Status& status, const Look& look) {
  const std::string stage = Paint(ColourOf(status.stage()), Word(status.stage()), look);
  return Paint(Colour::kBold, "lastcalld " + status.version(), look) + ", pid " +
         std::to_string(status.pid()) + ": " +
         (IsStoppingStage(status.stage()) ? "stopping, stage " + stage : stage) + ", up " +
         Coarse(status.uptime_s()) + "\n";
}

std::string DescribeTls(const admin::v1::Certificate& certificate) {
  return (certificate.valid() ? "until " : "certificate is NOT VALID, it expires ") +
         certificate.expires() +
         (certificate.client_ca() ? ", clients show a certificate too" : "");
}

std::string ProcessNote(const Process& process) {
  std::string note;
  if (!process.answering() && process.pid() != 0) {
    note = "does not answer: figures are the last known";
  }
  if (!process.frozen().empty()) note = Append(note, "; ", "frozen: " + process.frozen());
  if (!process.last_exit().empty()) {
    // Of whom it is told, for it is so after replacements too.
    const uint32_t whose = process.last_exit_incarnation();
    const std::string who = whose == 0 ? "before" : "incarnation " + std::to_string(whose);
    note = Append(note, "; ", who + ": " + process.last_exit());
  }
  if (process.has_next_start_in_s()) {
    note = Append(note, "; ", "next start " + FromNow(process.next_start_in_s()));
  }
  return note;
}

// Incarnations besides the current one, each in a row below it.
void AddOthers(const Process& process, TextTable& table) {
  if (process.has_successor()) {
    const admin::v1::Successor& next = process.successor();
    table.Add({{"  next"},
               {Word(next.step()), Colour::kYellow},
               {std::to_string(next.pid())},
               {"-"},
               {std::to_string(next.incarnation())},
               {"-"},
               {next.step() == admin::v1::Successor::STEP_SETTLING
                    ? "the old one retires " + FromNow(next.ends_in_s())
                    : "ready " + FromNow(next.ends_in_s()) + " at the latest"}});
  }
  for (const admin::v1::Retired& retired : process.retired()) {
    table.Add({{"  retired"},
               {Word(retired.stage()), Colour::kDim},
               {std::to_string(retired.pid())},
               {"-"},
               {std::to_string(retired.incarnation())},
               {"-"},
               {DescribeRetired(retired)}});
  }
}

std::string RenderProcesses(const Status& status, const Look& look) {
  TextTable table({{"PROCESS", Align::kName},
                   {"STAGE"},
                   {"PID", Align::kRight},
                   {"UP", Align::kRight},
                   {"INCARNATION", Align::kRight},
                   {"RESTARTS", Align::kRight},
                   {"NOTE"}});
  for (const Process& process : status.processes()) {
    const bool lives = process.pid() != 0;
    const bool well = (process.answering() && process.frozen().empty()) || !lives;
    table.Add(
        {{process.name(), Colour::kBold},
         {Word(process.stage()), well ? ColourOf(process.stage()) : Colour::kRed},
         {lives ? std::to_string(process.pid()) : "-"},
         {lives ? Coarse(process.uptime_s()) : "-"},
         {Grouped(process.incarnation())},
         {Grouped(process.restarts()), process.restarts() > 0 ? Colour::kYellow : Colour::kPlain},
         {ProcessNote(process), well ? Colour::kPlain : Colour::kRed}});
    AddOthers(process, table);
  }
  return table.empty() ? "no processes\n" : table.Render(look);
}

TextTable::Cell HealthCell(const Server& server) {
  if (server.has_draining()) return {"draining", Colour::kYellow};
  if (server.health() != Server::HEALTH_SERVING) return {"not serving", Colour::kRed};
  if (!server.accepting()) return {"not accepting", Colour::kYellow};
  return {"serving", Colour::kGreen};
}

std::string ServerTable(const Status& status, const Look& look) {
  TextTable table({{"SERVER", Align::kName},
                   {"PROCESS", Align::kName},
                   {"HEALTH"},
                   {"IN FLIGHT", Align::kRight},
                   {"CALLS", Align::kRight},
                   {"CONNECTIONS", Align::kRight},
                   {"LISTEN"}});
  for (const Server& server : status.servers()) {
    table.Add({{server.name(), Colour::kBold},
               {server.process()},
               HealthCell(server),
               {Grouped(server.calls_in_flight())},
               {Grouped(server.calls_total())},
               {Grouped(server.connections())},
               {Join(server.listen(), "\n")}});
  }
  return table.empty() ? "no servers\n" : table.Render(look);
}

std::string DescribeRequest(const v1::Request& request) {
  std::string text = "requested at " + request.at() + " by " + DescribeCause(request.cause());
  text = Append(text, "; ", DescribeLengths(request));
  if (request.skip()) text += "; skips a stage";
  return text + (request.moved() ? "" : "; changed nothing");
}

// Wrapped, with the lines after the first indented by two more.
std::string Paragraph(const std::string& text, const std::string& indent, const Look& look) {
  std::string out;
  const size_t taken = indent.size() + 2;
  const size_t room = look.width > taken ? look.width - taken : 1;
  for (const std::string& line : Wrap(text, room, LongWords::kKept)) {
    out += (out.empty() ? indent : indent + "  ") + line + "\n";
  }
  return out;
}

std::string DescribeCanary(const admin::v1::Canary& canary) {
  if (canary.has_overdue_s()) {
    return "overdue: a call through its queues is not answered for " + Brief(canary.overdue_s());
  }
  if (canary.full()) return "full: every thread that it may have is at work";
  return canary.has_latency_s() ? FormatDuration(FromSeconds(canary.latency_s())) : "on its way";
}

// Whether there is more to say of it than that it is well.
bool IsNoteworthy(const admin::v1::Canary& canary) {
  constexpr double kLong = 0.1;
  return canary.has_overdue_s() || canary.full() || canary.latency_s() >= kLong;
}

// What a table has no room for.
std::string ServerNotes(const Status& status, const Look& look) {
  std::string notes;
  for (const Server& server : status.servers()) {
    if (server.has_certificate() && !server.certificate().valid()) {
      notes += Paragraph(server.name() + ": TLS " + DescribeTls(server.certificate()), "", look);
    }
    if (server.calls_stalled() > 0) {
      notes += Paragraph(server.name() + ": " + Counted(server.calls_stalled(), "call") +
                             (server.calls_stalled() == 1 ? " makes" : " make") +
                             " no progress; lastcallctl calls --stalled says why",
                         "", look);
    }
    if (IsNoteworthy(server.canary())) {
      notes += Paragraph(server.name() + ": canary " + DescribeCanary(server.canary()), "", look);
    }
    if (server.has_held_by()) {
      notes += Paragraph(server.name() + ": full: " + server.held_by() + "; new calls are refused",
                         "", look);
    }
    if (!server.has_draining()) continue;
    notes += Paragraph(server.name() + ": " + DescribeDraining(server.draining()), "", look);
  }
  return notes.empty() ? "" : "\n" + notes;
}

// Of those that were ever used: most plugins offload nothing.
void AddOffloads(const Server& server, TextTable& table) {
  for (const admin::v1::Offload& one : server.offloads()) {
    if (one.begun() == 0 && one.refused() == 0 && one.late() == 0) continue;
    const auto alarm = [](bool bad) { return bad ? Colour::kYellow : Colour::kPlain; };
    table.Add({{one.plugin(), Colour::kBold},
               {server.name()},
               {Grouped(one.busy()) + " of " + Grouped(one.threads()),
                alarm(one.busy() >= one.threads())},
               {Grouped(one.abandoned()), alarm(one.abandoned() > 0)},
               {Grouped(one.queued()) + " of " + Grouped(one.queue()),
                alarm(one.queued() >= one.queue())},
               {Grouped(one.begun())},
               {Grouped(one.refused()), alarm(one.refused() > 0)},
               {Grouped(one.late()), alarm(one.late() > 0)}});
  }
}

TextTable OffloadTable() {
  return TextTable({{"OFFLOADED BY", Align::kName},
                    {"SERVER", Align::kName},
                    {"BUSY", Align::kRight},
                    {"ABANDONED", Align::kRight},
                    {"QUEUED", Align::kRight},
                    {"BEGUN", Align::kRight},
                    {"REFUSED", Align::kRight},
                    {"LATE", Align::kRight}});
}

std::string Offloads(const Status& status, const Look& look) {
  TextTable table = OffloadTable();
  for (const Server& server : status.servers()) AddOffloads(server, table);
  return table.empty() ? "" : "\n" + table.Render(look);
}

std::string StaleNotes(const Status& status) {
  std::string notes;
  for (const Process& process : status.processes()) {
    if (process.answering() || process.pid() == 0) continue;
    notes += "process " + process.name() + " does not answer: its figures are the last known\n";
  }
  return notes.empty() ? "" : "\n" + notes;
}

// The plan below a headline.
std::string PlanLines(const Plan& plan, const Look& look) {
  std::string text = "  " + DescribePlan(plan) + "\n";
  for (const v1::Request& request : plan.requests()) {
    text += Paragraph(DescribeRequest(request), "  ", look);
  }
  if (plan.requests_left_out() != 0) {
    text += "  and " + Grouped(plan.requests_left_out()) + " more requests\n";
  }
  return text;
}

std::string MethodTable(const Server& server, const Look& look) {
  TextTable table({{"METHOD"}, {"IN FLIGHT", Align::kRight}, {"CALLS", Align::kRight}});
  for (const admin::v1::Method& method : server.methods()) {
    table.Add({{method.name()}, {Grouped(method.in_flight())}, {Grouped(method.total())}});
  }
  return table.empty() ? "" : "\n" + table.Render(look);
}

}  // namespace

Colour ColourOf(v1::Stage stage) {
  switch (stage) {
    case v1::STAGE_SERVING: return Colour::kGreen;
    case v1::STAGE_CANCEL:
    case v1::STAGE_STOPPED:
    case v1::STAGE_WAITING: return Colour::kRed;
    default: return Colour::kYellow;
  }
}

bool IsStoppingStage(v1::Stage stage) {
  return stage == v1::STAGE_DELAY || stage == v1::STAGE_GRACE || stage == v1::STAGE_CANCEL;
}

std::string DescribeCause(const v1::Cause& cause) {
  Cause own{.signal = cause.signal(),
            .pid = cause.pid(),
            .uid = cause.uid(),
            .who = cause.who(),
            .reason = cause.reason()};
  for (auto kind : {Cause::Kind::kSignal, Cause::Kind::kAdmin, Cause::Kind::kPlugin,
                    Cause::Kind::kProgram, Cause::Kind::kProcess, Cause::Kind::kSupervisor}) {
    if (Name(kind) == Word(cause.kind())) own.kind = kind;
  }
  return Describe(own);
}

std::string DescribeLengths(const v1::Request& request) {
  std::string text;
  if (request.has_delay_s()) text = Append(text, ", ", "delay " + Brief(request.delay_s()));
  if (request.has_grace_s()) text = Append(text, ", ", "grace " + Brief(request.grace_s()));
  if (request.has_cancel_s()) text = Append(text, ", ", "cancel " + Brief(request.cancel_s()));
  return text;
}

std::string DescribePlan(const Plan& plan) {
  const auto at = [](std::string_view what, bool known, double seconds) {
    if (!known) return std::string(what) + " never";
    const bool now = seconds > -0.05 && seconds < 0.05;
    return std::string(what) + (now ? " now" : " " + FromNow(seconds));
  };
  return at("grace", plan.has_grace_in_s(), plan.grace_in_s()) + ", " +
         at("cancel", plan.has_cancel_in_s(), plan.cancel_in_s()) + ", " +
         at("end", plan.has_end_in_s(), plan.end_in_s()) +
         (plan.has_end_in_s() ? " at the latest" : "");
}

std::string DescribeDraining(const admin::v1::Draining& draining) {
  std::string text = "draining for " + Coarse(draining.since_s());
  if (!draining.by().empty()) text += ", by " + draining.by();
  return Append(text, ": ", draining.reason());
}

std::string DescribeRetired(const admin::v1::Retired& retired) {
  std::string text = Grouped(retired.calls_in_flight()) + " in flight";
  if (retired.has_cancel_in_s()) {
    text += "; ends " + FromNow(retired.cancel_in_s()) + " at the latest";
  }
  return text;
}

std::string OldestCalls(const Status& status, int most, const Look& look) {
  TextTable table({{"OLDEST CALLS"},
                   {"PEER"},
                   {"SERVER", Align::kName},
                   {"AGE", Align::kRight},
                   {"TOLD TO LEAVE"}});
  for (int i = 0; i < std::min(status.oldest_calls_size(), most); ++i) {
    const admin::v1::Call& call = status.oldest_calls(i);
    table.Add({{call.method()},
               {call.peer().empty() ? "-" : call.peer()},
               {call.server()},
               {Steady(call.age_s())},
               {call.told() ? "yes" : "no", call.told() ? Colour::kPlain : Colour::kYellow}});
  }
  return table.empty() ? "" : table.Render(look);
}

std::string RenderStatus(Status status, const Look& look) {
  MakeSafe(&status);
  std::string text = Headline(status, look);
  if (status.has_plan()) text += PlanLines(status.plan(), look);
  text += Paragraph((status.config_file().empty() ? "no configuration file"
                                                  : "configuration " + status.config_file()) +
                        ", log level " + status.log_level(),
                    "  ", look) +
          "\n";
  text += RenderProcesses(status, look) + "\n";
  text += ServerTable(status, look) + ServerNotes(status, look) + Offloads(status, look);
  const std::string oldest = OldestCalls(status, status.oldest_calls_size(), look);
  return text + (oldest.empty() ? "" : "\n" + oldest);
}

std::string RenderServers(Status status, const Look& look) {
  MakeSafe(&status);
  return ServerTable(status, look) + ServerNotes(status, look) + StaleNotes(status);
}

std::string RenderServer(Server server, const Look& look) {
  MakeSafe(&server);
  const TextTable::Cell health = HealthCell(server);
  const std::string figures = ", " + Grouped(server.calls_in_flight()) + " in flight, " +
                              Counted(server.calls_total(), "call") + " so far, " +
                              Counted(server.connections(), "connection") + "\n";
  const size_t width = WidthOf(server.name()) + 2 + WidthOf(health.text) + WidthOf(figures) - 1;
  std::string text = Paint(Colour::kBold, server.name(), look) +
                     (width > look.width ? ":\n  " : ": ") +
                     Paint(health.colour, health.text, look) + figures;
  if (server.has_draining()) text += Paragraph(DescribeDraining(server.draining()), "  ", look);
  const auto line = [&](std::string_view title, const std::string& what) {
    const std::string begin = "  " + std::string(title) + std::string(9 - title.size(), ' ');
    text +=
        begin + Folded(what, std::string(begin.size(), ' '), Narrower(look, begin.size())) + "\n";
  };
  line("process", server.process());
  text += "  listen   " + Join(server.listen(), "\n           ") + "\n";
  if (server.has_certificate()) line("TLS", DescribeTls(server.certificate()));
  if (server.has_canary()) line("canary", DescribeCanary(server.canary()));
  if (server.has_held_by()) line("full", server.held_by());
  if (server.plugins_size() > 0) line("plugins", Join(server.plugins(), ", "));
  TextTable offloads = OffloadTable();
  AddOffloads(server, offloads);
  if (!offloads.empty()) text += "\n" + offloads.Render(look);
  return text + MethodTable(server, look);
}

std::string RenderPlan(Plan plan, const Look& look) {
  MakeSafe(&plan);
  return PlanLines(plan, look);
}

std::string RenderShutdownResponse(const admin::v1::ShutdownResponse& response, bool dry_run,
                                   const Look& look) {
  std::string text = dry_run ? "would stop" : "stopping";
  if (!response.moved()) text += " as planned: an earlier request was at least as near";
  return text + "\n" + RenderPlan(response.plan(), look);
}

std::string RenderVersion(admin::v1::GetVersionResponse version, const std::string& own_version) {
  MakeSafe(&version);
  return "lastcallctl  " + own_version + "\nlastcalld    " + version.lastcall() +
         "\ngRPC         " + version.grpc() + "\nprotobuf     " + version.protobuf() +
         "\ncompiler     " + version.compiler() + "\nplugin ABI   " +
         std::to_string(version.plugin_abi()) + "\n";
}

}  // namespace lastcall

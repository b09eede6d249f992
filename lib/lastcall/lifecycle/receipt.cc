#include "lastcall/lifecycle/receipt.h"

#include "lastcall/base/json.h"
#include "lastcall/base/signal_name.h"

namespace lastcall {
namespace {

JsonWriter& Seconds(JsonWriter& json, std::string_view key, Duration length) {
  json.Key(key);
  return length == kForever ? json.Null() : json.Number(ToSeconds(length));
}

void Write(JsonWriter& json, const Ledger::Entry& entry) {
  const Request& request = entry.request;
  const Cause& cause = request.cause;
  json.BeginObject().Key("at").String(FormatWallTime(request.wall));
  json.Key("cause").BeginObject().Key("kind").String(Name(cause.kind));
  if (cause.signal != 0) json.Key("signal").String(SignalName(cause.signal));
  if (cause.pid != 0) json.Key("pid").Integer(cause.pid).Key("uid").Integer(cause.uid);
  if (!cause.who.empty()) json.Key("who").String(cause.who);
  if (!cause.reason.empty()) json.Key("reason").String(cause.reason);
  json.EndObject();
  if (request.skip) json.Key("skip").Boolean(true);
  if (request.delay) Seconds(json, "delay_s", *request.delay);
  if (request.grace) Seconds(json, "grace_s", *request.grace);
  if (request.cancel) Seconds(json, "cancel_s", *request.cancel);
  json.Key("moved").Boolean(entry.moved).EndObject();
}

void Write(JsonWriter& json, const StageRecord& record) {
  json.BeginObject().Key("stage").String(Name(record.stage));
  Seconds(json, "planned_s", record.planned);
  Seconds(json, "took_s", record.took);
  json.Key("ended_by").String(Name(record.ended_by)).EndObject();
}

void Write(JsonWriter& json, const CancelledCall& call) {
  json.BeginObject().Key("server").String(call.server).Key("method").String(call.method);
  json.Key("peer").String(call.peer);
  Seconds(json, "age_s", call.age).Key("told").Boolean(call.told).EndObject();
}

void Write(JsonWriter& json, const Stuck& stuck) {
  json.BeginObject().Key("what").String(Name(stuck.what));
  json.Key("name").String(stuck.name);
  Seconds(json, "age_s", stuck.age).Key("stack").BeginArray();
  for (const std::string& frame : stuck.stack) json.String(frame);
  json.EndArray().EndObject();
}

void Write(JsonWriter& json, const Receipt& receipt);
void WriteFields(JsonWriter& json, const Receipt& receipt);

template <class T>
void WriteList(JsonWriter& json, std::string_view key, const std::vector<T>& items) {
  json.Key(key).BeginArray();
  for (const T& item : items) Write(json, item);
  json.EndArray();
}

void Write(JsonWriter& json, const Receipt& receipt) {
  json.BeginObject();
  WriteFields(json, receipt);
  json.EndObject();
}

void WriteFields(JsonWriter& json, const Receipt& receipt) {
  json.Key("subject").String(receipt.subject).Key("pid").Integer(receipt.pid);
  if (receipt.incarnation != 0) json.Key("incarnation").Integer(receipt.incarnation);
  json.Key("exit_code").Integer(receipt.exit_code).Key("outcome").String(receipt.Outcome());
  if (!receipt.failure.empty()) json.Key("failure").String(receipt.failure);
  json.Key("began").String(FormatWallTime(receipt.began));
  Seconds(json, "took_s", receipt.took);
  WriteList(json, "requests", receipt.requests);
  if (receipt.requests_left_out != 0) {
    json.Key("requests_left_out").Integer(receipt.requests_left_out);
  }
  WriteList(json, "stages", receipt.stages);
  json.Key("calls").BeginObject().Key("finished").Integer(receipt.calls_finished);
  json.Key("cancelled").Integer(receipt.calls_cancelled).EndObject();
  WriteList(json, "cancelled", receipt.cancelled);
  WriteList(json, "stuck", receipt.stuck);
  if (!receipt.processes.empty()) WriteList(json, "processes", receipt.processes);
}

}  // namespace

std::string_view Name(Stuck::What what) {
  switch (what) {
    case Stuck::What::kCall: return "call";
    case Stuck::What::kPlugin: return "plugin";
    case Stuck::What::kPart: return "part";
  }
  return "call";
}

std::string Receipt::Outcome() const {
  std::string text = "stopped in " + FormatDuration(took);
  if (!failure.empty()) text += ", " + failure;
  if (calls_cancelled > 0) {
    text += ", " + std::to_string(calls_cancelled);
    text += calls_cancelled == 1 ? " call cancelled" : " calls cancelled";
  } else if (failure.empty() && stuck.empty()) {
    text += ", every call finished";
  } else if (failure.empty() || (exit_code != kExitCallsCancelled && exit_code != kExitForced)) {
    text += ", no call cancelled";
  }  // else nobody knows: a process that crashed took its count with it
  for (const Stuck& one : stuck) text += ", " + one.name + " did not return";
  return text;
}

std::string Receipt::ToJson() const {
  JsonWriter json;
  json.BeginObject().Key("api_version").String("lastcall/v1").Key("kind").String("Receipt");
  WriteFields(json, *this);
  json.EndObject();
  return json.text();
}

}  // namespace lastcall

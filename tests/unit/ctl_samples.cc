#include "ctl_samples.h"

namespace lastcall {
namespace {

using admin::v1::Process;
using admin::v1::Server;
using admin::v1::Status;

void AddProcess(Status& status, const std::string& name, int pid) {
  Process& process = *status.add_processes();
  process.set_name(name);
  process.set_stage(v1::STAGE_SERVING);
  process.set_pid(pid);
  process.set_incarnation(1);
  process.set_uptime_s(11'530);
  process.set_answering(true);
}

Server& AddServer(Status& status, const std::string& name, const std::string& process) {
  Server& server = *status.add_servers();
  server.set_name(name);
  server.set_process(process);
  server.set_health(Server::HEALTH_SERVING);
  server.set_accepting(true);
  return server;
}

void AddRequest(v1::Request& request) {
  request.mutable_cause()->set_kind(v1::Cause::KIND_SIGNAL);
  request.mutable_cause()->set_signal(15);
  request.mutable_cause()->set_pid(4711);
  request.mutable_cause()->set_who("kill");
  request.set_at("2026-11-21T02:18:10.123Z");
  request.set_moved(true);
}

void AddStage(v1::Receipt& receipt, v1::Stage stage, double planned, double took,
              v1::Event ended_by) {
  v1::StageRecord& record = *receipt.add_stages();
  record.set_stage(stage);
  record.set_planned_s(planned);
  record.set_took_s(took);
  record.set_ended_by(ended_by);
}

void AddCancelled(v1::Receipt& receipt, const std::string& method, const std::string& peer,
                  double age, bool told) {
  v1::CallRecord& call = *receipt.add_cancelled();
  call.set_server("public");
  call.set_method(method);
  call.set_peer(peer);
  call.set_age_s(age);
  call.set_told(told);
}

void AddStuck(v1::Receipt& receipt, v1::StuckRecord::What what, const std::string& name, double age,
              const std::vector<std::string>& stack) {
  v1::StuckRecord& record = *receipt.add_stuck();
  record.set_what(what);
  record.set_name(name);
  record.set_age_s(age);
  for (const std::string& frame : stack) record.add_stack(frame);
}

void AddLateRequest(v1::Receipt& receipt) {
  v1::Request& request = *receipt.add_requests();
  request.mutable_cause()->set_kind(v1::Cause::KIND_ADMIN);
  request.mutable_cause()->set_pid(912);
  request.mutable_cause()->set_uid(1000);
  request.mutable_cause()->set_who("lastcallctl");
  request.mutable_cause()->set_reason("new kernel");
  request.set_at("2026-11-21T02:18:12.500Z");
  request.set_grace_s(60);
}

void AddFinished(admin::v1::FinishedCall* call, int status, const std::string& message,
                 double duration) {
  call->set_id("main/3/17");
  call->set_server("public");
  call->set_peer("127.0.0.1:41022");
  call->set_status(status);
  call->set_message(message);
  call->set_duration_s(duration);
  call->set_ended_at("2026-11-21T02:18:10.123Z");
}

v1::Receipt ProcessReceipt() {
  v1::Receipt receipt;
  receipt.set_subject("main");
  receipt.set_pid(813);
  receipt.set_exit_code(4);
  receipt.set_outcome("stopped in 25s, 1,002 calls cancelled");
  return receipt;
}

}  // namespace

Status ServingStatus() {
  Status status;
  status.set_stage(v1::STAGE_SERVING);
  status.set_pid(812);
  status.set_version("0.1.0");
  status.set_uptime_s(11'533.7);
  status.set_config_file("/etc/lastcall/lastcalld.toml");
  status.set_log_level("info");
  AddProcess(status, "main", 813);
  AddProcess(status, "reports", 820);
  Server& busy = AddServer(status, "public", "main");
  busy.add_listen("0.0.0.0:50051");
  busy.add_listen("unix:/run/lastcall/public.sock");
  busy.set_calls_in_flight(3);
  busy.set_calls_total(1'204'811);
  busy.set_connections(12);
  busy.add_plugins("echo");
  busy.add_plugins("prices");
  admin::v1::Method& method = *busy.add_methods();
  method.set_name("/shop.Prices/Watch");
  method.set_in_flight(3);
  method.set_total(1'204'811);
  Server& idle = AddServer(status, "reports", "reports");
  idle.add_listen("unix:/run/lastcall/reports.sock");
  idle.set_calls_total(17);
  idle.set_connections(1);
  return status;
}

Status StoppingStatus(v1::Stage stage) {
  Status status = ServingStatus();
  status.set_stage(stage);
  status.mutable_plan()->set_grace_in_s(stage == v1::STAGE_DELAY ? 3.84 : -1.25);
  status.mutable_plan()->set_cancel_in_s(18.75);
  status.mutable_plan()->set_end_in_s(23.75);
  AddRequest(*status.mutable_plan()->add_requests());
  return status;
}

admin::v1::Call HeldCall() {
  admin::v1::Call call;
  call.set_server("public");
  call.set_process("main");
  call.set_incarnation(3);
  call.set_id("main/3/4711");
  call.set_method("/shop.Prices/Watch");
  call.set_kind(admin::v1::Call::KIND_BIDI_STREAM);
  call.set_peer("127.0.0.1:41022");
  call.set_identity("till-7");
  call.set_age_s(182.5);
  call.set_idle_s(178.2);
  call.set_received(12);
  call.set_sent(1'204);
  call.set_waits_for(admin::v1::Call::WAITS_HANDLER);
  call.set_thread(4242);
  return call;
}

admin::v1::ListCallsResponse SomeCalls() {
  admin::v1::ListCallsResponse list;
  admin::v1::Call& slow_client = *list.add_calls();
  slow_client = HeldCall();
  slow_client.set_id("main/3/12");
  slow_client.set_kind(admin::v1::Call::KIND_SERVER_STREAM);
  slow_client.set_age_s(3725);
  slow_client.set_idle_s(0.25);
  slow_client.set_waits_for(admin::v1::Call::WAITS_CLIENT);
  admin::v1::Call& brief = *list.add_calls();
  brief = HeldCall();
  brief.set_id("main/3/4800");
  brief.set_method("/shop.Orders/Place");
  brief.set_kind(admin::v1::Call::KIND_UNARY);
  brief.set_age_s(2.1);
  brief.set_idle_s(2.1);
  brief.set_received(1);
  brief.set_sent(0);
  brief.set_deadline_in_s(7.9);
  *list.add_calls() = HeldCall();
  list.add_not_answering("old");
  list.add_not_seen_into("reports");
  list.set_complete(true);
  return list;
}

admin::v1::ListCallsResponse ManyCalls(int count) {
  admin::v1::ListCallsResponse list;
  for (int i = 1; i <= count; ++i) {
    *list.add_calls() = HeldCall();
    list.mutable_calls(i - 1)->set_id("main/3/" + std::to_string(i));
    list.mutable_calls(i - 1)->set_age_s(count - i);
  }
  list.set_complete(true);
  return list;
}

admin::v1::ListCallsResponse SomeFinishedCalls() {
  admin::v1::ListCallsResponse list;
  admin::v1::FinishedCalls& good = *list.add_finished();
  good.set_server("public");
  good.set_method("/shop.Orders/Place");
  good.set_incarnation(3);
  AddFinished(good.add_slowest(), 0, "", 4.2);
  admin::v1::FinishedCalls& bad = *list.add_finished();
  bad.set_server("public");
  bad.set_method("/shop.Prices/Watch");
  bad.set_incarnation(3);
  bad.set_failed(1'204);
  AddFinished(bad.add_slowest(), 4, "Deadline Exceeded", 600);
  AddFinished(bad.add_failures(), 1, "cancelled by the operator: it holds a lock", 33.4);
  list.set_complete(true);
  return list;
}

v1::Receipt CleanReceipt() {
  v1::Receipt receipt;
  receipt.set_subject("lastcalld");
  receipt.set_pid(812);
  receipt.set_outcome("stopped in 6.21s, every call finished");
  receipt.set_began("2026-11-21T02:18:10.123Z");
  receipt.set_took_s(6.21);
  AddRequest(*receipt.add_requests());
  AddStage(receipt, v1::STAGE_DELAY, 5, 5.0004, v1::EVENT_DEADLINE_PASSED);
  AddStage(receipt, v1::STAGE_GRACE, 20, 1.2, v1::EVENT_WENT_IDLE);
  AddStage(receipt, v1::STAGE_CANCEL, 5, 0.0098, v1::EVENT_COMPLETED);
  receipt.set_calls_finished(1204);
  return receipt;
}

v1::Receipt ForcedReceipt() {
  v1::Receipt receipt;
  receipt.set_subject("lastcalld");
  receipt.set_pid(812);
  receipt.set_exit_code(4);
  receipt.set_outcome("stopped in 25s, 1002 calls cancelled, prices did not return");
  AddRequest(*receipt.add_requests());
  AddLateRequest(receipt);
  AddStage(receipt, v1::STAGE_DELAY, 0, 0, v1::EVENT_DEADLINE_PASSED);
  AddStage(receipt, v1::STAGE_GRACE, -1, 20, v1::EVENT_STOP_REQUESTED);
  AddStage(receipt, v1::STAGE_CANCEL, 5, 5, v1::EVENT_DEADLINE_PASSED);
  receipt.set_calls_finished(120);
  receipt.set_calls_cancelled(1002);
  AddCancelled(receipt, "/shop.Prices/Watch", "127.0.0.1:41022", 3725, true);
  AddCancelled(receipt, "/corporation.department.billing.v2.InvoiceReconciliation/StreamEverything",
               "[2001:db8:85a3::8a2e:370:7334]:50412", 12.5, false);
  AddStuck(receipt, v1::StuckRecord::WHAT_CALL, "/shop.Prices/Watch", 3730,
           {"__GI___poll+0x4f", "shop::Feed::Next(std::stop_token)+0x81",
            "shop::Prices::Watch(grpc::ServerContext*, shop::Query const*, "
            "grpc::ServerWriter<shop::Price>*)+0x1c2"});
  AddStuck(receipt, v1::StuckRecord::WHAT_PLUGIN, "prices: Stop", 5, {});
  *receipt.add_processes() = ProcessReceipt();
  return receipt;
}

admin::v1::ReceiptEvent EventOf(const v1::Receipt& receipt) {
  admin::v1::ReceiptEvent event;
  *event.mutable_receipt() = receipt;
  event.set_json(R"({"api_version":"lastcall/v1","kind":"Receipt","from":"daemon"})");
  return event;
}

}  // namespace lastcall

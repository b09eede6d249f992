#include "daemon/reload_response.h"

#include <string>

namespace lastcall {
namespace {

admin::v1::ConfigChange::Sign SignOf(char sign) {
  switch (sign) {
    case '+': return admin::v1::ConfigChange::SIGN_NEW;
    case '-': return admin::v1::ConfigChange::SIGN_GONE;
    case '~': return admin::v1::ConfigChange::SIGN_CHANGED;
    case '=': return admin::v1::ConfigChange::SIGN_SAME;
    default: return admin::v1::ConfigChange::SIGN_UNSPECIFIED;
  }
}

template <class Message>
void AddChanges(const ReloadReport& report, Message& message) {
  if (report.another_build) {
    admin::v1::ConfigChange& own = *message.add_changes();
    own.set_sign(admin::v1::ConfigChange::SIGN_CHANGED);
    own.set_what("lastcalld");
    own.set_detail("another build");
  }
  for (const ConfigChange& change : report.changes) {
    admin::v1::ConfigChange& one = *message.add_changes();
    one.set_sign(SignOf(change.sign));
    one.set_what(change.what);
    one.set_detail(change.detail);
    for (const ValueChange& value : change.values) {
      admin::v1::ValueChange& changed = *one.add_values();
      changed.set_setting(value.setting);
      changed.set_before(value.before);
      changed.set_after(value.after);
    }
  }
  for (const Supervisor::Outcome& outcome : report.processes) {
    admin::v1::ProcessOutcome& one = *message.add_processes();
    one.set_process(outcome.process);
    one.set_failure(outcome.failure);
    one.set_incarnation(outcome.incarnation);
  }
}

template <class Response>
Response ToResponse(const ReloadReport& report) {
  Response response;
  AddChanges(report, response);
  response.set_continues(report.continues);
  return response;
}

}  // namespace

admin::v1::ReloadResponse ToReloadResponse(const ReloadReport& report) {
  return ToResponse<admin::v1::ReloadResponse>(report);
}

admin::v1::RestartResponse ToRestartResponse(const ReloadReport& report) {
  return ToResponse<admin::v1::RestartResponse>(report);
}

admin::v1::Reload ToProto(const ReloadNote& note) {
  admin::v1::Reload message;
  message.set_at(FormatWallTime(note.at));
  message.set_by(Describe(note.by));
  message.set_refusal(note.refusal);
  AddChanges(note.report, message);
  return message;
}

}  // namespace lastcall

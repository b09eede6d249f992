// What became of a reload, as the admin service says it.
#pragma once

#include "daemon/reload/report.h"
#include "lastcall/admin/v1/admin.pb.h"

namespace lastcall {

admin::v1::ReloadResponse ToReloadResponse(const ReloadReport& report);
admin::v1::RestartResponse ToRestartResponse(const ReloadReport& report);
admin::v1::Reload ToProto(const ReloadNote& note);

}  // namespace lastcall

// Messages as a daemon sends them, for tests of lastcallctl.
#pragma once

#include "lastcall/admin/v1/admin.pb.h"

namespace lastcall {

// Serving for three hours: processes main and reports, servers public (busy) and reports (idle).
admin::v1::Status ServingStatus();

// The same in `stage`, with a plan that one SIGTERM asked for.
admin::v1::Status StoppingStatus(v1::Stage stage);

// Three stages, every call finished, exit code 0.
v1::Receipt CleanReceipt();

// Exit code 4: calls were cancelled, one handler and one plugin did not return.
v1::Receipt ForcedReceipt();

// With json as the daemon would write it, recognisable by its field "from".
admin::v1::ReceiptEvent EventOf(const v1::Receipt& receipt);

}  // namespace lastcall

// Messages as a daemon sends them, for tests of lastcallctl.
#pragma once

#include "lastcall/admin/v1/admin.pb.h"

namespace lastcall {

// Serving for three hours: processes main and reports, servers public (busy) and reports (idle).
admin::v1::Status ServingStatus();

// The same in `stage`, with a plan that one SIGTERM asked for.
admin::v1::Status StoppingStatus(v1::Stage stage);

// A bidirectional stream of public that its handler has held for three minutes.
admin::v1::Call HeldCall();

// A whole list: one that waits for its client and is older than HeldCall(), HeldCall(), and a unary one
// with a deadline; process old does not answer, and process reports is not a lastcall-host.
admin::v1::ListCallsResponse SomeCalls();

// So many of them, all with ids of their own.
admin::v1::ListCallsResponse ManyCalls(int count);

// Of two methods, the second with more failures.
admin::v1::ListCallsResponse SomeFinishedCalls();

// Three stages, every call finished, exit code 0.
v1::Receipt CleanReceipt();

// Exit code 4: calls were cancelled, one handler and one plugin did not return.
v1::Receipt ForcedReceipt();

// With json as the daemon would write it, recognisable by its field "from".
admin::v1::ReceiptEvent EventOf(const v1::Receipt& receipt);

}  // namespace lastcall

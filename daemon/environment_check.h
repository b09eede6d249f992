// What lastcalld needs of where it runs, found out before it begins: what is missing is said here
// and not by whatever would have come upon it first.
#pragma once

#include <sys/types.h>

#include <string>

#include <lastcall/base/result.h>

#include "daemon/config/config.h"

namespace lastcall {

// /proc: files are opened by it, once they were looked at. Fails: kInternal.
Result<> CheckProc(const std::string& proc = "/proc");

// The descriptors that there must be for the configuration, before connections.
// Fails: kResourceExhausted. Order: nothing is open but what was inherited.
Result<> CheckDescriptorsFor(const Config& config);

// The directory where lastcalld --plugin keeps its admin socket, with XDG_RUNTIME_DIR as `runtime`:
// the first of lastcall/base/runtime_dir.h. It is made, and ours alone, also where the directory above
// it is everybody's.
Result<std::string> MakeRuntimeDir(const char* runtime, uid_t user);

}  // namespace lastcall

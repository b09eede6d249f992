// Host names of listening addresses.
#pragma once

#include <string>
#include <vector>

#include <lastcall/base/result.h>

namespace lastcall {

// Whether a name service has to be asked: not for addresses, "*" and localhost.
bool NeedsLookUp(const std::string& host);

// The addresses of a host, as numbers, in the order of getaddrinfo(3). "localhost" is 127.0.0.1.
// Blocks: for a name, as long as the name service takes. Threads: any.
// Fails: kUnavailable (the name service), kInvalidArgument (no such host), with the remedy.
Result<std::vector<std::string>> LookUpHost(const std::string& host);

}  // namespace lastcall

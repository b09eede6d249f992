// Whether a file that is to be secret is one.
#pragma once

#include <optional>
#include <string>

#include <lastcall/base/trust.h>

namespace lastcall {

// Who may read the file, besides root, its owner and the groups of this process, through which it
// may well be that we read it: "may be read by everybody (mode 0644)", with the command that ends
// it and leaves it to us. Nobody gets to it through a directory that is closed to them. Empty: nobody
// else, or it is not there.
// Blocks: reads directories. Threads: any.
std::optional<Flaw> FindReaders(const std::string& path);

}  // namespace lastcall

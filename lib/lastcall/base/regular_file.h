// Files that can be read to their end: regular ones, up to a size. Opening a FIFO waits for whoever
// may write into it one day, and a device or a log that grows has no end.
#pragma once

#include <cstddef>
#include <string>

#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>

namespace lastcall {

// For reading, CLOEXEC; messages call it `name`. Blocks: as the file's system does, but never for
// what the file is.
// Fails: kNotFound, kPermissionDenied; kInvalidArgument, it is not a regular file, or anything else.
// The message begins with the name: "/etc/key: cannot be read: No such file or directory",
// "/etc/key: is a named pipe (FIFO), not a regular file".
Result<UniqueFd> OpenRegular(const std::string& path, const std::string& name);
inline Result<UniqueFd> OpenRegular(const std::string& path) { return OpenRegular(path, path); }

// What a file of this mode is, where it is not regular: "is a named pipe (FIFO), not a regular
// file"; empty: it is one.
std::string NotRegular(unsigned mode);

// The content of a file or pipe; messages call it `name`. Blocks: of a pipe, until its writers have
// closed it. Fails: kOutOfRange, it is larger than `most` (a file says so before it is read);
// kInvalidArgument, it cannot be read.
Result<std::string> ReadUpTo(size_t most, int fd, const std::string& name);

// How a message writes a size: "1 MiB", "1536 bytes".
std::string FormatSize(size_t bytes);

}  // namespace lastcall

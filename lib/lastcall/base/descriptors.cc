#include "lastcall/base/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <cerrno>
#include <string>
#include <vector>

#include <lastcall/base/unique_fd.h>

namespace lastcall {

Result<> CheckDescriptors(int needed) {
  std::vector<UniqueFd> open_ones;
  for (int count = 0; count < needed; ++count) {
    UniqueFd& fd = open_ones.emplace_back(open("/", O_PATH | O_CLOEXEC));
    if (fd) continue;
    const int why = errno;
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    return Fail(Code::kResourceExhausted,
                "only " + std::to_string(count) + " more files and sockets can be opened, and " +
                    std::to_string(needed) + " are needed: " + ErrnoText(why) +
                    (why == EMFILE ? "; the limit is " + std::to_string(limit.rlim_cur) +
                                         ": raise it (LimitNOFILE= of the unit, \"ulimit -n\")"
                     : why == ENFILE ? "; that is the limit of the whole machine (fs.file-max)"
                                     : ""));
  }
  return {};
}

}  // namespace lastcall

#include "lastcall/base/result.h"

#include <system_error>

namespace lastcall {

std::string ErrnoText(int errno_value) { return std::generic_category().message(errno_value); }

tl::unexpected<Error> FailErrno(std::string_view what, int errno_value) {
  return Fail(Code::kInternal, std::string(what) + ": " + ErrnoText(errno_value));
}

}  // namespace lastcall

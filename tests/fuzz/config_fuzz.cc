// A configuration of anybody's: it is read, or refused with places. One that is read is written out
// and read again, and must be the same.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "daemon/changes.h"
#include "daemon/config.h"
#include "tests/fuzz/target.h"

#include <lastcall/base/unique_fd.h>

namespace {

using lastcall::Config;

lastcall::Checked<Config> Load(const std::string& text) {
  static const lastcall::UniqueFd fd(memfd_create("config", 0));
  static const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  if (ftruncate(fd.get(), 0) != 0) std::abort();
  if (pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    std::abort();
  }
  return lastcall::LoadConfig(path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = Load(std::string(reinterpret_cast<const char*>(data), size));
  if (!config) {
    if (lastcall::Format(config.error()).empty()) std::abort();
    return 0;
  }
  const std::string written = ToToml(*config);
  const auto again = Load(written);
  if (!again || ToToml(*again) != written || ToJson(*again) != ToJson(*config)) std::abort();
  return 0;
}

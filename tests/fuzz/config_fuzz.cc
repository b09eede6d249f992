// A configuration of anybody's: it is read, or refused with places. One that is read is written out
// and read again, and must be the same.
#include <cstdlib>
#include <string>

#include "daemon/config.h"
#include "tests/fuzz/target.h"

namespace {

using lastcall::Config;

lastcall::Checked<Config> Load(const std::string& text) {
  return lastcall::ConfigFromText(text, "/etc/lastcall/fuzzed.toml");
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

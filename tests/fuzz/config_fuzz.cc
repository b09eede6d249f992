// A configuration of anybody's: it is read, or refused with places, in a line of safe text for each
// problem. One that is read is written out and read again, and must be the same.
#include <algorithm>
#include <cstdlib>
#include <string>

#include <lastcall/base/safe_text.h>

#include "daemon/config/config.h"
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
    const std::string said = lastcall::Format(config.error());
    const auto lines = static_cast<size_t>(std::count(said.begin(), said.end(), '\n'));
    if (lines == 0 || lines != config.error().size()) std::abort();
    if (lastcall::SafeLines(said) != said) std::abort();
    return 0;
  }
  const std::string written = ToToml(*config);
  const auto again = Load(written);
  if (!again || ToToml(*again) != written || ToJson(*again) != ToJson(*config)) std::abort();
  return 0;
}

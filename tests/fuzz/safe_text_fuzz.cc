// Any bytes as text from outside, by any limit: what comes out is safe, fits, stays as it is from
// there on, and is what protobuf and JSON take. The first byte is the limit.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "lastcall/v1/receipt.pb.h"
#include "tests/fuzz/target.h"

#include <lastcall/base/json.h>
#include <lastcall/base/log.h>
#include <lastcall/base/safe_text.h>

namespace {

void Expect(bool holds) {
  if (!holds) std::abort();
}

// As it goes from process to process.
void Travel(const std::string& safe) {
  lastcall::v1::Cause sent, received;
  sent.set_who(safe);
  Expect(received.ParseFromString(sent.SerializeAsString()) && received.who() == safe);
}

void ExpectLines(const std::string& text, std::string_view begin) {
  for (size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1)) {
    Expect(std::string_view(text).substr(at + 1).starts_with(begin));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t limit = data[0];
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string safe = lastcall::SafeText(text, limit);
  Expect(lastcall::IsSafeText(safe) && safe.size() <= limit);
  Expect(lastcall::SafeText(safe, limit) == safe);
  Expect(lastcall::IsSafeText(lastcall::JsonWriter().String(text).text()));
  Travel(safe);
  const std::string logged = lastcall::InLog(text);
  ExpectLines(logged, "    ");
  for (size_t at = 0; at < logged.size();) {
    const size_t end = std::min(logged.find('\n', at), logged.size());
    Expect(lastcall::IsSafeText(std::string_view(logged).substr(at, end - at)));
    at = end + 1;
  }
  return 0;
}

#include "lastcall/base/peer_text.h"

namespace lastcall {
namespace {

// What gRPC escapes in an address of IPv6; nothing else, for it would be somebody else's text.
std::string Unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view escape = text.substr(i, 3);
    const char meant = escape == "%5B" ? '[' : escape == "%5D" ? ']' : escape == "%25" ? '%' : '\0';
    out += meant == '\0' ? text[i] : meant;
    if (meant != '\0') i += 2;
  }
  return out;
}

}  // namespace

std::string PeerText(std::string_view uri) {
  constexpr std::string_view kIpv4 = "ipv4:", kIpv6 = "ipv6:";
  if (uri.starts_with(kIpv4)) return std::string(uri.substr(kIpv4.size()));
  if (uri.starts_with(kIpv6)) return Unescaped(uri.substr(kIpv6.size()));
  return std::string(uri);
}

}  // namespace lastcall

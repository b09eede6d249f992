#include "lastcall/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "lastcall/base/safe_text.h"

namespace lastcall {
namespace {

constexpr mode_t kDefaultMode = 0666;
constexpr std::string_view kUnix = "unix:";
constexpr std::string_view kSystemd = "systemd:";
constexpr std::string_view kAllOfIpv4 = "0.0.0.0";
constexpr std::string_view kAllOfIpv6 = "::";
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kHostLetters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";

std::string Quoted(std::string_view text) {
  return '"' + SafeText(std::string(text), kMaxSafeName) + '"';
}

tl::unexpected<Error> Bad(std::string message) {
  return Fail(Code::kInvalidArgument, std::move(message));
}

bool IsIpv4(std::string_view host) {
  in_addr address;
  return inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
}

// Without its zone ("%eth0") and in one spelling; empty: not IPv6.
std::string NormalIpv6(std::string_view host) {
  const size_t zone = std::min(host.find('%'), host.size());
  in6_addr address;
  if (inet_pton(AF_INET6, std::string(host.substr(0, zone)).c_str(), &address) != 1) return "";
  std::array<char, INET6_ADDRSTRLEN> buffer;
  inet_ntop(AF_INET6, &address, buffer.data(), buffer.size());
  return buffer.data() + std::string(host.substr(zone));
}

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// The schemes that people know from elsewhere and write in front; empty: none of them.
std::string_view ForeignScheme(std::string_view text) {
  const size_t slashes = text.find("://");
  if (slashes != text.npos) return text.substr(0, slashes + 3);
  for (const std::string_view scheme : {"tcp:", "ipv4:", "ipv6:", "dns:", "http:", "https:"}) {
    if (text.starts_with(scheme) && text.find(':', scheme.size()) != text.npos) return scheme;
  }
  return "";
}

tl::unexpected<Error> NoPort(std::string_view text) {
  if (text.find_first_not_of(kDigits) == text.npos) {
    return Bad(Quoted(text) + " has no host; write \"127.0.0.1:" + std::string(text) +
               "\", or \"*:" + std::string(text) + "\" for all addresses of this machine");
  }
  return Bad(Quoted(text) + " has no port; write for example " +
             Quoted(std::string(text) + ":50051"));
}

struct HostAndPort {
  std::string_view host;
  std::string_view port;
};

Result<HostAndPort> SplitBracketed(std::string_view text) {
  const size_t bracket = text.find(']');
  if (bracket == text.npos)
    return Bad(Quoted(text) + " lacks the closing bracket; write for example \"[::1]:50051\"");
  const std::string_view host = text.substr(1, bracket - 1), rest = text.substr(bracket + 1);
  if (NormalIpv6(host).empty()) {
    return Bad(Quoted(text) + ": " + Quoted(host) +
               " is not an IPv6 address; write for example \"[::1]:50051\"");
  }
  if (!rest.starts_with(':') || rest.size() == 1) return NoPort(text.substr(0, bracket + 1));
  return HostAndPort{host, rest.substr(1)};
}

Result<HostAndPort> Split(std::string_view text) {
  if (text.starts_with('[')) return SplitBracketed(text);
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return NoPort(text);
  const std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  if (host.find(':') != host.npos) {
    const bool whole = NormalIpv6(host).empty() && !NormalIpv6(text).empty();
    const std::string better = whole ? "[" + std::string(text) + "]:50051"
                               : NormalIpv6(host).empty()
                                   ? "[::1]:50051"
                                   : "[" + std::string(host) + "]:" + std::string(port);
    return Bad(Quoted(text) +
               " has more than one colon; an IPv6 address needs brackets, write for example " +
               Quoted(better));
  }
  if (port.empty()) return NoPort(host);
  return HostAndPort{host, port};
}

Result<> CheckHost(std::string_view text, std::string_view host, std::string_view port) {
  if (host.empty()) {
    return Bad(Quoted(text) + " has no host; write \"*:" + std::string(port) +
               "\" for all addresses of this machine");
  }
  if (host == "*" || IsIpv4(host) || host.find(':') != host.npos) return {};
  if (host.find_first_not_of("0123456789.") == host.npos) {
    return Bad(Quoted(text) + ": " + Quoted(host) +
               " is not an IPv4 address; write for example \"127.0.0.1:50051\"");
  }
  if (host.find_first_not_of(kHostLetters) != host.npos) {
    return Bad(Quoted(text) + ": " + Quoted(host) +
               " is not a host name; write for example \"localhost:50051\"");
  }
  return {};
}

Result<Address> ParseTcp(std::string_view text) {
  const std::string_view scheme = ForeignScheme(text);
  if (!scheme.empty()) {
    return Bad(Quoted(text) +
               " begins with a scheme; write it without: " + Quoted(text.substr(scheme.size())));
  }
  const auto parts = Split(text);
  if (!parts) return tl::unexpected(parts.error());
  if (const auto fine = CheckHost(text, parts->host, parts->port); !fine) {
    return tl::unexpected(fine.error());
  }
  const auto port = ParsePort(parts->port);
  if (!port) {
    return Bad(Quoted(text) + ": " + Quoted(parts->port) +
               " is not a port; write a number from 0 to 65535");
  }
  Address address;
  address.host = std::string(parts->host);
  address.port = *port;
  address.text = std::string(text);
  return address;
}

Result<> ApplySetting(std::string_view text, std::string_view setting, Address& address) {
  const size_t equals = std::min(setting.find('='), setting.size());
  const std::string_view name = setting.substr(0, equals);
  const std::string_view value = setting.substr(std::min(equals + 1, setting.size()));
  if (name == "group") {
    if (value.empty())
      return Bad(Quoted(text) + ": the group is missing; write for example \"?group=shop\"");
    address.group = std::string(value);
    return {};
  }
  if (name != "mode") {
    return Bad(Quoted(text) + ": unknown setting " + Quoted(name) +
               "; write for example \"?mode=0660&group=shop\"");
  }
  const auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), address.mode, 8);
  if (value.size() < 3 || error != std::errc() || end != value.data() + value.size() ||
      address.mode > 0777) {
    return Bad(Quoted(text) + ": " + Quoted(value) +
               " is not a mode; write three octal digits, for example \"?mode=0660\"");
  }
  return {};
}

tl::unexpected<Error> Abstract(std::string_view text) {
  return Bad(Quoted(text) +
             " is an abstract socket, which has no owner and no mode; write a path, for example "
             "\"unix:/run/shop.sock\"");
}

Result<> CheckPath(std::string_view text, std::string_view path, std::string_view directory) {
  if (path.empty())
    return Bad(Quoted(text) + " has no path; write for example \"unix:/run/shop.sock\"");
  if (path.starts_with('@')) return Abstract(text);
  if (!path.starts_with('/') && directory.empty()) {
    return Bad(Quoted(text) +
               " has a relative path; write an absolute one, for example "
               "\"unix:/run/shop.sock\"");
  }
  return {};
}

Result<Address> ParseUnix(std::string_view text, std::string_view directory) {
  Address address;
  address.kind = Address::Kind::kUnix;
  address.text = std::string(text);
  std::string_view rest = text.substr(kUnix.size());
  const size_t question = std::min(rest.find('?'), rest.size());
  const std::string_view path = rest.substr(0, question);
  if (const auto fine = CheckPath(text, path, directory); !fine)
    return tl::unexpected(fine.error());
  address.path = (std::filesystem::path(directory) / path).lexically_normal().string();
  if (address.path.ends_with('/')) {
    return Bad(Quoted(text) + " names a directory; write for example \"unix:/run/shop.sock\"");
  }
  if (address.path.size() > kMaxUnixPath) {
    return Bad(Quoted(text) + ": the path has " + std::to_string(address.path.size()) +
               " bytes, a socket's may have " + std::to_string(kMaxUnixPath) +
               "; choose a shorter one");
  }
  rest.remove_prefix(question);
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the '?' or '&'
    const size_t end = std::min(rest.find('&'), rest.size());
    const auto fine = ApplySetting(text, rest.substr(0, end), address);
    if (!fine) return tl::unexpected(fine.error());
    rest.remove_prefix(end);
  }
  return address;
}

// As Listener::Bind takes it.
std::string Bound(const std::string& host) {
  return strcasecmp(host.c_str(), "localhost") == 0 ? "127.0.0.1" : host;
}

// A name as FileDescriptorName= of systemd.socket(5) has it.
Result<Address> ParseSystemd(std::string_view text) {
  Address address;
  address.kind = Address::Kind::kSystemd;
  address.path = text.substr(kSystemd.size());
  address.text = text;
  if (address.path.empty() || address.path.size() > 255 ||
      address.path.find(':') != address.path.npos) {
    return Bad(Quoted(text) +
               " needs the name of a socket, as FileDescriptorName= of its unit has "
               "it; write for example \"systemd:web\"");
  }
  return address;
}

}  // namespace

Result<Address> Address::Parse(std::string_view text, std::string_view directory) {
  if (text.empty()) {
    return Bad(
        "an address must not be empty; write for example \"127.0.0.1:50051\" or "
        "\"unix:/run/shop.sock\"");
  }
  if (!IsSafeText(text)) return Bad(Quoted(text) + " has a control character; remove it");
  if (text.starts_with(kUnix)) return ParseUnix(text, directory);
  if (text.starts_with("unix-abstract:")) return Abstract(text);
  if (text.starts_with(kSystemd)) return ParseSystemd(text);
  return ParseTcp(text);
}

std::string Address::Canonical() const {
  if (kind == Kind::kTcp) {
    const bool ipv6 = host.find(':') != host.npos;
    return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
  }
  if (kind == Kind::kSystemd) return std::string(kSystemd) + path;
  std::string settings;
  if (mode != kDefaultMode) {
    std::array<char, 16> octal;
    std::snprintf(octal.data(), octal.size(), "mode=%04o", static_cast<unsigned>(mode));
    settings = octal.data();
  }
  if (!group.empty()) settings += (settings.empty() ? "group=" : "&group=") + group;
  return std::string(kUnix) + path + (settings.empty() ? "" : "?" + settings);
}

bool Address::Overlaps(const Address& other) const {
  if (kind != other.kind) return false;
  if (kind != Kind::kTcp) return path == other.path;
  if (port != other.port || port == 0) return false;
  const std::string a = Bound(host), b = Bound(other.host);
  if (a == "*" || b == "*" || strcasecmp(a.c_str(), b.c_str()) == 0) return true;
  const std::string six_a = NormalIpv6(a), six_b = NormalIpv6(b);
  if (!six_a.empty() && !six_b.empty()) {
    return six_a == six_b || six_a == kAllOfIpv6 || six_b == kAllOfIpv6;
  }
  return IsIpv4(a) && IsIpv4(b) && (a == kAllOfIpv4 || b == kAllOfIpv4);
}

}  // namespace lastcall

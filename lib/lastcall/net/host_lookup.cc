#include "lastcall/net/host_lookup.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>

namespace lastcall {
namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// As getaddrinfo(3) answers.
int Ask(const std::string& host, int flags, Addresses& found) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  // Not AI_ADDRCONFIG: it hides loopback addresses from a machine that has no others.
  hints.ai_flags = AI_PASSIVE | flags;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
  found.reset(list);
  return error;
}

}  // namespace

bool NeedsLookUp(const std::string& host) {
  if (host == "*" || host == "localhost") return false;
  Addresses found(nullptr, &freeaddrinfo);
  return Ask(host, AI_NUMERICHOST, found) != 0;
}

Result<std::vector<std::string>> LookUpHost(const std::string& host) {
  // RFC 6761: localhost is the loopback, also where no resolver and no hosts file says so.
  if (host == "localhost") return std::vector<std::string>{"127.0.0.1"};
  Addresses found(nullptr, &freeaddrinfo);
  const int error = Ask(host, 0, found);
  const std::string why = error == 0 ? "" : gai_strerror(error);
  if (error == EAI_AGAIN || error == EAI_SYSTEM || error == EAI_MEMORY) {
    return Fail(Code::kUnavailable,
                "the name cannot be looked up now (" + why + "); write the address itself");
  }
  if (error != 0) {
    return Fail(Code::kInvalidArgument,
                "no such host (" + why + "); correct the name, or write the address itself");
  }
  std::vector<std::string> addresses;
  for (const addrinfo* each = found.get(); each != nullptr; each = each->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    getnameinfo(each->ai_addr, each->ai_addrlen, text.data(), text.size(), nullptr, 0,
                NI_NUMERICHOST);
    addresses.emplace_back(text.data());
  }
  return addresses;
}

}  // namespace lastcall

#include "lastcall/rpc/channelz.h"

#include <grpc/grpc.h>
#include <grpc/support/alloc.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

namespace lastcall {
namespace {

// JSON of gRPC's own making, which is compact and has numbers in quotes. Quotes inside of text are
// escaped, so that no name of a peer looks like a key.
std::string Taken(char* json) {
  if (json == nullptr) return {};
  std::string text(json);
  gpr_free(json);
  return text;
}

int64_t NumberOf(const std::string& text, std::string_view key) {
  const size_t at = text.find(key);
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + key.size());
}

// All of a list that gRPC gives a page at a time, from a number on.
std::set<intptr_t> Listed(const std::function<char*(intptr_t)>& page, std::string_view key,
                          intptr_t from = 0) {
  std::set<intptr_t> all;
  for (;;) {
    const std::string text = Taken(page(all.empty() ? from : *all.rbegin() + 1));
    const size_t before = all.size();
    for (size_t at = text.find(key); at != std::string::npos; at = text.find(key, at)) {
      at += key.size();
      all.insert(static_cast<intptr_t>(std::atoll(text.c_str() + at)));
    }
    if (all.size() == before || text.find("\"end\":true") != std::string::npos) return all;
  }
}

std::set<intptr_t> SocketsOf(intptr_t server, intptr_t from = 0) {
  return Listed(
      [server](intptr_t page) { return grpc_channelz_get_server_sockets(server, page, 0); },
      "\"socketId\":\"", from);
}

}  // namespace

Channelz::Servers Channelz::All() { return Listed(grpc_channelz_get_servers, "\"serverId\":\""); }

Channelz::Channelz(const Servers& before) : servers_(All()) {
  for (const intptr_t each : before) servers_.erase(each);
}

Channelz::Count Channelz::Look() const {
  Count count;
  for (const intptr_t server : servers_) {
    const auto sockets = SocketsOf(server);
    count.connections += sockets.size();
    for (const intptr_t socket : sockets) {
      const std::string text = Taken(grpc_channelz_get_socket(socket));
      count.streams += NumberOf(text, "\"streamsStarted\":\"") -
                       NumberOf(text, "\"streamsSucceeded\":\"") -
                       NumberOf(text, "\"streamsFailed\":\"");
    }
  }
  return count;
}

intptr_t Channelz::Newest() const {
  intptr_t newest = 0;
  for (const intptr_t server : servers_) {
    const auto sockets = SocketsOf(server);
    if (!sockets.empty()) newest = std::max(newest, *sockets.rbegin());
  }
  return newest;
}

size_t Channelz::BegunSince(intptr_t number) const {
  size_t begun = 0;
  for (const intptr_t server : servers_) {
    for (const intptr_t socket : SocketsOf(server, number + 1)) {
      begun += NumberOf(Taken(grpc_channelz_get_socket(socket)), "\"streamsStarted\":\"") > 0;
    }
  }
  return begun;
}

}  // namespace lastcall

// A connection over loopback, both ends ours, and the socket that listened for it.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdlib>
#include <string>

#include <lastcall/base/unique_fd.h>

namespace lastcall {

struct TcpPair {
  UniqueFd listener, client, server;
  std::string port;  // of the listener

  TcpPair() {
    listener.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(name);
    auto* const address = reinterpret_cast<sockaddr*>(&name);
    client.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (bind(listener.get(), address, size) != 0 || listen(listener.get(), 1) != 0 ||
        getsockname(listener.get(), address, &size) != 0 ||
        connect(client.get(), address, size) != 0) {
      std::abort();
    }
    port = std::to_string(ntohs(name.sin_port));
    server.Reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
};

}  // namespace lastcall

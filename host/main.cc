// lastcall-host: a child of lastcalld that runs servers with plugins. What it is to be comes over the
// control channel, an inherited socket. With --preflight it only tries plugins, see preflight.h.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "host/control.h"
#include "host/preflight.h"
#include "host/trusted_plugin.h"
#include "wire/configuration_message.h"
#include "wire/convert.h"
#include "wire/grpc_log.h"
#include "wire/logging.h"

#include <lastcall/base/descriptors.h>
#include <lastcall/base/exit_code.h>
#include <lastcall/base/safe_text.h>
#include <lastcall/host/host.h>
#include <lastcall/signals/signals.h>

namespace lastcall {
namespace {

// Descriptors: gRPC's and the loop's, and for each server what accepts, serves health and stands by
// for a stop (measured: 16, and 3 a server).
constexpr int kOfHost = 24;
constexpr int kOfServer = 8;

PluginSource ToSource(const std::string& server, const host::v1::PluginSpec& spec) {
  return {.name = spec.name(),
          .config = ConfigOf(server, spec),
          .create = [path = spec.path()](PluginHost& host) -> Result<std::unique_ptr<Plugin>> {
            const auto library = OpenTrustedPlugin(path);
            if (!library) return tl::unexpected(library.error());
            return library->Create(host);
          },
          .offload = FromProto(spec.offload())};
}

// Adds the servers of the message; its sockets go to them in order.
bool AddServers(HostControl::Configuration& configuration, Host& host) {
  auto socket = configuration.sockets.begin();
  for (const host::v1::ServerSpec& spec : configuration.message.servers()) {
    HostServer server;
    server.name = spec.name();
    server.reflection = spec.reflection();
    server.draining = spec.draining();
    server.limits = FromProto(spec.limits());
    server.stalls = StallsIn(spec);
    if (spec.has_tls()) {
      server.tls.emplace();
      server.tls->certificate = spec.tls().certificate();
      server.tls->key = spec.tls().key();
      server.tls->client_ca = spec.tls().client_ca();
    }
    for (const host::v1::Socket& each : spec.sockets()) {
      if (socket == configuration.sockets.end()) return false;
      server.listeners.emplace_back(std::move(*socket++), each.address());
    }
    for (const auto& plugin : spec.plugins())
      server.plugins.push_back(ToSource(spec.name(), plugin));
    if (!host.AddServer(std::move(server))) return false;
  }
  return true;
}

int Main() {
  Logger logger("lastcall-host", LogLevel::kInfo);
  HostControl control(Channel(UniqueFd(kControlFd)), logger);
  auto configuration = control.AwaitConfiguration();
  if (!configuration) return 0;  // the supervisor ended before it began
  const host::v1::Configure& message = configuration->message;
  prctl(PR_SET_NAME, ("lc-" + message.process()).c_str());
  logger = Logger("host " + message.process(), FromProto(message.log_level()));
  const GrpcLog grpc_log(logger.log());
  if (const auto enough = CheckDescriptors(kOfHost + message.servers_size() * kOfServer); !enough) {
    logger.log()(LogLevel::kError, enough.error().message);
    control.StartFailed(enough.error());
    return kExitInternal;
  }

  HostOptions options;
  options.name = message.process();
  options.incarnation = message.incarnation();
  options.shutdown = {FromSeconds(message.delay_s()), FromSeconds(message.grace_s()),
                      FromSeconds(message.cancel_s())};
  if (message.has_quiet_s()) options.quiet = FromSeconds(message.quiet_s());
  options.accept_when_ready = false;
  options.frozen_after = FromSeconds(message.frozen_after_s());
  if (message.ready_by_ns() > 0) options.ready_by = Instant(Duration(message.ready_by_ns()));
  options.log = logger.log();
  options.observer = &control;
  Host host(std::move(options));
  if (!AddServers(*configuration, host)) {
    logger.log()(LogLevel::kError, "the supervisor sent fewer sockets than addresses");
    return kExitBadConfiguration;
  }
  control.Begin(host);
  const int code = host.Run();
  control.End();
  return code;
}

}  // namespace
}  // namespace lastcall

int main(int argc, char** argv) {
  lastcall::BlockSignals();
  const bool preflight = argc == 2 && std::strcmp(argv[1], "--preflight") == 0;
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if ((argc != 1 && !preflight) ||
      getsockname(lastcall::kControlFd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::fprintf(stderr,
                 "lastcall-host is started by lastcalld, not by hand; see lastcalld --help\n");
    return lastcall::kExitBadCommandLine;
  }
  // Not for the children of plugins.
  fcntl(lastcall::kControlFd, F_SETFD, FD_CLOEXEC);
  try {
    if (!preflight) return lastcall::Main();
    return lastcall::RunPreflight(lastcall::Channel(lastcall::UniqueFd(lastcall::kControlFd)));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lastcall-host: internal error: %s\n",
                 lastcall::SafeText(error.what()).c_str());
    return lastcall::kExitInternal;
  }
}

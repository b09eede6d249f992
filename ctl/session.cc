#include "session.h"

#include <lastcall/base/safe_text.h>

#include <sstream>

namespace lastcall {
namespace {

constexpr Duration kAnswerTime = std::chrono::seconds(5);

// A daemon executes another build once, or it ends connections for another reason (too many of them).
constexpr int kMaxReconnects = 3;
constexpr Duration kReconnect = std::chrono::milliseconds(20);

}  // namespace

Session::Session(const Options& options, const World& world)
    : options_(options), world_(world), socket_(FindSocket(options.socket)) {
  if (options.timeout) end_ = Deadline(After(world.clock.Now(), *options.timeout));
}

Deadline Session::AnswerBy() const {
  return options_.timeout ? end_ : Deadline(After(clock().Now(), kAnswerTime));
}

tl::expected<AdminClient, int> Session::TryConnect() {
  // Again at each attempt: which socket is the right one depends on which are there.
  socket_ = FindSocket(options_.socket);
  auto connection = ConnectTo(socket_.path, AnswerBy().Remaining(clock().Now()));
  if (!connection) return tl::unexpected(connection.error());
  daemon_ = ListenerOf(*connection);
  return AdminClient(std::move(*connection), clock());
}

Result<AdminClient> Session::Connect() {
  auto client = TryConnect();
  if (!client) return tl::unexpected(ExplainConnect(socket_, client.error()));
  return std::move(*client);
}

std::optional<AdminClient> Session::Reconnect() {
  const pid_t before = daemon_;
  if (before == 0 || reconnects_ == kMaxReconnects) return std::nullopt;
  ++reconnects_;
  Pause(kReconnect);
  // Waits in the socket's queue until the other build listens.
  auto client = TryConnect();
  if (!client || daemon_ != before) return std::nullopt;
  return std::move(*client);
}

int Session::Fail(const Error& error) { return Fail(ExitCodeFor(error.code), error.message); }

int Session::Fail(ExitCode code, const std::string& message) {
  // One line for each mistake, and none that could pass for another program's.
  constexpr std::string_view kBegin = "lastcallctl: ";
  const std::string text = std::string(kBegin) + SafeLines(message, std::string::npos, kBegin);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    world_.err << Folded(line, "  ", world_.err_look) << "\n";
  }
  return code;
}

}  // namespace lastcall

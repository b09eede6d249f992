// How the daemon keeps its admin socket: claims it, notices when it is taken away, makes it again.
#include <fcntl.h>

#include "daemon/daemon.h"

namespace lastcall {
namespace {

// How long until it tries again to make a socket that could not be made.
constexpr auto kAgain = std::chrono::seconds(5);

}  // namespace

Result<> Daemon::ClaimAdminSocket() {
  auto claimed = AdminSocket::Claim(setup_.config.admin_socket);
  if (!claimed) return Fail(claimed.error().code, "admin socket: " + claimed.error().message);
  admin_socket_.emplace(std::move(*claimed));
  return {};
}

Result<> Daemon::StartAdmin() {
  admin_ = nullptr;
  auto socket = admin_socket_->Share();
  if (!socket) return tl::unexpected(socket.error());
  auto admin = AdminServer::Start(std::move(*socket), setup_.roles, *backend_, hub_, clock_, log_);
  if (!admin) return tl::unexpected(admin.error());
  admin_ = std::move(*admin);
  if (admin_changes_.is_open()) return {};
  // A copy: Asio closes what it is given.
  const int copy = fcntl(admin_socket_->changes(), F_DUPFD_CLOEXEC, 0);
  if (copy >= 0) admin_changes_.assign(copy);
  KeepAdminSocket();  // somebody may have been there when nobody watched
  AwaitAdminChanges();
  return {};
}

void Daemon::AwaitAdminChanges() {
  if (!admin_changes_.is_open()) return;
  admin_changes_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                            [this](const boost::system::error_code& error) {
                              if (error) return;
                              KeepAdminSocket();
                              AwaitAdminChanges();
                            });
}

// Whoever is connected stays so. Without its socket the daemon could be asked nothing but by
// signals.
void Daemon::KeepAdminSocket() {
  if (!admin_changes_.is_open()) return;
  if (admin_socket_->IsThere()) {
    admin_lost_ = false;
    return;
  }
  const std::string path = admin_socket_->path();
  const auto renewed = admin_socket_->Renew();
  if (renewed) {
    if (*renewed) ListenAgain();
    Say(LogLevel::kWarning, "somebody removed the admin socket " + path +
                                (*renewed ? "" : "'s lock") + "; it was made again");
    admin_lost_ = false;
    return;
  }
  if (!std::exchange(admin_lost_, true)) {
    Say(LogLevel::kError, "the admin socket " + path +
                              " is gone, and cannot be made again now: " + renewed.error().message +
                              "; it is tried every 5 s, and until then "
                              "signals alone reach this daemon");
  }
  admin_retry_.expires_after(kAgain);
  admin_retry_.async_wait([this](const boost::system::error_code& error) {
    if (!error) KeepAdminSocket();
  });
}

void Daemon::ListenAgain() {
  // Where another build takes over, that one will.
  if (handover_->leaving()) return;
  auto socket = admin_socket_->Share();
  if (!socket) return Say(LogLevel::kError, socket.error().message);
  admin_->Listen(std::move(*socket));
}

// Its end is wanted from here on.
void Daemon::LeaveAdminSocket() {
  boost::system::error_code ignored;
  admin_changes_.close(ignored);
  admin_retry_.cancel();
  admin_socket_->Unwatch();
}

}  // namespace lastcall

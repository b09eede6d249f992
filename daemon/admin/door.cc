#include "daemon/admin/door.h"

#include <fcntl.h>

#include <utility>

#include <boost/asio/post.hpp>

namespace lastcall {

AdminDoor::AdminDoor(boost::asio::io_context& loop, const Clock& clock, Log log, Timing timing)
    : loop_(loop),
      clock_(clock),
      log_(std::move(log)),
      timing_(timing),
      changes_(loop),
      again_(loop),
      patience_(loop) {}

AdminDoor::AdminDoor(boost::asio::io_context& loop, const Clock& clock, Log log)
    : AdminDoor(loop, clock, std::move(log), Timing()) {}

AdminDoor::~AdminDoor() { End(); }

Result<> AdminDoor::Claim(const std::string& path) {
  auto claimed = AdminSocket::Claim(path);
  if (!claimed) return Fail(claimed.error().code, "admin socket: " + claimed.error().message);
  socket_.emplace(std::move(*claimed));
  return {};
}

void AdminDoor::TakeOver(UniqueFd lock, Listener listener) {
  socket_.emplace(std::move(lock), std::move(listener));
}

Result<> AdminDoor::Open(AdminBackend& backend, Roles roles) {
  auto socket = socket_->Share();
  if (!socket) return tl::unexpected(socket.error());
  hub_.Reopen();
  auto server =
      AdminServer::Start(std::move(*socket), std::move(roles), backend, hub_, clock_, log_);
  if (!server) return tl::unexpected(server.error());
  server_ = std::move(*server);
  service_ = Service::kOpen;
  if (!changes_.is_open()) BeginKeeping();
  return {};
}

void AdminDoor::SetRoles(Roles roles) {
  if (server_) server_->SetRoles(std::move(roles));
}

bool AdminDoor::BeginProbe(std::function<void()> answered) {
  return service_ == Service::kOpen && server_->BeginProbe(std::move(answered));
}

// Retiring is first of all, so that whoever comes again waits for who opens next.
void AdminDoor::BeginLeave(std::function<void()> left) {
  BeginRetire(Service::kLeaving, [this, left = std::move(left)] {
    server_ = nullptr;
    service_ = Service::kNone;
    left();
  });
  AwaitRetired(timing_.patience, [this] { server_->Cancel(); });
  hub_.HandOver();
}

void AdminDoor::BeginClose(std::function<void()> closed) {
  if (service_ == Service::kClosing) return;
  EndKeeping();
  BeginRetire(Service::kClosing, std::move(closed));
  socket_->Close();
  AwaitRetired(timing_.patience, [this] {
    server_->Cancel();
    AwaitRetired(timing_.cancel, [this] {
      log_(LogLevel::kWarning, "the admin socket's connections have not ended; abandoned");
      Retired();
    });
  });
}

void AdminDoor::BeginRetire(Service service, std::function<void()> retired) {
  service_ = service;
  retired_ = std::move(retired);
  const auto tell = [this, &loop = loop_, here = std::weak_ptr(here_)] {
    boost::asio::post(loop, [this, here] {
      if (!here.expired()) Retired();
    });
  };
  server_ ? server_->BeginRetire(service == Service::kClosing, tell) : tell();
}

void AdminDoor::Retired() {
  patience_.cancel();
  // Once: they may end after they were abandoned.
  if (const auto retired = std::exchange(retired_, nullptr)) retired();
}

// For so long; then `over`.
void AdminDoor::AwaitRetired(Duration patience, std::function<void()> over) {
  patience_.expires_after(patience);
  patience_.async_wait([this, here = std::weak_ptr(here_),
                        over = std::move(over)](const boost::system::error_code& error) {
    // It may have been on its way when all had ended.
    if (!error && !here.expired() && retired_ != nullptr && server_ != nullptr) over();
  });
}

void AdminDoor::End() {
  EndKeeping();
  patience_.cancel();
  retired_ = nullptr;
  socket_.reset();
  server_ = nullptr;
  service_ = Service::kNone;
}

// Without inotify nothing is noticed, and nothing else is lost.
void AdminDoor::BeginKeeping() {
  // A copy: Asio closes what it is given.
  const int copy = fcntl(socket_->changes(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return;
  changes_.assign(copy);
  Keep();  // somebody may have been there when nobody watched
  AwaitChanges();
}

void AdminDoor::AwaitChanges() {
  changes_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [this, here = std::weak_ptr(here_)](const boost::system::error_code& error) {
                        if (error || here.expired()) return;
                        Keep();
                        AwaitChanges();
                      });
}

// Whoever is connected stays so. Without its socket the daemon could be asked nothing but by
// signals.
void AdminDoor::Keep() {
  if (socket_->IsThere()) {
    lost_ = false;
    return;
  }
  const auto renewed = socket_->Renew();
  if (renewed) {
    if (*renewed) Listen();
    log_(LogLevel::kWarning, "the admin socket " + socket_->path() + (*renewed ? "" : "'s lock") +
                                 " was removed; recreated");
    lost_ = false;
    return;
  }
  if (!std::exchange(lost_, true)) {
    log_(LogLevel::kError, "the admin socket " + socket_->path() +
                               " is gone, and cannot be recreated now: " + renewed.error().message +
                               "; it is tried every 5 s, and until then "
                               "signals alone reach this daemon");
  }
  again_.expires_after(timing_.again);
  again_.async_wait([this, here = std::weak_ptr(here_)](const boost::system::error_code& error) {
    if (!error && !here.expired() && changes_.is_open()) Keep();
  });
}

// Where it leaves, who opens next will.
void AdminDoor::Listen() {
  if (service_ != Service::kOpen) return;
  auto socket = socket_->Share();
  if (!socket) return log_(LogLevel::kError, socket.error().message);
  server_->Listen(std::move(*socket));
}

// Its end is wanted from here on.
void AdminDoor::EndKeeping() {
  boost::system::error_code ignored;
  changes_.close(ignored);
  again_.cancel();
  if (socket_) socket_->Unwatch();
}

}  // namespace lastcall

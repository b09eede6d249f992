// The daemon: configuration, sockets, processes, admin and signals put together around one loop.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/admin_service.h"
#include "daemon/config.h"
#include "daemon/host_process.h"
#include "daemon/logging.h"
#include "daemon/watch_hub.h"

#include <lastcall/signals/signals.h>
#include <lastcall/supervisor/supervisor.h>
#include <lastcall/systemd/notify.h>

namespace lastcall {

// Everything runs in the thread of Run, but for the admin's calls and the signals, which post to it.
class Daemon final : private SupervisorObserver, private AdminBackend {
 public:
  // `host_program`: lastcall-host.
  Daemon(Config config, std::string host_program, Logger& logger);
  ~Daemon() override;

  // Binds every socket, the admin's first: a second daemon is refused there. Fails: as
  // Listener::Bind, with the server's name.
  Result<> Bind();
  // Blocks: until stopped. Returns the exit code.
  int Run();

 private:
  void StageEntered(Stage stage) override;
  void ReloadRequested() override;
  void DumpRequested() override;
  void Changed() override;
  void Finished(const Receipt& receipt) override;

  void Post(std::function<void()> question) override;
  void BeginStatus(std::function<void(admin::v1::Status)> answer) override;
  admin::v1::ShutdownReply Shutdown(const admin::v1::ShutdownRequest& request,
                                    const Cause& by) override;
  Result<bool> SetDraining(const admin::v1::SetDrainingRequest& request, const Cause& by) override;
  Result<std::string> SetLogLevel(const std::string& level, const Cause& by) override;
  admin::v1::GetConfigReply EffectiveConfig() override;

  void MakeProcesses();
  void ArmTimer();
  void BeginRefresh();
  void PromiseEnd();
  void Publish();
  void KeepReceipt(const Receipt& receipt);
  void EndAdmin();
  admin::v1::Status MakeStatus();
  void AddServers(admin::v1::Status& status);
  std::string Summary() const;
  void Say(LogLevel level, const std::string& message) { log_(level, message); }

  const Config config_;
  const std::string host_program_;
  Logger& logger_;
  const Log log_;
  const SteadyClock clock_;
  const Instant started_;
  const SystemdNotifier systemd_;

  boost::asio::io_context loop_{1};
  boost::asio::steady_timer timer_{loop_};    // the supervisor's next instant
  boost::asio::steady_timer refresh_{loop_};  // of the watchers' view while stopping
  Instant armed_ = kNever;
  Instant promised_{};  // to systemd: when the stop is over
  bool publish_pending_ = false;
  bool over_ = false;

  WatchHub hub_;
  std::optional<Listener> admin_socket_;
  std::vector<std::vector<Listener>> sockets_;  // of each server
  std::vector<std::unique_ptr<HostProcess>> processes_;
  std::optional<Supervisor> supervisor_;
  std::unique_ptr<AdminServer> admin_;
  std::string admin_address_;
  int exit_code_ = 0;
};

}  // namespace lastcall

// The host's end of the control channel: orders from the supervisor in, reports out.
#pragma once

#include <chrono>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "lastcall/host/v1/host.pb.h"
#include "wire/channel.h"
#include "wire/logging.h"

#include <lastcall/host/host.h>

namespace lastcall {

class HostControl final : public HostObserver {
 public:
  // What the last words are worth: a supervisor that does not read (it was stopped, or is busy) must
  // not hold the host's end up.
  static constexpr Duration kForLastWords = std::chrono::milliseconds(200);

  HostControl(Channel channel, Logger& logger, Duration for_last_words = kForLastWords);

  // Blocks: until the first order, which says what to be. Empty: there is no supervisor any more.
  struct Configuration {
    host::v1::Configure message;
    std::vector<UniqueFd> sockets;  // in the order of the message
  };
  std::optional<Configuration> AwaitConfiguration();

  // Obeys, in a thread of its own, until End.
  void Begin(Host& host);
  void End();

  void Constructing(const std::string& plugin) override;
  void Ready() override;
  void StartFailed(const Error& error) override;
  void StageEntered(Stage stage) override;
  bool TakesRequest(const Request& request) override;
  void StallsChanged() override;
  void LeftBehind(std::vector<UniqueFd> connections) override;
  void Finished(const Receipt& receipt) override;

 private:
  void Obey();
  void Obey(const host::v1::ToHost& order);
  void SupervisorIsGone();
  void Report(uint32_t query);
  // Never blocks, and nothing is lost: what finds no room in the channel waits for it.
  void Tell(host::v1::FromHost message, std::vector<UniqueFd> fds = {});
  // The process may end after this: blocks for a moment, where there is no room.
  void TellLast(host::v1::FromHost message);
  // False: something waits for room.
  bool Flush();
  void AwaitWork();

  struct Told {
    host::v1::FromHost message;
    std::vector<UniqueFd> fds;
  };

  const Channel channel_;
  Logger& logger_;
  const Duration for_last_words_;
  const SteadyClock clock_;
  Host* host_ = nullptr;
  std::mutex mutex_;
  std::deque<Told> outbox_;  // guarded by mutex_; in the order of Tell
  const UniqueFd wake_;      // eventfd: there is something in the outbox
  std::thread thread_;
};

}  // namespace lastcall

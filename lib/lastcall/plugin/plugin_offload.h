// PluginOffload: the inside of a plugin's Offload, with what its host asks of it.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/event/offload_threads.h>
#include <lastcall/plugin/offload.h>

namespace lastcall {

// Threads of its own: those that work, and one that keeps the time, which answers whoever has waited
// long enough; both are made by the first piece of work. Held by shared_ptr alone, for they hold it
// too. Threads: any.
class PluginOffload : public std::enable_shared_from_this<PluginOffload> {
 public:
  using Work = OffloadThreads::Work;
  using Done = OffloadThreads::Done;

  // `clock` must outlive WaitIdle.
  PluginOffload(const OffloadLimits& limits, const Clock& clock, Log log);

  // See Offload. Order: of the call that `context` is of, before its handler's end.
  void Begin(const grpc::ServerContextBase& context, std::optional<Instant> by, Work work,
             Done done);
  const OffloadLimits& limits() const { return limits_; }
  OffloadCounts counts() const;

  // Whatever was begun or will be is answered with this, soon; what is queued will not run.
  void Close(const Error& error);
  // A clock that is not the machine's has moved.
  void OnTick();
  // Blocks: until nothing of the plugin's runs here, neither work nor an answer. Order: after Close.
  void WaitIdle();

  struct Running {
    std::string method;  // of the call that it is for
    Instant since{};
    pid_t thread = 0;
  };
  // Whether anybody waits for it or not, in the order of Begin.
  std::vector<Running> running() const;

 private:
  struct Piece;
  using Due = std::vector<std::pair<std::shared_ptr<Piece>, Error>>;

  std::optional<Error> TryBegin(const std::shared_ptr<Piece>& piece, Work work);
  void RunWork(uint64_t id, Instant by, const std::string& method, const Work& work,
               const std::stop_token& stop);
  void Answer(uint64_t id, const Error* error);  // null: it has returned
  void AnswerWith(uint64_t id, const Error& error);
  void Tell(const Piece& piece, const Error* error) const;
  void Unwanted(uint64_t id);

  // Order: the mutex is held, for these.
  void NeedTimekeeper();
  std::shared_ptr<Piece> Take(uint64_t id);
  Due TakeDue();
  void WaitForDue(std::unique_lock<std::mutex>& lock);

  void KeepTime();

  const OffloadLimits limits_;
  const Clock& clock_;
  const Log log_;
  OffloadThreads threads_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // something is due, or the first instant is another
  std::condition_variable kept_;     // the timekeeper has ended
  bool keeping_time_ = false;
  std::optional<Error> closed_;
  uint64_t last_ = 0;
  uint64_t begun_ = 0;
  uint64_t refused_ = 0;
  uint64_t late_ = 0;
  std::map<uint64_t, std::shared_ptr<Piece>> pieces_;  // that are not answered
  std::set<std::pair<Instant, uint64_t>> instants_;    // of those, by when
  std::vector<uint64_t> unwanted_;                     // whose clients are gone
  std::map<uint64_t, Running> running_;
};

}  // namespace lastcall

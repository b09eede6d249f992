// Offload: where a plugin's heavy work goes, so that the threads which serve calls are free and a
// failure is a status, never a hang.
//
//   const auto rows = host.offload().Run(context, [db = db_, query](const std::stop_token& stop) {
//     return db->Read(query, stop);
//   });
//   if (!rows) return grpc::Status(…);      // DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, CANCELLED
//
// For whole handlers, with their request, reply or stream: <lastcall/plugin/offload_grpc.h>.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include <lastcall/base/clock.h>
#include <lastcall/base/result.h>

namespace grpc {
class ServerContextBase;
}

namespace lastcall {

// [server.NAME.offload.PLUGIN]
struct OffloadLimits {
  uint32_t threads = 4;
  uint32_t queue = 64;                           // pieces of work that wait for a thread
  Duration deadline = std::chrono::seconds(30);  // for whom the plugin gives none
  friend bool operator==(const OffloadLimits&, const OffloadLimits&) = default;
};

// One moment of it.
struct OffloadCounts {
  size_t busy = 0;       // threads that work, and
  size_t abandoned = 0;  // those of them whose answer nobody waits for any more
  size_t queued = 0;
  size_t most_queued = 0;
  uint64_t begun = 0;    // pieces of work so far that were not refused;
  uint64_t refused = 0;  // with RESOURCE_EXHAUSTED, and
  uint64_t late = 0;     // that were answered DEADLINE_EXCEEDED
};

class PluginOffload;

// A cheap copyable view of the plugin's own threads and queue. The threads are made when there is
// work for them. Threads: any.
//
// Work is answered once: by what it returns, or, whatever it does, by one of these errors:
//   kResourceExhausted  the queue is full, or no thread can be made; nothing runs
//   kDeadlineExceeded   at `by` or the call's own deadline, whichever is first; work that is queued
//                       still is never begun
//   kInternal           it threw; what, is in the log
//   kCancelled          the client is gone, or the stage is cancel. Not in grace: who wants to leave
//                       early asks Call
// Whoever is answered with an error leaves the work behind: its stop_token is told, and its thread
// stays busy until it returns. So it must own what it uses of the call, for the call ends. The plugin
// itself it may use: that is stopped and destroyed after the last work has returned, and where one
// does not return, never; the process ends without it then.
class Offload {
 public:
  explicit Offload(std::shared_ptr<PluginOffload> inside) : inside_(std::move(inside)) {}

  // `work`: T(const std::stop_token&). `by` is told by PluginHost::clock(); absent: as configured.
  // For synchronous handlers. Blocks: until it is answered.
  template <class Work, class T = std::invoke_result_t<Work, const std::stop_token&>>
  Result<T> Run(const grpc::ServerContextBase& context, Work work,
                std::optional<Instant> by = {}) const {
    const auto answer = std::make_shared<std::promise<Result<T>>>();
    Begin(
        context, std::move(work),
        [answer](Result<T> result) { answer->set_value(std::move(result)); }, by);
    return answer->get_future().get();
  }

  // For any handler. `done`: void(Result<T>), in a thread of this; it must not block. A refusal is
  // told inside Begin: hold no lock that `done` needs.
  template <class Work, class Done, class T = std::invoke_result_t<Work, const std::stop_token&>>
  void Begin(const grpc::ServerContextBase& context, Work work, Done done,
             std::optional<Instant> by = {}) const {
    const auto result = std::make_shared<std::optional<T>>();
    Enqueue(
        context, by,
        [result, work = std::move(work)](const std::stop_token& stop) mutable {
          result->emplace(work(stop));
        },
        [result, done = std::move(done)](const Error* error) mutable {
          if (error != nullptr) return done(Result<T>(tl::unexpected(*error)));
          done(Result<T>(std::move(**result)));
        });
  }

  const OffloadLimits& limits() const;
  OffloadCounts counts() const;

 private:
  void Enqueue(const grpc::ServerContextBase& context, std::optional<Instant> by,
               std::function<void(const std::stop_token&)> work,
               std::function<void(const Error*)> done) const;

  std::shared_ptr<PluginOffload> inside_;
};

}  // namespace lastcall

#include "daemon/trials.h"

#include <boost/asio/post.hpp>

#include <utility>

namespace lastcall {

void Trials::Begin(Config config, std::vector<std::string> processes, std::string host_program,
                   std::function<void(const TrialResult&)> done) {
  const auto thread = threads_.emplace(threads_.end());
  *thread = std::jthread([this, thread, config = std::move(config),
                          processes = std::move(processes), program = std::move(host_program),
                          done = std::move(done)](const std::stop_token& stop) {
    TrialResult result = TryPlugins(config, processes, program, stop);
    boost::asio::post(loop_, [this, thread, done, result = std::move(result)] {
      threads_.erase(thread);
      done(result);
    });
  });
}

void Trials::Hurry() {
  for (std::jthread& thread : threads_) thread.request_stop();
}

}  // namespace lastcall

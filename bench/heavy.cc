// A callback service that works for long, where it should and where it should not.
#include <lastcall/plugin.h>
#include <lastcall/plugin/offload_grpc.h>

#include <chrono>
#include <ctime>
#include <thread>

#include "heavy.grpc.pb.h"

namespace lastcall::bench {
namespace {

using std::chrono::milliseconds;

milliseconds ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return milliseconds(time.tv_sec * 1000 + time.tv_nsec / 1'000'000);
}

// In parts, so that a bench need not wait for its end.
void Work(const WorkRequest& asked, const std::stop_token& stop) {
  constexpr milliseconds kPart(5);
  const milliseconds length(asked.ms());
  if (asked.cpu()) {
    for (const milliseconds end = ThreadTime() + length;
         ThreadTime() < end && !stop.stop_requested();) {
    }
    return;
  }
  for (milliseconds slept(0); slept < length && !stop.stop_requested(); slept += kPart) {
    std::this_thread::sleep_for(kPart);
  }
}

class HeavyPlugin final : public Plugin, public Heavy::CallbackService {
 public:
  explicit HeavyPlugin(PluginHost& host) : offload_(host.offload()) {}

  std::vector<grpc::Service*> Services() override { return {this}; }

  grpc::ServerUnaryReactor* Work(grpc::CallbackServerContext* context, const WorkRequest* request,
                                 WorkReply* reply) override {
    if (!request->in_handler()) {
      return BeginUnary(offload_, *context, *request, *reply,
                        [](const WorkRequest& asked, WorkReply&, const std::stop_token& stop) {
                          bench::Work(asked, stop);
                          return grpc::Status::OK;
                        });
    }
    bench::Work(*request, {});
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

 private:
  const Offload offload_;
};

}  // namespace
}  // namespace lastcall::bench

LASTCALL_PLUGIN(lastcall::bench::HeavyPlugin, "1.0.0")

// The echo plugin: see echo.proto for what its methods do, and EchoSettings for its configuration.
#include <lastcall/plugin.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "echo.grpc.pb.h"

namespace lastcall::example {
namespace {

using grpc::ServerContext;
using grpc::Status;
using std::chrono::milliseconds;

struct EchoSettings {
  explicit EchoSettings(const PluginConfig& config)
      : greeting(config.String("greeting", "")),
        fail_start(config.String("fail_start", "")),
        hang_start(config.Duration("hang_start", Duration::zero())),
        hang_stop(config.Duration("hang_stop", Duration::zero())),
        health(config.String("health", "serving")) {
    if (health != "serving" && health != "not_serving") {
      throw config.Refuse("health", "must be \"serving\" or \"not_serving\"");
    }
  }

  std::string greeting;    // put before every reply
  std::string fail_start;  // refuse to start, with this text
  Duration hang_start;     // sleep in the constructor
  Duration hang_stop;      // sleep in Stop, whatever the deadline
  std::string health;      // "not_serving": of the service, from the start
};

// Waits for `length`. False: cut short, because the client is gone or the call was cancelled, or
// because it was told to leave and `may_leave`.
bool Rest(const ServerContext& context, const Call& call, milliseconds length, bool may_leave) {
  const auto until = std::chrono::steady_clock::now() + length;
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_until(lock, call.leave_token(), until, [] { return false; });
  // The token cannot say twice that the call should end: after the first time, look for the cancel.
  while (true) {
    if (context.IsCancelled() || (may_leave && call.leaving())) return false;
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= Duration::zero()) return true;
    std::this_thread::sleep_for(std::min<Duration>(left, milliseconds(50)));
  }
}

Status HowItEnded(const Call& call) {
  return call.leaving() ? call.LeaveStatus() : Status(grpc::StatusCode::CANCELLED, "cancelled");
}

class EchoPlugin final : public Plugin, public Echo::Service {
 public:
  explicit EchoPlugin(PluginHost& host) : host_(host), settings_(host.config()) {
    std::this_thread::sleep_for(settings_.hang_start);
    if (!settings_.fail_start.empty()) throw std::runtime_error(settings_.fail_start);
    if (settings_.health == "not_serving") host_.SetServing(Echo::service_full_name(), false);
  }

  static void Check(const PluginConfig& config) { EchoSettings{config}; }

  std::vector<grpc::Service*> Services() override { return {this}; }

  void Stop(Deadline) noexcept override { std::this_thread::sleep_for(settings_.hang_stop); }

  Status Unary(ServerContext*, const EchoRequest* request, EchoReply* reply) override {
    *reply = Reply(request->text(), 0);
    return Status::OK;
  }

  Status ServerStream(ServerContext* context, const EchoRequest* request,
                      grpc::ServerWriter<EchoReply>* out) override {
    const auto call = Call::Of(*context);
    for (int number = 0; number < request->count(); ++number) {
      if (number > 0 && !Rest(*context, call, milliseconds(request->interval_ms()), true)) {
        return HowItEnded(call);
      }
      if (!out->Write(Reply(request->text(), number))) return HowItEnded(call);
    }
    return Status::OK;
  }

  Status ClientStream(ServerContext*, grpc::ServerReader<EchoRequest>* in,
                      EchoReply* reply) override {
    std::string texts;
    for (EchoRequest request; in->Read(&request);) {
      if (!texts.empty()) texts += " ";
      texts += request.text();
    }
    *reply = Reply(texts, 0);
    return Status::OK;
  }

  Status Bidi(ServerContext* context,
              grpc::ServerReaderWriter<EchoReply, EchoRequest>* stream) override {
    const auto call = Call::Of(*context);
    int number = 0;
    for (EchoRequest request; stream->Read(&request);) {
      if (!stream->Write(Reply(request.text(), number++))) return HowItEnded(call);
      if (call.leaving()) return call.LeaveStatus();
    }
    return Status::OK;
  }

  Status Slow(ServerContext* context, const SlowRequest* request, EchoReply* reply) override {
    const auto call = Call::Of(*context);
    const bool may_leave = request->on_leave() == SlowRequest::FINISH_EARLY;
    const bool whole = Rest(*context, call, milliseconds(request->delay_ms()), may_leave);
    if (!whole && context->IsCancelled()) return HowItEnded(call);
    *reply = Reply(whole ? "slept" : "left early", 0);
    return Status::OK;
  }

  Status Stubborn(ServerContext*, const SlowRequest* request, EchoReply* reply) override {
    std::this_thread::sleep_for(milliseconds(request->delay_ms()));
    *reply = Reply("slept", 0);
    return Status::OK;
  }

  Status Crash(ServerContext*, const CrashRequest*, EchoReply*) override {
    std::raise(SIGSEGV);
    return Status(grpc::StatusCode::INTERNAL, "survived SIGSEGV");
  }

  Status Shutdown(ServerContext*, const ShutdownRequest* request, EchoReply* reply) override {
    host_.RequestShutdown(request->reason());
    *reply = Reply("shutting down", 0);
    return Status::OK;
  }

 private:
  EchoReply Reply(const std::string& text, int number) const {
    EchoReply reply;
    reply.set_text(settings_.greeting.empty() ? text : settings_.greeting + " " + text);
    reply.set_number(number);
    reply.set_pid(getpid());
    return reply;
  }

  PluginHost& host_;
  const EchoSettings settings_;
};

}  // namespace
}  // namespace lastcall::example

LASTCALL_PLUGIN(lastcall::example::EchoPlugin, "1.0.0")

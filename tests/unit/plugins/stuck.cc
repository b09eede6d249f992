// A plugin whose handlers make no progress: see stuck.proto.
#include <arpa/inet.h>
#include <lastcall/plugin.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "stuck.grpc.pb.h"

namespace lastcall::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kFilling = 64 << 10;

int ConnectTo(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  return fd;
}

// Each in a function that its stack shows by name.
[[gnu::noinline]] void StuckComputing(steady_clock::time_point until) {
  while (steady_clock::now() < until) continue;
}

// Not the same: the linker may fold functions that are.
[[gnu::noinline]] void StuckParsing(steady_clock::time_point until, int* turns) {
  while (steady_clock::now() < until) continue;
  *turns += 1;
}

[[gnu::noinline]] void StuckWriting(steady_clock::time_point until, int* turns) {
  while (steady_clock::now() < until) continue;
  *turns += 2;
}

[[gnu::noinline]] void StuckAlternating(steady_clock::time_point until) {
  int turns = 0;
  while (steady_clock::now() < until) {
    StuckParsing(steady_clock::now() + milliseconds(13), &turns);
    StuckWriting(steady_clock::now() + milliseconds(13), &turns);
  }
}

[[gnu::noinline]] void StuckComputingIdly(steady_clock::time_point until) {
  const sched_param none{};
  sched_setscheduler(0, SCHED_IDLE, &none);
  StuckComputing(until);
  sched_setscheduler(0, SCHED_OTHER, &none);
}

[[gnu::noinline]] void StuckReading(int port) {
  const int fd = ConnectTo(port);
  char byte;
  while (read(fd, &byte, 1) > 0) continue;
  close(fd);
}

[[gnu::noinline]] void StuckPolling(int port, milliseconds length) {
  const int fd = ConnectTo(port);
  pollfd one{fd, POLLIN, 0};
  poll(&one, 1, static_cast<int>(length.count()));
  close(fd);
}

[[gnu::noinline]] void StuckSleeping(milliseconds length) {
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(length);
  timespec left{whole.count(), (length - whole).count() * 1'000'000};
  nanosleep(&left, nullptr);
}

[[gnu::noinline]] void StuckLocking(milliseconds length) {
  std::timed_mutex mutex;
  mutex.lock();
  (void)mutex.try_lock_for(length);
}

void BeStuck(const StuckRequest& request) {
  const milliseconds length(request.for_ms());
  const auto until = steady_clock::now() + length;
  switch (request.how()) {
    case StuckRequest::COMPUTE: return StuckComputing(until);
    case StuckRequest::ALTERNATE: return StuckAlternating(until);
    case StuckRequest::IDLE: return StuckComputingIdly(until);
    case StuckRequest::READ: return StuckReading(request.port());
    case StuckRequest::FORGET:
    case StuckRequest::SLEEP: return StuckSleeping(length);
    case StuckRequest::LOCK: return StuckLocking(length);
    case StuckRequest::POLL: return StuckPolling(request.port(), length);
    default: return;
  }
}

StuckReply Filled() {
  StuckReply reply;
  reply.set_filling(std::string(kFilling, 'x'));
  return reply;
}

class SyncService final : public Stuck::Service {
  using Context = grpc::ServerContext;
  using Status = grpc::Status;
  using Stream = grpc::ServerReaderWriter<StuckReply, StuckRequest>;

  Status Unary(Context*, const StuckRequest* request, StuckReply*) override {
    BeStuck(*request);
    return Status::OK;
  }
  Status Patient(Context*, const StuckRequest* request, StuckReply*) override {
    BeStuck(*request);
    return Status::OK;
  }
  Status ServerStream(Context*, const StuckRequest* request,
                      grpc::ServerWriter<StuckReply>* out) override {
    out->Write(StuckReply());
    while (request->how() == StuckRequest::FLOOD && out->Write(Filled())) continue;
    BeStuck(*request);
    return Status::OK;
  }
  Status ClientStream(Context*, grpc::ServerReader<StuckRequest>* in, StuckReply*) override {
    StuckRequest request;
    in->Read(&request);
    BeStuck(request);
    while (in->Read(&request)) continue;
    return Status::OK;
  }
  Status Bidi(Context*, Stream* stream) override { return Both(stream); }
  Status Own(Context*, Stream* stream) override { return Both(stream); }

  static Status Both(Stream* stream) {
    StuckRequest request;
    stream->Read(&request);
    stream->Write(StuckReply());
    while (request.how() == StuckRequest::FLOOD && stream->Write(Filled())) continue;
    BeStuck(request);
    while (stream->Read(&request)) continue;
    return Status::OK;
  }
};

// One that ends when it is cancelled, if it still can.
class Ending {
 public:
  // True: the first time.
  bool End() { return !ended_.exchange(true); }

 private:
  std::atomic<bool> ended_{false};
};

class Writer final : public grpc::ServerWriteReactor<StuckReply> {
 public:
  explicit Writer(const StuckRequest& request) : request_(request) { StartWrite(&reply_); }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish();
    if (request_.how() == StuckRequest::FLOOD) {
      reply_ = Filled();
      return StartWrite(&reply_);
    }
    if (request_.how() == StuckRequest::FORGET) return;
    BeStuck(request_);
    Finish();
  }
  void OnCancel() override { Finish(); }
  void OnDone() override { delete this; }

 private:
  void Finish() {
    if (ending_.End()) grpc::ServerWriteReactor<StuckReply>::Finish(grpc::Status::OK);
  }
  const StuckRequest request_;
  StuckReply reply_;
  Ending ending_;
};

class Reader final : public grpc::ServerReadReactor<StuckRequest> {
 public:
  Reader() { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish();
    if (request_.how() == StuckRequest::FORGET) return;
    BeStuck(request_);
    StartRead(&request_);
  }
  void OnCancel() override { Finish(); }
  void OnDone() override { delete this; }

 private:
  void Finish() {
    if (ending_.End()) grpc::ServerReadReactor<StuckRequest>::Finish(grpc::Status::OK);
  }
  StuckRequest request_;
  Ending ending_;
};

class Both final : public grpc::ServerBidiReactor<StuckRequest, StuckReply> {
 public:
  Both() { StartRead(&request_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish();
    StartWrite(&reply_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish();
    if (request_.how() == StuckRequest::FLOOD) {
      reply_ = Filled();
      return StartWrite(&reply_);
    }
    if (request_.how() == StuckRequest::FORGET) return;
    BeStuck(request_);
    request_.Clear();
    StartRead(&request_);
  }
  void OnCancel() override { Finish(); }
  void OnDone() override { delete this; }

 private:
  void Finish() {
    if (ending_.End()) {
      grpc::ServerBidiReactor<StuckRequest, StuckReply>::Finish(grpc::Status::OK);
    }
  }
  StuckRequest request_;
  StuckReply reply_;
  Ending ending_;
};

class Forgetful final : public grpc::ServerUnaryReactor {
 public:
  void OnCancel() override {
    if (ending_.End()) Finish(grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  Ending ending_;
};

class CallbackService final : public CallbackStuck::CallbackService {
  using Context = grpc::CallbackServerContext;

  grpc::ServerUnaryReactor* Unary(Context* context, const StuckRequest* request,
                                  StuckReply*) override {
    if (request->how() == StuckRequest::FORGET) return new Forgetful;
    BeStuck(*request);
    auto* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerWriteReactor<StuckReply>* ServerStream(Context*,
                                                     const StuckRequest* request) override {
    return new Writer(*request);
  }
  grpc::ServerReadReactor<StuckRequest>* ClientStream(Context*, StuckReply*) override {
    return new Reader;
  }
  grpc::ServerBidiReactor<StuckRequest, StuckReply>* Bidi(Context*) override { return new Both; }
  grpc::ServerBidiReactor<StuckRequest, StuckReply>* Own(Context*) override { return new Both; }
};

// Which of the two: `callback = true` in its configuration.
class StuckPlugin final : public Plugin {
 public:
  explicit StuckPlugin(PluginHost& host) : callback_(host.config().Boolean("callback", false)) {}
  std::vector<grpc::Service*> Services() override {
    if (callback_) return {&by_reactors_};
    return {&by_threads_};
  }

 private:
  const bool callback_;
  SyncService by_threads_;
  CallbackService by_reactors_;
};

}  // namespace
}  // namespace lastcall::test

LASTCALL_PLUGIN(lastcall::test::StuckPlugin, "1.0.0")

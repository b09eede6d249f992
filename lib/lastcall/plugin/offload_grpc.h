// Whole handlers on a plugin's Offload: a request in, a reply or a stream out. Run… for the
// synchronous API, Begin… for the callback API; each is all that its handler has to return.
//
//   grpc::Status Render(grpc::ServerContext* context, const Scene* scene, Image* image) override {
//     return lastcall::RunUnary(host_.offload(), *context, *scene, *image,
//         [this](const Scene& scene, Image& image, const std::stop_token& stop) {
//           return renderer_.Render(scene, image, stop);                    // a grpc::Status
//         });
//   }
//   grpc::ServerWriteReactor<Row>* Read(grpc::CallbackServerContext* context,
//                                       const Query* query) override {
//     return lastcall::BeginStream<Row>(host_.offload(), *context,
//         [this, query = *query](lastcall::StreamWriter<Row>& out, const std::stop_token&) {
//           for (auto rows = db_.Select(query); auto row = rows.Next();) if (!out.Write(*row)) break;
//           return grpc::Status::OK;
//         });
//   }
//
// The work may outlive the call. So it gets a copy of the request and a reply of its own, which is
// handed on when it has returned OK in time; the producer of a stream takes along what it needs.
// Errors are Offload's, as statuses.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include <lastcall/plugin/offload.h>
#include <lastcall/plugin/stream_writer.h>

namespace lastcall {

namespace internal {

inline grpc::Status StatusOf(Result<grpc::Status> result) {
  if (result) return *std::move(result);
  const Error& error = result.error();
  return {static_cast<grpc::StatusCode>(error.code), error.message};
}

// The work's own, of a call.
template <class Request, class Reply>
struct Messages {
  explicit Messages(const Request& of_call) : request(of_call) {}
  const Request request;
  Reply reply;
};

// What a producer has written and its client has not taken. Shared by both, for either may be first
// to go.
template <class T>
class Feed : public StreamWriter<T> {
 public:
  explicit Feed(size_t buffer) : buffer_(buffer) {}

  bool Write(T message) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return closed_ || messages_.size() < buffer_; });
    if (closed_) return false;
    messages_.push_back(std::move(message));
    Changed();
    return true;
  }
  // The producer's answer. What it has written is still sent, unless it failed.
  void End(Result<grpc::Status> result) {
    std::unique_lock lock(mutex_);
    if (!result) Close();
    status_ = StatusOf(std::move(result));
    Changed();
  }

 protected:
  // Order: the mutex is held, for these.
  virtual void Changed() = 0;
  bool TakeNext() {
    if (messages_.empty()) return false;
    taken_ = std::move(messages_.front());
    messages_.pop_front();
    room_.notify_one();
    return true;
  }
  void Close() {
    closed_ = true;
    messages_.clear();
    room_.notify_one();
  }

  std::mutex mutex_;
  T taken_;  // on its way to the client; of who took it
  std::optional<grpc::Status> status_;

 private:
  const size_t buffer_;
  std::condition_variable room_;
  std::deque<T> messages_;
  bool closed_ = false;
};

template <class T>
class SyncFeed final : public Feed<T> {
 public:
  using Feed<T>::Feed;

  // Blocks: until the producer is answered and what it wrote is sent.
  grpc::Status WriteTo(grpc::ServerWriter<T>& out) {
    std::unique_lock lock(this->mutex_);
    for (;;) {
      while (this->TakeNext()) {
        lock.unlock();
        const bool written = out.Write(this->taken_);
        lock.lock();
        if (!written) this->Close();
      }
      if (this->status_) return *this->status_;
      more_.wait(lock);
    }
  }

 private:
  void Changed() override { more_.notify_one(); }

  std::condition_variable more_;
};

// Owns itself until OnDone.
template <class T>
class CallbackFeed final : public grpc::ServerWriteReactor<T>, public Feed<T> {
 public:
  static std::shared_ptr<CallbackFeed> Make(size_t buffer) {
    auto feed = std::make_shared<CallbackFeed>(buffer);
    feed->self_ = feed;
    return feed;
  }
  explicit CallbackFeed(size_t buffer) : Feed<T>(buffer) {}

  void OnWriteDone(bool ok) override {
    std::unique_lock lock(this->mutex_);
    writing_ = false;
    if (!ok) this->Close();
    Changed();
  }
  void OnDone() override { const auto last = std::move(self_); }

 private:
  // One write at a time; then the status, once. gRPC answers both later, on threads of its own.
  void Changed() override {
    if (writing_ || finished_) return;
    if (this->TakeNext()) {
      writing_ = true;
      this->StartWrite(&this->taken_);
    } else if (this->status_) {
      finished_ = true;
      this->Finish(*this->status_);
    }
  }

  bool writing_ = false;
  bool finished_ = false;
  std::shared_ptr<CallbackFeed> self_;
};

template <class Request, class Reply, class Work>
auto OwnMessages(std::shared_ptr<Messages<Request, Reply>> own, Work work) {
  return [own = std::move(own),
          work = std::move(work)](const std::stop_token& stop) mutable -> grpc::Status {
    return work(own->request, own->reply, stop);
  };
}

}  // namespace internal

// `work`: grpc::Status(const Request&, Reply&, const std::stop_token&). `by`: see Offload.
// Blocks: until it is answered.
template <class Request, class Reply, class Work>
grpc::Status RunUnary(const Offload& offload, const grpc::ServerContext& context,
                      const Request& request, Reply& reply, Work work,
                      std::optional<Instant> by = {}) {
  const auto own = std::make_shared<internal::Messages<Request, Reply>>(request);
  const grpc::Status status =
      internal::StatusOf(offload.Run(context, internal::OwnMessages(own, std::move(work)), by));
  if (status.ok()) reply = std::move(own->reply);
  return status;
}

template <class Request, class Reply, class Work>
grpc::ServerUnaryReactor* BeginUnary(const Offload& offload, grpc::CallbackServerContext& context,
                                     const Request& request, Reply& reply, Work work,
                                     std::optional<Instant> by = {}) {
  const auto own = std::make_shared<internal::Messages<Request, Reply>>(request);
  grpc::ServerUnaryReactor* const reactor = context.DefaultReactor();
  // It and `reply` are there until it is finished, which is here alone.
  offload.Begin(
      context, internal::OwnMessages(own, std::move(work)),
      [own, &reply, reactor](Result<grpc::Status> result) {
        grpc::Status status = internal::StatusOf(std::move(result));
        if (status.ok()) reply = std::move(own->reply);
        reactor->Finish(std::move(status));
      },
      by);
  return reactor;
}

struct StreamOptions {
  size_t buffer = 8;  // messages that may wait for the client, besides the one on its way
  std::optional<Instant> by = {};  // see Offload; of the producer, not of what it has written
};

// `producer`: grpc::Status(StreamWriter<T>&, const std::stop_token&). While its client takes nothing,
// it waits in Write, and nobody else does. At its deadline it is let go; the status is behind what is
// on its way to the client, who may take that when it likes, or never.
// Blocks: until the producer is answered and the client has taken what it wrote.
template <class T, class Producer>
grpc::Status RunStream(const Offload& offload, const grpc::ServerContext& context,
                       grpc::ServerWriter<T>& out, Producer producer,
                       const StreamOptions& options = {}) {
  const auto feed = std::make_shared<internal::SyncFeed<T>>(options.buffer);
  offload.Begin(
      context,
      [feed, producer = std::move(producer)](const std::stop_token& stop) mutable -> grpc::Status {
        return producer(*feed, stop);
      },
      [feed](Result<grpc::Status> result) { feed->End(std::move(result)); }, options.by);
  return feed->WriteTo(out);
}

template <class T, class Producer>
grpc::ServerWriteReactor<T>* BeginStream(const Offload& offload,
                                         const grpc::CallbackServerContext& context,
                                         Producer producer, const StreamOptions& options = {}) {
  const auto feed = internal::CallbackFeed<T>::Make(options.buffer);
  offload.Begin(
      context,
      [feed, producer = std::move(producer)](const std::stop_token& stop) mutable -> grpc::Status {
        return producer(*feed, stop);
      },
      [feed](Result<grpc::Status> result) { feed->End(std::move(result)); }, options.by);
  return feed.get();
}

}  // namespace lastcall

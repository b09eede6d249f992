// The busy callers of loss.py: default settings, no retry policy, no wait-for-ready; each has a
// connection of its own, or they share so many.
//
//   loss_client TARGET CALLERS unary|stream|replies|open|sparse CALL_MS
//               [--connections N] [--ca PEM] [--service-config JSON]
//
// With --ca over TLS. A stream is one message for one, replies are a stream of the server's.
// Prints "connected" when all are, and runs until its standard input ends. A line "begin" or "end" on
// it says that a change of the server begins or is over; calls that lived in between have met it.
// Prints one JSON object then: calls, calls lost by status, and the latencies of both kinds of calls.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "echo.grpc.pb.h"

namespace {

using lastcall::example::Echo;
using lastcall::example::EchoReply;
using lastcall::example::EchoRequest;
using lastcall::example::SlowRequest;
using Clock = std::chrono::steady_clock;

struct Record {
  Clock::time_point began;
  Clock::time_point ended;
};

struct Change {
  Clock::time_point began;
  Clock::time_point ended = Clock::time_point::max();
};

constexpr int kMessages = 20;                               // of one stream
constexpr auto kOpenPeriod = std::chrono::milliseconds(5);  // of each caller of an open loop
constexpr int kLongestPauseMs = 400;                        // between calls that are sparse

class Caller {
 public:
  Caller(const std::shared_ptr<grpc::Channel>& channel, std::string kind, int call_ms)
      : kind_(std::move(kind)), call_ms_(call_ms), stub_(Echo::NewStub(channel)) {}

  void Run(const std::atomic<bool>& over) {
    auto next = Clock::now();
    std::minstd_rand random(std::random_device{}());
    while (!over) {
      if (kind_ == "sparse") {
        // While there is no call, a client does not look at its connection.
        std::this_thread::sleep_for(std::chrono::milliseconds(random() % kLongestPauseMs));
      }
      if (kind_ == "open") {
        // As many as are due, one after another: what is late shows in their latency.
        std::this_thread::sleep_until(next);
        Note(next, Unary());
        next += kOpenPeriod;
      } else {
        const auto began = Clock::now();
        Note(began, kind_ == "stream" ? Stream() : kind_ == "replies" ? Replies() : Unary());
      }
    }
  }

  const std::vector<Record>& records() const { return records_; }
  const std::map<std::string, int>& lost() const { return lost_; }

 private:
  void Note(Clock::time_point began, const grpc::Status& status) {
    records_.push_back({began, Clock::now()});
    if (status.ok()) return;
    ++lost_[std::to_string(status.error_code()) + " " + status.error_message().substr(0, 200)];
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  grpc::Status Unary() {
    grpc::ClientContext context;
    EchoReply reply;
    if (call_ms_ == 0) return stub_->Unary(&context, EchoRequest(), &reply);
    SlowRequest request;
    request.set_delay_ms(call_ms_);
    return stub_->Slow(&context, request, &reply);
  }

  grpc::Status Stream() {
    grpc::ClientContext context;
    const auto stream = stub_->Bidi(&context);
    EchoRequest request;
    EchoReply reply;
    int answered = 0;
    for (; answered < kMessages; ++answered) {
      if (!stream->Write(request) || !stream->Read(&reply)) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(call_ms_));
    }
    stream->WritesDone();
    return Complete(stream->Finish(), answered);
  }

  grpc::Status Replies() {
    grpc::ClientContext context;
    EchoRequest request;
    request.set_count(kMessages);
    request.set_interval_ms(call_ms_);
    const auto stream = stub_->ServerStream(&context, request);
    EchoReply reply;
    int answered = 0;
    while (stream->Read(&reply)) ++answered;
    return Complete(stream->Finish(), answered);
  }

  static grpc::Status Complete(const grpc::Status& status, int answered) {
    if (!status.ok() || answered == kMessages) return status;
    return {grpc::StatusCode::DATA_LOSS, "answers are missing"};
  }

  const std::string kind_;
  const int call_ms_;
  const std::unique_ptr<Echo::Stub> stub_;
  std::vector<Record> records_;
  std::map<std::string, int> lost_;
};

struct Options {
  int connections = 0;  // 0: one for each caller
  std::string ca;
  std::string service_config;
};

std::optional<Options> OptionsOf(int argc, char** argv) {
  Options options;
  for (int i = 0; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--connections") {
      options.connections = std::atoi(argv[i + 1]);
    } else if (name == "--ca") {
      options.ca = argv[i + 1];
    } else if (name == "--service-config") {
      options.service_config = argv[i + 1];
    } else {
      return std::nullopt;
    }
  }
  if (argc % 2 != 0) return std::nullopt;
  return options;
}

// The first connection of a fresh client now and then fails, whoever the server is: README.md.
std::shared_ptr<grpc::Channel> Connect(const std::string& target, const Options& options,
                                       std::shared_ptr<grpc::ChannelCredentials> credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (!options.service_config.empty()) arguments.SetServiceConfigJSON(options.service_config);
  auto channel = grpc::CreateCustomChannel(target, std::move(credentials), arguments);
  channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10));
  return channel;
}

std::shared_ptr<grpc::ChannelCredentials> CredentialsBy(const std::string& ca) {
  if (ca.empty()) return grpc::InsecureChannelCredentials();
  std::ostringstream pem;
  pem << std::ifstream(ca).rdbuf();
  return grpc::SslCredentials({.pem_root_certs = pem.str()});
}

void PrintLatencies(const char* name, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  const auto at = [&](double share) {
    return ms.empty() ? 0.0
                      : ms[std::min(ms.size() - 1, static_cast<size_t>(share * double(ms.size())))];
  };
  std::printf(", \"%s\": {\"calls\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}",
              name, ms.size(), at(0.5), at(0.99), ms.empty() ? 0.0 : ms.back());
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = argc < 5 ? std::nullopt : OptionsOf(argc - 5, argv + 5);
  if (!options.has_value()) {
    std::fprintf(stderr,
                 "usage: loss_client TARGET CALLERS unary|stream|replies|open|sparse CALL_MS "
                 "[--connections N] [--ca PEM] [--service-config JSON]\n");
    return 64;
  }
  const auto credentials = CredentialsBy(options->ca);
  const size_t wanted = std::atoi(argv[2]);
  std::vector<std::shared_ptr<grpc::Channel>> channels(
      options->connections > 0 ? options->connections : wanted);
  for (auto& channel : channels) channel = Connect(argv[1], *options, credentials);
  std::vector<std::unique_ptr<Caller>> callers;
  for (size_t i = 0; i < wanted; ++i) {
    callers.push_back(
        std::make_unique<Caller>(channels[i % channels.size()], argv[3], std::atoi(argv[4])));
  }
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (const auto& caller : callers) threads.emplace_back([&] { caller->Run(over); });
  std::puts("connected");
  std::fflush(stdout);

  std::vector<Change> changes;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "begin") changes.push_back({Clock::now()});
    if (line == "end" && !changes.empty()) changes.back().ended = Clock::now();
  }
  over = true;
  for (std::thread& thread : threads) thread.join();

  std::vector<double> met, others;
  std::map<std::string, int> lost;
  for (const auto& caller : callers) {
    for (const auto& [status, count] : caller->lost()) lost[status] += count;
    for (const Record& record : caller->records()) {
      const bool change = std::any_of(changes.begin(), changes.end(), [&](const Change& each) {
        return record.began <= each.ended && record.ended >= each.began;
      });
      (change ? met : others)
          .push_back(
              std::chrono::duration<double, std::milli>(record.ended - record.began).count());
    }
  }
  std::printf("{\"calls\": %zu, \"lost\": {", met.size() + others.size());
  const char* comma = "";
  for (const auto& [status, count] : lost) {
    std::string text = status;
    std::replace(text.begin(), text.end(), '"', '\'');
    std::printf("%s\"%s\": %d", comma, text.c_str(), count);
    comma = ", ";
  }
  std::printf("}");
  PrintLatencies("met", std::move(met));
  PrintLatencies("others", std::move(others));
  std::printf("}\n");
}

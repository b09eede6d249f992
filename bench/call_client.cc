// The callers of hosting.py: echo's unary method, again and again, on one channel for each server.
//
//   call_client ADDRESS…
//
// Prints "connected" when all are. A line "SERVER CALLS CALLERS" on its standard input has so many
// threads make so many calls together of that server, counted from 0; the answer is one line of JSON.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "echo.grpc.pb.h"

namespace {

using lastcall::example::Echo;
using lastcall::example::EchoReply;
using lastcall::example::EchoRequest;
using Clock = std::chrono::steady_clock;
using Microseconds = std::chrono::duration<double, std::micro>;

// Calls until `left` is used up. Returns what each took; a call that failed ends the program.
std::vector<double> Call(Echo::Stub& stub, std::atomic<int>& left) {
  std::vector<double> took;
  EchoRequest request;
  request.set_text(std::string(100, 'x'));
  while (left.fetch_sub(1) > 0) {
    const auto began = Clock::now();
    grpc::ClientContext context;
    EchoReply reply;
    const grpc::Status status = stub.Unary(&context, request, &reply);
    if (!status.ok()) {
      std::fprintf(stderr, "call_client: %s\n", status.error_message().c_str());
      std::_Exit(1);
    }
    took.push_back(Microseconds(Clock::now() - began).count());
  }
  return took;
}

void Round(Echo::Stub& stub, int calls, int callers) {
  std::atomic<int> left(calls);
  std::vector<std::vector<double>> each(static_cast<size_t>(callers));
  const auto began = Clock::now();
  {
    std::vector<std::jthread> threads;
    for (auto& took : each) threads.emplace_back([&] { took = Call(stub, left); });
  }
  const double seconds = Microseconds(Clock::now() - began).count() / 1e6;
  std::vector<double> took;
  for (const auto& part : each) took.insert(took.end(), part.begin(), part.end());
  std::sort(took.begin(), took.end());
  std::printf("{\"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n", seconds,
              took[took.size() / 2], took[took.size() * 99 / 100]);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::unique_ptr<Echo::Stub>> stubs;
  for (int i = 1; i < argc; ++i) {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto channel =
        grpc::CreateCustomChannel(argv[i], grpc::InsecureChannelCredentials(), own);
    if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(30)))
      return 1;
    stubs.push_back(Echo::NewStub(channel));
  }
  std::printf("connected\n");
  std::fflush(stdout);
  size_t server = 0;
  int calls = 0;
  int callers = 0;
  while (std::cin >> server >> calls >> callers) Round(*stubs.at(server), calls, callers);
}

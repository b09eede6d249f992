// An Asio program with a timer that ticks. SIGTERM: the ticking goes on for the delay of 500 ms, as
// it would for a load balancer's sake, and ends with it; what is open then has 1 s to be closed.
#include <lastcall/asio/asio_termination.h>
#include <lastcall/program/program.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <cstdio>

namespace asio = boost::asio;
using namespace std::chrono_literals;
using boost::system::error_code;
using lastcall::Stage;

int main() {
  lastcall::BlockSignals();  // before the first thread
  lastcall::Program program(
      {.name = "asio_timer", .shutdown = {.delay = 500ms, .grace = 2s, .cancel = 1s}});
  asio::io_context io;
  lastcall::AsioTermination termination(io.get_executor(), program.termination());
  lastcall::Work file = program.Open("the file that is written at the end");
  std::setvbuf(stdout, nullptr, _IOLBF, 0);

  asio::steady_timer timer(io);
  std::function<void(error_code)> tick = [&](error_code error) {
    // A tick that was due when the timer was cancelled runs all the same, without an error.
    if (error || termination.view().Reached(Stage::kGrace)) return;
    std::puts("tick");
    timer.expires_after(50ms);
    timer.async_wait(tick);
  };
  tick({});
  termination.AsyncReached(Stage::kDelay, [](error_code) { std::puts("delay: still ticking"); });
  termination.AsyncReached(Stage::kGrace, [&](error_code) {
    std::puts("grace: no more ticks");
    timer.cancel();
  });
  termination.AsyncReached(Stage::kCancel, [&](error_code) {
    std::puts("cancel: the file is closed");
    file.End();
  });
  program.Ready();
  std::puts("ready");
  io.run();  // until nothing waits any more
  return program.Run();
}

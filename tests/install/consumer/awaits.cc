// A program that has its own main and waits in an Asio loop.
#include <lastcall/asio/asio_termination.h>
#include <lastcall/program/program.h>

#include <boost/asio/io_context.hpp>
#include <cstdio>

int main() {
  lastcall::BlockSignals();
  lastcall::Program program;
  boost::asio::io_context io;
  lastcall::AsioTermination termination(io.get_executor(), program.termination());
  termination.AsyncReached(lastcall::Stage::kStopped, [](boost::system::error_code) {});
  program.Ready();
  program.Shutdown("it has been seen");
  io.run();
  std::printf("asked to stop: exit code %d\n", program.receipt()->exit_code);
}

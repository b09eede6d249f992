// Coroutines that echo what their clients send, one for each. SIGTERM: nobody new comes in, those
// who are there may go on for 2 s, then they are cut off.
#include <lastcall/asio/asio_termination.h>
#include <lastcall/program/program.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>

using namespace std::chrono_literals;
namespace asio = boost::asio;
using asio::use_awaitable, asio::ip::tcp;
using lastcall::Stage;

// `work` goes with the coroutine: grace lasts until then.
asio::awaitable<void> Echo(tcp::socket socket, lastcall::Work) {
  for (char text[1024];;) {  // its end is an exception, which ends the coroutine
    const size_t size = co_await socket.async_read_some(asio::buffer(text), use_awaitable);
    co_await asio::async_write(socket, asio::buffer(text, size), use_awaitable);
  }
}

// What is held goes when accepting ends: whoever was accepted is entered before.
asio::awaitable<void> Accept(tcp::acceptor& acceptor, lastcall::Program& program, lastcall::Work) {
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
    asio::co_spawn(acceptor.get_executor(), Echo(std::move(socket), program.Enter("client")),
                   asio::detached);
  }
}

template <class Termination>
asio::awaitable<void> End(Termination& termination, tcp::acceptor& acceptor, asio::io_context& io) {
  co_await termination.AsyncReached(Stage::kGrace, use_awaitable);
  acceptor.close();
  co_await termination.AsyncReached(Stage::kCancel, use_awaitable);
  io.stop();
}

int main() {
  lastcall::BlockSignals();  // before the first thread
  lastcall::Program program(
      {.name = "coroutine_echo", .shutdown = {.delay = 0s, .grace = 2s, .cancel = 1s}});
  {
    asio::io_context io;
    tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    lastcall::AsioTermination termination(io.get_executor(), program.termination());
    asio::co_spawn(io, Accept(acceptor, program, program.Hold("listener")), asio::detached);
    asio::co_spawn(io, End(termination, acceptor, io), asio::detached);
    program.Ready();
    std::printf("ready on %d\n", acceptor.local_endpoint().port());
    std::fflush(stdout);
    io.run();
  }  // the coroutines that are left go here
  return program.Run();
}

// Asks every process how it is, for a status that is fresh.
#pragma once

#include <boost/asio/io_context.hpp>

#include <functional>

#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// `done` comes later, from the loop: when every process has answered, or after half a second.
void BeginQuery(boost::asio::io_context& loop, const Supervisor& supervisor,
                std::function<void()> done);

}  // namespace lastcall

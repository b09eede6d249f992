// Asks processes about their calls.
#pragma once

#include <boost/asio/io_context.hpp>

#include <functional>

#include "daemon/admin/calls.h"

#include <lastcall/supervisor/supervisor.h>

namespace lastcall {

// `done` comes later, from the loop: when every incarnation that `questions` has a question for has
// answered, or one of them says nothing more for a second; in any case soon enough for who waits
// (service.cc).
void BeginCallsQuery(boost::asio::io_context& loop, const Supervisor& supervisor,
                     const CallsQuestions& questions, std::function<void(CallsAnswers)> done);

}  // namespace lastcall

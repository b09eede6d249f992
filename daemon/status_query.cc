#include "daemon/status_query.h"

#include <memory>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace lastcall {
namespace {

// How long a status waits for processes that do not answer.
constexpr auto kQueryPatience = std::chrono::milliseconds(500);

struct Query {
  void Finish() {
    if (done == nullptr) return;
    std::exchange(done, nullptr)();
    timer.cancel();
  }

  std::function<void()> done;
  size_t open;
  boost::asio::steady_timer timer;
};

}  // namespace

void BeginQuery(boost::asio::io_context& loop, const Supervisor& supervisor,
                std::function<void()> done) {
  const auto query =
      std::make_shared<Query>(Query{std::move(done), 0, boost::asio::steady_timer(loop)});
  query->timer.expires_after(kQueryPatience);
  query->timer.async_wait([query](const boost::system::error_code&) { query->Finish(); });
  // Answers come later, from the loop: none before all were asked.
  for (const Member& member : supervisor.members()) {
    ForEachIncarnation(member, [&](const Incarnation& incarnation) {
      if (incarnation.process == nullptr) return;
      ++query->open;
      incarnation.process->BeginQuery([query] {
        if (--query->open == 0) query->Finish();
      });
    });
  }
  if (query->open == 0) boost::asio::post(loop, [query] { query->Finish(); });
}

}  // namespace lastcall

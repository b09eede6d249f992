#include "daemon/name_lookup.h"

#include <boost/asio/post.hpp>

#include <mutex>
#include <thread>
#include <utility>

#include <lastcall/rpc/host_lookup.h>

namespace lastcall {

struct NameLookup::Question {
  const std::set<std::string> hosts;
  const std::function<void(const HostNames&)> done;
  std::mutex mutex;
  NameLookup* asker;  // null: nobody waits for the answer; set by the loop alone
};

void NameLookup::Begin(std::set<std::string> hosts, Duration limit,
                       std::function<void(const HostNames&)> done) {
  question_ = std::make_shared<Question>(std::move(hosts), std::move(done));
  question_->asker = this;
  if (question_->hosts.empty()) {
    boost::asio::post(loop_, [this, question = question_] {
      if (question->asker != nullptr) Answer({});
    });
    return;
  }
  patience_.expires_after(limit);
  patience_.async_wait([this, limit, question = question_](const boost::system::error_code& error) {
    if (error || question->asker == nullptr) return;
    GiveUp("the name has not been looked up after " + FormatDuration(limit) +
           " ([reload] ready); write the address itself");
  });
  std::thread([question = question_] {
    HostNames names;
    for (const std::string& host : question->hosts) names.emplace(host, LookUpHost(host));
    std::lock_guard lock(question->mutex);
    if (question->asker == nullptr) return;
    boost::asio::post(question->asker->loop_, [question, names = std::move(names)] {
      if (question->asker != nullptr) question->asker->Answer(names);
    });
  }).detach();
}

void NameLookup::Hurry() {
  if (question_ == nullptr) return;
  boost::asio::post(loop_, [this, question = question_] {
    if (question->asker != nullptr) GiveUp("there was no time to look the name up");
  });
}

void NameLookup::GiveUp(const std::string& why) {
  HostNames names;
  for (const std::string& host : question_->hosts) {
    names.emplace(host, Fail(Code::kUnavailable, why));
  }
  Answer(names);
}

void NameLookup::Answer(const HostNames& names) {
  const auto question = question_;
  Forget();
  patience_.cancel();
  question->done(names);
}

void NameLookup::Forget() {
  if (question_ == nullptr) return;
  const auto question = std::exchange(question_, nullptr);  // it outlives the lock
  std::lock_guard lock(question->mutex);
  question->asker = nullptr;
}

}  // namespace lastcall

#include "lastcall/program/work.h"

#include <utility>

namespace lastcall {

Work::Work(std::shared_ptr<WorkList> list, std::list<Entry>::iterator entry)
    : list_(std::move(list)), entry_(entry) {}

Work& Work::operator=(Work&& other) noexcept {
  if (this != &other) {
    End();
    list_ = std::exchange(other.list_, nullptr);
    entry_ = other.entry_;
  }
  return *this;
}

void Work::End() {
  if (const auto list = std::exchange(list_, nullptr)) list->End(entry_);
}

Work WorkList::Enter(Kind kind, std::string name, std::string peer, Instant now) {
  std::list<Work::Entry> one;  // made outside the lock
  one.push_back({kind, {std::move(name), std::move(peer), now, pthread_self()}});
  const auto entry = one.begin();
  std::lock_guard lock(mutex_);
  entries(kind).splice(entries(kind).end(), one);
  if (kind == Kind::kInFlight) last_entered_ = now;
  return Work(shared_from_this(), entry);
}

void WorkList::End(std::list<Work::Entry>::iterator entry) {
  if (getpid() != pid_) return;  // somebody may have had the lock when it was copied
  std::list<Work::Entry> one;    // destroyed outside the lock
  std::lock_guard lock(mutex_);
  auto& all = entries(entry->kind);
  one.splice(one.end(), all, entry);
  if (entry->kind == Kind::kInFlight && !entry->cancelled) ++finished_;
  if (all.empty() && none_left_) none_left_();
}

size_t WorkList::count(Kind kind) const {
  std::lock_guard lock(mutex_);
  return entries(kind).size();
}

std::vector<Work::Info> WorkList::Entries(Kind kind, size_t at_most) const {
  std::lock_guard lock(mutex_);
  std::vector<Work::Info> list;
  for (const Work::Entry& entry : entries(kind)) {
    if (list.size() == at_most) break;
    list.push_back(entry.info);
  }
  return list;
}

Instant WorkList::last_entered() const {
  std::lock_guard lock(mutex_);
  return last_entered_;
}

uint64_t WorkList::finished() const {
  std::lock_guard lock(mutex_);
  return finished_;
}

size_t WorkList::CancelAll() {
  std::lock_guard lock(mutex_);
  for (Work::Entry& entry : entries(Kind::kInFlight)) entry.cancelled = true;
  return entries(Kind::kInFlight).size();
}

void WorkList::Watch(std::function<void()> none_left) {
  std::lock_guard lock(mutex_);
  none_left_ = std::move(none_left);
}

}  // namespace lastcall

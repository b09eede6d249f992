#include "lastcall/rpc/health_board.h"

#include <utility>

namespace lastcall {
namespace {

HealthBoard::Status StatusFor(bool serving) {
  return serving ? HealthBoard::Status::kServing : HealthBoard::Status::kNotServing;
}

}  // namespace

void HealthBoard::AddService(std::string_view service) {
  std::lock_guard lock(mutex_);
  services_.emplace(service, true);
}

void HealthBoard::SetServing(bool serving) {
  std::unique_lock lock(mutex_);
  if (std::exchange(serving_, serving) != serving) Tell(lock);
}

bool HealthBoard::serving() const {
  std::lock_guard lock(mutex_);
  return serving_;
}

bool HealthBoard::SetServiceServing(std::string_view service, bool serving) {
  std::unique_lock lock(mutex_);
  const auto found = services_.find(service);
  if (found == services_.end()) return false;
  if (std::exchange(found->second, serving) != serving) Tell(lock);
  return true;
}

HealthBoard::Status HealthBoard::StatusOf(std::string_view service) const {
  std::lock_guard lock(mutex_);
  if (service.empty()) return StatusFor(serving_);
  const auto found = services_.find(service);
  if (found == services_.end()) return Status::kUnknown;
  return StatusFor(serving_ && found->second);
}

std::map<std::string, HealthBoard::Status> HealthBoard::List() const {
  std::lock_guard lock(mutex_);
  std::map<std::string, Status> all{{"", StatusFor(serving_)}};
  for (const auto& [service, serving] : services_) all[service] = StatusFor(serving_ && serving);
  return all;
}

HealthBoard::Subscription HealthBoard::Subscribe(std::function<void()> changed) {
  auto subscription = std::make_shared<const std::function<void()>>(std::move(changed));
  std::lock_guard lock(mutex_);
  std::erase_if(subscribers_, [](const auto& each) { return each.expired(); });
  subscribers_.push_back(subscription);
  return subscription;
}

void HealthBoard::Tell(std::unique_lock<std::mutex>& lock) {
  std::vector<Subscription> living;
  for (const auto& each : subscribers_) {
    if (auto subscription = each.lock()) living.push_back(std::move(subscription));
  }
  lock.unlock();
  for (const Subscription& subscription : living) (*subscription)();
}

}  // namespace lastcall

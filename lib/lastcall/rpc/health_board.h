// What a server answers when asked for its health, and who watches.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace lastcall {

// A service is SERVING when the server as a whole is and its plugin did not say otherwise. The
// service "" is the server as a whole.
// Threads: any.
class HealthBoard {
 public:
  enum class Status { kServing, kNotServing, kUnknown };

  void AddService(std::string_view service);
  // The whole server, by stage and draining. Starts as false.
  void SetServing(bool serving);
  bool serving() const;
  // One service, by its plugin. False: no such service.
  bool SetServiceServing(std::string_view service, bool serving);

  Status StatusOf(std::string_view service) const;
  std::map<std::string, Status> List() const;

  // `changed` is called after every change, and on no other occasion; read StatusOf then. It stops
  // when the returned handle goes, and may be running once more at that moment.
  using Subscription = std::shared_ptr<const std::function<void()>>;
  Subscription Subscribe(std::function<void()> changed);

 private:
  void Tell(std::unique_lock<std::mutex>& lock);

  mutable std::mutex mutex_;
  bool serving_ = false;
  std::map<std::string, bool, std::less<>> services_;
  std::vector<std::weak_ptr<const std::function<void()>>> subscribers_;
};

}  // namespace lastcall

#include "wire/repeat_limit.h"

namespace lastcall {

bool RepeatLimit::Admit(const std::string& source, Instant now) {
  const bool known = windows_.size() < kMostSources || windows_.contains(source);
  Window& window = windows_.try_emplace(known ? source : "others", Window{now}).first->second;
  return ++window.lines <= lines_;
}

std::vector<RepeatLimit::LeftOut> RepeatLimit::TakeLeftOut(Instant now, bool all) {
  std::vector<LeftOut> found;
  std::erase_if(windows_, [&](const auto& entry) {
    const auto& [source, window] = entry;
    if (!all && now < After(window.began, window_)) return false;
    if (window.lines > lines_) {
      found.push_back({source, window.lines - lines_, now - window.began});
    }
    return true;
  });
  return found;
}

}  // namespace lastcall

#include "lastcall/host/plugin_thread.h"

#include <unistd.h>

#include <utility>

namespace lastcall {

PluginThread::PluginThread(const Clock& clock) : clock_(clock), thread_([this] { Run(); }) {}

PluginThread::~PluginThread() {
  jobs_.Post(nullptr);
  thread_.join();
}

void PluginThread::Run() {
  while (const auto job = jobs_.TakeUntil(kNever)) {
    if (*job == nullptr) return;
    (*job)();
  }
}

std::optional<PluginThread::Activity> PluginThread::activity() const {
  std::lock_guard lock(mutex_);
  return activity_;
}

PluginThread::Naming::Naming(PluginThread& thread, std::string what) : thread_(thread) {
  std::lock_guard lock(thread_.mutex_);
  thread_.activity_ = Activity{std::move(what), thread_.clock_.Now(), gettid()};
}

PluginThread::Naming::~Naming() {
  std::lock_guard lock(thread_.mutex_);
  thread_.activity_.reset();
}

}  // namespace lastcall

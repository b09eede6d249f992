#include "lastcall/supervisor/change_queue.h"

#include <utility>

namespace lastcall {

void ChangeQueue::Add(std::vector<Change> changes, const Cause& by, Changed changed) {
  jobs_.push_back({std::move(changes), by, std::move(changed), {}});
  if (jobs_.size() == 1) Next();
}

void ChangeQueue::OnOver(Outcome outcome) {
  if (jobs_.empty()) return;
  Job& job = jobs_.front();
  const bool failed = !outcome.failure.empty();
  job.outcomes.push_back(std::move(outcome));
  job.begun = false;
  failed ? End() : Next();
}

void ChangeQueue::Next() {
  Job& job = jobs_.front();
  if (job.begun) return;
  if (job.outcomes.size() == job.changes.size()) return End();
  job.begun = true;
  // Copies: the list may be over, and gone, before this returns.
  const Change change = job.changes[job.outcomes.size()];
  const Cause by = job.by;
  begin_(change, by);
}

void ChangeQueue::End() {
  const Job job = std::move(jobs_.front());
  jobs_.pop_front();
  // Who is answered may ask for more, which begins immediately where nothing waits, or abandon all.
  if (job.changed) job.changed(job.outcomes);
  if (!jobs_.empty()) Next();
}

void ChangeQueue::Abandon(const std::string& failure) {
  for (Job& job : std::exchange(jobs_, {})) {
    if (job.outcomes.size() < job.changes.size()) {
      job.outcomes.push_back({job.changes[job.outcomes.size()].spec.name, failure, 0});
    }
    if (job.changed) job.changed(job.outcomes);
  }
}

}  // namespace lastcall

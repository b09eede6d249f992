// What a reload has to find out before it changes anything: it takes its time, or hangs, beside the
// loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/reload/preflight.h"
#include "daemon/setup/fingerprints.h"
#include "daemon/setup/name_lookup.h"
#include "daemon/setup/preparation.h"

#include <lastcall/base/clock.h>
#include <lastcall/base/log.h>
#include <lastcall/base/result.h>
#include <lastcall/base/unique_fd.h>
#include <lastcall/event/loop_offload.h>

namespace lastcall {

// Each is answered once, later, in the loop. Fails: kAborted, it has not returned in time, with what
// it waits for; and as Cancel says.
class Readings {
 public:
  template <class T>
  using Done = std::function<void(Result<T>)>;
  using AnotherBuild = std::optional<UniqueFd>;

  virtual ~Readings() = default;

  // Opens the file at lastcalld's path when it is another program than the one that runs. Fails: also
  // as OpenAnotherBuild.
  virtual void BeginLook(Duration limit, Done<AnotherBuild> done) = 0;
  // Everything that the daemon would run if it began now. The problems are in what comes of it.
  virtual void BeginPrepare(const Config& running, Done<Prepared> done) = 0;
  // What is in the files of what runs.
  virtual void BeginFingerprints(const Config& running, Done<Fingerprints> done) = 0;
  // A name that is not known in time is answered as such, and the others are.
  virtual void BeginNames(std::set<std::string> hosts, Duration limit, Done<HostNames> done) = 0;
  // Plugins of processes that are to start may not live through it: they are tried elsewhere.
  virtual void BeginPreflight(const Config& config, std::vector<std::string> processes,
                              Done<PreflightReport> done) = 0;
  // Destroys it: what a configuration of thousands of servers holds takes its time, too.
  virtual void Discard(std::shared_ptr<void> unneeded) = 0;
};

// On threads of its own. Threads: the loop's.
class OffloadedReadings final : public Readings {
 public:
  // `program`: lastcalld's path. `host_program`: lastcall-host's.
  OffloadedReadings(Executor loop, std::string program, std::string host_program,
                    const Clock& clock, Log log);

  void BeginLook(Duration limit, Done<AnotherBuild> done) override;
  void BeginPrepare(const Config& running, Done<Prepared> done) override;
  void BeginFingerprints(const Config& running, Done<Fingerprints> done) override;
  void BeginNames(std::set<std::string> hosts, Duration limit, Done<HostNames> done) override;
  void BeginPreflight(const Config& config, std::vector<std::string> processes,
                      Done<PreflightReport> done) override;
  void Discard(std::shared_ptr<void> unneeded) override;

  // Anything else that may hang with its file system. Fails: as LoopOffload::Begin.
  template <class T>
  void Begin(Instant by, std::function<T(const std::stop_token&)> work, Done<T> done) {
    reading_.Begin<T>(by, std::move(work), std::move(done));
  }

  // What is not answered yet is answered with this, soon.
  void Cancel(const Error& error);
  void OnTick();
  Instant next_instant() const;
  // Not answered yet.
  size_t waiting() const { return reading_.waiting() + preflights_.waiting(); }
  // Threads that work, for whoever waits and for nobody.
  size_t running() const { return reading_.running() + preflights_.running(); }
  // Blocks: until the children that try plugins are reaped, at most until then.
  void WaitForPreflights(Instant by) const { preflights_.WaitIdle(by); }

 private:
  template <class T>
  void BeginReading(std::shared_ptr<Step> step, Duration limit, std::function<T()> read,
                    Done<T> done);

  const std::string program_;
  const std::string host_program_;
  const Clock& clock_;
  const Log log_;
  // Preflights end children when nobody wants their answer any more, and are waited for a little; the
  // rest may hang with a file system or a name service, and is left.
  LoopOffload reading_;
  LoopOffload preflights_;
};

}  // namespace lastcall

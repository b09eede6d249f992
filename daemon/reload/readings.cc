#include "daemon/reload/readings.h"

#include "daemon/handover/reexec.h"
#include "daemon/setup/openssl_thread.h"

namespace lastcall {
namespace {

// Threads that read, those that hang included: that many are needed then alone.
constexpr size_t kReaders = 16;
constexpr size_t kPreflights = 4;
// Where no thread is free by then, it is destroyed in the loop after all.
constexpr auto kDiscardPatience = std::chrono::seconds(10);

template <class T>
Result<T> Flat(Result<Result<T>> nested) {
  return nested ? std::move(*nested) : tl::unexpected(nested.error());
}

}  // namespace

OffloadedReadings::OffloadedReadings(Executor loop, std::string program, std::string host_program,
                                     const Clock& clock, Log log)
    : program_(std::move(program)),
      host_program_(std::move(host_program)),
      clock_(clock),
      log_(std::move(log)),
      reading_(loop, kReaders, 1),
      preflights_(std::move(loop), kPreflights) {}

// For as long as a new incarnation may take to become ready. `step`: what is read.
template <class T>
void OffloadedReadings::BeginReading(std::shared_ptr<Step> step, Duration limit,
                                     std::function<T()> read, Done<T> done) {
  reading_.Begin<T>(
      After(clock_.Now(), limit),
      [read = std::move(read)](const std::stop_token&) {
        const OpenSslThread state;
        return read();
      },
      [this, step, limit, done = std::move(done)](Result<T> result) {
        const bool late = !result && result.error().code == Code::kDeadlineExceeded;
        if (!late) return done(std::move(result));
        const std::string what =
            step->what() + " has not returned after " + FormatDuration(limit) + " ([reload] ready)";
        log_(LogLevel::kWarning, what + "; it is abandoned, and its thread waits on (" +
                                     std::to_string(reading_.abandoned()) + " of " +
                                     std::to_string(kReaders) + " do)");
        done(Fail(Code::kAborted,
                  what + "; repair the file system or group database that does not answer, "
                         "and try again"));
      });
}

void OffloadedReadings::BeginLook(Duration limit, Done<AnotherBuild> done) {
  const auto step = std::make_shared<Step>();
  step->Set("reading " + program_);
  BeginReading<Result<AnotherBuild>>(
      step, limit, [program = program_] { return OpenAnotherBuild(program); },
      [done = std::move(done)](Result<Result<AnotherBuild>> another) {
        done(Flat(std::move(another)));
      });
}

void OffloadedReadings::BeginPrepare(const Config& running, Done<Prepared> done) {
  std::function<Checked<Config>()> load = [file = running.file] { return LoadConfig(file); };
  // --plugin: its files may have changed all the same.
  if (running.file.empty()) load = [running]() -> Checked<Config> { return running; };
  const auto step = std::make_shared<Step>();
  step->Set("reading the configuration");  // also where no thread has begun to
  BeginReading<Prepared>(
      step, running.ready,
      [load = std::move(load), host = host_program_, now = clock_.Wall(), step] {
        return Prepare(load, host, now, *step);
      },
      std::move(done));
}

void OffloadedReadings::BeginFingerprints(const Config& running, Done<Fingerprints> done) {
  const auto step = std::make_shared<Step>();
  step->Set("reading the programs and plugins");
  BeginReading<Fingerprints>(
      step, running.ready,
      [running, host = host_program_] { return FingerprintsOf(running, host); }, std::move(done));
}

// A name that is not known in time is no reason to wait for the others: where it is needed is
// decided when the sockets are bound.
void OffloadedReadings::BeginNames(std::set<std::string> hosts, Duration limit,
                                   Done<HostNames> done) {
  reading_.Begin<HostNames>(
      After(clock_.Now(), limit), [hosts](const std::stop_token&) { return LookUp(hosts); },
      [hosts, limit, done = std::move(done)](Result<HostNames> names) {
        if (names || names.error().code == Code::kFailedPrecondition) return done(std::move(names));
        done(NotLookedUp(hosts, names.error().code != Code::kDeadlineExceeded
                                    ? names.error().message
                                    : "the name has not been looked up after " +
                                          FormatDuration(limit) +
                                          " ([reload] ready); write the address itself"));
      });
}

void OffloadedReadings::BeginPreflight(const Config& config, std::vector<std::string> processes,
                                       Done<PreflightReport> done) {
  preflights_.Begin<PreflightReport>(
      After(clock_.Now(), LongestPreflight(config)),
      [config, processes = std::move(processes), host = host_program_](
          const std::stop_token& stop) { return TryPlugins(config, processes, host, stop); },
      [this, done = std::move(done)](Result<PreflightReport> preflight) {
        if (!preflight && preflight.error().code != Code::kFailedPrecondition) {
          // They could not be tried, whatever they are.
          preflight = PreflightReport{
              .problems = {},
              .warnings = {},
              .failures = {host_program_ + " --preflight: " + preflight.error().message}};
        }
        done(std::move(preflight));
      });
}

void OffloadedReadings::Discard(std::shared_ptr<void> unneeded) {
  reading_.Begin<bool>(
      After(clock_.Now(), kDiscardPatience),
      [unneeded = std::move(unneeded)](const std::stop_token&) mutable {
        unneeded.reset();
        return true;
      },
      [](const Result<bool>&) {});
}

void OffloadedReadings::Cancel(const Error& error) {
  reading_.Cancel(error);
  preflights_.Cancel(error);
}

void OffloadedReadings::OnTick() {
  reading_.OnTick(clock_.Now());
  preflights_.OnTick(clock_.Now());
}

Instant OffloadedReadings::next_instant() const {
  return std::min(reading_.next_instant(), preflights_.next_instant());
}

}  // namespace lastcall

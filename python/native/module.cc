// lastcall._native: liblastcall's Program for Python; see python/lastcall/_native.pyi. What blocks
// gives the interpreter lock away; nothing in here waits for it while it holds a lock of its own.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bound.h"
#include "lastcall/lifecycle/leave_turns.h"
#include "lastcall/program/program.h"
#include "lastcall/signals/signals.h"
#include "lastcall/systemd/notify.h"
#include "stacks.h"
#include "text.h"

namespace py = pybind11;

namespace lastcall::python {
namespace {

using Seconds = std::optional<double>;

class LifecycleError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

void Check(const Result<>& result) {
  if (!result) throw LifecycleError(result.error().message);
}

std::optional<Duration> Length(Seconds seconds) {
  if (!seconds) return std::nullopt;
  return FromSeconds(*seconds);
}

bool HasDefaultAction(int signal) {
  struct sigaction now {};
  return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_DFL;
}

// What sigwaitinfo(2) said of a signal.
void HearSignal(int signal, int code, pid_t pid, uid_t uid) {
  siginfo_t info{};
  info.si_signo = signal;
  info.si_code = code;
  info.si_pid = pid;
  info.si_uid = uid;
  SignalReader::Hear(info);
}

// What waits without the interpreter lock. By hand and not by gil_scoped_release: a thread that comes
// back while the interpreter ends must not be unwound through destructors. It stays here, as in later
// CPythons.
template <class Wait>
bool WithoutLock(const Wait& wait) {
  PyThreadState* const thread = PyEval_SaveThread();
  const bool result = wait();
  while (IsFinalizing()) pause();
  PyEval_RestoreThread(thread);
  return result;
}

// From the beginning of grace on.
class PyLeaveTurns {
 public:
  explicit PyLeaveTurns(const Termination& termination)
      : turns_(
            clock_, termination,
            LeaveSpread(clock_.Now(), termination.instant(Stage::kCancel), LeaveSpread::kPause)) {}

  void AwaitBegin() {
    WithoutLock([this] { return turns_.AwaitBegin({}); });
  }
  void Begin(size_t count) { turns_.Begin(count); }
  void AwaitNext() {
    WithoutLock([this] { return turns_.AwaitNext({}); });
  }

 private:
  const SteadyClock clock_;
  LeaveTurns turns_;
};

class PyWork {
 public:
  explicit PyWork(Work work) : work_(std::move(work)) {}
  void End() { work_.End(); }

 private:
  Work work_;
};

class PyProgram {
 public:
  PyProgram(const py::str& name, double delay, double grace, double cancel, py::function stacks,
            int dump)
      : bound_(Bound::Make(std::move(stacks), dump)) {
    ProgramOptions options;
    options.name = TextOf(name);
    options.shutdown = {FromSeconds(delay), FromSeconds(grace), FromSeconds(cancel)};
    options.signals = SignalReader::Form::kHandler;
    options.observer = bound_.get();
    try {
      program_ = std::make_unique<Program>(std::move(options));
      termination_ = program_->termination();
      Check(program_->Ready());
    } catch (...) {
      bound_->Lift();
      throw;
    }
  }

  ~PyProgram() { Close(); }

  // The process has more to do. Blocks: until the lifecycle's thread has ended, without the
  // interpreter lock.
  void Close() {
    if (!program_) return;
    receipt_ = Receipt();
    if (getpid() == pid_) bound_->Lift();
    // Nobody finds it once the interpreter lock is given away.
    std::unique_ptr<Program> program = std::move(program_);
    {
      const py::gil_scoped_release unlocked;
      program.reset();
    }
    if (getpid() == pid_) receipt_ = bound_->receipt().ToJson();
  }

  bool AskedBySignal() const { return bound_->asked_by_signal(); }

  void CheckNotForked() const {
    // Also once it is closed, when there is no program to ask.
    if (program_) return Check(program_->CheckNotForked());
    if (getpid() != pid_) throw LifecycleError("this process was forked and has no lifecycle");
  }

  void Shutdown(const py::str& reason, Seconds delay, Seconds grace, Seconds cancel) {
    CheckNotForked();
    if (!program_) return;
    Check(program_->Shutdown(TextOf(reason), Length(delay), Length(grace), Length(cancel)));
  }

  void Configure(Seconds delay, Seconds grace, Seconds cancel) {
    CheckNotForked();
    if (program_) Check(program_->Configure(Length(delay), Length(grace), Length(cancel)));
  }

  PyWork Enter(const py::str& name, const py::str& peer) {
    CheckNotForked();
    return PyWork(program_ ? program_->Enter(TextOf(name), TextOf(peer)) : Work());
  }
  PyWork Open(const py::str& name) {
    CheckNotForked();
    return PyWork(program_ ? program_->Open(TextOf(name)) : Work());
  }
  PyWork Hold(const py::str& name) {
    CheckNotForked();
    return PyWork(program_ ? program_->Hold(TextOf(name)) : Work());
  }

  bool Reached(int stage) const {
    CheckNotForked();
    return termination_.Reached(static_cast<Stage>(stage));
  }

  bool Wait(int stage, Seconds timeout) const {
    CheckNotForked();
    const Duration length = timeout ? FromSeconds(*timeout) : kForever;
    return WithoutLock([&] { return termination_.WaitFor(static_cast<Stage>(stage), length); });
  }

  // And for how many seconds nobody gave the interpreter lock back after that.
  std::pair<bool, double> WaitAndTell(int stage, double timeout) const {
    const SteadyClock clock;
    Instant waited{};
    const bool reached = WithoutLock([&] {
      const bool found = termination_.WaitFor(static_cast<Stage>(stage), FromSeconds(timeout));
      waited = clock.Now();
      return found;
    });
    return {reached, ToSeconds(clock.Now() - waited)};
  }

  std::unique_ptr<PyLeaveTurns> Turns() const {
    CheckNotForked();
    return std::make_unique<PyLeaveTurns>(termination_);
  }

  int Fileno(int stage) const {
    CheckNotForked();
    return termination_.fd(static_cast<Stage>(stage));
  }

  // Seconds until the stage begins as planned now; none: no such instant.
  Seconds Until(int stage) const {
    const Instant instant = termination_.instant(static_cast<Stage>(stage));
    if (instant == kNever) return std::nullopt;
    return ToSeconds(std::max(Duration::zero(), Duration(instant - SteadyClock().Now())));
  }

  std::optional<std::string> ReceiptJson() const {
    CheckNotForked();
    if (!program_) return receipt_;
    return Receipt();
  }

 private:
  std::optional<std::string> Receipt() const {
    const lastcall::Receipt* const receipt = program_->receipt();
    if (receipt == nullptr) return std::nullopt;
    return receipt->ToJson();
  }

  const pid_t pid_ = getpid();
  const std::shared_ptr<Bound> bound_;
  std::unique_ptr<Program> program_;  // empty once closed
  Termination termination_;
  std::optional<std::string> receipt_;  // of the closed one
};

void DefineProgram(py::module_& module) {
  py::class_<PyProgram>(module, "Program")
      .def(py::init<const py::str&, double, double, double, py::function, int>(), py::arg("name"),
           py::arg("delay"), py::arg("grace"), py::arg("cancel"), py::arg("stacks"),
           py::arg("dump"))
      .def("close", &PyProgram::Close)
      .def("asked_by_signal", &PyProgram::AskedBySignal)
      .def("keep", [](const py::object& self) { self.inc_ref(); })
      .def("check_process", &PyProgram::CheckNotForked)
      .def("shutdown", &PyProgram::Shutdown, py::arg("reason"), py::arg("delay"), py::arg("grace"),
           py::arg("cancel"))
      .def("configure", &PyProgram::Configure, py::arg("delay"), py::arg("grace"),
           py::arg("cancel"))
      .def("enter", &PyProgram::Enter, py::arg("name"), py::arg("peer"))
      .def("open", &PyProgram::Open, py::arg("name"))
      .def("hold", &PyProgram::Hold, py::arg("name"))
      .def("reached", &PyProgram::Reached, py::arg("stage"))
      .def("wait", &PyProgram::Wait, py::arg("stage"), py::arg("timeout"))
      .def("wait_and_tell", &PyProgram::WaitAndTell, py::arg("stage"), py::arg("timeout"))
      .def("leave_turns", &PyProgram::Turns)
      .def("fileno", &PyProgram::Fileno, py::arg("stage"))
      .def("until", &PyProgram::Until, py::arg("stage"))
      .def("receipt", &PyProgram::ReceiptJson);
}

void DefineLeaveTurns(py::module_& module) {
  py::class_<PyLeaveTurns>(module, "LeaveTurns")
      .def("await_begin", &PyLeaveTurns::AwaitBegin)
      .def("begin", &PyLeaveTurns::Begin, py::arg("count"))
      .def("await_next", &PyLeaveTurns::AwaitNext);
}

void DefineWork(py::module_& module) {
  py::class_<PyWork>(module, "Work", "Something in flight or open, until end() or its block ends.")
      .def("end", &PyWork::End)
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](PyWork& self, const py::args&) { self.End(); });
}

void DefineNotifier(py::module_& module) {
  py::class_<SystemdNotifier>(module, "Notifier")
      .def(py::init<>())
      .def(
          "ready",
          [](const SystemdNotifier& self, const py::str& status) { self.Ready(TextOf(status)); },
          py::arg("status"))
      .def(
          "stopping",
          [](const SystemdNotifier& self, const py::str& status) { self.Stopping(TextOf(status)); },
          py::arg("status"))
      .def(
          "extend_timeout",
          [](const SystemdNotifier& self, double seconds) {
            self.ExtendTimeout(FromSeconds(seconds));
          },
          py::arg("seconds"));
}

}  // namespace
}  // namespace lastcall::python

PYBIND11_MODULE(_native, module) {
  using namespace lastcall;          // NOLINT: the one function of this file's last lines
  using namespace lastcall::python;  // NOLINT
  module.attr("__version__") = LASTCALL_VERSION;
  py::register_exception<LifecycleError>(module, "LifecycleError", PyExc_RuntimeError);
  py::dict stages;
  for (const Stage stage : {Stage::kDelay, Stage::kGrace, Stage::kCancel, Stage::kStopped}) {
    stages[py::str(std::string(Name(stage)))] = static_cast<int>(stage);
  }
  module.attr("STAGES") = stages;
  module.attr("SIGNALS") = std::vector<int>(kHandledSignals.begin(), kHandledSignals.end());
  module.def("reclaim_signals", &SignalReader::Reclaim);
  module.def("hear_signal", &HearSignal, py::arg("signalnum"), py::arg("code"), py::arg("pid"),
             py::arg("uid"));
  module.def("has_default_action", &HasDefaultAction, py::arg("signalnum"));
  DefineWork(module);
  DefineLeaveTurns(module);
  DefineProgram(module);
  DefineNotifier(module);
}

// What the loop of lastcalld does for a reload, a status and a handover, step by step and alone: how
// long each takes with so many servers. While one runs nothing else is heard.
//
//   loop_work [SERVERS [PROCESSES]]    5000 servers in 10 processes, a megabyte of configuration
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "daemon/handover/saved_state.h"
#include "daemon/process/host_spec.h"
#include "daemon/setup/setup.h"

namespace {

using namespace lastcall;

constexpr int kFirstPort = 20'000;

struct Servers {
  int count;
  int processes;
  std::string prefix = "s";
  int port = 0;        // of the first one; 0: they listen on paths
  std::string folder;  // of those
  std::string mode;
  std::string reflection = "false";
};

std::string TextOf(const Servers& servers) {
  std::string text;
  for (int i = 0; i < servers.count; ++i) {
    const std::string name = servers.prefix + std::to_string(i);
    const std::string listen = servers.port == 0
                                   ? "unix:" + servers.folder + "/" + name + "?mode=" + servers.mode
                                   : "127.0.0.1:" + std::to_string(servers.port + i);
    text += "[server." + name + "]\nlisten = [\"" + listen +
            "\"]\nplugins = [\"echo\"]\nprocess = \"p" + std::to_string(i % servers.processes) +
            "\"\nreflection = " + servers.reflection +
            "\nlimits = {connections = 100, streams = 10, message = \"4MiB\"}\n";
  }
  return text;
}

Setup Of(const std::string& text) {
  auto config = ConfigFromText(text, "loop_work");
  if (!config) {
    std::fputs(Format(config.error()).c_str(), stderr);
    std::exit(1);
  }
  Setup setup;
  setup.config = std::move(*config);
  setup.fingerprints = FingerprintsOf(setup.config, "/bin/true");
  return setup;
}

// The median of some; the first counts, too.
void Row(const char* what, const std::function<void()>& work, int rounds = 3) {
  std::vector<double> took;
  for (int i = 0; i < rounds; ++i) {
    const auto began = std::chrono::steady_clock::now();
    work();
    took.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
            .count());
  }
  std::sort(took.begin(), took.end());
  std::printf("%-44s %10.1f %10.1f\n", what, took[took.size() / 2], took.back());
  std::fflush(stdout);
}

template <class T>
T Must(Result<T> result) {
  if (result) return T(std::move(*result));
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::exit(1);
}

void Must(const Result<>& result) {
  if (!result) Must(Result<int>(tl::unexpected(result.error())));
}

void Members(const Setup& setup) {
  for (const ProcessConfig& process : setup.config.processes) {
    SpecOf(setup.config, process.name);
    HostSpecOf(setup, process.name, "host");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int servers = argc > 1 ? std::atoi(argv[1]) : 5000;
  const int processes = argc > 2 ? std::atoi(argv[2]) : 10;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  std::string folder = std::filesystem::temp_directory_path() / "lastcall-loop-work-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return 1;

  const Servers tcp{.count = servers, .processes = processes, .port = kFirstPort};
  Servers more_tcp = tcp, other_tcp = tcp;
  more_tcp.prefix = "more";
  more_tcp.port += servers;
  other_tcp.reflection = "true";
  const std::string text = TextOf(tcp);
  std::printf("%d servers in %d processes, %zu bytes of configuration\n%-44s %10s %10s\n", servers,
              processes, text.size(), "ms", "median", "worst");
  Setup running = Of(text);
  const Setup same = Of(text), other = Of(TextOf(other_tcp)), more = Of(text + TextOf(more_tcp));
  SocketBinder binder{ActivationSockets(ActivationSockets::Sockets())};
  running.sockets = Must(binder.Bind(running.config, {}));

  const auto compare = [&](const Setup& to) {
    Compare(running.config, running.fingerprints, to.config, to.fingerprints);
  };
  Row("compare: nothing differs", [&] { compare(same); });
  Row("compare: every server does", [&] { compare(other); });
  Row("look for names", [&] { SocketBinder::Unknown(same.config, running.sockets); });
  Row("bind what is bound", [&] { Must(binder.Bind(same.config, running.sockets)); });
  Row("probe what is bound", [&] { Must(binder.Probe(same.config, running.sockets)); });
  Row(
      "probe as many more", [&] { Must(binder.Probe(more.config, running.sockets)); }, 1);
  Row(
      "bind as many more", [&] { Must(binder.Bind(more.config, running.sockets)); }, 1);
  Row("members of every process", [&] { Members(running); });
  Row("listeners that are dropped", [&] { AllOf(running.sockets); });
  Row("copy of what runs", [&] {
    const Setup copy = running;
    (void)copy.config.file;
  });
  Row("merge: one of the processes failed", [&] {
    Setup after = other;
    after.sockets = running.sockets;
    std::vector<Supervisor::Outcome> outcomes;
    for (size_t i = 0; i < running.config.processes.size(); ++i) {
      outcomes.push_back({running.config.processes[i].name, i == 0 ? "it crashed" : "", 2});
    }
    Merge(running, after, outcomes);
  });
  Row("effective configuration", [&] {
    ToAnnotatedToml(running.config);
    ToJson(running.config);
    OriginsOf(running.config);
  });
  Row("save for another build", [&] {
    StateWriter writer;
    Save(running, writer);
  });

  Setup paths =
      Of(TextOf({.count = servers, .processes = processes, .folder = folder, .mode = "600"}));
  paths.sockets = Must(binder.Bind(paths.config, {}));
  Setup rewritten =
      Of(TextOf({.count = servers, .processes = processes, .folder = folder, .mode = "660"}));
  Row(
      "probe paths with another mode", [&] { Must(binder.Probe(rewritten.config, paths.sockets)); },
      1);
  Row(
      "bind paths with another mode",
      [&] { rewritten.sockets = Must(binder.Bind(rewritten.config, paths.sockets)); }, 1);
  Row(
      "set the modes", [&] { Must(SetRights(rewritten.config, rewritten.sockets)); }, 1);
  rewritten.sockets.clear();
  paths.sockets.clear();
  rmdir(folder.c_str());
}

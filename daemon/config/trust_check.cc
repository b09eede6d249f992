#include "daemon/config/trust_check.h"

#include <set>
#include <utility>

#include <lastcall/base/trust.h>

#include <lastcall/child/own_program.h>

namespace lastcall {
namespace {

// Says of each file what is wrong with it, but of a directory only once.
class Inspection {
 public:
  void Look(const SourceLocation& location, const std::string& what, const std::string& path) {
    const auto found = trust_.Find(path);
    if (found || found.error().flaws.empty()) return;
    std::vector<Flaw> fresh;
    for (const Flaw& flaw : found.error().flaws) {
      if (said_.emplace(flaw.path, flaw.what).second) fresh.push_back(flaw);
    }
    if (fresh.empty()) return;
    problems_.push_back({location, what + ": " + path + " is not trusted: " + Describe(fresh)});
  }
  // A switch that does nothing must not look like one that does.
  void LookAtVariable() {
    for (const std::string& path : RelativeInTrustVariable()) {
      problems_.push_back({{},
                           std::string(kTrustVariable) + " in the environment: \"" + path +
                               "\" is not an absolute path; write for example " + kTrustVariable +
                               "=/etc/lastcall:/opt/shop"});
    }
  }
  std::vector<ConfigProblem> problems() && { return std::move(problems_); }

 private:
  const Trust trust_ = Trust::OfThisProcess();
  std::set<std::pair<std::string, std::string>> said_;
  std::vector<ConfigProblem> problems_;
};

}  // namespace

std::vector<ConfigProblem> CheckTrust(const Config& config, const std::string& host_program) {
  Inspection inspection;
  inspection.LookAtVariable();
  inspection.Look({}, "lastcalld", OwnProgram());
  inspection.Look({}, "lastcall-host", host_program);
  for (const ServerConfig& server : config.servers) {
    for (const PluginSpec& plugin : server.plugins) {
      inspection.Look(plugin.location,
                      "server \"" + server.name + "\", plugin \"" + plugin.name + "\"",
                      plugin.path);
    }
  }
  return std::move(inspection).problems();
}

}  // namespace lastcall

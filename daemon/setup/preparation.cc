#include "daemon/setup/preparation.h"

#include <utility>

#include <lastcall/base/group.h>

#include "daemon/admin/roles_of.h"
#include "daemon/config/check.h"
#include "daemon/config/problems.h"
#include "daemon/config/trust_check.h"

namespace lastcall {
namespace {

void Append(std::vector<ConfigProblem> more, std::vector<ConfigProblem>& problems) {
  for (ConfigProblem& one : more) problems.push_back(std::move(one));
}

// Those that sockets are given to.
void FindGroups(Config& config) {
  for (ServerConfig& server : config.servers) {
    for (Address& address : server.listen) {
      if (address.group.empty()) continue;
      address.group_id = GroupNamed(address.group).value_or(Address::kNoGroup);
    }
  }
}

}  // namespace

void Step::Set(std::string what) {
  std::lock_guard lock(mutex_);
  what_ = std::move(what);
}

std::string Step::what() const {
  std::lock_guard lock(mutex_);
  return what_;
}

Prepared Prepare(const std::function<Checked<Config>()>& load, const std::string& host_program,
                 WallTime now, Step& step) {
  Prepared prepared;
  step.Set("reading the configuration");
  auto config = load();
  if (!config) {
    prepared.problems = std::move(config.error());
    return prepared;
  }
  prepared.loaded = true;
  prepared.config = std::move(*config);
  step.Set("looking at the programs and plugins");
  Append(CheckTrust(prepared.config, host_program), prepared.problems);
  Append(CheckPlugins(prepared.config), prepared.problems);
  step.Set("reading the certificates and keys");
  Append(ReadCertificates(prepared.config), prepared.problems);
  KeepFirst(prepared.problems);
  if (!prepared.problems.empty()) return prepared;
  step.Set("comparing the programs and plugins");
  prepared.fingerprints = FingerprintsOf(prepared.config, host_program);
  step.Set("looking up groups");
  prepared.roles = RolesOf(prepared.config);
  FindGroups(prepared.config);
  prepared.warnings = TlsWarnings(prepared.config, now);
  for (std::string& one : GroupWarnings(prepared.config)) {
    prepared.warnings.push_back(std::move(one));
  }
  return prepared;
}

}  // namespace lastcall

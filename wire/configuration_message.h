// What a host is told to run, on its way there: limits, stalls, plugins and their configuration.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "lastcall/host/v1/host.pb.h"

#include <lastcall/net/limits.h>
#include <lastcall/plugin/config.h>
#include <lastcall/plugin/offload.h>
#include <lastcall/rpc/stall_limits.h>

namespace lastcall {

host::v1::Limits ToProto(const ServerLimits& limits);
ServerLimits FromProto(const host::v1::Limits& message);

// Its part of the message.
void Write(const StallLimits& stalls, host::v1::ServerSpec& message);
StallLimits StallsIn(const host::v1::ServerSpec& message);

host::v1::OffloadLimits ToProto(const OffloadLimits& limits);
OffloadLimits FromProto(const host::v1::OffloadLimits& message);

using PluginValues = std::map<std::string, PluginConfig::Value, std::less<>>;

// `path`: of the shared object.
host::v1::PluginSpec PluginMessage(const std::string& name, const std::string& path,
                                   const PluginValues& values);
// The configuration as the plugin reads it.
PluginConfig ConfigOf(const std::string& server, const host::v1::PluginSpec& plugin);

}  // namespace lastcall

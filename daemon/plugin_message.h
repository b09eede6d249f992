// A plugin and its configuration on their way to a host.
#pragma once

#include <string>

#include "daemon/config.h"
#include "lastcall/worker/v1/worker.pb.h"

namespace lastcall {

worker::v1::PluginSpec ToMessage(const PluginSpec& plugin);

// The configuration as the plugin reads it.
PluginConfig ConfigOf(const std::string& server, const worker::v1::PluginSpec& plugin);

}  // namespace lastcall

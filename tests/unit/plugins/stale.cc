#include <lastcall/plugin.h>

extern "C" __attribute__((visibility("default")))
const lastcall::PluginEntry lastcall_plugin = {lastcall::kPluginAbi + 1, "1.0.0", nullptr, nullptr};

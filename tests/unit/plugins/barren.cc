#include <lastcall/plugin.h>

extern "C" __attribute__((visibility("default"))) const lastcall::PluginEntry lastcall_plugin = {
    lastcall::kPluginAbi, nullptr,
    [](lastcall::PluginHost&) -> std::unique_ptr<lastcall::Plugin> { return nullptr; }, nullptr};

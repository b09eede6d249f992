// A program that hosts a plugin itself: hosts PLUGIN ADDRESS. It stops as soon as it is ready.
#include <lastcall/host/host.h>
#include <lastcall/plugin/loader.h>

#include <cstdio>
#include <string>

namespace {

class StopWhenReady final : public lastcall::HostObserver {
 public:
  void Ready() override { host->Shutdown("it has been seen"); }
  lastcall::Host* host = nullptr;
};

}  // namespace

int main(int, char** arguments) {
  const auto library = lastcall::PluginLibrary::Open(arguments[1]);
  if (!library) {
    std::puts(library.error().message.c_str());
    return 1;
  }
  const lastcall::Manifest& manifest = library->manifest();
  std::printf("%s %s brings %s of %s\n", manifest.name.c_str(), manifest.version.c_str(),
              manifest.services.at(0).c_str(), manifest.files.at(0).c_str());

  StopWhenReady observer;
  lastcall::HostOptions options;
  options.observer = &observer;
  lastcall::Host host(std::move(options));
  observer.host = &host;
  lastcall::HostServer server;
  server.listen = {arguments[2]};
  server.plugins = {{manifest.name, {}, [&](lastcall::PluginHost& plugin_host) {
                       return library->Create(plugin_host);
                     }}};
  const auto added = host.AddServer(std::move(server));
  if (!added) return host.ReportStartError(added.error());
  const int code = host.Run();
  if (code == 0) std::puts("hello served and stopped");
  return code;
}

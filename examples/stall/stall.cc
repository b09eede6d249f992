// The same heavy work in each place that a handler can put it: on gRPC's thread, by either API, or on
// the plugin's offload. measure.py shows what a Ping to the same server makes of it.
#include <grpcpp/grpcpp.h>
#include <lastcall/plugin.h>
#include <lastcall/plugin/offload_grpc.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "stall.grpc.pb.h"

namespace lastcall::example {
namespace {

struct Settings {
  explicit Settings(const PluginConfig& config)
      : folder(config.String("folder")),
        callback(config.String("api", "callback") == "callback"),
        offload(config.String("work", "here") == "offload"),
        nap(config.Duration("nap", Duration::zero())) {}

  std::filesystem::path folder;  // of the tables
  bool callback;
  bool offload;
  Duration nap;  // after each thousand rows, "for the others"
};

class Table {
 public:
  Table(const Settings& settings, const Query& query)
      : file_(settings.folder / std::filesystem::path(query.table()).filename()),
        nap_(settings.nap) {
    if (std::string header; !std::getline(file_, header)) {
      status_ = {grpc::StatusCode::NOT_FOUND, "no such table: " + query.table()};
    }
  }

  // Adds so many rows. False: there are no more.
  bool AddTo(Report& report, uint32_t rows) {
    const uint32_t before = report.rows();
    std::string row;
    while (report.rows() - before < rows && std::getline(file_, row)) {
      const size_t comma = row.find(',');
      (*report.mutable_totals())[row.substr(0, comma)] += std::atof(row.c_str() + comma + 1);
      report.set_rows(report.rows() + 1);
      if (nap_ > Duration::zero() && report.rows() % 1000 == 0) std::this_thread::sleep_for(nap_);
    }
    return report.rows() > before;
  }

  const grpc::Status& status() const { return status_; }

 private:
  std::ifstream file_;
  const Duration nap_;
  grpc::Status status_;
};

grpc::Status Sum(const Settings& settings, const Query& query, Report& report) {
  Table table(settings, query);
  table.AddTo(report, UINT32_MAX);
  return table.status();
}

// `out`: a grpc::ServerWriter or a StreamWriter.
template <class Writer>
grpc::Status WriteSums(const Settings& settings, const Query& query, Writer& out) {
  Table table(settings, query);
  Report report;
  while (table.AddTo(report, query.step()) && out.Write(report)) continue;
  return table.status();
}

// What a callback handler often looks like: each step is computed where the one before was sent.
class Summing final : public grpc::ServerWriteReactor<Report> {
 public:
  Summing(const Settings& settings, const Query& query)
      : table_(settings, query), step_(query.step()) {
    Next();
  }
  void OnWriteDone(bool ok) override { ok ? Next() : Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

 private:
  void Next() { table_.AddTo(report_, step_) ? StartWrite(&report_) : Finish(table_.status()); }

  Table table_;
  Report report_;
  const uint32_t step_;
};

class CallbackSales final : public Sales::CallbackService {
 public:
  CallbackSales(const Settings& settings, const Offload& offload)
      : settings_(settings), offload_(offload) {}

  grpc::ServerUnaryReactor* Ping(grpc::CallbackServerContext* context, const PingRequest*,
                                 PingReply*) override {
    return Done(*context, grpc::Status::OK);
  }

  grpc::ServerWriteReactor<Report>* Totals(grpc::CallbackServerContext* context,
                                           const Query* query) override {
    if (!settings_.offload) return new Summing(settings_, *query);
    return BeginStream<Report>(offload_, *context,
                               [this, query = *query](auto& out, const std::stop_token&) {
                                 return WriteSums(settings_, query, out);
                               });
  }

  grpc::ServerUnaryReactor* Total(grpc::CallbackServerContext* context, const Query* query,
                                  Report* reply) override {
    if (!settings_.offload) return Done(*context, Sum(settings_, *query, *reply));
    return BeginUnary(offload_, *context, *query, *reply,
                      [this](const Query& asked, Report& report, const std::stop_token&) {
                        return Sum(settings_, asked, report);
                      });
  }

 private:
  static grpc::ServerUnaryReactor* Done(grpc::CallbackServerContext& context,
                                        const grpc::Status& status) {
    grpc::ServerUnaryReactor* const reactor = context.DefaultReactor();
    reactor->Finish(status);
    return reactor;
  }

  const Settings settings_;
  const Offload offload_;
};

class SyncSales final : public Sales::Service {
 public:
  SyncSales(const Settings& settings, const Offload& offload)
      : settings_(settings), offload_(offload) {}

  grpc::Status Ping(grpc::ServerContext*, const PingRequest*, PingReply*) override {
    return grpc::Status::OK;
  }

  grpc::Status Totals(grpc::ServerContext* context, const Query* query,
                      grpc::ServerWriter<Report>* out) override {
    if (!settings_.offload) return WriteSums(settings_, *query, *out);
    return RunStream<Report>(offload_, *context, *out,
                             [this, query = *query](auto& to, const std::stop_token&) {
                               return WriteSums(settings_, query, to);
                             });
  }

  grpc::Status Total(grpc::ServerContext* context, const Query* query, Report* reply) override {
    if (!settings_.offload) return Sum(settings_, *query, *reply);
    return RunUnary(offload_, *context, *query, *reply,
                    [this](const Query& asked, Report& report, const std::stop_token&) {
                      return Sum(settings_, asked, report);
                    });
  }

 private:
  const Settings settings_;
  const Offload offload_;
};

class StallPlugin final : public Plugin {
 public:
  explicit StallPlugin(PluginHost& host) {
    const Settings settings(host.config());
    if (settings.callback) {
      service_ = std::make_unique<CallbackSales>(settings, host.offload());
    } else {
      service_ = std::make_unique<SyncSales>(settings, host.offload());
    }
  }
  static void Check(const PluginConfig& config) { Settings{config}; }

  std::vector<grpc::Service*> Services() override { return {service_.get()}; }

 private:
  std::unique_ptr<grpc::Service> service_;
};

}  // namespace
}  // namespace lastcall::example

LASTCALL_PLUGIN(lastcall::example::StallPlugin, "1.0.0")

# A client of matrix.py, which says what it is given: Ruby's grpc.
require 'grpc'
require 'json'

target, callers, connections, pause_ms, service_config = ARGV
arguments = { 'grpc.use_local_subchannel_pool' => 1 }
arguments['grpc.service_config'] = service_config unless service_config.empty?
stubs = Array.new(connections.to_i) do
  GRPC::ClientStub.new(target, :this_channel_is_insecure, channel_args: arguments)
end
bytes = proc { |message| message }
call = proc { |stub| stub.request_response('/lastcall.example.Echo/Unary', '', bytes, bytes) }
stubs.each(&call)
over = false
results = Queue.new
threads = Array.new(callers.to_i) do |i|
  Thread.new(stubs[i % stubs.size]) do |stub|
    until over
      sleep(rand * pause_ms.to_i / 1000) unless pause_ms == '0'
      begin
        call.call(stub)
        results << ''
      rescue GRPC::BadStatus => e
        results << "#{e.code} #{e.details}"
        sleep(0.001)
      end
    end
  end
end
puts 'connected'
$stdout.flush
$stdin.read
over = true
threads.each(&:join)
all = Array.new(results.size) { results.pop }
puts JSON.generate('calls' => all.size, 'lost' => all.reject(&:empty?).tally)

import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;

/** A client of matrix.py, which says what it is given: grpc-java, a thread for each caller. */
public final class Client {
  /** Bytes are sent and received as they are. */
  private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
    @Override
    public InputStream stream(byte[] message) {
      return new ByteArrayInputStream(message);
    }

    @Override
    public byte[] parse(InputStream stream) {
      return new byte[0];
    }
  }

  private static final MethodDescriptor<byte[], byte[]> UNARY =
      MethodDescriptor.newBuilder(new Bytes(), new Bytes())
          .setType(MethodDescriptor.MethodType.UNARY)
          .setFullMethodName("lastcall.example.Echo/Unary")
          .build();

  private static volatile boolean over = false;
  private static final AtomicInteger calls = new AtomicInteger();
  private static final Map<String, Integer> lost = new ConcurrentHashMap<>();

  private static void call(ManagedChannel channel) {
    ClientCalls.blockingUnaryCall(channel, UNARY, CallOptions.DEFAULT, new byte[0]);
  }

  private static void callOnAndOn(ManagedChannel channel, int pauseMs) {
    try {
      while (!over) {
        if (pauseMs > 0) Thread.sleep(ThreadLocalRandom.current().nextInt(pauseMs));
        calls.incrementAndGet();
        try {
          call(channel);
        } catch (StatusRuntimeException e) {
          String status = e.getStatus().getCode().value() + " " + e.getStatus().getDescription()
              + (e.getStatus().getCause() == null ? "" : ": " + e.getStatus().getCause());
          lost.merge(status, 1, Integer::sum);
          Thread.sleep(1);
        }
      }
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  public static void main(String[] args) throws Exception {
    int pauseMs = Integer.parseInt(args[3]);
    List<ManagedChannel> channels = new ArrayList<>();
    for (int i = 0; i < Integer.parseInt(args[2]); ++i) {
      channels.add(ManagedChannelBuilder.forTarget(args[0]).usePlaintext().build());
      call(channels.get(i));
    }
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < Integer.parseInt(args[1]); ++i) {
      ManagedChannel channel = channels.get(i % channels.size());
      threads.add(new Thread(() -> callOnAndOn(channel, pauseMs)));
      threads.get(i).start();
    }
    System.out.println("connected");
    while (System.in.read() != -1) {}
    over = true;
    for (Thread thread : threads) thread.join();
    String each = lost.entrySet().stream()
        .map(entry -> "\"" + entry.getKey().replaceAll("[\\p{Cntrl}\"\\\\]", " ") + "\": "
            + entry.getValue())
        .collect(Collectors.joining(", "));
    System.out.println("{\"calls\": " + calls + ", \"lost\": {" + each + "}}");
    System.exit(0);
  }
}

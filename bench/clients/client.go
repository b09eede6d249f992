// A client of matrix.py, which says what it is given: grpc-go.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/health" // without it a service config's healthCheckConfig does nothing
	"google.golang.org/grpc/status"
)

// bytes are sent and received as they are.
type bytes struct{}

func (bytes) Marshal(message interface{}) ([]byte, error) { return *message.(*[]byte), nil }
func (bytes) Unmarshal(data []byte, message interface{}) error {
	*message.(*[]byte) = data
	return nil
}
func (bytes) String() string { return "proto" }

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	target, callers, connections := os.Args[1], number(os.Args[2]), number(os.Args[3])
	pause, serviceConfig := number(os.Args[4]), os.Args[5]
	options := []grpc.DialOption{grpc.WithInsecure(), grpc.WithBlock()}
	if serviceConfig != "" {
		options = append(options, grpc.WithDefaultServiceConfig(serviceConfig))
	}
	var channels []*grpc.ClientConn
	for i := 0; i < connections; i++ {
		channel, err := grpc.Dial(target, options...)
		if err != nil {
			panic(err)
		}
		channels = append(channels, channel)
	}
	var over, calls int32
	var calling sync.WaitGroup
	var mutex sync.Mutex
	lost := map[string]int{}
	for i := 0; i < callers; i++ {
		calling.Add(1)
		go func(channel *grpc.ClientConn) {
			defer calling.Done()
			for atomic.LoadInt32(&over) == 0 {
				if pause > 0 {
					time.Sleep(time.Duration(rand.Float64() * float64(pause) * float64(time.Millisecond)))
				}
				var request, reply []byte
				err := channel.Invoke(context.Background(), "/lastcall.example.Echo/Unary", &request, &reply,
					grpc.CallCustomCodec(bytes{}))
				atomic.AddInt32(&calls, 1)
				if err == nil {
					continue
				}
				mutex.Lock()
				lost[fmt.Sprintf("%d %s", status.Code(err), status.Convert(err).Message())]++
				mutex.Unlock()
				time.Sleep(time.Millisecond)
			}
		}(channels[i%connections])
	}
	fmt.Println("connected")
	io.ReadAll(os.Stdin)
	atomic.StoreInt32(&over, 1)
	calling.Wait()
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"calls": calls, "lost": lost})
}

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
	"google.golang.org/grpc/codes"
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

const messages = 20 // of one stream

func unary(channel *grpc.ClientConn) error {
	var request, reply []byte
	return channel.Invoke(context.Background(), "/lastcall.example.Echo/Unary", &request, &reply,
		grpc.CallCustomCodec(bytes{}))
}

func stream(channel *grpc.ClientConn) error {
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	context, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := channel.NewStream(context, both, "/lastcall.example.Echo/Bidi",
		grpc.CallCustomCodec(bytes{}))
	if err != nil {
		return err
	}
	var request, reply []byte
	for i := 0; i < messages; i++ {
		// The end of file stands for a status, which reading tells.
		if err := stream.SendMsg(&request); err != nil && err != io.EOF {
			return err
		}
		if err := stream.RecvMsg(&reply); err == io.EOF {
			return status.Error(codes.DataLoss, "answers are missing")
		} else if err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	stream.CloseSend()
	if err := stream.RecvMsg(&reply); err != io.EOF {
		return err
	}
	return nil
}

func main() {
	target, callers, connections := os.Args[1], number(os.Args[2]), number(os.Args[3])
	pause, serviceConfig := number(os.Args[4]), os.Args[5]
	call := unary
	if len(os.Args) > 6 {
		call = stream
	}
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
				err := call(channel)
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

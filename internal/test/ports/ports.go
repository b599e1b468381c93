// Package ports gives out ports of 127.0.0.1 to nodes that stop and start again. A stopped node listens to nothing, and who
// looked for a free port meanwhile could find its, and its clients another's node. So a port that was taken is nobody else's
// in this process until it is given back.
package ports

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range is below the one from which systems take ports for outgoing connections. From that one the port of a stopped
// node could become the local port of somebody's connection, even of a client that dials this very node and so would
// connect to itself.
var lowest, count = 10000, 20000

var (
	mu    sync.Mutex
	taken = map[int]int{} // how often
)

// Take listens on a free port and takes it. Give gives it back, some time after the listener was closed.
func Take() (l net.Listener, port int, err error) {
	mu.Lock()
	defer mu.Unlock()
	err = errors.New("all ports are taken by nodes of this process")
	for first, i := rand.IntN(count), 0; i < count; i++ {
		port = lowest + (first+i)%count
		if taken[port] > 0 {
			continue
		}
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			taken[port]++
			return l, port, nil
		}
	}
	return nil, 0, err
}

// Keep takes a port that was found in another way. It may be taken more than once.
func Keep(port int) {
	mu.Lock()
	defer mu.Unlock()
	taken[port]++
}

// Give gives back what Take or Keep took.
func Give(port int) {
	mu.Lock()
	defer mu.Unlock()
	if taken[port]--; taken[port] <= 0 {
		delete(taken, port)
	}
}

// Package ports assigns ports of 127.0.0.1 to nodes that stop and start again. A stopped node does not listen, so
// another node could be started on its port, and its clients would reach the wrong node. So this process uses a port
// for nothing else until it is released.
package ports

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The range is below the ports that systems use for outgoing connections. Otherwise the port of a stopped node could
// become the local port of a connection, even of a client that dials this node and would so connect to itself.
var lowest, count = 10000, 20000

var (
	mu    sync.Mutex
	taken = map[int]int{} // number of users, by port
)

// Take reserves a free port and listens on it. Call Give to release the port after the listener was closed.
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

// Keep reserves a port that was found in another way. A port may be reserved more than once.
func Keep(port int) {
	mu.Lock()
	defer mu.Unlock()
	taken[port]++
}

// Give releases a port that Take or Keep reserved.
func Give(port int) {
	mu.Lock()
	defer mu.Unlock()
	if taken[port]--; taken[port] <= 0 {
		delete(taken, port)
	}
}

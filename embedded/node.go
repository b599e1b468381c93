package embedded

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/test/ports"
)

// node is one Redis node: an address, and at any time at most one process that
// serves it. Here, a process is what a restart replaces.
type node struct {
	addr string
	port int // taken until the node is closed, also while it is stopped

	// mu makes each operation on the node one step, waiting for goroutines
	// included. No command ever takes it.
	mu     sync.Mutex
	data   *miniredis.Miniredis // not started while the node is stopped
	proc   *process             // nil while the node is stopped
	closed bool
}

func newNode(l net.Listener) (*node, error) {
	n := &node{addr: l.Addr().String(), port: listenerPort(l), data: newData()}
	proc, err := startProcess(l, n.data)
	if err != nil {
		return nil, err
	}
	n.proc = proc
	return n, n.data.Set(marks.Key, marks.New(proc.runID, proc.started))
}

func newData() *miniredis.Miniredis {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	return m
}

func (n *node) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopLocked()
}

func (n *node) stopLocked() {
	if n.proc != nil {
		n.proc.stop()
		n.proc = nil
	}
}

func (n *node) restart(lose bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.New("the nodes are closed: start new ones")
	}
	n.stopLocked()
	if lose {
		n.data = newData()
	}
	l, err := listenAgain(n.addr)
	if err != nil {
		return fmt.Errorf("%w; stop what listens there, then restart again", err)
	}
	proc, err := startProcess(l, n.data)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	n.proc = proc
	return nil
}

// listenAgain listens on an address that was listened on just now. A process that this one is starting meanwhile has a copy
// of the old listener until it executes its own program.
func listenAgain(addr string) (net.Listener, error) {
	for patience := time.Now().Add(500 * time.Millisecond); ; time.Sleep(time.Millisecond) {
		l, err := net.Listen("tcp", addr)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(patience) {
			return l, err
		}
	}
}

func (n *node) pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.freeze()
	}
}

func (n *node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.proc.thaw()
	}
}

func (n *node) commands() map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return map[string]int64{}
	}
	return n.proc.commands()
}

func (n *node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopLocked()
	if !n.closed {
		ports.Give(n.port)
	}
	n.closed = true
	n.data = nil
}

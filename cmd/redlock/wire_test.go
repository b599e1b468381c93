//go:build unix

package main

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// wire is a connection to a node that can be cut.
type wire struct {
	l     net.Listener
	node  string
	wg    sync.WaitGroup
	mu    sync.Mutex
	gone  bool
	conns []net.Conn
}

func newWire(t *testing.T, nodeURL string) *wire {
	t.Helper()
	u, err := url.Parse(nodeURL)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, node: u.Host}
	w.wg.Go(w.serve)
	t.Cleanup(func() { w.cut(); w.wg.Wait() })
	return w
}

func (w *wire) url() string { return "redis://" + w.l.Addr().String() }

func (w *wire) serve() {
	for {
		near, err := w.l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.node)
		if err != nil || !w.keep(near, far) {
			near.Close()
			continue
		}
		w.wg.Go(func() { _, _ = io.Copy(near, far); near.Close() })
		w.wg.Go(func() { _, _ = io.Copy(far, near); far.Close() })
	}
}

func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		for _, c := range conns {
			c.Close()
		}
		return false
	}
	w.conns = append(w.conns, conns...)
	return true
}

func (w *wire) cut() {
	w.l.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	for _, c := range w.conns {
		c.Close()
	}
}

//go:build unix

package chaos

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// direction is one of the two directions of a link.
type direction int

const (
	toNode direction = iota
	toClient
)

// gate decides what happens to bytes in one direction of a link.
type gate int

const (
	pass gate = iota
	hold      // they wait, and arrive when the gate passes again, even on connections that were abandoned in the meantime
	lose      // they are lost, and their connections break when the gate passes again
)

// weather is the state of a link.
type weather struct {
	gates    [2]gate
	delay    [2]time.Duration // maximum random delay
	distance time.Duration    // additional delay of all bytes
}

// link is a TCP proxy between one client and one node.
type link struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	node    string // target of new connections
	now     weather
	changed chan struct{} // closed when now changes
	relays  map[*relay]struct{}
	closed  bool
}

// relay is one connection through a link.
type relay struct {
	l            *link
	client, node net.Conn
	gone         chan struct{} // closed when the relay has ended
	once         sync.Once
	ruined       [2]bool // bytes were lost in this direction; guarded by link.mu
}

func newLink(node string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{listener: listener, node: node, changed: make(chan struct{}), relays: map[*relay]struct{}{}}
	l.wg.Go(l.accept)
	return l, nil
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) target() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.node
}

// move makes new connections lead to another server. Existing ones stay.
func (l *link) move(node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.node = node
}

func (l *link) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.serve(conn) })
	}
}

// serve dials the node once bytes can reach it, like a handshake, and relays both directions.
func (l *link) serve(client net.Conn) {
	r := &relay{l: l, client: client, gone: make(chan struct{})}
	if !l.enter(r) {
		reset(client)
		return
	}
	defer l.leave(r)
	if !l.await(r, toNode) {
		return
	}
	node, err := net.DialTimeout("tcp", l.target(), nodeTimeout)
	if err != nil {
		return
	}
	l.mu.Lock()
	r.node = node
	l.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { l.carry(r, toNode, client, node) })
	wg.Go(func() { l.carry(r, toClient, node, client) })
	wg.Wait()
}

func (l *link) enter(r *relay) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.relays[r] = struct{}{}
	}
	return !l.closed
}

func (l *link) leave(r *relay) {
	r.end()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.relays, r)
	if r.node != nil {
		reset(r.node)
	}
}

// end breaks the connection for both ends.
func (r *relay) end() {
	r.once.Do(func() { close(r.gone) })
	reset(r.client)
}

// reset closes a connection so that the other end notices at once.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// await waits until bytes in a direction are not held. It reports false if the relay has ended.
func (l *link) await(r *relay, d direction) bool {
	for {
		l.mu.Lock()
		held, changed := l.now.gates[d] != pass, l.changed
		l.mu.Unlock()
		if !held {
			return true
		}
		select {
		case <-changed:
		case <-r.gone:
			return false
		}
	}
}

type chunk struct {
	bytes []byte
	due   time.Time
}

// carry copies bytes from one end to the other. After the source has closed, bytes that were already read still arrive.
func (l *link) carry(r *relay, d direction, from, to net.Conn) {
	chunks := make(chan chunk, 256)
	l.wg.Go(func() {
		defer close(chunks)
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				select {
				case chunks <- chunk{buf[:n], time.Now().Add(l.delay(d))}:
				case <-r.gone:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for c := range chunks {
		if !l.deliver(r, d, to, c) {
			break
		}
	}
	if d == toClient {
		r.end() // the node closed it, or does not listen
	} else {
		_ = to.(*net.TCPConn).CloseWrite()
	}
	for range chunks { // the reader ends when its connection does
	}
}

func (l *link) delay(d direction) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now.delay[d] == 0 {
		return l.now.distance
	}
	return l.now.distance + rand.N(l.now.delay[d])
}

// deliver writes one chunk when it is due and the gate lets it pass.
func (l *link) deliver(r *relay, d direction, to net.Conn, c chunk) bool {
	if wait := time.Until(c.due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-r.gone:
			return false
		}
	}
	l.mu.Lock()
	lost := l.now.gates[d] == lose || r.ruined[d]
	r.ruined[d] = lost
	l.mu.Unlock()
	if lost {
		return true
	}
	if !l.await(r, d) {
		return false
	}
	_, err := to.Write(c.bytes)
	return err == nil
}

// set changes the weather. Connections that have lost bytes break when bytes pass again.
func (l *link) set(w weather) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = w
	close(l.changed)
	l.changed = make(chan struct{})
	for r := range l.relays {
		if r.ruined != [2]bool{} && w.gates == [2]gate{} {
			r.end()
			if r.node != nil {
				reset(r.node)
			}
		}
	}
}

// snap breaks all connections.
func (l *link) snap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r := range l.relays {
		r.end()
		if r.node != nil {
			reset(r.node)
		}
	}
}

func (l *link) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.snap()
	l.wg.Wait()
}

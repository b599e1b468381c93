package embedded

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/venta-hq/redlock/internal/test/ports"
)

// Nodes is a set of Redis nodes that run in this process, started by [Start] or
// [StartAt]. All methods may be called concurrently. They panic if the index of
// a node is not in the range from 0 to Len()-1.
type Nodes struct {
	nodes []*node
}

// Start starts n nodes on free ports of 127.0.0.1. The caller must Close them.
func Start(n int) (*Nodes, error) {
	if n < 1 {
		return nil, fmt.Errorf("embedded: n is %d: ask for at least one node, or for 3 or 5 to survive the loss of 1 or 2", n)
	}
	listeners := make([]net.Listener, 0, n)
	for range n {
		l, _, err := ports.Take()
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("embedded: no free port for node %d of %d: %w; ask for fewer nodes, or name the addresses with StartAt", len(listeners), n, err)
		}
		listeners = append(listeners, l)
	}
	return serve(listeners)
}

// StartAt starts one node on each of the addresses, in their order. An address
// is a loopback IP address and a port, such as "127.0.0.1:7101". The caller
// must Close the nodes.
func StartAt(addrs ...string) (*Nodes, error) {
	if err := checkAddrs(addrs); err != nil {
		return nil, err
	}
	listeners := make([]net.Listener, 0, len(addrs))
	for i, addr := range addrs {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			closeAll(listeners)
			return nil, fmt.Errorf("embedded: addrs[%d] %q: %w; stop what listens there, or name another port", i, addr, err)
		}
		ports.Keep(listenerPort(l))
		listeners = append(listeners, l)
	}
	return serve(listeners)
}

// checkAddrs reports everything that is wrong with addrs in one error.
func checkAddrs(addrs []string) error {
	if len(addrs) == 0 {
		return errors.New("embedded: addrs is empty: name at least one address, or use Start for free ports")
	}
	var faults []error
	first := make(map[string]int, len(addrs))
	for i, addr := range addrs {
		if err := checkAddr(addr); err != nil {
			faults = append(faults, fmt.Errorf("embedded: addrs[%d] %q: %w", i, addr, err))
			continue
		}
		if j, dup := first[addr]; dup {
			faults = append(faults, fmt.Errorf("embedded: addrs[%d] %q is the address of addrs[%d] too: give each node its own port", i, addr, j))
			continue
		}
		first[addr] = i
	}
	return errors.Join(faults...)
}

func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("not an address: write it as 127.0.0.1:7101")
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("host %q is not a loopback IP address: the nodes have no password, use 127.0.0.1", host)
	}
	// A number in any other notation could hide a duplicate.
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("port %q is not a number from 1 to 65535: name one, or use Start for free ports", port)
	}
	return nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // nothing was accepted on it
		ports.Give(listenerPort(l))
	}
}

func listenerPort(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// serve makes a node of each listener.
func serve(listeners []net.Listener) (*Nodes, error) {
	s := &Nodes{nodes: make([]*node, 0, len(listeners))}
	for i, l := range listeners {
		n, err := newNode(l)
		if err != nil {
			s.Close()
			closeAll(listeners[i:])
			return nil, fmt.Errorf("embedded: node %d at %s: %w", i, l.Addr(), err)
		}
		s.nodes = append(s.nodes, n)
	}
	return s, nil
}

// URLs returns the nodes' addresses in the order of their indexes, each as
// "redis://127.0.0.1:PORT". Restarts do not change them.
func (s *Nodes) URLs() []string {
	urls := make([]string, len(s.nodes))
	for i, n := range s.nodes {
		urls[i] = "redis://" + n.addr
	}
	return urls
}

// Len returns the number of nodes.
func (s *Nodes) Len() int { return len(s.nodes) }

// Stop kills node i: its connections break, new ones are refused, and commands
// that a paused node had accepted are lost. Its data is kept for
// [Nodes.Restart]. Stopping a stopped node does nothing.
func (s *Nodes) Stop(i int) { s.node(i).stop() }

// Restart starts node i again on its address, and stops it first if it is
// running or paused. The node has a new run_id, an uptime of zero and no cached
// scripts; if lose is true, it has also lost its data. Keys that expired while
// the node was stopped are gone in either case. Restart fails if the address is
// in use or the nodes are closed; the node is then stopped.
func (s *Nodes) Restart(i int, lose bool) error {
	if err := s.node(i).restart(lose); err != nil {
		return fmt.Errorf("embedded: restart of node %d: %w", i, err)
	}
	return nil
}

// Pause freezes node i: it accepts connections and commands, but executes and
// answers nothing until [Nodes.Resume]. When Pause returns, no command is being
// executed. Pausing a paused or stopped node does nothing.
func (s *Nodes) Pause(i int) { s.node(i).pause() }

// Resume lets node i continue after [Nodes.Pause]. The node first executes the
// commands that it accepted during the pause, in the order of arrival. Resume
// does not wait for that. Resuming a node that is not paused does nothing.
func (s *Nodes) Resume(i int) { s.node(i).resume() }

// Commands returns how often node i executed each command since it last
// started. The names are those of INFO commandstats, in lower case and with the
// subcommand if there is one, such as "evalsha" or "config|get". A script
// counts as the command that ran it; the commands within are not counted. A
// stopped node has an empty map. The caller owns the map.
func (s *Nodes) Commands(i int) map[string]int64 { return s.node(i).commands() }

// Close stops all nodes, waits for their goroutines, and drops their data. It
// may be called again.
func (s *Nodes) Close() {
	for _, n := range s.nodes {
		n.close()
	}
}

func (s *Nodes) node(i int) *node {
	if i < 0 || i >= len(s.nodes) {
		panic(fmt.Sprintf("embedded: node %d does not exist: the set has %d nodes, counted from 0", i, len(s.nodes)))
	}
	return s.nodes[i]
}

//go:build unix

package chaos

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// How often processes report their pace, and how often nodes are asked.
const (
	paceEvery = time.Second
	tripEvery = 100 * time.Millisecond
)

// pace records how much a process was delayed in a window of time.
type pace struct {
	Client int            `json:"client"` // 0: the driver
	From   int64          `json:"from"`
	To     int64          `json:"to"`
	Report machine.Report `json:"report"`
}

// trip is a round trip from the driver to a node on a link without faults.
type trip struct {
	Node int   `json:"node"`
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// watchPace measures this process, window after window, until stop is closed.
func watchPace(stop <-chan struct{}, take func(from, to int64, r machine.Report)) {
	meter := machine.Start()
	defer meter.Stop()
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for over := false; !over; {
		from, began := now(), time.Now()
		select {
		case <-tick.C:
		case <-stop:
			over = true
		}
		take(from, now(), meter.Since(began))
	}
}

// slowness returns the processes and nodes that were too slow to judge progress. It is empty if the machine was not
// slow.
func (h *history) slowness() (slow []string) {
	for _, s := range h.speeds() {
		if s.Slow() {
			slow = append(slow, s.String())
		}
	}
	return slow
}

// speed records how much one process or node was delayed over a whole run.
type speed struct {
	of   string
	node bool
	machine.Report
}

func (s speed) String() string {
	if s.node {
		return fmt.Sprintf("%s answered within %v at worst, %v in all of %v",
			s.of, s.Worst.Round(time.Millisecond), s.Late.Round(time.Millisecond), s.Window.Round(time.Millisecond))
	}
	return s.of + ": " + s.Report.String()
}

// speeds summarizes the measurements. It leaves out the times in which a fault had stopped the client or affected the
// node, because the machine did not cause these delays.
func (h *history) speeds() []speed {
	var all []speed
	of := func(name string, node bool) *speed {
		i := slices.IndexFunc(all, func(s speed) bool { return s.of == name })
		if i < 0 {
			i = len(all)
			all = append(all, speed{of: name, node: node})
		}
		return &all[i]
	}
	for _, p := range h.Paces {
		name := "the driver"
		if p.Client != 0 {
			name = fmt.Sprintf("client %d", p.Client)
		}
		if !h.haltedIn(p) {
			of(name, false).add(p.Report)
		}
	}
	for _, t := range h.Trips {
		if took := time.Duration(t.To - t.From); !h.hurtIn(t) {
			of(fmt.Sprintf("node %d", t.Node), true).add(machine.Report{Window: max(took, tripEvery), Worst: took, Late: took})
		}
	}
	return all
}

func (s *speed) add(r machine.Report) {
	if window := s.Window + r.Window; window > 0 {
		part := float64(r.Window) / float64(window)
		s.Starved += part * (r.Starved - s.Starved)
		s.Wait += time.Duration(part * float64(r.Wait-s.Wait))
	}
	s.Window, s.Worst, s.Late = s.Window+r.Window, max(s.Worst, r.Worst), s.Late+r.Late
}

// haltedIn reports whether a fault had stopped the client in the window.
func (h *history) haltedIn(p pace) bool {
	return slices.ContainsFunc(h.Stalls, func(s stall) bool {
		return s.Halted && s.Client == p.Client && s.From <= p.To && p.From <= s.To+int64(paceEvery)
	})
}

// hurtIn reports whether a fault of the node may have made the round trip longer.
func (h *history) hurtIn(t trip) bool {
	return slices.ContainsFunc(h.Faults, func(f span) bool {
		return slices.Contains(f.Nodes, t.Node) && f.From <= t.To && t.From <= f.To+int64(recovery)
	})
}

// prober repeatedly asks every node, each on a link of its own, so that a server without processor time is noticed as
// well.
type prober struct {
	links []*link
	stop  chan struct{}
	wg    sync.WaitGroup

	mu    sync.Mutex
	trips []trip
}

func startProber(nodes []string) (*prober, error) {
	p := &prober{stop: make(chan struct{})}
	for _, node := range nodes {
		l, err := newLink(node)
		if err != nil {
			p.close()
			return nil, err
		}
		p.links = append(p.links, l)
	}
	for n := range p.links {
		p.wg.Go(func() { p.probe(n) })
	}
	return p, nil
}

// probe asks one node repeatedly. It records no round trip without an answer, nor the first one of a connection, which
// includes dialing.
func (p *prober) probe(n int) {
	tick := time.NewTicker(tripEvery)
	defer tick.Stop()
	var conn net.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close()
		}
	}()
	for {
		select {
		case <-tick.C:
		case <-p.stop:
			return
		}
		fresh := conn == nil
		if fresh {
			var err error
			if conn, err = net.DialTimeout("tcp", p.links[n].addr(), nodeTimeout); err != nil {
				conn = nil
				continue
			}
		}
		from := now()
		if err := ping(conn); err != nil {
			_ = conn.Close()
			conn = nil
			continue
		}
		if !fresh {
			p.mu.Lock()
			p.trips = append(p.trips, trip{Node: n, From: from, To: now()})
			p.mu.Unlock()
		}
	}
}

func ping(conn net.Conn) error {
	const pong = "+PONG\r\n"
	if err := conn.SetDeadline(time.Now().Add(nodeTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return err
	}
	answer := make([]byte, len(pong))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if string(answer) != pong {
		return fmt.Errorf("PING was answered with %q", answer)
	}
	return nil
}

// close ends the prober and returns its measurements.
func (p *prober) close() []trip {
	close(p.stop)
	for _, l := range p.links {
		l.close()
	}
	p.wg.Wait()
	return p.trips
}

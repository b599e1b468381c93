package nodeset

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// names is a DNS server for the names of a test's nodes.
type names struct {
	mu    sync.Mutex
	known map[string]string // the address of each name; "": it cannot be resolved
}

func (d *names) set(name, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known[name] = addr
}

// nameServer is asked for names if there is one, in place of the machine's.
var nameServer atomic.Pointer[string]

// Dials go on for a moment when a test is over, so the resolver is replaced before any begins.
func init() {
	machines := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if asked := nameServer.Load(); asked != nil {
			network, address = "udp", *asked
		}
		return (&net.Dialer{Resolver: machines}).DialContext(ctx, network, address)
	}}
}

// resolve has this process ask a new server of names until the end of the test.
// The test must not be parallel to others.
func resolve(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &names{known: map[string]string{}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.serve(conn)
	}()
	asked := conn.LocalAddr().String()
	nameServer.Store(&asked)
	t.Cleanup(func() {
		nameServer.Store(nil)
		conn.Close()
		<-served
	})
	return d
}

func (d *names) serve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n > 12 {
			_, _ = conn.WriteTo(d.answer(buf[:n]), from)
		}
	}
}

// answer answers the one question of a message, with an IPv4 address if there is
// one to give.
func (d *names) answer(query []byte) []byte {
	const typeA, nxDomain = 1, 3
	var labels []string
	end := 12
	for end < len(query) && query[end] != 0 {
		next := end + 1 + int(query[end])
		labels = append(labels, string(query[end+1:next]))
		end = next
	}
	end++
	asked := binary.BigEndian.Uint16(query[end:])
	d.mu.Lock()
	addr := d.known[strings.Join(labels, ".")]
	d.mu.Unlock()
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end+4]...)
	switch {
	case addr == "":
		reply[3] |= nxDomain
	case asked == typeA:
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, net.ParseIP(addr).To4()...)
	}
	return reply
}

// Names are resolved at every dial.
func TestNames_AMinorityThatDoesNotResolveDoesNotMatter(t *testing.T) {
	dns := resolve(t)
	s := harness.Embedded(t, 3)
	var urls []string
	var ports []string
	for i, raw := range s.URLs() {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		name := string(rune('a'+i)) + ".redlock.test"
		urls, ports = append(urls, "redis://"+name+":"+u.Port()), append(ports, u.Port())
		dns.set(name, "127.0.0.1")
	}
	if err := mustOpen(t, Config{URLs: urls}).Close(t.Context()); err != nil { // a new set waits for its last node
		t.Fatal(err)
	}
	dns.set("c.redlock.test", "")
	c := mustOpen(t, Config{URLs: urls})
	up := func(i int) func() bool {
		return func() bool { return c.Status()[i].Up }
	}
	status := c.Status()
	if !status[0].Up || !status[1].Up || status[2].Up || !strings.Contains(status[2].Err.Error(), "no such host") {
		t.Fatalf("%+v", status)
	}
	dns.set("c.redlock.test", "127.0.0.1")
	harness.Eventually(t, "the node whose name resolves now", up(2))

	s.Stop(0)
	moved, err := embedded.StartAt("127.0.0.2:" + ports[0])
	if err != nil {
		t.Skipf("no second loopback address: %v", err)
	}
	defer moved.Close()
	dns.set("a.redlock.test", "127.0.0.2")
	c.Nodes()[0].Run(NewScript("one", "return 1"), nil, nil, nil)
	harness.Eventually(t, "the node that has moved", func() bool {
		return up(0)() && len(moved.Commands(0)) > 0
	})
}

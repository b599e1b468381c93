package record_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/record"
)

var histories = flag.Int("histories", 12, "how many histories TestRegister_HistoriesUnderFaultsKeepThePromises plays")

// Writers come and go, each in a process of its own, in virtual time. What they
// send is delayed, for longer than they wait for it or not, and lost, and so
// are the answers; an overtaken writer goes on until it is refused. Then
//
//   - a write that was acknowledged is found by every newer writer, or something newer is;
//   - what one writer found, or something written since by one at least as new, is found by the next: it never goes
//     backwards, and what an overtaken one wrote without success does not come up.
func TestRegister_HistoriesUnderFaultsKeepThePromises(t *testing.T) {
	seeds := *histories
	var total history
	defer emptyPools()
	for seed := range seeds {
		h := &history{seed: int64(seed)}
		emptyPools()
		synctest.Test(t, h.run)
		h.judge(t)
		if t.Failed() {
			return
		}
		total.add(h)
	}
	if total.overtaken == 0 || total.unknown == 0 || len(total.found) < seeds || len(total.writes) < seeds {
		t.Errorf("the histories do not hold what they are to show: %d found, %d written, %d overtaken, %d unknown",
			len(total.found), len(total.writes), total.overtaken, total.unknown)
	}
	t.Logf("%d resumed, %d written, %d of that overtaken, %d unknown", len(total.found), len(total.writes), total.overtaken, total.unknown)
}

// emptyPools is for go-redis, which keeps used timers in pools of the process;
// a timer belongs to the time it was made in.
func emptyPools() {
	runtime.GC() // what a sync.Pool holds survives one collection
	runtime.GC()
}

type version struct{ token, seq int64 }

func (v version) less(w version) bool {
	return v.token < w.token || v.token == w.token && v.seq < w.seq
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.token, v.seq) }

// history is what the writers saw. A record's data is the version under which
// it was written first.
type history struct {
	seed int64

	mu        sync.Mutex
	token     int64
	found     []found
	writes    []written
	overtaken int
	unknown   int
}

type found struct {
	by   int64
	data version // zero: none
}

type written struct {
	version
	acknowledged bool
}

func (h *history) add(o *history) {
	h.found, h.writes = append(h.found, o.found...), append(h.writes, o.writes...)
	h.overtaken, h.unknown = h.overtaken+o.overtaken, h.unknown+o.unknown
}

func (h *history) run(t *testing.T) {
	var nodes []*miniredis.Miniredis
	for range 3 {
		m := miniredis.NewMiniRedis()
		m.ClockTTL(true)
		t.Cleanup(m.Close)
		nodes = append(nodes, m)
	}
	weather := &weather{random: rand.New(rand.NewSource(h.seed))}
	var wg sync.WaitGroup
	var clusters []*nodeset.Set
	for range 3 {
		clusters = append(clusters, weather.open(t, nodes))
	}
	weather.bad.Store(true)
	for i, c := range clusters {
		random := rand.New(rand.NewSource(h.seed<<8 + int64(i)))
		wg.Go(func() {
			for range 6 {
				h.write(t, c, random)
				time.Sleep(time.Duration(random.Intn(500)) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	weather.bad.Store(false)
	time.Sleep(time.Minute)
	h.resume(t, clusters[0])
	h.resume(t, clusters[1])
}

// resume begins with a new token.
func (h *history) resume(t *testing.T, c *nodeset.Set) (token int64, ok bool) {
	h.mu.Lock()
	h.token++
	token = h.token
	h.mu.Unlock()
	r, some, err := record.Resume(t.Context(), c, key, token, ttl)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		return 0, false
	}
	f := found{by: token}
	if some {
		fmt.Sscanf(string(r.Data), "%d.%d", &f.data.token, &f.data.seq)
		if r.Origin != f.data.token {
			t.Errorf("seed %d: token %d found %s, and its origin is said to be %d", h.seed, token, r.Data, r.Origin)
		}
	}
	h.found = append(h.found, f)
	return token, true
}

// write is the work of one writer.
func (h *history) write(t *testing.T, c *nodeset.Set, random *rand.Rand) {
	token, ok := h.resume(t, c)
	if !ok {
		return
	}
	for seq := int64(1); seq <= int64(random.Intn(5)); seq++ {
		time.Sleep(time.Duration(random.Intn(300)) * time.Millisecond)
		v := version{token, seq}
		r := record.Record{Token: token, Seq: seq, Origin: token, Data: []byte(v.String())}
		err := record.Write(t.Context(), c, key, r, ttl)
		h.mu.Lock()
		h.writes = append(h.writes, written{v, err == nil})
		if errors.Is(err, record.ErrOvertaken) {
			h.overtaken++
		} else if err != nil {
			h.unknown++
		}
		h.mu.Unlock()
		if errors.Is(err, record.ErrOvertaken) {
			return
		}
	}
}

func (h *history) judge(t *testing.T) {
	t.Helper()
	slices.SortFunc(h.found, func(a, b found) int { return int(a.by - b.by) })
	for i, f := range h.found {
		for _, w := range h.writes {
			if w.acknowledged && w.token < f.by && f.data.less(w.version) {
				t.Errorf("seed %d: token %d found %v, and %v was acknowledged", h.seed, f.by, f.data, w.version)
			}
		}
		if i > 0 {
			if before := h.found[i-1]; f.data != before.data && f.data.token < before.by {
				t.Errorf("seed %d: token %d found %v, and before it token %d found %v", h.seed, f.by, f.data, before.by, before.data)
			}
		}
	}
}

// weather is what the networks of all processes do.
type weather struct {
	bad    atomic.Bool
	mu     sync.Mutex
	random *rand.Rand
}

const nodeTimeout = 100 * time.Millisecond

func (w *weather) open(t *testing.T, nodes []*miniredis.Miniredis) *nodeset.Set {
	clients := map[string]redis.UniversalClient{}
	for i, node := range nodes {
		clients[fmt.Sprint("node", i)] = redis.NewClient(&redis.Options{
			Addr:   "127.0.0.1:1",
			Dialer: func(context.Context, string, string) (net.Conn, error) { return w.through(node.Dial()) },
		})
	}
	c, err := nodeset.Open(t.Context(), nodeset.Config{Clients: clients, NodeTimeout: nodeTimeout, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close(context.Background())
		for _, client := range clients {
			client.Close()
		}
	})
	return c
}

// fate is what becomes of something that is sent.
func (w *weather) fate() (delay time.Duration, arrives, answered bool) {
	if !w.bad.Load() {
		return 0, true, true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch n := w.random.Intn(100); {
	case n < 6: // lost
		return 0, false, false
	case n < 12: // the answer is lost
		return time.Duration(w.random.Int63n(int64(nodeTimeout))), true, false
	case n < 20: // it comes when nobody waits for it any more
		return nodeTimeout + time.Duration(w.random.Int63n(int64(10*nodeTimeout))), true, false
	}
	return time.Duration(w.random.Int63n(int64(nodeTimeout / 2))), true, true
}

// wire is a connection. What is sent arrives in order, also after the sender
// has closed it.
type wire struct {
	net.Conn
	w    *weather
	mute atomic.Bool
	mu   sync.Mutex
	out  chan parcel
	shut bool
}

type parcel struct {
	at   time.Time
	data []byte
}

func (w *weather) through(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	c := &wire{Conn: conn, w: w, out: make(chan parcel, 1<<12)}
	go func() {
		for p := range c.out {
			time.Sleep(time.Until(p.at))
			conn.Write(p.data)
		}
		conn.Close()
	}()
	return c, nil
}

func (c *wire) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return 0, net.ErrClosed
	}
	delay, arrives, answered := c.w.fate()
	if !answered {
		c.mute.Store(true)
	}
	if arrives {
		c.out <- parcel{time.Now().Add(delay), slices.Clone(b)}
	}
	return len(b), nil
}

func (c *wire) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.mute.Load() {
			return n, err
		}
	}
}

func (c *wire) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shut {
		return net.ErrClosed
	}
	c.shut = true
	close(c.out)
	return nil
}

func (c *wire) SetDeadline(at time.Time) error   { return c.Conn.SetReadDeadline(at) }
func (c *wire) SetWriteDeadline(time.Time) error { return nil }

package nodeset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// goRedisLog is what go-redis prints.
type goRedisLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *goRedisLog) Printf(_ context.Context, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
}

// about are the lines that name a port: tests that run beside this one may have
// others printed.
func (l *goRedisLog) about(urls []string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.lines), func(line string) bool {
		return !slices.ContainsFunc(urls, func(url string) bool { return strings.Contains(line, url[strings.LastIndex(url, ":"):]) })
	})
}

func TestDial_FailuresAreLoggedHereAndNowhereElse(t *testing.T) {
	var beside goRedisLog
	redis.SetLogger(&beside)
	defer redis.SetLogger(&logging.VoidLogger{})
	s := harness.Embedded(t, 3)
	var out lockedBuffer
	c := open(t, s, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	s.Stop(0)
	n := c.Nodes()[0]
	for range 2 * poolSize {
		if n.client.Ping(t.Context()).Err() == nil {
			t.Fatal("a stopped node answers")
		}
	}
	n.Run(NewScript("one", "return 1"), nil, nil, nil)
	harness.Eventually(t, "a line about the node", func() bool { return strings.Contains(out.String(), "node down") })
	if lines := beside.about(s.URLs()); len(lines) > 0 {
		t.Errorf("go-redis printed %d lines: %s", len(lines), lines[0])
	}
	if !strings.Contains(out.String(), "connection refused") {
		t.Errorf("the line does not say why: %s", out.String())
	}
	if err := s.Restart(0, false); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the node to be up", func() bool { return n.Up() && n.client.Ping(t.Context()).Err() == nil })
}

// Whatever is asked of a node that refuses every new connection, and owed to it, it is dialled as often as it is probed.
func TestDial_ANodeThatLetsNobodyInIsDialledAtThePaceOfProbes(t *testing.T) {
	emptyPools()
	defer emptyPools()
	synctest.Test(t, func(t *testing.T) {
		node := newPiped(t)
		c := node.open(t)
		defer shut(t, c)
		n := c.Nodes()[0]
		ran(t, n, pingScript, nil)
		node.RequireAuth("another")
		node.drop()
		before := node.dials()

		const asked, times = 100 * time.Millisecond, 600
		for i := range times {
			if a := run(t, n, pingScript, nil); a.err == nil {
				t.Fatalf("a node that lets nobody in answers %v", a)
			}
			if i%10 == 0 {
				n.SendLater(pushScript.Command([]string{"list"}, i), time.Time{})
			}
			time.Sleep(asked)
		}
		if status := c.Status()[0]; status.Up || !strings.Contains(status.Err.Error(), "NOAUTH") {
			t.Errorf("its status is %+v", status)
		}
		probes := 2 + mostPauses(times*asked) // what noticed it, and the probe at once
		// A probe is a pipeline: where go-redis's pool for these has no connection, it tries its other pool.
		if dials := node.dials() - before; dials > 2*probes || dials < int(times*asked/(2*time.Second)) {
			t.Errorf("%d dials within %v; there are at most %d probes", dials, times*asked, probes)
		}
	})
}

// mostPauses is how many pauses of a pace there are at most within a time.
func mostPauses(within time.Duration) (n int) {
	pace := newPace()
	pace.RandomizationFactor = 0
	for spent := time.Duration(0); spent < within; n++ {
		spent += pace.NextBackOff() / 2 // the jitter makes a pause shorter by at most half
	}
	return n
}

// piped is a node without sockets, for the virtual time of a bubble.
type piped struct {
	*miniredis.Miniredis
	mu    sync.Mutex
	conns []net.Conn // all that were ever made
}

func newPiped(t *testing.T) *piped {
	p := &piped{Miniredis: miniredis.NewMiniRedis()}
	t.Cleanup(p.Close)
	return p
}

func (p *piped) open(t *testing.T) *Set {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Dialer: func(context.Context, string, string) (net.Conn, error) {
		conn, err := p.Dial()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.conns = append(p.conns, conn)
		return conn, err
	}})
	t.Cleanup(func() { client.Close() })
	c, err := Open(t.Context(), Config{Clients: map[string]redis.UniversalClient{"node": client}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drop breaks every connection.
func (p *piped) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		conn.Close()
	}
}

func (p *piped) dials() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// emptyPools takes out of go-redis's pools, which are the whole process's, the timers of another time.
func emptyPools() {
	runtime.GC() // what a sync.Pool holds survives one collection
	runtime.GC()
}

func TestDial_NothingIsDialledForACallerThatHasGone(t *testing.T) {
	t.Parallel()
	dial := quietly(func(context.Context, string, string) (net.Conn, error) {
		t.Error("it dials")
		return nil, errors.New("no node")
	}, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	conn, err := dial(ctx, "tcp", "node")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a connection that was not made fails with %v", err)
	}
}

// A failed dial that its caller did not wait for stays in the pool of connections; whoever asks next dials anew.
func TestDial_AFailureThatNobodyWaitedForIsNotUsedLater(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("go-redis looks at no connection there before it is used again")
	}
	node := harness.Embedded(t, 1)
	addr := hostOf(t, node.URLs()[0])
	fail := make(chan struct{})
	var dials atomic.Int64
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DialerRetries: 1, Dialer: quietly(func(ctx context.Context, _, _ string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			<-fail
			return nil, errors.New("refused")
		}
		return net.Dial("tcp", addr)
	}, time.Hour)})
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- client.Ping(ctx).Err() }()
	harness.Eventually(t, "it dials", func() bool { return dials.Load() == 1 })
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("a caller that has gone got %v", err)
	}
	close(fail)
	harness.Eventually(t, "the failure is in the pool", func() bool { return client.PoolStats().IdleConns == 1 })
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the next caller got %v", err)
	}
}

// A connection is not used for longer than it may be, whatever go-redis makes of its age. Subscriptions are.
func TestDial_AConnectionIsNotUsedForLonger(t *testing.T) {
	t.Parallel()
	for first, want := range map[string]error{
		"*1\r\n$4\r\nping\r\n":                              errAged,
		"*2\r\n$9\r\nsubscribe\r\n$1\r\na\r\n":              nil,
		"*11\r\n$9\r\nsubscribe\r\n$1\r\na\r\n":             nil,
		"*3\r\n$3\r\nset\r\n$9\r\nsubscribe\r\n$1\r\na\r\n": errAged,
	} {
		ours, theirs := net.Pipe()
		go io.Copy(io.Discard, theirs)
		conn := bounded(ours, time.Hour)
		if _, err := conn.Write([]byte(first)); err != nil {
			t.Errorf("%q: %v", first, err)
		}
		conn.(*boundedConn).made = time.Now().Add(-2 * time.Hour)
		if _, err := conn.Write([]byte("*1\r\n$4\r\nping\r\n")); err != want {
			t.Errorf("%q, and two hours later: %v, want %v", first, err, want)
		}
		conn.Close()
		theirs.Close()
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

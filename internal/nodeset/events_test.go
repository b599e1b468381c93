package nodeset

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// logged is what a Cluster logged, without the times.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestLog_FewLinesOfOneKind(t *testing.T) {
	t.Parallel()
	var s saying
	now := time.Now()
	var got []string
	for i := range 20 {
		if dropped, ok := s.allow(now.Add(time.Duration(i) * time.Second)); ok {
			got = append(got, fmt.Sprintf("%d:%d", i, dropped))
		}
	}
	if want := "0:0 1:0 2:0 3:0 4:0 10:5 11:0 12:0 13:0 14:0"; strings.Join(got, " ") != want {
		t.Errorf("second and lines left out before: %v, want %s", got, want)
	}
}

func TestLog_OneKindDoesNotSilenceAnother(t *testing.T) {
	t.Parallel()
	var log logged
	c := open(t, harness.Embedded(t, 3), func(cfg *Config) { cfg.Logger = log.logger() })
	for i := range 2 * sayAtMost {
		c.Say(slog.LevelWarn, "one", "i", i)
		c.sayOf(c.Nodes()[0], slog.LevelWarn, "one", "i", i)
	}
	c.Say(slog.LevelWarn, "two")
	shut(t, c)
	all := log.String()
	for what, want := range map[string]int{"redlock: one": 2 * sayAtMost, "node=": sayAtMost, "redlock: two": 1} {
		if got := strings.Count(all, what); got != want {
			t.Errorf("%q is there %d times, want %d:\n%s", what, got, want, all)
		}
	}
	if first, last := strings.Index(all, "i=0"), strings.Index(all, "i=4"); first < 0 || last < first {
		t.Errorf("the lines are not in order:\n%s", all)
	}
}

// stuck is a handler that waits for a terminal, as it were.
type stuck struct {
	gate chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	<-s.gate
	return len(p), nil
}

// fall stops node i, and waits until it is known to be down.
func fall(t *testing.T, s harness.Set, c *Set, i int) {
	t.Helper()
	s.Stop(i)
	harness.Eventually(t, "the node to be down", func() bool {
		run(t, c.Nodes()[i], pingScript, nil)
		return !c.Nodes()[i].Up()
	})
}

func TestLog_AStuckHandlerDelaysNoCommand(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	gate := make(chan struct{})
	c := open(t, s, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(stuck{gate: gate}, nil)) })
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // before the Cluster is closed, which waits for the lines
	fall(t, s, c, 0)
	if err := s.Restart(0, false); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the node to recover", func() bool { return c.Nodes()[0].Up() })
	ran(t, c.Nodes()[0], pingScript, nil)
}

func TestLog_ALostQuorumIsLoggedOnceEachTime(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	var log logged
	c := open(t, s, func(cfg *Config) { cfg.Logger = log.logger() })
	fall(t, s, c, 0)
	if strings.Contains(log.String(), "quorum") {
		t.Errorf("two of three are a quorum:\n%s", log.String())
	}
	fall(t, s, c, 1)
	fall(t, s, c, 2)
	harness.Eventually(t, "the line in the log", func() bool { return strings.Contains(log.String(), "no quorum") })
	// All are back, and none votes.
	for i := range 3 {
		if err := s.Restart(i, false); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "the node to recover", func() bool { return c.Nodes()[i].Up() })
	}
	for _, n := range c.Nodes() { // as when it is over
		e := *n.evidence.Load()
		e.ripe = math.MinInt64
		n.evidence.Store(&e)
	}
	c.logQuorumChange()
	shut(t, c)
	all := log.String()
	if strings.Count(all, "no quorum") != 1 || strings.Count(all, "level=ERROR") != 1 || strings.Count(all, "a quorum again") != 1 {
		t.Errorf("the log is\n%s", all)
	}
	if !strings.Contains(all, "nodes=3 need=2 voting=1") {
		t.Errorf("it does not say how many are missing:\n%s", all)
	}
}

func TestQuarantine_ItsEndIsNoticedWithoutACommand(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	var log logged
	c := open(t, s, shortTTL, func(cfg *Config) { cfg.Logger = log.logger() })
	fall(t, s, c, 0)
	if err := s.Restart(0, false); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the quarantine to be over", func() bool { return strings.Contains(log.String(), "a quorum again") })
}

func TestLog_AClockThatIsOffIsLoggedUntilItIsRight(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	var log logged
	c := open(t, s, func(cfg *Config) { cfg.Logger = log.logger() })
	n := c.Nodes()[0]
	for _, offset := range []time.Duration{0, 400 * time.Millisecond, -3 * time.Second, -3 * time.Second, 0, time.Minute} {
		n.mu.Lock()
		n.offset = offset
		n.mu.Unlock()
		n.sayClock()
	}
	shut(t, c)
	all := log.String()
	if strings.Count(all, "clocks of the node and of this machine differ") != 2 || !strings.Contains(all, "offset=-3s") || !strings.Contains(all, "offset=1m0s") {
		t.Errorf("the log is\n%s", all)
	}
}

package nodeset

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// began has node i of c have a mark whose memory began so long ago.
func began(c *Set, i int, state markState, ago time.Duration) {
	at := time.Now().Add(-ago).UnixMilli()
	c.nodes[i].evidence.Store(&evidence{mark: mark{memory: "m", state: state, begun: stamp{at, at}}})
}

func TestCheck_RestartsThatAreTooCloseAreAWarning(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begun []time.Duration // 0: bootstrapped with its set
		state markState
		want  string
	}{
		{"none", []time.Duration{0, 0, 0}, stateSeen, ""},
		{"one", []time.Duration{time.Minute, 0, 0}, stateSeen, ""},
		{"a quarantine between", []time.Duration{time.Minute, 4 * time.Minute, 0}, stateSeen, ""},
		{"less between", []time.Duration{90 * time.Second, 0, time.Minute}, stateSeen, "warning: set: nodes a, c restarted too close together: within 30s"},
		{"added, by a bootstrap or a resize", []time.Duration{90 * time.Second, 0, time.Minute}, stateAdded, ""},
		{"long ago", []time.Duration{25 * time.Hour, 25*time.Hour + time.Second, 0}, stateSeen, ""},
	} {
		c := bareCluster(time.Now(), 3)
		for i, ago := range tt.begun {
			if ago > 0 {
				began(c, i, tt.state, ago)
			} else {
				began(c, i, stateRipe, time.Second)
			}
		}
		if got := findings(c.checkRestarts(time.Now())); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: Check says %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestCheck_AClockThatJumpedIsAWarning(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(offset time.Duration) facts { return facts{now: now.Add(offset), asked: now} }
	for _, tt := range []struct {
		name              string
		last, marked, off time.Duration // the node's clock minus this machine's
		age               time.Duration // of the mark
		want              string
	}{
		{"none", 0, 0, 0, 0, ""},
		{"apart from the start", time.Minute, time.Minute, time.Minute, 0, ""},
		{"since the last connection", 0, 0, 5 * time.Second, 0, "its clock has jumped by 5s since 2026-01-02 03:04:05 UTC, or"},
		{"since it was marked", 0, 5 * time.Second, 0, 23 * time.Hour, "its clock has jumped by -5s since 2026-01-01 04:04:05 UTC, or"},
		{"since it was marked, long ago", 0, 5 * time.Second, 0, 24 * time.Hour, ""},
		{"within the tolerance", 0, 900 * time.Millisecond, 0, 0, ""},
	} {
		c := bareCluster(now, 1)
		n := c.nodes[0]
		n.offset, n.facts.asked = tt.last, now
		marked := now.Add(-tt.age)
		n.evidence.Store(&evidence{mark: mark{begun: stamp{marked.UnixMilli(), marked.Add(tt.marked).UnixMilli()}}})
		found := &nodeFindings{node: n.name}
		n.checkJump(found, at(tt.off))
		if got := findings(found.all); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: Check says %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A name that leads to two servers in turns is found by a process that has just begun.
func TestCheck_FindsTwoServersBehindOneName(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 4)
	url := "redis://" + turns(t, hostOf(t, s.URLs()[2]), hostOf(t, s.URLs()[3]))
	c := mustOpen(t, Config{URLs: []string{s.URLs()[0], s.URLs()[1], url}, Partial: true})
	got := c.Check(t.Context())
	if !slices.ContainsFunc(got, func(f Finding) bool {
		return f.Node == c.nodes[2].name && f.Severity == Danger && f.Runbook == RunbookServers && strings.HasPrefix(f.Text, "several servers answer")
	}) {
		t.Errorf("Check says\n%s", findings(got))
	}
	for i := range 2 {
		if c.nodes[i].alternates(time.Now()) {
			t.Errorf("node %d is one server", i)
		}
	}
}

// turns is an address whose connections lead to each target in turn.
func turns(t *testing.T, targets ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	var next atomic.Int64
	wg.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", targets[int(next.Add(1))%len(targets)])
			if err != nil {
				from.Close()
				continue
			}
			wg.Go(func() { _, _ = io.Copy(to, from); to.Close() })
			wg.Go(func() { _, _ = io.Copy(from, to); from.Close() })
		}
	})
	return l.Addr().String()
}

// Whatever Check finds, it names the runbook.
func TestCheck_EveryFindingHasARunbook(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 5)
	all := mustOpen(t, Config{URLs: s.URLs()[:1]}).Check(t.Context())
	all = append(all, mustOpen(t, Config{URLs: s.URLs()[1:3], Partial: true}).Check(t.Context())...)
	if err := s.Restart(4, true); err != nil {
		t.Fatal(err)
	}
	s.Stop(3)
	all = append(all, mustOpen(t, Config{URLs: s.URLs(), Partial: true}).Check(t.Context())...)
	seen := map[Runbook]bool{}
	for _, f := range all {
		if seen[f.Runbook] = true; !slices.Contains(Runbooks, f.Runbook) {
			t.Errorf("%q has the runbook %q", f, f.Runbook)
		}
	}
	for _, r := range []Runbook{RunbookSize, RunbookLists, RunbookBootstrap, RunbookDown, RunbookMemory} {
		if !seen[r] {
			t.Errorf("no finding has the runbook %s, of\n%s", r, findings(all))
		}
	}
	if got, want := fmt.Sprint(RunbookSize.Link()), "docs/oncall.md#sizing"; got != want {
		t.Errorf("the link is %s, want %s", got, want)
	}
}

package nodeset

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func findings(all []Finding) string {
	lines := make([]string, len(all))
	for i, f := range all {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

func TestCheck_WarnsOfTheSizeOfTheSet(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{
		1: "warning: set: there is only one node; locks stop when it stops; use 3, 5 or 7",
		2: "warning: set: 2 nodes tolerate no more failures than 1; use an odd number",
		3: "",
		4: "warning: set: 4 nodes tolerate no more failures than 3; use an odd number",
	} {
		c := open(t, harness.Embedded(t, n))
		var got []Finding
		for _, f := range c.Check(t.Context()) {
			if f.Node == "" {
				got = append(got, f)
			}
		}
		if findings(got) != want {
			t.Errorf("of %d nodes Check says %q, want %q", n, findings(got), want)
		}
	}
}

func TestCheck_OfGoodNodesNotesOnlyThatTheyMayLoseLocks(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		got := open(t, s).Check(t.Context())
		if len(got) != 3 {
			t.Fatalf("Check says\n%s", findings(got))
		}
		for i, f := range got {
			if f.Node != hostOf(t, s.URLs()[i]) || f.Severity != Note || !strings.Contains(f.String(), "note: node "+f.Node+": may lose locks when it crashes") ||
				!strings.Contains(f.Fix, "appendfsync always") {
				t.Errorf("Check says %s", f)
			}
		}
	})
}

func TestCheck_FindsNothingOnNodesThatSync(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Persist: true, Args: []string{"--appendfsync", "always"}})
	if got := open(t, s).Check(t.Context()); len(got) != 0 {
		t.Errorf("Check says\n%s", findings(got))
	}
}

func TestCheck_FindsWhatEndangersLocks(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Args: []string{"--maxmemory-policy", "allkeys-lru"}})
	c := open(t, s)
	restricted := harness.Client(t, s, 1)
	s.Stop(2)
	got := c.Check(t.Context())
	for i, want := range []string{"danger: node " + c.Nodes()[0].Name() + ": evicts keys when its memory is full (maxmemory-policy allkeys-lru)",
		"danger: node " + c.Nodes()[1].Name() + ": evicts keys", "warning: node " + c.Nodes()[2].Name() + ": cannot be reached"} {
		if !strings.Contains(findings(got), want) {
			t.Errorf("Check does not say %d: %q but\n%s", i, want, findings(got))
		}
	}
	if err := restricted.Do(t.Context(), "acl", "setuser", "default", "-info").Err(); err != nil {
		t.Fatal(err)
	}
	if got := findings(c.Check(t.Context())); !strings.Contains(got, "warning: node "+c.Nodes()[1].Name()+": does not report its uptime") {
		t.Errorf("of a restricted node Check says\n%s", got)
	}
}

func TestCheck_NamesTheNodeThatDoesNotVote(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		if err := s.Restart(1, true); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "an answer after the restart", func() bool { return run(t, c.Nodes()[1], pingScript, nil).err == nil })
		got := findings(c.Check(t.Context()))
		if want := "note: node " + c.Nodes()[1].Name() + ": restarted recently and may have lost locks; its vote counts again in 1m"; strings.Count(got, "restarted recently") != 1 || !strings.Contains(got, want) {
			t.Errorf("Check says\n%s", got)
		}
	})
}

func TestCheck_NamesTheKeyOfAnUnusableFenceCounter(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	c := open(t, harness.Embedded(t, 3), func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&out, nil)) })
	c.Nodes()[0].FenceAhead("early", 48*time.Hour)
	c.Nodes()[1].FenceUnusable("last")
	got := findings(c.Check(t.Context()))
	for i, want := range []struct{ check, line string }{
		{`: its fence counter of "early" lies 48h0m0s ahead of this machine's clock`, " key=early ahead=48h0m0s"},
		{`: its fence counter of "last" cannot be raised`, " key=last"},
	} {
		name := c.Nodes()[i].Name()
		if !strings.Contains(got, "danger: node "+name+want.check) {
			t.Errorf("Check does not say %q of node %s, but\n%s", want.check, name, got)
		}
		harness.Eventually(t, "the line about "+name, func() bool { return strings.Contains(out.String(), "node="+name+want.line) })
	}
}

func TestVersion_IsComparedByNumber(t *testing.T) {
	for version, want := range map[string]bool{
		"6.2.0": true, "6.10": true, "7.0.15": true, "10.0.0": true, "6.1.9": false, "5.9": false, "6": false, "x.y": false,
	} {
		if got := atLeast(version, 6, 2); got != want {
			t.Errorf("atLeast(%q) = %t", version, got)
		}
	}
	for version, want := range map[string]bool{"9.1.2": true, "9.1.10": true, "9.2.0": true, "10.0.1": true, "9.1.1": false, "9.1": false, "8.9.9": false} {
		if got := atLeast(version, 9, 1, 2); got != want {
			t.Errorf("atLeast(%q, 9, 1, 2) = %t", version, got)
		}
	}
}

// A node that does not say how it syncs is taken for one that may forget.
func TestCheck_NotesThatConfigGetIsRefused(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Persist: true, Args: []string{"--appendfsync", "always"}})
	if err := harness.Client(t, s, 1).Do(t.Context(), "acl", "setuser", "default", "-config|get").Err(); err != nil {
		t.Fatal(err)
	}
	c := open(t, s)
	got := c.Check(t.Context())
	if want := "note: node " + c.Nodes()[1].Name() + ": does not report appendfsync (CONFIG GET refused)"; strings.Count(findings(got), want) != 1 {
		t.Errorf("Check says\n%s\nwant it to say %s", findings(got), want)
	}
}

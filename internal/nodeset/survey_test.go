package nodeset

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestNode_Scan_FindsKeysWithThePrefix(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s).Nodes()[0]
		client := harness.Client(t, s, 0)
		const many = scanCount + 7
		pipe := client.Pipeline()
		pipe.Set(t.Context(), "ab*:", "x", 0) // what the prefix would match as a pattern
		for i := range many {
			pipe.Set(t.Context(), fmt.Sprintf("a[b]*:%d", i), "x", 0)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		if err := n.Scan(t.Context(), "a[b]*:", func(keys []string) {
			for _, key := range keys {
				found[key] = true
			}
		}); err != nil {
			t.Fatal(err)
		}
		if len(found) != many || !found["a[b]*:0"] {
			t.Errorf("found %d keys, want %d", len(found), many)
		}
		if n := s.Commands(0)["keys"]; n != 0 {
			t.Error("it used KEYS")
		}
	})
}

func TestNode_Scan_VisitsEveryServerOfARedisCluster(t *testing.T) {
	t.Parallel()
	harness.Real(t, 1, redisserver.Options{}) // skips where there is none
	s, err := redisserver.StartSharded(3, redisserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c := mustOpen(t, Config{URLs: []string{s.URL()}})
	n := c.Nodes()[0]
	for i := range 30 {
		ran(t, n, setScript, []string{fmt.Sprintf("k%d", i)}, "x")
	}
	var mu sync.Mutex
	var found []string
	if err := n.Scan(t.Context(), "k", func(keys []string) {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, keys...)
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) != 30 {
		t.Errorf("found %d keys of 30: %q", len(found), found)
	}
}

// A set without a quorum can be looked at, by who asks for that.
func TestSet_Survey_OfAPartialSet(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		s.Stop(0)
		s.Pause(2)
		c := open(t, s, impatient, func(cfg *Config) { cfg.Partial = true })
		began := time.Now()
		got := c.Survey(t.Context())
		harness.Must(t, began, got[1].Err)
		for i, up := range []bool{false, true, false} {
			if r := got[i]; r.Up != up || r.Node != c.Nodes()[i].Name() || (r.Err == nil) != up || (r.Latency > 0) != up {
				t.Errorf("node %d: %+v", i, r)
			}
		}
		if r := got[1]; r.Persistence == "" || r.Eviction != "noeviction" {
			t.Errorf("of a node that is up: %+v", r)
		}
		ran(t, c.Nodes()[1], pingScript, nil)
	})
}

func TestSet_Survey_ReportsPersistence(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]redisserver.Options{
		"none":     {},
		"everysec": {Persist: true},
		"always":   {Persist: true, Args: []string{"--appendfsync", "always"}},
	} {
		r := open(t, harness.Real(t, 1, o)).Survey(t.Context())[0]
		if r.Persistence != want || !r.Up || r.Version == "" || r.ClockOffset.Abs() > clockTolerance {
			t.Errorf("a node that has %s: %+v", want, r)
		}
	}
}

// A Partial Cluster, which looks for what is wrong, says of a node that counts as down why it cannot be used.
func TestCheck_OfAPartialSetNamesTheReplica(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 2, redisserver.Options{})
	master := hostOf(t, s.URLs()[0])
	host, port, _ := strings.Cut(master, ":")
	if err := harness.Client(t, s, 1).Do(t.Context(), "replicaof", host, port).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, Config{URLs: s.URLs()}); err == nil {
		t.Fatal("opened a set with a replica")
	}
	c := mustOpen(t, Config{URLs: s.URLs(), Partial: true})
	want := "danger: node " + c.Nodes()[1].Name() + ": cannot be used: is a replica"
	if got := findings(c.Check(t.Context())); !strings.Contains(got, want) {
		t.Errorf("Check says\n%s\nand not %s", got, want)
	}
}

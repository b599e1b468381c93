package nodeset

import (
	"errors"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestNode_MemoryID_ChangesWithTheRunUnlessFilesAreKept(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		set  func(t *testing.T) harness.Set
		same bool
	}{
		{"embedded", func(t *testing.T) harness.Set { return harness.Embedded(t, 1) }, false},
		{"no files", func(t *testing.T) harness.Set { return harness.Real(t, 1, redisserver.Options{}) }, false},
		{"append-only file", func(t *testing.T) harness.Set { return harness.Real(t, 1, redisserver.Options{Persist: true}) }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.set(t)
			c := open(t, s)
			n := c.Nodes()[0]
			before := n.MemoryID()
			if before == "" {
				t.Fatal("it is not told")
			}
			if err := s.Restart(0, !tt.same); err != nil {
				t.Fatal(err)
			}
			// An answer of the new run never comes before it is known.
			for a := run(t, n, setScript, []string{"k"}, "v"); a.err != nil; a = run(t, n, setScript, []string{"k"}, "v") {
			}
			if same := n.MemoryID() == before; same != tt.same {
				t.Errorf("it is %q, and was %q", n.MemoryID(), before)
			}
		})
	}
}

// A server that reads its append-only file says meanwhile that it keeps none.
func TestNode_MemoryID_IsKeptWhileTheServerIsLoading(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, redisserver.Options{Persist: true, Args: []string{"--appendfsync", "no", "--key-load-delay", "100"}})
	c := open(t, s)
	n, cl := c.Nodes()[0], harness.Client(t, s, 0)
	before := n.MemoryID()
	const keys = 5000 // half a second
	if _, err := cl.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range keys {
			p.Set(t.Context(), fmt.Sprint(i), "x", 0)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.Stop(0)
	run(t, n, setScript, []string{"k"}, "v")
	restarted := make(chan error, 1)
	go func() { restarted <- s.Restart(0, false) }()
	harness.Eventually(t, "the node to recover, or to say that it is loading", func() bool {
		st := c.Status()[0]
		return st.Up || errors.Is(st.Err, errLoading)
	})
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the node to recover", func() bool { return run(t, n, setScript, []string{"k"}, "v").err == nil })
	if got := n.MemoryID(); got != before {
		t.Errorf("its memory is %q, and was %q", got, before)
	}
}

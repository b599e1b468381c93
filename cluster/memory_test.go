package cluster

import (
	"testing"

	"github.com/venta-hq/redlock/internal/nodetest"
	"github.com/venta-hq/redlock/internal/redisproc"
)

func TestMemoryIDChangesWithTheRunUnlessFilesAreKept(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(t *testing.T) nodetest.Set
		same bool
	}{
		{"embedded", func(t *testing.T) nodetest.Set { return nodetest.Embedded(t, 1) }, false},
		{"no files", func(t *testing.T) nodetest.Set { return nodetest.Real(t, 1, redisproc.Options{}) }, false},
		{"append-only file", func(t *testing.T) nodetest.Set { return nodetest.Real(t, 1, redisproc.Options{Persist: true}) }, true},
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

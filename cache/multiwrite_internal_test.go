package cache

import (
	"slices"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// A node that answers anything but the scripts' "1" has confirmed nothing: its
// commands stay pending.
func TestMultiWrite_OnlyTheScriptsReplyConfirms(t *testing.T) {
	t.Parallel()
	nodes := harness.Embedded(t, 1)
	s := open(t, nodes, 10*time.Second)
	n, client := s.nodes[0], harness.Client(t, nodes, 0)
	for _, tt := range []struct {
		reply any
		done  bool
	}{
		{int64(1), true}, {nil, false}, {"OK", false}, {"1", false}, {int64(0), false}, {[]any{int64(1)}, false}, {true, false},
	} {
		must(t, client.Set(t.Context(), s.entryName("k"), "there", 0).Err())
		p := newMultiWrite("delete", "k")
		p.open++ // the nodeWrite
		nodeWrite{p: p, n: n, pending: s.dropping("k"), until: time.Now().Add(time.Hour)}.Receive(n.Node, tt.reply, nil)
		p.close()
		harness.Receive(t, "the post to be done", p.done)
		if p.took(n) != tt.done || (len(p.failed) == 0) != tt.done {
			t.Errorf("the reply %#v counts as confirmed: %t; %v", tt.reply, p.took(n), p.failed)
		}
		if !tt.done {
			harness.Eventually(t, "the node to be sent it again", func() bool { return !slices.Contains(harness.Keys(t, nodes, 0), s.entryName("k")) })
		}
	}
}

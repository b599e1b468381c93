package nodeset

import (
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// A node has all scripts before it is asked anything, also after it has restarted, so that nothing is sent twice.
func TestScript_IsLoadedBeforeItIsNeeded(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, nodes harness.Set) {
		registry.mu.Lock()
		var hashes []string
		for _, s := range registry.all {
			hashes = append(hashes, s.hash)
		}
		registry.mu.Unlock()
		c := open(t, nodes)
		loaded := func() bool {
			there, err := harness.Client(t, nodes, 0).ScriptExists(t.Context(), hashes...).Result()
			if err != nil {
				return false
			}
			for _, ok := range there {
				if !ok {
					return false
				}
			}
			return len(there) > 0
		}
		if !loaded() {
			t.Error("a script is missing when the set is open")
		}
		if err := nodes.Restart(0, true); err != nil {
			t.Fatal(err)
		}
		c.Nodes()[0].Run(readyScript, []string{"k"}, nil, nil) // notices the restart
		harness.Eventually(t, "the scripts to be loaded again", loaded)
	})
}

var readyScript = NewScript("ready", `return 1`)

//go:build unix

package nodeset

import (
	"path/filepath"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestUnixSocket_ReachesANode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	harness.Real(t, 1, redisserver.Options{Args: []string{"--unixsocket", path}})
	c := mustOpen(t, Config{URLs: []string{"unix://" + path + "?db=1"}})
	n := c.Nodes()[0]
	if got := ran(t, n, setScript, []string{"k"}, "v"); got != "OK" {
		t.Errorf("it answered %v", got)
	}
	if n.Name() != path+"/1" {
		t.Errorf("its name is %q", n.Name())
	}
}

//go:build unix

package cluster

import (
	"path/filepath"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestANodeIsReachedThroughASocketOfTheFileSystem(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	harness.Real(t, 1, redisserver.Options{Args: []string{"--unixsocket", path}})
	c, err := tryOpen(t, Config{URLs: []string{"unix://" + path + "?db=1"}})
	if err != nil {
		t.Fatal(err)
	}
	n := c.Nodes()[0]
	if a := run(t, n, setScript, []string{"k"}, "v"); a.err != nil || a.reply != "OK" {
		t.Errorf("it answered %v, %v", a.reply, a.err)
	}
	if n.Name() != path+"/1" {
		t.Errorf("its name is %q", n.Name())
	}
}

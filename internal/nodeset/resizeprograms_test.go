package nodeset

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestProgramOf_ReadsWhatConnectionsAreCalled(t *testing.T) {
	c := bareCluster(time.Now(), 3)
	name := nameOf("id=3 addr=127.0.0.1:1 laddr=127.0.0.1:2 name=" + c.clientName() + " age=1 cmd=get\n")
	p, ok := programOf(name)
	if !ok || p.nodes != 3 || p.quorum != 2 || p.maxTTL != c.cfg.MaxTTL || p.maxTTL == 0 || p.list == "" || p.host == "" {
		t.Errorf("%q is read as %+v", name, p)
	}
	for _, name := range []string{"", "other", resizeName, "redlock:x/y:1s:a:b:c", "redlock:3/2:x:a:b:c", "redlock:3/2:1s:a"} {
		if p, ok := programOf(name); ok {
			t.Errorf("%q is read as %+v", name, p)
		}
	}
}

// A wait says what for, whether or not a node is silent.
func TestResize_SaysWhatItWaitsFor(t *testing.T) {
	var said string
	r := &Resize{nodes: []*resizeTarget{{name: "a"}}, say: func(_ string, args ...any) { said = args[0].(string) }}
	r.await(unsafeResize("cannot continue without b"))
	if !strings.Contains(said, "cannot continue without b") {
		t.Errorf("it says %q", said)
	}
	r.nodes[0].err = errors.New("refused")
	r.await(unsafeResize("cannot continue without b"))
	if !strings.Contains(said, "an answer from a,") {
		t.Errorf("it says %q", said)
	}
}

// A resize sees whose locks outlast its waits, who has which list, and how much
// it does not see.
func TestConnected_SaysWhatAResizeHasToKnow(t *testing.T) {
	all := connected{map[program][]string{}, map[string]int{}}
	for _, name := range []string{"redlock:3/2:1m0s:ab:vm:7", "redlock:3/2:1m0s:ab:vm:7", "redlock:4/3:2m0s:cd:vm:8", resizeName, "", "exporter"} {
		all.add(name, "a")
	}
	all.add("redlock:3/2:1m0s:ab:vm:7", "b")
	old := record{quorum: 2, names: "a,b,c"}
	if got := strings.Join(all.with(old), "|"); got != "  vm:7 (list ab of 3 nodes) on a, b" {
		t.Errorf("the old list is with %q", got)
	}
	err := all.outlast(time.Minute)
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "--max-ttl: 1m0s") || !strings.Contains(err.Error(), "vm:8 (list cd of 4 nodes), 2m0s") {
		t.Errorf("locks of two minutes under waits for one: %v", err)
	}
	if err := all.outlast(2 * time.Minute); err != nil {
		t.Errorf("locks of two minutes under waits for two: %v", err)
	}
	if got := all.untold(); !strings.Contains(got, ": 2 to a.") {
		t.Errorf("two connections without a name: %q", got)
	}
}

package topology

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lease"
)

// Check reports that a restart loses locks if it does. Servers replay their
// append-only file as the user default, so if that user may not write, a node
// restarts with its mark and without the locks.
func TestReplay_ARestartLosesLocksWhereCheckSaysSo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, rules string
		loses       bool
	}{
		{"all rights", "~* &* +@all", false},
		{"no rights", "-@all +ping +info", true}, // except those that the start needs
		{"the rights of a program", cluster.ACL("", false), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := harness.Real(t, 1, redisserver.Options{Persist: true, Args: append([]string{"--appendfsync", "always",
				"--user", user, "reset", "on", ">" + password, "~*", "&*", "+@all", "--user", "default", "reset", "on", "nopass"}, strings.Fields(tt.rules)...)})
			raw := withUser(t, s.URLs()[0])
			c, err := cluster.Open(t.Context(), cluster.Config{URLs: []string{raw}, NodeTimeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			harness.CloseAtEnd(t, c)
			findings := c.Check(t.Context())
			says := slices.ContainsFunc(findings, func(f cluster.Finding) bool {
				return f.Severity == cluster.Danger && strings.Contains(f.Text, "as the user default")
			})
			leases, err := lease.New(c, deaf(lease.Config{TTL: longTTL}))
			if err != nil {
				t.Fatal(err)
			}
			harness.CloseAtEnd(t, leases)
			l, err := leases.Acquire(t.Context(), "order")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Release(t.Context()) })
			admin := client(t, raw)
			if err := l.Checkpoint(t.Context(), []byte("half")); err != nil {
				t.Fatal(err)
			}
			kept := func() map[string]string { // the data of each key, and whether it expires
				all := map[string]string{}
				for _, key := range admin.Keys(t.Context(), "*order*").Val() {
					all[key] = fmt.Sprint(admin.Get(t.Context(), key).Val(), admin.HGetAll(t.Context(), key).Val(), " expires: ", admin.PTTL(t.Context(), key).Val() > 0)
				}
				return all
			}
			run := face.In(c).Nodes()[0].Incarnation().RunID
			before, mark := kept(), admin.Get(t.Context(), marks.Key).Val()
			if len(before) != 4 || mark == "" { // lock, fence counter, record and its promise
				t.Fatalf("the node has %q and the mark %q", before, mark)
			}
			if err := s.Restart(0, false); err != nil {
				t.Fatal(err)
			}
			n := face.In(c).Nodes()[0]
			harness.Eventually(t, "an answer of the restarted node", func() bool {
				return n.Ask(t.Context(), redis.NewCmd(t.Context(), "ping")) == nil && n.Incarnation().RunID != run
			})
			after := kept()
			if now := admin.Get(t.Context(), marks.Key).Val(); now == "" {
				t.Errorf("the mark %q is lost, so the test proves nothing", mark)
			}
			t.Logf("before the restart %q, after it %q", before, after)
			lost := !maps.Equal(before, after)
			if n.Votes() == lost {
				t.Errorf("the node has lost something: %t, and votes: %t", lost, n.Votes())
			}
			if says != lost {
				t.Errorf("Check says that the restart loses locks: %t; it did: %t; it found %v", says, lost, findings)
			}
			if tt.loses && !lost {
				t.Skip("this server keeps transactions that the user default may not run")
			}
			if lost && !tt.loses {
				t.Error("locks are lost although the user default has all rights")
			}
		})
	}
}

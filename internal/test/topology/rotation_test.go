package topology

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

// The steps are those of docs/oncall.md: programs trust both authorities, the
// nodes change one by one, the programs present certificates of the new
// authority, and the nodes stop trusting the old one.
func TestTLS_AnAuthorityIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	f, nodes := startTLS(t)
	f.config.MaxTTL, f.config.NodeTimeout = quarantine, quarantine/3-100*time.Millisecond
	former, next := nodes.authority, newAuthority(t, "next CA")

	// replace installs the new files on the nodes one by one while two programs
	// work.
	replace := func(programs *authority, trusted []*authority, others ...*authority) {
		t.Helper()
		f.config.Clients = nodes.clients(t, trusted, programs)
		c, leases, one := f.process(t, lease.Config{TTL: quarantine})
		_, _, two := f.process(t, lease.Config{TTL: quarantine})
		kept, err := leases.Acquire(t.Context(), "kept")
		if err != nil {
			t.Fatal(err)
		}
		w := newCrew(t, []string{"a"}, one, two)
		defer w.finish(t)
		w.goesOn(t)
		next.write(t, nodes.files, others...)
		for i, n := range face.In(c).Nodes() {
			before := n.Incarnation().RunID
			if err := nodes.Restart(i, false); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "a node with its new certificate to vote", func() bool {
				return n.Up() && n.Votes() && n.Incarnation().RunID != before
			})
			w.goesOn(t)
		}
		livesOn(t, kept)
		if err := kept.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	replace(former, []*authority{former, next}, former)
	replace(next, []*authority{next})

	for name, conf := range map[string]struct {
		trusts, shows *authority
		want          string
	}{
		"trusts the former authority alone":           {former, next, "unknown authority"},
		"shows a certificate of the former authority": {next, former, "unknown certificate authority"},
	} {
		f.config.Clients = nodes.clients(t, []*authority{conf.trusts}, conf.shows)
		f.config.Logger = slog.New(slog.DiscardHandler)
		ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
		late, err := cluster.Open(ctx, f.config)
		if err == nil {
			closes(t, late.Close)
		}
		if err == nil || !strings.Contains(err.Error(), conf.want) {
			t.Errorf("a program that %s: %v", name, err)
		}
		cancel()
	}
}

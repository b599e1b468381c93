package topology

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// quarantine is the MaxTTL of tests that wait for nodes to vote again. It allows a NodeTimeout of a little less than a
// third of it.
const quarantine = 4500 * time.Millisecond

// crew works on keys until it is stopped. No piece of its work may fail, because a quorum of nodes always answers.
type crew struct {
	seen map[string]*record
	done map[string]*atomic.Int64
	stop context.CancelFunc
	wg   sync.WaitGroup
}

func newCrew(t *testing.T, keys []string, lockers ...*lock.Locker) *crew {
	ctx, cancel := context.WithCancel(t.Context())
	w := &crew{seen: map[string]*record{}, done: map[string]*atomic.Int64{}, stop: cancel}
	for _, key := range keys {
		seen, done := &record{}, &atomic.Int64{}
		w.seen[key], w.done[key] = seen, done
		for _, k := range lockers {
			w.wg.Go(func() {
				pace := time.NewTicker(20 * time.Millisecond) // leaves processor time to the servers
				defer pace.Stop()
				for ctx.Err() == nil {
					if err := k.WithLock(t.Context(), key, seen.visit, lock.Wait(patience)); err != nil {
						seen.fault(err.Error())
						return
					}
					done.Add(1)
					<-pace.C
				}
			})
		}
	}
	return w
}

// goesOn waits until every key has been acquired several more times.
func (w *crew) goesOn(t *testing.T) {
	t.Helper()
	for key, done := range w.done {
		wanted := done.Load() + 5
		harness.Eventually(t, "work on "+key, func() bool {
			w.seen[key].mu.Lock()
			defer w.seen[key].mu.Unlock()
			return done.Load() >= wanted || len(w.seen[key].faults) > 0
		})
	}
}

func (w *crew) finish(t *testing.T) {
	t.Helper()
	w.stop()
	w.wg.Wait()
	for key, r := range w.seen {
		r.judge(t, int(w.done[key].Load()))
	}
}

// forgets runs a crew while node 0 recovers with another run_id and without its data, and then with node 0 in the only
// remaining quorum.
func (f *fleet) forgets(t *testing.T, fail func() error, stopAnother func()) {
	t.Helper()
	f.config.MaxTTL, f.config.NodeTimeout = quarantine, quarantine/3-100*time.Millisecond
	c, leases, one := f.process(t, lease.Config{TTL: quarantine})
	_, _, two := f.process(t, lease.Config{TTL: quarantine})
	began := time.Now()
	kept, err := leases.Acquire(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if err := kept.Checkpoint(t.Context(), []byte("half")); err != nil {
		t.Fatal(err)
	}
	w := newCrew(t, []string{"a", "b", "c"}, one, two) // on all three masters of a Redis Cluster
	defer w.finish(t)
	w.goesOn(t)
	if err := fail(); err != nil {
		t.Fatal(err)
	}
	quarantined := func() bool { s := c.Status()[0]; return s.Up && !s.Votes }
	harness.Eventually(t, "the node to be back without a vote", quarantined)
	if all := findings(c.Check(t.Context())); quarantined() && !strings.Contains(all, face.In(c).Nodes()[0].Name()+": restarted recently") {
		t.Errorf("Check does not mention the restart:\n%s", all)
	}
	w.goesOn(t)
	harness.Eventually(t, "the node to vote again", face.In(c).Nodes()[0].Votes)
	late, _, _ := f.process(t, lease.Config{TTL: quarantine})
	harness.Eventually(t, "the node to vote for a process that has not seen it before", face.In(late).Nodes()[0].Votes)
	if !face.In(c).Nodes()[0].Votes() {
		t.Error("for the other process it no longer votes")
	}
	livesOn(t, kept)
	if err := kept.Release(t.Context()); err != nil {
		harness.Missed(t, began, "the lease did not live over it: %v", err)
	}
	next, err := leases.Acquire(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if data, _, ok := next.LastCheckpoint(); string(data) != "half" || !ok || next.Token() <= kept.Token() {
		t.Errorf("token %d after %d found the checkpoint %q, %t", next.Token(), kept.Token(), data, ok)
	}

	stopAnother() // from here on node 0 is in every quorum
	w.goesOn(t)
	livesOn(t, next)
	if err := next.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// livesOn waits for the next renewal of a lease.
func livesOn(t *testing.T, l *lease.Lease) {
	t.Helper()
	began, wanted := time.Now(), l.Deadline().Add((*keepalive.Lease)(l).TTL()/2)
	harness.Eventually(t, "the lease to live on", func() bool {
		if err := l.Err(); err != nil {
			harness.Missed(t, began, "the lease has ended: %v", err)
		}
		return l.Deadline().After(wanted)
	})
}

func findings(all []cluster.Finding) string {
	var lines []string
	for _, f := range all {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

func TestRestart_ASentinelFailOverIsNoticed(t *testing.T) {
	t.Parallel()
	f, pairs := startPairs(t)
	f.forgets(t, pairs[0].FailOver, pairs[1].Stop)
}

func TestRestart_OfAClusterMasterWithoutItsDataIsNoticed(t *testing.T) {
	t.Parallel()
	f, nodes := startSharded(t, redisserver.Options{})
	f.forgets(t, func() error {
		if err := nodes[0].Restart(1, true); err != nil {
			return err
		}
		return nodes[0].AwaitOK()
	}, func() {
		for i := range nodes[1].Len() {
			nodes[1].Stop(i)
		}
	})
}

func TestRestart_OfATLSNodeWithoutItsDataIsNoticed(t *testing.T) {
	t.Parallel()
	f, nodes := startTLS(t)
	f.forgets(t, func() error { return nodes.Restart(0, true) }, func() { nodes.Stop(1) })
}

func TestTLS_NamesABadClientCertificate(t *testing.T) {
	t.Parallel()
	f, nodes := startTLS(t)
	stranger := newAuthority(t, "another CA")
	for _, tc := range []struct {
		name  string
		certs []tls.Certificate
		want  string
	}{
		{"none", nil, "certificate required"},
		{"of an unknown authority", []tls.Certificate{stranger.issue(t, x509.ExtKeyUsageClientAuth)}, "unknown certificate authority"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conf := f.config
			conf.Clients, conf.NodeTimeout = map[string]redis.UniversalClient{}, nodeTimeout
			for name, given := range f.config.Clients {
				conf.Clients[name] = given
			}
			o := nodes.authority.options(nodes.URLs()[1], tc.certs...)
			if tc.certs != nil { // presented whatever authorities the server asks for
				o.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &tc.certs[0], nil }
			}
			conf.Clients["b"] = adminOf(t, o)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c, err := cluster.Open(ctx, conf)
			harness.Must(t, began, err)
			t.Cleanup(func() { closes(t, c.Close) })
			// The node's answer arrives after the handshake. A client that is still writing may notice the connection
			// reset first.
			harness.Eventually(t, fmt.Sprintf("only node b to be down, with %q", tc.want), func() bool {
				return !slices.ContainsFunc(c.Status(), func(status cluster.Status) bool {
					bad := status.Node == "b"
					return bad == status.Up || bad && !strings.Contains(status.Err.Error(), tc.want)
				})
			})
		})
	}
}

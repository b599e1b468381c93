package keepalive

import (
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/record"
)

// recordRefresh is the record that a renewal keeps beside its key, a checkpoint or who leads. A node that lost the
// key lost the record as well; it is written there again once a round of renewal has shown that, and to all nodes long
// before it expires. That takes no goroutine and no timer: rounds of renewal come far more often than a record expires.
type recordRefresh struct {
	mu        sync.Mutex
	record    record.Record
	refreshed time.Time       // when it was last written to all nodes
	missed    []*nodeset.Node // those that lost it, or did not take it
}

// keepRecord makes rec what is kept beside t's key from now on, and returns it with its number. It is to be written.
func (r *renewer) keepRecord(t *renewal, rec record.Record) record.Record {
	r.mu.Lock()
	if t.refresh == nil {
		t.refresh = &recordRefresh{}
	}
	st := t.refresh
	r.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	rec.Seq = max(rec.Seq, st.record.Seq) + 1
	if rec.Token >= st.record.Token { // the key may have been handed over to a newer lease
		st.record, st.refreshed = rec, time.Now()
	}
	return rec
}

// refreshRecord is called after each round of t's renewal.
func (s *Leases) refreshRecord(t *renewal, st *recordRefresh) {
	st.mu.Lock()
	nodes, rec, now := append(st.missed, t.hold.Forgot()...), st.record, time.Now()
	if now.Sub(st.refreshed) > s.cfg.CheckpointTTL/3 {
		nodes, st.refreshed = s.c.Nodes(), now
	}
	st.missed = nil
	st.mu.Unlock()
	if len(nodes) > 0 {
		record.Tell(nodes, s.recordOf(t.key()), rec, s.cfg.CheckpointTTL, st)
	}
}

// Receive implements nodeset.Receiver: a node that did not accept the record
// gets it after the next round. A refusal means that a newer holder has taken
// over, which the renewals detect.
func (st *recordRefresh) Receive(n *nodeset.Node, _ any, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err != nil && !slices.Contains(st.missed, n) {
		st.missed = append(st.missed, n)
	}
}

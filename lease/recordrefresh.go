package lease

import (
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/register"
)

// recordRefresh is the record that a renewal keeps beside its key, a checkpoint or who leads. A node that lost the
// key lost the record as well; it is written there again once a round of renewal has shown that, and to all nodes long
// before it expires. That takes no goroutine and no timer: rounds of renewal come far more often than a record expires.
type recordRefresh struct {
	mu        sync.Mutex
	record    register.Record
	refreshed time.Time       // when it was last written to all nodes
	missed    []*cluster.Node // those that lost it, or did not take it
}

// state makes record what is kept beside t's key from now on, and returns it with its number. It is to be written.
func (r *renewer) keepRecord(t *renewal, record register.Record) register.Record {
	r.mu.Lock()
	if t.refresh == nil {
		t.refresh = &recordRefresh{}
	}
	st := t.refresh
	r.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	record.Seq = st.record.Seq + 1
	st.record, st.refreshed = record, time.Now()
	return record
}

// refreshRecord is called after each round of t's renewal.
func (s *Leases) refreshRecord(t *renewal, st *recordRefresh) {
	st.mu.Lock()
	nodes, record, now := append(st.missed, t.hold.Forgot()...), st.record, time.Now()
	if now.Sub(st.refreshed) > s.cfg.CheckpointTTL/3 {
		nodes, st.refreshed = s.c.Nodes(), now
	}
	st.missed = nil
	st.mu.Unlock()
	if len(nodes) > 0 {
		register.Tell(nodes, s.recordOf(t.key()), record, s.cfg.CheckpointTTL, st)
	}
}

// Receive implements cluster.Receiver: a node that did not take the record gets it after the next round. A refusal means
// that a newer holder has taken over, which the renewals find out.
func (st *recordRefresh) Receive(n *cluster.Node, _ any, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err != nil && !slices.Contains(st.missed, n) {
		st.missed = append(st.missed, n)
	}
}

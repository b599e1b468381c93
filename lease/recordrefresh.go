package lease

import (
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/register"
)

// recordRefresh is the record that a renewal keeps beside its key, a checkpoint or who leads. A node that forgot the
// key forgot it as well, and is told again once a round of renewal has shown that; all nodes are told again long before
// it expires. No goroutine and no timer is needed for that: rounds of renewal come far more often than a record
// expires.
type recordRefresh struct {
	mu     sync.Mutex
	record register.Record
	told   time.Time       // when all nodes were told last
	owed   []*cluster.Node // that forgot, or could not be told
}

// state makes record what is kept beside t's key from now on, and returns it with its number. It is to be written.
func (r *renewer) state(t *renewal, record register.Record) register.Record {
	r.mu.Lock()
	if t.refresh == nil {
		t.refresh = &recordRefresh{}
	}
	st := t.refresh
	r.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	record.Seq = st.record.Seq + 1
	st.record, st.told = record, time.Now()
	return record
}

// refreshRecord is called after each round of t's renewal.
func (s *Leases) refreshRecord(t *renewal, st *recordRefresh) {
	st.mu.Lock()
	nodes, record, now := append(st.owed, t.hold.Forgot()...), st.record, time.Now()
	if now.Sub(st.told) > s.cfg.CheckpointTTL/3 {
		nodes, st.told = s.c.Nodes(), now
	}
	st.owed = nil
	st.mu.Unlock()
	if len(nodes) > 0 {
		register.Tell(nodes, s.recordOf(t.key()), record, s.cfg.CheckpointTTL, st)
	}
}

// Receive implements cluster.Receiver: who could not be told is told after the next round. A refusal means that
// somebody newer has taken over, which the renewals find out.
func (st *recordRefresh) Receive(n *cluster.Node, _ any, err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err != nil && !slices.Contains(st.owed, n) {
		st.owed = append(st.owed, n)
	}
}

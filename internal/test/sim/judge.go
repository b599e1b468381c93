package sim

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/keepalive"
	"github.com/venta-hq/redlock/lease"
)

// judge knows everything that was acquired, and says at once what must not be.
type judge struct {
	w *world

	mu         sync.Mutex
	held       map[string][]*tenancy // by key, in the order of acquisition
	store      map[string]int64      // the newest token that the guarded store saw
	kept       map[string]int        // the newest checkpoint that was kept for certain
	last       handed                // what was detached last
	read       map[string]int64      // the largest token that a reader has shown the store
	violations []string              // guarded by world.mu
}

// handed is a key that was detached, and the token of its last holder.
type handed struct {
	handle lease.Handle
	token  int64
}

// tenancy is one acquisition.
type tenancy struct {
	client   int
	key      string
	token    int64
	acquired time.Time
	shared   bool // it reads
	over     bool // its holder is done with it
	ctx      context.Context
	unwatch  func() bool
}

func newJudge(w *world) *judge {
	return &judge{w: w, held: map[string][]*tenancy{}, store: map[string]int64{}, read: map[string]int64{}, kept: map[string]int{}}
}

// holding is a lease, or one key of several.
type holding interface {
	Key() string
	Token() int64
	Deadline() time.Time
}

// acquired takes in that client, asking since called, has l.
func (j *judge) acquired(client int, called time.Time, l holding, ctx context.Context) *tenancy {
	now := time.Now()
	t := &tenancy{client: client, key: l.Key(), token: l.Token(), acquired: now, shared: reads(l), ctx: ctx}
	j.w.log("client %d has %s, token %d", client, t.key, t.token)
	j.w.tally(func(t *Totals) { t.Acquisitions++ })
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.held[t.key] {
		switch {
		case o.token == t.token && !o.shared && !t.shared:
			j.w.violate("%s: clients %d and %d both have token %d", t.key, o.client, client, t.token)
		case o.shared && t.shared: // one that joins others of its process has their token
		case o.acquired.Before(called) && (o.token > t.token || o.token == t.token && !t.shared):
			j.w.violate("%s: client %d asked after client %d had token %d, and got %d", t.key, client, o.client, o.token, t.token)
		}
		if !o.over && o.ctx.Err() == nil && ctx.Err() == nil && !(o.shared && t.shared) {
			j.w.violate("%s: client %d (token %d) and client %d (token %d) hold it at once", t.key, o.client, o.token, client, t.token)
		}
	}
	j.besideLocked(t)
	j.held[t.key] = append(j.held[t.key], t)
	t.unwatch = context.AfterFunc(ctx, func() { j.ended(t, l) })
	return t
}

// ended takes in that the context of a holder has ended while it held.
func (j *judge) ended(t *tenancy, l holding) {
	cause := context.Cause(t.ctx)
	if !errors.Is(cause, lease.ErrLost) {
		return
	}
	j.w.log("client %d loses %s, token %d", t.client, t.key, t.token)
	j.w.tally(func(t *Totals) { t.Losses++ })
	if late := time.Since(l.Deadline()); late > 0 {
		j.w.violate("%s: client %d was told %v after the deadline that token %d is lost", t.key, t.client, late, t.token)
	}
}

// done takes in that a holder gives its key back, or has lost it.
func (j *judge) done(t *tenancy) {
	t.unwatch()
	j.mu.Lock()
	defer j.mu.Unlock()
	t.over = true
}

// detached takes in a handle, for whoever comes.
func (j *judge) detached(handle lease.Handle, t *tenancy) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = handed{handle, t.token}
}

// handed is the handle to attach, which others may have attached.
func (j *judge) handed() handed {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// attached takes in that l goes on with d: nobody else has held the key in between.
func (j *judge) attached(l *lease.Lease, d handed) {
	j.w.count("attach")
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.held[l.Key()] {
		if o.token > d.token {
			j.w.violate("%s: token %d was attached after token %d, and client %d held token %d in between", l.Key(), l.Token(), d.token, o.client, o.token)
		}
	}
}

// write is a holder's access to the store that tokens guard.
func (j *judge) write(t *tenancy) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if t.shared {
		j.readLocked(t)
		return
	}
	newest := max(j.store[t.key], j.read[t.key]+1)
	accepted := t.token >= newest || j.w.sabotage.blindStore
	j.w.tally(func(t *Totals) {
		t.Writes++
		if !accepted {
			t.Refused++
		}
	})
	switch {
	case accepted && t.token < newest:
		j.w.violate("%s: the store took token %d after %d", t.key, t.token, newest)
	case !accepted && t.ctx.Err() == nil:
		j.w.violate("%s: the store refused client %d, which holds token %d, because of %d", t.key, t.client, t.token, newest)
	}
	if accepted {
		j.store[t.key] = t.token
	}
	if !accepted {
		j.w.log("client %d refused by the store of %s, token %d", t.client, t.key, t.token)
	}
}

// readLocked is a reader's access to the store, which refuses one that is older than what a writer has left. From then on a
// writer has to be newer.
func (j *judge) readLocked(t *tenancy) {
	accepted := t.token >= j.store[t.key]
	if accepted {
		j.read[t.key] = max(j.read[t.key], t.token)
	}
	if !accepted && t.ctx.Err() == nil {
		j.w.violate("%s: the store refused client %d, which reads with token %d, because of %d", t.key, t.client, t.token, j.store[t.key])
	}
}

// endsWriting takes in that a holder is a reader from now on.
func (j *judge) endsWriting(t *tenancy) {
	j.mu.Lock()
	defer j.mu.Unlock()
	t.shared = true
}

// downgraded takes in the token that it reads with.
func (j *judge) downgraded(t *tenancy, token int64) {
	j.w.count("downgrade")
	j.mu.Lock()
	defer j.mu.Unlock()
	t.token = token
}

// reads reports whether l is a reader's.
func reads(l holding) bool {
	one, ok := l.(*lease.Lease)
	return ok && (*keepalive.Lease)(one).Shared()
}

// keptNow is the newest checkpoint that was acknowledged.
func (j *judge) keptNow(key string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.kept[key]
}

// found takes in with which checkpoint a lease begins, and which was kept before.
func (j *judge) found(key string, n, kept int) {
	if n < kept && !j.w.plan.forgets && j.w.plan.keepsRecords() {
		j.w.violate("%s: checkpoint %d is found, and %d was kept", key, n, kept)
	}
}

func (j *judge) checkpoint(key string, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kept[key] = max(j.kept[key], n)
}

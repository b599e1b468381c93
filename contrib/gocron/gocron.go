// Package gocron lets the schedulers of github.com/go-co-op/gocron/v2, one in each process, run every job in one
// process only.
//
// [NewLocker] acquires a lock for each run of a job. Schedulers whose clocks
// differ start a run at different moments, so the lock is kept for a while
// after a fast run. [NewElector] runs all jobs in the one process that leads.
//
// A job's context comes from gocron and does not end when the lock is lost. So
// a job that takes hours should acquire its own lock with package lock or
// lease, whose context does.
package gocron

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/lease"
)

// ErrNotLeader is returned by [Elector.IsLeader] if another process leads.
var ErrNotLeader = errors.New("redlock: another process leads")

// NewLocker returns a locker for gocron.WithDistributedLocker. The lock's key
// is "gocron:" and the job's name: give every job a unique name with
// gocron.WithName. gocron names other jobs after their functions, and closures
// from one place in the code have the same name: of several such jobs only one
// would run. So the name of a closure, of a method value, or of a function of
// package main or of a package whose path contains a slash is refused, with an
// error that matches [cluster.ErrConfig]. The name of any other function, such
// as report.Send, looks like a name that was given, and is accepted: jobs
// without a name that run the same function share its lock, whatever their
// arguments.
//
// A scheduler that does not get the lock at once does not run the job. splay is
// how long the lock is kept after it was acquired, even if the run is over. It
// must be larger than the difference between the clocks of the processes, and
// smaller than the time between two runs; half of that time is a good choice.
// The rest of that time is how late a run may begin: a later one, on a machine
// that was stalled, keeps the lock beyond the next tick, so that this tick is
// skipped. A scheduler does not wait for the lock, because it cannot
// distinguish two ticks: one whose clock is behind would run the job again.
func NewLocker(leases *lease.Leases, splay time.Duration) gocron.Locker { return locker{leases, splay} }

type locker struct {
	leases *lease.Leases
	splay  time.Duration
}

func (k locker) Lock(ctx context.Context, job string) (gocron.Lock, error) {
	switch {
	case job == "":
		return nil, fmt.Errorf("%w: a job without a name cannot be locked; give it one with gocron.WithName", cluster.ErrConfig)
	case ofFunction.MatchString(job):
		return nil, fmt.Errorf("%w: the job's name, %q, is that of a function, which jobs may share; give it one with gocron.WithName", cluster.ErrConfig, job)
	case k.splay < 0:
		return nil, fmt.Errorf("%w: splay of NewLocker: %v is negative; 0 releases the lock when the run is over", cluster.ErrConfig, k.splay)
	}
	l, err := k.leases.TryAcquire(ctx, "gocron:"+job, lease.MinHold(k.splay))
	if err != nil {
		return nil, err
	}
	return held{l}, nil
}

// ofFunction matches the names that package runtime gives closures, method values, and functions of package main or with the
// path of their package.
var ofFunction = regexp.MustCompile(`\.func\d+(\.\w+|-range\d+)*$|-fm$|^(main|[^\s/]+(/[^\s/.]*)*/[^\s/]+)\.(\(\*?\w+(\[\.\.\.\])?\)\.|\w+\.)*\w+(\[\.\.\.\])?$`)

type held struct{ l *lease.Lease }

// Unlock also releases the lock if ctx has ended, as that of a scheduler that
// was shut down.
func (h held) Unlock(ctx context.Context) error { return h.l.Release(context.WithoutCancel(ctx)) }

// Elector campaigns until it is closed. It is for
// gocron.WithDistributedElector.
type Elector struct {
	leases *lease.Leases
	key    string // of the election
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	leads  *lease.Lease // nil while another process leads
	reason error        // of the last campaign that failed
}

// NewElector starts to campaign in the election called name, as candidate.
// Processes whose schedulers run the same jobs must use the same name. The
// caller must Close the Elector before the Leases.
func NewElector(leases *lease.Leases, name, candidate string) *Elector {
	ctx, cancel := context.WithCancel(context.Background())
	e := &Elector{leases: leases, key: "election:" + name, cancel: cancel, done: make(chan struct{})}
	go e.campaign(ctx, leases, name, candidate)
	return e
}

// IsLeader implements gocron.Elector. It returns nil while this process leads.
// It compares the clock with the lease's deadline, and does not ask the nodes.
func (e *Elector) IsLeader(context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.leads != nil && e.leads.Err() == nil:
		return nil
	case e.reason != nil:
		return errs.Errorf("%w: %w", ErrNotLeader, e.reason)
	}
	if why := face.In(e.leases).LastRefusal(e.key); errors.Is(why, lease.ErrNoQuorum) {
		return errs.Errorf("%w: %w", ErrNotLeader, why)
	}
	return ErrNotLeader
}

// Close resigns, if this process leads, and ends the campaign.
func (e *Elector) Close() {
	e.cancel()
	<-e.done
}

// pause is how long after a campaign that failed the next one begins.
const pause = time.Second

func (e *Elector) campaign(ctx context.Context, leases *lease.Leases, name, candidate string) {
	defer close(e.done)
	for ctx.Err() == nil {
		l, err := leases.Campaign(ctx, name, candidate)
		e.set(l, err)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		select {
		case <-l.Done(): // lost, or the Leases are closed
		case <-ctx.Done():
		}
		e.set(nil, nil)
		l.Release(context.WithoutCancel(ctx))
	}
}

func (e *Elector) set(l *lease.Lease, reason error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leads, e.reason = l, reason
}

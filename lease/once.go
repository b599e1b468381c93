package lease

import (
	"context"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// Outcome is what RunOnce remembers of a job that is done. Its fields are
//
//	Job   string
//	Token int64     // the fencing token of the run
//	Owner string    // its label
//	Began time.Time // both by the clock of the process that ran it
//	Ended time.Time
type Outcome = keepalive.Outcome

// RunOnce runs fn until it has succeeded once, over all processes, for each job name
// within Config.DoneTTL. ran reports whether this call ran fn. A call that comes
// while another runs fn waits for it until ctx ends, and runs fn itself if that run
// failed. It also waits while too few nodes answer.
//
// fn's context is that of a lease, which [FromContext] returns. It ends when the
// lease is lost or ctx ends. The error is fn's own, unchanged, or that of
// [Leases.Acquire]; or, with ran true, it says that fn succeeded and that this could
// not be recorded, so that fn may run again.
//
// Two runs of fn overlap only if one goes on after its lease was lost: let the
// storage that it writes to refuse old tokens. [MinHold] keeps a fast run from being
// repeated by a process whose clock is behind, where the name of the job comes from
// the clock. [MaxHold] ends a stuck one.
func (s *Leases) RunOnce(ctx context.Context, job string, fn func(ctx context.Context) error, opts ...Option) (ran bool, err error) {
	return s.engine().RunOnce(ctx, job, fn, opts...)
}

// Outcome returns what is known of the last successful run of a job. ok is false if
// there was none within Config.DoneTTL. The error is a *cluster.QuorumError, or has
// ctx.Err() in its chain.
func (s *Leases) Outcome(ctx context.Context, job string) (o Outcome, ok bool, err error) {
	return s.engine().Outcome(ctx, job)
}

// Outcomes returns the outcomes of all jobs whose names begin with prefix, ordered
// by name. It scans the nodes, which must allow that.
func (s *Leases) Outcomes(ctx context.Context, prefix string) ([]Outcome, error) {
	return s.engine().Outcomes(ctx, prefix)
}

// Forget deletes the outcome of a job, so that the next RunOnce runs it again. ok is
// false if none was recorded. While the job runs, the error is a
// [*NotAcquiredError]; otherwise the errors are those of RunOnce.
func (s *Leases) Forget(ctx context.Context, job string) (ok bool, err error) {
	return s.engine().Forget(ctx, job)
}

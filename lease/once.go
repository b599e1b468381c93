package lease

import (
	"context"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// Outcome is the record of a job that is done. Its fields are
//
//	Job   string
//	Token int64     // the fencing token of the run
//	Owner string    // the label of the run
//	Began time.Time // Began and Ended are by the clock of the process that ran it
//	Ended time.Time
type Outcome = keepalive.Outcome

// RunOnce runs fn unless a run of the same job has succeeded within
// [Config.DoneTTL], in any process. ran reports whether this call ran fn. A
// call that comes while another one runs fn waits for it until ctx ends, and
// runs fn itself if that run failed. It also waits while too few nodes answer.
//
// fn's context is that of a lease, which [FromContext] returns. It ends when
// the lease is lost or ctx ends. The error is fn's own, unchanged, or one of
// [Leases.Acquire]. If fn succeeded but this could not be recorded, ran is true
// and the error says so; fn may then run again.
//
// Two runs of fn overlap only if one continues after its lease was lost: let
// the storage that it writes to refuse old tokens. If the name of the job is
// derived from the clock, [MinHold] keeps a process whose clock is behind from
// repeating a fast run. [MaxHold] ends a run that is stuck. The option lock.Shared
// is refused.
func (s *Leases) RunOnce(ctx context.Context, job string, fn func(ctx context.Context) error, opts ...Option) (ran bool, err error) {
	return s.engine().RunOnce(ctx, job, fn, opts...)
}

// Outcome returns the record of the last successful run of a job. ok is false
// if there was none within [Config.DoneTTL]. The error is a
// [*cluster.QuorumError], or has ctx.Err() in its chain.
func (s *Leases) Outcome(ctx context.Context, job string) (o Outcome, ok bool, err error) {
	return s.engine().Outcome(ctx, job)
}

// Outcomes returns the outcomes of all jobs whose names begin with prefix,
// ordered by name. It scans the nodes, which needs [cluster.OperatorRights].
// The error is a [*cluster.QuorumError], or has ctx.Err() in its chain.
func (s *Leases) Outcomes(ctx context.Context, prefix string) ([]Outcome, error) {
	return s.engine().Outcomes(ctx, prefix)
}

// Forget deletes the outcome of a job, so that the next [Leases.RunOnce] runs
// it again. ok is false if none was recorded. While the job runs, the error is
// a [*NotAcquiredError]. The other errors are those of [Leases.Acquire].
func (s *Leases) Forget(ctx context.Context, job string) (ok bool, err error) {
	return s.engine().Forget(ctx, job)
}

package lease

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/register"
)

// Outcome is what RunOnce remembers of a job that is done.
type Outcome struct {
	Job   string    `json:"-"`
	Token int64     `json:"-"` // of the run
	Owner string    `json:"owner"`
	Began time.Time `json:"began"` // both by the clock of who ran it
	Ended time.Time `json:"ended"`
}

var errNoJob = fieldError("job", "is empty; name it, as \"report:2026-11-23\"")

func onceKey(job string) string { return "once:" + job }

// RunOnce runs fn to success once, over all processes, for each name of a job within Config.DoneTTL, and reports whether
// this call ran it. A call that comes while another runs waits for it, until ctx ends; if that failed, it runs fn itself.
// It waits for a quorum as well.
// fn's context is that of a lease, which FromContext gives; it ends when the lease is lost or ctx ends. The error is fn's own, unchanged; that of
// Acquire; or, with ran true, says that fn succeeded and that this could not be kept, so that it may run again.
//
// fn runs at least once until it has succeeded, and beside a second run only if it goes on after its lease was lost: let
// what it writes to refuse old tokens. MinHold keeps a fast run from being repeated by a process whose clock is behind,
// where the name of the job comes from the clock; MaxHold ends a stuck one. The key of the job is "once:" and its name.
func (s *Leases) RunOnce(ctx context.Context, job string, fn func(ctx context.Context) error, opts ...Option) (ran bool, err error) {
	if s == nil {
		return false, errNil
	}
	var result error
	err = s.persist(ctx, onceKey(job), func() (err error) {
		if ran, err = s.runOnce(ctx, job, fn, opts); ran {
			result, err = err, nil
		}
		return err
	})
	if ran {
		return true, result
	}
	return false, err
}

// runOnce is RunOnce but does not wait for a quorum to say what is known of the job: it is interrupted.
func (s *Leases) runOnce(ctx context.Context, job string, fn func(ctx context.Context) error, opts []Option) (ran bool, err error) {
	if _, done, err := s.Outcome(ctx, job); err != nil || done {
		return false, orInterrupted(err)
	}
	req := request(opts)
	req.Parent = ctx
	l, err := s.reported(ctx, onceKey(job), req, s.Await)
	if err != nil {
		return false, err
	}
	kept := false
	if err := l.toWork(); err != nil {
		s.unkeep(l.t)
		l.Release(context.WithoutCancel(ctx))
		return false, err
	}
	defer func() {
		l.worked()
		if !kept {
			l.t.s.unkeep(l.t)
		}
		l.Release(context.WithoutCancel(ctx)) // if it does not reach a quorum, the key expires; what is done is done
	}()
	if _, done, err := s.Outcome(ctx, job); err != nil || done { // Resume would have it kept for DoneTTL from now on
		return false, orInterrupted(err)
	}
	_, done, err := register.Resume(ctx, s.c, s.recordOf(l.Key()), l.token, s.cfg.DoneTTL)
	if err != nil || done {
		return false, orInterrupted(l.orLost(err))
	}
	o := Outcome{Owner: l.Owner(), Began: time.Now()}
	if err := fn(l.Context()); err != nil {
		return true, err
	}
	o.Ended = time.Now()
	kept = true
	data, err := json.Marshal(o)
	if err == nil {
		r := register.Record{Token: l.token, Seq: 1, Origin: l.token, Data: data}
		err = l.orLost(register.Write(context.WithoutCancel(ctx), s.c, s.recordOf(l.Key()), r, s.cfg.DoneTTL))
	}
	if err != nil {
		return true, errs.Errorf("redlock: job %q succeeded, but that it did could not be kept: %w", job, err)
	}
	return true, nil
}

// Outcome is what is known of the last successful run of a job; ok is false if there was none within Config.DoneTTL.
func (s *Leases) Outcome(ctx context.Context, job string) (o Outcome, ok bool, err error) {
	if s == nil {
		return Outcome{}, false, errNil
	}
	if job == "" {
		return Outcome{}, false, errNoJob
	}
	r, ok, err := register.Read(ctx, s.c, s.recordOf(onceKey(job)), s.cfg.DoneTTL)
	if err != nil || !ok {
		return Outcome{}, false, err
	}
	if err := json.Unmarshal(r.Data, &o); err != nil {
		return Outcome{}, false, errs.Errorf("redlock: the outcome of job %q: %w", job, err)
	}
	o.Job, o.Token = job, r.Origin
	return o, true, nil
}

// Outcomes are what is known of all jobs whose names begin with prefix, in the order of their names. The nodes are scanned,
// as in mutex.Redlock.List, and have to allow that.
func (s *Leases) Outcomes(ctx context.Context, prefix string) ([]Outcome, error) {
	if s == nil {
		return nil, errNil
	}
	keys, err := s.red.WithCompanion(ctx, onceKey(prefix), "record")
	if err != nil {
		return nil, err
	}
	var all []Outcome
	for _, key := range keys {
		o, ok, err := s.Outcome(ctx, strings.TrimPrefix(key, onceKey("")))
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, o)
		}
	}
	return all, nil
}

// Forget makes a finished job one that was not run, so that the next RunOnce runs it again. ok is false if it was not known to
// be done. While the job runs the error is a *NotAcquiredError; otherwise the errors are those of RunOnce.
func (s *Leases) Forget(ctx context.Context, job string) (ok bool, err error) {
	if _, done, err := s.Outcome(ctx, job); err != nil || !done {
		return false, err
	}
	l, err := s.Try(ctx, onceKey(job), Request{})
	if err != nil {
		return false, err
	}
	defer l.Release(context.WithoutCancel(ctx)) // if it does not reach a quorum, the key expires
	_, done, err := register.Resume(ctx, s.c, s.recordOf(l.Key()), l.token, s.cfg.DoneTTL)
	if err == nil && done {
		r := register.Record{Token: l.token, Seq: 1, Origin: l.token, Deleted: true}
		err = register.Write(ctx, s.c, s.recordOf(l.Key()), r, s.cfg.DoneTTL)
	}
	if err != nil {
		return false, l.orLost(err)
	}
	return done, nil
}

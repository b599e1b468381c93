package keepalive

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/record"
)

// Outcome is lease.Outcome.
type Outcome struct {
	Job   string    `json:"-"`
	Token int64     `json:"-"` // of the run
	Owner string    `json:"owner"`
	Began time.Time `json:"began"` // both by the clock of who ran it
	Ended time.Time `json:"ended"`
}

var errNoJob = configerr.Field("job", "is empty; name it, such as \"report:2026-11-23\"")

func onceKey(job string) string { return "once:" + job }

// RunOnce is lease.Leases.RunOnce.
func (s *Leases) RunOnce(ctx context.Context, job string, fn func(ctx context.Context) error, opts ...Option) (ran bool, err error) {
	if s == nil {
		return false, errNil
	}
	req := Options(opts)
	if err := req.refuseShared("RunOnce", "a job that runs once is run by one process; leave it out"); err != nil {
		return false, err
	}
	req.Parent = ctx
	var result error
	err = req.Within(ctx, func(ctx context.Context) error {
		return s.persist(ctx, onceKey(job), req, func() (err error) {
			if ran, err = s.runOnce(ctx, job, fn, req); ran {
				result, err = err, nil
			}
			return err
		})
	})
	if ran {
		return true, result
	}
	return false, err
}

// runOnce is RunOnce but does not wait for a quorum to say what is known of the job: it is interrupted. ctx bounds only the
// waiting; fn's context derives from req.Parent.
func (s *Leases) runOnce(ctx context.Context, job string, fn func(ctx context.Context) error, req Request) (ran bool, err error) {
	if _, done, err := s.Outcome(ctx, job); err != nil || done {
		return false, orInterrupted(err)
	}
	l, err := s.reported(ctx, onceKey(job), req)
	if err != nil {
		return false, err
	}
	l.recordTaken = true
	kept := false
	if err := l.toWork(); err != nil {
		l.abandon(ctx)
		return false, err
	}
	defer func() {
		l.worked()
		if !kept {
			l.abandon(ctx)
			return
		}
		l.Release(context.WithoutCancel(ctx)) // if it does not reach a quorum, the key expires; what is done is done
	}()
	if _, done, err := s.Outcome(ctx, job); err != nil || done { // Resume would have it kept for DoneTTL from now on
		return false, orInterrupted(err)
	}
	_, done, err := record.Resume(ctx, s.c, s.recordOf(l.Key()), l.Token(), s.cfg.DoneTTL)
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
		r := record.Record{Token: l.Token(), Seq: 1, Origin: l.Token(), Data: data}
		err = l.orLost(record.Write(context.WithoutCancel(ctx), s.c, s.recordOf(l.Key()), r, s.cfg.DoneTTL))
	}
	if err != nil {
		return true, errs.Errorf("redlock: job %q succeeded, but this could not be recorded: %w", job, err)
	}
	s.tel.JobSucceeded(s.c.Names(), job, o.Ended)
	return true, nil
}

// Outcome is lease.Leases.Outcome.
func (s *Leases) Outcome(ctx context.Context, job string) (o Outcome, ok bool, err error) {
	if s == nil {
		return Outcome{}, false, errNil
	}
	if job == "" {
		return Outcome{}, false, errNoJob
	}
	r, ok, err := record.Read(ctx, s.c, s.recordOf(onceKey(job)), s.cfg.DoneTTL)
	if err != nil || !ok {
		return Outcome{}, false, err
	}
	if err := json.Unmarshal(r.Data, &o); err != nil {
		return Outcome{}, false, errs.Errorf("redlock: the outcome of job %q: %w", job, err)
	}
	o.Job, o.Token = job, r.Origin
	s.tel.JobSucceeded(s.c.Names(), job, o.Ended)
	return o, true, nil
}

// Outcomes is lease.Leases.Outcomes. The nodes are scanned, as by
// quorumlock.Redlock.List.
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

// Forget is lease.Leases.Forget.
func (s *Leases) Forget(ctx context.Context, job string) (ok bool, err error) {
	if _, done, err := s.Outcome(ctx, job); err != nil || !done {
		return false, err
	}
	l, err := s.Try(ctx, onceKey(job), Request{})
	if err != nil {
		return false, err
	}
	defer l.Release(context.WithoutCancel(ctx)) // if it does not reach a quorum, the key expires
	_, done, err := record.Resume(ctx, s.c, s.recordOf(l.Key()), l.Token(), s.cfg.DoneTTL)
	if err == nil && done {
		r := record.Record{Token: l.Token(), Seq: 1, Origin: l.Token(), Deleted: true}
		err = record.Write(ctx, s.c, s.recordOf(l.Key()), r, s.cfg.DoneTTL)
	}
	if err != nil {
		return false, l.orLost(err)
	}
	return done, nil
}

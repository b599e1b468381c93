package keepalive

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// Detach is lease.Lease.Detach.
func (l *Lease) Detach(ctx context.Context) (handle string, err error) {
	if l.recordTaken {
		return "", configerr.Field("Detach", "the lease on %q is that of an election or a job; only a lease of Acquire or Lock can be detached", l.Key())
	}
	if err := l.exclusive("Detach"); err != nil {
		return "", err
	}
	if l.Shared() {
		return "", l.sharedHandle()
	}
	err = l.Err()
	if err == nil && ctx.Err() != nil {
		err = errs.Ended(ctx)
	}
	if err != nil {
		return "", errs.Errorf("redlock: detach %q: %w", l.Key(), err)
	}
	for own, ok := FromContext(ctx); ok; own, ok = FromContext(own.parent) {
		if own == l {
			var cancel context.CancelFunc
			ctx, cancel = l.outlasting(ctx)
			defer cancel()
			break
		}
	}
	err = l.finish(ctx, "detach", ErrDetached, func(ctx context.Context) (err error) {
		handle, err = l.handOut(ctx)
		return err
	})
	return handle, err
}

// sharedHandle is the error of Detach for a reader.
func (l *Lease) sharedHandle() error {
	return configerr.Field("Detach", "the lease on %q is shared: its process may have other readers; release it, and acquire the key in the other process", l.Key())
}

// outlasting is ctx, which derives from l's context, without the end of that, which
// comes before the nodes are asked. It ends with what l's context derives from, and
// at its deadline.
func (l *Lease) outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(l.parent, func() { cancel(context.Cause(l.parent)) })
	timed, free := own, func() {}
	if at, ok := ctx.Deadline(); ok {
		timed, free = context.WithDeadline(own, at)
	}
	return timed, func() {
		stop()
		free()
		cancel(nil)
	}
}

// handOut detaches the key, after the lease was marked as released and its work
// has returned.
func (l *Lease) handOut(ctx context.Context) (handle string, err error) {
	t := l.t
	switch t.s.leave(t, l, ErrDetached) {
	case gone:
		return "", l.ended()
	case reading: // by a Downgrade that was under way
		if err := t.s.endReading(l); err != nil && !errors.Is(err, errSettled) {
			return "", err
		}
		return "", l.sharedHandle()
	case maxHoldExceeded:
		t.hold.StartRelease()
		t.s.reportEnd(l, "released")
		t.s.over(t, l)
		return "", t.hold.Lost(heldTooLong)
	}
	h, err := t.hold.Detach(ctx)
	how := "detached"
	if err != nil {
		how = "released"
	}
	if errors.Is(err, ErrLost) {
		t.s.reportLoss(t, foundLate)
	}
	t.s.reportEnd(l, how)
	t.s.over(t, l)
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// Attach is lease.Leases.Attach.
func (s *Leases) Attach(ctx context.Context, handle string, opts ...Option) (*Lease, error) {
	if s == nil {
		return nil, errNil
	}
	h, err := quorumlock.ParseHandle(handle)
	if err != nil {
		return nil, err
	}
	key, ok := strings.CutPrefix(h.Lock, s.cfg.Prefix)
	if !ok {
		return nil, configerr.Field("handle", "is of %q on the nodes, and Config.Prefix is %q; use the Prefix of the Leases that detached it", h.Lock, s.cfg.Prefix)
	}
	req := Options(opts)
	if req.Wait != 0 {
		return nil, configerr.Field("Wait", "%v for Attach, which does not wait: nobody else releases the key", req.Wait)
	}
	if err := req.refuseShared("Attach", "a handle is that of an exclusive lease; leave it out, and call Downgrade"); err != nil {
		return nil, err
	}
	req.Bounded, req.handle = true, &h
	l, err := s.reported(ctx, key, req)
	if err != nil {
		return nil, tooLate(err, h, time.Now())
	}
	return s.resume(ctx, l)
}

// tooLate adds to the error of a handle that was not attached that it has
// expired, if it has.
func tooLate(err error, h quorumlock.Handle, now time.Time) error {
	var over *NotAcquiredError
	if !errors.As(err, &over) || over.Class != quorumlock.ClassHandle || !nodeset.Passed(h.Until, now) {
		return err
	}
	e := *over
	e.Err = fmt.Errorf("the key was kept for it until %s, %v ago by this machine's clock", h.Until.Format(time.RFC3339), now.Sub(h.Until).Round(time.Millisecond))
	return &e
}

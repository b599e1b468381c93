package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// onceRun is one call of run --once.
type onceRun struct {
	r       *runCmd
	path    string
	log     *slog.Logger
	signals chan os.Signal
	begun   chan struct{} // closed when the command starts: signals are passed on to it from then on
	waited  *time.Timer   // ends the wait; nil without --wait

	code    int           // of the command
	lost    error         // why the lock was lost
	ran     bool          // this call ran the command
	outcome lease.Outcome // of an earlier run, if this call did not run the command

	mu          sync.Mutex
	interrupted bool // a signal arrived before the command began
}

// runOnce runs the command unless it has already succeeded.
func (r *runCmd) runOnce(cfg cluster.Config, path string) error {
	o := &onceRun{r: r, path: path, log: newLogger(r.Quiet, r.Verbose), signals: notifySignals(), begun: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if r.Wait != nil {
		o.waited = time.AfterFunc(*r.Wait, cancel)
	}
	done := make(chan error, 1)
	go func() { done <- o.work(ctx, cfg) }()
	var err error
	select {
	case err = <-done:
	case <-o.begun:
		err = <-done
	case sig := <-o.signals:
		if o.interrupt(cancel) {
			select {
			case <-done:
			case <-time.After(cleanupTimeout):
			}
			return failed(exitSignal+signalNumber(sig), nil)
		}
		o.signals <- sig // the signal is for the command
		err = <-done
	}
	if err == nil && !o.ran {
		o.log.Info(strconv.Quote(r.Key)+" was done before", "by", o.outcome.Owner, "at", o.outcome.Ended.Format(time.RFC3339))
	}
	return o.result(err)
}

// work opens the nodes, and runs the command unless it has succeeded before.
func (o *onceRun) work(ctx context.Context, cfg cluster.Config) error {
	c, err := o.r.open(ctx, cfg, true, o.log)
	if err != nil {
		return err
	}
	h := &held{c: c}
	defer h.close() // requests to slower nodes arrive before the program ends
	leases, err := lease.New(c, lease.Config{TTL: o.r.TTL, Owner: o.r.Owner, Prefix: o.r.Prefix, DoneTTL: o.r.DoneTTL})
	if err != nil {
		return err
	}
	h.keeper = leases
	o.ran, err = leases.RunOnce(ctx, o.r.Key, o.run)
	if err == nil && !o.ran {
		o.outcome, _, _ = leases.Outcome(ctx, o.r.Key) // only for the message
	}
	return err
}

// interrupt ends the wait, unless the command has begun.
func (o *onceRun) interrupt(cancel func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.begun:
		return false
	default:
	}
	o.interrupted = true
	cancel()
	return true
}

// begin reports whether the command may start, because the wait has not ended
// before.
func (o *onceRun) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.interrupted || o.waited != nil && !o.waited.Stop() {
		return false
	}
	close(o.begun)
	return true
}

// run is the function that RunOnce runs.
func (o *onceRun) run(ctx context.Context) error {
	if !o.begin() {
		return context.DeadlineExceeded
	}
	l, _ := lease.FromContext(ctx)
	c, err := start(o.path, o.r.Command, o.r.environment(tokenOf(o.r.Key, l.Token())), o.signals)
	if err != nil {
		return cannotRun(o.r.Command[0], err)
	}
	if o.code, o.lost = o.r.watch(c, l, o.signals); o.lost != nil {
		return o.lost
	}
	if o.code != 0 {
		return failed(o.code, nil)
	}
	return nil
}

// result returns the error of the program.
func (o *onceRun) result(err error) error {
	var code *exit
	switch {
	case err == nil:
		return nil
	case o.lost != nil: // printed when it happened
		return failed(exitLost, nil)
	case errors.As(err, &code):
		return code
	case o.ran && o.code == 0 && !errors.Is(err, context.DeadlineExceeded): // it succeeded, but may run again
		complain(err)
		return nil
	case errors.Is(err, lock.ErrNoQuorum) && !errors.Is(err, lock.ErrNotAcquired):
		return err
	case errors.Is(err, lock.ErrNotAcquired), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		switch who := holder(err); {
		case who == "" && o.r.Wait != nil && !errors.Is(err, lock.ErrNotAcquired):
			err = errs.Errorf("waited %v without success to learn whether %q is done: %w", *o.r.Wait, o.r.Key, err)
		case who != "":
			err = fmt.Errorf("%q is being run by %q; waited %v without success", o.r.Key, who, *o.r.Wait)
		}
		return failed(o.r.ConflictExitCode, err)
	}
	return err
}
